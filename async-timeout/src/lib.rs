//! Timeouts for futures-rs: a time limit for any future.
//!
//! futures-rs has no timeout. A timeout needs a clock that wakes tasks, and futures-rs has no such clock. This crate adds
//! timeouts for any executor, on any platform where `std` can tell the time:
//!
//! ```
//! use async_timeout::{Elapsed, Timeout, TimeoutExt};
//! use futures::future::{pending, ready};
//! use std::time::Duration;
//!
//! futures::executor::block_on(async {
//!     let limit = Duration::from_millis(5);
//!     assert_eq!(Timeout::new(ready("in time"), limit).await, Ok("in time"));
//!     assert!(pending::<()>().timeout(limit).await.is_err());
//! });
//! ```
//!
//! # A race of two futures
//!
//! A [`Timeout`] polls the inner future first, and polls the timer only if the inner future is pending. A future that is
//! ready therefore never times out, however late the executor polls it, and a timeout around a ready future costs next
//! to nothing.
//!
//! ```text
//!   poll:   inner? ──Ready──► Ok(value)
//!             │ Pending
//!             ▼
//!           timer? ──due────► Err(Elapsed)
//!             │ Pending
//!             ▼
//!           Pending (both hold the task's waker)
//! ```
//!
//! A timeout given as a [`Duration`](std::time::Duration) begins with the first poll that finds the inner future
//! pending, not with its construction. A deadline given as an [`Instant`](std::time::Instant) is fixed from the start.
//!
//! # Deadlines for everything inside
//!
//! A [`Timeout`] limits one operation. A request may need many operations, one after the other. [`with_deadline`] limits
//! them all, and code inside can read the deadline by [`deadline::current`].
//!
//! # Tokens
//!
//! A [`CancelToken`] ends futures from outside: [`cancel`](CancelToken::cancel) may be called by any thread, for all tasks
//! of a token and of its children. [`TimeoutExt::until`] ends one future, [`with_token`] everything inside.
//!
//! ```
//! use async_timeout::{CancelToken, TimeoutExt, sleep};
//! use std::time::Duration;
//!
//! let stop = CancelToken::new();
//! let child = stop.child();
//! std::thread::spawn(move || stop.cancel_with("shutting down"));
//! let cancelled = futures::executor::block_on(sleep(Duration::from_secs(3600)).until(&child)).unwrap_err();
//! assert_eq!(cancelled.reason(), Some("shutting down"));
//! ```
//!
//! # Where the time comes from
//!
//! A timer is chosen at that first pending poll:
//!
//! - If a reactor of `async-epoll` is current on the thread, the timer is one of the reactor's. It needs no helper thread
//!   and no system call.
//! - Otherwise, the timer is one of `futures-timer`'s. Its helper thread starts with the first such timer.
//!
//! A reactor's timer fires only while some thread runs the reactor. A timeout that is awaited under a guard of
//! `Handle::enter` waits for ever if the executor does not run that reactor. A timeout that has been armed on a reactor
//! and has moved to another thread also waits for ever, if no thread runs the reactor any more.
//!
//! The helper thread of futures-timer may fail to start, because the process has reached its limit of threads. Timers
//! then work without the thread: a waiting task is polled about once per millisecond until the time has come or the
//! thread can start.
//!
//! A forked child has neither its parent's reactor nor the helper thread. A timer notices when it is polled, and moves to a
//! helper thread of the child's own: one of async-epoll with the feature `reactor`, or none, as above. Two limits: an
//! executor that does not poll its futures after the fork is not woken; and without the feature `reactor`, a child with the
//! process ID of its parent (in a PID namespace of its own) is not told apart.
//!
//! # In tests
//!
//! With the feature `test-util`, a test can pause the clock of its reactor and advance it, or let it advance by itself
//! where only timers are left: see `clock`. For this, compute deadlines from [`now()`] instead of `Instant::now()`.
//!
//! # Features
//!
//! - `reactor`, on by default, for Linux: uses the timers of async-epoll where one of its reactors is current. Without
//!   this feature, and on other systems, all timers are those of futures-timer.
//! - `test-util`: adds the module `clock`.
//!
//! # Where to read next
//!
//! In the source, the `mod` lines are in reading order. Start with `delay/`, which hides the two kinds of timer behind
//! one type.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The ground.
mod platform;
mod now;
pub use now::now;

mod elapsed;
pub use elapsed::Elapsed;

mod foreign;
mod scope;
// The timer under everything below.
mod delay;

mod sleep;
pub use sleep::{Sleep, sleep, sleep_until};

mod timeout;
pub use timeout::{IoTimeout, Timeout};

mod missed_tick;
pub use missed_tick::MissedTickBehavior;

mod interval;
pub use interval::{Interval, interval, interval_at};

pub mod token;
#[doc(inline)]
pub use token::{CancelToken, Cancellation, Cancelled, DropGuard, Until, WithToken, with_token};

mod ext;
pub use ext::TimeoutExt;

mod stream;
pub use stream::{Debounce, ItemTimeout, StreamTimeoutExt, Throttle};

mod guard;
pub use guard::{IoGuard, Limit, LimitExceeded, guard};

pub mod deadline;
#[doc(inline)]
pub use deadline::{WithDeadline, with_deadline};

#[cfg(all(feature = "test-util", target_os = "linux"))]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod clock;

// The example of the README is a test, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
