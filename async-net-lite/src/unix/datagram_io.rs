//! Sending and receiving messages between processes: whole, in order, and never dropped on the way.
//!
//! A receiver's queue is short (`/proc/sys/net/unix/max_dgram_qlen`), and a sender has to wait while it is full. Whether
//! the kernel says when there is room depends on how the datagram was addressed:
//!
//! ```text
//!   connected, send        ──► it does: wait for an event
//!   by address, send_to    ──► it does not: try again after a while
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
}

/// `sendto(MSG_NOSIGNAL)`.
fn send_to(socket: &net::UnixDatagram, bytes: &[u8], address: &SockAddr) -> io::Result<usize> {
    SockRef::from(socket).send_to_with_flags(bytes, address, libc::MSG_NOSIGNAL)
}
