//! TCP: listeners and streams. See [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html).

mod listener;
mod stream;

pub use listener::{Incoming, TcpListener};
pub use stream::TcpStream;

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// A new socket for `address`, non-blocking and close-on-exec.
fn new_socket(address: &SocketAddr) -> io::Result<Socket> {
    // `Socket::new` adds SOCK_CLOEXEC.
    Socket::new(Domain::for_address(*address), Type::STREAM.nonblocking(), None)
}

/// Tries one address after the other, and returns the last error if none will do.
async fn first_of<T>(addresses: Vec<SocketAddr>, attempt: impl AsyncFn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = None;
    for address in addresses {
        match attempt(address).await {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no addresses were given")))
}
