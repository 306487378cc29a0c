//! The type of a Unix datagram socket: its address and its peer.
//!
//! Sending and receiving are in `datagram_io.rs`, and descriptors as messages in `descriptors.rs`. Binding a socket is
//! in `bind.rs`.

use super::address;
use super::socket_file::{Bound, SocketFile};
use crate::socket::conversions::std_conversions;
use crate::socket::own_calls::own_calls;
use crate::socket::socket::{Socket, uninterrupted};
use async_epoll::{Handle, Source};
use socket2::{Domain, SockRef, Type};
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// A Unix datagram socket: the async [`std::os::unix::net::UnixDatagram`].
///
/// Unlike UDP, no datagram is lost: a send waits while the queue of the receiver is full. Methods take `&self`, so one
/// task may receive while another sends. Clones share the socket, and dropping the last clone closes it.
///
/// A datagram may be empty: a send of no bytes sends an empty datagram, and a receive of 0 bytes may be an empty
/// datagram.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::unix::UnixDatagram;
/// # let path = std::env::temp_dir().join(format!("unix-datagram-doc-{}", std::process::id()));
///
/// async_epoll::block_on(async {
///     let server = UnixDatagram::bind(&path)?;
///     let client = UnixDatagram::unbound()?;
///     client.send_to(b"hello", &path).await?;
///     let mut buffer = [0; 16];
///     let (length, sender) = server.recv_from(&mut buffer).await?;
///     assert_eq!(&buffer[..length], b"hello");
///     assert!(sender.is_unnamed(), "so there is no way to answer");
///     std::fs::remove_file(&path)
/// })?
/// # }
/// ```
#[derive(Clone)]
pub struct UnixDatagram {
    /// The socket with its file, shared by all clones.
    bound: Arc<Bound<Socket<net::UnixDatagram>>>,
}

impl UnixDatagram {
    /// Opens a socket without an address, on the current reactor. It can send, and receive once connected.
    ///
    /// # Errors
    ///
    /// The errors of `socket(2)`; `NotConnected` without a current reactor, and if the reactor has been dropped.
    pub fn unbound() -> io::Result<Self> {
        Self::unbound_with(&Handle::current()?)
    }

    /// Opens a socket as [`unbound`](Self::unbound) does, with the reactor of `handle` instead of the current reactor.
    ///
    /// # Errors
    ///
    /// As [`unbound`](Self::unbound).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let socket = UnixDatagram::unbound_with(&runtime.handle())?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn unbound_with(handle: &Handle) -> io::Result<Self> {
        Ok(Self::new(Socket::open(Domain::UNIX, Type::DGRAM, handle)?, None))
    }

    /// Returns two connected sockets without addresses, on the current reactor.
    ///
    /// # Errors
    ///
    /// The errors of `socketpair(2)`; `NotConnected` without a current reactor.
    pub fn pair() -> io::Result<(Self, Self)> {
        Self::pair_with(&Handle::current()?)
    }

    /// Returns two connected sockets as [`pair`](Self::pair) does, with the reactor of `handle` instead of the current
    /// reactor.
    ///
    /// # Errors
    ///
    /// As [`pair`](Self::pair).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    ///
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let (left, right) = UnixDatagram::pair_with(&runtime.handle())?;
    /// left.try_send(b"hello")?;
    /// assert_eq!(runtime.run_until(async { right.recv(&mut [0; 8]).await })??, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pair_with(handle: &Handle) -> io::Result<(Self, Self)> {
        let (left, right) = Socket::pair(Type::DGRAM, handle)?;
        Ok((Self::new(left, None), Self::new(right, None)))
    }

    /// Returns the type for a bound, non-blocking socket of `bind`. Its file, if any, is removed on drop.
    pub(crate) fn from_bound(socket: net::UnixDatagram, file: Option<SocketFile>, handle: &Handle) -> Self {
        Self::new(Socket::lazy(socket, handle), file)
    }

    fn new(socket: Socket<net::UnixDatagram>, file: Option<SocketFile>) -> Self {
        Self { bound: Arc::new(Bound::new(socket, file)) }
    }

    /// Converts a socket of std: sets it to non-blocking and registers it with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// The errors of [`Source::with_handle`](async_epoll::Source::with_handle).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    ///
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let (peer, socket) = std::os::unix::net::UnixDatagram::pair()?;
    /// let socket = UnixDatagram::from_std(socket, &runtime.handle())?;
    /// peer.send(b"hello")?;
    /// assert_eq!(runtime.run_until(async { socket.recv(&mut [0; 8]).await })??, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_std(socket: net::UnixDatagram, handle: &Handle) -> io::Result<Self> {
        Ok(Self::new(Source::with_handle(socket, handle)?.into(), None))
    }

    /// Returns the socket of std, still non-blocking and no longer registered. Its file is not removed.
    ///
    /// # Errors
    ///
    /// The errors of `dup(2)`, if clones of this socket exist: the returned descriptor then shares the socket with the
    /// clones.
    pub fn into_std(self) -> io::Result<net::UnixDatagram> {
        self.bound.keep_file();
        match Arc::try_unwrap(self.bound) {
            Ok(bound) => bound.socket.into_inner(),
            Err(shared) => shared.socket.duplicate(),
        }
    }

    /// Returns the socket, which all clones share.
    pub(super) fn inner(&self) -> &Socket<net::UnixDatagram> {
        &self.bound.socket
    }

    /// Sets the peer: the socket at a path.
    ///
    /// From now on, [`send`](Self::send) sends to the peer, and only datagrams of the peer are received. Another call
    /// sets another peer.
    ///
    /// # Errors
    ///
    /// - `NotFound`, `ConnectionRefused`, `PermissionDenied`: as for
    ///   [`UnixStream::connect`](super::UnixStream::connect).
    /// - `InvalidInput` for a path that is empty, contains a zero byte or has more than 107 bytes.
    /// - `EPERM` if the peer is itself connected to a third socket.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("unix-datagram-connect-doc-{}", std::process::id()));
    ///
    /// async_epoll::block_on(async {
    ///     let server = UnixDatagram::bind(&path)?;
    ///     let client = UnixDatagram::unbound()?;
    ///     client.connect(&path)?;
    ///     client.send(b"hello").await?;
    ///     assert_eq!(server.recv(&mut [0; 8]).await?, 5);
    ///     # std::fs::remove_file(&path)?;
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&address::from_path(path.as_ref())?)
    }

    /// Sets the peer: the socket at an address; otherwise as [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        let address = address::to_named(address)?;
        uninterrupted(|| SockRef::from(self.inner().get_ref()).connect(&address))
    }

    /// Closes one direction or both, by `shutdown(2)`.
    ///
    /// # Errors
    ///
    /// The errors of `shutdown(2)`. No error is known on Linux.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner().get_ref().shutdown(how)
    }

    /// Returns the pending error of the socket (`SO_ERROR`), if any, and clears it.
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner().get_ref().take_error()
    }

    /// Returns the address of this socket.
    ///
    /// # Errors
    ///
    /// The errors of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner().get_ref().local_addr()
    }

    /// Returns the address of the [peer](Self::connect).
    ///
    /// # Errors
    ///
    /// The errors of `getpeername(2)`: `NotConnected` without a peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner().get_ref().peer_addr()
    }
}

std_conversions!(UnixDatagram, net::UnixDatagram, "Unix datagram socket", Domain::UNIX, DGRAM);

own_calls!(
    UnixDatagram,
    net::UnixDatagram,
    r#"```
# fn main() -> std::io::Result<()> {
use async_net_lite::unix::UnixDatagram;
use socket2::SockRef;
use std::mem::MaybeUninit;

async_epoll::block_on(async {
    let (socket, peer) = UnixDatagram::pair()?;
    peer.send(b"a long story").await?;
    // With `MSG_TRUNC`, the result is the length of the datagram and not of what was copied.
    let length = |socket: &std::os::unix::net::UnixDatagram| {
        SockRef::from(socket).recv_with_flags(&mut [MaybeUninit::uninit(); 1], libc::MSG_PEEK | libc::MSG_TRUNC)
    };
    let mut buffer = vec![0; socket.read_with(length).await?];
    assert_eq!(socket.recv(&mut buffer).await?, 12);
    Ok(())
})?
# }
```"#,
    both
);
