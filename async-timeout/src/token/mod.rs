//! Tokens that end futures: cancel from outside, by any thread.
//!
//! A [`CancelToken`] tells any number of tasks to stop, and each of its children those of a part of
//! the program. [`until`](crate::TimeoutExt::until) ends one future by a token. [`with_token`] also makes the token
//! [`current`] for all code inside, as [`with_deadline`](crate::with_deadline) does with a deadline.
//!
//! ```text
//!   server ────────────────┬─────────────────────┐          cancel wakes the waits of a token and of all below
//!     │ cancelled()        │ child()             │ child()
//!     ▼                  request             request
//!   waits                  │ until              │ with_token, current()
//!                          ▼                    ▼
//!                        waits                waits
//!
//!   cancel_token ──► node ──► links ──► arena       what users hold; a token; the tree; a table
//!   until, scope ──► cancellation ──► node          futures that end, and the wait for the token
//! ```
//!
//! The hard idea is in `links`: a token is freed when it is dropped, whatever its parent and its children do, and neither
//! a cancel nor a drop recurses.

mod arena;
mod cancel_token;
mod cancellation;
mod cancelled;
mod links;
mod node;
mod scope;
mod until;

pub use cancel_token::{CancelToken, DropGuard};
pub use cancellation::Cancellation;
pub use cancelled::Cancelled;
pub use scope::{WithToken, current, inherit, with_token};
pub use until::Until;
