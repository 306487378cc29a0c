//! Many datagrams by one system call.
//!
//! A small datagram costs more for the way into the kernel and back than for itself. `recvmmsg(2)` and `sendmmsg(2)` take
//! many at a time. What they work on belongs to a *batch*, which is made once and used again and again:
//!
//! ```text
//!                 one allocation, `capacity` × `size` bytes
//!   RecvBatch     │ datagram │ datagram │ datagram │ … free … │     each at its place, filled from the front by each call
//!   SendBatch     │datagram│datagram│datagram│ … free …       │     packed; those that went leave at the front
//! ```
//!
//! Both are bounded in both dimensions, and never grow. The pointers that the kernel is given are in [`sys`](crate::sys),
//! and are written for each call, which takes a few nanoseconds for each place. Most of the places would be prepared in vain
//! where little comes, so a call asks for twice as many datagrams as the last one found, and not for all that have room.

use super::{Datagram, UdpSocket};
use crate::sys::{Arrival, Headers};
use async_epoll::Interest;
use socket2::{SockAddr, SockAddrStorage};
use std::future::poll_fn;
use std::io;
use std::iter::FusedIterator;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::ops::Range;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

/// Datagrams that a batch has room for at most: what one system call takes (`UIO_MAXIOV`).
pub const MOST_DATAGRAMS: usize = 1024;
/// Bytes that a place of a batch has at most. No datagram is longer.
const MOST_BYTES: usize = 65_535;
/// Datagrams that are asked for at least, if there is room for them: so few that preparing them costs little beside the call,
/// and so many that a batch of the usual size is not held back.
const FEWEST_ASKED: usize = 32;
/// Datagrams of a batch that count as one operation, in the [budget](async_epoll::OPERATIONS_PER_POLL) of a task. One of
/// a batch costs less than one by itself, but it does cost something: so a task moves about 256 of them in one poll, or one
/// batch.
const DATAGRAMS_PER_OPERATION: usize = 8;

/// What so many datagrams count as.
fn weight(datagrams: usize) -> u32 {
    u32::try_from(datagrams.div_ceil(DATAGRAMS_PER_OPERATION)).unwrap_or(u32::MAX)
}

/// Checks the dimensions of a batch.
fn check(capacity: usize, size: usize) -> io::Result<()> {
    let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if !(1..=MOST_DATAGRAMS).contains(&capacity) {
        return invalid(format!("a batch has room for 1 to {MOST_DATAGRAMS} datagrams, not for {capacity}"));
    }
    if !(1..=MOST_BYTES).contains(&size) {
        return invalid(format!("a datagram of a batch has room for 1 to {MOST_BYTES} bytes, not for {size}"));
    }
    Ok(())
}

/// Room for datagrams that will be received together, by [`UdpSocket::recv_batch`].
///
/// # Examples
///
/// A server that answers whatever has come, by two system calls.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{RecvBatch, SendBatch, UdpSocket};
///
/// async_epoll::block_on(async {
///     let (server, client) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
///     for text in ["one", "two", "three"] {
///         client.send_to(text.as_bytes(), server.local_addr()?).await?;
///     }
///
///     let (mut questions, mut answers) = (RecvBatch::new(32, 512)?, SendBatch::new(32, 512)?);
///     server.recv_batch(&mut questions).await?;
///     for question in &questions {
///         answers.push_to(question.bytes, question.address)?;
///     }
///     while !answers.is_empty() {
///         server.send_batch(&mut answers).await?;
///     }
///     assert_eq!(client.recv(&mut [0; 512]).await?, 3);
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Debug)]
pub struct RecvBatch {
    /// The places of the datagrams, side by side.
    bytes: Box<[u8]>,
    /// Bytes of a place.
    size: usize,
    /// Where the kernel writes the addresses of the senders.
    names: Vec<SockAddrStorage>,
    /// What the kernel is given.
    headers: Headers,
    /// What has been received, in the order of the places.
    arrivals: Vec<Arrival>,
    /// How many to ask for next.
    asked: usize,
}

impl RecvBatch {
    /// Room for `capacity` datagrams of `size` bytes each. Longer ones will be cut, and
    /// [marked](Datagram::truncated).
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `capacity` is from 1 to [`MOST_DATAGRAMS`], and `size` from 1 to 65 535.
    pub fn new(capacity: usize, size: usize) -> io::Result<Self> {
        check(capacity, size)?;
        Ok(Self {
            bytes: vec![0; capacity * size].into(),
            size,
            names: (0..capacity).map(|_| SockAddrStorage::zeroed()).collect(),
            headers: Headers::new(capacity),
            arrivals: Vec::with_capacity(capacity),
            asked: FEWEST_ASKED.min(capacity),
        })
    }

    /// Datagrams that there is room for.
    pub fn capacity(&self) -> usize {
        self.names.len()
    }

    /// Datagrams that have been received.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// The datagram at this place, if there is one.
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let arrival = *self.arrivals.get(index)?;
        Some(Datagram::new(arrival, &self.bytes[index * self.size..]))
    }

    /// The datagrams, in the order in which they came.
    pub fn iter(&self) -> Datagrams<'_> {
        Datagrams { batch: self, places: 0..self.len() }
    }

    /// Receives what is there, in one go.
    fn receive(&mut self, socket: &StdSocket) -> io::Result<usize> {
        let names = &mut self.names[..self.asked];
        let count = self.headers.recv(socket.as_fd(), &mut self.bytes, self.size, names)?;
        self.asked = (count * 2).max(FEWEST_ASKED).min(self.capacity());
        for index in 0..count {
            match self.headers.arrival(index, &mut self.names) {
                Ok(arrival) => self.arrivals.push(arrival),
                Err(error) => {
                    self.arrivals.clear();
                    return Err(error);
                }
            }
        }
        Ok(count)
    }
}

impl<'a> IntoIterator for &'a RecvBatch {
    type Item = Datagram<'a>;
    type IntoIter = Datagrams<'a>;

    fn into_iter(self) -> Datagrams<'a> {
        self.iter()
    }
}

/// The datagrams of a [`RecvBatch`]; from [`RecvBatch::iter`].
#[derive(Clone, Debug)]
pub struct Datagrams<'a> {
    batch: &'a RecvBatch,
    /// Those still to come.
    places: Range<usize>,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Datagram<'a>;

    fn next(&mut self) -> Option<Datagram<'a>> {
        self.batch.get(self.places.next()?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl ExactSizeIterator for Datagrams<'_> {}
impl FusedIterator for Datagrams<'_> {}

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
    departures: Vec<Departure>,
    /// Datagrams that there is room for: what `departures` was made for, which may have more.
    capacity: usize,
    /// What the kernel is given.
    headers: Headers,
}

/// One datagram of a [`SendBatch`].
#[derive(Debug)]
struct Departure {
    length: usize,
    /// `None` for the peer of a connected socket.
    address: Option<SockAddr>,
}

impl SendBatch {
    /// Room for `capacity` datagrams of at most `size` bytes each.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `capacity` is from 1 to [`MOST_DATAGRAMS`], and `size` from 1 to 65 535.
    pub fn new(capacity: usize, size: usize) -> io::Result<Self> {
        check(capacity, size)?;
        Ok(Self {
            bytes: Vec::with_capacity(capacity * size),
            size,
            departures: Vec::with_capacity(capacity),
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
        self.departures.push(Departure { length, address: address.map(SockAddr::from) });
        Ok(())
    }

    /// Datagrams that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Datagrams that have not been sent yet.
    pub fn len(&self) -> usize {
        self.departures.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.departures.is_empty()
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
        let length: usize = self.departures.drain(..count).map(|departure| departure.length).sum();
        self.bytes.drain(..length);
    }

    /// Sends as many as the kernel takes, in one go, and takes these out.
    fn send(&mut self, socket: &StdSocket) -> io::Result<usize> {
        let mut rest = &self.bytes[..];
        let datagrams = self.departures.iter().map(|departure| {
            let (bytes, behind) = rest.split_at(departure.length);
            rest = behind;
            (bytes, departure.address.as_ref())
        });
        let count = self.headers.send(socket.as_fd(), datagrams)?;
        self.remove(count);
        Ok(count)
    }
}

impl UdpSocket {
    /// Receives datagrams that are there, at least one and at most as many as the batch has room for, by one `recvmmsg(2)`.
    /// Returns how many.
    ///
    /// What was in the batch is gone, whatever happens. A call asks for twice as many datagrams as the last one with this
    /// batch found, and for 32 at least. So a large batch costs nothing while little comes, and a burst fills it after
    /// a few calls. In the budget of operations that a task has for each poll, eight that are asked for count as one.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). An error that comes after some datagrams is returned by the next operation.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: datagrams are taken and returned in the same poll.
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv_batch(cx, batch)).await
    }

    /// The poll form of [`recv_batch`](Self::recv_batch). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`recv_batch`](Self::recv_batch).
    pub fn poll_recv_batch(&self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<usize>> {
        batch.arrivals.clear();
        self.socket.poll_read_weighted(cx, weight(batch.asked), |socket| batch.receive(socket))
    }

    /// [`recv_batch`](Self::recv_batch) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no datagram is there; otherwise as [`recv_batch`](Self::recv_batch).
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.arrivals.clear();
        self.socket.try_io(Interest::READABLE, |socket| batch.receive(socket))
    }

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
