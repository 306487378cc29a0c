//! One direction's pipe: from a socket to a socket by `splice(2)`, without a copy to this process.
//!
//! ```text
//!                  fill: only while the pipe is empty           drain: only while it is not
//!   socket ────────────────── splice ─────────────────► pipe ────────── splice ────────────────► socket
//!   WouldBlock: the socket has nothing                  WouldBlock: the socket has no room
//! ```
//!
//! `EAGAIN` of `splice(2)` does not say which of the two descriptors it is about. Here it is always about the socket:
//! an empty pipe has room, and one that is known to hold something has something to give. So each half is an operation
//! on a source like any other, which waits for that source alone, and no pipe has to be registered with epoll.
//!
//! Three things about `splice(2)` that its manual page does not say:
//!
//! - It never gets past the mark of urgent data (a `recv(2)` does), and reports it as "would block" or, after a FIN, as
//!   an end of file. So it is given up once the kernel has reported urgent data, and its 0 is not taken for an end.
//! - Into a socket that is closed for writing, it raises `SIGPIPE`, and there is no flag against that. It may do so and
//!   succeed, with fewer bytes than it could have moved.
//! - How much fits into a pipe is a matter of pieces, not of bytes: one for each page of its size, from 1 byte to 32
//!   KiB each. With 64 pieces instead of the usual 16, a proxy took a sixth less CPU time for its bulk data.
//!
//! A pipe is taken when there is bulk data, and given up when the reader has no more. A few empty ones are kept
//! per thread, since making and closing one costs as much as moving some data: see [`KEPT_PIPES`].

use super::buffer::nothing_written;
use super::sys;
use crate::socket::socket::Socket;
use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

/// The most that goes into a pipe at once, and so the most of kernel memory that a direction holds.
const MAX_PIPE_BYTES: usize = 256 * 1024;
/// Empty pipes that each thread keeps at most.
const KEPT_PIPES: usize = 8;

/// A socket of ours, as one end of a copy.
pub(super) trait End {
    /// Tries `op` until it does not block; then the result.
    fn poll_read_by(&self, cx: &mut Context<'_>, op: &mut Operation<'_>) -> Poll<io::Result<usize>>;
    /// The same for writing.
    fn poll_write_by(&self, cx: &mut Context<'_>, op: &mut Operation<'_>) -> Poll<io::Result<usize>>;
    /// Whether the kernel has ever reported urgent data.
    fn is_urgent(&self) -> bool;
}

impl<T: AsFd> End for Socket<T> {
    fn poll_read_by(&self, cx: &mut Context<'_>, op: &mut Operation<'_>) -> Poll<io::Result<usize>> {
        self.poll_read_with(cx, |socket| op(socket.as_fd()))
    }

    fn poll_write_by(&self, cx: &mut Context<'_>, op: &mut Operation<'_>) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |socket| op(socket.as_fd()))
    }

    fn is_urgent(&self) -> bool {
        self.readiness().is_priority()
    }
}

/// An operation on a socket's descriptor.
pub(super) type Operation<'a> = dyn FnMut(BorrowedFd<'_>) -> io::Result<usize> + 'a;

/// The socket that `value` is or refers to, if it is one of ours.
pub(super) fn socket<T>(value: &T) -> Option<&dyn End> {
    let tcp = sys::as_a::<TcpStream, T>(value).map(|stream| &*stream.socket as &dyn End);
    tcp.or_else(|| sys::as_a::<UnixStream, T>(value).map(|stream| &*stream.socket as &dyn End))
}

/// Whether an error says that splicing is not possible here, while reading and writing may be. Forbidden by a sandbox,
/// unknown to it, not offered for this kind of socket; no descriptors or memory for a pipe.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EOPNOTSUPP | libc::EMFILE | libc::ENFILE)
    )
}

/// Bytes on their way from a socket to a socket.
#[derive(Debug, Default)]
pub(super) struct Splice {
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    held: usize,
}

impl Splice {
    /// Moves what is there from a socket into the empty pipe. Returns how much, at most [`MAX_PIPE_BYTES`]. 0 means the end
    /// of file or urgent data.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, reader: &dyn End) -> Poll<io::Result<usize>> {
        debug_assert_eq!(self.held, 0);
        let pipe = match &self.pipe {
            Some(pipe) => pipe,
            None => self.pipe.insert(Pipe::take()?),
        };
        let polled = reader.poll_read_by(cx, &mut |socket| sys::splice(socket, pipe.writer.as_fd(), MAX_PIPE_BYTES));
        match &polled {
            Poll::Ready(Ok(length)) => self.held = *length,
            _ => self.release(),
        }
        polled
    }

    /// Moves all that is in the pipe into a socket, and counts it.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        writer: &dyn End,
        copied: &mut u64,
    ) -> Poll<io::Result<()>> {
        while let (1.., Some(pipe)) = (self.held, &self.pipe) {
            // Exactly what is there: asked for more, the kernel would hold the last part back for what is to come.
            let (reader, held) = (pipe.reader.as_fd(), self.held);
            let mut drain = |socket: BorrowedFd<'_>| sys::without_sigpipe(held, || sys::splice(reader, socket, held));
            let length = ready!(writer.poll_write_by(cx, &mut drain))?;
            if length == 0 {
                return Poll::Ready(Err(nothing_written()));
            }
            self.held -= length;
            *copied += length as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the empty pipe up.
    pub(super) fn release(&mut self) {
        debug_assert_eq!(self.held, 0);
        if let Some(pipe) = self.pipe.take() {
            pipe.keep();
        }
    }

    /// Reads what is in the pipe, which is given up.
    pub(super) fn rescue(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; std::mem::take(&mut self.held)];
        match self.pipe.take() {
            Some(pipe) => File::from(pipe.reader).read_exact(&mut bytes).map(|()| bytes),
            None => Ok(bytes),
        }
    }
}

/// A pipe.
#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// The process that has made it.
    process: u32,
}

thread_local! {
    /// Empty pipes for the next who needs one.
    static KEPT: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

impl Pipe {
    /// An empty pipe.
    fn take() -> io::Result<Self> {
        let process = std::process::id();
        while let Ok(Some(pipe)) = KEPT.try_with(|kept| kept.borrow_mut().pop()) {
            // After a fork the pipe is the parent's, too: its bytes and ours would mix.
            if pipe.process == process {
                return Ok(pipe);
            }
        }
        let [reader, writer] = sys::pipe()?;
        // Where the user has many pipes already, `EPERM`: one of the usual size does, too.
        let _ = sys::set_pipe_size(writer.as_fd(), MAX_PIPE_BYTES);
        Ok(Self { reader, writer, process })
    }

    /// Keeps an empty pipe for the next, or closes it.
    fn keep(self) {
        // Without thread-locals, at the end of the thread, it is closed.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_PIPES {
                kept.push(self);
            }
        });
    }
}
