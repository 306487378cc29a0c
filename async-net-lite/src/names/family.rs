//! The families of IP addresses: what a lookup asks for, and what a socket can use.
//!
//! A name may have addresses of both families. A lookup can ask for both at once or for each by itself, and a UDP
//! socket can send to one family or to both. One type says both, so a socket's family is also the question that its
//! lookup asks.

use std::net::SocketAddr;

/// A family of IP addresses, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// Both families, as `AF_UNSPEC`.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns whether `address` belongs to the family.
    pub(crate) fn has(self, address: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    /// Returns the addresses of the family, in the same order. Returns all addresses if none belongs to the family: the
    /// kernel then says what is wrong with them.
    pub(crate) fn choose(self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        if addresses.iter().any(|address| self.has(address)) {
            addresses.retain(|address| self.has(address));
        }
        addresses
    }
}
