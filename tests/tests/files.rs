//! Regular files, which epoll refuses, through `blocking::Unblock`; and standard input, which may be one.
//!
//! Files are fast here, so that a loop that is blocked by one would hardly be noticed. Hence [`SlowDisk`], which takes its
//! time for each call. Standard input is tested on a child process, `scenario`, since it takes a descriptor 0; the parent
//! keeps another descriptor of the same open file, and looks at what the child does to it.

use async_epoll::{Handle, LocalRuntime, Source};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{TimeoutExt, sleep};
use blocking::{Unblock, unblock};
use examples::Stdin;
use futures::future::{join_all, try_join};
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
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};
use tests::{Watchdog, watchdog};

/// Bytes of a file that is large enough not to fit into any buffer on the way.
const LARGE: usize = 8 << 20;
/// From tick to tick.
const TICK: Duration = Duration::from_millis(5);
/// How long a [`SlowDisk`] takes for each call, as a rule.
const SLOW: Duration = Duration::from_millis(100);

/// A new folder, removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("files-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A file with `content`.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes of which no two pieces are alike, so that a piece that is missing, doubled or misplaced is noticed.
fn content(length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_ne_bytes()
    });
    words.flatten().take(length).collect()
}

/// Reads and writes a byte at a time, each after some sleep. What is read counts the reads.
struct SlowDisk {
    pause: Duration,
    reads: u8,
}

impl SlowDisk {
    /// Behind a thread, which is at most one byte ahead.
    fn new(pause: Duration) -> Unblock<Self> {
        Unblock::with_capacity(1, Self { pause, reads: 0 })
    }
}

impl Read for SlowDisk {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // `blocking` asks for nothing when it has no room.
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

/// Runs a test, watched, beside a task that ticks; hands it the number of ticks.
fn beside_ticks<T>(test: impl AsyncFnOnce(&Cell<u32>) -> T) -> T {
    let _watchdog: Watchdog = watchdog(Duration::from_secs(60));
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

/// While a slow disk is read or written, the loop goes on. If it did not, there would be about one tick per call.
#[test]
fn a_slow_disk_does_not_hold_up_the_loop() {
    const CALLS: usize = 5;
    beside_ticks(async |ticks| {
        // Each call sleeps for twenty ticks, of which a busy machine may lose most.
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

/// A read that is given up costs no time and no byte: the next one has it.
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
        // Nor does dropping it wait for the call that is under way.
        let start = Instant::now();
        let mut disk = SlowDisk::new(Duration::from_secs(20));
        assert!(disk.read(&mut byte).timeout(TICK).await.is_err());
        drop(disk);
        assert!(start.elapsed() < Duration::from_secs(10));
    });
}

/// 8 MiB are written, read, and copied, and are the same each time; the loop ticks all the while.
#[test]
fn a_large_file_there_and_back() {
    let folder = Folder::new("large");
    let (first, second) = (folder.0.join("first"), folder.0.join("second"));
    let expected = content(LARGE);
    beside_ticks(async |ticks| {
        // As often as it takes to tick, for a fast machine does it all in between two.
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

/// Each client of a server has the whole file, at its own pace.
#[test]
fn a_file_is_served_to_many() {
    const CLIENTS: usize = 4;
    let folder = Folder::new("served");
    let expected = content(LARGE);
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
            // The last one takes its time before it begins; the file waits for it, not the server.
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

/// What goes wrong on the other thread is told here: reading a folder, and writing to a disk that is full. That one is
/// written behind, so it is `close` that knows.
#[test]
fn errors_cross_from_the_thread() {
    beside_ticks(async |_| {
        let mut folder = Unblock::new(File::open(std::env::temp_dir()).unwrap());
        assert_eq!(folder.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::IsADirectory);
        let mut full = Unblock::new(File::options().write(true).open("/dev/full").unwrap());
        // Whether this one hears of it is a matter of time.
        let _ = full.write_all(b"x").await;
        assert_eq!(full.close().await.unwrap_err().kind(), ErrorKind::StorageFull);
    });
}

/// Behaviour 114: both ends of a child's pipes, at once: more than they hold goes in and comes out again.
#[test]
fn a_child_echoes() {
    let expected = content(1 << 20);
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

/// Not a test: the child's side of those below. Reads standard input to its end, and tells of each piece.
#[test]
#[ignore = "the other tests of this file run it"]
fn scenario() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let _watchdog = watchdog(Duration::from_secs(60));
    async_epoll::block_on(async {
        let handle = Handle::current().unwrap();
        let mut stdin = Stdin::open(&handle).unwrap();
        let kind = match &stdin {
            Stdin::Reopened(_) => "reopened",
            Stdin::Socket(_) => "socket",
            Stdin::Thread(_) => "thread",
        };
        println!("\nkind: {kind}");
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
            // Standard output is as blocking as ever, even if it is the same open file.
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

/// The child, and what it says.
struct Reader {
    child: Child,
    output: BufReader<ChildStdout>,
    errors: ChildStderr,
}

/// The command that runs [`scenario`].
fn command(scenario: &str, stdin: impl Into<Stdio>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "scenario", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(SCENARIO, scenario)
        .stdin(stdin);
    command
}

impl Reader {
    /// Runs the child with this standard input, until it has opened it in the way that is expected.
    fn new(stdin: impl Into<Stdio>, kind: &str) -> Self {
        let mut command = command("reads", stdin);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        let mut reader = Self { child, output, errors };
        reader.expect(&format!("kind: {kind}"));
        reader
    }

    /// The next line that is the scenario's own must be this one.
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

    /// Nothing more is read, and it ends well. Returns what it has written to standard error.
    fn ends(mut self) -> String {
        self.expect(WELL);
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).unwrap();
        assert!(self.child.wait().unwrap().success(), "{errors}");
        errors
    }

    /// Two lines, each typed when the last one has arrived; then the end. Whatever the child does, the open file that is
    /// its standard input, of which `shared` is another descriptor, blocks those who read it, as it did before.
    fn reads(mut self, shared: impl AsFd, mut writer: impl Write, end: &str) {
        for line in ["one\n", "two\n"] {
            // By then it sleeps.
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

/// Another descriptor of the same open file.
fn duplicate(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

/// A new terminal: the controlling end, where the user would sit, and the end of the programs.
fn terminal() -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags).unwrap();
    unlockpt(&controller).unwrap();
    let program = ioctl_tiocgptpeer(&controller, flags).unwrap();
    (controller.into(), program)
}

/// Behaviour 113: pipes, anonymous and named, are opened anew, non-blocking; and the pipe that others have stays as it
/// is.
#[test]
fn standard_input_from_a_pipe() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let (reader, writer) = tests::pipe().unwrap();
    Reader::new(duplicate(&reader), "reopened").reads(reader, writer, "");

    let folder = Folder::new("fifo");
    let path = folder.0.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    fcntl_setfl(&reader, OFlags::empty()).unwrap();
    // It is found without its name, too.
    fs::remove_file(path).unwrap();
    Reader::new(duplicate(&reader), "reopened").reads(reader, writer, "");

    // The writer was here, and is gone.
    let (reader, mut writer) = tests::pipe().unwrap();
    writer.write_all(b"farewell").unwrap();
    drop(writer);
    let mut late = Reader::new(reader, "reopened");
    late.expect("read: \"farewell\"");
    assert_eq!(late.ends(), "");
}

/// A terminal: Ctrl-D is the end. It blocks those who use it afterwards, even if the program is killed.
#[test]
fn standard_input_from_a_terminal() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let (mut controller, program) = terminal();
    let keyboard = controller.try_clone().unwrap();
    Reader::new(duplicate(&program), "reopened").reads(&program, keyboard, "\x04");

    let mut killed = Reader::new(duplicate(&program), "reopened");
    controller.write_all(b"seen\n").unwrap();
    killed.expect("read: \"seen\\n\"");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(!fcntl_getfl(&program).unwrap().contains(OFlags::NONBLOCK));
    // Whoever reads next waits for what is typed then.
    let next = thread::spawn(move || {
        let mut line = [0; 16];
        let length = File::from(program).read(&mut line).unwrap();
        line[..length].to_vec()
    });
    thread::sleep(2 * TICK);
    controller.write_all(b"next\n").unwrap();
    assert_eq!(next.join().unwrap(), b"next\n");
}

/// The controlling end of a terminal, opened anew, would be another terminal: a thread reads it as it is.
#[test]
fn standard_input_from_the_controlling_end() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let (controller, program) = terminal();
    let mut reader = Reader::new(controller, "thread");
    rustix::io::write(&program, b"output").unwrap();
    reader.expect("read: \"output\"");
    drop(program);
    reader.expect(&format!("error: {}", io::Error::from_raw_os_error(libc::EIO)));
    assert!(reader.ends().starts_with("standard input: "));
}

/// A socket cannot be opened anew, and is waited for all the same.
#[test]
fn standard_input_from_a_socket() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let (one, other) = UnixStream::pair().unwrap();
    Reader::new(duplicate(&one), "socket").reads(one, other, "");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    Reader::new(duplicate(&one), "socket").reads(one, other, "");
}

/// One socket is both standard input and standard output, as a server from inetd has it. Were the input made
/// non-blocking, so would be the output, and a write that has to wait would fail.
#[test]
fn one_socket_for_input_and_output() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = command("talks", duplicate(&theirs)).stdout(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
    (&ours).write_all(b"a line\n").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    // More than the socket holds is under way by then.
    thread::sleep(10 * TICK);
    let mut output = Vec::new();
    (&ours).read_to_end(&mut output).unwrap();
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8_lossy(&output);
    assert!(text.contains("kind: socket") && text.contains(WELL));
    assert!(text.matches('x').count() >= LARGE);
}

/// Bug A7: epoll refuses a regular file. So a thread reads it, which is said in one line; and from where the last reader
/// has stopped, not from its beginning.
#[test]
fn standard_input_from_a_file() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let folder = Folder::new("stdin");
    let mut file = File::open(folder.file("file", b"the beginning and the rest")).unwrap();
    file.read_exact(&mut [0; 14]).unwrap();
    let mut reader = Reader::new(duplicate(&file), "thread");
    reader.expect("read: \"and the rest\"");
    let errors = reader.ends();
    assert!(errors.contains("regular file, so a thread reads it") && errors.lines().count() == 1, "{errors:?}");
    assert_eq!(file.read(&mut [0]).unwrap(), 0, "there is one position for all");
}

/// Behaviour 113; odd ones: each is read, or refuses to be, in plain words.
#[test]
fn standard_input_from_odd_places() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
    let errors = Reader::new(null(), "thread").ends();
    assert_eq!(errors.lines().count(), 1, "{errors:?}");

    let folder = Folder::new("odd");
    let (_reader, writer) = tests::pipe().unwrap();
    let write_only = File::create(folder.0.join("write-only")).unwrap();
    for (stdin, number) in [
        (OwnedFd::from(File::open(&folder.0).unwrap()), libc::EISDIR),
        (write_only.into(), libc::EBADF),
        // The other end of a pipe. Opened anew it would read what is meant for somebody else.
        (writer.into(), libc::EBADF),
    ] {
        let mut reader = Reader::new(stdin, "thread");
        reader.expect(&format!("error: {}", io::Error::from_raw_os_error(number)));
        assert_eq!(reader.ends().lines().count(), 1);
    }
}
