//! The pipe of one direction: bytes move from socket to socket by `splice(2)`, without a copy to this process.
//!
//! ```text
//!                  fill: only while the pipe is empty           drain: only while the pipe holds bytes
//!   socket ────────────────── splice ─────────────────► pipe ────────── splice ────────────────► socket
//!   WouldBlock: the socket has no bytes                 WouldBlock: the socket has no room
//! ```
//!
//! `EAGAIN` of `splice(2)` does not say which of the two descriptors is not ready. Here it is always the socket: an
//! empty pipe has room, and a pipe that holds bytes is readable. So filling and draining are each an operation on one
//! source, which waits for this source alone, and no pipe is registered with epoll.
//!
//! The manual page of `splice(2)` omits three facts:
//!
//! - It never moves past the mark of urgent data (unlike `recv(2)`), and reports the mark as `EAGAIN` or, after a FIN,
//!   as an end of file. So splicing stops for good once the kernel has reported urgent data, and a result of 0 does not
//!   count as an end of file.
//! - Into a socket that is closed for writing, it raises `SIGPIPE`, and no flag prevents that. It may raise the signal
//!   and still succeed, with fewer bytes than it could have moved.
//! - The capacity of a pipe is a number of pieces, not of bytes: one piece for each page of its size, from 1 byte to
//!   32 KiB each. With 64 pieces instead of the usual 16, a proxy used a sixth less CPU time for bulk data.
//!
//! A direction takes a pipe when there is bulk data, and gives it up when the reader has no more. Each thread keeps a
//! few empty pipes, since to open and close a pipe costs as much as to move some data: see [`MAX_KEPT_PIPES`].

use super::buffer::nothing_written;
use super::sys;
use crate::socket::socket::Socket;
use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use async_epoll::ForkMark;
use socket2::SockRef;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

/// The maximum number of bytes in a pipe, and so the maximum kernel memory of a direction.
const MAX_PIPE_BYTES: usize = 256 * 1024;
/// The maximum number of empty pipes that each thread keeps.
const MAX_KEPT_PIPES: usize = 8;

/// A socket of this crate, as one end of a copy.
pub(super) trait End {
    /// Tries `op`, a read of the socket's descriptor, until it does not fail with `WouldBlock`. Returns its result.
    fn poll_read_by(&self, cx: &mut Context<'_>, op: &mut Operation<'_>) -> Poll<io::Result<usize>>;
    /// Tries `op`, a write to the socket's descriptor, until it does not fail with `WouldBlock`. Returns its result.
    fn poll_write_by(&self, cx: &mut Context<'_>, op: &mut Operation<'_>) -> Poll<io::Result<usize>>;
    /// Returns whether the kernel has ever reported urgent data.
    fn is_urgent(&self) -> bool;
    /// Waits until no byte can be written to the socket any more.
    fn poll_write_closed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Returns the pending error of the socket, if any, and clears it.
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    /// Returns whether a socket that is closed for writing has been shut down for reading, too, by this process and not
    /// by its peer. Always `false` for a Unix socket: its state does not tell.
    fn has_stopped_reading(&self) -> bool;
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

    fn poll_write_closed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_write_closed(cx).map_ok(drop)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    fn has_stopped_reading(&self) -> bool {
        // The peer's FIN would have changed the state.
        matches!(sys::tcp_state(self.as_fd()), Ok(sys::FIN_WAIT1 | sys::FIN_WAIT2))
    }
}

/// An operation on a socket's descriptor.
pub(super) type Operation<'a> = dyn FnMut(BorrowedFd<'_>) -> io::Result<usize> + 'a;

/// Returns the socket that `value` is or refers to, or `None` if it is not a socket of this crate.
pub(super) fn socket<T>(value: &T) -> Option<&dyn End> {
    let tcp = sys::as_a::<TcpStream, T>(value).map(|stream| &*stream.socket as &dyn End);
    tcp.or_else(|| sys::as_a::<UnixStream, T>(value).map(|stream| &*stream.socket as &dyn End))
}

/// Returns whether an error means that splicing is not possible here, while reading and writing may be: a sandbox
/// forbids or does not know `splice(2)`, this kind of socket does not support it, or no pipe can be opened for lack of
/// descriptors or memory.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EOPNOTSUPP | libc::EMFILE | libc::ENFILE)
    )
}

/// Bytes on their way from a socket to a socket, in a pipe.
#[derive(Debug, Default)]
pub(super) struct Splice {
    /// The pipe, taken by [`poll_fill`](Self::poll_fill); `None` while the direction needs none.
    pipe: Option<Pipe>,
    /// The number of bytes in the pipe.
    held: usize,
}

impl Splice {
    /// Moves available bytes from a socket into the empty pipe. Returns their number, at most [`MAX_PIPE_BYTES`]. 0
    /// means the end of file or urgent data.
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

    /// Moves all bytes of the pipe into a socket, and adds their number to `copied`.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        writer: &dyn End,
        copied: &mut u64,
    ) -> Poll<io::Result<()>> {
        while let (1.., Some(pipe)) = (self.held, &self.pipe) {
            // Ask for exactly the bytes in the pipe. Asked for more, the kernel would hold the last part back, to wait
            // for more.
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

    /// Returns whether the pipe holds bytes.
    #[cfg(test)]
    pub(super) fn holds_bytes(&self) -> bool {
        self.held > 0
    }

    /// Gives the empty pipe up, for reuse.
    pub(super) fn release(&mut self) {
        debug_assert_eq!(self.held, 0);
        if let Some(pipe) = self.pipe.take() {
            pipe.keep();
        }
    }

    /// Returns the bytes of the pipe by reading them, and closes the pipe.
    pub(super) fn rescue(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; std::mem::take(&mut self.held)];
        match self.pipe.take() {
            Some(pipe) => File::from(pipe.reader).read_exact(&mut bytes).map(|()| bytes),
            None => Ok(bytes),
        }
    }
}

/// A pipe, large enough for [`MAX_PIPE_BYTES`] if the kernel allows.
#[derive(Debug)]
struct Pipe {
    /// The end to read from.
    reader: OwnedFd,
    /// The end to write to.
    writer: OwnedFd,
    /// The process that opened the pipe.
    process: ForkMark,
}

thread_local! {
    /// Empty pipes for reuse by any direction on this thread.
    static KEPT: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

impl Pipe {
    /// Returns an empty pipe: a kept pipe, or a new pipe.
    fn take() -> io::Result<Self> {
        while let Ok(Some(pipe)) = KEPT.try_with(|kept| kept.borrow_mut().pop()) {
            // After a fork, parent and child share a pipe: the bytes of both would mix.
            if !pipe.process.is_child() {
                return Ok(pipe);
            }
        }
        let [reader, writer] = sys::pipe()?;
        // `EPERM` if the user has many pipes already. A pipe of the default size works, too.
        let _ = sys::set_pipe_size(writer.as_fd(), MAX_PIPE_BYTES);
        Ok(Self { reader, writer, process: ForkMark::new() })
    }

    /// Keeps the empty pipe for reuse, or closes it if the thread has enough.
    fn keep(self) {
        // If the thread is ending, its thread-locals are gone, and the pipe is closed.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < MAX_KEPT_PIPES {
                kept.push(self);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    /// A thread takes the pipe that it has kept last, and keeps a few.
    #[test]
    fn pipes_are_kept_for_reuse() {
        std::thread::spawn(|| {
            let pipe = Pipe::take().unwrap();
            let ends = (pipe.reader.as_raw_fd(), pipe.writer.as_raw_fd());
            let another = Pipe::take().unwrap();
            pipe.keep();
            // Gets the numbers of the pipe, should it be closed.
            let new = sys::pipe().unwrap();
            let pipe = Pipe::take().unwrap();
            assert_eq!((pipe.reader.as_raw_fd(), pipe.writer.as_raw_fd()), ends);
            drop(new);
            let pipes: Vec<_> = (0..2 * MAX_KEPT_PIPES).map(|_| Pipe::take().unwrap()).collect();
            pipes.into_iter().chain([pipe, another]).for_each(Pipe::keep);
            assert_eq!(KEPT.with_borrow(Vec::len), MAX_KEPT_PIPES);
        })
        .join()
        .unwrap();
    }
}
