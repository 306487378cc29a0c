//! The type of a Unix stream socket, and how it connects.
//!
//! Reading and writing are in `stream_io.rs`, and descriptors as messages in `descriptors.rs`.
//!
//! Connecting is one system call, which succeeds at once if the backlog of the listener has room. Otherwise the call
//! fails with `EAGAIN`, and the caller has to retry (see `retry`):
//!
//! ```text
//!   socket ──► connect ──► connected
//!                │  ▲ └──► refused, not found, … : error
//!           full ▼  │
//!             pause of a timer
//! ```

use super::address;
use super::credentials::{self, UCred};
use super::retry::Retry;
use crate::socket::conversions::std_conversions;
use crate::socket::own_calls::own_calls;
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
/// `&UnixStream`: one task may read while another writes, through a reference or a clone. Clones share the connection,
/// and dropping the last clone closes it.
///
/// Only [`recv_with_fds`](Self::recv_with_fds) receives descriptors of the peer. At a plain read the kernel closes
/// them, so no descriptor leaks.
///
/// # Cancel safety
///
/// A single read or write is cancel safe: bytes move and are counted in the same poll. `read_exact` and `write_all` of
/// futures are not cancel safe: some bytes may have moved when the future is dropped.
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
    /// The socket, shared by all clones.
    pub(crate) socket: Arc<Socket<net::UnixStream>>,
}

impl UnixStream {
    /// Connects to the listener at a path, on the current reactor. Waits while the backlog of the listener is full.
    ///
    /// The listener decides how long this takes, and the wait is up to 32 ms longer than necessary. Limit it with a
    /// timeout.
    ///
    /// # Errors
    ///
    /// - `NotFound` if the file does not exist, `ConnectionRefused` if no socket listens there or the file is not a
    ///   socket.
    /// - `PermissionDenied` without permission to write to the file.
    /// - `InvalidInput` for a path that is empty, contains a zero byte or has more than 107 bytes.
    /// - `EPROTOTYPE` if the file is a datagram socket; others of `connect(2)`.
    /// - `NotConnected` without a current reactor, with a message that says what to do.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket. The listener has not seen the connection then.
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

    /// Connects as [`connect`](Self::connect) does, with the reactor of `handle` instead of the current reactor.
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

    /// Connects to the listener at an address, a path or an abstract name, on the current reactor.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). `ConnectionRefused` if no socket has the abstract name, and `InvalidInput` for an
    /// unnamed address.
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        Self::connect_addr_with(address, &Handle::current()?).await
    }

    /// Connects as [`connect_addr`](Self::connect_addr) does, with the reactor of `handle` instead of the current
    /// reactor.
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

    /// Returns two connected sockets without addresses, on the current reactor.
    ///
    /// # Errors
    ///
    /// The errors of `socketpair(2)`; `NotConnected` without a current reactor.
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

    /// Returns two connected sockets as [`pair`](Self::pair) does, with the reactor of `handle` instead of the current
    /// reactor.
    ///
    /// # Errors
    ///
    /// The errors of `socketpair(2)`.
    pub fn pair_with(handle: &Handle) -> io::Result<(Self, Self)> {
        let (left, right) = Socket::pair(Type::STREAM, handle)?;
        Ok((Self::new(left), Self::new(right)))
    }

    fn new(socket: Socket<net::UnixStream>) -> Self {
        Self { socket: Arc::new(socket) }
    }

    /// Returns the type for an accepted socket, which is non-blocking and has a single descriptor.
    pub(crate) fn from_accepted(stream: net::UnixStream, handle: &Handle) -> Self {
        Self::new(Socket::lazy(stream, handle))
    }

    /// Converts a stream of std: sets it to non-blocking and registers it with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// The errors of [`Source::with_handle`](async_epoll::Source::with_handle).
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

    /// Returns the stream of std, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// The errors of `dup(2)`, if clones of this stream exist: the returned descriptor then shares the connection with
    /// the clones.
    pub fn into_std(self) -> io::Result<net::UnixStream> {
        self.socket.into_std()
    }

    /// Returns the credentials of the peer, as recorded by the kernel: the process, user and group that called
    /// `connect` or `listen`.
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
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
        credentials::of_peer(self.inner().as_fd())
    }

    /// Returns the socket, which all clones share.
    fn inner(&self) -> &Socket<net::UnixStream> {
        &self.socket
    }

    /// Closes one direction or both, by `shutdown(2)`. Bytes that were written before are still delivered.
    ///
    /// `close()` of `AsyncWriteExt` is `shutdown(Shutdown::Write)`.
    ///
    /// # Errors
    ///
    /// The errors of `shutdown(2)`. No error is known on Linux: a closed peer and a second call are not errors.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.get_ref().shutdown(how)
    }

    /// Returns the pending error of the socket (`SO_ERROR`), if any, and clears it.
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.get_ref().take_error()
    }

    /// Returns the address of this socket. It is usually unnamed on the connecting side.
    ///
    /// # Errors
    ///
    /// The errors of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Returns the address of the peer. It is usually unnamed on the accepting side.
    ///
    /// # Errors
    ///
    /// The errors of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().peer_addr()
    }
}

std_conversions!(UnixStream, net::UnixStream, "connected Unix stream socket", Domain::UNIX, STREAM);

own_calls!(
    UnixStream,
    net::UnixStream,
    r#"```
# fn main() -> std::io::Result<()> {
use async_net_lite::unix::UnixStream;
use std::io::Read;

async_epoll::block_on(async {
    let (stream, peer) = UnixStream::pair()?;
    peer.try_write(b"hello")?;
    let mut buffer = [0; 8];
    let read = |mut stream: &std::os::unix::net::UnixStream| stream.read(&mut buffer);
    assert_eq!(stream.read_with(read).await?, 5);
    Ok(())
})?
# }
```"#,
    both
);
