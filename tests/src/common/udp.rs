//! UDP sockets on the loopback interface, on the current reactor.

use crate::LOCALHOST;
use async_net_lite::UdpSocket;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};

/// Bytes of the longest datagram of IPv4.
pub const LONGEST: usize = 65_507;

/// Returns a socket bound to a free port.
pub async fn socket() -> UdpSocket {
    UdpSocket::bind(LOCALHOST).await.expect("a free port")
}

/// Returns two sockets, connected to each other.
pub async fn pair() -> (UdpSocket, UdpSocket) {
    let (left, right) = (socket().await, socket().await);
    left.connect(address(&right)).await.expect("a local address");
    right.connect(address(&left)).await.expect("a local address");
    (left, right)
}

/// Returns the local address of `socket`.
pub fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("a bound socket")
}

/// Returns the address of a closed port. No other test uses this IP address, so the port stays closed.
pub fn closed_port() -> SocketAddr {
    StdSocket::bind((Ipv4Addr::new(127, 71, 9, 1), 0)).and_then(|socket| socket.local_addr()).expect("a free port")
}

/// Returns a socket connected to a closed port: the kernel answers each datagram with "port unreachable" (`icmp(7)`), and
/// the next operation returns `ConnectionRefused`.
pub async fn refused() -> UdpSocket {
    let socket = socket().await;
    socket.connect(closed_port()).await.expect("a local address");
    socket
}
