//! Receiving many datagrams by one system call, into places side by side.
//!
//! A call asks for twice as many datagrams as the last one found, and for [`FEWEST_ASKED`] at least: `batch.rs` tells why.

use super::batch::{check, weight};
use super::receive::Datagram;
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

/// Datagrams that are asked for at least, if there is room for them: so few that preparing them costs little beside the call,
/// and so many that a batch of the usual size is not held back.
const FEWEST_ASKED: usize = 32;

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
    received: Vec<ReceivedDatagram>,
    /// How many to ask for next.
    asked: usize,
}

impl RecvBatch {
    /// Room for `capacity` datagrams of `size` bytes each. Longer ones will be cut, and
    /// [marked](Datagram::truncated).
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `capacity` is from 1 to [`MAX_DATAGRAMS`](crate::MAX_DATAGRAMS), and `size` from 1 to 65 535.
    pub fn new(capacity: usize, size: usize) -> io::Result<Self> {
        check(capacity, size)?;
        Ok(Self {
            bytes: vec![0; capacity * size].into(),
            size,
            names: (0..capacity).map(|_| SockAddrStorage::zeroed()).collect(),
            headers: Headers::new(capacity),
            received: Vec::with_capacity(capacity),
            asked: FEWEST_ASKED.min(capacity),
        })
    }

    /// Datagrams that there is room for.
    pub fn capacity(&self) -> usize {
        self.names.len()
    }

    /// Datagrams that have been received.
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The datagram at this place, if there is one.
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let datagram = *self.received.get(index)?;
        Some(Datagram::new(datagram, &self.bytes[index * self.size..]))
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
            match self.headers.received(index, &mut self.names) {
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
        batch.received.clear();
        self.socket.poll_read_weighted(cx, weight(batch.asked), |socket| batch.receive(socket))
    }

    /// [`recv_batch`](Self::recv_batch) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no datagram is there; otherwise as [`recv_batch`](Self::recv_batch).
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.received.clear();
        self.socket.try_io(Interest::READABLE, |socket| batch.receive(socket))
    }
}
