//! Reading and writing of a TCP stream: by the traits of futures-io, which wait, and by attempts without waiting.
//!
//! The traits, for all kinds of streams, are implemented in `socket/stream_io.rs`, and so are the attempts. This file
//! adds how a TCP stream waits, which is the one difference: a read or write of fewer bytes than asked for means that
//! the kernel has no more bytes, or no more room, so the next operation waits without an attempt.

use super::io::TcpIo;
use super::stream::TcpStream;
use crate::socket::own_calls::SocketIo;
use crate::socket::stream_io::{StreamSocket, stream_io};
use async_epoll::Readiness;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{self, Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

/// Single attempts without waiting, and waiting without an attempt.
impl TcpStream {
    /// Reads the bytes that are there, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no byte is there; otherwise as reading.
    ///
    /// # Examples
    ///
    /// Tries to read before and after bytes have come.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::{TcpListener, TcpStream};
    /// use std::io::ErrorKind;
    ///
    /// async_epoll::block_on(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (server, _) = listener.accept().await?;
    ///     let mut buffer = [0; 16];
    ///     assert_eq!(server.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    ///     assert_eq!(client.try_write(b"hello")?, 5);
    ///     server.readable().await?;
    ///     assert_eq!(server.try_read(&mut buffer)?, 5);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_read(buffer)
    }

    /// Reads the bytes that are there into several buffers, one after the other, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read).
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.try_read_vectored(buffers)
    }

    /// Writes as many bytes as there is room for, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room at all; otherwise as writing.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_write(bytes)
    }

    /// Writes as many bytes of several slices as there is room for, one slice after the other, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_write_vectored(slices)
    }

    /// Waits until the stream is readable, and returns its readiness. An end of file and an error count as readable,
    /// too.
    ///
    /// The stream stays readable until an operation of this type meets `WouldBlock`. For a system call of your own that is
    /// [`read_with`](Self::read_with) or [`try_io`](Self::try_io); a `WouldBlock` of a call on the bare descriptor goes unnoticed, and a
    /// loop around this method spins, unless you call [`clear_ready`](Self::clear_ready) after it.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`, and `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is read.
    ///
    /// # Examples
    ///
    /// A buffer is needed only after the wait.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use async_net_lite::{TcpListener, TcpStream};
    /// # async_epoll::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, _) = listener.accept().await?;
    /// drop(client);
    /// assert!(server.readable().await?.is_read_closed());
    /// let mut buffer = [0; 4096];
    /// assert_eq!(server.try_read(&mut buffer)?, 0);
    /// # Ok(())
    /// # })?
    /// # }
    /// ```
    pub async fn readable(&self) -> io::Result<Readiness> {
        self.socket.get_ref().begin()?;
        self.socket.readable().await
    }

    /// Waits until the stream is writable, or nothing can be written any more, and returns its readiness.
    ///
    /// The stream stays writable until an operation of this type meets `WouldBlock`. For a system call of your own that is
    /// [`write_with`](Self::write_with) or [`try_io`](Self::try_io); a `WouldBlock` of a call on the bare descriptor goes unnoticed, and a
    /// loop around this method spins, unless you call [`clear_ready`](Self::clear_ready) after it.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is written.
    pub async fn writable(&self) -> io::Result<Readiness> {
        self.socket.writable().await
    }

    /// The poll form of [`readable`](Self::readable). Every waiting task is woken, not only the last.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.socket.get_ref().begin()?;
        self.socket.poll_readable(cx)
    }

    /// The poll form of [`writable`](Self::writable). Every waiting task is woken, not only the last.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.socket.poll_writable(cx)
    }

    /// Waits for bytes, and copies them without taking them: the next read returns the same bytes. Returns 0 at the end
    /// of file.
    ///
    /// # Errors
    ///
    /// As reading.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no byte is taken.
    ///
    /// # Examples
    ///
    /// Detects the protocol of the client by its first byte.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use async_net_lite::{TcpListener, TcpStream};
    /// # use futures::{AsyncReadExt, AsyncWriteExt};
    /// # async_epoll::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
    /// # client.write_all(b"GET / HTTP/1.1").await?;
    /// let (mut server, _) = listener.accept().await?;
    /// let mut first = [0];
    /// server.peek(&mut first).await?;
    /// let is_tls = first == [0x16];
    /// assert!(!is_tls);
    /// let mut request = [0; 3];
    /// server.read_exact(&mut request).await?;
    /// assert_eq!(&request, b"GET");
    /// # Ok(())
    /// # })?
    /// # }
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_peek(cx, buffer)).await
    }

    /// The poll form of [`peek`](Self::peek). Every waiting task is woken, not only the last.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // Not `poll_read_tcp`: a peek that does not fill the buffer leaves the bytes, so the stream is still readable.
        self.socket.get_ref().begin()?;
        self.socket.poll_read_with(cx, |stream| stream.peek(buffer))
    }
}

/// Fewer bytes than wanted mean that no more bytes are there, or no more room. This is not true for Unix sockets.
impl StreamSocket for TcpStream {
    type Io = net::TcpStream;
    type Address = SocketAddr;

    #[inline]
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        mut op: impl FnMut(&net::TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_read_tcp(cx, wanted, |io| op(io.std()).map_err(|error| io.read_error(error)))
    }

    #[inline]
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        mut op: impl FnMut(&net::TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write_tcp(cx, wanted, |io| op(io.std()))
    }

    #[inline]
    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.socket.get_ref().is_done() {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_write_with(cx, TcpIo::finish)
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

stream_io!(TcpStream);
