//! Sending many datagrams by one system call, from a queue in which they are packed.

use super::batch::{check, weight};
use super::socket::UdpSocket;
use crate::sys::Headers;
use async_epoll::Interest;
use socket2::SockAddr;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::os::fd::AsFd;
use std::task::{Context, Poll};

/// Datagrams that will be sent together, by [`UdpSocket::send_batch`].
///
/// They are copied into it, so that nothing has to be kept alive for it.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{SendBatch, UdpSocket};
///
/// async_epoll::block_on(async {
///     let (socket, peer) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
///     socket.connect(peer.local_addr()?).await?;
///     let mut batch = SendBatch::new(32, 512)?;
///     batch.push(b"one")?;
///     batch.push(b"two")?;
///     while !batch.is_empty() {
///         socket.send_batch(&mut batch).await?;
///     }
///     assert_eq!(peer.recv(&mut [0; 512]).await?, 3);
///     assert_eq!(peer.recv(&mut [0; 512]).await?, 3);
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Debug)]
pub struct SendBatch {
    /// The datagrams, one after the other.
    bytes: Vec<u8>,
    /// Bytes that one may have.
    size: usize,
    /// Their lengths, and where they go.
    queued: Vec<QueuedDatagram>,
    /// Datagrams that there is room for: what `queued` was made for, which may have more.
    capacity: usize,
    /// What the kernel is given.
    headers: Headers,
}

/// One datagram of a [`SendBatch`].
#[derive(Debug)]
struct QueuedDatagram {
    length: usize,
    /// `None` for the peer of a connected socket.
    address: Option<SockAddr>,
}

impl SendBatch {
    /// Room for `capacity` datagrams of at most `size` bytes each.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `capacity` is from 1 to [`MAX_DATAGRAMS`](crate::MAX_DATAGRAMS), and `size` from 1 to 65 535.
    pub fn new(capacity: usize, size: usize) -> io::Result<Self> {
        check(capacity, size)?;
        Ok(Self {
            bytes: Vec::with_capacity(capacity * size),
            size,
            queued: Vec::with_capacity(capacity),
            capacity,
            headers: Headers::new(capacity),
        })
    }

    /// Adds a datagram for the peer of a [connected](UdpSocket::connect) socket. It may be empty.
    ///
    /// # Errors
    ///
    /// `StorageFull` if the batch has as many datagrams as there is room for, `InvalidInput` if this one is too long for
    /// it. The batch is as before.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.add(bytes, None)
    }

    /// Adds a datagram for this address. It may be empty.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_to(&mut self, bytes: &[u8], address: SocketAddr) -> io::Result<()> {
        self.add(bytes, Some(address))
    }

    /// Adds a datagram, if there is room.
    fn add(&mut self, bytes: &[u8], address: Option<SocketAddr>) -> io::Result<()> {
        let (length, size, capacity) = (bytes.len(), self.size, self.capacity);
        if self.is_full() {
            let message = format!("the batch is full, with {capacity} datagrams: send it first");
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        if length > size {
            let message = format!("a datagram of {length} bytes, in a batch for datagrams of {size} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.bytes.extend_from_slice(bytes);
        self.queued.push(QueuedDatagram { length, address: address.map(SockAddr::from) });
        Ok(())
    }

    /// Datagrams that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Datagrams that have not been sent yet.
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Whether there is no room for another.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity
    }

    /// Takes all datagrams out, unsent.
    pub fn clear(&mut self) {
        self.remove(self.len());
    }

    /// Takes the first datagram out, unsent: the one that an error of [`send_batch`](UdpSocket::send_batch) is about.
    /// `false` if there is none.
    pub fn skip(&mut self) -> bool {
        let any = !self.is_empty();
        self.remove(usize::from(any));
        any
    }

    /// Takes the first `count` datagrams out. What remains moves to the front; usually nothing does.
    fn remove(&mut self, count: usize) {
        let length: usize = self.queued.drain(..count).map(|datagram| datagram.length).sum();
        self.bytes.drain(..length);
    }

    /// Sends as many as the kernel takes, in one go, and takes these out.
    fn send(&mut self, socket: &StdSocket) -> io::Result<usize> {
        let mut rest = &self.bytes[..];
        let datagrams = self.queued.iter().map(|datagram| {
            let (bytes, behind) = rest.split_at(datagram.length);
            rest = behind;
            (bytes, datagram.address.as_ref())
        });
        let count = self.headers.send(socket.as_fd(), datagrams)?;
        self.remove(count);
        Ok(count)
    }
}

impl UdpSocket {
    /// Sends datagrams of the batch, from the first one on, by one `sendmmsg(2)`. Returns how many were sent: at least one,
    /// unless the batch is empty.
    ///
    /// Those that were sent are no longer in the batch; those for which the kernel had no room are, and so are those from the
    /// first one on that met an error. So this wants to be called until the batch is empty. Those with an address go there;
    /// the others go to the peer of a connected socket. In the budget of operations that a task has for each poll, eight
    /// datagrams count as one.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and only if none was sent: the error is about the first datagram, and all are still there.
    /// Where it does not help to try that one again (`EMSGSIZE`, say), [`skip`](SendBatch::skip) it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: datagrams are sent and taken out in the same poll.
    pub async fn send_batch(&self, batch: &mut SendBatch) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_batch(cx, batch)).await
    }

    /// The poll form of [`send_batch`](Self::send_batch). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`send_batch`](Self::send_batch).
    pub fn poll_send_batch(&self, cx: &mut Context<'_>, batch: &mut SendBatch) -> Poll<io::Result<usize>> {
        if batch.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.socket.poll_write_weighted(cx, weight(batch.len()), |socket| batch.send(socket))
    }

    /// [`send_batch`](Self::send_batch) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the kernel has no room for the first one; otherwise as [`send_batch`](Self::send_batch).
    pub fn try_send_batch(&self, batch: &mut SendBatch) -> io::Result<usize> {
        if batch.is_empty() {
            return Ok(0);
        }
        self.socket.try_io(Interest::WRITABLE, |socket| batch.send(socket))
    }
}
