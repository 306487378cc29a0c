//! The options to choose before connecting.
//!
//! Most are options of `setsockopt(2)` that have to be set before `connect(2)` to have their full effect. So they are
//! here, and not methods of the stream. `connect.rs` has the methods that connect.

use super::settings::Keepalive;
use crate::names::resolver::Resolver;
use crate::socket::options::set_buffers;
use crate::sys;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

/// How to connect: the choices that [`TcpStream::connect`](crate::TcpStream::connect) does not offer.
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
    // Each field is set by the method of its name, which describes it.
    bind: Option<SocketAddr>,
    nodelay: bool,
    keepalive: Option<Keepalive>,
    recv_buffer: Option<usize>,
    send_buffer: Option<usize>,
    pub(super) fastopen: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) resolver: Option<Arc<dyn Resolver>>,
}

// A resolver is called through a shared reference only. After a panic, its state is its own responsibility.
impl UnwindSafe for ConnectOptions {}
impl RefUnwindSafe for ConnectOptions {}

impl ConnectOptions {
    /// Returns the defaults: every option as the kernel has it, and no timeout but the kernel's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the local address. By default, the kernel chooses it.
    ///
    /// With port 0, which is the usual choice, the kernel chooses the port, and may use one port for connections to
    /// several peers (`IP_BIND_ADDRESS_NO_PORT` of [`ip(7)`](https://man7.org/linux/man-pages/man7/ip.7.html)). With a
    /// local address, connecting to an address of the other family fails.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.bind = Some(address);
        self
    }

    /// Sets whether small writes are sent at once: see [`TcpStream::set_nodelay`](crate::TcpStream::set_nodelay). The
    /// default is no.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Turns on the probes of an idle connection: see [`TcpStream::set_keepalive`](crate::TcpStream::set_keepalive). By
    /// default there are none.
    pub fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.keepalive = Some(keepalive);
        self
    }

    /// Sets the resolver of host names. The default is the resolver of the [scope](crate::with_resolver), and outside a
    /// scope the system's.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Sets the size of the receive buffer, in bytes: see
    /// [`TcpStream::set_recv_buffer`](crate::TcpStream::set_recv_buffer). Before connecting, any size that the kernel
    /// accepts has its full effect. The default is the kernel's, which adapts.
    pub fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Sets the size of the send buffer, in bytes: see
    /// [`TcpStream::set_send_buffer`](crate::TcpStream::set_send_buffer). The default is the kernel's, which adapts.
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Sets whether the first write is sent together with the request to connect: `TCP_FASTOPEN_CONNECT` of
    /// [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html). The default is no. Effective if the peer has
    /// allowed it before, and bit 0x1 of `/proc/sys/net/ipv4/tcp_fastopen` is set.
    ///
    /// `connect` then returns before any packet has been sent, so it takes the first of several addresses, and the stream
    /// has no peer address yet. The first write begins to connect; without a write, a read that has to wait and `close()`
    /// do. If the peer cannot be reached, the first write fails, or the read after it. The peer may receive the first
    /// write twice.
    ///
    /// Until the peer has answered, dropping the stream loses what was written, and `shutdown` fails with `NotConnected`.
    /// So read the answer, or [`close`](futures::AsyncWriteExt::close) the stream (or its writing half) before dropping
    /// it: closing waits until the stream is connected.
    pub fn fastopen(mut self, fastopen: bool) -> Self {
        self.fastopen = fastopen;
        self
    }

    /// Limits the time for connecting, from the lookup of a name to the last of the addresses. The default is no limit
    /// but that of the kernel, about two minutes for each address.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns whether a local address was set, so that the kernel does not choose the port by itself.
    pub(super) fn has_local_address(&self) -> bool {
        self.bind.is_some()
    }

    /// Sets the options on a socket that is about to connect.
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
                // The system does not allow it, or does not know it, so the connection is made without.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOPROTOOPT)) => {}
                result => result?,
            }
        }
        if let Some(address) = self.bind {
            match address.port() {
                0 => sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?,
                // Several attempts may be pending from this port.
                _ => socket.set_reuse_address(true)?,
            }
            socket.bind(&address.into())?;
        }
        Ok(())
    }
}
