//! The type of a Unix listener, its connections one by one, and the stream of them.
//!
//! How connections are taken from the queue, and what happens when descriptors run out, is in `accept/`: here a socket that
//! comes from there becomes a [`UnixStream`]. Binding a listener is in `bind.rs`.

use super::address;
use super::socket_file::{Bound, SocketFile};
use super::stream::UnixStream;
use crate::accept::accept_loop::AcceptLoop;
use crate::accept::acceptor::Acceptor;
use crate::socket::conversions::std_conversions;
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
/// Clones share the socket. The last of them closes it, and of the [`Incoming`]s made from them; connections in its queue
/// are reset then. Its file stays, unless [`unlink_on_drop`](super::UnixListenOptions::unlink_on_drop) is asked for. Several tasks
/// may accept at once: each connection goes to one of them.
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
///     assert!(peer.is_unnamed(), "the client has bound its socket to nothing");
///     std::fs::remove_file(&path)
/// })?
/// # }
/// ```
#[derive(Clone)]
pub struct UnixListener {
    bound: Arc<Bound<Acceptor<net::UnixListener>>>,
}

impl UnixListener {
    /// A socket that we have made.
    pub(crate) fn from_bound(listener: net::UnixListener, file: Option<SocketFile>, handle: &Handle) -> Self {
        Self::new(Socket::lazy(listener, handle), file)
    }

    fn new(socket: Socket<net::UnixListener>, file: Option<SocketFile>) -> Self {
        Self { bound: Arc::new(Bound::new(Acceptor::new(socket), file)) }
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

    /// Gives the listener of std back, still non-blocking and no longer registered. Its file stays.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, if an [`Incoming`] still uses the socket. That one goes on as before.
    pub fn into_std(self) -> io::Result<net::UnixListener> {
        self.bound.keep_file();
        match Arc::try_unwrap(self.bound) {
            Ok(bound) => bound.socket.socket.into_inner(),
            Err(shared) => shared.socket.socket.duplicate(),
        }
    }

    /// Waits for a connection. The new stream is non-blocking and close-on-exec. The address is the peer's, and unnamed
    /// unless the peer has bound its socket.
    ///
    /// Errors that concern only the connection which was about to be accepted are passed over.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` if descriptors or memory have run out. The connection waits in the
    /// queue, and the next call is likely to fail in the same way at once: pause before it, or use
    /// [`incoming`](Self::incoming), which does. Likewise an error of single connections that has come ten thousand times
    /// in a row. Also other errors of `accept(2)`, and `NotConnected` if the reactor is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection is accepted and returned in the same poll, so none is lost.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The poll form of [`accept`](Self::accept). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        self.acceptor().poll_accept(cx).map(|accepted| accepted.and_then(|accepted| self.stream(accepted)))
    }

    /// Makes a stream of what was accepted.
    fn stream(&self, (socket, address): (socket2::Socket, SockAddr)) -> io::Result<(UnixStream, SocketAddr)> {
        let stream = UnixStream::from_accepted(socket.into(), &self.inner().handle());
        Ok((stream, address::from_kernel(&address)?))
    }

    /// The connections, one after the other, as a stream that goes on until the reactor is dropped.
    ///
    /// It keeps the socket open, on its own if need be.
    pub fn incoming(&self) -> Incoming {
        self.clone().into_incoming()
    }

    /// As [`incoming`](Self::incoming), for a listener that is needed for nothing else.
    pub fn into_incoming(self) -> Incoming {
        Incoming { listener: self, accept_loop: AcceptLoop::new() }
    }

    /// The socket.
    fn inner(&self) -> &Socket<net::UnixListener> {
        &self.acceptor().socket
    }

    /// The queue of connections.
    fn acceptor(&self) -> &Acceptor<net::UnixListener> {
        &self.bound.socket
    }

    /// The address that the socket listens on.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner().get_ref().local_addr()
    }
}

/// The stream of connections of a [`UnixListener`]; from [`UnixListener::incoming`].
///
/// Errors that concern one connection are passed over. When descriptors or memory run out, it pauses, from 5 ms doubling
/// to 1 s, while connections wait in the queue; it goes on at once when a socket of this crate is closed, on whatever
/// thread. It yields an error, and then ends, only if the listener itself fails: when the reactor has been dropped, say.
///
/// # Cancel safety
///
/// Dropping a `next()` loses nothing.
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
    listener: UnixListener,
    accept_loop: AcceptLoop,
}

impl Stream for Incoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { listener, accept_loop } = &mut *self;
        accept_loop.poll_next(cx, listener.acceptor(), |accepted| listener.stream(accepted).map(|(stream, _)| stream))
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
