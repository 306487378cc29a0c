//! Conversion of names and numbers to IP addresses.
//!
//! [`addr`] has the trait of everything accepted as an address: numeric addresses, which are ready at once, and host
//! names. [`lookup`] looks up the host names, by the [`Resolver`](resolver::Resolver) of the scope or by the system.
//! The system's is `getaddrinfo(3)` on threads of this room, with a queue before them. Nothing here knows a socket.
//!
//! ```text
//!   "localhost:80", (host, port) ──► addr ──► lookup ──► resolver: the scope's
//!                                      │         └─────► system: getaddrinfo ◄── queue: fresh, quick (hosts), slow
//!   SocketAddr, "127.0.0.1:80"         └──► numeric: at once
//! ```

pub(crate) mod family;
pub(crate) mod numeric;

#[cfg(feature = "resolve")]
mod hosts;
#[cfg(feature = "resolve")]
mod queue;

pub(crate) mod resolver;

#[cfg(feature = "resolve")]
pub(crate) mod system;

pub(crate) mod lookup;

pub(crate) mod addr;
