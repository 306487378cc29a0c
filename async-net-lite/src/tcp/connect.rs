//! Connecting to a name: a lookup, then a race to the addresses, all within the time limit if there is one.
//!
//! ```text
//!   TcpStream::connect ──► ConnectOptions::connect_with ──► names: resolver ──► race ──► TcpStream
//!                          └───────────────────── limit: TimedOut ─────────────────────┘
//! ```
//!
//! `race.rs` has the race, `connect_options.rs` the options.

use super::connect_options::ConnectOptions;
use super::race::race;
use super::stream::TcpStream;
use crate::names::addr::{Addresses, AsyncToSocketAddrs};
use crate::names::lookup;
use crate::names::resolver::with_resolver;
use async_epoll::{Handle, Timer};
use futures::stream;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

impl TcpStream {
    /// Connects to the first of the addresses that answers.
    ///
    /// Several addresses take part in a race, by the rules of RFC 8305 ("Happy Eyeballs"): IPv6 and IPv4 alternate,
    /// each attempt begins 250 ms after the last, or as soon as an attempt has failed. The first connection wins, and the
    /// other sockets are closed. So a family without an answer costs a quarter of a second instead of two minutes. At
    /// most eight attempts are pending: a ninth closes the oldest, which has had two seconds.
    ///
    /// The addresses of a name are used as they become known, if the [`Resolver`](crate::Resolver) gives them in parts;
    /// the system's asks for each family by itself. IPv6 addresses are used at once. IPv4 addresses wait 50 ms for
    /// IPv6 addresses to become known. So a name server that does not answer for one family costs a twentieth of a
    /// second.
    ///
    /// If no program listens at a port of this machine, connecting to it fails, also when the kernel happens to choose
    /// this port as the local one, and would connect the socket to itself. To find this out takes one system call
    /// (`getsockname(2)`) for ports from 1024.
    ///
    /// # Errors
    ///
    /// The error of the last address that has answered, or of the last address if none has: `ConnectionRefused`,
    /// `TimedOut` (after about two minutes; see [`connect_timeout`](Self::connect_timeout)), …; that of the lookup, if
    /// it has found no address; `InvalidInput` if there is no address; `NotConnected` without a current reactor, with a message that says what to do, and if the reactor
    /// has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes all connecting sockets. It cannot be resumed.
    pub async fn connect(address: impl AsyncToSocketAddrs) -> io::Result<Self> {
        ConnectOptions::new().connect(address).await
    }

    /// Connects as [`connect`](Self::connect) does, on the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(address: impl AsyncToSocketAddrs, handle: &Handle) -> io::Result<Self> {
        ConnectOptions::new().connect_with(address, handle).await
    }

    /// Connects as [`connect`](Self::connect) does, but gives up after `timeout`: the time for the lookup of a name and
    /// all addresses together.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); `TimedOut` after the timeout. A timeout of zero leaves time for an immediate
    /// refusal, and hardly for a connection.
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::{ListenOptions, TcpStream};
    /// use std::time::Duration;
    ///
    /// async_epoll::block_on(async {
    ///     // The queue has room for one connection, and no task accepts.
    ///     let busy = ListenOptions::new().backlog(0).bind("127.0.0.1:0").await?;
    ///     let _queued = TcpStream::connect(busy.local_addr()?).await?;
    ///     let late = TcpStream::connect_timeout(busy.local_addr()?, Duration::from_millis(10)).await;
    ///     assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn connect_timeout(address: impl AsyncToSocketAddrs, timeout: Duration) -> io::Result<Self> {
        ConnectOptions::new().timeout(timeout).connect(address).await
    }

    /// Connects as [`connect_timeout`](Self::connect_timeout) does, on the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// As [`connect_timeout`](Self::connect_timeout).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::TcpStream;
    /// use std::time::Duration;
    ///
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let handle = runtime.handle();
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let limit = Duration::from_secs(5);
    /// let stream = runtime.run_until(async { TcpStream::connect_timeout_with(address, limit, &handle).await })??;
    /// assert_eq!(stream.peer_addr()?, address);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_timeout_with(
        address: impl AsyncToSocketAddrs,
        timeout: Duration,
        handle: &Handle,
    ) -> io::Result<Self> {
        ConnectOptions::new().timeout(timeout).connect_with(address, handle).await
    }
}

impl ConnectOptions {
    /// Connects to the first of the addresses that answers, on the current reactor: see [`TcpStream::connect`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`], and those of `setsockopt(2)` and `bind(2)`: `AddrInUse`, `AddrNotAvailable`, …;
    /// `TimedOut` after the timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes all connecting sockets. It cannot be resumed.
    pub async fn connect(&self, address: impl AsyncToSocketAddrs) -> io::Result<TcpStream> {
        self.connect_with(address, &Handle::current()?).await
    }

    /// Connects as [`connect`](Self::connect) does, on the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(&self, address: impl AsyncToSocketAddrs, handle: &Handle) -> io::Result<TcpStream> {
        let addresses = address.lookup()?;
        let work = async {
            match &self.resolver {
                Some(resolver) => with_resolver(Arc::clone(resolver), self.race(addresses, handle)).await,
                None => self.race(addresses, handle).await,
            }
        };
        match self.timeout {
            Some(timeout) => limit(work, timeout, handle).await,
            None => work.await,
        }
    }

    /// Connects to the first of `addresses` that answers. The addresses of a name join the race as they become known.
    async fn race(&self, addresses: Addresses, handle: &Handle) -> io::Result<TcpStream> {
        let known = match addresses {
            Addresses::Name(host, port) => {
                let resolver = lookup::resolver(&host)?;
                return race(pin!(lookup::parts(&*resolver, &host, port)), self, handle).await;
            }
            Addresses::One(address) => vec![address],
            Addresses::Many(addresses) => addresses,
        };
        race(pin!(stream::iter([Ok(known)])), self, handle).await
    }
}

/// Runs `work`. Fails with `TimedOut` if it takes longer than `time`.
async fn limit<T>(work: impl Future<Output = io::Result<T>>, time: Duration, handle: &Handle) -> io::Result<T> {
    let (mut work, mut timer) = (pin!(work), Timer::after(time, handle));
    poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        ready!(Pin::new(&mut timer).poll(cx))?;
        let message = format!("not connected within {time:?}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    })
    .await
}
