//! The types accepted as an address: the async counterpart of [`std::net::ToSocketAddrs`].
//!
//! Binding, connecting and sending to an address call this, in two steps. The first step parses: a numeric address is
//! then known, without a thread or an allocation. Only a host name needs a second step, which waits for a lookup by
//! `resolve`.

use super::resolve::{numeric, resolve};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::pin::Pin;

/// A type that converts to IP addresses, for [`TcpListener::bind`](crate::TcpListener::bind),
/// [`TcpStream::connect`](crate::TcpStream::connect), [`UdpSocket::send_to`](crate::UdpSocket::send_to) and similar
/// methods.
///
/// Implemented for [`SocketAddr`], `(IpAddr, u16)` and similar pairs, slices of [`SocketAddr`], strings such as
/// `"127.0.0.1:80"` and pairs such as `("127.0.0.1", 80)`. Host names (`"localhost:80"`) need the feature `resolve`,
/// which is on by default, or a [`Resolver`](crate::Resolver). The trait is sealed: it cannot be implemented outside
/// this crate.
pub trait AsyncToSocketAddrs: sealed::Lookup {}

impl<T: sealed::Lookup> AsyncToSocketAddrs for T {}

/// Addresses, or a lookup that returns them.
pub enum Addresses {
    /// One known address.
    One(SocketAddr),
    /// Several known addresses.
    Many(Vec<SocketAddr>),
    /// The lookup of a host name.
    Lookup(Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>),
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::Many(addresses) => addresses.fmt(f),
            Self::Lookup(_) => f.write_str("Lookup"),
        }
    }
}

impl Addresses {
    /// Returns numeric addresses at once, and the addresses of a host name after the lookup.
    pub(crate) async fn get(self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::One(address) => Ok(vec![address]),
            Self::Many(addresses) => Ok(addresses),
            Self::Lookup(lookup) => lookup.await,
        }
    }

    /// Calls `attempt` with one address after the other. Returns the first success, or the error of the last address.
    pub(crate) async fn try_each<T>(self, attempt: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
        let mut error = None;
        let succeeds = |result: io::Result<T>| result.map_err(|failed| error = Some(failed)).ok();
        let found = self.get().await?.into_iter().map(attempt).find_map(succeeds);
        found.ok_or_else(|| error.unwrap_or_else(no_addresses))
    }

    /// Returns the first address, for a datagram that is sent once. A single address needs no allocation.
    pub(crate) async fn first(self) -> io::Result<SocketAddr> {
        if let Self::One(address) = self {
            return Ok(address);
        }
        self.get().await?.first().copied().ok_or_else(no_addresses)
    }
}

/// Returns the error of an empty list.
pub(crate) fn no_addresses() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no addresses were given")
}

/// Seals the trait, and hides how a lookup is done.
pub(crate) mod sealed {
    use super::Addresses;
    use std::io;

    /// The hidden half of [`AsyncToSocketAddrs`](super::AsyncToSocketAddrs).
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
        match numeric(host) {
            Some(address) => Ok(Addresses::One((address, port).into())),
            None => by_name(host, port),
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

/// Returns the lookup of a host name, which begins when it is awaited.
fn by_name(host: &str, port: u16) -> io::Result<Addresses> {
    let host = host.to_owned();
    Ok(Addresses::Lookup(Box::pin(async move { resolve(&host, port).await })))
}
