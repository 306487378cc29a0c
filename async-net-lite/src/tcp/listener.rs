//! The type of a TCP listener, its connections one by one, and the stream of them.
//!
//! How connections are taken from the queue, and what happens when descriptors run out, is in `accept/`: here a socket that
//! comes from there becomes a [`TcpStream`]. Binding a listener is in `listen.rs`.

use super::stream::TcpStream;
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
use std::net::{self, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A TCP socket that listens for connections: the async [`std::net::TcpListener`].
///
/// Clones share the socket. The last of them closes it, and of the [`Incoming`]s made from them; connections in its queue
/// are reset then. Several tasks may accept at once: each connection goes to one of them.
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
    acceptor: Arc<Acceptor<net::TcpListener>>,
}

impl TcpListener {
    /// Of a socket that listens.
    pub(super) fn new(socket: Socket<net::TcpListener>) -> Self {
        Self { acceptor: Arc::new(Acceptor::new(socket)) }
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
        Ok(Self::new(Source::with_interest(listener, Interest::READABLE, handle)?.into()))
    }

    /// Gives the listener of std back, still non-blocking and no longer registered.
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
        self.acceptor.poll_accept(cx).map(|accepted| accepted.and_then(|accepted| self.stream(accepted)))
    }

    /// Makes a stream of what was accepted.
    fn stream(&self, (socket, address): (socket2::Socket, SockAddr)) -> io::Result<(TcpStream, SocketAddr)> {
        let stream = TcpStream::from_accepted(socket.into(), &self.acceptor.socket.handle());
        let error = || io::Error::new(io::ErrorKind::InvalidData, "the peer of a TCP connection has no IP address");
        Ok((stream, address.as_socket().ok_or_else(error)?))
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
    fn inner(&self) -> &Socket<net::TcpListener> {
        &self.acceptor.socket
    }

    /// The address that the socket listens on.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.acceptor.socket.get_ref().local_addr()
    }
}

/// The stream of connections of a [`TcpListener`]; from [`TcpListener::incoming`].
///
/// Errors that concern one connection are passed over. When descriptors or memory run out, it pauses, from 5 ms doubling
/// to 1 s, while connections wait in the queue; it goes on at once when a socket of this crate is closed, on whatever
/// thread. It yields an error, and then ends, only if the listener itself fails: when the reactor has been dropped, say.
///
/// It takes every descriptor that is to be had, and then none is left for what the handlers of the connections open.
/// Where they do, accept no more connections than there is room for: by a semaphore, or `buffer_unordered` and the like.
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
    accept_loop: AcceptLoop,
}

impl Stream for Incoming {
    type Item = io::Result<TcpStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { listener, accept_loop } = &mut *self;
        accept_loop.poll_next(cx, &listener.acceptor, |accepted| listener.stream(accepted).map(|(stream, _)| stream))
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
