//! The options of a UDP socket that can be set at any time, but for multicast.

use super::socket::UdpSocket;
use crate::socket::options::{check_hops, set_buffers};
use socket2::SockRef;
use std::io;

impl UdpSocket {
    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket.get_ref().broadcast()
    }

    /// Allows to send datagrams to broadcast addresses (`SO_BROADCAST`), which is `PermissionDenied` otherwise. Off unless
    /// set.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.socket.get_ref().set_broadcast(broadcast)
    }

    /// How many routers an IPv4 datagram may pass (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.get_ref().ttl()
    }

    /// Sets how many routers an IPv4 datagram may pass (`IP_TTL`), from 1 to 255. Usually 64.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `InvalidInput` beyond these bounds.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        check_hops(ttl, 1)?;
        self.socket.get_ref().set_ttl(ttl)
    }

    /// Bytes that the queue of received datagrams may take (`SO_RCVBUF`), as the kernel counts them: with what it needs for
    /// itself, for each datagram, which is more than a small one has.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(self.inner()).recv_buffer_size()
    }

    /// Sets how many bytes the queue of received datagrams may take (`SO_RCVBUF`). The kernel doubles the number, for what
    /// it needs for itself, and cuts it to twice `/proc/sys/net/core/rmem_max`.
    ///
    /// A datagram that finds the queue full is dropped, and nobody is told. A larger queue outlasts a longer burst.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        set_buffers(&SockRef::from(self.inner()), Some(bytes), None)
    }

    /// Bytes of sent datagrams that the kernel keeps until the network has taken them (`SO_SNDBUF`), with what it needs for
    /// itself.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(self.inner()).send_buffer_size()
    }

    /// Sets how many bytes of sent datagrams the kernel keeps (`SO_SNDBUF`). It doubles the number and cuts it to twice
    /// `/proc/sys/net/core/wmem_max`. When they are full, sending waits.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        set_buffers(&SockRef::from(self.inner()), None, Some(bytes))
    }
}
