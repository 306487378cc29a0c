//! Multicast: one datagram for all members of a group. See [`ip(7)`](https://man7.org/linux/man-pages/man7/ip.7.html)
//! and [`ipv6(7)`](https://man7.org/linux/man-pages/man7/ipv6.7.html).
//!
//! A sender need not be a member of the group. A receiver must join the group on an interface, and be bound to the
//! port. An IPv4 interface is named by one of its addresses (`0.0.0.0`: the kernel chooses), an IPv6 interface by its
//! index (0: the kernel chooses). `v4` and `v6` in a method's name are the IP version of the socket.

use super::socket::UdpSocket;
use crate::socket::options::check_hops;
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

impl UdpSocket {
    /// Joins a group, on the interface with the address `interface` (`IP_ADD_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`: `InvalidInput` if `group` is not a multicast address, `AddrInUse` if the socket
    /// is already a member, `ENODEV` without such an interface.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::UdpSocket;
    /// use std::net::Ipv4Addr;
    ///
    /// async_epoll::block_on(async {
    ///     let group = Ipv4Addr::new(239, 255, 71, 9);
    ///     let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    ///     member.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    ///
    ///     let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    ///     sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
    ///     sender.send_to(b"to all", (group, member.local_addr()?.port())).await?;
    ///     assert_eq!(member.recv(&mut [0; 16]).await?, 6);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.get_ref().join_multicast_v4(group, interface)
    }

    /// Leaves a group (`IP_DROP_MEMBERSHIP`). Closing the socket leaves all groups.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`: `AddrNotAvailable` if the socket is not a member.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket.get_ref().leave_multicast_v4(group, interface)
    }

    /// Joins a group, on the interface with the index `interface` (`IPV6_ADD_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.get_ref().join_multicast_v6(group, interface)
    }

    /// Leaves a group (`IPV6_DROP_MEMBERSHIP`). Closing the socket leaves all groups.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`: `AddrNotAvailable` if the socket is not a member.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket.get_ref().leave_multicast_v6(group, interface)
    }

    /// Returns an address of the interface by which multicast datagrams are sent (`IP_MULTICAST_IF`).
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn multicast_if_v4(&self) -> io::Result<Ipv4Addr> {
        SockRef::from(&**self.socket).multicast_if_v4()
    }

    /// Sets the interface by which multicast datagrams are sent (`IP_MULTICAST_IF`). By default, the routing table
    /// decides.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`: `AddrNotAvailable` if no interface has this address.
    pub fn set_multicast_if_v4(&self, interface: &Ipv4Addr) -> io::Result<()> {
        SockRef::from(&**self.socket).set_multicast_if_v4(interface)
    }

    /// Returns the index of the interface by which multicast datagrams are sent (`IPV6_MULTICAST_IF`).
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn multicast_if_v6(&self) -> io::Result<u32> {
        SockRef::from(&**self.socket).multicast_if_v6()
    }

    /// Sets the interface by which multicast datagrams are sent (`IPV6_MULTICAST_IF`). By default, the routing table
    /// decides.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`: `ENODEV` without such an interface.
    pub fn set_multicast_if_v6(&self, interface: u32) -> io::Result<()> {
        SockRef::from(&**self.socket).set_multicast_if_v6(interface)
    }

    /// Returns whether this host's members of a group receive the datagrams that this socket sends
    /// (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.socket.get_ref().multicast_loop_v4()
    }

    /// Sets whether this host's members of a group receive the datagrams that this socket sends (`IP_MULTICAST_LOOP`).
    /// The default is true.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`.
    pub fn set_multicast_loop_v4(&self, multicast_loop: bool) -> io::Result<()> {
        self.socket.get_ref().set_multicast_loop_v4(multicast_loop)
    }

    /// Returns whether this host's members of a group receive the datagrams that this socket sends
    /// (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.socket.get_ref().multicast_loop_v6()
    }

    /// Sets whether this host's members of a group receive the datagrams that this socket sends
    /// (`IPV6_MULTICAST_LOOP`). The default is true.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`.
    pub fn set_multicast_loop_v6(&self, multicast_loop: bool) -> io::Result<()> {
        self.socket.get_ref().set_multicast_loop_v6(multicast_loop)
    }

    /// Returns the time to live of multicast datagrams: the number of hops (`IP_MULTICAST_TTL`).
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.socket.get_ref().multicast_ttl_v4()
    }

    /// Sets the time to live of multicast datagrams: the number of hops (`IP_MULTICAST_TTL`), from 0 to 255. The
    /// default is 1: datagrams stay in the local network.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`; `InvalidInput` beyond 255.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        check_hops(ttl, 0)?;
        self.socket.get_ref().set_multicast_ttl_v4(ttl)
    }

    /// Returns the hop limit of multicast datagrams (`IPV6_MULTICAST_HOPS`).
    ///
    /// # Errors
    ///
    /// The errors of `getsockopt(2)`.
    pub fn multicast_hops_v6(&self) -> io::Result<u32> {
        SockRef::from(&**self.socket).multicast_hops_v6()
    }

    /// Sets the hop limit of multicast datagrams (`IPV6_MULTICAST_HOPS`), from 0 to 255. The default is 1.
    ///
    /// # Errors
    ///
    /// The errors of `setsockopt(2)`; `InvalidInput` beyond 255.
    pub fn set_multicast_hops_v6(&self, hops: u32) -> io::Result<()> {
        check_hops(hops, 0)?;
        SockRef::from(&**self.socket).set_multicast_hops_v6(hops)
    }
}
