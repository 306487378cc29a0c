//! The type of a connection between two processes, and how it is made.
//!
//! Reading and writing are in `stream_io.rs`, and descriptors as messages in `descriptors.rs`.
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

use super::address;
use super::credentials::{self, UCred};
use super::retry::Retry;
use crate::socket::conversions::std_conversions;
use crate::socket::socket::{Socket, none_if_blocked, uninterrupted};
use async_epoll::{Handle, Source};
use socket2::{Domain, SockRef, Type};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::sync::Arc;

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
        self.socket.into_std()
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

std_conversions!(UnixStream, net::UnixStream, "connected Unix stream socket", Domain::UNIX, STREAM);
