//! Signals of the process, as a stream and as futures.
//!
//! Few operations are safe in a signal handler: an allocation, a lock and a waker are not. The [handler](sys) does two
//! things that are safe: it adds 1 to the counter of the signal, and writes to an eventfd that all listeners share. Each
//! listener is a source on a duplicate of this eventfd, in a reactor of its own choice, and compares the counters with
//! the values that it has seen last. So a listener shares nothing with the handler that could be full, or be freed too
//! early, and each listener hears each signal.
//!
//! The [listeners](subscription) of a signal are counted for the whole process, because the action of a signal belongs to
//! the process. The first listener replaces the action, the last puts the old one back. A forked child gets the old
//! actions back during the fork.
//!
//! ```text
//!   kill -TERM ──► handler, on any thread: count[TERM] += 1, write(eventfd)
//!                                                               │ an edge for each duplicate
//!                         ┌─────────────────────────────────────┼──────────────┐
//!                         ▼                                     ▼              ▼
//!                   Signals { seen[TERM], seen[INT] }        Signals        Signals      in one reactor or several
//!                         │ count[TERM] != seen[TERM]?
//!                         ▼
//!                   Some(Signal::TERM)
//! ```

pub(crate) mod sys;
pub(crate) mod number;
pub(crate) mod subscription;
pub(crate) mod signals;
