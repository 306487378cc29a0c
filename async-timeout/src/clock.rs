//! Pauses and advances the clock of the current reactor, for tests. Needs the feature `test-util`.
//!
//! While the clock is paused, the time stands still for everything that this crate does on the reactor: timeouts,
//! sleeps, intervals, guards and deadlines. [`advance`] moves the time. It fires every timer on the way, in order,
//! and lets the tasks run in between. After [`pause_auto`], the time also moves by itself, to the next timer, whenever
//! nothing but a timer can go on. Sockets work as usual. The functions of this module use a [`TestClock`];
//! [`Handle::test_clock`](async_epoll::Handle::test_clock) returns the clock of a reactor that is not current.
//!
//! Two properties to know when writing a test:
//!
//! - After [`pause`], the clock never moves by itself. If the test forgets to call `advance`, and nothing but a timer could
//!   go on, `run`, `run_until` and `block_on` fail after a second of real time with an error that says so. If a task waits
//!   for a channel or a socket, too, they go on waiting, and a message says so.
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
//!
//! # A clock that moves by itself
//!
//! Where a test has timers alone, [`pause_auto`] is enough: backoffs, schedules and limits of a day pass in a moment. Where
//! a task waits for a socket, a channel (also one between two tasks of the test) or another thread, that clock stands: it cannot know whether something is on its
//! way, and a timeout that wins over input under way would make tests fail now and then. If all peers are tasks of the
//! test, `advance` moves the time, as far as the test lasts:
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use async_timeout::{TimeoutExt, clock, sleep};
//! use futures::{StreamExt, channel::mpsc, future::{self, Either}};
//! use std::{pin::pin, time::Duration};
//!
//! const MINUTE: Duration = Duration::from_secs(60);
//!
//! async_epoll::try_block_on(async {
//!     clock::pause()?;
//!     let test = async {
//!         let (sender, mut receiver) = mpsc::unbounded();
//!         async_epoll::spawn_local(async move {
//!             sleep(MINUTE).await;
//!             _ = sender.unbounded_send("late");
//!             sleep(MINUTE).await;
//!         })?;
//!         assert!(receiver.next().timeout(MINUTE / 2).await.is_err());
//!         assert_eq!(receiver.next().timeout(MINUTE).await.unwrap(), Some("late"));
//!         Ok(())
//!     };
//!     match future::select(pin!(test), pin!(clock::advance(100 * MINUTE))).await {
//!         Either::Left((result, _)) => result,
//!         Either::Right(_) => panic!("the test takes longer"),
//!     }
//! })
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

/// Pauses the clock of the current reactor, and makes it move by itself to the next timer whenever nothing but a timer can
/// wake a task. Does nothing if the clock moves by itself already.
///
/// The clock moves while [`Reactor::run`](async_epoll::Reactor::run), `run_until` or `block_on` runs the reactor. The rules
/// are those of [`TestClock::pause_auto`](async_epoll::TestClock::pause_auto): no task is ready, the kernel has no event,
/// and no event, no other thread, no channel, no lock and no token could wake a task.
///
/// # Errors
///
/// As [`pause`]; and `Unsupported` if the reactor is embedded or in the background.
///
/// # Examples
///
/// A day of retries, in a moment:
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_timeout::{clock, sleep};
/// use std::time::Duration;
///
/// async_epoll::try_block_on(async {
///     clock::pause_auto()?;
///     let begin = clock::now();
///     let mut pause = Duration::from_secs(1);
///     for _attempt in 0..17 {
///         sleep(pause).await;
///         pause *= 2;
///     }
///     assert_eq!(clock::now() - begin, Duration::from_secs(131_071));
///     Ok(())
/// })
/// # }
/// ```
pub fn pause_auto() -> io::Result<()> {
    current()?.pause_auto()
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
