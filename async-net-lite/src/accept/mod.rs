//! Accepting connections, and going on with it whatever happens: the same for listeners of every kind.
//!
//! An [`Acceptor`](acceptor::Acceptor) takes one connection from the queue and passes over the errors of single
//! connections. An [`AcceptLoop`](accept_loop::AcceptLoop) takes one after the other: when descriptors or memory run out,
//! it backs off, and it ends when the listener itself fails. [`errors`] says which error of `accept(2)` is which. Listeners
//! of TCP and of Unix sockets turn what comes out into streams of their own.
//!
//! ```text
//!   AcceptLoop ──────► Acceptor ──────► accept4(2)
//!     ▲    │              │ ▲                │
//!     │    │ socket       │ └─ one connection ┤ errors
//!     │    ▼              ▼                  │
//!     │  Incoming      accept()              │
//!     └── back-off ◄────── shortage ─────────┤
//!              the end ◄── listener ─────────┘
//! ```

pub(crate) mod errors;

pub(crate) mod acceptor;
pub(crate) mod backoff;

pub(crate) mod accept_loop;
