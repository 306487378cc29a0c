//! UDP sockets, for datagrams: each arrives whole or not at all. See
//! [`udp(7)`](https://man7.org/linux/man-pages/man7/udp.7.html).
//!
//! A socket has a queue of received datagrams; sent datagrams hardly queue. Three things differ from a stream:
//!
//! ```text
//!                         one call, one datagram
//!   peer ──► receive queue ──► recv: cut if the buffer is too small (`recv_datagram` reports this)
//!              │ full: the kernel drops the datagram, and reports it to neither side
//!
//!   peer ◄──────────────────── send: whole, or EMSGSIZE
//!    │
//!    └── no socket on that port: ICMP "port unreachable" ──► the *next* operation of a connected socket fails, once
//! ```
//!
//! The last line is the hard one. The kernel stores such an error until an operation in either direction collects it,
//! and reports the error by an edge with `EPOLLERR`. The edge wakes readers and writers. The first operation returns
//! the error, and the others meet `WouldBlock` and wait for the next edge: no task hangs or spins.
//!
//! The type is in `socket.rs`. Operations on one datagram are in `receive.rs` and `send.rs`, on many in `recv_batch.rs`
//! and `send_batch.rs`. Options are in `settings.rs` and `multicast.rs`.

mod socket;

mod multicast;
mod settings;

mod receive;
mod send;

mod batch;
mod recv_batch;
mod send_batch;

pub use batch::MAX_DATAGRAMS;
pub use receive::Datagram;
pub use recv_batch::{Datagrams, RecvBatch};
pub use send_batch::SendBatch;
pub use socket::UdpSocket;
