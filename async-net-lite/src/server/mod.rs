//! A server: accepts connections within limits, serves each in a task of its own, and stops without losing one.
//!
//! A [`Server`] has listeners, TCP and Unix, each with a [`Handler`]. The handler gets each [`Connection`]: a stream with limits
//! of time. [`Server`] tells what users need to know.
//!
//! ```text
//!            ServerHandle, any thread                    hook ◄── Event
//!                  │ commands                             ▲
//!                  ▼                                      │
//!   Listener ──► Serving ─── ticket, Connection ──► task ─┴─► Handler
//!                  │  one future: accepts, stops      │        holds the Connection
//!                  ▼                                  ▼
//!                Phase                              Slot: what the three know of a connection
//! ```
//!
//! A *ticket* (`hub`) is the right of a connection to be open. It is made before the handler is called and counts the
//! connection when it is dropped, so no connection is counted twice or forgotten, whatever its handler does. Time limits are
//! those of an [`IoGuard`](async_timeout::IoGuard): one timer for a connection, and none for a read.

mod address;
mod control;
mod event;
mod io;
mod phase;
mod report;
mod settings;

mod hub;

mod connection;
mod listener;

mod handler;

mod refusals;
mod task;

mod serving;
#[cfg(feature = "signal")]
mod signals;

#[allow(clippy::module_inception, reason = "the type that the room is named after")]
mod server;

pub use address::Address;
pub use connection::{Connection, Next};
pub use control::ServerHandle;
pub use event::{Event, Pause, Refusal};
pub use handler::{Handler, HandlerResult, IntoResult};
pub use listener::Listener;
pub use report::{Outcome, Report, TimeLimit, TimedOut};
pub use server::Server;
pub use settings::{
    FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT, LINGER_BYTES, LINGER_TIMEOUT, MAX_BACKLOG, MAX_REFUSALS, REFUSAL_TIMEOUT,
    RESERVED_DESCRIPTORS, SHUTDOWN_TIMEOUT, WRITE_STALL_TIMEOUT,
};
