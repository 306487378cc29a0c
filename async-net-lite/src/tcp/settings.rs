//! Options of an existing connection, which may be read and changed at any time.
//!
//! Each is read by `getsockopt(2)` and changed by `setsockopt(2)`, through socket2. Options that have their full effect
//! only before connecting or listening are also in `connect_options.rs` and `listen.rs`.

use super::stream::TcpStream;
use crate::socket::options::{check_hops, saturate, set_buffers, whole_seconds};
use crate::sys;
use socket2::{Domain, SockRef};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// The times after which the kernel probes an idle connection and gives it up: see [`TcpStream::set_keepalive`].
///
/// A field that is `None` leaves the kernel's value, by default 2 hours, 75 seconds and 9 probes
/// (`/proc/sys/net/ipv4/tcp_keepalive_*`). Times are whole seconds; other durations are rounded up.
///
/// # Examples
///
/// ```
/// use async_net_lite::Keepalive;
/// use std::time::Duration;
///
/// let keepalive = Keepalive::new().time(Duration::from_secs(60)).interval(Duration::from_secs(10)).retries(3);
/// assert_eq!((keepalive.time, keepalive.retries), (Some(Duration::from_secs(60)), Some(3)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keepalive {
    /// The idle time before the first probe: `TCP_KEEPIDLE`, 1 to 32767 seconds.
    pub time: Option<Duration>,
    /// The time between two probes: `TCP_KEEPINTVL`, 1 to 32767 seconds.
    pub interval: Option<Duration>,
    /// The number of probes without an answer after which the connection is given up: `TCP_KEEPCNT`, 1 to 127.
    pub retries: Option<u32>,
}

impl Keepalive {
    /// Returns settings with every field `None`: all values as the kernel has them.
    pub const fn new() -> Self {
        Self { time: None, interval: None, retries: None }
    }

    /// Sets the idle time before the first probe.
    #[must_use]
    pub const fn time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Sets the time between two probes.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Sets the number of probes without an answer after which the connection is given up.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Sets the values that are not `None`, then turns probes on. After an error, some values may have been set.
    pub(super) fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        self.set_values(socket)?;
        socket.set_keepalive(true)
    }

    /// As [`apply`](Self::apply). After an error, the socket is as before.
    fn change(&self, socket: &SockRef<'_>) -> io::Result<()> {
        let before = Self::of(socket)?;
        self.apply(socket).inspect_err(|_| drop(before.set_values(socket)))
    }

    /// Sets the values that are not `None`.
    fn set_values(&self, socket: &SockRef<'_>) -> io::Result<()> {
        let set = |name, value| sys::set_option(socket.as_fd(), libc::IPPROTO_TCP, name, value);
        if let Some(time) = self.time {
            set(libc::TCP_KEEPIDLE, whole_seconds(time))?;
        }
        if let Some(interval) = self.interval {
            set(libc::TCP_KEEPINTVL, whole_seconds(interval))?;
        }
        if let Some(retries) = self.retries {
            set(libc::TCP_KEEPCNT, saturate(retries))?;
        }
        Ok(())
    }

    /// Returns the values of a socket, whether probes are on or off.
    fn of(socket: &SockRef<'_>) -> io::Result<Self> {
        Ok(Self {
            time: Some(socket.tcp_keepalive_time()?),
            interval: Some(socket.tcp_keepalive_interval()?),
            retries: Some(socket.tcp_keepalive_retries()?),
        })
    }
}

/// Options. Each method is `getsockopt(2)` or `setsockopt(2)`, and fails if the call does: for values that the kernel
/// does not accept. After an error, every option is as before.
impl TcpStream {
    /// Returns the socket, for socket2.
    fn options(&self) -> SockRef<'_> {
        SockRef::from(&*self.socket)
    }

    /// Returns whether `TCP_NODELAY` is set, so small writes are sent at once.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.options().tcp_nodelay()
    }

    /// Sets `TCP_NODELAY` of [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html): small writes are sent at
    /// once instead of being collected. Off by default, unless inherited from the listener.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.options().set_tcp_nodelay(nodelay)
    }

    /// Returns the number of routers that a packet may pass: `IP_TTL`, or `IPV6_UNICAST_HOPS`.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        let options = self.options();
        if options.domain()? == Domain::IPV6 { options.unicast_hops_v6() } else { options.ttl_v4() }
    }

    /// Sets the number of routers that a packet may pass, 1 to 255: `IP_TTL` of
    /// [`ip(7)`](https://man7.org/linux/man-pages/man7/ip.7.html), for IPv6 `IPV6_UNICAST_HOPS`. The default is the
    /// system's, usually 64.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for other numbers.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use async_net_lite::{TcpListener, TcpStream};
    /// # async_epoll::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_ttl(1)?; // Only hosts in the same network.
    /// assert_eq!(stream.ttl()?, 1);
    /// # Ok(())
    /// # })?
    /// # }
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let options = self.options();
        check_hops(ttl, 1)?;
        if options.domain()? != Domain::IPV6 {
            return options.set_ttl_v4(ttl);
        }
        let before = options.unicast_hops_v6()?;
        options.set_unicast_hops_v6(ttl)?;
        // Also this, since the address of the peer may be an IPv4-mapped one.
        options.set_ttl_v4(ttl).inspect_err(|_| drop(options.set_unicast_hops_v6(before)))
    }

    /// Returns what closing does with unsent data: see [`set_linger`](Self::set_linger).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.options().linger()
    }

    /// Sets what closing does with unsent data: `SO_LINGER` of
    /// [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html). With `None`, the default, the kernel sends
    /// the data in the background. With `Some(Duration::ZERO)`, the kernel discards the data and resets the peer's
    /// connection.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for any other duration. The kernel would block the thread that closes the socket for up to this
    /// time, and with the thread every task of the reactor. To wait without blocking,
    /// [`close`](futures::AsyncWriteExt::close) the connection, and read until the peer closes it, too.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use async_net_lite::{TcpListener, TcpStream};
    /// # use futures::AsyncReadExt;
    /// # use std::time::Duration;
    /// # async_epoll::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, _) = listener.accept().await?;
    /// stream.set_linger(Some(Duration::ZERO))?;
    /// drop(stream);
    /// let error = client.read(&mut [0]).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    /// # Ok(())
    /// # })?
    /// # }
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        if linger.is_some_and(|time| !time.is_zero()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "closing a socket that lingers would block the thread: only None and Some(Duration::ZERO) are possible; \
                 to see data through, shut the connection down for writing and read to its end",
            ));
        }
        self.options().set_linger(linger)
    }

    /// Returns the settings of the probes of an idle connection, or `None` if there are no probes.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        let options = self.options();
        if !options.keepalive()? {
            return Ok(None);
        }
        Keepalive::of(&options).map(Some)
    }

    /// Turns on or off the probes of an idle connection: `SO_KEEPALIVE` of
    /// [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html). `None`, the default, turns them off.
    ///
    /// The kernel probes a silent peer, and gives the connection up if the peer does not answer. Reads then fail with
    /// `TimedOut`. Without probes, a connection to a peer that has lost its power looks idle for ever, unless something
    /// is written.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for values out of the ranges that [`Keepalive`] states.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use async_net_lite::{Keepalive, TcpListener, TcpStream};
    /// # use std::time::Duration;
    /// # async_epoll::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_keepalive(Keepalive::new().time(Duration::from_secs(60)))?;
    /// assert_eq!(stream.keepalive()?.unwrap().time, Some(Duration::from_secs(60)));
    /// stream.set_keepalive(None)?;
    /// assert_eq!(stream.keepalive()?, None);
    /// # Ok(())
    /// # })?
    /// # }
    /// ```
    pub fn set_keepalive(&self, keepalive: impl Into<Option<Keepalive>>) -> io::Result<()> {
        match keepalive.into() {
            Some(keepalive) => keepalive.change(&self.options()),
            None => self.options().set_keepalive(false),
        }
    }

    /// Returns whether received data is acknowledged at once at present: see [`set_quickack`](Self::set_quickack).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn quickack(&self) -> io::Result<bool> {
        self.options().tcp_quickack()
    }

    /// Sets whether received data is acknowledged at once, or together with the next data sent: `TCP_QUICKACK` of
    /// [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html).
    ///
    /// The setting does not last: the kernel changes it by its own rules. Set it after each read for which it matters.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        self.options().set_tcp_quickack(quickack)
    }

    /// Returns the size of the receive buffer in bytes, as the kernel counts it: `SO_RCVBUF`, twice the size that was
    /// set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn recv_buffer(&self) -> io::Result<usize> {
        self.options().recv_buffer_size()
    }

    /// Sets the size of the receive buffer, in bytes: `SO_RCVBUF` of
    /// [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html). The kernel limits the size to
    /// `/proc/sys/net/core/rmem_max`, reserves twice as much, and no longer adapts it to the connection.
    ///
    /// The limit of unread data is agreed on, in part, when connecting. For more than 64 KiB, use
    /// [`ConnectOptions`](crate::ConnectOptions) or [`ListenOptions`](crate::ListenOptions).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_recv_buffer(&self, bytes: usize) -> io::Result<()> {
        set_buffers(&self.options(), Some(bytes), None)
    }

    /// Returns the size of the send buffer in bytes, as the kernel counts it: `SO_SNDBUF`, twice the size that was set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn send_buffer(&self) -> io::Result<usize> {
        self.options().send_buffer_size()
    }

    /// Sets the size of the send buffer, in bytes: `SO_SNDBUF`. Otherwise as
    /// [`set_recv_buffer`](Self::set_recv_buffer), with `wmem_max`. A small buffer limits how much data this side holds
    /// for a slow peer.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        set_buffers(&self.options(), None, Some(bytes))
    }

    /// Returns and clears the error that the kernel holds for the next operation, `SO_ERROR`, or `None` if there is
    /// none.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.options().take_error()
    }
}
