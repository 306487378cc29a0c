//! Accepting connections despite errors, the same for listeners of every kind.
//!
//! An [`Acceptor`](acceptor::Acceptor) takes one connection from the queue and skips errors of single connections. An
//! [`AcceptLoop`](accept_loop::AcceptLoop) takes one connection after the other. It backs off when descriptors or
//! memory run out, and ends when the listener itself fails. [`errors`] classifies the errors of the calls on the way, and
//! [`report`] makes them visible. TCP and Unix listeners turn the accepted sockets into streams of their own types.
//!
//! ```text
//!   AcceptLoop ──────► Acceptor ──────► accept4(2)
//!     ▲    │              │ ▲                │
//!     │    │ socket       │ └─ one connection ┤ errors
//!     │    ▼              ▼                  │
//!     │  Incoming      accept()              │
//!     └── back-off ◄────── shortage ─────────┤      skipped, or a pause ──► report
//!              the end ◄── listener ─────────┘
//! ```

pub(crate) mod errors;

pub(crate) mod acceptor;
pub(crate) mod backoff;
pub(crate) mod report;

pub(crate) mod accept_loop;
