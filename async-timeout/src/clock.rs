//! Pauses and advances the clock of the current reactor, for tests. Needs the feature `test-util`.
//!
//! While the clock is paused, the time stands still for everything that this crate does on the reactor: timeouts,
//! sleeps, intervals, guards and deadlines. Only [`advance`] moves the time. It fires every timer on the way, in order,
//! and lets the tasks run in between. Sockets work as usual. The functions of this module use a [`TestClock`];
//! [`Handle::test_clock`](async_epoll::Handle::test_clock) returns the clock of a reactor that is not current.
//!
//! Two properties to know when writing a test:
//!
//! - A paused clock never moves by itself. A task that waits for a timer waits for ever, unless the test calls `advance`.
//! - `advance` does not wait for work that the reactor cannot see, such as another thread, or the helper thread that
//!   looks up a name. Everything on the reactor's own thread, sockets included, is seen.
//!
//! A sleep begins with its first poll. To advance past the end of a sleep, poll the sleep first, or `join!` the two:
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use async_timeout::{Timeout, clock, sleep};
//! use std::time::Duration;
//!
//! const DAY: Duration = Duration::from_secs(24 * 3600);
//!
//! async_epoll::block_on(async {
//!     clock::pause()?;
//!     let begin = clock::now();
//!     let nap = Timeout::new(sleep(7 * DAY), DAY);
//!     let (result, advanced) = futures::join!(nap, clock::advance(2 * DAY));
//!     advanced?;
//!     assert!(result.is_err());
//!     assert_eq!(clock::now() - begin, 2 * DAY);
//!     Ok(())
//! })?
//! # }
//! ```

use async_epoll::{Handle, TestClock};
use std::io;
use std::time::{Duration, Instant};

/// Returns the clock of the current reactor.
fn current() -> io::Result<TestClock> {
    Handle::current().map(|handle| handle.test_clock())
}

/// Pauses the clock of the current reactor. Does nothing if the clock is paused already.
///
/// # Errors
///
/// `NotConnected`, with a message that says what to do, if no reactor is current. The time of futures-timer cannot be
/// paused.
pub fn pause() -> io::Result<()> {
    current().map(|clock| clock.pause())
}

/// Lets the clock run again.
///
/// The clock goes on from its present time, so it stays ahead of the real time or behind it.
///
/// # Errors
///
/// As [`pause`].
pub fn resume() -> io::Result<()> {
    current().map(|clock| clock.resume())
}

/// Advances the paused clock by `duration`, from timer to timer, in order.
///
/// After each timer, the tasks run until none can make progress. Returns once the clock has reached its end and the
/// tasks have run.
///
/// # Errors
///
/// As [`pause`]; and `InvalidInput` if the clock is not paused, or is resumed meanwhile.
///
/// # Cancel safety
///
/// If the future is dropped, the clock keeps the time it has reached.
pub async fn advance(duration: Duration) -> io::Result<()> {
    current()?.advance(duration).await
}

/// Returns the time of the current reactor's clock, for tests to compute deadlines.
///
/// Without a current reactor there is no clock to pause, and the result is `Instant::now()`.
pub fn now() -> Instant {
    crate::now::now()
}
