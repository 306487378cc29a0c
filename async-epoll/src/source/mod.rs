//! A descriptor, made async.
//!
//! A [`Source`](source::Source) owns an I/O object and its registration with a reactor. Every [operation] on a source
//! follows one pattern: try the system call first, and wait for the kernel's next event only after `WouldBlock`. The
//! [traits] of futures-io apply this pattern to `read(2)` and `write(2)`. The room names no kind of descriptor: sockets
//! are in async-net-lite.
//!
//! ```text
//!   AsyncRead, AsyncWrite ──► Source::poll_read_with(op)
//!                                │ not ready? ──► store the waker, Pending
//!                                ▼ ready
//!                               op() ── WouldBlock ──► clear the readiness, start over
//! ```

#[expect(clippy::module_inception, reason = "the source is the file that gives this room its name")]
pub(crate) mod source;
pub(crate) mod operation;
pub(crate) mod traits;
