//! The clock of the current reactor, for tests: it can be stopped, and moved. Needs the feature `test-util`.
//!
//! While it is paused, all that this crate does on that reactor (timeouts, sleeps, intervals, guards, deadlines) sees the time
//! stand still; it moves by [`advance`] alone, which fires every timer that is passed, in order, and lets the tasks
//! run in between. Sockets work on. See [`TestClock`], which is what these functions use;
//! [`Handle::test_clock`](async_epoll::Handle::test_clock) gives that of a reactor which is not the current one.
//!
//! Nothing else moves it: while it is paused and nobody advances it, whoever waits for the time waits for ever. And it does
//! not wait for what it cannot see: while another thread, or a helper thread that looks up a name, takes its time to
//! answer, an advance goes on. What happens on the reactor's own thread, sockets included, is seen. A sleep begins when
//! it is first polled, so to advance past it, let it be polled first or `join!` the two:
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

/// The clock, if there is a reactor.
fn current() -> io::Result<TestClock> {
    Handle::current().map(|handle| handle.test_clock())
}

/// Stops the clock of the current reactor. A clock that stands is left alone.
///
/// # Errors
///
/// `NotConnected`, with a message that says what to do, where no reactor is current: the time of futures-timer cannot be
/// stopped.
pub fn pause() -> io::Result<()> {
    current().map(|clock| clock.pause())
}

/// Lets the clock run again from where it stands, so that it stays ahead of the real time, or behind it.
///
/// # Errors
///
/// As [`pause`].
pub fn resume() -> io::Result<()> {
    current().map(|clock| clock.resume())
}

/// Moves the clock, which has to be paused, by `duration`: from timer to timer, in order; after each, the tasks run until
/// none can go on. Returns when the clock has arrived and they have.
///
/// # Errors
///
/// As [`pause`]; and `InvalidInput` if the clock is not paused, or resumed meanwhile.
///
/// # Cancel safety
///
/// Dropped, the clock stays where it has come.
pub async fn advance(duration: Duration) -> io::Result<()> {
    current()?.advance(duration).await
}

/// What the clock of the current reactor shows; `Instant::now()` where there is none, since nothing can have been
/// paused there. Deadlines are to be made from this.
pub fn now() -> Instant {
    crate::now::now()
}
