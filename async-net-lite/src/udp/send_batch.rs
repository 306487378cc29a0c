//! Sending many datagrams by one system call, from a buffer in which the datagrams are packed.

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

/// A buffer of many datagrams, sent together by [`UdpSocket::send_batch`].
///
/// The batch has copies of the datagrams, so the caller need not keep the originals.
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
    /// The payloads of the queued datagrams, one after the other.
    bytes: Vec<u8>,
    /// The maximum length of a datagram, in bytes.
    size: usize,
    /// The lengths and addresses of the queued datagrams.
    queued: Vec<QueuedDatagram>,
    /// The maximum number of datagrams, as asked for. The capacity of `queued` may be larger.
    capacity: usize,
    /// The headers for `sendmmsg(2)`, written before each call.
    headers: Headers,
}

/// A queued datagram of a [`SendBatch`].
#[derive(Debug)]
struct QueuedDatagram {
    /// The length of the payload, in bytes.
    length: usize,
    /// The address to send to; `None` for the peer of a connected socket.
    address: Option<SockAddr>,
}

impl SendBatch {
    /// Allocates a batch for `capacity` datagrams of at most `size` bytes each.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `capacity` is from 1 to [`MAX_DATAGRAMS`](crate::MAX_DATAGRAMS), and `size` from 1 to
    /// 65 535.
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

    /// Adds a datagram for the peer of a [connected](UdpSocket::connect) socket. The datagram may be empty.
    ///
    /// # Errors
    ///
    /// `StorageFull` if the batch is [full](Self::is_full), `InvalidInput` if the datagram is longer than the batch
    /// allows. The batch is unchanged then.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.add(bytes, None)
    }

    /// Adds a datagram for `address`. The datagram may be empty.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_to(&mut self, bytes: &[u8], address: SocketAddr) -> io::Result<()> {
        self.add(bytes, Some(address))
    }

    /// Adds a datagram, unless the batch is full or the datagram too long.
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

    /// Returns the maximum number of datagrams.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of queued datagrams, which have not been sent.
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    /// Returns whether the batch has no queued datagrams.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Returns whether the batch has as many datagrams as its capacity.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity
    }

    /// Removes all datagrams, unsent.
    pub fn clear(&mut self) {
        self.remove(self.len());
    }

    /// Removes the first datagram, unsent. An error of [`send_batch`](UdpSocket::send_batch) is about this datagram.
    /// Returns `false` if the batch was empty.
    pub fn skip(&mut self) -> bool {
        let any = !self.is_empty();
        self.remove(usize::from(any));
        any
    }

    /// Removes the first `count` datagrams. The rest moves to the front; usually there is none.
    fn remove(&mut self, count: usize) {
        let length: usize = self.queued.drain(..count).map(|datagram| datagram.length).sum();
        self.bytes.drain(..length);
    }

    /// Sends as many datagrams as the kernel accepts, by one call, and removes these. Returns their number.
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
    /// Sends datagrams from the front of the batch, by one `sendmmsg(2)`. Returns the number of sent datagrams: at
    /// least 1, unless the batch is empty.
    ///
    /// A sent datagram leaves the batch. If the send buffer fills up or a datagram meets an error, this datagram and
    /// all after it stay. So call this until the batch is empty. A datagram without an address goes to the peer of a
    /// connected socket. In the budget of operations that a task has for each poll, eight datagrams count as one
    /// operation.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and only if no datagram was sent: the error is about the first datagram, and all are
    /// still in the batch. If a retry cannot help (`EMSGSIZE`, for example), [`skip`](SendBatch::skip) the datagram.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: datagrams are sent and removed in the same poll.
    pub async fn send_batch(&self, batch: &mut SendBatch) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_batch(cx, batch)).await
    }

    /// Polls to send datagrams; see [`send_batch`](Self::send_batch). Any number of tasks may wait: all are woken.
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

    /// Tries to send datagrams, without waiting; otherwise as [`send_batch`](Self::send_batch).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the send buffer is full; otherwise as [`send_batch`](Self::send_batch).
    pub fn try_send_batch(&self, batch: &mut SendBatch) -> io::Result<usize> {
        if batch.is_empty() {
            return Ok(0);
        }
        self.socket.try_io(Interest::WRITABLE, |socket| batch.send(socket))
    }
}
