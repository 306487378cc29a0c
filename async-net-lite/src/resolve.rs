//! Host names, off the loop.
//!
//! `getaddrinfo(3)` blocks, for seconds if a name server is slow. So it runs on the threads of the `blocking` crate, and
//! its wake ends the reactor's sleep like any other.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// Looks up the addresses of `host`, by `getaddrinfo(3)` on a helper thread. Numeric hosts take no thread.
///
/// # Errors
///
/// Those of `getaddrinfo(3)`.
///
/// # Cancel safety
///
/// Dropping it forgets the answer; the helper thread finishes the lookup for nothing.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let addresses = async_epoll::block_on(async_net_lite::resolve("127.0.0.1", 80))??;
/// assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
/// # Ok(())
/// # }
/// ```
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    blocking::unblock(move || Ok((host.as_str(), port).to_socket_addrs()?.collect())).await
}
