//! A connection between two processes.
//!
//! Connecting is one system call: a Unix listener has room for us in its queue, or it has not. If not, the kernel leaves
//! it to us to ask again (see `retry`):
//!
//! ```text
//!   socket ──► connect ──► connected
//!                │  ▲ └──► refused, not found, … : error
//!           full ▼  │
//!             a pause of the timer
//! ```

use crate::conversions::std_conversions;
use crate::slices;
use crate::socket::{Socket, none_if_blocked, uninterrupted};
use crate::split::{OwnedReadHalf, OwnedWriteHalf, split};
use crate::stream_io::{StreamSocket, send, send_vectored, stream_io};
use crate::sys::Received;
use crate::unix::address;
use crate::unix::credentials::{self, UCred};
use crate::unix::fds::{self, Rights};
use crate::unix::retry::Retry;
use async_epoll::{Handle, Interest, Readiness, Source};
use socket2::{Domain, SockRef, Type};
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A Unix stream socket: the async [`std::os::unix::net::UnixStream`].
///
/// Reading and writing goes through [`AsyncRead`] and [`AsyncWrite`], which are implemented for `UnixStream` and for
/// `&UnixStream`: one task may read while another writes, through a reference or a clone. Clones share the connection;
/// the last one closes it.
///
/// Descriptors that the peer sends beside its bytes are received by [`recv_with_fds`](Self::recv_with_fds) alone. A plain
/// read discards them, in the kernel: none leaks.
///
/// # Cancel safety
///
/// A single read or write is cancel safe: what has moved has been returned. `read_exact` and `write_all` of futures are
/// not: some bytes may have moved when they are dropped.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::unix::UnixStream;
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// async_epoll::block_on(async {
///     let (mut left, mut right) = UnixStream::pair()?;
///     left.write_all(b"hello").await?;
///     drop(left);
///     let mut text = String::new();
///     right.read_to_string(&mut text).await?;
///     assert_eq!(text, "hello");
///     Ok(())
/// })?
/// # }
/// ```
///
/// [`AsyncRead`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncRead.html
/// [`AsyncWrite`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncWrite.html
#[derive(Clone)]
pub struct UnixStream {
    pub(crate) socket: Arc<Socket<net::UnixStream>>,
}

impl UnixStream {
    /// Connects to the listener at a path. While its queue is full, waits: at most 32 ms longer than necessary.
    ///
    /// How long that takes is up to the listener. Limit it with a timeout.
    ///
    /// # Errors
    ///
    /// - `NotFound` if there is no such file, `ConnectionRefused` if nobody listens behind it, or it is no socket.
    /// - `PermissionDenied` without the right to write to it.
    /// - `InvalidInput` for a path that is empty, contains a zero byte or has more than 107 bytes.
    /// - `EPROTOTYPE` if it is a socket for datagrams; others of `connect(2)`.
    /// - `NotConnected` outside a reactor, with a message that says what to do.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the socket, which the listener has not seen yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::{UnixListener, UnixStream};
    /// # let path = std::env::temp_dir().join(format!("unix-connect-doc-{}", std::process::id()));
    ///
    /// async_epoll::block_on(async {
    ///     let listener = UnixListener::bind(&path)?;
    ///     let stream = UnixStream::connect(&path).await?;
    ///     assert_eq!(stream.peer_addr()?.as_pathname(), Some(&*path));
    ///     # drop(listener);
    ///     # std::fs::remove_file(&path)?;
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::connect_with(path, &Handle::current()?).await
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
    pub async fn connect_with(path: impl AsRef<Path>, handle: &Handle) -> io::Result<Self> {
        let address = address::from_path(path.as_ref())?;
        Self::connect_addr_with(&address, handle).await
    }

    /// Connects to the listener at an address: a path, or an abstract name.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); an abstract name that nobody has is `ConnectionRefused`, an unnamed address
    /// `InvalidInput`.
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        Self::connect_addr_with(address, &Handle::current()?).await
    }

    /// As [`connect_addr`](Self::connect_addr), with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// As [`connect_addr`](Self::connect_addr).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_addr_with(address: &SocketAddr, handle: &Handle) -> io::Result<Self> {
        let address = address::to_named(address)?;
        let socket = Socket::open(Domain::UNIX, Type::STREAM, handle)?;
        let mut retry = Retry::connect();
        while none_if_blocked(uninterrupted(|| SockRef::from(&socket).connect(&address)))?.is_none() {
            retry.pause(handle).await?;
        }
        Ok(Self::new(socket))
    }

    /// Two sockets that are connected with each other, without a name.
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`; `NotConnected` outside a reactor.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixStream;
    /// use futures::{AsyncReadExt, AsyncWriteExt};
    ///
    /// async_epoll::block_on(async {
    ///     let (mut parent, mut child) = UnixStream::pair()?;
    ///     parent.write_all(b"!").await?;
    ///     child.read_exact(&mut [0]).await?;
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn pair() -> io::Result<(Self, Self)> {
        Self::pair_with(&Handle::current()?)
    }

    /// As [`pair`](Self::pair), with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`.
    pub fn pair_with(handle: &Handle) -> io::Result<(Self, Self)> {
        let (left, right) = Socket::pair(Type::STREAM, handle)?;
        Ok((Self::new(left), Self::new(right)))
    }

    fn new(socket: Socket<net::UnixStream>) -> Self {
        Self { socket: Arc::new(socket) }
    }

    /// A socket that we have accepted: non-blocking, and its descriptor is the only one.
    pub(crate) fn from_accepted(stream: net::UnixStream, handle: &Handle) -> Self {
        Self::new(Socket::lazy(stream, handle))
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
    /// use async_net_lite::unix::UnixStream;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let (_peer, stream) = std::os::unix::net::UnixStream::pair()?;
    /// let stream = UnixStream::from_std(stream, &runtime.handle())?;
    /// assert!(stream.peer_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_std(stream: net::UnixStream, handle: &Handle) -> io::Result<Self> {
        Ok(Self::new(Source::with_handle(stream, handle)?.into()))
    }

    /// Gives the stream of std back, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, if clones of this stream exist: then the new descriptor shares the connection with them.
    pub fn into_std(self) -> io::Result<net::UnixStream> {
        match Arc::try_unwrap(self.socket) {
            Ok(socket) => socket.into_inner(),
            Err(shared) => shared.duplicate(),
        }
    }

    /// Sends bytes, and descriptors with them: as many as one `sendmsg(2)` takes, and at least one byte. Returns how many
    /// bytes; all the descriptors have gone with the first. The rest of the bytes, if any, is for a plain write.
    ///
    /// The receiver gets descriptors of its own, of the same open files; ours may be closed at once. Being non-blocking is
    /// a property of the open file, and is shared.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for more than 253 descriptors, or for descriptors without a byte to carry them.
    /// - `BrokenPipe` and others, as of a write.
    /// - `ETOOMANYREFS` if the user has more descriptors under way than a process may have open.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has been sent has been returned. Dropped before, nothing has been.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixStream;
    /// use std::fs::File;
    /// use std::io::Read;
    /// use std::os::fd::AsFd;
    ///
    /// async_epoll::block_on(async {
    ///     let (server, client) = UnixStream::pair()?;
    ///     let file = File::open("Cargo.toml")?;
    ///     server.send_with_fds(b"manifest", &[file.as_fd()]).await?;
    ///
    ///     let mut buffer = [0; 16];
    ///     let (length, mut fds) = client.recv_with_fds(&mut buffer, 1).await?;
    ///     assert_eq!(&buffer[..length], b"manifest");
    ///     let mut text = String::new();
    ///     File::from(fds.remove(0)).read_to_string(&mut text)?;
    ///     assert!(text.contains("async-net-lite"));
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn send_with_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_with_fds(cx, &[IoSlice::new(bytes)], fds)).await
    }

    /// The poll form of [`send_with_fds`](Self::send_with_fds), which takes the bytes from several slices: the first 1024
    /// of them.
    ///
    /// # Errors
    ///
    /// As [`send_with_fds`](Self::send_with_fds).
    pub fn poll_send_with_fds(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        let (slices, length) = slices::drain(slices);
        if length == 0 {
            let message = "descriptors on a stream need at least one byte to go with";
            let no_carrier = || Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            return Poll::Ready(if fds.is_empty() { Ok(0) } else { no_carrier() });
        }
        let rights = Rights::new(fds)?;
        self.socket.poll_write_with(cx, |stream| rights.send(stream, slices))
    }

    /// Receives bytes, and the descriptors that came with them: at most `max_fds`, and never more than 253. They are
    /// close-on-exec. No bytes mean the end of the stream, or an empty buffer.
    ///
    /// Descriptors come with the first byte of the message that they were sent with. Plain bytes that were sent before may
    /// come in the same call, but never any that were sent after; and of a message that is larger than the buffer, the first
    /// part brings the descriptors.
    ///
    /// Being handed a descriptor does not mean that it is what you expect. Check that it is a socket, a regular file, …
    /// before you use it, and mind that the other side has it, too.
    ///
    /// # Errors
    ///
    /// - `InvalidData` if there were more descriptors than `max_fds`, or this process can have no more open. Then all of
    ///   them are closed. The bytes are in the buffer, and [`FdsLost`](super::FdsLost) inside the error says how many.
    /// - Those of a read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has been received is returned in the same poll.
    ///
    /// # Examples
    ///
    /// A server hands a connection to a worker.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixStream;
    /// use futures::{AsyncReadExt, AsyncWriteExt};
    /// use std::os::fd::AsFd;
    ///
    /// async_epoll::block_on(async {
    ///     let (server, worker) = UnixStream::pair()?;
    ///     let (mut client, connection) = UnixStream::pair()?;
    ///     server.send_with_fds(b"c", &[connection.as_fd()]).await?;
    ///     drop(connection);
    ///
    ///     let (_, mut fds) = worker.recv_with_fds(&mut [0], 1).await?;
    ///     let mut connection = UnixStream::try_from(fds.remove(0))?;
    ///     connection.write_all(b"served").await?;
    ///     client.read_exact(&mut [0; 6]).await?;
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn recv_with_fds(&self, buffer: &mut [u8], max_fds: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        poll_fn(|cx| self.poll_recv_with_fds(cx, buffer, max_fds)).await
    }

    /// The poll form of [`recv_with_fds`](Self::recv_with_fds).
    ///
    /// # Errors
    ///
    /// As [`recv_with_fds`](Self::recv_with_fds).
    pub fn poll_recv_with_fds(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        max_fds: usize,
    ) -> Poll<io::Result<(usize, Vec<OwnedFd>)>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok((0, Vec::new())));
        }
        let received = self.socket.poll_read_with(cx, |stream| fds::receive(stream.as_fd(), buffer, max_fds));
        received.map_ok(|Received { length, fds, .. }| (length, fds))
    }

    /// Who is on the other end, as the kernel knows: the process, user and group that connected, or that called `listen`.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixStream;
    /// use std::os::unix::fs::MetadataExt;
    ///
    /// async_epoll::block_on(async {
    ///     let (stream, _peer) = UnixStream::pair()?;
    ///     let us = std::fs::metadata("/proc/self")?.uid();
    ///     assert_eq!(stream.peer_cred()?.uid, us);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn peer_cred(&self) -> io::Result<UCred> {
        credentials::of_peer(self.as_fd())
    }

    /// Waits until reading is likely to succeed, or to report an end or an error.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn readable(&self) -> io::Result<Readiness> {
        self.socket.readable().await
    }

    /// Waits until writing is likely to succeed, or to report an error.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn writable(&self) -> io::Result<Readiness> {
        self.socket.writable().await
    }

    /// The poll form of [`readable`](Self::readable). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.inner().poll_readable(cx)
    }

    /// The poll form of [`writable`](Self::writable). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`writable`](Self::writable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.inner().poll_writable(cx)
    }

    /// Reads what is there, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is; otherwise those of a read.
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
        if buffer.is_empty() {
            return Ok(0);
        }
        self.socket.try_io(Interest::READABLE, |mut stream| stream.read(buffer))
    }

    /// Writes as much as there is room for, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none; otherwise those of a write.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.socket.try_io(Interest::WRITABLE, |stream| send(stream, bytes))
    }

    /// Reads what is there into several buffers, one after the other, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read).
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (buffers, wanted) = slices::fill(buffers);
        if wanted == 0 {
            return Ok(0);
        }
        self.socket.try_io(Interest::READABLE, |mut stream| stream.read_vectored(buffers))
    }

    /// Writes of several slices, one after the other, as much as there is room for, without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (slices, length) = slices::drain(slices);
        if length == 0 {
            return Ok(0);
        }
        self.socket.try_io(Interest::WRITABLE, |stream| send_vectored(stream, slices))
    }

    /// Splits the stream into a half that reads and one that writes, which may go to different tasks, or threads.
    ///
    /// Dropping the half that writes sends an end of file, as `close` does. The connection is closed when both halves
    /// and all clones are gone.
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

    /// What its clones share.
    fn inner(&self) -> &Socket<net::UnixStream> {
        &self.socket
    }

    /// Closes one direction or both, by `shutdown(2)`. Data written before is still delivered.
    ///
    /// `close()` of `AsyncWriteExt` is `shutdown(Shutdown::Write)`.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`. On Linux none is known: neither a peer that has gone nor a second call is one.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.get_ref().shutdown(how)
    }

    /// The pending error of the socket (`SO_ERROR`), which is cleared.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.get_ref().take_error()
    }

    /// This side's address; usually unnamed on the side that has connected.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// The other side's address; usually unnamed on the side that has accepted.
    ///
    /// # Errors
    ///
    /// Those of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().peer_addr()
    }
}

/// A read of fewer bytes than there is room for proves nothing: the next message may carry descriptors.
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
std_conversions!(UnixStream, net::UnixStream, "connected Unix stream socket", Domain::UNIX, STREAM);
