//! Accepting connections, and going on accepting them. How, is told in `accept.rs`: listeners of other kinds do the same.

use crate::accept::{Acceptor, Backoff};
use crate::conversions::std_conversions;
use crate::socket::Socket;
use crate::unix::socket_file::{Bound, SocketFile};
use crate::unix::{UnixListenOptions, UnixStream, address};
use async_epoll::{Handle, Interest, Source};
use futures::stream::{FusedStream, Stream};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A Unix socket that listens for connections: the async [`std::os::unix::net::UnixListener`].
///
/// Clones share the socket. The last of them closes it, and of the [`Incoming`]s made from them; connections in its queue
/// are reset then. Its file stays, unless [`unlink_on_drop`](UnixListenOptions::unlink_on_drop) is asked for. Several tasks
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
    /// Listens at a path, with a queue of 1024. See [`UnixListenOptions`] for permissions, and for files that are left
    /// behind.
    ///
    /// # Errors
    ///
    /// Those of [`UnixListenOptions::bind_addr`]: `AddrInUse` if the file exists, for one.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        UnixListenOptions::new().bind(path)
    }

    /// Listens at an address: a path, or an abstract name. For an unnamed one, the kernel chooses a free abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::{UnixListener, UnixStream};
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// async_epoll::block_on(async {
    ///     let any = UnixListener::bind_addr(&SocketAddr::from_pathname("")?)?;
    ///     let name = any.local_addr()?;
    ///     assert!(name.as_abstract_name().is_some());
    ///     UnixStream::connect_addr(&name).await?;
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        UnixListenOptions::new().bind_addr(address)
    }

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
        let (socket, address) = ready!(self.bound.socket.poll_accept(cx))?;
        let stream = UnixStream::from_accepted(socket.into(), &self.inner().handle());
        Poll::Ready(address::from_kernel(&address).map(|address| (stream, address)))
    }

    /// The connections, one after the other, as a stream that goes on until the reactor is dropped.
    ///
    /// It keeps the socket open, on its own if need be.
    pub fn incoming(&self) -> Incoming {
        self.clone().into_incoming()
    }

    /// As [`incoming`](Self::incoming), for a listener that is needed for nothing else.
    pub fn into_incoming(self) -> Incoming {
        Incoming { listener: self, backoff: Backoff::new() }
    }

    /// The socket.
    fn inner(&self) -> &Socket<net::UnixListener> {
        &self.bound.socket.socket
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
    backoff: Backoff,
}

impl Stream for Incoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { listener, backoff } = &mut *self;
        backoff.poll_next(cx, listener.inner(), |cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream))
    }
}

impl FusedStream for Incoming {
    fn is_terminated(&self) -> bool {
        self.backoff.has_ended()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("listener", &self.listener).field("backoff", &self.backoff).finish()
    }
}

std_conversions!(UnixListener, net::UnixListener, "listening Unix socket", Domain::UNIX, STREAM);
