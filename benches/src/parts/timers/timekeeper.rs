//! The interface of a timer implementation, as the exercises use it.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

/// A timer implementation and its runtime.
pub(super) trait Timekeeper {
    /// The peer's sleep future.
    type Sleep: Future;
    /// Runs a future to its end, on the peer's own runtime, as its documentation recommends.
    fn run<F: Future>(self, future: F) -> io::Result<F::Output>;
    /// Returns a sleep of `duration`.
    fn sleep(duration: Duration) -> Self::Sleep;
    /// Returns `future` with a limit on its time.
    fn timeout<F: Future>(future: F, limit: Duration) -> impl Future;
    /// Returns `future` with a deadline.
    fn timeout_at<F: Future>(future: F, deadline: Instant) -> impl Future;
}
