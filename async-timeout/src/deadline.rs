//! Deadlines for everything that happens inside a future.
//!
//! A request may wait for many operations, but has one deadline. [`with_deadline`] sets the deadline once, instead of
//! passing it to each operation. The deadline is in a thread-local only while the future is polled. So the code that
//! the future polls can read the deadline by [`current`], and other code cannot.
//!
//! ```text
//!   with_deadline(…, 12:00:05)               current() is 12:00:05 in here
//!     ├─ resolve, connect                    dropped at 12:00:05, in whatever state
//!     ├─ with_deadline(…, 12:00:09)          current() is still 12:00:05: the nearest deadline wins
//!     ├─ FuturesUnordered of children        polled in here, so limited as well
//!     └─ spawn(…)                            polled by the executor: not limited, except by inherit
//! ```
//!
//! A scope is one such future with its deadline. It has a timer of its own and drops the inner future when the timer
//! fires, so no operation inside waits longer, and none needs to know of the scope. A [`Timeout`](crate::Timeout) inside
//! does not end early when the scope ends. If it did, a loop that retries after each timeout would find every further
//! attempt timed out at once. The loop would never return to the scope, and the scope could not end the loop.

use crate::delay::Delay;
use crate::elapsed::Elapsed;
use crate::now::now;
use crate::scope::Scope;
use futures::future::FusedFuture;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

#[doc(inline)]
pub use crate::scope::current;

/// Returns the time left until [`current`], or `None` outside any scope.
///
/// The result is zero if the deadline has passed.
pub fn remaining() -> Option<Duration> {
    Some(current()?.saturating_duration_since(now()))
}

/// Limits `future` by the deadline that is [`current`] in this call, wherever `future` is polled later.
///
/// A spawned task does not inherit the deadline without this function. Outside any scope, `future` gets no limit.
///
/// # Examples
///
/// ```
/// use async_timeout::{deadline, with_deadline};
/// use futures::{executor::LocalPool, task::LocalSpawnExt};
/// use std::{future::pending, time::Instant};
///
/// let mut pool = LocalPool::new();
/// let spawner = pool.spawner();
/// let parent = async { spawner.spawn_local_with_handle(deadline::inherit(pending::<()>())).unwrap() };
/// let child = pool.run_until(with_deadline(parent, Instant::now())).unwrap();
/// assert!(pool.run_until(child).is_err(), "the child has timed out");
/// ```
pub fn inherit<F: Future>(future: F) -> WithDeadline<F> {
    WithDeadline::new(future, current())
}

/// Sets a deadline for everything inside `future`.
///
/// If `future` is still pending when the deadline passes, `future` is dropped and the output is `Err(Elapsed)`. While
/// `future` is polled, [`deadline::current`](current) returns `deadline`, or the deadline of an outer scope if nearer.
/// Sleeps, timeouts, intervals and all other timers inside cannot wait longer, and their `deadline()` is never later.
/// Spawned tasks are not inside; see [`inherit`].
///
/// As with [`Timeout`](crate::Timeout), `future` is polled first: an output that is ready is returned, even after the
/// deadline.
///
/// # Cancel safety
///
/// `future` must be cancel safe, because the deadline may drop `future` at any of its await points.
///
/// # Examples
///
/// ```
/// use async_timeout::{sleep, with_deadline};
/// use std::time::{Duration, Instant};
///
/// let slow = async {
///     for _ in 0..1_000 {
///         sleep(Duration::from_secs(1)).await;
///     }
/// };
/// let soon = Instant::now() + Duration::from_millis(2);
/// assert!(futures::executor::block_on(with_deadline(slow, soon)).is_err());
/// ```
pub fn with_deadline<F: Future>(future: F, deadline: Instant) -> WithDeadline<F> {
    WithDeadline::new(future, Some(deadline))
}

pin_project! {
    /// A future with a deadline for everything inside, from [`with_deadline`] and [`inherit`].
    ///
    /// # Cancel safety
    ///
    /// Dropping this future drops the inner future.
    #[must_use = "futures do nothing unless polled or awaited"]
    pub struct WithDeadline<F> {
        // The inner future; `None` once it has been ready or the deadline has passed.
        #[pin]
        future: Option<F>,
        // The deadline as it was given; `None` if there is no limit.
        deadline: Option<Instant>,
        // Waits for `deadline`; `Over` if there is no limit, or once the inner future has been ready.
        delay: Delay,
    }
}

impl<F> WithDeadline<F> {
    fn new(future: F, deadline: Option<Instant>) -> Self {
        let delay = deadline.map_or(Delay::Over, Delay::At);
        Self { future: Some(future), deadline, delay }
    }

    /// Returns the deadline, or `None` if the future has inherited no deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl<F: Future> Future for WithDeadline<F> {
    type Output = Result<F::Output, Elapsed>;

    /// Polls the inner future, then the timer. After `Err`, further polls return `Err` again; after `Ok`, `Pending`.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(future) = this.future.as_mut().as_pin_mut() {
            let scope = Scope::enter(*this.deadline);
            let polled = future.poll(cx);
            drop(scope);
            if let Poll::Ready(output) = polled {
                *this.delay = Delay::Over;
                this.future.set(None);
                return Poll::Ready(Ok(output));
            }
        }
        // This scope has been left, so only the outer scopes apply to the timer.
        ready!(this.delay.poll_elapsed(cx));
        this.future.set(None);
        Poll::Ready(Err(Elapsed::new()))
    }
}

impl<F: Future> FusedFuture for WithDeadline<F> {
    fn is_terminated(&self) -> bool {
        self.future.is_none()
    }
}

impl<F: fmt::Debug> fmt::Debug for WithDeadline<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithDeadline").field("future", &self.future).field("deadline", &self.deadline).finish()
    }
}
