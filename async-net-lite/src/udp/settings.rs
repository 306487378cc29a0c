//! The options of a UDP socket, except multicast. All can be set at any time.

use super::socket::UdpSocket;
use crate::socket::options::{check_hops, set_buffers};
use socket2::SockRef;
use std::io;

impl UdpSocket {
    /// Returns whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket.get_ref().broadcast()
    }

    /// Sets whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`). By default, such a send fails with
    /// `PermissionDenied`.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.socket.get_ref().set_broadcast(broadcast)
    }

    /// Returns the time to live of IPv4 datagrams: the number of hops (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.get_ref().ttl()
    }

    /// Sets the time to live of IPv4 datagrams: the number of hops (`IP_TTL`), from 1 to 255. The default is usually
    /// 64.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`; `InvalidInput` outside these bounds.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        check_hops(ttl, 1)?;
        self.socket.get_ref().set_ttl(ttl)
    }

    /// Returns the size of the receive queue in bytes (`SO_RCVBUF`). The kernel counts its own overhead, too: for a
    /// small datagram, more bytes than the datagram has.
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(&**self.socket).recv_buffer_size()
    }

    /// Sets the size of the receive queue in bytes (`SO_RCVBUF`). The kernel doubles the number, to allow for its
    /// overhead, and cuts it to twice `/proc/sys/net/core/rmem_max`.
    ///
    /// While the queue is full, the kernel drops new datagrams without notice. A larger queue absorbs a longer burst.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        set_buffers(&SockRef::from(&**self.socket), Some(bytes), None)
    }

    /// Returns the size of the send buffer in bytes (`SO_SNDBUF`), with the kernel's overhead. It holds sent datagrams
    /// until the network takes them.
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        SockRef::from(&**self.socket).send_buffer_size()
    }

    /// Sets the size of the send buffer in bytes (`SO_SNDBUF`). The kernel doubles the number and cuts it to twice
    /// `/proc/sys/net/core/wmem_max`. While the buffer is full, a send waits.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        set_buffers(&SockRef::from(&**self.socket), None, Some(bytes))
    }
}
