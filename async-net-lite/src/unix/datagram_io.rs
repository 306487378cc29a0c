//! Sending and receiving datagrams between processes: whole, in order, and never dropped on the way.
//!
//! The queue of a receiver is short (`/proc/sys/net/unix/max_dgram_qlen`), and a send waits while the queue is full.
//! Whether epoll reports that the queue has room depends on how the datagram is addressed:
//!
//! ```text
//!   to the peer, send       ──► reported: wait for the event
//!   by address, send_to     ──► not reported: retry after a pause
//! ```

use super::address;
use super::datagram::UnixDatagram;
use super::retry::Retry;
use crate::socket::socket::{none_if_blocked, uninterrupted};
use crate::socket::stream_io::send;
use async_epoll::{Interest, Readiness};
use futures::future::{Either, select};
use socket2::{SockAddr, SockRef};
use std::future::poll_fn;
use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll};

impl UnixDatagram {
    /// Sends a datagram to the peer, and returns its length. Waits while the queue of the peer is full.
    ///
    /// # Errors
    ///
    /// - `NotConnected` without a peer. `ConnectionRefused` (later `NotConnected`) if the peer has been closed.
    /// - `EMSGSIZE` if the datagram is larger than the send buffer (about 200 KiB by default).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it completes, nothing has been sent.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, bytes)).await
    }

    /// Polls to send a datagram; see [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write_with(cx, |socket| send(socket, bytes))
    }

    /// Tries to send a datagram, without waiting; otherwise as [`send`](Self::send).
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
    ///     // The queue is full: the sender can count the lost lines instead of waiting.
    ///     assert!(queued > 0);
    ///     assert_eq!(receiver.try_recv(&mut [0; 8])?, 8);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.inner().try_io(Interest::WRITABLE, |socket| send(socket, bytes))
    }

    /// Sends a datagram to the socket at a path, and returns its length. Waits while the queue of the receiver is full.
    ///
    /// The kernel does not report when the queue has room, so the wait is up to 8 ms longer than necessary. There is no
    /// poll form, because each wait has its own timer.
    ///
    /// # Errors
    ///
    /// - `NotFound`, `ConnectionRefused`, `PermissionDenied`: as for
    ///   [`UnixStream::connect`](super::UnixStream::connect).
    /// - `InvalidInput` for a path that is empty, contains a zero byte or has more than 107 bytes.
    /// - `EMSGSIZE` if the datagram is larger than the send buffer (about 200 KiB by default).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it completes, nothing has been sent.
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
            // For the source, a full queue counts as a success, so the source does not wait for an event: see `retry`.
            let attempt = socket.write_with(|socket| none_if_blocked(send_to(socket, bytes, &address)));
            // Another task's `send` may have met a full queue; the source then waits until the peer has room. This
            // datagram goes to another queue, so do not wait longer than a pause.
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

    /// Tries to send a datagram to the socket at a path, without waiting; otherwise as [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the queue is full; otherwise as [`send_to`](Self::send_to).
    pub fn try_send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.try_send_to_addr(bytes, &address::from_path(path.as_ref())?)
    }

    /// Tries to send a datagram to the socket at an address, without waiting; otherwise as
    /// [`send_to_addr`](Self::send_to_addr).
    ///
    /// # Errors
    ///
    /// As [`try_send_to`](Self::try_send_to).
    pub fn try_send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        let address = address::to_named(address)?;
        // The source takes no part: its write readiness is about another queue.
        self.inner().check_reactor()?;
        uninterrupted(|| send_to(self.inner().get_ref(), bytes, &address))
    }

    /// Receives a datagram, from the peer if there is one, otherwise from any socket. Returns its length.
    ///
    /// The part of a datagram that does not fit into the buffer is lost ([`recv_message`](Self::recv_message) reports
    /// this). The kernel closes descriptors that came with the datagram.
    ///
    /// # Errors
    ///
    /// The errors of `recv(2)`, and `NotConnected` if the reactor has been dropped. After `shutdown(Read)`, a receive
    /// returns 0 bytes.
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
    ///     assert_eq!(right.recv(&mut buffer).await?, 0, "an empty datagram");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, buffer)).await
    }

    /// Polls to receive a datagram; see [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_read_with(cx, |socket| socket.recv(buffer))
    }

    /// Tries to receive a datagram, without waiting; otherwise as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no datagram; otherwise as [`recv`](Self::recv).
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner().try_io(Interest::READABLE, |socket| socket.recv(buffer))
    }

    /// Receives a datagram as [`recv`](Self::recv) does. Returns its length and the address of its sender.
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

    /// Polls to receive a datagram; see [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_from(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.inner().poll_read_with(cx, |socket| socket.recv_from(buffer))
    }

    /// Tries to receive a datagram, without waiting; otherwise as [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no datagram; otherwise as [`recv`](Self::recv).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner().try_io(Interest::READABLE, |socket| socket.recv_from(buffer))
    }

    /// Waits until there is a datagram or an error. Returns the readiness that the kernel has reported.
    ///
    /// The socket stays readable until an operation of this type meets `WouldBlock`. For a system call of your own that is
    /// [`read_with`](Self::read_with) or [`try_io`](Self::try_io); a `WouldBlock` of a call on the bare descriptor goes unnoticed, and a
    /// loop around this method spins, unless you call [`clear_ready`](Self::clear_ready) after it.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn readable(&self) -> io::Result<Readiness> {
        self.inner().readable().await
    }

    /// Waits until [`send`](Self::send) is likely to succeed or to return an error. Returns the readiness that the
    /// kernel has reported, which says nothing about other addresses than the peer's.
    ///
    /// The socket stays writable until an operation of this type meets `WouldBlock`. For a system call of your own that is
    /// [`write_with`](Self::write_with) or [`try_io`](Self::try_io); a `WouldBlock` of a call on the bare descriptor goes unnoticed, and a
    /// loop around this method spins, unless you call [`clear_ready`](Self::clear_ready) after it. The full
    /// queue of another address is reported by no event: there, retry after a pause.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn writable(&self) -> io::Result<Readiness> {
        self.inner().writable().await
    }

    /// Polls for read readiness; see [`readable`](Self::readable). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.inner().poll_readable(cx)
    }

    /// Polls for write readiness; see [`writable`](Self::writable). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`writable`](Self::writable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.inner().poll_writable(cx)
    }
}

/// Sends a datagram to `address`, by `sendto(MSG_NOSIGNAL)`.
fn send_to(socket: &net::UnixDatagram, bytes: &[u8], address: &SockAddr) -> io::Result<usize> {
    SockRef::from(socket).send_to_with_flags(bytes, address, libc::MSG_NOSIGNAL)
}
