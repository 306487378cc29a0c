//! Timeouts for futures-rs: any future, limited in time.
//!
//! futures-rs has no timeout, since a timeout needs a clock that wakes somebody, and futures-rs has none. This crate
//! adds it, for any executor on any platform where `std` can tell the time:
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
//! A [`Timeout`] polls the inner future first, and the timer only if that is not ready. So a future that is ready never
//! times out, however late it is looked at, and around a ready future a timeout costs next to nothing.
//!
//! ```text
//!   poll:   inner? ──Ready──► Ok(value)
//!             │ Pending
//!             ▼
//!           timer? ──due────► Err(Elapsed)
//!             │ Pending
//!             ▼
//!           Pending (both hold our waker)
//! ```
//!
//! A timeout given as a [`Duration`](std::time::Duration) begins with the first poll that finds the inner future
//! pending, not when it is made. A deadline given as an [`Instant`](std::time::Instant) means what it says.
//!
//! # Deadlines for everything inside
//!
//! A [`Timeout`] limits one thing. What a request does may be many things one after the other, and [`with_deadline`] limits
//! them all; what is inside may ask for [`deadline::current`].
//!
//! # Where the time comes from
//!
//! Which timer is used is decided at that first pending poll. On a thread where a reactor of `async-epoll` runs, it is
//! one of the reactor's: no helper thread, no system call. (So somebody has to turn that reactor: a timeout awaited under
//! a guard of `Handle::enter` in an executor that does not, waits for ever; and so does one that was armed there and moved
//! to another thread, while nobody runs the reactor.) Everywhere else it is one of
//! `futures-timer`'s, whose helper thread starts when first needed. If it cannot start, because the process may have no
//! more threads, timers go on without it: whoever waits is polled about once per millisecond until the time has come, or
//! a thread can be had.
//!
//! # In tests
//!
//! With the feature `test-util`, a test stops the time of its reactor and moves it as it likes: see `clock`. For that,
//! make deadlines from [`now`], not from `Instant::now()`.
//!
//! # Features
//!
//! - `reactor`, on by default, for Linux: the timers of async-epoll where one of its reactors runs. Without it, or on other
//!   systems, all timers are those of futures-timer.
//! - `test-util`: the module `clock`.
//!
//! # Where to read next
//!
//! In the source, the `mod` lines are in reading order; `delay.rs` has the two kinds of timer behind one face.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod elapsed;
pub use elapsed::Elapsed;

mod thread_timer;
mod delay;
pub use delay::now;

mod timeout;
pub use timeout::{IoTimeout, Timeout};

mod sleep;
pub use sleep::{Sleep, sleep, sleep_until};

mod ext;
pub use ext::TimeoutExt;

mod interval;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};

mod stream;
pub use stream::{Debounce, ItemTimeout, StreamTimeoutExt, Throttle};

mod guard;
pub use guard::{IoGuard, guard};

mod watch;

mod limits;
pub use limits::{Limit, LimitExceeded};

mod alarm;

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
