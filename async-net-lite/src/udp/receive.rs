//! Receiving one datagram.
//!
//! Two points differ from streams. `Ok(0)` is an empty datagram, not an end of file. An empty buffer still takes a
//! datagram from the queue, and cuts all of its bytes off.

use super::socket::UdpSocket;
use crate::sys;
use async_epoll::Interest;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
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
    pub(super) fn new(received: sys::ReceivedDatagram, buffer: &'a [u8]) -> Self {
        Self { bytes: &buffer[..received.length], address: received.address, truncated: received.truncated }
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
    /// dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a datagram is taken and returned in the same poll.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read_with(|socket| socket.recv(buffer)).await
    }

    /// Polls to receive a datagram; see [`recv`](Self::recv). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_read_with(cx, |socket| socket.recv(buffer))
    }

    /// Tries to receive a datagram, without waiting; otherwise as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`recv`](Self::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| socket.recv(buffer))
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
        self.socket.read_with(|socket| socket.recv_from(buffer)).await
    }

    /// Polls to receive a datagram; see [`recv_from`](Self::recv_from). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.socket.poll_read_with(cx, |socket| socket.recv_from(buffer))
    }

    /// Tries to receive a datagram, without waiting; otherwise as [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`recv`](Self::recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_io(Interest::READABLE, |socket| socket.recv_from(buffer))
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
        Ok(Datagram::new(received, buffer))
    }

    /// Polls to receive a datagram; see [`recv_datagram`](Self::recv_datagram). Any number of tasks may wait: all are
    /// woken.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_datagram<'a>(&self, cx: &mut Context<'_>, buffer: &'a mut [u8]) -> Poll<io::Result<Datagram<'a>>> {
        let received = ready!(self.poll_received(cx, buffer))?;
        Poll::Ready(Ok(Datagram::new(received, buffer)))
    }

    /// Tries to receive a datagram, without waiting; otherwise as [`recv_datagram`](Self::recv_datagram).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`recv`](Self::recv).
    pub fn try_recv_datagram<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Datagram<'a>> {
        let received = self.socket.try_io(Interest::READABLE, |socket| sys::recv_datagram(socket, buffer))?;
        Ok(Datagram::new(received, buffer))
    }

    /// Receives a datagram into `buffer`, by `recvmsg(2)`.
    fn poll_received(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<sys::ReceivedDatagram>> {
        self.socket.poll_read_with(cx, |socket| sys::recv_datagram(socket, buffer))
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
        self.socket.read_with(|socket| socket.peek(buffer)).await
    }

    /// Polls to peek at a datagram; see [`peek`](Self::peek). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_read_with(cx, |socket| socket.peek(buffer))
    }

    /// Tries to peek at a datagram, without waiting; otherwise as [`peek`](Self::peek).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`peek`](Self::peek).
    pub fn try_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| socket.peek(buffer))
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
        self.socket.read_with(|socket| socket.peek_from(buffer)).await
    }

    /// Polls to peek at a datagram; see [`peek_from`](Self::peek_from). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn poll_peek_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.socket.poll_read_with(cx, |socket| socket.peek_from(buffer))
    }

    /// Tries to peek at a datagram, without waiting; otherwise as [`peek_from`](Self::peek_from).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`peek`](Self::peek).
    pub fn try_peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_io(Interest::READABLE, |socket| socket.peek_from(buffer))
    }
}
