//! The type of a UDP socket: its address, its peer and its readiness.
//!
//! Its other operations are in the files beside this one: one datagram in `receive.rs` and `send.rs`, many in
//! `recv_batch.rs` and `send_batch.rs`, and options in `settings.rs` and `multicast.rs`.

use crate::names::addr::{AsyncToSocketAddrs, try_each};
use crate::names::family::Family;
use crate::socket::conversions::std_conversions;
use crate::socket::own_calls::own_calls;
use crate::socket::socket::Socket;
use async_epoll::{Handle, Readiness, Source};
use socket2::{Domain, SockRef, Type};
use std::io;
use std::net::{self, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
/// # Receive offload
///
/// With the option `UDP_GRO` of [`udp(7)`](https://man7.org/linux/man-pages/man7/udp.7.html), the kernel joins datagrams
/// of one sender into one buffer, and says where to take it apart in a control message. The methods of this type do not
/// take it apart. If the option has been set on the descriptor, a receive that meets joined datagrams fails with
/// `InvalidData`, instead of returning them as one; they are lost, unless the call only peeks. So leave the option off, or
/// receive with [`read_with`](Self::read_with) and `recvmsg(2)`. This costs nothing as long as the descriptor of a
/// socket that was made by [`bind`](Self::bind) has not been handed out, and otherwise a somewhat slower system call. It
/// does not see options that another process sets on an inherited descriptor.
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
    /// The socket, shared by all clones.
    pub(super) socket: Arc<SharedSocket>,
}

/// What the clones of a UDP socket share.
#[derive(Debug)]
pub(super) struct SharedSocket {
    /// The socket.
    socket: Socket<net::UdpSocket>,
    /// Whether code outside this crate has had the descriptor, and so may have set an option of it. Set once.
    is_handed_out: AtomicBool,
}

impl SharedSocket {
    /// Returns the socket for code outside this crate, which may set an option of it, now or later.
    fn for_user(&self) -> &Socket<net::UdpSocket> {
        self.is_handed_out.store(true, Ordering::Relaxed);
        &self.socket
    }

    /// Returns whether code outside this crate may have set options of the socket.
    pub(super) fn is_handed_out(&self) -> bool {
        self.is_handed_out.load(Ordering::Relaxed)
    }
}

impl Deref for SharedSocket {
    type Target = Socket<net::UdpSocket>;

    fn deref(&self) -> &Socket<net::UdpSocket> {
        &self.socket
    }
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
        Ok(Self::new(socket, false))
    }

    fn new(socket: Socket<net::UdpSocket>, is_handed_out: bool) -> Self {
        Self { socket: Arc::new(SharedSocket { socket, is_handed_out: AtomicBool::new(is_handed_out) }) }
    }

    /// Returns the socket for code outside this crate.
    fn inner(&self) -> &Socket<net::UdpSocket> {
        self.socket.for_user()
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
        Ok(Self::new(Source::with_handle(socket, handle)?.into(), true))
    }

    /// Returns the socket of std, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// The errors of `dup(2)`, if clones of this socket exist: the returned descriptor then shares the queue with the
    /// clones.
    pub fn into_std(self) -> io::Result<net::UdpSocket> {
        match Arc::try_unwrap(self.socket) {
            Ok(shared) => shared.socket.into_inner(),
            Err(shared) => shared.for_user().duplicate(),
        }
    }

    /// Sets the peer: the first of the addresses that this socket can [send to](Self::send_to), and that `connect(2)`
    /// accepts. Nothing is sent.
    ///
    /// From now on, [`send`](Self::send) sends to the peer, the kernel queues no datagrams from other addresses
    /// (datagrams already in the queue stay), and [errors of the peer](Self#errors-of-a-peer) are reported. Another
    /// call sets another peer.
    ///
    /// # Errors
    ///
    /// The errors of `connect(2)` for the last address, such as `NetworkUnreachable`; `InvalidInput` if there is no
    /// address. The peer is as before then.
    ///
    /// # Cancel safety
    ///
    /// Only a name lookup waits. If the future is dropped during the lookup, the peer is unchanged.
    pub async fn connect(&self, address: impl AsyncToSocketAddrs) -> io::Result<()> {
        let addresses = address.lookup()?.for_socket(|| self.family()).await?;
        try_each(addresses, |address| self.connect_to(address))
    }

    /// Sets the peer to one address. After an error, the socket is as before.
    fn connect_to(&self, address: SocketAddr) -> io::Result<()> {
        let socket = self.socket.get_ref();
        if matches!(address, SocketAddr::V6(address) if address.scope_id() != 0) {
            // For an address with a zone, the kernel binds the socket to the interface before it looks for a route. If
            // there is no route, the socket stays bound, and only a privileged process can undo that. So another socket
            // tries first.
            let mut local = socket.local_addr()?;
            local.set_port(0);
            net::UdpSocket::bind(local)?.connect(address)?;
        }
        socket.connect(address)
    }

    /// Returns the family of the addresses that this socket can send to.
    pub(super) fn family(&self) -> io::Result<Family> {
        Ok(match self.local_addr()? {
            SocketAddr::V4(_) => Family::V4,
            // IPv4 in an IPv6 socket.
            SocketAddr::V6(local) if local.ip().to_ipv4_mapped().is_some() => Family::V4,
            // The kernel sets this option when the socket is bound to an IPv6 address, too.
            SocketAddr::V6(_) if SockRef::from(&**self.socket).only_v6()? => Family::V6,
            SocketAddr::V6(_) => Family::Any,
        })
    }

    /// Waits until a receive is likely to succeed or to return an error. Returns the readiness that the kernel has
    /// reported.
    ///
    /// The socket stays readable until an operation of this type meets `WouldBlock`. For a system call of your own that is
    /// [`read_with`](Self::read_with) or [`try_io`](Self::try_io); a `WouldBlock` of a call on the bare descriptor goes unnoticed, and a
    /// loop around this method spins, unless you call [`clear_ready`](Self::clear_ready) after it.
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
    /// The socket stays writable until an operation of this type meets `WouldBlock`. For a system call of your own that is
    /// [`write_with`](Self::write_with) or [`try_io`](Self::try_io); a `WouldBlock` of a call on the bare descriptor goes unnoticed, and a
    /// loop around this method spins, unless you call [`clear_ready`](Self::clear_ready) after it.
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

own_calls!(
    UdpSocket,
    net::UdpSocket,
    r#"```
# fn main() -> std::io::Result<()> {
use async_net_lite::UdpSocket;
use socket2::SockRef;
use std::mem::MaybeUninit;

async_epoll::block_on(async {
    let (socket, peer) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    peer.send_to(b"a long story", socket.local_addr()?).await?;
    // With `MSG_TRUNC`, the result is the length of the datagram and not of what was copied.
    let length = |socket: &std::net::UdpSocket| {
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
