//! A descriptor, made async.
//!
//! A [`Source`](source::Source) owns an I/O object and its registration with a reactor. Every
//! [operation] on a source follows one pattern: try the system call, and only after `WouldBlock` wait for the
//! next edge. The [traits] of futures-io are that pattern with `read(2)` and `write(2)`. The room names no kind of
//! descriptor: sockets are in async-net-lite.
//!
//! ```text
//!   AsyncRead, AsyncWrite ──► Source::poll_read_with(op)
//!                                │ not ready? ──► leave the waker, Pending
//!                                ▼ ready
//!                               op() ── WouldBlock ──► clear the readiness, look again
//! ```

#[expect(clippy::module_inception, reason = "the source is the file that gives this room its name")]
pub(crate) mod source;
pub(crate) mod operation;
pub(crate) mod traits;
