//! TCP: listeners and streams. See [`tcp(7)`](https://man7.org/linux/man-pages/man7/tcp.7.html).
//!
//! A [`TcpStream`] comes from a [`TcpListener`], or from connecting, which is a race to the addresses of a host. The
//! operations and the options of a stream are in files of their own. Options to choose before the socket exists are in
//! [`ListenOptions`] and [`ConnectOptions`].
//!
//! ```text
//!   listen ──► listener ──────────────────────────────► stream ◄── stream_io: read, write
//!   (bind)     (accept)                                   ▲   ◄─── settings:  options
//!   connect_options ──► connect (lookup, limit) ──► race ─┘   ───► io: the socket, and its handshake
//! ```

mod io;
mod stream;
mod stream_io;

mod settings;

mod listener;

mod listen;

mod connect_options;
mod race;

mod connect;

pub use connect_options::ConnectOptions;
pub use listen::ListenOptions;
pub use listener::{Incoming, TcpListener};
pub use settings::Keepalive;
pub use stream::TcpStream;
