//! Sending one datagram.
//!
//! A successful send means that the kernel has accepted the whole datagram. Delivery is not confirmed.

use super::socket::UdpSocket;
use crate::names::addr::{Addresses, AsyncToSocketAddrs, no_addresses};
use async_epoll::Interest;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

impl UdpSocket {
    /// Sends a datagram to the [connected](Self::connect) peer, and returns its length. An empty datagram is sent, too.
    ///
    /// Waits while the send buffer is full, which is rare.
    ///
    /// # Errors
    ///
    /// - `EDESTADDRREQ` (a [`raw_os_error`](io::Error::raw_os_error)) if the socket is not connected.
    /// - `EMSGSIZE` ("Message too long") beyond the longest datagram: 65 507 bytes over IPv4, 65 527 over IPv6.
    /// - [Errors of a peer](Self#errors-of-a-peer), for an earlier datagram. The present datagram has not been sent
    ///   then.
    /// - Others of `send(2)`; `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it completes, nothing has been sent.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write_with(|socket| socket.send(bytes)).await
    }

    /// Polls to send a datagram; see [`send`](Self::send). Any number of tasks may wait: all are woken.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_write_with(cx, |socket| socket.send(bytes))
    }

    /// Tries to send a datagram, without waiting; otherwise as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the send buffer is full; otherwise as [`send`](Self::send).
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, |socket| socket.send(bytes))
    }

    /// Sends a datagram to the first of the addresses that this socket can send to, and returns its length; otherwise as
    /// [`send`](Self::send).
    ///
    /// A socket that is bound to an IPv4 address sends to IPv4 addresses only, and a socket that is bound to an IPv6
    /// address to IPv6 addresses only. One that is bound to `[::]` sends to both, unless `IPV6_V6ONLY` is set.
    ///
    /// Prefer a numeric address: a host name is looked up by each call.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), except `EDESTADDRREQ`; `InvalidInput` if there is no address, or its port is 0;
    /// `PermissionDenied` for a broadcast address without [`set_broadcast`](Self::set_broadcast); `EAFNOSUPPORT`,
    /// `NetworkUnreachable` or similar if the socket can send to none of the addresses.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_to(&self, bytes: &[u8], address: impl AsyncToSocketAddrs) -> io::Result<usize> {
        let address = match address.lookup()? {
            // In one step: no allocation.
            Addresses::One(address) => address,
            several => *several.for_socket(|| self.family()).await?.first().ok_or_else(no_addresses)?,
        };
        self.socket.write_with(|socket| socket.send_to(bytes, address)).await
    }

    /// Polls to send a datagram to `address`; see [`send_to`](Self::send_to). Any number of tasks may wait: all are
    /// woken.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub fn poll_send_to(&self, cx: &mut Context<'_>, bytes: &[u8], address: SocketAddr) -> Poll<io::Result<usize>> {
        self.socket.poll_write_with(cx, |socket| socket.send_to(bytes, address))
    }

    /// Tries to send a datagram to `address`, without waiting; otherwise as [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the send buffer is full; otherwise as [`send_to`](Self::send_to).
    pub fn try_send_to(&self, bytes: &[u8], address: SocketAddr) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, |socket| socket.send_to(bytes, address))
    }
}
