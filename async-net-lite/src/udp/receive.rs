//! Receiving one datagram.
//!
//! Two points differ from streams. `Ok(0)` is an empty datagram, not an end of file. An empty buffer still takes a
//! datagram from the queue, and cuts all of its bytes off.
//!
//! A third point concerns sockets with a descriptor that has been handed out. With the option `UDP_GRO`, one receive may
//! return several datagrams joined together, and only a control message says so. `recvfrom(2)` drops this message without
//! a sign; `recvmsg(2)` reports that there was one. So a socket that may have options of the user is received from by
//! `recvmsg(2)`, and if a control message was dropped, the option is asked for: see [`check`].

use super::socket::{SharedSocket, UdpSocket};
use crate::sys;
use async_epoll::Interest;
use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

/// A received datagram; from [`UdpSocket::recv_datagram`] or a [`RecvBatch`](crate::RecvBatch).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// The payload, cut to the buffer. May be empty.
    pub bytes: &'a [u8],
    /// The address of the sender.
    pub address: SocketAddr,
    /// Whether the datagram was longer than the buffer. The rest is lost.
    pub truncated: bool,
}

impl<'a> Datagram<'a> {
    /// Returns the datagram of `received`. The kernel has written its bytes to the front of `buffer`.
    /// Fails if the sender has no IP address.
    pub(super) fn new(received: sys::ReceivedDatagram, buffer: &'a [u8]) -> io::Result<Self> {
        let (address, truncated) = (received.address()?, received.truncated);
        Ok(Self { bytes: &buffer[..received.length], address, truncated })
    }
}

/// Fails if a received datagram may be several, joined by the kernel. The caller is a method that cannot take it apart.
pub(super) fn check(received: sys::ReceivedDatagram, socket: &net::UdpSocket) -> io::Result<sys::ReceivedDatagram> {
    // There is no control message unless the user has asked for some kind.
    if received.control_lost && sys::joins_datagrams(socket.as_fd())? {
        return Err(joined());
    }
    Ok(received)
}

/// Returns the error for datagrams that the kernel has joined.
#[cold]
fn joined() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "receive offload (UDP_GRO) is on, so the kernel may have joined several datagrams into one, and this method cannot \
         take them apart: turn the option off, or receive with read_with and recvmsg(2), with room for the control message \
         UDP_GRO",
    )
}

/// Receives a datagram by one system call, `recvmsg(2)` with `flags`, and fails if it may be several.
fn receive(socket: &net::UdpSocket, buffer: &mut [u8], flags: libc::c_int) -> io::Result<sys::ReceivedDatagram> {
    check(sys::recv_datagram(socket, buffer, flags)?, socket)
}

/// System calls for one datagram. The faster call of each kind does not report control messages.
impl SharedSocket {
    /// Takes a datagram. Returns its length.
    fn take(&self, socket: &net::UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_handed_out() { Ok(receive(socket, buffer, 0)?.length) } else { socket.recv(buffer) }
    }

    /// Takes a datagram. Returns its length and its sender.
    fn take_from(&self, socket: &net::UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if !self.is_handed_out() {
            return socket.recv_from(buffer);
        }
        receive(socket, buffer, 0).and_then(|received| Ok((received.length, received.address()?)))
    }

    /// Copies a datagram. Returns its length.
    fn look(&self, socket: &net::UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_handed_out() { Ok(receive(socket, buffer, libc::MSG_PEEK)?.length) } else { socket.peek(buffer) }
    }

    /// Copies a datagram. Returns its length and its sender.
    fn look_from(&self, socket: &net::UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if !self.is_handed_out() {
            return socket.peek_from(buffer);
        }
        receive(socket, buffer, libc::MSG_PEEK).and_then(|received| Ok((received.length, received.address()?)))
    }
}

impl UdpSocket {
    /// Receives a datagram, and returns its length.
    ///
    /// A datagram longer than the buffer is cut without notice, as in std; [`recv_datagram`](Self::recv_datagram)
    /// reports it.
    ///
    /// # Errors
    ///
    /// [Errors of a peer](Self#errors-of-a-peer), and others of `recv(2)`; `NotConnected` if the reactor has been
    /// dropped; `InvalidData` for datagrams that the kernel has joined, see [receive offload](Self#receive-offload).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a datagram is taken and returned in the same poll.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read_with(|socket| self.socket.take(socket, buffer)).await
    }

    /// Polls to receive a datagram; see [`recv`](Self::recv). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_read_with(cx, |socket| self.socket.take(socket, buffer))
    }

    /// Tries to receive a datagram, without waiting; otherwise as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`recv`](Self::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| self.socket.take(socket, buffer))
    }

    /// Receives a datagram, and returns its length and the address of its sender; otherwise as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read_with(|socket| self.socket.take_from(socket, buffer)).await
    }

    /// Polls to receive a datagram; see [`recv_from`](Self::recv_from). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.socket.poll_read_with(cx, |socket| self.socket.take_from(socket, buffer))
    }

    /// Tries to receive a datagram, without waiting; otherwise as [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`recv`](Self::recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_io(Interest::READABLE, |socket| self.socket.take_from(socket, buffer))
    }

    /// Receives a datagram. The result has its sender, and says whether the buffer was too small (`MSG_TRUNC`).
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
    /// use async_net_lite::UdpSocket;
    ///
    /// async_epoll::block_on(async {
    ///     let (socket, peer) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    ///     peer.send_to(b"a long story", socket.local_addr()?).await?;
    ///     let mut buffer = [0; 6];
    ///     let datagram = socket.recv_datagram(&mut buffer).await?;
    ///     assert_eq!((datagram.bytes, datagram.truncated), (&b"a long"[..], true));
    ///     assert_eq!(datagram.address, peer.local_addr()?);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn recv_datagram<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Datagram<'a>> {
        let received = poll_fn(|cx| self.poll_received(cx, buffer)).await?;
        Datagram::new(received, buffer)
    }

    /// Polls to receive a datagram; see [`recv_datagram`](Self::recv_datagram). Any number of tasks may wait: all are
    /// woken.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_datagram<'a>(&self, cx: &mut Context<'_>, buffer: &'a mut [u8]) -> Poll<io::Result<Datagram<'a>>> {
        let received = ready!(self.poll_received(cx, buffer))?;
        Poll::Ready(Datagram::new(received, buffer))
    }

    /// Tries to receive a datagram, without waiting; otherwise as [`recv_datagram`](Self::recv_datagram).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`recv`](Self::recv).
    pub fn try_recv_datagram<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Datagram<'a>> {
        let received = self.socket.try_io(Interest::READABLE, |socket| receive(socket, buffer, 0))?;
        Datagram::new(received, buffer)
    }

    /// Receives a datagram into `buffer`, by `recvmsg(2)`.
    fn poll_received(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<sys::ReceivedDatagram>> {
        self.socket.poll_read_with(cx, |socket| receive(socket, buffer, 0))
    }

    /// Copies the next datagram, cut to the buffer, and leaves it in the queue. Returns the number of bytes copied.
    ///
    /// Another task may receive the datagram first.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). An error of a peer is collected, and does not stay pending.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is taken from the queue.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read_with(|socket| self.socket.look(socket, buffer)).await
    }

    /// Polls to peek at a datagram; see [`peek`](Self::peek). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_read_with(cx, |socket| self.socket.look(socket, buffer))
    }

    /// Tries to peek at a datagram, without waiting; otherwise as [`peek`](Self::peek).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`peek`](Self::peek).
    pub fn try_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| self.socket.look(socket, buffer))
    }

    /// Copies the next datagram as [`peek`](Self::peek) does, and returns the address of the sender, too.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    ///
    /// # Cancel safety
    ///
    /// As [`peek`](Self::peek).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::UdpSocket;
    ///
    /// async_epoll::block_on(async {
    ///     let (socket, peer) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    ///     peer.send_to(b"hello", socket.local_addr()?).await?;
    ///     // Get the sender's address before allocating a buffer.
    ///     let (_, address) = socket.peek_from(&mut []).await?;
    ///     assert_eq!(address, peer.local_addr()?);
    ///     assert_eq!(socket.recv(&mut [0; 1500]).await?, 5);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.read_with(|socket| self.socket.look_from(socket, buffer)).await
    }

    /// Polls to peek at a datagram; see [`peek_from`](Self::peek_from). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn poll_peek_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.socket.poll_read_with(cx, |socket| self.socket.look_from(socket, buffer))
    }

    /// Tries to peek at a datagram, without waiting; otherwise as [`peek_from`](Self::peek_from).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`peek`](Self::peek).
    pub fn try_peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_io(Interest::READABLE, |socket| self.socket.look_from(socket, buffer))
    }
}
