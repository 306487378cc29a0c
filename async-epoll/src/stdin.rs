//! Standard input for a loop that must not block.
//!
//! The hard idea: whether a read blocks is a property of the *open file*, not of the descriptor, and a process shares the open
//! file of its standard input. The shell reads from the same terminal after the process has ended, and standard output and
//! error usually are the same open file. `O_NONBLOCK` on descriptor 0 would apply to all of them. Clearing the flag at the
//! end would not help processes that run meanwhile, and would not happen after `kill -9`. So the flag is never set here:
//!
//! ```text
//!   pipe, FIFO, terminal   opened anew through /proc/self/fd: a second open file, non-blocking
//!   other files that       shared: each read asks by poll(2) first whether it would wait
//!   epoll accepts
//!   regular file, …        read directly: epoll refuses files that are always ready
//! ```

use crate::budget;
use crate::engine::handle::Handle;
use crate::source::source::Source;
use crate::sys;
use futures::io::AsyncRead;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The standard input of this process, without a buffer: whatever it is, and without an effect on other programs that share
/// it. From [`stdin`].
///
/// A pipe, FIFO or terminal is opened anew, in non-blocking mode. A socket, and what cannot be opened anew (without `/proc`,
/// or a terminal of another user after `su`), stays shared, and is read when `poll(2)` reports data. If another process reads
/// from the same open file at that moment and takes the data, the read blocks until there is more.
///
/// A regular file is read directly, as by std: the loop stands still while the disk works. Where that matters, use
/// `blocking::Unblock` or another thread.
///
/// Do not mix this with [`std::io::stdin`], which has a buffer.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use futures::StreamExt;
/// use futures::io::{AsyncBufReadExt, BufReader};
///
/// async_epoll::block_on(async {
///     let mut lines = BufReader::new(async_epoll::stdin()?).lines();
///     while let Some(line) = lines.next().await {
///         println!("{}", line?);
///     }
///     Ok(())
/// })?
/// # }
/// ```
pub struct Stdin(Way);

/// How standard input is read.
enum Way {
    /// A second open file, in non-blocking mode.
    Reopened(Source<File>),
    /// A duplicate of the descriptor, in the mode that the open file has.
    Shared(Source<File>),
    /// A duplicate that is always ready.
    Direct(File),
}

/// Opens standard input, with the current reactor.
///
/// # Errors
///
/// Those of [`stdin_with`], and of [`Handle::current`].
pub fn stdin() -> io::Result<Stdin> {
    stdin_with(&Handle::current()?)
}

/// Opens standard input, with the reactor of `handle`.
///
/// # Errors
///
/// - `NotConnected` if the reactor has been dropped.
/// - The errors of [`dup(2)`](https://man7.org/linux/man-pages/man2/dup.2.html), and the other errors of
///   [`Source::with_interest`] but `PermissionDenied`.
pub fn stdin_with(handle: &Handle) -> io::Result<Stdin> {
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    // The writing end of a pipe would be opened for reading, and would take bytes that are meant for the reader. A read of
    // the descriptor itself fails at once.
    if sys::is_write_only(stdin.as_fd())? {
        return Ok(Stdin(Way::Direct(stdin)));
    }
    if can_be_opened_anew(&stdin, &stdin.metadata()?) {
        let path = format!("/proc/self/fd/{}", stdin.as_raw_fd());
        // Without `O_NOCTTY`, a terminal that is opened may become the controlling terminal, the source of Ctrl-C.
        let own = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
        if let Ok(own) = own {
            return Ok(Stdin(Way::Reopened(Source::with_handle(own, handle)?)));
        }
    }
    // Lazy, because that leaves the mode as it is; then registered at once, to see whether epoll accepts the file.
    let source = Source::lazy(stdin, handle);
    source.note_duplicate();
    match source.register() {
        Ok(()) => Ok(Stdin(Way::Shared(source))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Stdin(Way::Direct(source.into_inner()?))),
        Err(error) => Err(error),
    }
}

/// Returns whether a second open file would give the same bytes, without an effect on the first.
///
/// A regular file would start again at its beginning. For most devices, each open file has a state of its own: opening the
/// controlling end of a pseudoterminal, for example, would make another terminal.
fn can_be_opened_anew(stdin: &File, kind: &Metadata) -> bool {
    let controlling_end = (libc::major(kind.rdev()), libc::minor(kind.rdev())) == (5, 2);
    kind.file_type().is_fifo() || stdin.is_terminal() && !controlling_end
}

impl AsyncRead for Stdin {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Way::Reopened(source) => Pin::new(source).poll_read(cx, buffer),
            Way::Shared(_) if buffer.is_empty() => Poll::Ready(Ok(0)),
            Way::Shared(source) => {
                source.poll_read_with(cx, |mut file| match sys::present_events(file.as_fd(), libc::POLLIN)? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => file.read(buffer),
                })
            }
            Way::Direct(file) => {
                // A file that is always ready would leave no time to other tasks.
                ready!(budget::poll_proceed(cx));
                budget::spend();
                loop {
                    match file.read(buffer) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        result => return Poll::Ready(result),
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match &self.0 {
            Way::Reopened(_) => "reopened",
            Way::Shared(_) => "shared",
            Way::Direct(_) => "direct",
        };
        f.debug_tuple("Stdin").field(&format_args!("{way}")).finish()
    }
}
