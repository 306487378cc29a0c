//! One child process of the suite, and the lines it prints.
//!
//! [`Child`] owns the process: a drop kills the process and reaps it, whatever error came before. `server`, `load` and
//! `figures` build on this type. No process is ever ended by name.

use crate::machine::sys;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child may take to end when it has no more work.
const EXIT_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval between two checks whether a child has ended.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// A child process with its standard output piped. Killed when dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    output: BufReader<ChildStdout>,
    /// The name of the child in error messages.
    name: &'static str,
}

impl Child {
    /// Starts `command`, tied to this process: the kernel ends the child with it.
    pub(super) fn start(mut command: Command, stdin: Stdio, name: &'static str) -> io::Result<Self> {
        sys::tie_to_us(&mut command);
        let mut process = command.stdin(stdin).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(process.stdout.take().ok_or(ErrorKind::BrokenPipe)?);
        Ok(Self { process, output, name })
    }

    /// Returns the process id.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Takes the write end of the child's standard input; `None` unless a pipe was asked for.
    pub(super) fn take_input(&mut self) -> Option<ChildStdin> {
        self.process.stdin.take()
    }

    /// Waits for one line of the child's output, and returns it without the line feed.
    pub(super) fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, format!("{} has ended early, see above", self.name))),
            _ => Ok(line.trim().into()),
        }
    }

    /// Waits until the child has ended by itself. A failure status and a timeout are errors.
    pub(super) fn wait(mut self) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("{} has failed: {status}", self.name))),
                None if begin.elapsed() > EXIT_TIMEOUT => {
                    return Err(io::Error::new(ErrorKind::TimedOut, format!("{} does not end", self.name)));
                }
                None => thread::sleep(EXIT_POLL),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both calls fail only if the process has been waited for already; then there is nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
