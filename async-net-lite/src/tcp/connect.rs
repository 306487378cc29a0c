//! Connecting: the addresses of a name, then a race to them, all within a time limit if there is one.
//!
//! ```text
//!   TcpStream::connect ──► ConnectOptions::connect_with ──► names: lookup ──► race ──► TcpStream
//!                          └──────────────────── limit: TimedOut ────────────────────┘
//! ```
//!
//! How a race goes is told in `race.rs`, what can be chosen in `connect_options.rs`.

use super::connect_options::ConnectOptions;
use super::race::race;
use super::stream::TcpStream;
use crate::names::addr::AsyncToSocketAddrs;
use crate::names::resolve::with_resolver;
use async_epoll::{Handle, Timer};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

impl TcpStream {
    /// Connects to the first of the addresses that answers.
    ///
    /// Several addresses take part in a race, as RFC 8305 ("Happy Eyeballs") has it: IPv6 and IPv4 take turns, each begins
    /// 250 ms after the one before it, or as soon as that has failed, and at most eight are under way at a time. The
    /// first to be connected wins, and the others are closed. So a family that leads nowhere costs a quarter of a second
    /// and not two minutes; only a ninth address has to wait for one of the eight before it to fail.
    ///
    /// # Errors
    ///
    /// The last address's that has answered, or the last one's of all if none has: `ConnectionRefused`, `TimedOut` (after
    /// about two minutes; see [`connect_timeout`](Self::connect_timeout)), …; `InvalidInput` if there is no address;
    /// `NotConnected` outside a reactor, with a message that says what to do, and if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes all sockets that are under way; it cannot be resumed.
    pub async fn connect(address: impl AsyncToSocketAddrs) -> io::Result<Self> {
        ConnectOptions::new().connect(address).await
    }

    /// As [`connect`](Self::connect), with the reactor of `handle`.
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

    /// As [`connect`](Self::connect), but gives up after `timeout`: for all addresses together, and the lookup of a name.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); `TimedOut` after the timeout. A timeout of zero leaves time for a refusal at once,
    /// and hardly for a connection.
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
    ///     // The queue has room for one, and nobody accepts.
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

    /// As [`connect_timeout`](Self::connect_timeout), with the reactor of `handle`.
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
    /// Connects to the first of the addresses that answers, on the current reactor: see
    /// [`TcpStream::connect`].
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`], and those of `setsockopt(2)` and `bind(2)`: `AddrInUse`, `AddrNotAvailable`, …;
    /// `TimedOut` after the timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes all sockets that are under way; it cannot be resumed.
    pub async fn connect(&self, address: impl AsyncToSocketAddrs) -> io::Result<TcpStream> {
        self.connect_with(address, &Handle::current()?).await
    }

    /// As [`connect`](Self::connect), on the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(&self, address: impl AsyncToSocketAddrs, handle: &Handle) -> io::Result<TcpStream> {
        let lookup = address.lookup()?;
        let work = async {
            let addresses = match &self.resolver {
                Some(resolver) => with_resolver(Arc::clone(resolver), lookup.get()).await?,
                None => lookup.get().await?,
            };
            race(addresses, self, handle).await
        };
        match self.timeout {
            Some(timeout) => limit(work, timeout, handle).await,
            None => work.await,
        }
    }
}

/// Gives up what takes longer than `time`.
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
