//! A running load generator: orders go in, outcomes come out.
//!
//! The generator prints an empty line when its connections are established, so [`Load::start`] returns only then and no
//! order measures the set-up.

use super::child::Child;
use crate::orders::load::{LoadOrder, LoadOutcome, Target};
use std::io::{self, ErrorKind, Write};
use std::process::{ChildStdin, Command, Stdio};

/// A running load generator. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Load {
    child: Child,
    /// The pipe for orders; closing the pipe ends the generator.
    input: ChildStdin,
}

impl Load {
    /// Starts a load generator and waits until its connections are established.
    pub(crate) fn start(target: &Target) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(target.to_args());
        let mut child = Child::start(command, Stdio::piped(), "the load generator")?;
        let input = child.take_input().ok_or(ErrorKind::BrokenPipe)?;
        child.read_line()?;
        Ok(Self { child, input })
    }

    /// Gives one order, and waits for its outcome.
    pub(crate) fn order(&mut self, order: LoadOrder) -> io::Result<LoadOutcome> {
        writeln!(self.input, "{}", order.to_line())?;
        self.child.read_line()?.parse()
    }

    /// Lets the generator close its connections, and waits until it has ended.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Self { child, input } = self;
        drop(input);
        child.wait()
    }
}
