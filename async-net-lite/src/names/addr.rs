//! The types accepted as an address: the async counterpart of [`std::net::ToSocketAddrs`].
//!
//! Binding, connecting and sending to an address call this, in two steps. The first step parses: a numeric address is
//! then known, without a thread or an allocation. Only a host name needs a second step, which waits for a lookup by
//! `lookup.rs`.

use super::family::Family;
use super::lookup::{resolve, resolve_family};
use super::numeric::numeric;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A type that converts to IP addresses, for [`TcpListener::bind`](crate::TcpListener::bind),
/// [`TcpStream::connect`](crate::TcpStream::connect), [`UdpSocket::send_to`](crate::UdpSocket::send_to) and similar
/// methods.
///
/// Implemented for [`SocketAddr`], `(IpAddr, u16)` and similar pairs, slices of [`SocketAddr`], strings such as
/// `"127.0.0.1:80"` and pairs such as `("127.0.0.1", 80)`. An IPv6 address may have a zone, the name or the index of a
/// network interface: `"[fe80::1%eth0]:80"`, `("fe80::1%2", 80)`. Host names (`"localhost:80"`) need the feature `resolve`,
/// which is on by default, or a [`Resolver`](crate::Resolver). The trait is sealed: it cannot be implemented outside
/// this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an address to bind or connect to",
    label = "not an address",
    note = "addresses are `SocketAddr`, `(IpAddr, u16)`, `\"host:80\"`, `(\"host\", 80)`, slices and vectors of `SocketAddr`, \
            and references to these",
    note = "the trait is sealed: convert a type of your own to one of these"
)]
pub trait AsyncToSocketAddrs: sealed::Lookup {}

impl<T: sealed::Lookup> AsyncToSocketAddrs for T {}

/// Addresses, or the name of a host that has them.
#[derive(Debug)]
pub enum Addresses {
    /// One known address.
    One(SocketAddr),
    /// Several known addresses.
    Many(Vec<SocketAddr>),
    /// The name of a host, to be looked up, and a port.
    Name(String, u16),
}

impl Addresses {
    /// Returns numeric addresses at once, and the addresses of a host name after the lookup.
    pub(crate) async fn get(self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::One(address) => Ok(vec![address]),
            Self::Many(addresses) => Ok(addresses),
            Self::Name(host, port) => resolve(&host, port).await,
        }
    }

    /// Calls `attempt` with one address after the other. Returns the first success, or the error of the last address.
    pub(crate) async fn try_each<T>(self, attempt: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
        try_each(self.get().await?, attempt)
    }

    /// Returns the addresses of the family returned by `family`, that of a socket; all addresses if the socket can use none.
    ///
    /// A single address is returned as it is, without a call of `family`: the kernel says whether it fits.
    pub(crate) async fn for_socket(self, family: impl FnOnce() -> io::Result<Family>) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Name(host, port) => {
                let family = family()?;
                resolve_family(&host, port, family).await.map(|addresses| family.choose(addresses))
            }
            Self::Many(addresses) if addresses.len() > 1 => Ok(family()?.choose(addresses)),
            known => known.get().await,
        }
    }
}

/// Calls `attempt` with one address after the other. Returns the first success, or the error of the last address.
pub(crate) fn try_each<T>(
    addresses: Vec<SocketAddr>,
    attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut error = None;
    let succeeds = |result: io::Result<T>| result.map_err(|failed| error = Some(failed)).ok();
    let found = addresses.into_iter().map(attempt).find_map(succeeds);
    found.ok_or_else(|| error.unwrap_or_else(no_addresses))
}

/// Returns the error of an empty list.
pub(crate) fn no_addresses() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no addresses were given")
}

/// Seals the trait, and hides how a lookup is done.
pub(crate) mod sealed {
    use super::Addresses;
    use std::io;

    /// The hidden half of [`AsyncToSocketAddrs`](super::AsyncToSocketAddrs). The compiler reports this half, so the message
    /// is repeated.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is not an address to bind or connect to",
        label = "not an address",
        note = "addresses are `SocketAddr`, `(IpAddr, u16)`, `\"host:80\"`, `(\"host\", 80)`, slices and vectors of `SocketAddr`, \
                and references to these",
        note = "the trait is sealed: convert a type of your own to one of these"
    )]
    pub trait Lookup {
        #[doc(hidden)]
        fn lookup(&self) -> io::Result<Addresses>;
    }
}

/// Implements the trait for types that convert to one address.
macro_rules! one_address {
    ($($type:ty),*) => {$(
        impl sealed::Lookup for $type {
            fn lookup(&self) -> io::Result<Addresses> {
                Ok(Addresses::One((*self).into()))
            }
        }
    )*};
}

one_address!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl sealed::Lookup for [SocketAddr] {
    fn lookup(&self) -> io::Result<Addresses> {
        Ok(Addresses::Many(self.to_vec()))
    }
}

impl<const N: usize> sealed::Lookup for [SocketAddr; N] {
    fn lookup(&self) -> io::Result<Addresses> {
        self.as_slice().lookup()
    }
}

impl sealed::Lookup for Vec<SocketAddr> {
    fn lookup(&self) -> io::Result<Addresses> {
        self.as_slice().lookup()
    }
}

impl sealed::Lookup for str {
    fn lookup(&self) -> io::Result<Addresses> {
        if let Ok(address) = self.parse() {
            return Ok(Addresses::One(address));
        }
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, format!("{self:?} is no address: {what}"));
        let (host, port) = self.rsplit_once(':').ok_or_else(|| invalid("expected host:port"))?;
        let port = port.parse().map_err(|_| invalid("the port is not a number from 0 to 65535"))?;
        (host, port).lookup()
    }
}

impl sealed::Lookup for String {
    fn lookup(&self) -> io::Result<Addresses> {
        self.as_str().lookup()
    }
}

impl sealed::Lookup for (&str, u16) {
    fn lookup(&self) -> io::Result<Addresses> {
        let (host, port) = *self;
        match numeric(host, port) {
            Some(address) => address.map(Addresses::One),
            None => Ok(Addresses::Name(host.into(), port)),
        }
    }
}

impl sealed::Lookup for (String, u16) {
    fn lookup(&self) -> io::Result<Addresses> {
        (self.0.as_str(), self.1).lookup()
    }
}

impl<T: sealed::Lookup + ?Sized> sealed::Lookup for &T {
    fn lookup(&self) -> io::Result<Addresses> {
        (**self).lookup()
    }
}
