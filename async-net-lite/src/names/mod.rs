//! Conversion of names and numbers to IP addresses.
//!
//! [`addr`] has the trait of everything accepted as an address: numeric addresses, which are ready at once, and host
//! names. [`resolve`] looks up the host names, by the [`Resolver`](resolve::Resolver) of the scope or by the system.
//! Nothing here knows a socket.
//!
//! ```text
//!   "localhost:80", (host, port) ──► addr ──► resolve ──► with_resolver's resolver, or getaddrinfo on a helper thread
//!   SocketAddr, "127.0.0.1:80"   ──► addr ──► at once
//! ```

pub(crate) mod resolve;

pub(crate) mod addr;
