//! Binding a TCP listener, and what can be chosen before.
//!
//! Most of it is an option of `setsockopt(2)` that has to be set before `bind(2)` or `listen(2)` to have its full effect,
//! which is why it is here and not a method of the listener.

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
    /// Listens on the first of the addresses that can be bound, with the defaults of [`ListenOptions`]: `SO_REUSEADDR`
    /// and a queue of 1024. Port 0 means any free one: see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)` and `listen(2)` for the last address: `AddrInUse`, `PermissionDenied`, …;
    /// `InvalidInput` if there is no address; `NotConnected` outside a reactor, and if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Only a name lookup awaits anything; dropped then, nothing has been bound.
    pub async fn bind(address: impl AsyncToSocketAddrs) -> io::Result<Self> {
        ListenOptions::new().bind(address).await
    }

    /// As [`bind`](Self::bind), on the reactor of `handle`.
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

/// How to listen: what [`TcpListener::bind`] does not ask for.
///
/// The options are set in an order in which each has its full effect; accepted connections inherit `nodelay` and the
/// buffers from the listener, so that none of them costs a system call per connection.
///
/// # Examples
///
/// A listener whose connections send small answers at once, and come up when their request is there.
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
    /// The defaults: a backlog of 1024 and `reuse_addr`, everything else as the kernel has it.
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

    /// How many connections may wait in the queue until they are accepted; beyond that, clients are kept waiting. The
    /// default is 1024. The kernel takes no more than `/proc/sys/net/core/somaxconn`. See
    /// [`listen(2)`](https://man7.org/linux/man-pages/man2/listen.2.html).
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Whether the address may be bound although connections of an earlier listener linger on it: `SO_REUSEADDR` of
    /// [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html). The default is yes, since a server could not
    /// be restarted for a minute otherwise. Two listeners on one address are refused all the same.
    pub fn reuse_addr(mut self, reuse_addr: bool) -> Self {
        self.reuse_addr = reuse_addr;
        self
    }

    /// Whether other listeners of the same user may have the same address, so that the kernel shares connections out
    /// among them: `SO_REUSEPORT` of [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html). All of them
    /// have to ask for it. The default is no.
    ///
    /// Each has a queue of its own, and closing one resets what is in it: stop new clients first, accept until nobody
    /// is left, and then close.
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    /// Whether accepted connections send small writes at once: `TCP_NODELAY` of
    /// [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html), which they inherit from the listener. The default
    /// is no.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Accepts a connection when its first bytes are there, for those of which the client speaks first:
    /// `TCP_DEFER_ACCEPT` of [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html). The default is at once.
    ///
    /// `time` is how long the kernel holds back a client that sends nothing, in whole seconds, rounded up; then it
    /// comes up without any. It counts in its own retransmissions, so it may take some seconds more. Zero means at once.
    pub fn defer_accept(mut self, time: Duration) -> Self {
        self.defer_accept = Some(time);
        self
    }

    /// The size of the receive buffer of accepted connections, in bytes: `SO_RCVBUF` of
    /// [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html). The kernel reserves twice as much, no more
    /// than `/proc/sys/net/core/rmem_max` allows, and then does not adapt it any more. The default is the kernel's,
    /// which adapts.
    pub fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// The size of the send buffer of accepted connections, in bytes: `SO_SNDBUF`, otherwise as
    /// [`recv_buffer`](Self::recv_buffer), with `wmem_max`.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Takes data with the first packet of clients that were here before, at most `queue` of them at a time that are
    /// not fully connected: `TCP_FASTOPEN` of [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html). The default
    /// is none. It has an effect if bit 2 of `/proc/sys/net/ipv4/tcp_fastopen` is set; and a request may come twice, so
    /// it is for those that do no harm then.
    pub fn fastopen(mut self, queue: u32) -> Self {
        self.fastopen = Some(queue);
        self
    }

    /// Whether a listener on an IPv6 address refuses IPv4: `IPV6_V6ONLY` of
    /// [`ipv6(7)`](https://man7.org/linux/man-pages/man7/ipv6.7.html). The default is that of
    /// `/proc/sys/net/ipv6/bindv6only`, which usually is no: `[::]` then takes both. No effect on an IPv4 address.
    pub fn only_v6(mut self, only_v6: bool) -> Self {
        self.only_v6 = Some(only_v6);
        self
    }

    /// Listens on the first of the addresses that can be bound, on the current reactor. Port 0 means any free
    /// one: see [`TcpListener::local_addr`].
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `setsockopt(2)`, `bind(2)` and `listen(2)` for the last address: `AddrInUse`,
    /// `PermissionDenied`, …; `InvalidInput` if there is no address; `NotConnected` outside a reactor, and if the
    /// reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Only a name lookup awaits anything; dropped then, nothing has been bound.
    pub async fn bind(&self, address: impl AsyncToSocketAddrs) -> io::Result<TcpListener> {
        self.bind_with(address, &Handle::current()?).await
    }

    /// As [`bind`](Self::bind), on the reactor of `handle`.
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
        // Before `listen`, since the window that is offered to a client depends on the buffer.
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
