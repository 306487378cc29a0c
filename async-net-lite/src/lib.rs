//! Async sockets for futures-rs, on the reactor of [`async_epoll`].
//!
//! The types mirror [`std::net`], so there is little to learn: functions that block are `async` here, reading and
//! writing use [`AsyncRead`] and [`AsyncWrite`], the connections of a listener are a [`Stream`], and sockets convert
//! from and to std.
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
//! A constructor with a plain name (`bind`, `connect`, `pair`) uses the current reactor: the reactor of the task, `run`
//! method or [`Handle::enter`](async_epoll::Handle::enter) guard around the call. Without a current reactor, the
//! constructor returns an error with this explanation. Each constructor has a second form with a name in `_with`, which
//! takes the [`Handle`](async_epoll::Handle) of a reactor as the last argument. `from_std` takes a handle, too;
//! `TryFrom` for a socket of std uses the current reactor. A socket stays with its reactor: this reactor has to run,
//! whatever thread uses the socket.
//!
//! # What is guaranteed
//!
//! - No operation returns `Interrupted`, and none but `try_read` and the other single attempts returns `WouldBlock`.
//! - Writing to a closed connection returns an error and never raises `SIGPIPE`, not even for vectored writes.
//! - Every descriptor is close-on-exec from its creation.
//! - Empty reads and writes of streams return `Ok(0)` without a system call. (Empty datagrams are sent and received.)
//! - A connection is registered with epoll once, when an operation first has to wait, and not at all if none has to.
//!
//! # Servers
//!
//! [`Server`] accepts within limits, serves each connection in a task, and stops gracefully: see [`server`]. For a loop of your
//! own, there is [`TcpListener::incoming`].
//!
//! # What operators see
//!
//! The stream of a listener's connections ([`Incoming`], [`unix::Incoming`]) goes on after errors, so no caller sees
//! them. They are visible in three ways: [`Incoming::on_error`] calls a closure, the feature `tracing` emits events of
//! level `WARN`, both at most once a second; and [`Stats::counter`](async_epoll::Stats::counter) of the listener's reactor
//! counts all, also the errors that `accept` returns:
//!
//! | counter | what it counts |
//! |---|---|
//! | `accept_errors` | errors of `accept4(2)`, and of `epoll_ctl(2)` for a listener, of all the kinds below |
//! | `accept_errors_connection` | errors of a single connection, which was skipped |
//! | `accept_errors_descriptors` | no descriptor was free (`EMFILE`, `ENFILE`) |
//! | `accept_errors_memory` | the kernel had no memory (`ENOMEM`, `ENOBUFS`) |
//! | `accept_errors_watches` | epoll had no place (`ENOSPC`: `/proc/sys/fs/epoll/max_user_watches`) |
//! | `accept_errors_listener` | errors of the listener itself, which end its stream |
//! | `accept_pauses` | pauses after shortages |
//!
//! A stream accepts once more before it pauses, so each pause counts two errors. There is no report of its end: accepting
//! goes on as long as connections come and `accept_pauses` stays the same.
//!
//! # Features
//!
//! - `resolve`, on by default: host names in addition to numeric addresses.
//! - `tracing`: events for errors that listeners hide.
//! - `signal`: [`Server::run`] obeys SIGINT and SIGTERM.
//! - `hyper`: these sockets as the connections of hyper 1, with hyper's tasks in the reactor's pool and hyper's
//!   timeouts on the reactor's timers.
//!
//! # Where to read next
//!
//! In the source, the `mod` lines are in reading order; `tcp/stream.rs` shows the whole idea.
//!
//! [`AsyncRead`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncRead.html
//! [`AsyncWrite`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncWrite.html
//! [`Stream`]: https://docs.rs/futures/0.3/futures/stream/trait.Stream.html
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// In reading order, from the ground up: a room imports only from the rooms above its line.

mod sys;
mod foreign;

mod socket;

mod names;
pub use names::addr::AsyncToSocketAddrs;
#[cfg(feature = "resolve")]
pub use names::system::SystemResolver;
pub use names::{
    lookup::resolve,
    resolver::{Resolver, with_resolver},
};

mod accept;
pub use accept::report::AcceptReport;

mod tcp;
pub use tcp::{ConnectOptions, Incoming, Keepalive, ListenOptions, TcpListener, TcpStream};

mod udp;
pub use udp::{Datagram, Datagrams, MAX_DATAGRAMS, RecvBatch, SendBatch, UdpSocket};

pub mod unix;

mod split;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};

mod copy;
pub use copy::{CopyError, copy_bidirectional};

pub mod server;
#[doc(inline)]
pub use server::{Connection, Server};

// Private: otherwise `use async_net_lite::*` would hide the crate `hyper`.
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub use self::hyper::{HyperExecutor, HyperIo, HyperSocket, HyperTimer};

// The example of the README is a test, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
