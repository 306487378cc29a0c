//! Reading and writing a Unix stream: the traits of futures-io, which wait, and single attempts, which do not.

use super::stream::UnixStream;
use crate::socket::stream_io::{StreamSocket, stream_io};
use async_epoll::Readiness;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

/// Single attempts, which do not wait, and waiting without an attempt.
impl UnixStream {
    /// Waits until a read is likely to return bytes, an end of file or an error. Returns the readiness that the kernel
    /// has reported.
    ///
    /// The stream stays readable until an operation of this type meets `WouldBlock`. For a system call of your own that is
    /// [`read_with`](Self::read_with) or [`try_io`](Self::try_io); a `WouldBlock` of a call on the bare descriptor goes unnoticed, and a
    /// loop around this method spins, unless you call [`clear_ready`](Self::clear_ready) after it.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn readable(&self) -> io::Result<Readiness> {
        self.socket.readable().await
    }

    /// Waits until a write is likely to succeed or to return an error. Returns the readiness that the kernel has
    /// reported.
    ///
    /// The stream stays writable until an operation of this type meets `WouldBlock`. For a system call of your own that is
    /// [`write_with`](Self::write_with) or [`try_io`](Self::try_io); a `WouldBlock` of a call on the bare descriptor goes unnoticed, and a
    /// loop around this method spins, unless you call [`clear_ready`](Self::clear_ready) after it.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn writable(&self) -> io::Result<Readiness> {
        self.socket.writable().await
    }

    /// Polls for read readiness; see [`readable`](Self::readable). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.socket.poll_readable(cx)
    }

    /// Polls for write readiness; see [`writable`](Self::writable). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`writable`](Self::writable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.socket.poll_writable(cx)
    }

    /// Tries to read, without waiting. Returns the number of bytes, 0 at the end of file.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no bytes are available; otherwise the errors of a read.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixStream;
    /// use std::io::ErrorKind;
    ///
    /// async_epoll::block_on(async {
    ///     let (stream, peer) = UnixStream::pair()?;
    ///     let mut buffer = [0; 8];
    ///     assert_eq!(stream.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    ///     peer.try_write(b"hello")?;
    ///     stream.readable().await?;
    ///     assert_eq!(stream.try_read(&mut buffer)?, 5);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_read(buffer)
    }

    /// Tries to write, without waiting. Returns the number of bytes for which the kernel had room.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the kernel has no room; otherwise the errors of a write.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_write(bytes)
    }

    /// Tries to read into several buffers, one after the other; otherwise as [`try_read`](Self::try_read).
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read).
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.try_read_vectored(buffers)
    }

    /// Tries to write from several slices, one after the other; otherwise as [`try_write`](Self::try_write).
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_write_vectored(slices)
    }
}

/// A read that fills less than its buffer proves nothing: the next message may carry descriptors.
impl StreamSocket for UnixStream {
    type Io = net::UnixStream;
    type Address = SocketAddr;

    #[inline]
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        _: usize,
        op: impl FnMut(&net::UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_read_with(cx, op)
    }

    #[inline]
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        _: usize,
        op: impl FnMut(&net::UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write_with(cx, op)
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.socket, &other.socket)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }
}

stream_io!(UnixStream);
