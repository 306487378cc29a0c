//! A TCP connection.
//!
//! Connecting without blocking goes in steps, each of which can fail for reasons of its own:
//!
//! ```text
//!   socket ──► connect: EINPROGRESS ──► wait until writable ──► SO_ERROR? ──► getpeername? ──► connected
//!                 │ refused at once            │ dropped            │ refused      │ not yet:
//!                 ▼                            ▼                    ▼              ▼ wait on
//!               error                      socket closed          error
//! ```

use crate::addr::{AsyncToSocketAddrs, no_addresses};
use crate::copy::{Operation, Socket};
use crate::tcp::new_socket;
use async_epoll::{Handle, Source};
use futures::io::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Slices that one system call takes: `IOV_MAX`. With more it would fail, so the rest waits for the next write.
const MOST_SLICES: usize = 1024;

/// A TCP connection: the async [`std::net::TcpStream`].
///
/// Reading and writing goes through [`AsyncRead`] and [`AsyncWrite`], which are implemented for `TcpStream` and for
/// `&TcpStream`: one task may read while another writes, through a reference or a clone. Clones share the connection;
/// the last one closes it.
///
/// # Cancel safety
///
/// A single read or write is cancel safe: what has moved has been returned. `read_exact` and `write_all` of futures are
/// not: some bytes may have moved when they are dropped.
///
/// # How it works
///
/// The socket is registered with epoll when an operation first meets `WouldBlock`, and deregistered by closing it. A
/// read that fills less than its buffer is taken for the end of what is there, so the next one waits without asking the
/// kernel; unless the kernel has reported urgent data, an end of file or an error, since then more may be there.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{TcpListener, TcpStream};
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// async_epoll::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     client.write_all(b"ping").await?;
///
///     let (server, _) = listener.accept().await?;
///     let mut buffer = [0; 4];
///     (&server).read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"ping");
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Clone)]
pub struct TcpStream {
    source: Arc<Source<net::TcpStream>>,
}

impl TcpStream {
    /// Connects to the first of the addresses that answers.
    ///
    /// # Errors
    ///
    /// The last address's: `ConnectionRefused`, `TimedOut` (after about two minutes; limit it with a timeout), …;
    /// `InvalidInput` if there is no address; `NotConnected` outside a reactor, with a message that says what to do.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the half-open socket; it cannot be resumed.
    pub async fn connect(address: impl AsyncToSocketAddrs) -> io::Result<Self> {
        Self::connect_with(address, &Handle::current()?).await
    }

    /// As [`connect`](Self::connect), with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(address: impl AsyncToSocketAddrs, handle: &Handle) -> io::Result<Self> {
        let lookup = address.lookup()?;
        let mut result = Err(no_addresses());
        for address in lookup.get().await? {
            result = Self::connect_to(address, handle).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Connects to one address.
    async fn connect_to(address: SocketAddr, handle: &Handle) -> io::Result<Self> {
        let socket = new_socket(&address)?;
        let address = address.into();
        loop {
            match socket.connect(&address).map_err(|error| (error.raw_os_error(), error)) {
                // Has the kernel begun to connect, or not? Asked again, it says.
                Err((Some(libc::EINTR), _)) => {}
                Ok(()) | Err((Some(libc::EINPROGRESS | libc::EALREADY | libc::EISCONN), _)) => break,
                Err((_, error)) => return Err(error),
            }
        }
        let source = Source::lazy(net::TcpStream::from(socket), handle);
        source.write_with(is_connected).await?;
        Ok(Self { source: Arc::new(source) })
    }

    /// A socket that we have accepted: non-blocking, and its descriptor is the only one.
    pub(crate) fn from_accepted(stream: net::TcpStream, handle: &Handle) -> Self {
        Self { source: Arc::new(Source::lazy(stream, handle)) }
    }

    /// Makes a stream of std async: sets it to non-blocking and registers it with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// Those of [`Source::with_handle`](async_epoll::Source::with_handle).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::TcpStream;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let stream = TcpStream::from_std(stream, &runtime.handle())?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_std(stream: net::TcpStream, handle: &Handle) -> io::Result<Self> {
        Ok(Self { source: Arc::new(Source::with_handle(stream, handle)?) })
    }

    /// Gives the stream of std back, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, if clones of this stream exist: then the new descriptor shares the connection with them.
    pub fn into_std(self) -> io::Result<net::TcpStream> {
        match Arc::try_unwrap(self.source) {
            Ok(source) => source.into_inner(),
            Err(shared) => {
                shared.note_duplicate();
                shared.get_ref().try_clone()
            }
        }
    }

    /// Closes one direction or both, by `shutdown(2)`. Data written before is still delivered.
    ///
    /// `close()` of `AsyncWriteExt` is `shutdown(Shutdown::Write)`, and takes no offence at a connection that the peer
    /// has reset.
    ///
    /// # Errors
    ///
    /// `NotConnected` after the peer has reset the connection.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get_ref().shutdown(how)
    }

    /// Whether `TCP_NODELAY` is set: small writes are sent at once.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.source.get_ref().nodelay()
    }

    /// Sets `TCP_NODELAY`: small writes are sent at once instead of being collected. Off unless set, or inherited from
    /// the listener.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.get_ref().set_nodelay(nodelay)
    }

    /// This side's address.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// The other side's address.
    ///
    /// # Errors
    ///
    /// Those of `getpeername(2)`: `NotConnected` after the peer has reset the connection.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().peer_addr()
    }
}

/// Whether a connection that was begun is there: an error if it has failed, `WouldBlock` if it is under way.
fn is_connected(stream: &net::TcpStream) -> io::Result<()> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        // No error and no peer: woken too early.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        result => result.map(drop),
    }
}

/// The bytes that one system call could move.
fn total(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.take(MOST_SLICES).fold(0, usize::saturating_add)
}

impl AsyncRead for &TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.source.poll_read_tcp(cx, buffer.len(), |mut stream| stream.read(buffer))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        // Empty ones at the front must not use up the slices of one call.
        let first = buffers.iter().position(|buffer| !buffer.is_empty()).unwrap_or(buffers.len());
        let buffers = &mut buffers[first..];
        let wanted = total(buffers.iter().map(|buffer| buffer.len()));
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        self.source.poll_read_tcp(cx, wanted, |mut stream| stream.read_vectored(buffers))
    }
}

impl AsyncWrite for &TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // std sends with MSG_NOSIGNAL.
        self.source.poll_write_tcp(cx, bytes.len(), |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or(slices.len());
        let slices = &slices[first..];
        let slices = &slices[..slices.len().min(MOST_SLICES)];
        let wanted = total(slices.iter().map(|slice| slice.len()));
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        // Not `write_vectored`: that is `writev(2)`, which cannot be told to spare us the SIGPIPE.
        self.source.poll_write_tcp(cx, wanted, |stream| {
            SockRef::from(stream).send_vectored_with_flags(slices, libc::MSG_NOSIGNAL)
        })
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

impl TryFrom<net::TcpStream> for TcpStream {
    type Error = io::Error;

    /// [`from_std`](Self::from_std) with the thread's current reactor.
    fn try_from(stream: net::TcpStream) -> io::Result<Self> {
        Self::from_std(stream, &Handle::current()?)
    }
}

impl TryFrom<OwnedFd> for TcpStream {
    type Error = io::Error;

    /// Takes a descriptor that is a connected TCP socket, with the thread's current reactor.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        net::TcpStream::from(fd).try_into()
    }
}

impl TryFrom<TcpStream> for OwnedFd {
    type Error = io::Error;

    /// [`into_std`](TcpStream::into_std), then the descriptor.
    fn try_from(stream: TcpStream) -> io::Result<Self> {
        stream.into_std().map(Self::from)
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.source.as_raw_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.get_ref().fmt(f)
    }
}

impl Socket for TcpStream {
    fn poll_read_by(&self, cx: &mut Context<'_>, op: &mut Operation<'_>) -> Poll<io::Result<usize>> {
        self.source.poll_read_with(cx, |stream| op(stream.as_fd()))
    }

    fn poll_write_by(&self, cx: &mut Context<'_>, op: &mut Operation<'_>) -> Poll<io::Result<usize>> {
        self.source.poll_write_with(cx, |stream| op(stream.as_fd()))
    }

    fn is_urgent(&self) -> bool {
        self.source.readiness().is_priority()
    }
}
