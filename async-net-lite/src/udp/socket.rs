//! The type of a UDP socket: its address, its peer and its readiness.
//!
//! Its other operations are in the files beside this one: one datagram in `receive.rs` and `send.rs`, many in
//! `recv_batch.rs` and `send_batch.rs`, and options in `settings.rs` and `multicast.rs`.

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
/// All methods take `&self`, and clones share the socket, so several tasks may receive and send at once: each datagram
/// goes to one of the receiving tasks. Dropping the last clone closes the socket.
///
/// An operation has three forms: `recv` waits in an `async fn`, `poll_recv` is the same for futures written by hand,
/// and `try_recv` does not wait but fails with `WouldBlock`. For many small datagrams, [`recv_batch`](Self::recv_batch)
/// and [`send_batch`](Self::send_batch) move many datagrams by one system call.
///
/// # What is lost
///
/// UDP guarantees no delivery. In particular, if the queue of the receiving socket is full, the kernel drops the
/// datagram, and reports this to neither side: see [`set_recv_buffer_size`](Self::set_recv_buffer_size). This crate
/// loses no datagram: every datagram taken from the queue is returned.
///
/// # Errors of a peer
///
/// If no socket is bound to the port that a datagram was sent to, the host may answer with an ICMP message. On a
/// [connected](Self::connect) socket, the next operation in either direction then fails, with `ConnectionRefused`,
/// `HostUnreachable` or similar. Each message causes one error, and the socket stays usable: a server should log the
/// error and continue. A socket without a peer does not report such errors.
///
/// # Cancel safety
///
/// All operations are cancel safe: a datagram is taken or sent, and the result is returned, in the same poll.
///
/// # Options before binding
///
/// Some options must be set before a socket is bound, such as `SO_REUSEPORT` and `IPV6_V6ONLY`. For these, create the
/// socket with `socket2`. [`socket2::SockRef::from`] reaches options without a method here at any time.
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
    /// Binds a socket, on the current reactor, to the first of the addresses that can be bound.
    ///
    /// With port 0 the kernel chooses a free port: see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    ///
    /// - The errors of `socket(2)` and `bind(2)` for the last address: `AddrInUse`, `PermissionDenied`, …
    /// - `InvalidInput` if there is no address.
    /// - `NotConnected` without a current reactor, with a message that says what to do, and if the reactor has been
    ///   dropped.
    ///
    /// # Cancel safety
    ///
    /// Only a name lookup waits. If the future is dropped during the lookup, no socket has been bound.
    pub async fn bind(address: impl AsyncToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(address, &Handle::current()?).await
    }

    /// Binds as [`bind`](Self::bind) does, with the reactor of `handle` instead of the current reactor.
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

    /// Binds a socket to one address.
    fn bind_to(address: SocketAddr, handle: &Handle) -> io::Result<Self> {
        let socket = Socket::open(Domain::for_address(address), Type::DGRAM, handle)?;
        SockRef::from(&socket).bind(&address.into())?;
        Ok(Self::new(socket))
    }

    fn new(socket: Socket<net::UdpSocket>) -> Self {
        Self { socket: Arc::new(socket) }
    }

    /// Returns the socket, which all clones share.
    pub(super) fn inner(&self) -> &Socket<net::UdpSocket> {
        &self.socket
    }

    /// Converts a socket of std: sets it to non-blocking and registers it with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// The errors of [`Source::with_handle`].
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

    /// Returns the socket of std, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// The errors of `dup(2)`, if clones of this socket exist: the returned descriptor then shares the queue with the
    /// clones.
    pub fn into_std(self) -> io::Result<net::UdpSocket> {
        self.socket.into_std()
    }

    /// Sets the peer: the first of the addresses that `connect(2)` accepts. Nothing is sent.
    ///
    /// From now on, [`send`](Self::send) sends to the peer, the kernel queues no datagrams from other addresses
    /// (datagrams already in the queue stay), and [errors of the peer](Self#errors-of-a-peer) are reported. Another
    /// call sets another peer.
    ///
    /// # Errors
    ///
    /// The errors of `connect(2)` for the last address, such as `NetworkUnreachable`; `InvalidInput` if there is no
    /// address.
    ///
    /// # Cancel safety
    ///
    /// Only a name lookup waits. If the future is dropped during the lookup, the peer is unchanged.
    pub async fn connect(&self, address: impl AsyncToSocketAddrs) -> io::Result<()> {
        let lookup = address.lookup()?;
        lookup.try_each(|address| self.socket.get_ref().connect(address)).await
    }

    /// Waits until a receive is likely to succeed or to return an error. Returns the readiness that the kernel has
    /// reported.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. The socket stays readable until an operation meets `WouldBlock`.
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

    /// Waits until a send is likely to succeed or to return an error. Returns the readiness that the kernel has
    /// reported.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. The socket stays writable until an operation meets `WouldBlock`.
    pub async fn writable(&self) -> io::Result<Readiness> {
        self.socket.writable().await
    }

    /// Polls for read readiness; see [`readable`](Self::readable). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.socket.poll_readable(cx)
    }

    /// Polls for write readiness; see [`writable`](Self::writable). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.socket.poll_writable(cx)
    }

    /// Returns the address to which the socket is bound.
    ///
    /// # Errors
    ///
    /// The errors of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Returns the address of the [peer](Self::connect).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the socket is not connected.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().peer_addr()
    }

    /// Returns the pending error of the socket (`SO_ERROR`), if any, and clears it: see [errors of a
    /// peer](Self#errors-of-a-peer).
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.get_ref().take_error()
    }
}

std_conversions!(UdpSocket, net::UdpSocket, "UDP socket", Domain::IPV4 | Domain::IPV6, DGRAM);
