//! The stream of a connection, of either kind.

use super::address::Address;
use crate::socket::stream_io::StreamSocket;
use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use async_epoll::{Readiness, refused_operations};
use futures::io::{AsyncBufRead, AsyncRead, AsyncWrite, IoSlice, IoSliceMut};
use socket2::SockRef;
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
#[cfg(feature = "hyper")]
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How many bytes are read at a time to be thrown away. On the stack.
const DISCARD: usize = 8 * 1024;

/// A stream of TCP or of Unix sockets.
#[derive(Clone, Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Evaluates an expression for the stream inside of a [`Stream`], whatever its kind.
macro_rules! with {
    ($stream:expr, $inner:ident => $do:expr) => {
        match $stream {
            Stream::Tcp($inner) => $do,
            Stream::Unix($inner) => $do,
        }
    };
}

/// What a look at the unread bytes finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unread {
    /// At least one byte is there.
    Data,
    /// The peer sends nothing more.
    End,
    /// No byte is there, and more may come.
    Nothing,
}

impl Stream {
    /// Looks whether a byte is there, whatever the source knows of its readiness: a byte may be there of which no event has
    /// told yet.
    pub(super) fn look(&self) -> io::Result<Unread> {
        let mut byte = [MaybeUninit::uninit()];
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let seen = with!(self, stream => SockRef::from(stream.socket.get_ref()).recv_with_flags(&mut byte, flags));
        match seen {
            Ok(0) => Ok(Unread::End),
            Ok(_) => Ok(Unread::Data),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Unread::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Writes as many bytes as there is room for, without waiting.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        with!(self, stream => stream.try_write(bytes))
    }

    /// Closes one direction or both.
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        with!(self, stream => stream.shutdown(how))
    }

    /// Makes the close of the socket a reset, so that the peer cannot take half of an answer for a whole one. For TCP only.
    pub(super) fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            // The socket may be dead already, and is closed in any case.
            let _ = SockRef::from(stream.socket.get_ref()).set_linger(Some(Duration::ZERO));
        }
    }

    /// Returns the local address.
    pub(super) fn local_addr(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Address::Ip),
            Self::Unix(stream) => stream.local_addr().map(|address| Address::Unix(address.into())),
        }
    }

    /// Reads bytes and throws them away. Returns their number, 0 at the end of file.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = [MaybeUninit::uninit(); DISCARD];
        with!(self, stream => stream.poll_receive(cx, DISCARD, |io| SockRef::from(io).recv(&mut buffer)))
    }

    /// Waits for a byte, and does not take it. Returns `false` at the end of file.
    fn poll_look(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let polled = match self {
            Self::Tcp(stream) => stream.poll_peek(cx, &mut [0]),
            // A peek leaves its bytes, so no read is short.
            Self::Unix(stream) => stream.poll_receive(cx, 1, |io| {
                SockRef::from(io).recv_with_flags(&mut [MaybeUninit::uninit()], libc::MSG_PEEK)
            }),
        };
        polled.map_ok(|len| len > 0)
    }

    /// Waits until the stream is readable.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        with!(self, stream => stream.poll_readable(cx))
    }
}

/// The stream of a connection, as its guard sees it: as a reader with a buffer, whose buffer is that of the kernel.
///
/// So the guard's limits count while the connection waits for a request, and the bytes that this wait finds count once.
#[derive(Debug)]
pub(super) struct Io {
    /// The stream.
    pub(super) stream: Stream,
    /// The last look at the kernel's buffer, in the same wait, has found it empty. Then the next event tells of a byte, and no
    /// system call has to look again.
    waits_for_event: bool,
}

impl Io {
    /// Wraps a stream.
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream, waits_for_event: false }
    }

    /// Forgets the last look at the kernel's buffer, since bytes may have been read after it.
    pub(super) fn forget_look(&mut self) {
        self.waits_for_event = false;
    }
}

#[cfg(feature = "hyper")]
impl Io {
    /// Reads by the system call `op`, which has room for `wanted` bytes.
    pub(super) fn poll_read_by(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        with!(&self.stream, stream => stream.poll_receive(cx, wanted, |io| op(io.as_fd())))
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        with!(&mut self.stream, stream => Pin::new(stream).poll_read(cx, buffer))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        with!(&mut self.stream, stream => Pin::new(stream).poll_read_vectored(cx, buffers))
    }
}

/// Shows one byte of unknown content if the kernel has any, and takes none.
impl AsyncBufRead for Io {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.waits_for_event {
            let readiness = ready!(this.stream.poll_readable(cx))?;
            this.waits_for_event = false;
            if !(readiness.is_read_closed() || readiness.is_error() || readiness.is_priority()) {
                return Poll::Ready(Ok(&[0]));
            }
        }
        let refused = refused_operations();
        let Poll::Ready(looked) = this.stream.poll_look(cx) else {
            // A look that was refused for want of budget has not seen the buffer.
            this.waits_for_event = refused == refused_operations();
            return Poll::Pending;
        };
        Poll::Ready(looked.map(|has_data| if has_data { &[0][..] } else { &[] }))
    }

    fn consume(self: Pin<&mut Self>, _: usize) {}
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        with!(&mut self.stream, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with!(&mut self.stream, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(&mut self.stream, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(&mut self.stream, stream => Pin::new(stream).poll_close(cx))
    }
}
