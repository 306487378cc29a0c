//! A stream in two halves, for two tasks.
//!
//! A shared reference or a clone serves two tasks as well. The halves add an *end*: when the writing task is done and
//! drops its half, the peer reads an end of file, while the connection stays open for the reading half. The halves
//! share no lock: reading and writing have separate state in the kernel, in the source and in the lists of waiters.
//!
//! The halves are the same for streams of TCP and of Unix sockets. They stand above both, since their default type is a
//! TCP stream.

use crate::socket::stream_io::StreamSocket;
use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use async_epoll::ForkMark;
use futures::io::{AsyncRead, AsyncWrite};
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

impl TcpStream {
    /// Splits the stream into a reading and a writing half, which may go to different tasks or threads.
    ///
    /// Dropping the writing half sends an end of file, as `close` does. The connection is closed when both halves and
    /// all clones are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::{TcpListener, TcpStream};
    /// use futures::future::try_join;
    /// use futures::{AsyncReadExt, AsyncWriteExt};
    ///
    /// async_epoll::block_on(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (server, _) = listener.accept().await?;
    ///
    ///     let (mut reader, mut writer) = client.into_split();
    ///     let write = async move { writer.write_all(b"the whole request").await }; // Then drops the writer.
    ///     let read = async {
    ///         let mut answer = String::new();
    ///         reader.read_to_string(&mut answer).await.map(|_| answer)
    ///     };
    ///     let serve = async {
    ///         let mut request = String::new();
    ///         (&server).read_to_string(&mut request).await?; // Until the writer is dropped.
    ///         (&server).write_all(request.to_uppercase().as_bytes()).await?;
    ///         (&server).close().await
    ///     };
    ///     let ((_, answer), ()) = try_join(try_join(write, read), serve).await?;
    ///     assert_eq!(answer, "THE WHOLE REQUEST");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split(self)
    }
}

impl UnixStream {
    /// Splits the stream into a reading and a writing half, which may go to different tasks or threads.
    ///
    /// Dropping the writing half sends an end of file, as `close` does. The connection is closed when both halves and
    /// all clones are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixStream;
    /// use futures::{AsyncReadExt, AsyncWriteExt};
    ///
    /// async_epoll::block_on(async {
    ///     let (stream, mut peer) = UnixStream::pair()?;
    ///     let (mut reader, mut writer) = stream.into_split();
    ///     writer.write_all(b"the whole request").await?;
    ///     drop(writer);
    ///     let mut request = String::new();
    ///     peer.read_to_string(&mut request).await?;
    ///     peer.write_all(b"answer").await?;
    ///     reader.read_exact(&mut [0; 6]).await?;
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf<Self>, OwnedWriteHalf<Self>) {
        split(self)
    }
}

/// Splits a stream into its halves.
fn split<S: StreamSocket>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let reader = OwnedReadHalf { stream: stream.clone() };
    (reader, OwnedWriteHalf { stream, closes_in: Some(ForkMark::new()) })
}

/// The reading half of a stream; from [`TcpStream::into_split`] and
/// [`UnixStream::into_split`](crate::unix::UnixStream::into_split).
///
/// Dropping only this half does nothing: the peer may continue to send until the kernel's buffer is full.
///
/// [`AsRef`] leads to the stream, for its options and for system calls of your own ([`TcpStream::read_with`]).
pub struct OwnedReadHalf<S: StreamSocket = TcpStream> {
    /// A clone of the stream, used for reading.
    stream: S,
}

/// The writing half of a stream; from [`TcpStream::into_split`] and
/// [`UnixStream::into_split`](crate::unix::UnixStream::into_split).
///
/// Dropping this half sends an end of file to the peer, by `shutdown(2)`, unless the half is [forgotten](Self::forget)
/// or [reunited](Self::reunite). Clones of the stream cannot write after that, either. In a forked child, dropping the
/// half only closes the child's descriptor: the connection belongs to the parent.
///
/// [`AsRef`] leads to the stream, for its options and for system calls of your own ([`TcpStream::write_with`]).
pub struct OwnedWriteHalf<S: StreamSocket = TcpStream> {
    /// A clone of the stream, used for writing.
    stream: S,
    /// The process in which dropping the half shuts the connection down: the process that made the half, and not a
    /// forked child that drops its copy. Set to `None` if the drop shall do nothing.
    closes_in: Option<ForkMark>,
}

/// Joins two halves of one stream.
fn reunite<S: StreamSocket>(reader: OwnedReadHalf<S>, mut writer: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
    if !reader.stream.is_same(&writer.stream) {
        return Err(ReuniteError(reader, writer));
    }
    // A direction that was closed stays closed. Nothing else is closed.
    writer.closes_in = None;
    Ok(reader.stream)
}

impl<S: StreamSocket> OwnedReadHalf<S> {
    /// Joins the two halves to the stream again.
    ///
    /// # Errors
    ///
    /// If the halves are not of the same stream, returns both in a [`ReuniteError`].
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use async_net_lite::{TcpListener, TcpStream};
    /// # async_epoll::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let other = TcpStream::connect(listener.local_addr()?).await?;
    /// let (reader, writer) = stream.into_split();
    /// let (other_reader, other_writer) = other.into_split();
    /// let error = reader.reunite(other_writer).unwrap_err();
    /// let (reader, other_writer) = (error.0, error.1);
    /// let stream = reader.reunite(writer).unwrap();
    /// let other = other_writer.reunite(other_reader).unwrap();
    /// # drop((stream, other));
    /// # Ok(())
    /// # })?
    /// # }
    /// ```
    pub fn reunite(self, writer: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        reunite(self, writer)
    }

    /// Returns the local address of the stream.
    ///
    /// # Errors
    ///
    /// The errors of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<S::Address> {
        self.stream.local_addr()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// The errors of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<S::Address> {
        self.stream.peer_addr()
    }
}

impl OwnedReadHalf {
    /// Copies received bytes and leaves them in the queue, as [`TcpStream::peek`] does. Returns the number of bytes
    /// copied.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::peek`].
    ///
    /// # Cancel safety
    ///
    /// As [`TcpStream::peek`].
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(buffer).await
    }
}

impl<S: StreamSocket> OwnedWriteHalf<S> {
    /// Joins the two halves to the stream again.
    ///
    /// # Errors
    ///
    /// If the halves are not of the same stream, returns both in a [`ReuniteError`].
    pub fn reunite(self, reader: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        reunite(reader, self)
    }

    /// Drops the half without an end of file for the peer. The connection stays open until the other half is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use async_net_lite::{TcpListener, TcpStream};
    /// # async_epoll::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (_reader, writer) = stream.into_split();
    /// writer.forget();
    /// let error = server.try_read(&mut [0]).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "not at the end of file");
    /// # Ok(())
    /// # })?
    /// # }
    /// ```
    pub fn forget(mut self) {
        self.closes_in = None;
    }

    /// Returns the local address of the stream.
    ///
    /// # Errors
    ///
    /// The errors of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<S::Address> {
        self.stream.local_addr()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// The errors of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<S::Address> {
        self.stream.peer_addr()
    }
}

impl<S: StreamSocket> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.closes_in.is_some_and(|process| !process.is_child()) {
            // This fails if the peer has reset the connection. There is no end of file to send then.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

impl<S: StreamSocket> AsyncRead for OwnedReadHalf<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read_vectored(cx, buffers)
    }
}

impl<S: StreamSocket> AsyncWrite for OwnedWriteHalf<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Closes as the stream does, with an end of file for the peer. Dropping the half then does nothing more.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_close(cx);
        if matches!(closed, Poll::Ready(Ok(()))) {
            self.closes_in = None;
        }
        closed
    }
}

/// Returns the stream, for its options and its descriptor.
impl<S: StreamSocket> AsRef<S> for OwnedReadHalf<S> {
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

/// Returns the stream, for its options and its descriptor.
impl<S: StreamSocket> AsRef<S> for OwnedWriteHalf<S> {
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: StreamSocket> fmt::Debug for OwnedReadHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedReadHalf").field(&self.stream).finish()
    }
}

impl<S: StreamSocket> fmt::Debug for OwnedWriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedWriteHalf").field(&self.stream).finish()
    }
}

/// The error of joining halves of two streams. Has both halves; from [`OwnedReadHalf::reunite`].
#[derive(Debug)]
pub struct ReuniteError<S: StreamSocket = TcpStream>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: StreamSocket> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of the same stream")
    }
}

impl<S: StreamSocket> Error for ReuniteError<S> {}
