//! TCP: listeners and streams. See [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html).

mod options;

mod listener;

mod connect;
mod settings;
mod stream;
mod stream_io;

pub use listener::{Incoming, TcpListener};
pub use options::{ConnectOptions, ListenOptions};
pub use settings::Keepalive;
pub use stream::TcpStream;
