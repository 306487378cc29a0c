//! Unix sockets, between processes of one machine: listeners, streams and datagrams, with paths or abstract names as
//! addresses, and with descriptors as messages. See [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html).
//!
//! The types mirror [`std::os::unix::net`], and an address is std's [`SocketAddr`](std::os::unix::net::SocketAddr). A
//! function that takes a path has a sibling with `_addr` in its name for such an address, which may also be an abstract
//! name. An abstract name begins with a zero byte, is in no directory, and disappears when its socket is closed.
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
//! - Two waits cause no event in epoll: connecting while the backlog of the listener is full, and sending a datagram by
//!   address while the queue of the receiver is full. A timer retries these operations.
//! - A read that fills less than its buffer proves nothing: the kernel never reads across a message with descriptors.
//!   So each read goes on until the kernel reports `EAGAIN`.
//! - A plain read discards descriptors: the kernel closes them. Only [`recv_with_fds`](UnixStream::recv_with_fds)
//!   receives descriptors.
//! - The permissions of the socket's file and of the directories above it decide which processes may connect. An
//!   abstract name has no permissions: every process in the network namespace may connect. [`UnixStream::peer_cred`]
//!   returns the credentials of the peer.
//!
//! ```text
//!   bind ──► options ──► listener ──► stream   ◄── stream_io:   read, write
//!   (files: socket_file) datagram     ▲        ◄── descriptors: descriptors as messages (fds)
//!                          ▲          └─ connect, retried by a timer (retry)
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
