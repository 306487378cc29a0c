//! TCP: listeners and streams. See [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html).

mod options;

mod listener;

mod connect;
mod settings;
mod split;
mod stream;
mod stream_io;

pub use listener::{Incoming, TcpListener};
pub use options::{ConnectOptions, ListenOptions};
pub use settings::Keepalive;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
pub use stream::TcpStream;

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// A new socket for `address`, non-blocking and close-on-exec.
fn new_socket(address: &SocketAddr) -> io::Result<Socket> {
    // `Socket::new` adds SOCK_CLOEXEC.
    Socket::new(Domain::for_address(*address), Type::STREAM.nonblocking(), None)
}
