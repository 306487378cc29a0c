//! Async sockets for futures-rs, on the reactor of [`async_epoll`].
//!
//! The types mirror those of [`std::net`], so there is little to learn: what blocks there is `async` here, reading and
//! writing goes through [`AsyncRead`] and [`AsyncWrite`], a listener is
//! a [`Stream`] of connections, and sockets of std convert in both directions.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use async_net_lite::{TcpListener, TcpStream};
//! use futures::{AsyncReadExt, AsyncWriteExt, future::try_join};
//!
//! async_epoll::block_on(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!
//!     let server = async {
//!         let (mut stream, _peer) = listener.accept().await?;
//!         stream.write_all(b"hello").await?;
//!         stream.close().await
//!     };
//!     let client = async {
//!         let mut text = String::new();
//!         TcpStream::connect(address).await?.read_to_string(&mut text).await?;
//!         Ok(text)
//!     };
//!     let ((), text) = try_join(server, client).await?;
//!     assert_eq!(text, "hello");
//!     Ok(())
//! })?
//! # }
//! ```
//!
//! # Which reactor
//!
//! Constructors take the thread's current one: the one of the task, `run` method or
//! [`Handle::enter`](async_epoll::Handle::enter) guard in which they are called; elsewhere they return an error that
//! says so. Those of TCP and UDP have forms that take a [`Handle`](async_epoll::Handle), and all sockets of std convert by
//! one; for the others, enter it. A socket stays with its reactor: somebody has to run that, wherever the socket is used.
//!
//! # What is guaranteed
//!
//! - `Interrupted` never reaches the caller, nor does `WouldBlock`, except from `try_read` and its like.
//! - Writing to a closed connection is an error, never a `SIGPIPE`, for vectored writes too.
//! - Every descriptor is close-on-exec from its creation.
//! - Empty reads and writes of streams return `Ok(0)` without a system call. (Empty datagrams are datagrams.)
//! - A connection is registered with epoll when an operation first has to wait, once, and not at all if none has to.
//!
//! # Features
//!
//! - `resolve`, on by default: host names instead of numeric addresses only.
//! - `hyper`: these sockets under hyper 1, with its tasks in the reactor's pool and its timeouts on the reactor's
//!   timers.
//!
//! # Where to read next
//!
//! In the source, the `mod` lines are in reading order; `tcp/stream.rs` has the whole idea.
//!
//! [`AsyncRead`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncRead.html
//! [`AsyncWrite`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncWrite.html
//! [`Stream`]: https://docs.rs/futures/0.3/futures/stream/trait.Stream.html
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod addr;
pub use addr::AsyncToSocketAddrs;

mod resolve;
#[cfg(feature = "resolve")]
pub use resolve::SystemResolver;
pub use resolve::{Resolver, resolve, with_resolver};

mod accept;
mod conversions;
mod slices;
mod socket;
mod stream_io;

mod split;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};

mod tcp;
pub use tcp::{ConnectOptions, Incoming, Keepalive, ListenOptions, TcpListener, TcpStream};

mod udp;
pub use udp::{Datagram, Datagrams, MOST_DATAGRAMS, RecvBatch, SendBatch, UdpSocket};

pub mod unix;

mod copy;
pub use copy::{CopyError, copy_bidirectional};

// Private, or `use async_net_lite::*` would hide the crate of that name.
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub use self::hyper::{HyperExecutor, HyperIo, HyperSocket, HyperTimer};

// The only file with `unsafe`.
mod sys;

// The example of the README is a test, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
