//! Standard input for a loop that must not block.
//!
//! The hard idea: whether a read blocks is a property of the *open file*, not of the descriptor, and a process shares
//! the open file of its standard input. The shell reads from the same terminal after the process has ended, and
//! standard output and error usually are the same open file. `O_NONBLOCK` on descriptor 0 would apply to all of them.
//! Clearing the flag at the end would not help processes that run meanwhile, and would not happen after `kill -9`. So
//! the flag is never set here:
//!
//! ```text
//!   pipe, FIFO, terminal   opened anew through /proc/self/fd: a second open file, non-blocking, for a Source
//!   socket                 cannot be opened anew; each read asks not to wait (MSG_DONTWAIT)
//!   regular file, …        a thread reads it, through the crate `blocking`: epoll refuses files that are always ready
//! ```
//!
//! A thread also reads a pipe or terminal that cannot be opened anew (without `/proc`, or a terminal of another user
//! after `su`). A line on standard error says so. The program works the same then, but the thread may be blocked in a
//! read until the process ends.

use crate::because;
use async_epoll::{Handle, Source};
use blocking::Unblock;
use futures::AsyncRead;
use rustix::fs::{Mode, OFlags, fcntl_getfl, open};
use rustix::net::{RecvFlags, recv};
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::pin::Pin;
use std::task::{Context, Poll};

/// How far the thread reads ahead, in bytes: as far as `std::io::stdin`. Bytes that were read ahead are lost to a later
/// process with the same standard input.
const AHEAD: usize = 8 * 1024;

/// Standard input, read in one of three ways.
#[derive(Debug)]
pub enum Stdin {
    /// A second open file, in non-blocking mode, that epoll waits for.
    Reopened(Source<File>),
    /// A socket that epoll waits for. Its mode stays as it was.
    Socket(Source<File>),
    /// A file that a thread reads.
    Thread(Unblock<File>),
}

impl Stdin {
    /// Opens standard input, for the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// The errors of `dup(2)`, and the errors of [`Source::with_handle`] that do not depend on the kind of file.
    pub fn open(handle: &Handle) -> io::Result<Self> {
        let explain = because("cannot open standard input");
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let kind = stdin.metadata()?;
        if kind.file_type().is_socket() {
            // The socket may be in blocking mode, although `lazy` asks for non-blocking mode. That is harmless, because
            // each read here asks not to wait. The socket is shared, so closing this duplicate does not deregister it.
            let source = Source::lazy(stdin, handle);
            source.note_duplicate();
            return Ok(Self::Socket(source));
        }
        if can_be_opened_anew(&stdin, &kind) {
            let path = format!("/proc/self/fd/{}", stdin.as_raw_fd());
            // Without `NOCTTY`, a terminal that is opened may become the controlling terminal, the source of Ctrl-C.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            if let Ok(own) = open(path, flags, Mode::empty()) {
                return match Source::with_handle(File::from(own), handle) {
                    Ok(source) => Ok(Self::Reopened(source)),
                    Err(refused) => Err(explain(refused.error)),
                };
            }
        }
        let _ = writeln!(io::stderr(), "standard input: {}, so a thread reads it", describe(&stdin, &kind));
        Ok(Self::Thread(Unblock::with_capacity(AHEAD, stdin)))
    }
}

/// Returns whether a second open file would give the same bytes, without an effect on the first.
///
/// A regular file would start again at its beginning. For most devices, each open file has a state of its own: opening
/// the controlling end of a pseudoterminal, for example, would make another terminal.
fn can_be_opened_anew(stdin: &File, kind: &Metadata) -> bool {
    // The writing end of a pipe would be opened for reading, and would take bytes that are meant for the reader.
    let readable = fcntl_getfl(stdin).is_ok_and(|flags| !flags.contains(OFlags::WRONLY));
    let controlling_end = (rustix::fs::major(kind.rdev()), rustix::fs::minor(kind.rdev())) == (5, 2);
    readable && (kind.file_type().is_fifo() || stdin.is_terminal() && !controlling_end)
}

/// Returns the reason for the thread, for the line on standard error.
fn describe(stdin: &File, kind: &Metadata) -> &'static str {
    match kind.file_type() {
        kind if kind.is_file() => "epoll cannot wait for a regular file",
        kind if kind.is_fifo() || stdin.is_terminal() => "it cannot be opened anew",
        _ => "epoll may refuse this kind of file",
    }
}

impl AsyncRead for Stdin {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Reopened(source) => Pin::new(source).poll_read(cx, buf),
            Self::Socket(source) => source.poll_read_with(cx, |socket| {
                recv(socket, &mut *buf, RecvFlags::DONTWAIT).map(|(length, _)| length).map_err(io::Error::from)
            }),
            Self::Thread(file) => Pin::new(file).poll_read(cx, buf),
        }
    }
}
