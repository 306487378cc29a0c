//! A child process: its pipes, its end, and signals to it.

use super::{orphan, sys};
use crate::engine::handle::Handle;
use crate::engine::timer::Timer;
use crate::io::interest::Interest;
use crate::pipe::{PipeReader, PipeWriter};
use crate::signal::number::Signal;
use crate::source::source::{Explained, Source};
use crate::sys::ForkMark;
use futures::future::{Either, select, try_join};
use futures::io::AsyncReadExt;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::process::{self, Command, ExitStatus, Output};
use std::time::Duration;

/// The writing end of a child's standard input.
pub type ChildStdin = PipeWriter;
/// The reading end of a child's standard output.
pub type ChildStdout = PipeReader;
/// The reading end of a child's standard error.
pub type ChildStderr = PipeReader;

/// A child process, from [`AsyncCommandExt::spawn_async`](crate::AsyncCommandExt::spawn_async).
///
/// Needs neither a thread nor a handler for SIGCHLD, and works on any reactor. Signals reach this child or no process: a
/// process ID that is in use again does not matter.
///
/// # Dropping
///
/// A child that is dropped goes on, unless [`kill_on_drop`](Self::kill_on_drop) was set. Its reactor collects the status when
/// the child ends, so it does not stay behind as a zombie. If the reactor is dropped before the child has ended, the rule of
/// std applies: the child stays a zombie until this process ends.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::AsyncCommandExt;
/// use futures::{AsyncReadExt, AsyncWriteExt};
/// use std::process::{Command, Stdio};
///
/// async_epoll::block_on(async {
///     let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn_async()?;
///     child.stdin.as_mut().unwrap().write_all(b"meow").await?;
///     assert!(child.wait().await?.success()); // Closes the input first, so that `cat` ends.
///     let mut text = String::new();
///     child.stdout.take().unwrap().read_to_string(&mut text).await?;
///     assert_eq!(text, "meow");
///     Ok(())
/// })?
/// # }
/// ```
pub struct Child {
    /// The child's standard input, if it is [piped](std::process::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// The child's standard output, if it is piped.
    pub stdout: Option<ChildStdout>,
    /// The child's standard error, if it is piped.
    pub stderr: Option<ChildStderr>,
    /// The process ID.
    id: u32,
    /// The process descriptor. `None` only if the child had ended, without a status, before it could be opened.
    pidfd: Option<Source<OwnedFd>>,
    /// How the child ended, once that is known.
    end: Option<End>,
    /// Whether dropping the child kills it.
    kill_on_drop: bool,
    /// The process that has started the child. A forked child of it has a copy, and leaves the child alone.
    process: ForkMark,
}

/// How a child has ended.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The status was collected.
    Ended(ExitStatus),
    /// The status went elsewhere.
    Lost,
}

impl Child {
    /// Starts a program, with the reactor of `handle`.
    pub(crate) fn spawn(command: &mut Command, handle: &Handle) -> io::Result<Self> {
        handle.shared.refuse_child()?;
        if handle.shared.is_gone() {
            return Err(crate::engine::shared::gone());
        }
        // Asks for the system calls before a program has been started in vain. And this descriptor's number is free again
        // for the child's, unless another thread takes it.
        let probe = sys::pidfd_open(process::id()).map_err(explain)?;
        match sys::try_wait(probe.as_fd()) {
            Err(error) if error.raw_os_error() != Some(libc::ECHILD) => return Err(explain(error)),
            _ => {}
        }
        let mut started = command.spawn()?;
        drop(probe);
        Self::new(&mut started, handle).inspect_err(|_| {
            // The program must not go on without a caller that knows of it.
            let _ = started.kill();
            let _ = started.wait();
        })
    }

    /// Makes a child of a process that was just started.
    fn new(started: &mut process::Child, handle: &Handle) -> io::Result<Self> {
        let pidfd = match sys::pidfd_open(started.id()) {
            Ok(pidfd) if sys::has_status(pidfd.as_fd()) => {
                Some(Source::with_interest(pidfd, Interest::READABLE, handle)?)
            }
            // The status of the child was not kept, so another process may have got its ID before it was opened.
            Ok(_) => None,
            // A child that has ended can be opened as long as its status is kept. So it is not kept.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            stdin: started.stdin.take().map(|end| PipeWriter::new_with(end, handle)).transpose()?,
            stdout: started.stdout.take().map(|end| PipeReader::new_with(end, handle)).transpose()?,
            stderr: started.stderr.take().map(|end| PipeReader::new_with(end, handle)).transpose()?,
            id: started.id(),
            end: pidfd.is_none().then_some(End::Lost),
            pidfd,
            kill_on_drop: false,
            process: ForkMark::new(),
        })
    }

    /// Returns the process ID. Once the status was collected, another process may have the same ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Sets whether dropping the child kills it, by SIGKILL. The processes that the child has started are not killed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::AsyncCommandExt;
    /// use std::process::Command;
    ///
    /// async_epoll::block_on(async {
    ///     let child = Command::new("sleep").arg("1000").spawn_async()?.kill_on_drop(true);
    ///     drop(child); // Killed, and no zombie either.
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    #[must_use = "the child comes back, and is killed if it is dropped"]
    pub fn kill_on_drop(mut self, kill: bool) -> Self {
        self.kill_on_drop = kill;
        self
    }

    /// Waits until the child has ended. Returns its status, again at each call.
    ///
    /// Closes the child's standard input first, if [`stdin`](Self::stdin) is still there: a child that reads to the end of
    /// its input would wait for this process otherwise. Does not read the output: a child that writes more than a pipe
    /// holds does not end before its output is read. [`output`](Self::output) does both.
    ///
    /// The end of the child is not the end of its output: processes that it has started may have inherited the pipe.
    ///
    /// # Errors
    ///
    /// - An error with `ECHILD` as its [source](std::error::Error::source), once the child has ended, if its status is lost: because
    ///   this process ignores SIGCHLD, because other code of the process has collected it (by a `waitpid(2)` for any child),
    ///   or in a forked child of this process.
    /// - `NotConnected` if the reactor has been dropped, and the child still runs.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, but for the closed input: the next call goes on waiting.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        if let (None, Some(pidfd)) = (self.end, &self.pidfd) {
            let wait = |pidfd: &OwnedFd| sys::try_wait(pidfd.as_fd())?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
            match pidfd.read_with(wait).await {
                Ok(status) => self.end = Some(End::Ended(status)),
                // Without its reactor, the child may have ended all the same.
                Err(error) => return self.try_wait()?.ok_or(error),
            }
        }
        self.try_wait()?.ok_or_else(lost)
    }

    /// Returns the status, if the child has ended. Does not wait, and leaves the standard input open.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), if the status is lost.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if let (None, Some(pidfd)) = (self.end, &self.pidfd) {
            match sys::try_wait(pidfd.lend().as_fd()) {
                Ok(status) => self.end = status.map(End::Ended),
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => self.end = Some(End::Lost),
                Err(error) => return Err(error),
            }
        }
        match self.end {
            None => Ok(None),
            Some(End::Ended(status)) => Ok(Some(status)),
            Some(End::Lost) => Err(lost()),
        }
    }

    /// Reads the child's output to its end, both pipes at once, and waits for the child. Closes the standard input first.
    ///
    /// A stream that is not piped is empty. The future holds the whole output in memory: limit it by
    /// [`take`](AsyncReadExt::take) on the pipes where the child is not to be trusted.
    ///
    /// # Errors
    ///
    /// The errors of [`wait`](Self::wait), and of reading.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what was read is lost. Dropping the future drops the child.
    pub async fn output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = try_join(read(self.stdout.take()), read(self.stderr.take())).await?;
        Ok(Output { status: self.wait().await?, stdout, stderr })
    }

    /// Sends SIGKILL. Does not wait for the end: call [`wait`](Self::wait) for that.
    ///
    /// # Errors
    ///
    /// As [`signal`](Self::signal).
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Sends a signal to the child, by `pidfd_send_signal(2)`. Does nothing if the child has ended, as std's `kill`.
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_send_signal(2)`](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html): `EPERM` if the
    /// child runs as another user, for example.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pidfd) = &self.pidfd else { return Ok(()) };
        match sys::send_signal(pidfd.lend().as_fd(), signal.as_raw(), 0) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Sends SIGKILL to the child's process group: to the child and to all processes that it has started, unless they have
    /// left the group.
    ///
    /// # Errors
    ///
    /// As [`signal_group`](Self::signal_group).
    pub fn kill_group(&self) -> io::Result<()> {
        self.signal_group(Signal::KILL)
    }

    /// Sends a signal to the child's process group. The child has to lead a group of its own: start it with
    /// [`Command::process_group(0)`](std::os::unix::process::CommandExt::process_group).
    ///
    /// A process that has left the group, by `setsid(2)` for example, is not reached.
    ///
    /// # Errors
    ///
    /// - `NotFound` if no process is left in the group, or if the child leads none.
    /// - `Unsupported` before Linux 6.9, if the status was collected already, by any code: the number of the group may be in
    ///   use again. Also in a forked child, which cannot know.
    /// - The other errors of [`kill(2)`](https://man7.org/linux/man-pages/man2/kill.2.html).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::AsyncCommandExt;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// async_epoll::block_on(async {
    ///     let mut shell = Command::new("sh").args(["-c", "sleep 1000 & wait"]).process_group(0).spawn_async()?;
    ///     shell.kill_group()?; // The shell, and the `sleep` that it has started.
    ///     assert!(!shell.wait().await?.success());
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn signal_group(&self, signal: Signal) -> io::Result<()> {
        let none =
            || io::Error::new(io::ErrorKind::NotFound, "no process is left in the child's group, or it has none");
        let Some(pidfd) = &self.pidfd else { return Err(none()) };
        let sent = match sys::send_signal(pidfd.lend().as_fd(), signal.as_raw(), sys::TO_GROUP) {
            // An older kernel. The number stays in use until the status is collected.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && sys::has_status(pidfd.lend().as_fd()) => {
                sys::kill_group(self.id, signal.as_raw())
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "before Linux 6.9, a group can be signalled only before the child's status is collected",
                ));
            }
            sent => sent,
        };
        sent.map_err(|error| if error.raw_os_error() == Some(libc::ESRCH) { none() } else { error })
    }

    /// Asks the child to end, by SIGTERM, and kills it by SIGKILL if it has not ended after `limit`. Returns its status.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait) and [`signal`](Self::signal).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the next call sends SIGTERM again, and its limit begins anew.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::AsyncCommandExt;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// async_epoll::block_on(async {
    ///     let mut child = Command::new("sleep").arg("1000").spawn_async()?;
    ///     let status = child.terminate_within(Duration::from_secs(10)).await?;
    ///     assert_eq!(status.signal(), Some(15));
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn terminate_within(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        if let Some(pidfd) = &self.pidfd {
            let timer = Timer::after(limit, &pidfd.handle());
            if let Either::Left((ended, _)) = select(pin!(self.wait()), timer).await {
                return ended;
            }
            self.kill()?;
        }
        self.wait().await
    }
}

/// Reads a pipe to its end.
async fn read(pipe: Option<PipeReader>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.end.is_some() || self.process.is_child() {
            return;
        }
        if self.kill_on_drop {
            // The child has ended already, or runs as another user.
            let _ = self.kill();
        }
        if let Some(pidfd) = self.pidfd.take() {
            orphan::adopt(pidfd);
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("id", &self.id).field("end", &self.end).finish_non_exhaustive()
    }
}

/// Returns the error of a status that went elsewhere.
fn lost() -> io::Error {
    let message = "the child's status is lost (ECHILD): this process ignores SIGCHLD, other code has waited for the child, \
                   or the child belongs to the parent of this process";
    let cause = io::Error::from_raw_os_error(libc::ECHILD);
    io::Error::new(cause.kind(), Explained { message, cause })
}

/// Explains the error of a kernel or sandbox without process descriptors.
fn explain(cause: io::Error) -> io::Error {
    if !matches!(cause.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL)) {
        return cause;
    }
    let message = "no process descriptors here: children need pidfd_open(2) and waitid(2) with P_PIDFD, of Linux 5.4, and \
                   no sandbox that refuses them";
    io::Error::new(io::ErrorKind::Unsupported, Explained { message, cause })
}
