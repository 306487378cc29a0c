//! Methods that start programs, for the `Command` of std.

use super::child::Child;
use crate::engine::handle::Handle;
use futures::future::BoxFuture;
use std::io;
use std::process::{Command, ExitStatus, Output, Stdio};

/// Starts programs for async code: an extension of [`std::process::Command`], which is configured as ever.
///
/// Starting a program is a blocking call, as with std: it returns when the new process has called `execve(2)`.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::AsyncCommandExt;
/// use std::process::Command;
///
/// async_epoll::block_on(async {
///     let output = Command::new("echo").arg("hello").output_async().await?;
///     assert_eq!(output.stdout, b"hello\n");
///     Ok(())
/// })?
/// # }
/// ```
pub trait AsyncCommandExt {
    /// Starts the program, with the current reactor.
    ///
    /// # Errors
    ///
    /// Those of [`spawn_async_with`](Self::spawn_async_with), and of [`Handle::current`].
    fn spawn_async(&mut self) -> io::Result<Child> {
        self.spawn_async_with(&Handle::current()?)
    }

    /// Starts the program, with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// - The errors of [`Command::spawn`]: `NotFound`, for example.
    /// - `Unsupported` if the kernel has no process descriptors, or a sandbox refuses them. No program was started then.
    /// - `NotConnected` if the reactor has been dropped.
    /// - The errors of [`Source::with_interest`](crate::Source::with_interest). The program is killed then.
    fn spawn_async_with(&mut self, handle: &Handle) -> io::Result<Child>;

    /// Starts the program at once, with the current reactor. The future is that of [`Child::output`].
    ///
    /// Standard output and error are piped, whatever was configured. Standard input is inherited unless it was configured;
    /// std would give the program an empty one.
    ///
    /// # Errors
    ///
    /// Those of [`spawn_async`](Self::spawn_async) and [`Child::output`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child: the program goes on, and its output is lost.
    fn output_async(&mut self) -> BoxFuture<'static, io::Result<Output>>;

    /// Starts the program at once, with the current reactor. The future is that of [`Child::wait`].
    ///
    /// # Errors
    ///
    /// Those of [`spawn_async`](Self::spawn_async) and [`Child::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child: the program goes on.
    fn status_async(&mut self) -> BoxFuture<'static, io::Result<ExitStatus>>;
}

impl AsyncCommandExt for Command {
    fn spawn_async_with(&mut self, handle: &Handle) -> io::Result<Child> {
        Child::spawn(self, handle)
    }

    fn output_async(&mut self) -> BoxFuture<'static, io::Result<Output>> {
        let child = self.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn_async();
        Box::pin(async move { child?.output().await })
    }

    fn status_async(&mut self) -> BoxFuture<'static, io::Result<ExitStatus>> {
        let child = self.spawn_async();
        Box::pin(async move { child?.wait().await })
    }
}
