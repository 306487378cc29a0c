//! The type of a TCP connection: its socket, its addresses, and its conversions from and to std.
//!
//! What is done with a connection is next door: reading and writing in `stream_io.rs`, options in `settings.rs`, making one
//! in `connect.rs`, and taking one from a queue in `listener.rs`.

use crate::socket::conversions::std_conversions;
use crate::socket::socket::Socket;
use async_epoll::{Handle, Source};
use std::io;
use std::net::{self, Shutdown, SocketAddr};
use std::sync::Arc;

/// A TCP connection: the async [`std::net::TcpStream`].
///
/// Reading and writing goes through [`AsyncRead`] and [`AsyncWrite`], which are implemented for `TcpStream` and for
/// `&TcpStream`: one task may read while another writes, through a reference or a clone. Clones share the connection;
/// the last one closes it.
///
/// # Cancel safety
///
/// A single read or write is cancel safe: what has moved has been returned. `read_exact` and `write_all` of futures are
/// not: some bytes may have moved when they are dropped.
///
/// # How it works
///
/// The socket is registered with epoll when an operation first meets `WouldBlock`, and deregistered by closing it. A
/// read that fills less than its buffer is taken for the end of what is there, so the next one waits without asking the
/// kernel; unless the kernel has reported urgent data, an end of file or an error, since then more may be there.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{TcpListener, TcpStream};
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// async_epoll::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     client.write_all(b"ping").await?;
///
///     let (server, _) = listener.accept().await?;
///     let mut buffer = [0; 4];
///     (&server).read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"ping");
///     Ok(())
/// })?
/// # }
/// ```
///
/// [`AsyncRead`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncRead.html
/// [`AsyncWrite`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncWrite.html
#[derive(Clone)]
pub struct TcpStream {
    pub(crate) socket: Arc<Socket<net::TcpStream>>,
}

impl TcpStream {
    /// A connection that is there.
    pub(super) fn new(socket: Socket<net::TcpStream>) -> Self {
        Self { socket: Arc::new(socket) }
    }

    /// A socket that we have accepted: non-blocking, and its descriptor is the only one.
    pub(crate) fn from_accepted(stream: net::TcpStream, handle: &Handle) -> Self {
        Self::new(Socket::lazy(stream, handle))
    }

    /// Makes a stream of std async: sets it to non-blocking and registers it with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// Those of [`Source::with_handle`](async_epoll::Source::with_handle).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::TcpStream;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let stream = TcpStream::from_std(stream, &runtime.handle())?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_std(stream: net::TcpStream, handle: &Handle) -> io::Result<Self> {
        Ok(Self::new(Source::with_handle(stream, handle)?.into()))
    }

    /// Gives the stream of std back, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, if clones of this stream exist: then the new descriptor shares the connection with them.
    pub fn into_std(self) -> io::Result<net::TcpStream> {
        self.socket.into_std()
    }

    /// What its clones share.
    fn inner(&self) -> &Socket<net::TcpStream> {
        &self.socket
    }

    /// Closes one direction or both, by `shutdown(2)`. Data written before is still delivered.
    ///
    /// `close()` of `AsyncWriteExt` is `shutdown(Shutdown::Write)`, and takes no offence at a connection that the peer
    /// has reset.
    ///
    /// # Errors
    ///
    /// `NotConnected` after the peer has reset the connection.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.get_ref().shutdown(how)
    }

    /// This side's address.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// The other side's address.
    ///
    /// # Errors
    ///
    /// Those of `getpeername(2)`: `NotConnected` after the peer has reset the connection.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().peer_addr()
    }
}

std_conversions!(TcpStream, net::TcpStream, "connected TCP socket", Domain::IPV4 | Domain::IPV6, STREAM);
