//! Messages between processes: whole, in order, and never dropped on the way.
//!
//! A receiver's queue is short (`/proc/sys/net/unix/max_dgram_qlen`), and a sender has to wait while it is full. Whether
//! the kernel says when there is room depends on how the datagram was addressed:
//!
//! ```text
//!   connected, send        ──► it does: wait for an event
//!   by address, send_to    ──► it does not: try again after a while
//! ```

use crate::conversions::std_conversions;
use crate::socket::{Socket, none_if_blocked, uninterrupted};
use crate::stream_io::send;
use crate::sys::{self, Received};
use crate::unix::fds::{self, Rights};
use crate::unix::retry::Retry;
use crate::unix::socket_file::{Bound, SocketFile};
use crate::unix::{UnixListenOptions, address};
use async_epoll::{Handle, Interest, Readiness, Source};
use futures::future::{Either, select};
use socket2::{Domain, SockAddr, SockRef, Type};
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A Unix datagram socket: the async [`std::os::unix::net::UnixDatagram`].
///
/// Unlike with UDP, nothing is lost on the way: who sends to a full queue waits. Methods take `&self`, so one task may
/// receive while another sends; clones share the socket, and the last one closes it.
///
/// An empty datagram is a datagram: sending no bytes sends one, and receiving 0 bytes may mean one.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::unix::UnixDatagram;
/// # let path = std::env::temp_dir().join(format!("unix-datagram-doc-{}", std::process::id()));
///
/// async_epoll::block_on(async {
///     let server = UnixDatagram::bind(&path)?;
///     let client = UnixDatagram::unbound()?;
///     client.send_to(b"hello", &path).await?;
///     let mut buffer = [0; 16];
///     let (length, sender) = server.recv_from(&mut buffer).await?;
///     assert_eq!(&buffer[..length], b"hello");
///     assert!(sender.is_unnamed(), "so there is no way to answer");
///     std::fs::remove_file(&path)
/// })?
/// # }
/// ```
#[derive(Clone)]
pub struct UnixDatagram {
    bound: Arc<Bound<Socket<net::UnixDatagram>>>,
}

/// A datagram, with all that the kernel tells about it; from [`UnixDatagram::recv_message`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Message {
    /// Bytes in the buffer.
    pub length: usize,
    /// The datagram was longer than the buffer, and its rest is lost.
    pub truncated: bool,
    /// Who sent it; unnamed if that socket is bound to no address, or to one that std cannot express (a path of 108 bytes).
    pub sender: SocketAddr,
    /// The descriptors that came with it, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// There were more descriptors than asked for, or more than this process can have open. Then all are closed, and
    /// `fds` is empty.
    pub fds_lost: bool,
}

impl UnixDatagram {
    /// Binds a socket to a path. See [`UnixListenOptions`] for permissions, and for files that are left behind.
    ///
    /// # Errors
    ///
    /// Those of [`UnixListenOptions::bind_addr`]: `AddrInUse` if the file exists, for one.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        UnixListenOptions::new().bind_datagram(path)
    }

    /// Binds a socket to an address: a path, or an abstract name. For an unnamed one, the kernel chooses a free abstract
    /// name, which is what a client wants to whom a server is to answer.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// async_epoll::block_on(async {
    ///     let any = SocketAddr::from_pathname("")?;
    ///     let (server, client) = (UnixDatagram::bind_addr(&any)?, UnixDatagram::bind_addr(&any)?);
    ///     client.send_to_addr(b"question", &server.local_addr()?).await?;
    ///     let mut buffer = [0; 16];
    ///     let (_, sender) = server.recv_from(&mut buffer).await?;
    ///     server.send_to_addr(b"answer", &sender).await?;
    ///     let length = client.recv(&mut buffer).await?;
    ///     assert_eq!(&buffer[..length], b"answer");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        UnixListenOptions::new().bind_datagram_addr(address)
    }

    /// A socket without an address. It can send, and receive once it is connected.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`; `NotConnected` outside a reactor.
    pub fn unbound() -> io::Result<Self> {
        Ok(Self::new(Socket::open(Domain::UNIX, Type::DGRAM, &Handle::current()?)?, None))
    }

    /// Two sockets that are connected with each other, without a name.
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`; `NotConnected` outside a reactor.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (left, right) = Socket::pair(Type::DGRAM, &Handle::current()?)?;
        Ok((Self::new(left, None), Self::new(right, None)))
    }

    /// A socket that we have made.
    pub(crate) fn from_bound(socket: net::UnixDatagram, file: Option<SocketFile>, handle: &Handle) -> Self {
        Self::new(Socket::lazy(socket, handle), file)
    }

    fn new(socket: Socket<net::UnixDatagram>, file: Option<SocketFile>) -> Self {
        Self { bound: Arc::new(Bound::new(socket, file)) }
    }

    /// Makes a socket of std async: sets it to non-blocking and registers it with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// Those of [`Source::with_handle`](async_epoll::Source::with_handle).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    ///
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let (peer, socket) = std::os::unix::net::UnixDatagram::pair()?;
    /// let socket = UnixDatagram::from_std(socket, &runtime.handle())?;
    /// peer.send(b"hello")?;
    /// assert_eq!(runtime.run_until(async { socket.recv(&mut [0; 8]).await })??, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_std(socket: net::UnixDatagram, handle: &Handle) -> io::Result<Self> {
        Ok(Self::new(Source::with_handle(socket, handle)?.into(), None))
    }

    /// Gives the socket of std back, still non-blocking and no longer registered. Its file stays.
    ///
    /// # Errors
    ///
    /// Those of `dup(2)`, if clones of this socket exist: then the new descriptor shares the socket with them.
    pub fn into_std(self) -> io::Result<net::UnixDatagram> {
        self.bound.keep_file();
        match Arc::try_unwrap(self.bound) {
            Ok(bound) => bound.socket.into_inner(),
            Err(shared) => shared.socket.duplicate(),
        }
    }

    /// The socket.
    fn inner(&self) -> &Socket<net::UnixDatagram> {
        &self.bound.socket
    }

    /// Connects to the socket at a path: [`send`](Self::send) goes there, and only what comes from there is received. It
    /// may be called again.
    ///
    /// # Errors
    ///
    /// - `NotFound`, `ConnectionRefused`, `PermissionDenied`: as of [`UnixStream::connect`](super::UnixStream::connect).
    /// - `InvalidInput` for a path that is empty, contains a zero byte or has more than 107 bytes.
    /// - `EPERM` if that socket is connected to another one.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("unix-datagram-connect-doc-{}", std::process::id()));
    ///
    /// async_epoll::block_on(async {
    ///     let server = UnixDatagram::bind(&path)?;
    ///     let client = UnixDatagram::unbound()?;
    ///     client.connect(&path)?;
    ///     client.send(b"hello").await?;
    ///     assert_eq!(server.recv(&mut [0; 8]).await?, 5);
    ///     # std::fs::remove_file(&path)?;
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&address::from_path(path.as_ref())?)
    }

    /// Connects to the socket at an address; otherwise as [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        let address = address::to_named(address)?;
        uninterrupted(|| SockRef::from(self.inner().get_ref()).connect(&address))
    }

    /// Sends a datagram to the socket that this one is connected to. While the queue there is full, waits.
    ///
    /// # Errors
    ///
    /// - `NotConnected` if it is connected to none, and `ConnectionRefused` (later `NotConnected`) if that one has been
    ///   closed.
    /// - `EMSGSIZE` for a datagram that is larger than the send buffer (about 200 KiB unless changed).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it completes, nothing has been sent.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, bytes)).await
    }

    /// The poll form of [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write_with(cx, |socket| send(socket, bytes))
    }

    /// [`send`](Self::send) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is full; otherwise as [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    ///
    /// async_epoll::block_on(async {
    ///     let (sender, receiver) = UnixDatagram::pair()?;
    ///     let mut queued = 0;
    ///     while sender.try_send(b"log line").is_ok() {
    ///         queued += 1;
    ///     }
    ///     // The queue is full: count what is left out instead of waiting.
    ///     assert!(queued > 0);
    ///     assert_eq!(receiver.try_recv(&mut [0; 8])?, 8);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.inner().try_io(Interest::WRITABLE, |socket| send(socket, bytes))
    }

    /// Sends a datagram to the socket at a path. While the queue there is full, waits: at most 8 ms longer than necessary,
    /// since the kernel does not say when there is room. There is no poll form, since each wait has a timer of its own.
    ///
    /// # Errors
    ///
    /// - `NotFound`, `ConnectionRefused`, `PermissionDenied`: as of [`UnixStream::connect`](super::UnixStream::connect).
    /// - `InvalidInput` for a path that is empty, contains a zero byte or has more than 107 bytes.
    /// - `EMSGSIZE` for a datagram that is larger than the send buffer (about 200 KiB unless changed).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it completes, nothing has been sent.
    pub async fn send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let address = address::from_path(path.as_ref())?;
        self.send_to_addr(bytes, &address).await
    }

    /// Sends a datagram to the socket at an address; otherwise as [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    ///
    /// # Cancel safety
    ///
    /// As [`send_to`](Self::send_to).
    pub async fn send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        let address = address::to_named(address)?;
        let socket = self.inner();
        let handle = socket.handle();
        let mut retry = Retry::send();
        loop {
            // To the source a full queue is a success, so that it does not wait for an event: see `retry`.
            let attempt = socket.write_with(|socket| none_if_blocked(send_to(socket, bytes, &address)));
            // Somebody else's `send` may have met a full queue, and then the source waits for that one to have room. Ours is
            // another: do not wait longer than a pause.
            let sent = match select(pin!(attempt), retry.pause(&handle)).await {
                Either::Left((Ok(None), timer)) => {
                    timer.await?;
                    continue;
                }
                Either::Left((sent, _)) => sent?,
                Either::Right((elapsed, _)) => {
                    elapsed?;
                    none_if_blocked(uninterrupted(|| send_to(socket.get_ref(), bytes, &address)))?
                }
            };
            if let Some(length) = sent {
                return Ok(length);
            }
        }
    }

    /// [`send_to`](Self::send_to) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is full; otherwise as [`send_to`](Self::send_to).
    pub fn try_send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.try_send_to_addr(bytes, &address::from_path(path.as_ref())?)
    }

    /// [`send_to_addr`](Self::send_to_addr) without waiting.
    ///
    /// # Errors
    ///
    /// As [`try_send_to`](Self::try_send_to).
    pub fn try_send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        let address = address::to_named(address)?;
        // The source neither decides nor learns anything: what it knows of being writable concerns another queue.
        self.inner().check_reactor()?;
        uninterrupted(|| send_to(self.inner().get_ref(), bytes, &address))
    }

    /// Receives a datagram, from anybody, or from the socket that this one is connected to. Returns its length; of one that
    /// is longer than the buffer, the rest is lost ([`recv_message`](Self::recv_message) tells). Descriptors that came with
    /// it are closed, in the kernel.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, and `NotConnected` if the reactor is gone. After `shutdown(Read)`, 0 bytes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a datagram is received and returned in the same poll.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    ///
    /// async_epoll::block_on(async {
    ///     let (left, right) = UnixDatagram::pair()?;
    ///     left.send(b"one").await?;
    ///     left.send(b"").await?;
    ///     let mut buffer = [0; 8];
    ///     assert_eq!(right.recv(&mut buffer).await?, 3);
    ///     assert_eq!(right.recv(&mut buffer).await?, 0, "an empty one");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, buffer)).await
    }

    /// The poll form of [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_read_with(cx, |socket| socket.recv(buffer))
    }

    /// [`recv`](Self::recv) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none; otherwise as [`recv`](Self::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner().try_io(Interest::READABLE, |socket| socket.recv(buffer))
    }

    /// Receives a datagram, as [`recv`](Self::recv) does, and says who sent it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| self.poll_recv_from(cx, buffer)).await
    }

    /// The poll form of [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.inner().poll_read_with(cx, |socket| socket.recv_from(buffer))
    }

    /// [`recv_from`](Self::recv_from) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none; otherwise as [`recv`](Self::recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner().try_io(Interest::READABLE, |socket| socket.recv_from(buffer))
    }

    /// Receives a datagram, with its sender, at most `max_fds` descriptors, and the word whether it was cut.
    ///
    /// What a sender may do wrong is no error here, so it cannot end a server's loop: too many descriptors are closed, and
    /// [`Message::fds_lost`] says so.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    ///
    /// async_epoll::block_on(async {
    ///     let (left, right) = UnixDatagram::pair()?;
    ///     left.send(b"longer than expected").await?;
    ///     let mut buffer = [0; 6];
    ///     let message = right.recv_message(&mut buffer, 0).await?;
    ///     assert!(message.truncated);
    ///     assert_eq!(&buffer[..message.length], b"longer");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn recv_message(&self, buffer: &mut [u8], max_fds: usize) -> io::Result<Message> {
        poll_fn(|cx| self.poll_recv_message(cx, buffer, max_fds)).await
    }

    /// The poll form of [`recv_message`](Self::recv_message).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_message(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        max_fds: usize,
    ) -> Poll<io::Result<Message>> {
        let receive =
            |socket: &net::UnixDatagram| sys::receive_message(socket.as_fd(), &mut [IoSliceMut::new(buffer)], max_fds);
        let mut received = ready!(self.inner().poll_read_with(cx, receive))?;
        let fds_lost = fds::is_too_much(&received, max_fds);
        if fds_lost {
            received.fds.clear();
        }
        let Received { length, truncated, fds, sender, .. } = received;
        let sender = address::from_sun_path(sender.as_bytes())?;
        Poll::Ready(Ok(Message { length, truncated, sender, fds, fds_lost }))
    }

    /// Sends a datagram, and descriptors with it, to the socket that this one is connected to. The datagram may be empty.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); `InvalidInput` for more than 253 descriptors, and `ETOOMANYREFS` if the user has more of
    /// them under way than a process may have open.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    /// use std::os::fd::AsFd;
    ///
    /// async_epoll::block_on(async {
    ///     let (left, right) = UnixDatagram::pair()?;
    ///     left.send_with_fds(b"myself", &[left.as_fd()]).await?;
    ///     let (length, fds) = right.recv_with_fds(&mut [0; 16], 1).await?;
    ///     assert_eq!((length, fds.len()), (6, 1));
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn send_with_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_with_fds(cx, &[IoSlice::new(bytes)], fds)).await
    }

    /// The poll form of [`send_with_fds`](Self::send_with_fds), which makes the datagram of several slices: at most 1024.
    ///
    /// # Errors
    ///
    /// As [`send_with_fds`](Self::send_with_fds).
    pub fn poll_send_with_fds(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        let rights = Rights::new(fds)?;
        self.inner().poll_write_with(cx, |socket| rights.send(socket, slices))
    }

    /// Receives a datagram, and at most `max_fds` descriptors that came with it, never more than 253. They are
    /// close-on-exec.
    ///
    /// # Errors
    ///
    /// - `InvalidData` if there were more descriptors than `max_fds`, or this process can have no more open. Then all of
    ///   them are closed. The bytes are in the buffer, and [`FdsLost`](super::FdsLost) inside the error says how many.
    /// - As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_with_fds(&self, buffer: &mut [u8], max_fds: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        poll_fn(|cx| self.poll_recv_with_fds(cx, buffer, max_fds)).await
    }

    /// The poll form of [`recv_with_fds`](Self::recv_with_fds).
    ///
    /// # Errors
    ///
    /// As [`recv_with_fds`](Self::recv_with_fds).
    pub fn poll_recv_with_fds(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        max_fds: usize,
    ) -> Poll<io::Result<(usize, Vec<OwnedFd>)>> {
        let receive = |socket: &net::UnixDatagram| fds::receive(socket.as_fd(), buffer, max_fds);
        let received = self.inner().poll_read_with(cx, receive);
        received.map_ok(|Received { length, fds, .. }| (length, fds))
    }

    /// Waits until a datagram is there, or an error.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn readable(&self) -> io::Result<Readiness> {
        self.inner().readable().await
    }

    /// Waits until [`send`](Self::send) is likely to succeed. About other addresses it says nothing.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn writable(&self) -> io::Result<Readiness> {
        self.inner().writable().await
    }

    /// The poll form of [`readable`](Self::readable). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.inner().poll_readable(cx)
    }

    /// The poll form of [`writable`](Self::writable). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`writable`](Self::writable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.inner().poll_writable(cx)
    }

    /// Closes one direction or both, by `shutdown(2)`.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`. On Linux none is known.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner().get_ref().shutdown(how)
    }

    /// The pending error of the socket (`SO_ERROR`), which is cleared.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner().get_ref().take_error()
    }

    /// This socket's address.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner().get_ref().local_addr()
    }

    /// The address of the socket that this one is connected to.
    ///
    /// # Errors
    ///
    /// Those of `getpeername(2)`: `NotConnected` if it is connected to none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner().get_ref().peer_addr()
    }
}

/// `sendto(MSG_NOSIGNAL)`.
fn send_to(socket: &net::UnixDatagram, bytes: &[u8], address: &SockAddr) -> io::Result<usize> {
    SockRef::from(socket).send_to_with_flags(bytes, address, libc::MSG_NOSIGNAL)
}

std_conversions!(UnixDatagram, net::UnixDatagram, "Unix datagram socket", Domain::UNIX, DGRAM);
