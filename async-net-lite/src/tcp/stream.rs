//! A TCP connection, and how it comes about. What one does with it is next door: reading and writing in `stream_io.rs`, its
//! options in `settings.rs`.

use crate::addr::AsyncToSocketAddrs;
use crate::conversions::std_conversions;
use crate::socket::Socket;
use crate::split::{OwnedReadHalf, OwnedWriteHalf, split};
use crate::tcp::ConnectOptions;
use async_epoll::{Handle, Source};
use std::io;
use std::net::{self, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

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
        match Arc::try_unwrap(self.socket) {
            Ok(socket) => socket.into_inner(),
            Err(shared) => shared.duplicate(),
        }
    }

    /// Splits the stream into a half that reads and one that writes, which may go to different tasks, or threads.
    ///
    /// Dropping the half that writes sends an end of file, as `close` does. The connection is closed when both halves
    /// and all clones are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::{TcpListener, TcpStream};
    /// use futures::future::try_join;
    /// use futures::{AsyncReadExt, AsyncWriteExt};
    ///
    /// async_epoll::block_on(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (server, _) = listener.accept().await?;
    ///
    ///     let (mut reader, mut writer) = client.into_split();
    ///     let write = async move { writer.write_all(b"the whole request").await }; // And drops the writer.
    ///     let read = async {
    ///         let mut answer = String::new();
    ///         reader.read_to_string(&mut answer).await.map(|_| answer)
    ///     };
    ///     let serve = async {
    ///         let mut request = String::new();
    ///         (&server).read_to_string(&mut request).await?; // Ends with the writer.
    ///         (&server).write_all(request.to_uppercase().as_bytes()).await?;
    ///         (&server).close().await
    ///     };
    ///     let ((_, answer), ()) = try_join(try_join(write, read), serve).await?;
    ///     assert_eq!(answer, "THE WHOLE REQUEST");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split(self)
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
