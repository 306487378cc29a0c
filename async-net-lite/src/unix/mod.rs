//! Unix sockets, between processes of one machine: listeners, streams and datagrams, with paths and abstract names as
//! addresses, and with descriptors as messages. See [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html).
//!
//! The types mirror those of [`std::os::unix::net`], and a [`SocketAddr`](std::os::unix::net::SocketAddr) is std's. Where
//! a function takes a path, its sibling with `_addr` in the name takes such an address, which may also be an abstract
//! name: one that begins with a zero byte, lives in no directory and goes away with its socket.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use async_net_lite::unix::{UnixListener, UnixStream};
//! use futures::{AsyncReadExt, AsyncWriteExt};
//! use std::os::linux::net::SocketAddrExt;
//! use std::os::unix::net::SocketAddr;
//!
//! async_epoll::block_on(async {
//!     let name = SocketAddr::from_abstract_name(format!("doc-unix-{}", std::process::id()))?;
//!     let listener = UnixListener::bind_addr(&name)?;
//!     let mut client = UnixStream::connect_addr(&name).await?;
//!     client.write_all(b"hello").await?;
//!     client.close().await?;
//!
//!     let (mut server, _) = listener.accept().await?;
//!     assert_eq!(server.peer_cred()?.pid, i32::try_from(std::process::id()).ok());
//!     let mut text = String::new();
//!     server.read_to_string(&mut text).await?;
//!     assert_eq!(text, "hello");
//!     Ok(())
//! })?
//! # }
//! ```
//!
//! # What differs from TCP
//!
//! - Two waits of Unix sockets make no event that epoll could report: connecting while the listener's queue is full,
//!   and sending a datagram by address while the receiver's is. Those are retried by a timer.
//! - A read that fills less than its buffer proves nothing: the kernel never reads across a message that carries
//!   descriptors. So each read goes on until the kernel has no more.
//! - Reading plainly what came with descriptors closes those, in the kernel. Only
//!   [`recv_with_fds`](UnixStream::recv_with_fds) receives them.
//! - Who may connect is decided by the permissions of the socket's file, and of the directories above it; for an abstract
//!   name, by nothing: everybody in the network namespace may. [`UnixStream::peer_cred`] tells who it was.
//!
//! ```text
//!   bind ──► options ──► listener ──► stream   ◄── stream_io:   read, write
//!   (files: socket_file) datagram     ▲        ◄── descriptors: descriptors as messages (fds)
//!                          ▲          └─ connect, tried again after a while (retry)
//!                          └── datagram_io: send, receive
//! ```

mod address;
mod credentials;
mod fds;
mod retry;
mod socket_file;

mod stream;
mod stream_io;

mod listener;

mod datagram;
mod datagram_io;

mod descriptors;

mod options;

mod bind;

pub use credentials::UCred;
pub use datagram::UnixDatagram;
pub use descriptors::Message;
pub use fds::FdsLost;
pub use listener::{Incoming, UnixListener};
pub use options::UnixListenOptions;
pub use stream::UnixStream;
