//! Binding a TCP listener, and the options to choose before.
//!
//! Most are options of `setsockopt(2)` that have to be set before `bind(2)` or `listen(2)` to have their full effect.
//! So they are here, and not methods of the listener.

use super::listener::TcpListener;
use crate::names::addr::AsyncToSocketAddrs;
use crate::socket::options::{BACKLOG, saturate, set_buffers, whole_seconds};
use crate::socket::socket::Socket;
use crate::sys;
use async_epoll::Handle;
use socket2::{Domain, SockRef, Type};
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

impl TcpListener {
    /// Listens on the first of the addresses that can be bound.
    ///
    /// The options are the defaults of [`ListenOptions`]: `SO_REUSEADDR` and a queue of 1024. With port 0, the kernel
    /// chooses a free port: see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)` and `listen(2)` for the last address: `AddrInUse`, `PermissionDenied`, …;
    /// `InvalidInput` if there is no address; `NotConnected` without a current reactor, and if the reactor has been
    /// dropped.
    ///
    /// # Cancel safety
    ///
    /// Only the lookup of a name waits. If the future is dropped then, nothing has been bound.
    pub async fn bind(address: impl AsyncToSocketAddrs) -> io::Result<Self> {
        ListenOptions::new().bind(address).await
    }

    /// Listens as [`bind`](Self::bind) does, on the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with(address: impl AsyncToSocketAddrs, handle: &Handle) -> io::Result<Self> {
        ListenOptions::new().bind_with(address, handle).await
    }
}

/// How to listen: the choices that [`TcpListener::bind`] does not offer.
///
/// The options are set in an order in which each has its full effect. Accepted connections inherit `nodelay` and the
/// buffer sizes from the listener, so these cost no system call per connection.
///
/// # Examples
///
/// A listener with connections that send small answers at once, and are accepted when their request has arrived.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{ListenOptions, TcpStream};
/// use futures::{AsyncReadExt, AsyncWriteExt};
/// use std::time::Duration;
///
/// async_epoll::block_on(async {
///     let listener = ListenOptions::new()
///         .backlog(4096)
///         .nodelay(true)
///         .defer_accept(Duration::from_secs(5))
///         .bind("127.0.0.1:0")
///         .await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     (&client).write_all(b"request").await?;
///     let (mut stream, _) = listener.accept().await?;
///     assert!(stream.nodelay()?);
///     assert_eq!(stream.read(&mut [0; 64]).await?, 7);
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `bind` is called"]
pub struct ListenOptions {
    // Each field is set by the method of its name, which describes it.
    backlog: u32,
    reuse_addr: bool,
    reuse_port: bool,
    nodelay: bool,
    defer_accept: Option<Duration>,
    recv_buffer: Option<usize>,
    send_buffer: Option<usize>,
    fastopen: Option<u32>,
    only_v6: Option<bool>,
}

impl ListenOptions {
    /// Returns the defaults: a backlog of 1024 and `reuse_addr`, everything else as the kernel has it.
    pub fn new() -> Self {
        Self {
            backlog: BACKLOG,
            reuse_addr: true,
            reuse_port: false,
            nodelay: false,
            defer_accept: None,
            recv_buffer: None,
            send_buffer: None,
            fastopen: None,
            only_v6: None,
        }
    }

    /// Sets the backlog: how many connections may wait in the queue to be accepted. Further clients are kept waiting.
    /// The default is 1024. The kernel limits it to `/proc/sys/net/core/somaxconn`. See
    /// [`listen(2)`](https://man7.org/linux/man-pages/man2/listen.2.html).
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Sets whether the address may be bound although connections of an earlier listener linger on it: `SO_REUSEADDR`
    /// of [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html). The default is yes, since a server could
    /// not be restarted for a minute otherwise. A second listener on the same address is refused nevertheless.
    pub fn reuse_addr(mut self, reuse_addr: bool) -> Self {
        self.reuse_addr = reuse_addr;
        self
    }

    /// Sets whether several listeners of the same user may share an address, so the kernel distributes connections
    /// among them: `SO_REUSEPORT` of [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html). Each of the
    /// listeners has to set it. The default is no.
    ///
    /// Each listener has its own queue, and closing the listener resets the connections in the queue. So stop new
    /// clients first, accept until the queue is empty, and then close.
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    /// Sets whether accepted connections send small writes at once: `TCP_NODELAY` of
    /// [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html), which they inherit from the listener. The default
    /// is no.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Delays a connection until its first bytes are there, for protocols in which the client speaks first:
    /// `TCP_DEFER_ACCEPT` of [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html). The default is no delay.
    ///
    /// `time` is how long the kernel holds back a client that sends nothing, in whole seconds, rounded up. Then the
    /// connection is accepted without bytes. The kernel counts in its own retransmissions, so this may take some
    /// seconds more. Zero means no delay.
    pub fn defer_accept(mut self, time: Duration) -> Self {
        self.defer_accept = Some(time);
        self
    }

    /// Sets the size of the receive buffer of accepted connections, in bytes: `SO_RCVBUF` of
    /// [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html). The kernel limits the size to
    /// `/proc/sys/net/core/rmem_max`, reserves twice as much, and no longer adapts it. The default is the kernel's,
    /// which adapts.
    pub fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Sets the size of the send buffer of accepted connections, in bytes: `SO_SNDBUF`. Otherwise as
    /// [`recv_buffer`](Self::recv_buffer), with `wmem_max`.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Accepts data in the first packet of clients that have connected before: `TCP_FASTOPEN` of
    /// [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html).
    ///
    /// `queue` is the largest number of such connections that are not fully established yet. The default is none.
    /// Effective if bit 0x2 of `/proc/sys/net/ipv4/tcp_fastopen` is set. A request may arrive twice, so use this only
    /// for requests that do no harm then.
    pub fn fastopen(mut self, queue: u32) -> Self {
        self.fastopen = Some(queue);
        self
    }

    /// Sets whether a listener on an IPv6 address refuses IPv4: `IPV6_V6ONLY` of
    /// [`ipv6(7)`](https://man7.org/linux/man-pages/man7/ipv6.7.html). The default is that of
    /// `/proc/sys/net/ipv6/bindv6only`, usually no: `[::]` then accepts both. No effect on an IPv4 address.
    pub fn only_v6(mut self, only_v6: bool) -> Self {
        self.only_v6 = Some(only_v6);
        self
    }

    /// Listens on the first of the addresses that can be bound, on the current reactor.
    ///
    /// With port 0, the kernel chooses a free port: see [`TcpListener::local_addr`].
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `setsockopt(2)`, `bind(2)` and `listen(2)` for the last address: `AddrInUse`,
    /// `PermissionDenied`, …; `InvalidInput` if there is no address; `NotConnected` without a current reactor, and if
    /// the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Only the lookup of a name waits. If the future is dropped then, nothing has been bound.
    pub async fn bind(&self, address: impl AsyncToSocketAddrs) -> io::Result<TcpListener> {
        self.bind_with(address, &Handle::current()?).await
    }

    /// Listens as [`bind`](Self::bind) does, on the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::ListenOptions;
    ///
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let handle = runtime.handle();
    /// let (one, two) = runtime.run_until(async {
    ///     let options = ListenOptions::new().reuse_port(true);
    ///     let one = options.bind_with("127.0.0.1:0", &handle).await?;
    ///     let two = options.bind_with(one.local_addr()?, &handle).await?;
    ///     std::io::Result::Ok((one, two))
    /// })??;
    /// assert_eq!(one.local_addr()?, two.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn bind_with(&self, address: impl AsyncToSocketAddrs, handle: &Handle) -> io::Result<TcpListener> {
        let lookup = address.lookup()?;
        lookup.try_each(|address| self.bind_to(address, handle)).await
    }

    /// Listens on one address.
    fn bind_to(&self, address: SocketAddr, handle: &Handle) -> io::Result<TcpListener> {
        let socket = Socket::<net::TcpListener>::open(Domain::for_address(address), Type::STREAM, handle)?;
        let options = SockRef::from(socket.get_ref());
        options.set_reuse_address(self.reuse_addr)?;
        if self.reuse_port {
            options.set_reuse_port(true)?;
        }
        if let (Some(only_v6), SocketAddr::V6(_)) = (self.only_v6, address) {
            options.set_only_v6(only_v6)?;
        }
        if self.nodelay {
            options.set_tcp_nodelay(true)?;
        }
        // Before `listen`, since the window offered to a client depends on the buffer.
        set_buffers(&options, self.recv_buffer, self.send_buffer)?;
        if let Some(time) = self.defer_accept {
            sys::set_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, whole_seconds(time))?;
        }
        if let Some(queue) = self.fastopen {
            sys::set_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, saturate(queue))?;
        }
        options.bind(&address.into())?;
        options.listen(saturate(self.backlog))?;
        Ok(TcpListener::new(socket))
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}
