//! UDP: datagrams, which come whole or not at all. See [`udp(7)`](https://man7.org/linux/man-pages/man7/udp.7.html).
//!
//! A socket is one queue of datagrams on the way in, and hardly any on the way out. What makes it differ from a stream:
//!
//! ```text
//!                         one call, one datagram
//!   peer ──► queue of the socket ──► recv: a buffer too small cuts it (`receive` can tell)
//!              │ full: dropped by the kernel, and nobody is told
//!
//!   peer ◄──────────────────── send: whole, or EMSGSIZE
//!    │
//!    └── nobody listens there: ICMP "port unreachable" ──► the *next* operation of a connected socket fails, once
//! ```
//!
//! The last line is the hard one. The kernel keeps such an error until an operation collects it, in either direction, and
//! reports it by an edge with `EPOLLERR`. That edge wakes readers and writers, whoever comes first has the error, and the
//! others meet `WouldBlock` and wait for the next edge: no task hangs or spins.
//!
//! The type is in `socket.rs`. Operations on one datagram are in `receive.rs` and `send.rs`, on many in `recv_batch.rs` and
//! `send_batch.rs`, options in `settings.rs` and `multicast.rs`.

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
