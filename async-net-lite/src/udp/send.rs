//! Sending one datagram.
//!
//! That it was sent says that the kernel has taken it, whole. Whether it arrives, nobody knows.

use super::socket::UdpSocket;
use crate::names::addr::AsyncToSocketAddrs;
use async_epoll::Interest;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

impl UdpSocket {
    /// Sends a datagram to the [connected](Self::connect) peer, and returns its length. An empty one is sent, too.
    ///
    /// Waits while the kernel has no room for it, which is rare.
    ///
    /// # Errors
    ///
    /// - `EDESTADDRREQ` (a [`raw_os_error`](io::Error::raw_os_error)) if the socket is not connected.
    /// - `EMSGSIZE` ("Message too long") if it is longer than a datagram can be: 65 507 bytes by IPv4, 65 527 by IPv6.
    /// - [Those of a peer](Self#errors-of-a-peer), for an earlier datagram. This one has not been sent then.
    /// - Others of `send(2)`; `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: until it returns, nothing has been sent.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write_with(|socket| socket.send(bytes)).await
    }

    /// The poll form of [`send`](Self::send). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_write_with(cx, |socket| socket.send(bytes))
    }

    /// [`send`](Self::send) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the kernel has no room for it; otherwise as [`send`](Self::send).
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, |socket| socket.send(bytes))
    }

    /// Sends a datagram to the first of the addresses, and returns its length; otherwise as [`send`](Self::send).
    ///
    /// A numeric address is best here: a host name would be looked up each time.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), but for the first; `InvalidInput` if there is no address, or its port is 0;
    /// `PermissionDenied` for a broadcast address without [`set_broadcast`](Self::set_broadcast).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_to(&self, bytes: &[u8], address: impl AsyncToSocketAddrs) -> io::Result<usize> {
        let address = address.lookup()?.first().await?;
        self.socket.write_with(|socket| socket.send_to(bytes, address)).await
    }

    /// The poll form of [`send_to`](Self::send_to). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub fn poll_send_to(&self, cx: &mut Context<'_>, bytes: &[u8], address: SocketAddr) -> Poll<io::Result<usize>> {
        self.socket.poll_write_with(cx, |socket| socket.send_to(bytes, address))
    }

    /// [`send_to`](Self::send_to) without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the kernel has no room for it; otherwise as [`send_to`](Self::send_to).
    pub fn try_send_to(&self, bytes: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, |socket| socket.send_to(bytes, address))
    }
}
