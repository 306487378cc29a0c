//! Receiving many datagrams by one system call, into slots of equal size side by side.
//!
//! A call asks for twice as many datagrams as the last call found, and for at least [`MIN_ASKED`]: `batch.rs` says why.

use super::batch::{check, weight};
use super::receive::{self, Datagram};
use super::socket::UdpSocket;
use crate::sys::{Headers, ReceivedDatagram};
use async_epoll::Interest;
use socket2::SockAddrStorage;
use std::future::poll_fn;
use std::io;
use std::iter::FusedIterator;
use std::net::UdpSocket as StdSocket;
use std::ops::Range;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

/// The least number of datagrams to ask for, if the batch has the capacity. Preparing so few headers costs little
/// beside the system call, and a batch of the usual size is not held back.
const MIN_ASKED: usize = 32;

/// A buffer for many datagrams, received together by [`UdpSocket::recv_batch`].
///
/// # Examples
///
/// A server that answers all queued datagrams by two system calls.
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
    /// The slots of the datagrams, side by side. Written by the kernel.
    bytes: Box<[u8]>,
    /// The size of a slot, in bytes.
    size: usize,
    /// The addresses of the senders, one per slot. Written by the kernel.
    names: Vec<SockAddrStorage>,
    /// The headers for `recvmmsg(2)`, written before each call.
    headers: Headers,
    /// The received datagrams, in the order of their slots. Replaced by each call.
    received: Vec<ReceivedDatagram>,
    /// The number of datagrams to ask for next. Set after each successful call.
    asked: usize,
}

impl RecvBatch {
    /// Allocates a batch of `capacity` slots of `size` bytes. A longer datagram will be cut, and
    /// [marked](Datagram::truncated).
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `capacity` is from 1 to [`MAX_DATAGRAMS`](crate::MAX_DATAGRAMS), and `size` from 1 to
    /// 65 535.
    pub fn new(capacity: usize, size: usize) -> io::Result<Self> {
        check(capacity, size)?;
        Ok(Self {
            bytes: vec![0; capacity * size].into(),
            size,
            names: (0..capacity).map(|_| SockAddrStorage::zeroed()).collect(),
            headers: Headers::new(capacity),
            received: Vec::with_capacity(capacity),
            asked: MIN_ASKED.min(capacity),
        })
    }

    /// Returns the number of slots.
    pub fn capacity(&self) -> usize {
        self.names.len()
    }

    /// Returns the number of received datagrams.
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Returns whether the batch has no received datagrams.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// Returns the received datagram at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let datagram = *self.received.get(index)?;
        // The address was checked when the datagram was received.
        Datagram::new(datagram, &self.bytes[index * self.size..]).ok()
    }

    /// Returns an iterator over the received datagrams, in the order of arrival.
    pub fn iter(&self) -> Datagrams<'_> {
        Datagrams { batch: self, places: 0..self.len() }
    }

    /// Receives up to `asked` datagrams by one call. Returns the number of received datagrams.
    fn receive(&mut self, socket: &StdSocket) -> io::Result<usize> {
        let names = &mut self.names[..self.asked];
        let count = self.headers.recv(socket.as_fd(), &mut self.bytes, self.size, names)?;
        self.asked = (count * 2).max(MIN_ASKED).min(self.capacity());
        for index in 0..count {
            let received = receive::check(self.headers.received(index, &mut self.names), socket);
            match received.and_then(|datagram| datagram.address().map(|_| datagram)) {
                Ok(datagram) => self.received.push(datagram),
                Err(error) => {
                    self.received.clear();
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

/// An iterator over the datagrams of a [`RecvBatch`]; from [`RecvBatch::iter`].
#[derive(Clone, Debug)]
pub struct Datagrams<'a> {
    /// The batch with the datagrams.
    batch: &'a RecvBatch,
    /// The indices of the datagrams that have not been returned.
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

impl UdpSocket {
    /// Receives queued datagrams, at least one and at most the capacity of the batch, by one `recvmmsg(2)`. Returns
    /// their number.
    ///
    /// The call discards the previous datagrams of the batch, whatever the result. It asks for twice as many datagrams
    /// as the last call with this batch found, and for at least 32. So a large batch costs nothing with little traffic,
    /// and a burst fills it after a few calls. In the budget of operations that a task has for each poll, eight
    /// requested datagrams count as one operation.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). The next operation returns an error that follows after some datagrams. If the kernel has
    /// joined some of the datagrams, all of this call are lost.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: datagrams are taken and returned in the same poll.
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv_batch(cx, batch)).await
    }

    /// Polls to receive datagrams; see [`recv_batch`](Self::recv_batch). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`recv_batch`](Self::recv_batch).
    pub fn poll_recv_batch(&self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<usize>> {
        batch.received.clear();
        self.socket.poll_read_weighted(cx, weight(batch.asked), |socket| batch.receive(socket))
    }

    /// Tries to receive datagrams, without waiting; otherwise as [`recv_batch`](Self::recv_batch).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is empty; otherwise as [`recv_batch`](Self::recv_batch).
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.received.clear();
        self.socket.try_io(Interest::READABLE, |socket| batch.receive(socket))
    }
}
