//! The type of a UDP socket: its address, its peer, and waiting for it.
//!
//! Its operations are next door: one datagram in `receive.rs` and `send.rs`, many in `recv_batch.rs` and `send_batch.rs`. Its
//! options are in `settings.rs` and `multicast.rs`.

use crate::names::addr::AsyncToSocketAddrs;
use crate::socket::conversions::std_conversions;
use crate::socket::socket::Socket;
use async_epoll::{Handle, Readiness, Source};
use socket2::{Domain, SockRef, Type};
use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

/// A UDP socket: the async [`std::net::UdpSocket`].
///
/// Everything takes `&self`, and clones share the socket, so several tasks may receive and send at once: each datagram
/// goes to one of those who receive. The last clone closes it.
///
/// An operation comes in three forms: `recv` waits in an `async fn`, `poll_recv` is the same for futures written by hand,
/// and `try_recv` does not wait but fails with `WouldBlock`. For many small datagrams there are
/// [`recv_batch`](Self::recv_batch) and [`send_batch`](Self::send_batch), which move a whole lot by one system call.
///
/// # What is lost
///
/// UDP promises nothing. In particular, a datagram for which the queue of the receiving socket has no room is dropped by
/// the kernel, and neither side is told: see [`set_recv_buffer_size`](Self::set_recv_buffer_size). Nothing is lost in this
/// crate: what has been taken from the queue has been returned.
///
/// # Errors of a peer
///
/// If nobody listens where a datagram was sent to, that host may answer with an ICMP message. On a
/// [connected](Self::connect) socket the next operation, of whatever kind, fails then: with `ConnectionRefused`, or
/// `HostUnreachable` and the like. It does so once for each message, and the socket works on; a server should take note and
/// go on. A socket that is not connected is not told.
///
/// # Cancel safety
///
/// All operations are cancel safe: a datagram is taken, or handed over, and that is returned in the same poll.
///
/// # Options before binding
///
/// Some options have to be set before a socket is bound, such as `SO_REUSEPORT` and `IPV6_V6ONLY`. Make it with `socket2`
/// then. Options that have no method here are at hand through [`socket2::SockRef::from`] at any time.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::UdpSocket;
/// use socket2::{Domain, SockRef, Socket, Type};
/// use std::net::SocketAddr;
///
/// async_epoll::block_on(async {
///     let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
///     socket.set_reuse_port(true)?;
///     socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
///     let socket = UdpSocket::try_from(std::net::UdpSocket::from(socket))?;
///     assert!(SockRef::from(&socket).reuse_port()?);
///     Ok(())
/// })?
/// # }
/// ```
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::UdpSocket;
///
/// async_epoll::block_on(async {
///     let server = UdpSocket::bind("127.0.0.1:0").await?;
///     let client = UdpSocket::bind("127.0.0.1:0").await?;
///     client.connect(server.local_addr()?).await?;
///     client.send(b"ping").await?;
///
///     let mut buffer = [0; 1500];
///     let (length, address) = server.recv_from(&mut buffer).await?;
///     server.send_to(&buffer[..length], address).await?;
///     assert_eq!(client.recv(&mut buffer).await?, 4);
///     assert_eq!(&buffer[..4], b"ping");
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Clone)]
pub struct UdpSocket {
    pub(super) socket: Arc<Socket<net::UdpSocket>>,
}

impl UdpSocket {
    /// A socket at the first of the addresses that can be bound. Port 0 means any free one: see
    /// [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `bind(2)` for the last address: `AddrInUse`, `PermissionDenied`, …; `InvalidInput` if
    /// there is no address; `NotConnected` outside a reactor, with a message that says what to do, and if the reactor has
    /// been dropped.
    ///
    /// # Cancel safety
    ///
    /// Only a name lookup awaits anything; dropped then, nothing has been bound.
    pub async fn bind(address: impl AsyncToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(address, &Handle::current()?).await
    }

    /// As [`bind`](Self::bind), with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with(address: impl AsyncToSocketAddrs, handle: &Handle) -> io::Result<Self> {
        let lookup = address.lookup()?;
        lookup.try_each(|address| Self::bind_to(address, handle)).await
    }

    /// A socket at one address.
    fn bind_to(address: SocketAddr, handle: &Handle) -> io::Result<Self> {
        let socket = Socket::open(Domain::for_address(address), Type::DGRAM, handle)?;
        SockRef::from(&socket).bind(&address.into())?;
        Ok(Self::new(socket))
    }

    fn new(socket: Socket<net::UdpSocket>) -> Self {
        Self { socket: Arc::new(socket) }
    }

    /// What its clones share.
    pub(super) fn inner(&self) -> &Socket<net::UdpSocket> {
        &self.socket
    }

    /// Makes a socket of std async: sets it to non-blocking and registers it with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// Those of [`Source::with_handle`].
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::UdpSocket;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let socket = UdpSocket::from_std(socket, &runtime.handle())?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_std(socket: net::UdpSocket, handle: &Handle) -> io::Result<Self> {
        Ok(Self::new(Source::with_handle(socket, handle)?.into()))
    }

    /// Gives the socket of std back, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, if clones of this socket exist: then the new descriptor shares the queue with them.
    pub fn into_std(self) -> io::Result<net::UdpSocket> {
        self.socket.into_std()
    }

    /// Chooses the peer: the first of the addresses that `connect(2)` takes. Nothing is sent.
    ///
    /// From now on [`send`](Self::send) goes there, datagrams of others are no longer put into the queue (those that are in
    /// it stay), and [errors of the peer](Self#errors-of-a-peer) are reported. It may be done again, for another peer.
    ///
    /// # Errors
    ///
    /// Those of `connect(2)` for the last address, such as `NetworkUnreachable`; `InvalidInput` if there is no address.
    ///
    /// # Cancel safety
    ///
    /// Only a name lookup awaits anything; dropped then, the peer is as before.
    pub async fn connect(&self, address: impl AsyncToSocketAddrs) -> io::Result<()> {
        let lookup = address.lookup()?;
        lookup.try_each(|address| self.socket.get_ref().connect(address)).await
    }

    /// Waits until receiving is likely to succeed: a datagram is there, or an error to collect. Returns what the kernel has
    /// reported.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. It stays readable until an operation finds nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::UdpSocket;
    /// use std::io::ErrorKind;
    ///
    /// async_epoll::block_on(async {
    ///     let (socket, peer) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    ///     assert_eq!(socket.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    ///     peer.send_to(b"hello", socket.local_addr()?).await?;
    ///     assert!(socket.readable().await?.is_readable());
    ///     assert_eq!(socket.try_recv(&mut [0; 8])?, 5);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn readable(&self) -> io::Result<Readiness> {
        self.socket.readable().await
    }

    /// Waits until sending is likely to succeed: there is room, or an error to collect. Returns what the kernel has
    /// reported.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. It stays writable until an operation finds no room.
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

    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// The address that the socket is [connected](Self::connect) to.
    ///
    /// # Errors
    ///
    /// `NotConnected` if it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().peer_addr()
    }

    /// Takes the error that waits for the next operation, if there is one (`SO_ERROR`): see [errors of a
    /// peer](Self#errors-of-a-peer).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.get_ref().take_error()
    }
}

std_conversions!(UdpSocket, net::UdpSocket, "UDP socket", Domain::IPV4 | Domain::IPV6, DGRAM);
