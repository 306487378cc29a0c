//! Reading and writing a TCP stream: by the traits of futures-io, which wait, and by attempts that do not.

use super::stream::TcpStream;
use crate::socket::stream_io::{StreamSocket, stream_io};
use async_epoll::Readiness;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{self, Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

/// Single attempts, which do not wait, and waiting without an attempt.
impl TcpStream {
    /// Reads what is there, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is there; otherwise as reading.
    ///
    /// # Examples
    ///
    /// A stream that is read to its end without an await in between.
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

    /// Reads what is there into several buffers, one after the other, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read).
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.try_read_vectored(buffers)
    }

    /// Writes as much as there is room for, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room at all; otherwise as writing.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_write(bytes)
    }

    /// Writes of several slices, one after the other, as much as there is room for, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_write_vectored(slices)
    }

    /// Waits until something can be read, an end of file or an error included. Tells what is known then.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`, and `NotConnected` if the reactor is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is read.
    ///
    /// # Examples
    ///
    /// No buffer is needed while there is nothing to put into it.
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
        self.socket.readable().await
    }

    /// Waits until something can be written, or it is known that nothing can be any more. Tells what is known then.
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

    /// The poll form of [`readable`](Self::readable). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.socket.poll_readable(cx)
    }

    /// The poll form of [`writable`](Self::writable). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.socket.poll_writable(cx)
    }

    /// Waits for something to read, and copies it without taking it: the next read returns the same. Returns 0 at the
    /// end of file.
    ///
    /// # Errors
    ///
    /// As reading.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is taken.
    ///
    /// # Examples
    ///
    /// Which protocol does the client speak?
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

    /// The poll form of [`peek`](Self::peek). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // Not `poll_read_tcp`: who peeks less than the buffer has drained nothing.
        self.socket.poll_read_with(cx, |stream| stream.peek(buffer))
    }
}

/// Less than there is room for is the end of what is there, or of the room that there is: not so with Unix sockets.
impl StreamSocket for TcpStream {
    type Io = net::TcpStream;
    type Address = SocketAddr;

    #[inline]
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&net::TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_read_tcp(cx, wanted, op)
    }

    #[inline]
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&net::TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write_tcp(cx, wanted, op)
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
