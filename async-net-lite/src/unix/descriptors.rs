//! Sending and receiving descriptors by streams and datagram sockets, with the control messages of `fds.rs`.
//!
//! A stream and a datagram differ in one point. On a stream, descriptors need at least one byte to accompany; a
//! datagram may be empty. [`UnixDatagram::recv_message`] also returns the sender, and whether the datagram was cut.

use super::address;
use super::datagram::UnixDatagram;
use super::fds::{self, Rights};
use super::stream::UnixStream;
use crate::socket::slices;
use crate::socket::socket::Socket;
use crate::sys::{self, ReceivedMessage};
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{self, SocketAddr};
use std::task::{Context, Poll, ready};

/// Receives bytes into `buffer`, and at most `max_fds` descriptors. Returns the number of bytes, and the descriptors.
fn poll_receive<T: AsFd>(
    socket: &Socket<T>,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
    max_fds: usize,
) -> Poll<io::Result<(usize, Vec<OwnedFd>)>> {
    let received = socket.poll_read_with(cx, |socket| fds::receive(socket.as_fd(), buffer, max_fds));
    received.map_ok(|ReceivedMessage { length, fds, .. }| (length, fds))
}

impl UnixStream {
    /// Sends bytes with descriptors, by one `sendmsg(2)`. Returns the number of sent bytes, at least one.
    ///
    /// The first byte carries all the descriptors. Send the rest of the bytes, if any, by a plain write.
    ///
    /// The receiver gets new descriptors of the same open files, so the sender may close its own at once. The
    /// non-blocking mode belongs to the open file, and is shared.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for more than 253 descriptors, or for descriptors without a byte to carry them.
    /// - `BrokenPipe` and others, as for a write.
    /// - `ETOOMANYREFS` if the user has more descriptors in flight than a process may have open.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: bytes are sent and counted in the same poll. If the future is dropped before, nothing has been
    /// sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixStream;
    /// use std::fs::File;
    /// use std::io::Read;
    /// use std::os::fd::AsFd;
    ///
    /// async_epoll::block_on(async {
    ///     let (server, client) = UnixStream::pair()?;
    ///     let file = File::open("Cargo.toml")?;
    ///     server.send_with_fds(b"manifest", &[file.as_fd()]).await?;
    ///
    ///     let mut buffer = [0; 16];
    ///     let (length, mut fds) = client.recv_with_fds(&mut buffer, 1).await?;
    ///     assert_eq!(&buffer[..length], b"manifest");
    ///     let mut text = String::new();
    ///     File::from(fds.remove(0)).read_to_string(&mut text)?;
    ///     assert!(text.contains("async-net-lite"));
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn send_with_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_with_fds(cx, &[IoSlice::new(bytes)], fds)).await
    }

    /// Polls to send bytes with descriptors; see [`send_with_fds`](Self::send_with_fds). Takes the bytes from several
    /// slices: the first 1024.
    ///
    /// # Errors
    ///
    /// As [`send_with_fds`](Self::send_with_fds).
    pub fn poll_send_with_fds(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        let (slices, length) = slices::drain(slices);
        if length == 0 {
            let message = "descriptors on a stream need at least one byte to go with";
            let no_carrier = || Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            return Poll::Ready(if fds.is_empty() { Ok(0) } else { no_carrier() });
        }
        let rights = Rights::new(fds)?;
        self.socket.poll_write_with(cx, |stream| rights.send(stream, slices))
    }

    /// Receives bytes and the descriptors that came with them. Returns the number of bytes, and the descriptors.
    ///
    /// At most `max_fds` descriptors are received, and never more than 253. They are close-on-exec. 0 bytes mean the
    /// end of the stream, or an empty buffer.
    ///
    /// Descriptors arrive with the first byte of their message. Plain bytes sent before the message may arrive in the
    /// same call, but bytes sent after it never do. If the message is larger than the buffer, its first part brings the
    /// descriptors.
    ///
    /// A received descriptor may be of any kind. Check that it is a socket, a regular file, … before use, and remember
    /// that the peer has the open file, too.
    ///
    /// # Errors
    ///
    /// - `InvalidData` if the message had more descriptors than `max_fds`, or this process can open no more. All of
    ///   these descriptors are closed. The bytes are in the buffer, and [`FdsLost`](super::FdsLost) inside the error
    ///   has the number of bytes.
    /// - The errors of a read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: bytes and descriptors are received and returned in the same poll.
    ///
    /// # Examples
    ///
    /// A server passes a connection to a worker.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixStream;
    /// use futures::{AsyncReadExt, AsyncWriteExt};
    /// use std::os::fd::AsFd;
    ///
    /// async_epoll::block_on(async {
    ///     let (server, worker) = UnixStream::pair()?;
    ///     let (mut client, connection) = UnixStream::pair()?;
    ///     server.send_with_fds(b"c", &[connection.as_fd()]).await?;
    ///     drop(connection);
    ///
    ///     let (_, mut fds) = worker.recv_with_fds(&mut [0], 1).await?;
    ///     let mut connection = UnixStream::try_from(fds.remove(0))?;
    ///     connection.write_all(b"served").await?;
    ///     client.read_exact(&mut [0; 6]).await?;
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn recv_with_fds(&self, buffer: &mut [u8], max_fds: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        poll_fn(|cx| self.poll_recv_with_fds(cx, buffer, max_fds)).await
    }

    /// Polls to receive bytes with descriptors; see [`recv_with_fds`](Self::recv_with_fds).
    ///
    /// # Errors
    ///
    /// As [`recv_with_fds`](Self::recv_with_fds).
    pub fn poll_recv_with_fds(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        max_fds: usize,
    ) -> Poll<io::Result<(usize, Vec<OwnedFd>)>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok((0, Vec::new())));
        }
        poll_receive(&self.socket, cx, buffer, max_fds)
    }
}

/// A datagram, with its sender and descriptors; from [`UnixDatagram::recv_message`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Message {
    /// The number of bytes in the buffer.
    pub length: usize,
    /// Whether the datagram was longer than the buffer. The rest is lost.
    pub truncated: bool,
    /// The address of the sender. Unnamed if the sender is not bound, or to a path of 108 bytes, which std cannot
    /// express.
    pub sender: SocketAddr,
    /// The received descriptors, which are close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Whether the datagram had more descriptors than asked for, or this process can open no more. All descriptors of
    /// the datagram are closed then, and `fds` is empty.
    pub fds_lost: bool,
}

impl UnixDatagram {
    /// Receives a datagram, with its sender and at most `max_fds` descriptors. The result says whether the datagram was
    /// cut.
    ///
    /// Nothing that a sender does is an error here, so a sender cannot end a server's loop: too many descriptors are
    /// closed, and [`Message::fds_lost`] is set.
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
    /// use async_net_lite::unix::UnixDatagram;
    ///
    /// async_epoll::block_on(async {
    ///     let (left, right) = UnixDatagram::pair()?;
    ///     left.send(b"longer than expected").await?;
    ///     let mut buffer = [0; 6];
    ///     let message = right.recv_message(&mut buffer, 0).await?;
    ///     assert!(message.truncated);
    ///     assert_eq!(&buffer[..message.length], b"longer");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn recv_message(&self, buffer: &mut [u8], max_fds: usize) -> io::Result<Message> {
        poll_fn(|cx| self.poll_recv_message(cx, buffer, max_fds)).await
    }

    /// Polls to receive a datagram; see [`recv_message`](Self::recv_message).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_message(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        max_fds: usize,
    ) -> Poll<io::Result<Message>> {
        let receive =
            |socket: &net::UnixDatagram| sys::receive_message(socket.as_fd(), &mut [IoSliceMut::new(buffer)], max_fds);
        let mut received = ready!(self.inner().poll_read_with(cx, receive))?;
        let fds_lost = fds::is_too_much(&received, max_fds);
        if fds_lost {
            received.fds.clear();
        }
        let ReceivedMessage { length, truncated, fds, sender, .. } = received;
        let sender = address::from_sun_path(sender.as_bytes())?;
        Poll::Ready(Ok(Message { length, truncated, sender, fds, fds_lost }))
    }

    /// Sends a datagram with descriptors to the peer, and returns its length. The datagram may be empty.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); `InvalidInput` for more than 253 descriptors, and `ETOOMANYREFS` if the user has more
    /// descriptors in flight than a process may have open.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    /// use std::os::fd::AsFd;
    ///
    /// async_epoll::block_on(async {
    ///     let (left, right) = UnixDatagram::pair()?;
    ///     left.send_with_fds(b"myself", &[left.as_fd()]).await?;
    ///     let (length, fds) = right.recv_with_fds(&mut [0; 16], 1).await?;
    ///     assert_eq!((length, fds.len()), (6, 1));
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn send_with_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_with_fds(cx, &[IoSlice::new(bytes)], fds)).await
    }

    /// Polls to send a datagram with descriptors; see [`send_with_fds`](Self::send_with_fds). The datagram consists of
    /// several slices: at most 1024.
    ///
    /// # Errors
    ///
    /// As [`send_with_fds`](Self::send_with_fds).
    pub fn poll_send_with_fds(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        let rights = Rights::new(fds)?;
        self.inner().poll_write_with(cx, |socket| rights.send(socket, slices))
    }

    /// Receives a datagram and its descriptors. Returns its length, and the descriptors.
    ///
    /// At most `max_fds` descriptors are received, and never more than 253. They are close-on-exec.
    ///
    /// # Errors
    ///
    /// - `InvalidData` if the datagram had more descriptors than `max_fds`, or this process can open no more. All of
    ///   these descriptors are closed. The bytes are in the buffer, and [`FdsLost`](super::FdsLost) inside the error
    ///   has the number of bytes.
    /// - As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_with_fds(&self, buffer: &mut [u8], max_fds: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        poll_fn(|cx| self.poll_recv_with_fds(cx, buffer, max_fds)).await
    }

    /// Polls to receive bytes with descriptors; see [`recv_with_fds`](Self::recv_with_fds).
    ///
    /// # Errors
    ///
    /// As [`recv_with_fds`](Self::recv_with_fds).
    pub fn poll_recv_with_fds(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        max_fds: usize,
    ) -> Poll<io::Result<(usize, Vec<OwnedFd>)>> {
        poll_receive(self.inner(), cx, buffer, max_fds)
    }
}
