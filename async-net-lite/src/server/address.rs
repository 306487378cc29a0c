//! The address of one end of a connection, whatever its kind.

use std::fmt;
use std::net::{self, IpAddr};
use std::os::unix;

/// An address of a connection: an IP address with a port, or that of a Unix socket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Address {
    /// Of a TCP connection.
    Ip(net::SocketAddr),
    /// Of a connection of Unix sockets. Unnamed, unless the socket was bound.
    Unix(unix::net::SocketAddr),
}

impl Address {
    /// Returns the IP address, or `None` for a Unix socket.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(_) => None,
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
