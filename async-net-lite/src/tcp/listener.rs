//! The type of a TCP listener, and the stream of its connections.
//!
//! Accepted sockets come from `accept/`, which takes them from the queue and backs off when descriptors run out. Here
//! they become [`TcpStream`]s. Binding a listener is in `listen.rs`.

use super::stream::TcpStream;
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
use std::net::{self, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A TCP socket that listens for connections: the async [`std::net::TcpListener`].
///
/// Clones and the [`Incoming`] streams of a listener share the socket. Dropping the last of them closes it, and resets
/// the connections in its queue. Several tasks may accept at once: each connection goes to one of them.
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
#[derive(Clone)]
pub struct TcpListener {
    /// The socket, shared by all clones and their streams.
    acceptor: Arc<Acceptor<net::TcpListener>>,
}

impl TcpListener {
    /// Returns the listener of a socket that listens.
    pub(super) fn new(socket: Socket<net::TcpListener>) -> Self {
        Self { acceptor: Arc::new(Acceptor::new(socket)) }
    }

    /// Converts a listener of std: sets it to non-blocking, and registers it with the reactor of `handle`.
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
        Ok(Self::new(Source::with_interest(listener, Interest::READABLE, handle)?.into()))
    }

    /// Returns the listener of std, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, if clones of this listener or an [`Incoming`] still use the socket.
    pub fn into_std(self) -> io::Result<net::TcpListener> {
        match Arc::try_unwrap(self.acceptor) {
            Ok(acceptor) => acceptor.socket.into_inner(),
            Err(shared) => shared.socket.duplicate(),
        }
    }

    /// Waits for a connection. The new stream is non-blocking and close-on-exec.
    ///
    /// Errors of the connection at the head of the queue (the client has reset it, or a firewall forbids it) are
    /// skipped.
    ///
    /// # Errors
    ///
    /// - `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` if descriptors or memory have run out. The connection stays in the
    ///   queue, and the next call is likely to fail at once in the same way. So pause before it, or use
    ///   [`incoming`](Self::incoming), which pauses by itself. The same holds for `StorageFull`: the listener cannot be
    ///   registered with epoll, and its queue is empty.
    /// - An error of single connections that has come ten thousand times in a row. Pause likewise.
    /// - Other errors of `accept(2)`, and `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection is accepted and returned in the same poll, so none is lost.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The poll form of [`accept`](Self::accept). Every waiting task is woken, not only the last.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.acceptor.poll_accept(cx, |_| ()).map(|accepted| self.stream(accepted?))
    }

    /// Returns the stream and the peer of an accepted socket.
    fn stream(&self, (socket, address): (socket2::Socket, SockAddr)) -> io::Result<(TcpStream, SocketAddr)> {
        let stream = TcpStream::from_accepted(socket.into(), &self.acceptor.socket.handle());
        let error = || io::Error::new(io::ErrorKind::InvalidData, "the peer of a TCP connection has no IP address");
        Ok((stream, address.as_socket().ok_or_else(error)?))
    }

    /// Returns the connections, one after the other, as a stream that continues until the reactor is dropped.
    ///
    /// The stream keeps the socket open, even without the listener.
    pub fn incoming(&self) -> Incoming {
        self.clone().into_incoming()
    }

    /// Returns the connections as [`incoming`](Self::incoming) does, for a listener that is not needed otherwise.
    pub fn into_incoming(self) -> Incoming {
        Incoming { listener: self, accept_loop: AcceptLoop::new() }
    }

    /// Returns the socket, which all clones share.
    fn inner(&self) -> &Socket<net::TcpListener> {
        &self.acceptor.socket
    }

    /// Returns the local address, with the port chosen by the kernel if port 0 was bound.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.acceptor.socket.get_ref().local_addr()
    }
}

/// The stream of connections of a [`TcpListener`], from [`TcpListener::incoming`].
///
/// Errors of single connections are skipped. When descriptors, memory or places in epoll (`max_user_watches`) run out,
/// the stream pauses, for 5 ms at first and up to 1 s, doubling, while connections wait in the queue. It continues at
/// once when a socket of this crate is closed on any thread. It yields an error, and then ends, only if the listener
/// itself fails, for example because the reactor has been dropped. [`on_error`](Self::on_error) reports the other errors.
///
/// The stream uses every free descriptor, so the handlers of the connections may find none left for files or sockets of
/// their own. If handlers open descriptors, limit the number of connections: by a semaphore, `buffer_unordered` and
/// similar means.
///
/// # Cancel safety
///
/// Dropping a `next()` loses no connection.
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
    /// The listener, which shares its socket.
    listener: TcpListener,
    /// The state of accepting: pauses, and whether the listener has failed.
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
    /// use async_net_lite::TcpListener;
    ///
    /// async_epoll::block_on(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
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
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<(TcpStream, SocketAddr)>>> {
        let Self { listener, accept_loop } = self;
        accept_loop.poll_next(cx, &listener.acceptor, |accepted| listener.stream(accepted))
    }

    /// Takes a connection from the queue without waiting, and without a pause. Returns `None` if the queue is empty.
    pub(crate) fn accept_now(&self) -> Result<Option<(TcpStream, SocketAddr)>, AcceptError> {
        let Some(accepted) = self.listener.acceptor.accept_now()? else { return Ok(None) };
        self.listener.stream(accepted).map(Some).map_err(AcceptError::of_conversion)
    }
}

impl Stream for Incoming {
    type Item = io::Result<TcpStream>;

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

std_conversions!(TcpListener, net::TcpListener, "listening TCP socket", Domain::IPV4 | Domain::IPV6, STREAM);

own_calls!(
    TcpListener,
    net::TcpListener,
    r#"```
# fn main() -> std::io::Result<()> {
use async_net_lite::{TcpListener, TcpStream};

async_epoll::block_on(async {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    // A blocking stream of std, for a thread. Errors of single connections and shortages are yours to handle.
    let (stream, peer) = listener.read_with(std::net::TcpListener::accept).await?;
    assert_eq!(peer, client.local_addr()?);
    # drop(stream);
    Ok(())
})?
# }
```"#
);
