//! Accepting connections, and going on accepting them.
//!
//! The hard idea is which errors concern whom. `accept(2)` also reports errors of the *connection* it was about to
//! return (the client has reset it, a firewall forbids it); those say nothing about the listener, and must not end a
//! server. And when descriptors or memory run out, the same error comes again at once, for as long as nothing is freed,
//! so asking again without a pause would spin.

use crate::addr::{AsyncToSocketAddrs, no_addresses};
use crate::tcp::{TcpStream, new_socket};
use async_epoll::{Handle, Interest, Source, Timer};
use futures::future::FutureExt;
use futures::stream::{FusedStream, Stream};
use socket2::SockRef;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Connections that the kernel queues for us; cut to `/proc/sys/net/core/somaxconn` by the kernel.
const BACKLOG: i32 = 1024;
/// Operations that an accept counts as, so that a task accepts at most 16 connections in one poll: each of them means more
/// work than a read, and the tasks of those that are there want to go on.
const ACCEPT_WEIGHT: u32 = async_epoll::OPERATIONS_PER_POLL / 16;
/// The first pause after running out of descriptors or memory.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Errors of single connections in a row, without a connection or an empty queue in between. A queue is never that
/// long; something forbids `accept(2)` altogether, or the socket is none that accepts.
const MOST_STRIKES: u32 = 10_000;
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A TCP socket that listens for connections: the async [`std::net::TcpListener`].
///
/// Dropping it, and every [`Incoming`] made from it, closes the socket; connections in its queue are reset then.
/// Several tasks may accept at once: each connection goes to one of them.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{TcpListener, TcpStream};
///
/// async_epoll::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (_stream, peer) = listener.accept().await?;
///     assert_eq!(peer, client.local_addr()?);
///     Ok(())
/// })?
/// # }
/// ```
pub struct TcpListener {
    source: Arc<Source<net::TcpListener>>,
    /// Errors in a row that were taken for those of single connections.
    strikes: Arc<AtomicU32>,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound, with `SO_REUSEADDR` and a queue of 1024. Port 0 means
    /// any free one: see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)` and `listen(2)` for the last address: `AddrInUse`, `PermissionDenied`, …;
    /// `InvalidInput` if there is no address; `NotConnected` outside a reactor.
    ///
    /// # Cancel safety
    ///
    /// Only a name lookup awaits anything; dropped then, nothing has been bound.
    pub async fn bind(address: impl AsyncToSocketAddrs) -> io::Result<Self> {
        let handle = Handle::current()?;
        let lookup = address.lookup()?;
        let mut result = Err(no_addresses());
        for address in lookup.get().await? {
            result = Self::bind_to(address, &handle);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Listens on one address.
    fn bind_to(address: SocketAddr, handle: &Handle) -> io::Result<Self> {
        let socket = new_socket(&address)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self { source: Arc::new(Source::lazy(socket.into(), handle)), strikes: Arc::default() })
    }

    /// Makes a listener of std async: sets it to non-blocking and registers it with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// Those of [`Source::with_interest`](async_epoll::Source::with_interest).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::TcpListener;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = TcpListener::from_std(listener, &runtime.handle())?;
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_std(listener: net::TcpListener, handle: &Handle) -> io::Result<Self> {
        let source = Source::with_interest(listener, Interest::READABLE, handle)?;
        Ok(Self { source: Arc::new(source), strikes: Arc::default() })
    }

    /// Gives the listener of std back, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, if an [`Incoming`] still uses the socket.
    pub fn into_std(self) -> io::Result<net::TcpListener> {
        match Arc::try_unwrap(self.source) {
            Ok(source) => source.into_inner(),
            Err(shared) => {
                shared.note_duplicate();
                shared.get_ref().try_clone()
            }
        }
    }

    /// Waits for a connection. The new stream is non-blocking and close-on-exec.
    ///
    /// Errors that concern only the connection which was about to be accepted (it was reset, a firewall forbids it) are
    /// passed over.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` if descriptors or memory have run out. The connection waits in the
    /// queue, and the next call is likely to fail in the same way at once: pause before it, or use
    /// [`incoming`](Self::incoming), which does. Likewise an error of single connections that has come ten thousand times
    /// in a row. Also other errors of `accept(2)`, and `NotConnected` if the reactor is
    /// gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection is accepted and returned in the same poll, so none is lost.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The poll form of [`accept`](Self::accept). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let accepted = ready!(self.source.poll_read_weighted(cx, ACCEPT_WEIGHT, |listener| {
                let accepted = SockRef::from(listener).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
                if accepted.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true) {
                    self.strikes.store(0, Ordering::Relaxed);
                }
                accepted
            }));
            match accepted {
                Ok((socket, address)) => {
                    let stream = TcpStream::from_accepted(socket.into(), &self.source.handle());
                    let address = address.as_socket().ok_or_else(|| {
                        io::Error::new(io::ErrorKind::InvalidData, "the peer of a TCP connection has no IP address")
                    })?;
                    return Poll::Ready(Ok((stream, address)));
                }
                // Each error spends some of the task's budget, so even a thousand of them do not hold the loop up.
                Err(error) if concerns_one_connection(&error) && self.strike() => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Counts an error of a single connection; `false` if there were so many in a row that it is not one.
    fn strike(&self) -> bool {
        self.strikes.fetch_add(1, Ordering::Relaxed) < MOST_STRIKES
    }

    /// The connections, one after the other, as a stream that goes on until the reactor is dropped.
    ///
    /// It keeps the socket open, on its own if need be.
    pub fn incoming(&self) -> Incoming {
        let listener = Self { source: Arc::clone(&self.source), strikes: Arc::clone(&self.strikes) };
        Incoming { listener, pause: FIRST_PAUSE, paused: None, ended: false }
    }

    /// The address that the socket listens on.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }
}

/// The kernel reports these for the connection it was about to return: `accept(2)`, "Error handling".
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

/// Something has run out. It will be there again once something else has been freed.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// The stream of connections of a [`TcpListener`]; from [`TcpListener::incoming`].
///
/// Errors that concern one connection are passed over. When descriptors or memory run out, it pauses, from 5 ms doubling
/// to 1 s, while connections wait in the queue. It yields an error, and then ends, only if the listener itself fails:
/// when the reactor has been dropped, say.
///
/// # Cancel safety
///
/// Dropping a `next()` loses nothing.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{TcpListener, TcpStream};
/// use futures::StreamExt;
///
/// async_epoll::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let stream = listener.incoming().next().await.unwrap()?;
///     assert_eq!(stream.peer_addr()?, client.local_addr()?);
///     Ok(())
/// })?
/// # }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Incoming {
    listener: TcpListener,
    /// How long the next pause will be.
    pause: Duration,
    /// The pause that is on.
    paused: Option<Timer>,
    /// The listener has failed.
    ended: bool,
}

impl Stream for Incoming {
    type Item = io::Result<TcpStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(timer) = &mut this.paused {
                // If the reactor is gone, so is the listener, and the accept below says so.
                let _ = ready!(timer.poll_unpin(cx));
                this.paused = None;
            }
            match ready!(this.listener.poll_accept(cx)) {
                Ok((stream, _)) => {
                    this.pause = FIRST_PAUSE;
                    return Poll::Ready(Some(Ok(stream)));
                }
                Err(error) if is_shortage(&error) || concerns_one_connection(&error) => {
                    this.paused = Some(Timer::after(this.pause, &this.listener.source.handle()));
                    this.pause = (this.pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl FusedStream for Incoming {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("listener", &self.listener).field("paused", &self.paused).finish()
    }
}

impl TryFrom<net::TcpListener> for TcpListener {
    type Error = io::Error;

    /// [`from_std`](Self::from_std) with the thread's current reactor.
    fn try_from(listener: net::TcpListener) -> io::Result<Self> {
        Self::from_std(listener, &Handle::current()?)
    }
}

impl TryFrom<OwnedFd> for TcpListener {
    type Error = io::Error;

    /// Takes a descriptor that is a listening TCP socket, with the thread's current reactor.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        net::TcpListener::from(fd).try_into()
    }
}

impl TryFrom<TcpListener> for OwnedFd {
    type Error = io::Error;

    /// [`into_std`](TcpListener::into_std), then the descriptor.
    fn try_from(listener: TcpListener) -> io::Result<Self> {
        listener.into_std().map(Self::from)
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.source.as_raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.get_ref().fmt(f)
    }
}
