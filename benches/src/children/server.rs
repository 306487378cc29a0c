//! A running server, alone or under a tool for counting system calls or instructions.
//!
//! The server prints its port when it listens, so [`Server::start`] returns once clients can connect. A server with a
//! fixed number of connections ends by itself ([`Server::finish`]); any other is killed when the [`Server`] is dropped.

use super::child::Child;
use crate::orders::service::Service;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

/// The tool under which a server runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Under<'a> {
    /// No tool.
    Nothing,
    /// strace, with the file for its table of system calls.
    Strace(&'a Path),
    /// callgrind, with the file for its profile.
    Callgrind(&'a Path),
}

impl Under<'_> {
    /// Returns the command that runs `program` under the tool.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = match self {
            Self::Nothing => return Command::new(program),
            Self::Strace(_) => Command::new("strace"),
            Self::Callgrind(_) => Command::new("valgrind"),
        };
        match self {
            Self::Strace(file) => command.args(["-f", "-c", "-o"]).arg(file),
            Self::Callgrind(file) => {
                let mut out = OsString::from("--callgrind-out-file=");
                out.push(file);
                command.args(["--tool=callgrind", "--quiet"]).arg(out)
            }
            Self::Nothing => &mut command,
        };
        command.arg(program);
        command
    }
}

/// Returns the error of a child that could not be started, or one that says that its tool is missing.
pub(super) fn missing_tool(error: io::Error, under: Under<'_>) -> io::Error {
    match (error.kind(), under) {
        (ErrorKind::NotFound, Under::Strace(_)) => missing("strace", "E2 and C1"),
        (ErrorKind::NotFound, Under::Callgrind(_)) => missing("valgrind", "E3, H1 and G1"),
        _ => error,
    }
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// The port on which the server listens.
    pub(crate) port: u16,
    /// The pipe for questions about the heap; `None` unless the server was started with `count_heap`.
    input: Option<ChildStdin>,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(crate) fn start(service: &Service, under: Under<'_>) -> io::Result<Self> {
        let mut command = under.command(&std::env::current_exe()?);
        command.args(service.to_args());
        let input = if service.count_heap { Stdio::piped() } else { Stdio::null() };
        let started = Child::start(command, input, "the server");
        let mut child = started.map_err(|error| missing_tool(error, under))?;
        let port = child.read_line()?.parse().map_err(io::Error::other)?;
        let input = child.take_input();
        Ok(Self { child, port, input })
    }

    /// Returns the process id of the server; under a tool, of the tool.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Returns the live bytes of the server's heap. The server must have been started with `count_heap`.
    pub(crate) fn heap(&mut self) -> io::Result<i64> {
        let input = self.input.as_mut().ok_or_else(|| io::Error::other("the server does not count its heap"))?;
        input.write_all(b"?")?;
        self.child.read_line()?.parse().map_err(io::Error::other)
    }

    /// Waits until the server has ended by itself, after its fixed number of connections.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.child.wait()
    }
}

/// Returns the error for a missing tool.
fn missing(tool: &str, cases: &str) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("{tool} is not installed; {cases} cannot be measured without it"))
}
