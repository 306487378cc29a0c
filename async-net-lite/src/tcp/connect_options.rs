//! What can be chosen before a connection is made.
//!
//! Most of it is an option of `setsockopt(2)` that has to be set before `connect(2)` to have its full effect, which is why
//! it is here and not a method of the stream. `connect.rs` has the methods that connect.

use super::settings::Keepalive;
use crate::names::resolve::Resolver;
use crate::socket::options::set_buffers;
use crate::sys;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

/// How to connect: what [`TcpStream::connect`](crate::TcpStream::connect) does not ask for.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{ConnectOptions, TcpListener};
/// use std::time::Duration;
///
/// async_epoll::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let options = ConnectOptions::new()
///         .bind("127.0.0.2:0".parse().unwrap())
///         .nodelay(true)
///         .timeout(Duration::from_secs(5));
///     let stream = options.connect(listener.local_addr()?).await?;
///     assert_eq!(stream.local_addr()?.ip().to_string(), "127.0.0.2");
///     assert!(stream.nodelay()?);
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until `connect` is called"]
pub struct ConnectOptions {
    bind: Option<SocketAddr>,
    nodelay: bool,
    keepalive: Option<Keepalive>,
    recv_buffer: Option<usize>,
    send_buffer: Option<usize>,
    fastopen: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) resolver: Option<Arc<dyn Resolver>>,
}

// A resolver is only called, through a shared reference; its own state is its own business.
impl UnwindSafe for ConnectOptions {}
impl RefUnwindSafe for ConnectOptions {}

impl ConnectOptions {
    /// The defaults: everything as the kernel has it, and no timeout but its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// The address to connect from. The default is for the kernel to choose. With port 0, which is what one wants, the
    /// kernel chooses the port, and may use one for connections to several peers (`IP_BIND_ADDRESS_NO_PORT` of
    /// [`ip(7)`](https://man7.org/linux/man-pages/man7/ip.7.html)). Addresses of the other family cannot be connected to
    /// then.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.bind = Some(address);
        self
    }

    /// Whether small writes are sent at once: [`TcpStream::set_nodelay`](crate::TcpStream::set_nodelay). The default is no.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Probes for when nothing happens: [`TcpStream::set_keepalive`](crate::TcpStream::set_keepalive). The default is none.
    pub fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.keepalive = Some(keepalive);
        self
    }

    /// How host names are looked up. The default is the resolver in whose [scope](crate::with_resolver) this is, or that of
    /// the system.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// The size of the receive buffer, in bytes: [`TcpStream::set_recv_buffer`](crate::TcpStream::set_recv_buffer). Set before connecting, it may have any
    /// size that the kernel takes. The default is the kernel's, which adapts.
    pub fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// The size of the send buffer, in bytes: [`TcpStream::set_send_buffer`](crate::TcpStream::set_send_buffer). The default is the kernel's, which adapts.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Whether to send the first write together with the request to connect, if the peer has allowed it before and bit 1
    /// of `/proc/sys/net/ipv4/tcp_fastopen` is set: `TCP_FASTOPEN_CONNECT` of [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html). The default is no.
    ///
    /// Then `connect` is done before any packet has been sent, so of several addresses the first is taken; whether it can
    /// be reached is found out by the first write, or the read after it. The peer may get that write twice.
    pub fn fastopen(mut self, fastopen: bool) -> Self {
        self.fastopen = fastopen;
        self
    }

    /// How long all of it may take, from the lookup of a name to the last of the addresses. The default is for ever,
    /// which comes down to the two minutes or so that the kernel takes for each address.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets what was chosen on a socket that is about to connect.
    pub(super) fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(keepalive) = self.keepalive {
            keepalive.apply(socket)?;
        }
        set_buffers(socket, self.recv_buffer, self.send_buffer)?;
        if self.fastopen {
            match sys::set_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1) {
                // The system does not allow it, and then it is done without.
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                result => result?,
            }
        }
        if let Some(address) = self.bind {
            match address.port() {
                0 => sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?,
                // Attempts to several addresses may be under way from one port.
                _ => socket.set_reuse_address(true)?,
            }
            socket.bind(&address.into())?;
        }
        Ok(())
    }
}
