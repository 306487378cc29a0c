//! Reading and writing a stream: by the traits of futures-io, which wait, and by attempts that do not.
//!
//! What the contract asks: `WouldBlock` and `Interrupted` never get out of the traits, and an operation on no bytes at all
//! returns `Ok(0)` without a system call. What std does not do: its vectored write is `writev(2)`, which cannot be told
//! to spare us the `SIGPIPE` of a closed connection, so ours is `sendmsg(2)`; and more slices than the kernel takes at
//! once are no error, the rest is for the next call.

use super::TcpStream;
use async_epoll::{Interest, Readiness};
use futures::io::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Slices that one system call takes: `IOV_MAX`. With more it would fail, so the rest waits for the next write.
const MOST_SLICES: usize = 1024;

/// The bytes that one system call could move. (It moves 2 GiB at most, but no socket's buffer holds more, so a count below
/// this always means that there was no more.)
fn total(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.take(MOST_SLICES).fold(0, usize::saturating_add)
}

/// Where the first slice is that is not empty. Empty ones at the front must not use up the slices of one call.
fn first_of_use(mut lengths: impl ExactSizeIterator<Item = usize>) -> usize {
    let all = lengths.len();
    lengths.position(|length| length != 0).unwrap_or(all)
}

/// The buffers for one system call, and their bytes.
fn fill<'a, 'b>(buffers: &'a mut [IoSliceMut<'b>]) -> (&'a mut [IoSliceMut<'b>], usize) {
    let first = first_of_use(buffers.iter().map(|buffer| buffer.len()));
    let buffers = &mut buffers[first..];
    let wanted = total(buffers.iter().map(|buffer| buffer.len()));
    (buffers, wanted)
}

/// The slices for one system call, and their bytes.
fn drain<'a, 'b>(slices: &'a [IoSlice<'b>]) -> (&'a [IoSlice<'b>], usize) {
    let slices = &slices[first_of_use(slices.iter().map(|slice| slice.len()))..];
    let slices = &slices[..slices.len().min(MOST_SLICES)];
    (slices, total(slices.iter().map(|slice| slice.len())))
}

/// Writes all of them or a part, and is told by an error if the connection is closed, not by a signal.
fn send_vectored(stream: &net::TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    SockRef::from(stream).send_vectored_with_flags(slices, libc::MSG_NOSIGNAL)
}

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
        if buffer.is_empty() {
            return Ok(0);
        }
        self.socket.try_io(Interest::READABLE, |mut stream| stream.read(buffer))
    }

    /// Reads what is there into several buffers, one after the other, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read).
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (buffers, wanted) = fill(buffers);
        if wanted == 0 {
            return Ok(0);
        }
        self.socket.try_io(Interest::READABLE, |mut stream| stream.read_vectored(buffers))
    }

    /// Writes as much as there is room for, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room at all; otherwise as writing.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.socket.try_io(Interest::WRITABLE, |mut stream| stream.write(bytes))
    }

    /// Writes of several slices, one after the other, as much as there is room for, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (slices, wanted) = drain(slices);
        if wanted == 0 {
            return Ok(0);
        }
        self.socket.try_io(Interest::WRITABLE, |stream| send_vectored(stream, slices))
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

impl AsyncRead for &TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.socket.poll_read_tcp(cx, buffer.len(), |mut stream| stream.read(buffer))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let (buffers, wanted) = fill(buffers);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        self.socket.poll_read_tcp(cx, wanted, |mut stream| stream.read_vectored(buffers))
    }
}

impl AsyncWrite for &TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // std sends with MSG_NOSIGNAL.
        self.socket.poll_write_tcp(cx, bytes.len(), |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (slices, wanted) = drain(slices);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        self.socket.poll_write_tcp(cx, wanted, |stream| send_vectored(stream, slices))
    }

    /// Nothing to do: there is no buffer but the kernel's.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// `shutdown(Write)`: the peer reads an end of file, and we may read on. Once is enough, more is no error.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.shutdown(Shutdown::Write) {
            // The peer has reset the connection: then it is closed.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}

impl AsyncRead for TcpStream {
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

impl AsyncWrite for TcpStream {
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
