//! Reading and writing of streams by the traits of futures-io, whatever their kind of address.
//!
//! The contract of the traits: `WouldBlock` and `Interrupted` are never returned, and an operation on no bytes at all
//! returns `Ok(0)` without a system call. Two things differ from std. A vectored write is `sendmsg(2)`, since the
//! `writev(2)` of std cannot suppress the `SIGPIPE` of a closed connection. And more slices than the kernel takes at
//! once are not an error (see `slices`).
//!
//! Each stream type implements [`StreamSocket`], which says how it waits, and calls `stream_io!` for the rest.

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

/// A stream socket of this crate: how it waits, and what its halves and adapters need.
///
/// The types differ in how they wait. `wanted` is how many bytes the operation has room for. For some types, fewer
/// bytes mean that nothing more is there.
pub trait StreamSocket: AsyncRead + AsyncWrite + fmt::Debug + Clone + Unpin {
    /// The socket type of std.
    type Io: AsFd;
    /// The address type of std.
    type Address;

    /// Reads by `op`: calls it until it returns anything but `WouldBlock`, and waits in between.
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&Self::Io) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>>;

    /// Writes by `op`: calls it until it returns anything but `WouldBlock`, and waits in between.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&Self::Io) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>>;

    /// Waits until the handshake is done, so that a direction can be closed. Only a stream with TCP fast open may have to
    /// wait.
    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Returns whether `other` is a clone of this stream.
    fn is_same(&self, other: &Self) -> bool;

    /// Closes one direction or both, by `shutdown(2)`.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// Returns the local address.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    fn local_addr(&self) -> io::Result<Self::Address>;

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Those of `getpeername(2)`.
    fn peer_addr(&self) -> io::Result<Self::Address>;
}

/// Sends bytes, by `send(2)`. A closed connection is an error, and not a signal; std has not always done so for Unix
/// sockets.
pub(crate) fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send_with_flags(bytes, libc::MSG_NOSIGNAL).map_err(until_connected)
}

/// Sends the bytes of several slices, as [`send`] does. There may be at most as many as one system call takes.
pub(crate) fn send_vectored(socket: &impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    SockRef::from(socket).send_vectored_with_flags(slices, libc::MSG_NOSIGNAL).map_err(until_connected)
}

/// Converts the error of a write that has only begun to connect (`EINPROGRESS`, by TCP fast open) to `WouldBlock`: no
/// byte was taken, and the stream becomes writable when it is connected. Returns other errors as they are.
#[cold]
pub(crate) fn until_connected(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EINPROGRESS) => io::ErrorKind::WouldBlock.into(),
        _ => error,
    }
}

/// Single attempts on a stream, without waiting.
impl<T: AsFd> Socket<T>
where
    for<'a> &'a T: Read,
{
    /// Reads the bytes that are there.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.try_io(Interest::READABLE, |mut stream| stream.read(buffer))
    }

    /// Reads the bytes that are there into several buffers.
    pub(crate) fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (buffers, wanted) = slices::fill(buffers);
        if wanted == 0 {
            return Ok(0);
        }
        self.try_io(Interest::READABLE, |mut stream| stream.read_vectored(buffers))
    }

    /// Writes as many bytes as there is room for.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.try_io(Interest::WRITABLE, |stream| send(stream, bytes))
    }

    /// Writes as many bytes of several slices as there is room for.
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

                /// Does nothing: there is no buffer but the kernel's.
                fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    Poll::Ready(Ok(()))
                }

                /// Half-closes the connection, by `shutdown(Write)`: the peer reads an end of file, and this side may
                /// still read. A second call is not an error.
                fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                    std::task::ready!(self.poll_connected(cx))?;
                    Poll::Ready(match self.shutdown(Shutdown::Write) {
                        // The peer has reset and so closed the connection. (For Unix sockets, Linux does not report
                        // this.)
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
