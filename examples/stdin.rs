//! Standard input for a loop that must not block.
//!
//! The hard idea: whether a read blocks is a property of the *open file*, not of the descriptor, and standard input is an
//! open file that others have, too. The shell reads from the same terminal when we are gone; so do standard output and
//! error, which usually are that same open file. Who sets `O_NONBLOCK` on descriptor 0 sets it for all of them, and
//! putting it back at the end does not help those who run meanwhile, nor after a `kill -9`. So it is never set here:
//!
//! ```text
//!   pipe, FIFO, terminal   opened anew through /proc/self/fd: an open file of our own, non-blocking, for a Source
//!   socket                 cannot be opened anew; each read by itself says that it will not wait (MSG_DONTWAIT)
//!   regular file, …        a thread reads it, through the crate `blocking`, since epoll refuses what is always ready
//! ```
//!
//! What cannot be opened anew (no `/proc`, or a terminal of another user's after `su`) goes to the thread, too. A line on
//! standard error says when it is the thread; everything works the same then, at the price of a thread that may be
//! blocked in a read until the process ends.

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

/// How far the thread reads ahead: as far as `std::io::stdin` does. What it has read, nobody after us will.
const AHEAD: usize = 8 * 1024;

/// Standard input, by whatever way it can be waited for.
#[derive(Debug)]
pub enum Stdin {
    /// An open file of our own, which epoll waits for.
    Reopened(Source<File>),
    /// A socket, which epoll waits for, while it stays as blocking as it was.
    Socket(Source<File>),
    /// A thread waits.
    Thread(Unblock<File>),
}

impl Stdin {
    /// Opens standard input, for the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, and those of [`Source::with_handle`] that do not concern the kind of file.
    pub fn open(handle: &Handle) -> io::Result<Self> {
        let explain = because("cannot open standard input");
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let kind = stdin.metadata()?;
        if kind.file_type().is_socket() {
            // It blocks, and `lazy` wants what does not; but of this one nothing is asked that would block. Others have
            // the same socket, so closing our descriptor will not deregister it.
            let source = Source::lazy(stdin, handle);
            source.note_duplicate();
            return Ok(Self::Socket(source));
        }
        if can_be_opened_anew(&stdin, &kind) {
            let path = format!("/proc/self/fd/{}", stdin.as_raw_fd());
            // A terminal that is opened may become the one that Ctrl-C comes from, unless told not to.
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

/// Whether opening it once more gives the same bytes, and changes nothing for others.
///
/// Not so for a regular file, which would begin at its beginning again; nor for most devices, where each open file is a
/// thing of its own. For the controlling end of a pseudoterminal, for one, it would be another terminal.
fn can_be_opened_anew(stdin: &File, kind: &Metadata) -> bool {
    // A pipe's end for writing would be opened for reading, and take what is meant for somebody else.
    let readable = fcntl_getfl(stdin).is_ok_and(|flags| !flags.contains(OFlags::WRONLY));
    let controlling_end = (rustix::fs::major(kind.rdev()), rustix::fs::minor(kind.rdev())) == (5, 2);
    readable && (kind.file_type().is_fifo() || stdin.is_terminal() && !controlling_end)
}

/// For the user: why not epoll?
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
