//! Reading and writing a stream by the traits of futures-io, whatever its addresses are.
//!
//! What the contract asks: `WouldBlock` and `Interrupted` never get out of the traits, and an operation on no bytes at all
//! returns `Ok(0)` without a system call. What std does not do: its vectored write is `writev(2)`, which cannot be told
//! to spare us the `SIGPIPE` of a closed connection, so ours is `sendmsg(2)`; and more slices than the kernel takes at
//! once are no error (see `slices`).

use super::slices;
use super::socket::Socket;
use async_epoll::Interest;
use futures::io::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

/// A stream socket of this crate: how its kind waits, which is what they differ in, and what else their halves and
/// adapters need of them.
///
/// `wanted` is how many bytes the operation has room for. Whether fewer are the end of what is there depends on the kind.
pub trait StreamSocket: AsyncRead + AsyncWrite + fmt::Debug + Clone + Unpin {
    /// The type of std.
    type Io: AsFd;
    /// Of std, too.
    type Address;

    /// Reads by `op` as soon as that does not meet `WouldBlock`.
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&Self::Io) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>>;

    /// Writes by `op` as soon as that does not meet `WouldBlock`.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&Self::Io) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>>;

    /// Whether the other is a clone of this one.
    fn is_same(&self, other: &Self) -> bool;

    /// Closes one direction or both, by `shutdown(2)`.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// This side's address.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    fn local_addr(&self) -> io::Result<Self::Address>;

    /// The other side's address.
    ///
    /// # Errors
    ///
    /// Those of `getpeername(2)`.
    fn peer_addr(&self) -> io::Result<Self::Address>;
}

/// `send(2)`. Tells by an error if the connection is closed, not by a signal; std has not always done so for Unix sockets.
pub(crate) fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send_with_flags(bytes, libc::MSG_NOSIGNAL)
}

/// As [`send`], for at most as many slices as one system call takes.
pub(crate) fn send_vectored(socket: &impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    SockRef::from(socket).send_vectored_with_flags(slices, libc::MSG_NOSIGNAL)
}

/// Single attempts on a stream, which do not wait.
impl<T: AsFd> Socket<T>
where
    for<'a> &'a T: Read,
{
    /// Reads what is there.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.try_io(Interest::READABLE, |mut stream| stream.read(buffer))
    }

    /// Reads what is there into several buffers.
    pub(crate) fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (buffers, wanted) = slices::fill(buffers);
        if wanted == 0 {
            return Ok(0);
        }
        self.try_io(Interest::READABLE, |mut stream| stream.read_vectored(buffers))
    }

    /// Writes as much as there is room for.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.try_io(Interest::WRITABLE, |stream| send(stream, bytes))
    }

    /// Writes of several slices as much as there is room for.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (slices, wanted) = slices::drain(slices);
        if wanted == 0 {
            return Ok(0);
        }
        self.try_io(Interest::WRITABLE, |stream| send_vectored(stream, slices))
    }
}

/// Implements the traits of futures-io for a [`StreamSocket`] and for references to it.
macro_rules! stream_io {
    ($stream:ident) => {
        const _: () = {
            use futures::io::{AsyncRead, AsyncWrite};
            use std::io::{self, IoSlice, IoSliceMut, Read};
            use std::net::Shutdown;
            use std::pin::Pin;
            use std::task::{Context, Poll};
            use $crate::socket::slices;
            use $crate::socket::stream_io::{StreamSocket, send, send_vectored};

            impl AsyncRead for &$stream {
                fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                    if buffer.is_empty() {
                        return Poll::Ready(Ok(0));
                    }
                    self.poll_receive(cx, buffer.len(), |mut stream| stream.read(buffer))
                }

                fn poll_read_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buffers: &mut [IoSliceMut<'_>],
                ) -> Poll<io::Result<usize>> {
                    let (buffers, wanted) = slices::fill(buffers);
                    if wanted == 0 {
                        return Poll::Ready(Ok(0));
                    }
                    self.poll_receive(cx, wanted, |mut stream| stream.read_vectored(buffers))
                }
            }

            impl AsyncWrite for &$stream {
                fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                    if bytes.is_empty() {
                        return Poll::Ready(Ok(0));
                    }
                    self.poll_send(cx, bytes.len(), |stream| send(stream, bytes))
                }

                fn poll_write_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    slices: &[IoSlice<'_>],
                ) -> Poll<io::Result<usize>> {
                    let (slices, wanted) = slices::drain(slices);
                    if wanted == 0 {
                        return Poll::Ready(Ok(0));
                    }
                    self.poll_send(cx, wanted, |stream| send_vectored(stream, slices))
                }

                /// Nothing to do: there is no buffer but the kernel's.
                fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(Ok(()))
                }

                /// `shutdown(Write)`: the peer reads an end of file, and we may read on. Once is enough, more is no error.
                fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(match self.shutdown(Shutdown::Write) {
                        // The peer has reset the connection: then it is closed. (Of Unix sockets Linux does not say so.)
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                        result => result,
                    })
                }
            }

            impl AsyncRead for $stream {
                fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                    Pin::new(&mut &*self).poll_read(cx, buffer)
                }

                fn poll_read_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buffers: &mut [IoSliceMut<'_>],
                ) -> Poll<io::Result<usize>> {
                    Pin::new(&mut &*self).poll_read_vectored(cx, buffers)
                }
            }

            impl AsyncWrite for $stream {
                fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                    Pin::new(&mut &*self).poll_write(cx, bytes)
                }

                fn poll_write_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    slices: &[IoSlice<'_>],
                ) -> Poll<io::Result<usize>> {
                    Pin::new(&mut &*self).poll_write_vectored(cx, slices)
                }

                fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Pin::new(&mut &*self).poll_flush(cx)
                }

                fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Pin::new(&mut &*self).poll_close(cx)
                }
            }
        };
    };
}

pub(crate) use stream_io;
