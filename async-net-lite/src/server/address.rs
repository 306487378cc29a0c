//! The address of one end of a connection, whatever its kind.

use std::fmt;
use std::net::{self, IpAddr, Ipv6Addr};
use std::os::unix;

/// An address of a connection: an IP address with a port, or that of a Unix socket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Address {
    /// Of a TCP connection.
    Ip(net::SocketAddr),
    /// Of a connection of Unix sockets. Unnamed, unless the socket was bound. Boxed, since it is large.
    Unix(Box<unix::net::SocketAddr>),
}

impl Address {
    /// Returns the IP address, or `None` for a Unix socket.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Returns what [`Server::max_per_address`](super::Server::max_per_address) counts connections by: an IPv4 address, or the
    /// first half of an IPv6 address, which is what one client has.
    pub(super) fn client(&self) -> Option<IpAddr> {
        match self.ip()?.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                Some(Ipv6Addr::from(network).into())
            }
            address => Some(address),
        }
    }
}

/// Writes the address as std does; a Unix address as its path, as `@name` or as `unnamed`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::os::linux::net::SocketAddrExt;
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(address) => match (address.as_pathname(), address.as_abstract_name()) {
                (Some(path), _) => path.display().fmt(f),
                (None, Some(name)) => write!(f, "@{}", name.escape_ascii()),
                (None, None) => f.write_str("unnamed"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One client of IPv6 has a network of 64 bits; an IPv4 address in the form of IPv6 is that IPv4 address.
    #[test]
    fn what_counts_as_one_client() {
        for (address, client) in [
            ("192.0.2.7:80", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:80", "192.0.2.7"),
            ("[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::"),
            ("[2001:db8:1:2:ffff::]:80", "2001:db8:1:2::"),
        ] {
            assert_eq!(Address::Ip(address.parse().unwrap()).client(), Some(client.parse().unwrap()), "{address}");
        }
    }
}
