//! The type of a TCP connection: its socket, its addresses, and its conversions from and to std.
//!
//! Not here: reading and writing, in `stream_io.rs`; options, in `settings.rs`; connecting, in `connect.rs`; accepting,
//! in `listener.rs`.

use super::io::TcpIo;
use crate::socket::conversions::std_conversions;
use crate::socket::own_calls::own_calls;
use crate::socket::socket::Socket;
use async_epoll::{Handle, Source};
use std::io;
use std::net::{self, Shutdown, SocketAddr};
use std::sync::Arc;

/// A TCP connection: the async [`std::net::TcpStream`].
///
/// Reading and writing use [`AsyncRead`] and [`AsyncWrite`], which are implemented for `TcpStream` and for
/// `&TcpStream`: one task may read while another writes, through a reference or a clone. Clones share the connection;
/// dropping the last of them closes it.
///
/// # Cancel safety
///
/// A single read or write is cancel safe: bytes that have moved have been reported. `read_exact` and `write_all` of
/// futures are not: some bytes may have moved when they are dropped.
///
/// # How it works
///
/// The socket is registered with epoll when an operation first meets `WouldBlock`, and deregistered by closing it. Once
/// the descriptor has been handed out (`as_fd`) or inherited by a forked child, closing is not enough, and dropping the
/// stream takes one system call more.
/// After a read that does not fill its buffer, nothing more is there, so the next read waits without asking the kernel.
/// If the kernel has reported urgent data, an end of file or an error, more may be there, so the next read does ask.
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
    /// The socket, shared by all clones.
    pub(crate) socket: Arc<Socket<TcpIo>>,
}

impl TcpStream {
    /// Returns the stream of a connected socket.
    pub(super) fn new(socket: Socket<TcpIo>) -> Self {
        Self { socket: Arc::new(socket) }
    }

    /// Returns the stream of an accepted socket, which is non-blocking and has no duplicate descriptor.
    pub(crate) fn from_accepted(stream: net::TcpStream, handle: &Handle) -> Self {
        Self::new(Socket::lazy(stream.into(), handle))
    }

    /// Converts a stream of std: sets it to non-blocking, and registers it with the reactor of `handle`.
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
        Ok(Self::new(Source::with_handle(TcpIo::from(stream), handle)?.into()))
    }

    /// Returns the stream of std, still non-blocking and no longer registered.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, if clones of this stream exist. Then the stream of std gets a new descriptor of the same
    /// connection.
    pub fn into_std(self) -> io::Result<net::TcpStream> {
        self.socket.into_std().map(TcpIo::into_std)
    }

    /// Returns the socket, which all clones share.
    fn inner(&self) -> &Socket<TcpIo> {
        &self.socket
    }

    /// Closes one direction or both, by `shutdown(2)`. Data written before is still delivered.
    ///
    /// `close()` of `AsyncWriteExt` is `shutdown(Shutdown::Write)`, but does not fail if the peer has reset the
    /// connection.
    ///
    /// # Errors
    ///
    /// `NotConnected` after the peer has reset the connection, and as long as a stream with
    /// [fast open](crate::ConnectOptions::fastopen) is not connected: `close()` waits for that.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let io = self.socket.get_ref();
        if !io.is_done() {
            // The kernel would end the connection, and not only close a direction.
            io.finish().map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => io::Error::new(
                    io::ErrorKind::NotConnected,
                    "the stream is not connected yet, because of TCP fast open: close() waits until it is",
                ),
                _ => error,
            })?;
        }
        io.shutdown(how)
    }

    /// Returns the local address.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Those of `getpeername(2)`: `NotConnected` after the peer has reset the connection.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().peer_addr()
    }
}

std_conversions!(TcpStream, net::TcpStream, "connected TCP socket", Domain::IPV4 | Domain::IPV6, STREAM);

own_calls!(
    TcpStream,
    net::TcpStream,
    r#"```
# fn main() -> std::io::Result<()> {
use async_net_lite::{TcpListener, TcpStream};
use socket2::SockRef;
use std::mem::MaybeUninit;

async_epoll::block_on(async {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    client.try_write(b"hello")?;
    // `MSG_TRUNC` throws the bytes away instead of copying them.
    let discard = |stream: &std::net::TcpStream| {
        SockRef::from(stream).recv_with_flags(&mut [MaybeUninit::uninit(); 64], libc::MSG_TRUNC)
    };
    assert_eq!(server.read_with(discard).await?, 5);
    Ok(())
})?
# }
```"#,
    both
);
