//! A socket of this crate, behind hyper's traits for reading and writing.
//!
//! hyper reads into uninitialised memory, to which no `&mut [u8]` may refer. So an adapter for any `AsyncRead` would
//! have to zero each buffer before each read: 8 KiB and more for a request of a hundred bytes. The sockets of this
//! crate can let the kernel write directly into uninitialised memory. Therefore [`HyperIo`] takes only these sockets.

use crate::server::Connection;
use crate::socket::stream_io::StreamSocket;
use crate::sys;
use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use futures::io::AsyncWrite;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A stream socket of this crate, for [`hyper::rt::Read`] and [`hyper::rt::Write`].
///
/// Reads go directly into hyper's uninitialised buffer. Writes of several slices are one system call, so the head and
/// the body of a response need not be copied together. If all bodies are small, copying is cheaper: set `writev(false)`
/// in hyper's HTTP/1 builders. Shutting down is `shutdown(Write)`: the peer reads an end of file. If the peer has reset
/// the connection, shutting down succeeds.
///
/// Set `TCP_NODELAY` on both sides ([`ListenOptions::nodelay`](crate::ListenOptions::nodelay) sets the option on all
/// accepted sockets). Otherwise, small responses on a connection with several requests at a time delay each other by
/// 40 ms.
///
/// # Examples
///
/// A server and a client on one thread, with a counter that needs no lock.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use async_net_lite::{HyperIo, HyperTimer, TcpListener, TcpStream};
/// use http_body_util::{BodyExt, Empty, Full};
/// use hyper::body::{Bytes, Incoming};
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use std::cell::Cell;
/// use std::convert::Infallible;
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// let spawner = runtime.spawner();
/// let text = runtime.run_until(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     client.set_nodelay(true)?;
///     let (stream, _peer) = listener.accept().await?;
///     stream.set_nodelay(true)?;
///
///     let served = Rc::new(Cell::new(0));
///     let service = service_fn(move |_: Request<Incoming>| {
///         served.set(served.get() + 1);
///         let text = format!("hello, number {}", served.get());
///         async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text))) }
///     });
///     let connection = hyper::server::conn::http1::Builder::new()
///         .timer(HyperTimer)
///         .header_read_timeout(Duration::from_secs(10))
///         .serve_connection(HyperIo::new(stream), service);
///     spawner.spawn_local(async { drop(connection.await) })?;
///
///     let (mut requests, connection) = hyper::client::conn::http1::handshake(HyperIo::new(client)).await?;
///     spawner.spawn_local(async { drop(connection.await) })?;
///     let request = Request::get("/").header("Host", "localhost").body(Empty::<Bytes>::new())?;
///     let body = requests.send_request(request).await?.into_body().collect().await?;
///     Ok::<_, Box<dyn std::error::Error>>(String::from_utf8(body.to_bytes().into())?)
/// })??;
/// assert_eq!(text, "hello, number 1");
/// # Ok(())
/// # }
/// ```
///
/// A [`Connection`] of a [`Server`](crate::Server): HTTP within the server's limits, with a graceful stop. Let `connection_loop`
/// be the future of hyper that serves a connection.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{Connection, HyperIo, HyperTimer, Server};
/// use futures::future::{Either, select};
/// use http_body_util::Full;
/// use hyper::body::{Bytes, Incoming};
/// use hyper::server::conn::http1;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use std::convert::Infallible;
/// use std::pin::pin;
///
/// async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
///     Ok(Response::new("hello".into()))
/// }
///
/// async fn serve(connection: Connection) -> hyper::Result<()> {
///     let stopping = connection.stopping();
///     let connection_loop = http1::Builder::new()
///         .timer(HyperTimer)
///         .serve_connection(HyperIo::new(connection), service_fn(hello));
///     match select(pin!(connection_loop), stopping.cancelled()).await {
///         Either::Left((served, _)) => served,
///         Either::Right((_, mut connection_loop)) => {
///             connection_loop.as_mut().graceful_shutdown();
///             connection_loop.await
///         }
///     }
/// }
///
/// let server = Server::builder().listen(std::net::TcpListener::bind("127.0.0.1:0")?, serve);
/// # server.handle().abort();
/// # drop(server);
/// # Ok(())
/// # }
/// ```
///
/// After an upgrade, for example to WebSocket, hyper returns the socket and the bytes that it has read beyond the
/// upgrade.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{HyperIo, TcpStream};
/// use hyper::upgrade::{Parts, Upgraded};
///
/// fn take_apart(upgraded: Upgraded) -> Option<(TcpStream, Vec<u8>)> {
///     let Parts { io, read_buf, .. } = upgraded.downcast::<HyperIo<TcpStream>>().ok()?;
///     Some((io.into_inner(), read_buf.into()))
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HyperIo<T> {
    /// The socket.
    socket: T,
}

impl<T> HyperIo<T> {
    /// Wraps a socket for hyper.
    pub fn new(socket: T) -> Self {
        Self { socket }
    }

    /// Returns a reference to the socket, for its addresses and options.
    pub fn get_ref(&self) -> &T {
        &self.socket
    }

    /// Returns a mutable reference to the socket.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.socket
    }

    /// Returns the socket.
    pub fn into_inner(self) -> T {
        self.socket
    }
}

impl<T: HyperSocket> From<T> for HyperIo<T> {
    fn from(socket: T) -> Self {
        Self::new(socket)
    }
}

/// A stream socket of this crate. The trait is sealed, since hyper relies on an implementation to report correctly how
/// much uninitialised memory it has filled.
pub trait HyperSocket: StreamSocket {}

impl HyperSocket for TcpStream {}
impl HyperSocket for UnixStream {}

impl<T: HyperSocket> Read for HyperIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let wanted = cursor.remaining();
        if wanted == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.socket.poll_receive(cx, wanted, |socket| sys::recv(socket.as_fd(), &mut cursor)))?;
        Poll::Ready(Ok(()))
    }
}

impl Read for HyperIo<Connection> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = cursor.remaining();
        if wanted == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.socket.poll_read_by(cx, wanted, |socket| sys::recv(socket, &mut cursor)))?;
        Poll::Ready(Ok(()))
    }
}

impl<T> Write for HyperIo<T>
where
    Self: Read,
    T: AsyncWrite + Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }
}
