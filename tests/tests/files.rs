//! Regular files, which epoll refuses, through `blocking::Unblock`; and standard input, which may be a regular file.
//!
//! Files are fast here, so a loop that is blocked by a file would hardly show. [`SlowDisk`] therefore sleeps in each
//! call. Standard input needs descriptor 0, so it is tested in a child process, `scenario`. The parent keeps a second
//! descriptor of the same open file, and checks what the child does to it.

use async_epoll::{Handle, LocalRuntime, Source, Timer};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{TimeoutExt, sleep};
use blocking::{Unblock, unblock};
use futures::future::{FutureExt, join_all, select, try_join};
use futures::io::copy;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};
use tests::{Folder, TIME, Watchdog, millis, noise, watchdog};

/// Bytes of a file that is too large for any buffer on its way.
const LARGE: usize = 8 << 20;
/// Time between two ticks.
const TICK: Duration = Duration::from_millis(5);
/// How long a call to a [`SlowDisk`] takes in most tests.
const SLOW: Duration = Duration::from_millis(100);

/// A file that takes `pause` for each byte it reads or writes. Each byte read is the number of reads so far.
struct SlowDisk {
    pause: Duration,
    reads: u8,
}

impl SlowDisk {
    /// Returns a slow disk behind a thread that reads at most one byte ahead.
    fn new(pause: Duration) -> Unblock<Self> {
        Unblock::with_capacity(1, Self { pause, reads: 0 })
    }
}

impl Read for SlowDisk {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // `blocking` reads into an empty buffer when it has no room.
        let Some(byte) = buf.first_mut() else { return Ok(0) };
        thread::sleep(self.pause);
        self.reads += 1;
        *byte = self.reads;
        Ok(1)
    }
}

impl Write for SlowDisk {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !buf.is_empty() {
            thread::sleep(self.pause);
        }
        Ok(buf.len().min(1))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `test` under a watchdog, beside a task that increments the given counter at each tick.
fn beside_ticks<T>(test: impl AsyncFnOnce(&Cell<u32>) -> T) -> T {
    let _watchdog: Watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let ticks = Rc::new(Cell::new(0));
    let count = Rc::clone(&ticks);
    let ticker = async move {
        loop {
            sleep(TICK).await;
            count.set(count.get() + 1);
        }
    };
    runtime.spawner().spawn_local(ticker).unwrap();
    runtime.run_until(test(&ticks)).unwrap()
}

/// The loop goes on while a slow disk is read or written. A blocked loop would have about one tick per call.
#[test]
fn a_slow_disk_does_not_hold_up_the_loop() {
    const CALLS: usize = 5;
    beside_ticks(async |ticks| {
        // Each call takes twenty ticks; a busy machine may lose most of them.
        let enough = u32::try_from(4 * CALLS).unwrap();
        let mut disk = SlowDisk::new(SLOW);
        let mut bytes = [0; CALLS];
        disk.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [1, 2, 3, 4, 5]);
        assert!(ticks.get() >= enough, "{} ticks while reading", ticks.get());

        ticks.set(0);
        let mut disk = SlowDisk::new(SLOW);
        disk.write_all(&bytes).await.unwrap();
        disk.close().await.unwrap();
        assert!(ticks.get() >= enough, "{} ticks while writing", ticks.get());
    });
}

/// A read that is dropped loses neither time nor data: the next read returns the byte.
#[test]
fn a_read_that_is_given_up_loses_nothing() {
    beside_ticks(async |_| {
        let mut disk = SlowDisk::new(SLOW);
        let (mut byte, mut given_up) = ([0], 0);
        for expected in 1..=3 {
            while disk.read_exact(&mut byte).timeout(TICK).await.is_err() {
                given_up += 1;
            }
            assert_eq!(byte, [expected]);
        }
        assert!(given_up > 0);
        // Dropping the disk does not wait for the call in progress.
        let start = Instant::now();
        let mut disk = SlowDisk::new(Duration::from_secs(20));
        assert!(disk.read(&mut byte).timeout(TICK).await.is_err());
        drop(disk);
        assert!(start.elapsed() < Duration::from_secs(10));
    });
}

/// 8 MiB are written, copied and read back unchanged, and the loop ticks meanwhile.
#[test]
fn a_large_file_there_and_back() {
    let folder = Folder::new();
    let (first, second) = (folder.join("first"), folder.join("second"));
    let expected = noise(1, LARGE);
    beside_ticks(async |ticks| {
        // Repeated until five ticks have passed, because a fast machine does one round within a tick.
        for round in 1.. {
            let path = first.clone();
            let mut file = Unblock::new(unblock(move || File::create(path)).await.unwrap());
            file.write_all(&expected).await.unwrap();
            file.close().await.unwrap();

            let open = |path: &PathBuf| Unblock::with_capacity(64 << 10, File::open(path).unwrap());
            let mut target = Unblock::with_capacity(64 << 10, File::create(&second).unwrap());
            assert_eq!(copy(open(&first), &mut target).await.unwrap(), LARGE as u64);
            target.close().await.unwrap();

            let mut read = Vec::new();
            open(&second).read_to_end(&mut read).await.unwrap();
            assert!(read == expected, "round {round}");
            if ticks.get() >= 5 {
                break;
            }
        }
    });
}

/// Each client of a server gets the whole file at its own pace.
#[test]
fn a_file_is_served_to_many() {
    const CLIENTS: usize = 4;
    let folder = Folder::new();
    let expected = noise(1, LARGE);
    let path = folder.file("large", &expected);
    beside_ticks(async |ticks| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = listener.incoming().take(CLIENTS).for_each_concurrent(None, async |stream| {
            let (path, mut stream) = (path.clone(), stream.unwrap());
            let file = Unblock::with_capacity(64 << 10, unblock(move || File::open(path)).await.unwrap());
            assert_eq!(copy(file, &mut stream).await.unwrap(), LARGE as u64);
            stream.close().await.unwrap();
        });
        let ask = join_all((0..CLIENTS).map(async |number| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The last client waits before it reads. Only its own copy of the file waits for it.
            if number == CLIENTS - 1 {
                sleep(20 * TICK).await;
            }
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            assert!(got == expected, "client {number}: {} bytes", got.len());
        }));
        futures::join!(serve, ask);
        assert!(ticks.get() >= 5, "{} ticks", ticks.get());
    });
}

/// Errors of the other thread are returned to the task: reading a directory, and writing to a full disk. Writes are
/// buffered, so the error of the disk appears at `close`.
#[test]
fn errors_cross_from_the_thread() {
    beside_ticks(async |_| {
        let mut folder = Unblock::new(File::open(std::env::temp_dir()).unwrap());
        assert_eq!(folder.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::IsADirectory);
        let mut full = Unblock::new(File::options().write(true).open("/dev/full").unwrap());
        // Fails only if the thread has already written the byte.
        let _ = full.write_all(b"x").await;
        assert_eq!(full.close().await.unwrap_err().kind(), ErrorKind::StorageFull);
    });
}

/// Behaviour 114: reading and writing both pipes of a child at the same time, with more data than the pipes hold.
#[test]
fn a_child_echoes() {
    let expected = noise(1, 1 << 20);
    beside_ticks(async |_| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let file = |fd: OwnedFd| Source::new(File::from(fd)).unwrap();
        let (mut input, mut output) =
            (file(child.stdin.take().unwrap().into()), file(child.stdout.take().unwrap().into()));
        let write = async {
            input.write_all(&expected).await?;
            drop(input);
            Ok(())
        };
        let mut echo = Vec::new();
        try_join(write, output.read_to_end(&mut echo)).await.unwrap();
        assert!(echo == expected);
        assert!(child.wait().unwrap().success());
    });
}

const SCENARIO: &str = "TEST_FILES_SCENARIO";
const WELL: &str = "all is well";

/// Not a test: the child process of the tests below. Reads standard input to its end, and prints each piece.
#[test]
#[ignore = "the other tests of this file run it"]
fn scenario() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let _watchdog = watchdog(TIME);
    async_epoll::block_on(async {
        let handle = Handle::current().unwrap();
        let mut stdin = async_epoll::stdin().unwrap();
        println!("\nkind: {stdin:?}");
        if scenario == "always ready" {
            let endless = pin!(async { while stdin.read(&mut [0; 1024]).await.is_ok() {} });
            return select(endless, Timer::after(millis(1), &handle)).map(drop).await;
        }
        let mut reads = 0;
        loop {
            let mut buffer = [0; 1024];
            match stdin.read(&mut buffer).await {
                Ok(0) => break,
                Ok(length) => println!("read: {:?}", String::from_utf8_lossy(&buffer[..length])),
                Err(error) => {
                    println!("error: {error}");
                    break;
                }
            }
            reads += 1;
            // Standard output is blocking as before, even if it is the same open file.
            if scenario == "talks" {
                let mut stdout = io::stdout();
                stdout.write_all(&[b'x'; LARGE]).unwrap();
            }
        }
        let turns = handle.stats().turns;
        assert!(turns <= 10 * (reads + 2), "{turns} turns for {reads} reads");
    })
    .unwrap();
    println!("\n{WELL}");
}

/// The child process and its output.
struct Reader {
    child: Child,
    output: BufReader<ChildStdout>,
    errors: ChildStderr,
}

/// Returns the command that runs [`scenario`].
fn command(scenario: &str, stdin: impl Into<Stdio>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "scenario", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(SCENARIO, scenario)
        .stdin(stdin);
    command
}

impl Reader {
    /// Starts the child with `stdin`, and waits until it has opened standard input. `kind` is the expected way to
    /// read it.
    fn new(stdin: impl Into<Stdio>, kind: &str) -> Self {
        let mut command = command("reads", stdin);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        let mut reader = Self { child, output, errors };
        reader.expect(&format!("kind: Stdin({kind})"));
        reader
    }

    /// Checks that the next line printed by the scenario itself is `expected`. Lines of the test harness are skipped.
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "it ended before {expected:?}");
            if ["kind: ", "read: ", "error: ", WELL].iter().any(|start| line.starts_with(start)) {
                return assert_eq!(line.trim_end(), expected);
            }
        }
    }

    /// Checks that the child reads nothing more and succeeds. Returns what the child has written to standard error.
    fn ends(mut self) -> String {
        self.expect(WELL);
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).unwrap();
        assert!(self.child.wait().unwrap().success(), "{errors}");
        errors
    }

    /// Writes two lines, each after the child has read the previous one; then ends the input with `end`. Checks that
    /// the open file of standard input, of which `shared` is another descriptor, stays blocking for its other users.
    fn reads(mut self, shared: impl AsFd, mut writer: impl Write, end: &str) {
        for line in ["one\n", "two\n"] {
            // By now the child waits for input.
            thread::sleep(2 * TICK);
            assert!(!fcntl_getfl(&shared).unwrap().contains(OFlags::NONBLOCK), "it blocks no more");
            writer.write_all(line.as_bytes()).unwrap();
            self.expect(&format!("read: {line:?}"));
        }
        writer.write_all(end.as_bytes()).unwrap();
        drop(writer);
        assert_eq!(self.ends(), "", "nothing to complain about");
        assert!(!fcntl_getfl(&shared).unwrap().contains(OFlags::NONBLOCK), "it blocks no more");
    }
}

/// Returns another descriptor of the same open file.
fn duplicate(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

/// Returns a new terminal: the controlling end, where the user would sit, and the end of the programs.
fn terminal() -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags).unwrap();
    unlockpt(&controller).unwrap();
    let program = ioctl_tiocgptpeer(&controller, flags).unwrap();
    (controller.into(), program)
}

/// Behaviour 113: pipes and FIFOs are opened again, non-blocking. The open file that other processes share is not
/// changed.
#[test]
fn standard_input_from_a_pipe() {
    let _watchdog = watchdog(TIME);
    let (reader, writer) = tests::pipe().unwrap();
    Reader::new(duplicate(&reader), "reopened").reads(reader, writer, "");

    let folder = Folder::new();
    let path = folder.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    fcntl_setfl(&reader, OFlags::empty()).unwrap();
    // The child opens the FIFO through `/proc`, so a name is not needed.
    fs::remove_file(path).unwrap();
    Reader::new(duplicate(&reader), "reopened").reads(reader, writer, "");

    // A writer that has written and closed before the child starts.
    let (reader, mut writer) = tests::pipe().unwrap();
    writer.write_all(b"farewell").unwrap();
    drop(writer);
    let mut late = Reader::new(reader, "reopened");
    late.expect("read: \"farewell\"");
    assert_eq!(late.ends(), "");
}

/// A terminal: Ctrl-D is the end. The terminal stays blocking for later programs, even if this one is killed.
#[test]
fn standard_input_from_a_terminal() {
    let _watchdog = watchdog(TIME);
    let (mut controller, program) = terminal();
    let keyboard = controller.try_clone().unwrap();
    Reader::new(duplicate(&program), "reopened").reads(&program, keyboard, "\x04");

    let mut killed = Reader::new(duplicate(&program), "reopened");
    controller.write_all(b"seen\n").unwrap();
    killed.expect("read: \"seen\\n\"");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(!fcntl_getfl(&program).unwrap().contains(OFlags::NONBLOCK));
    // The next reader blocks until a line is typed.
    let next = thread::spawn(move || {
        let mut line = [0; 16];
        let length = File::from(program).read(&mut line).unwrap();
        line[..length].to_vec()
    });
    thread::sleep(2 * TICK);
    controller.write_all(b"next\n").unwrap();
    assert_eq!(next.join().unwrap(), b"next\n");
}

/// The controlling end of a terminal cannot be opened again: that would make a new terminal. It stays shared.
#[test]
fn standard_input_from_the_controlling_end() {
    let _watchdog = watchdog(TIME);
    let (controller, program) = terminal();
    let mut reader = Reader::new(controller, "shared");
    rustix::io::write(&program, b"output").unwrap();
    reader.expect("read: \"output\"");
    drop(program);
    reader.expect(&format!("error: {}", io::Error::from_raw_os_error(libc::EIO)));
    assert_eq!(reader.ends(), "");
}

/// A socket cannot be opened again, but epoll can wait for it.
#[test]
fn standard_input_from_a_socket() {
    let _watchdog = watchdog(TIME);
    let (one, other) = UnixStream::pair().unwrap();
    Reader::new(duplicate(&one), "shared").reads(one, other, "");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    Reader::new(duplicate(&one), "shared").reads(one, other, "");
}

/// One socket is both standard input and standard output, as in a server started by inetd. A non-blocking input would
/// make the output non-blocking as well, and a write without room would fail.
#[test]
fn one_socket_for_input_and_output() {
    let _watchdog = watchdog(TIME);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = command("talks", duplicate(&theirs)).stdout(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
    (&ours).write_all(b"a line\n").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    // By now the child has written more than the socket holds.
    thread::sleep(10 * TICK);
    let mut output = Vec::new();
    (&ours).read_to_end(&mut output).unwrap();
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8_lossy(&output);
    assert!(text.contains("kind: Stdin(shared)") && text.contains(WELL));
    assert!(text.matches('x').count() >= LARGE);
}

/// Bug A7: epoll refuses a regular file, so it is read directly: from the current position of the file, not from its
/// beginning.
#[test]
fn standard_input_from_a_file() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let mut file = File::open(folder.file("file", b"the beginning and the rest")).unwrap();
    file.read_exact(&mut [0; 14]).unwrap();
    let mut reader = Reader::new(duplicate(&file), "direct");
    reader.expect("read: \"and the rest\"");
    assert_eq!(reader.ends(), "");
    assert_eq!(file.read(&mut [0]).unwrap(), 0, "there is one position for all");
}

/// Reads that never wait let other futures run: a timer in the same task ends an endless loop of them.
#[test]
fn standard_input_that_is_always_ready() {
    let _watchdog = watchdog(TIME);
    let child = command("always ready", File::open("/dev/zero").unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(output.contains("kind: Stdin(direct)") && output.contains(WELL), "{output}");
}

/// Behaviour 113: `/dev/null` is read; a directory and descriptors that cannot be read return a clear error.
#[test]
fn standard_input_from_odd_places() {
    let _watchdog = watchdog(TIME);
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
    assert_eq!(Reader::new(null(), "direct").ends(), "");

    let folder = Folder::new();
    let (_reader, writer) = tests::pipe().unwrap();
    let write_only = File::create(folder.join("write-only")).unwrap();
    for (stdin, number) in [
        (OwnedFd::from(File::open(folder.path()).unwrap()), libc::EISDIR),
        (write_only.into(), libc::EBADF),
        // The writing end of a pipe. Opened again for reading, it would take data from the pipe's real reader.
        (writer.into(), libc::EBADF),
    ] {
        let mut reader = Reader::new(stdin, "direct");
        reader.expect(&format!("error: {}", io::Error::from_raw_os_error(number)));
        assert_eq!(reader.ends(), "");
    }
}
