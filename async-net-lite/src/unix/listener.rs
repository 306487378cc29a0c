//! The type of a Unix listener, and the stream of its connections.
//!
//! Taking connections from the backlog, and backing off when descriptors run out, is in `accept/`. Here, an accepted
//! socket becomes a [`UnixStream`]. Binding a listener is in `bind.rs`.

use super::address;
use super::socket_file::{Bound, SocketFile};
use super::stream::UnixStream;
use crate::accept::accept_loop::AcceptLoop;
use crate::accept::acceptor::Acceptor;
use crate::accept::errors::AcceptError;
use crate::accept::report::AcceptReport;
use crate::socket::conversions::std_conversions;
use crate::socket::own_calls::own_calls;
use crate::socket::socket::Socket;
use async_epoll::{Handle, Interest, Source};
use futures::stream::{FusedStream, Stream};
use socket2::SockAddr;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A Unix socket that listens for connections: the async [`std::os::unix::net::UnixListener`].
///
/// Clones and [`Incoming`]s share the socket. Dropping the last of them closes the socket, which resets the connections
/// in the backlog. The socket's file stays, except with [`unlink_on_drop`](super::UnixListenOptions::unlink_on_drop).
/// Several tasks may accept at once: each connection goes to one task.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::unix::{UnixListener, UnixStream};
/// # let path = std::env::temp_dir().join(format!("unix-listener-doc-{}", std::process::id()));
///
/// async_epoll::block_on(async {
///     let listener = UnixListener::bind(&path)?;
///     let _client = UnixStream::connect(&path).await?;
///     let (_stream, peer) = listener.accept().await?;
///     assert!(peer.is_unnamed(), "the client has not bound its socket");
///     std::fs::remove_file(&path)
/// })?
/// # }
/// ```
#[derive(Clone)]
pub struct UnixListener {
    /// The socket with its file, shared by all clones.
    bound: Arc<Bound<Acceptor<net::UnixListener>>>,
}

impl UnixListener {
    /// Returns the type for a bound, non-blocking socket of `bind`. Its file, if any, is removed on drop.
    pub(crate) fn from_bound(listener: net::UnixListener, file: Option<SocketFile>, handle: &Handle) -> Self {
        Self::new(Socket::lazy(listener, handle), file)
    }

    fn new(socket: Socket<net::UnixListener>, file: Option<SocketFile>) -> Self {
        Self { bound: Arc::new(Bound::new(Acceptor::new(socket), file)) }
    }

    /// Converts a listener of std: sets it to non-blocking and registers it with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// The errors of [`Source::with_interest`](async_epoll::Source::with_interest).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixListener;
    /// # let path = std::env::temp_dir().join(format!("unix-from-std-doc-{}", std::process::id()));
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let listener = std::os::unix::net::UnixListener::bind(&path)?;
    /// let listener = UnixListener::from_std(listener, &runtime.handle())?;
    /// # drop(listener);
    /// # std::fs::remove_file(path)
    /// # }
    /// ```
    pub fn from_std(listener: net::UnixListener, handle: &Handle) -> io::Result<Self> {
        Ok(Self::new(Source::with_interest(listener, Interest::READABLE, handle)?.into(), None))
    }

    /// Returns the listener of std, still non-blocking and no longer registered. Its file is not removed.
    ///
    /// # Errors
    ///
    /// The errors of `dup(2)`, if clones or an [`Incoming`] share the socket. They continue as before.
    pub fn into_std(self) -> io::Result<net::UnixListener> {
        self.bound.keep_file();
        match Arc::try_unwrap(self.bound) {
            Ok(bound) => bound.socket.socket.into_inner(),
            Err(shared) => shared.socket.socket.duplicate(),
        }
    }

    /// Accepts a connection. Returns the stream, which is non-blocking and close-on-exec, and the address of the peer,
    /// which is unnamed unless the peer has bound its socket.
    ///
    /// Errors of a single pending connection are skipped.
    ///
    /// # Errors
    ///
    /// - `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` if descriptors or memory have run out. The connection stays in the
    ///   backlog, and the next call is likely to fail at once for the same reason: pause before it, or use
    ///   [`incoming`](Self::incoming), which pauses. The same holds for `StorageFull`: the listener cannot be registered
    ///   with epoll, and its backlog is empty.
    /// - An error of single connections that has come ten thousand times in a row. The same advice holds.
    /// - Other errors of `accept(2)`, and `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection is accepted and returned in the same poll, so none is lost.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls to accept a connection; see [`accept`](Self::accept). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        self.acceptor().poll_accept(cx, |_| ()).map(|accepted| self.stream(accepted?))
    }

    /// Converts an accepted socket and its address.
    fn stream(&self, (socket, address): (socket2::Socket, SockAddr)) -> io::Result<(UnixStream, SocketAddr)> {
        let stream = UnixStream::from_accepted(socket.into(), &self.inner().handle());
        Ok((stream, address::from_kernel(&address)?))
    }

    /// Returns the stream of connections, which ends when the reactor is dropped.
    ///
    /// The stream keeps the socket open, even after the listener is dropped.
    pub fn incoming(&self) -> Incoming {
        self.clone().into_incoming()
    }

    /// Converts the listener to the stream of its connections; otherwise as [`incoming`](Self::incoming).
    pub fn into_incoming(self) -> Incoming {
        Incoming { listener: self, accept_loop: AcceptLoop::new() }
    }

    /// Returns the socket, which all clones share.
    fn inner(&self) -> &Socket<net::UnixListener> {
        &self.acceptor().socket
    }

    /// Returns the acceptor, which takes connections from the backlog.
    fn acceptor(&self) -> &Acceptor<net::UnixListener> {
        &self.bound.socket
    }

    /// Returns the address to which the socket is bound.
    ///
    /// # Errors
    ///
    /// The errors of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner().get_ref().local_addr()
    }
}

/// The stream of connections of a [`UnixListener`]; from [`UnixListener::incoming`].
///
/// Errors of a single connection are skipped. When descriptors, memory or places in epoll (`max_user_watches`) run out,
/// the stream pauses, for 5 ms at first and twice as long each time up to 1 s, while connections wait in the backlog. It
/// continues at once when a socket of this crate is closed, on any thread. An error is returned only if the listener
/// itself fails, for example because the reactor has been dropped; the stream then ends. [`on_error`](Self::on_error)
/// reports the other errors.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future of `next()` loses no connection.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::unix::{UnixListener, UnixStream};
/// use futures::StreamExt;
/// # let path = std::env::temp_dir().join(format!("unix-incoming-doc-{}", std::process::id()));
///
/// async_epoll::block_on(async {
///     let listener = UnixListener::bind(&path)?;
///     let _client = UnixStream::connect(&path).await?;
///     let stream = listener.incoming().next().await.unwrap()?;
///     assert_eq!(stream.local_addr()?.as_pathname(), Some(&*path));
///     std::fs::remove_file(&path)
/// })?
/// # }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Incoming {
    /// The listener, which keeps the socket open.
    listener: UnixListener,
    /// Takes the connections, and backs off.
    accept_loop: AcceptLoop,
}

impl Incoming {
    /// Calls `hook` for errors that this stream does not yield: skipped connections, and shortages during which the
    /// stream pauses.
    ///
    /// Without a hook, a server that has run out of descriptors looks idle. At most one error a second is reported, with
    /// the number of errors that were not. [`Stats`](async_epoll::Stats) counts them all: see [the
    /// counters](crate#what-operators-see).
    ///
    /// # Panics
    ///
    /// A panic of `hook` reaches the task that polls the stream. The stream can be used further.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixListener;
    ///
    /// async_epoll::block_on(async {
    ///     let listener = UnixListener::bind_addr(&std::os::unix::net::SocketAddr::from_pathname("")?)?;
    ///     let incoming = listener.into_incoming().on_error(|report| eprintln!("server: {report}"));
    ///     # drop(incoming);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn on_error(mut self, hook: impl FnMut(&AcceptReport<'_>) + Send + 'static) -> Self {
        self.accept_loop.on_error(hook);
        self
    }

    /// Accepts the next connection as the stream does. Returns the address of the peer, too.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<(UnixStream, SocketAddr)>>> {
        let Self { listener, accept_loop } = self;
        accept_loop.poll_next(cx, listener.acceptor(), |accepted| listener.stream(accepted))
    }

    /// Takes a connection from the queue without waiting, and without a pause. Returns `None` if the queue is empty.
    pub(crate) fn accept_now(&self) -> Result<Option<(UnixStream, SocketAddr)>, AcceptError> {
        let Some(accepted) = self.listener.acceptor().accept_now()? else { return Ok(None) };
        self.listener.stream(accepted).map(Some).map_err(AcceptError::of_conversion)
    }
}

impl Stream for Incoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(cx).map(|accepted| Some(accepted?.map(|(stream, _)| stream)))
    }
}

impl FusedStream for Incoming {
    fn is_terminated(&self) -> bool {
        self.accept_loop.has_ended()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("listener", &self.listener).field("accept_loop", &self.accept_loop).finish()
    }
}

std_conversions!(UnixListener, net::UnixListener, "listening Unix socket", Domain::UNIX, STREAM);

own_calls!(
    UnixListener,
    net::UnixListener,
    r#"```
# fn main() -> std::io::Result<()> {
use async_net_lite::unix::{UnixListener, UnixStream};
use std::os::unix::net::SocketAddr;

async_epoll::block_on(async {
    let listener = UnixListener::bind_addr(&SocketAddr::from_pathname("")?)?;
    let _client = UnixStream::connect_addr(&listener.local_addr()?).await?;
    // A blocking stream of std, for a thread. Errors of single connections and shortages are yours to handle.
    let (_stream, peer) = listener.read_with(std::os::unix::net::UnixListener::accept).await?;
    assert!(peer.is_unnamed());
    Ok(())
})?
# }
```"#
);
