//! The child processes: a server on one core, a load generator on another.
//!
//! Each is held by a guard that kills this one child when dropped, and no other process. Should the conductor itself be
//! killed, the kernel ends the children ([`tie_to_us`](crate::sys::tie_to_us)).

use crate::args::{Service, Target};
use crate::load::{Order, Outcome};
use crate::sys;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child may take to end once it has no more to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// The core of the servers: the first we may use.
pub(crate) fn server_core() -> io::Result<usize> {
    sys::allowed_cores()?.first().copied().ok_or_else(|| io::Error::other("no core to run on"))
}

/// The core of the load generator: the second, or the same if there is but one.
pub(crate) fn load_core() -> io::Result<usize> {
    let cores = sys::allowed_cores()?;
    cores.get(1).or(cores.first()).copied().ok_or_else(|| io::Error::other("no core to run on"))
}

/// A child that is killed when dropped.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    /// Waits until it has ended by itself, and well.
    fn wait(&mut self, what: &str) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            match self.0.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("{what} has failed: {status}"))),
                None if begin.elapsed() > PATIENCE => {
                    return Err(io::Error::new(ErrorKind::TimedOut, format!("{what} does not end")));
                }
                None => thread::sleep(LOOK),
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only if the child has been waited for already, and then there is nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads one line of a child.
fn read_line(output: &mut BufReader<ChildStdout>, what: &str) -> io::Result<String> {
    let mut line = String::new();
    match output.read_line(&mut line)? {
        0 => Err(io::Error::new(ErrorKind::UnexpectedEof, format!("{what} has ended early, see above"))),
        _ => Ok(line.trim().into()),
    }
}

/// What a server runs under.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Under<'a> {
    Nothing,
    /// strace, which writes a table of system calls to this file.
    Strace(&'a Path),
    /// callgrind, which writes its profile to this file.
    Callgrind(&'a Path),
}

impl Under<'_> {
    /// The tool and its options.
    fn command(self, program: &Path) -> Command {
        let mut command = match self {
            Self::Nothing => return Command::new(program),
            Self::Strace(_) => Command::new("strace"),
            Self::Callgrind(_) => Command::new("valgrind"),
        };
        match self {
            Self::Strace(file) => command.args(["-f", "-c", "-o"]).arg(file),
            Self::Callgrind(file) => {
                let mut out = std::ffi::OsString::from("--callgrind-out-file=");
                out.push(file);
                command.args(["--tool=callgrind", "--quiet"]).arg(out)
            }
            Self::Nothing => &mut command,
        };
        command.arg(program);
        command
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    guard: Guard,
    pub(crate) port: u16,
    /// If it counts its heap, what it is asked through.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(service: &Service, under: Under<'_>) -> io::Result<Self> {
        let mut command = under.command(&std::env::current_exe()?);
        sys::tie_to_us(&mut command);
        let input = if service.count_heap { Stdio::piped() } else { Stdio::null() };
        let child = command.args(service.to_args()).stdin(input).stdout(Stdio::piped()).spawn();
        let mut guard = Guard(child.map_err(|error| match (error.kind(), under) {
            (ErrorKind::NotFound, Under::Strace(_)) => missing("strace", "E2 and C1"),
            (ErrorKind::NotFound, Under::Callgrind(_)) => missing("valgrind", "E3 and H1"),
            _ => error,
        })?);
        let mut output = BufReader::new(guard.0.stdout.take().ok_or(ErrorKind::BrokenPipe)?);
        let port = read_line(&mut output, "the server")?.parse().map_err(io::Error::other)?;
        let input = guard.0.stdin.take();
        Ok(Self { guard, port, input, output })
    }

    /// Its process, if it runs under nothing.
    pub(crate) fn process(&self) -> u32 {
        self.guard.0.id()
    }

    /// The bytes of its heap, if it was started to count them.
    pub(crate) fn heap(&mut self) -> io::Result<i64> {
        let input = self.input.as_mut().ok_or_else(|| io::Error::other("the server does not count its heap"))?;
        input.write_all(b"?")?;
        read_line(&mut self.output, "the server")?.parse().map_err(io::Error::other)
    }

    /// Waits until it has ended by itself, after the connections it was started for.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.guard.wait("the server")
    }
}

/// Runs a child of this program that prints one line of figures, and waits until it has ended.
pub(crate) fn figures(args: &[String], what: &str) -> io::Result<Vec<f64>> {
    let mut command = Command::new(std::env::current_exe()?);
    sys::tie_to_us(&mut command);
    let mut guard = Guard(command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let output = guard.0.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
    let line = read_line(&mut BufReader::new(output), what)?;
    guard.wait(what)?;
    line.split_whitespace().map(|word| word.parse().map_err(io::Error::other)).collect()
}

/// The tool must be installed.
fn missing(tool: &str, cases: &str) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("{tool} is not installed; {cases} cannot be measured without it"))
}

/// A running load generator.
#[derive(Debug)]
pub(crate) struct Load {
    guard: Guard,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Load {
    /// Starts it and waits until everything is connected.
    pub(crate) fn start(target: &Target) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        sys::tie_to_us(&mut command);
        let child = command.args(target.to_args()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut guard = Guard(child);
        let input = guard.0.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
        let mut output = BufReader::new(guard.0.stdout.take().ok_or(ErrorKind::BrokenPipe)?);
        read_line(&mut output, "the load generator")?;
        Ok(Self { guard, input, output })
    }

    /// Gives one order and waits for its outcome.
    pub(crate) fn order(&mut self, order: Order) -> io::Result<Outcome> {
        writeln!(self.input, "{}", order.to_line())?;
        read_line(&mut self.output, "the load generator")?.parse()
    }

    /// Has it close its connections, and waits until it has ended.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Self { mut guard, input, output: _output } = self;
        drop(input);
        guard.wait("the load generator")
    }
}
