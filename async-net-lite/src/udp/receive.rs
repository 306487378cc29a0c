//! Receiving one datagram.
//!
//! An empty datagram is one like any other: `Ok(0)` is no end of anything. And an empty buffer does not mean that nothing
//! is wanted, as it does with streams: the datagram is taken, and all of it is cut off.

use super::socket::UdpSocket;
use crate::sys;
use async_epoll::Interest;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

/// A datagram that has been received: from [`UdpSocket::recv_datagram`], or one of a [`RecvBatch`](crate::RecvBatch).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// What it says. May be empty.
    pub bytes: &'a [u8],
    /// Who has sent it.
    pub address: SocketAddr,
    /// It was longer than the buffer; the rest is lost.
    pub truncated: bool,
}

impl<'a> Datagram<'a> {
    /// What the kernel tells of it, and where it has put it.
    pub(super) fn new(received: sys::ReceivedDatagram, buffer: &'a [u8]) -> Self {
        Self { bytes: &buffer[..received.length], address: received.address, truncated: received.truncated }
    }
}

impl UdpSocket {
    /// Receives a datagram, and returns its length. One that is longer than the buffer is cut without a word, as by
    /// std; [`recv_datagram`](Self::recv_datagram) tells.
    ///
    /// # Errors
    ///
    /// [Those of a peer](Self#errors-of-a-peer), and others of `recv(2)`; `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a datagram is taken and returned in the same poll.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read_with(|socket| socket.recv(buffer)).await
    }

    /// The poll form of [`recv`](Self::recv). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_read_with(cx, |socket| socket.recv(buffer))
    }

    /// [`recv`](Self::recv) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no datagram is there; otherwise as [`recv`](Self::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| socket.recv(buffer))
    }

    /// Receives a datagram, and returns its length and who has sent it; otherwise as [`recv`](Self::recv).
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

    /// The poll form of [`recv_from`](Self::recv_from). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.socket.poll_read_with(cx, |socket| socket.recv_from(buffer))
    }

    /// [`recv_from`](Self::recv_from) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no datagram is there; otherwise as [`recv`](Self::recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_io(Interest::READABLE, |socket| socket.recv_from(buffer))
    }

    /// Receives a datagram, and tells who has sent it and whether the buffer was too small for it (`MSG_TRUNC`).
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

    /// The poll form of [`recv_datagram`](Self::recv_datagram). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_datagram<'a>(&self, cx: &mut Context<'_>, buffer: &'a mut [u8]) -> Poll<io::Result<Datagram<'a>>> {
        let received = ready!(self.poll_received(cx, buffer))?;
        Poll::Ready(Ok(Datagram::new(received, buffer)))
    }

    /// [`recv_datagram`](Self::recv_datagram) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no datagram is there; otherwise as [`recv`](Self::recv).
    pub fn try_recv_datagram<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Datagram<'a>> {
        let received = self.socket.try_io(Interest::READABLE, |socket| sys::recv_datagram(socket, buffer))?;
        Ok(Datagram::new(received, buffer))
    }

    /// Receives a datagram into `buffer`.
    fn poll_received(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<sys::ReceivedDatagram>> {
        self.socket.poll_read_with(cx, |socket| sys::recv_datagram(socket, buffer))
    }

    /// Copies the next datagram, as much of it as fits, and leaves it in the queue. Returns how many bytes were copied.
    ///
    /// Another task may take it before this one does.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). An error of a peer is collected, not left.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is taken.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read_with(|socket| socket.peek(buffer)).await
    }

    /// The poll form of [`peek`](Self::peek). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_read_with(cx, |socket| socket.peek(buffer))
    }

    /// [`peek`](Self::peek) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no datagram is there; otherwise as [`peek`](Self::peek).
    pub fn try_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| socket.peek(buffer))
    }

    /// As [`peek`](Self::peek), with the address of the sender.
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
    ///     // Who is it, before a buffer is made?
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

    /// The poll form of [`peek_from`](Self::peek_from). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn poll_peek_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.socket.poll_read_with(cx, |socket| socket.peek_from(buffer))
    }

    /// [`peek_from`](Self::peek_from) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no datagram is there; otherwise as [`peek`](Self::peek).
    pub fn try_peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_io(Interest::READABLE, |socket| socket.peek_from(buffer))
    }
}
