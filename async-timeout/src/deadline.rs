//! Deadlines for everything that happens inside a future.
//!
//! A request has so much time, however many things it has to wait for. Instead of passing the deadline on to each of
//! them, [`with_deadline`] sets it for all: in a thread-local, only while the future is polled, so that it is seen by
//! what the future polls, and by nothing else.
//!
//! ```text
//!   with_deadline(…, 12:00:05)               current() is 12:00:05 in here
//!     ├─ resolve, connect                    dropped at 12:00:05, wherever they are
//!     ├─ with_deadline(…, 12:00:09)          current() is still 12:00:05: the nearest wins
//!     ├─ FuturesUnordered of children        polled in here, so limited as well
//!     └─ spawn(…)                            polled by the executor: not limited, unless by inherit
//! ```
//!
//! The scope has a timer of its own, and drops its future when that fires; so nothing inside waits longer, and what waits
//! there need not know. Above all, a timeout inside does not time out on the scope's account: a loop that tries again
//! after each timeout would find every further attempt timed out at once when the scope is over, and never return to
//! have the scope end it.

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

/// The time that is left until [`current`], zero if that has passed; `None` outside any scope.
pub fn remaining() -> Option<Duration> {
    Some(current()?.saturating_duration_since(now()))
}

/// Limits `future` by the deadline that is [`current`] here, wherever it is polled: a spawned task does not inherit it by
/// itself. Without a limit where there is none.
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
/// let handle = pool.run_until(with_deadline(async {
///     spawner.spawn_local_with_handle(deadline::inherit(pending::<()>())).unwrap()
/// }, Instant::now()));
/// assert!(pool.run_until(handle.unwrap()).is_err(), "the child has timed out");
/// ```
pub fn inherit<F: Future>(future: F) -> WithDeadline<F> {
    WithDeadline::new(future, current())
}

/// Sets a deadline for everything inside `future`: when it comes, `future` is dropped, wherever it is, and the output is
/// `Err(Elapsed)`.
///
/// While `future` is polled, [`deadline::current`](current) says `deadline`, or that of a scope around this one if it is
/// nearer. Sleeps, timeouts, intervals and whatever else waits for the time cannot wait beyond it, and their `deadline()`
/// is never later. Spawned tasks are not inside; see [`inherit`].
///
/// As with [`Timeout`](crate::Timeout), `future` is polled first: if it is ready, its output is not lost, however late
/// it is.
///
/// # Cancel safety
///
/// `future` has to be one that may be dropped.
///
/// # Examples
///
/// ```
/// use async_timeout::{sleep, with_deadline};
/// use std::time::{Duration, Instant};
///
/// let soon = Instant::now() + Duration::from_millis(2);
/// let result = futures::executor::block_on(with_deadline(async {
///     for _ in 0..1_000 {
///         sleep(Duration::from_secs(1)).await;
///     }
/// }, soon));
/// assert!(result.is_err());
/// ```
pub fn with_deadline<F: Future>(future: F, deadline: Instant) -> WithDeadline<F> {
    WithDeadline::new(future, Some(deadline))
}

pin_project! {
    /// A future and all that is inside it, with a deadline; from [`with_deadline`] and [`inherit`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future inside.
    #[must_use = "futures do nothing unless polled or awaited"]
    pub struct WithDeadline<F> {
        // `None` once it has been ready, or the time was up.
        #[pin]
        future: Option<F>,
        // `None`: no limit.
        deadline: Option<Instant>,
        delay: Delay,
    }
}

impl<F> WithDeadline<F> {
    fn new(future: F, deadline: Option<Instant>) -> Self {
        let delay = deadline.map_or(Delay::Over, Delay::At);
        Self { future: Some(future), deadline, delay }
    }

    /// When the time is up; `None` for a future that has inherited no deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl<F: Future> Future for WithDeadline<F> {
    type Output = Result<F::Output, Elapsed>;

    /// After it has been ready, further polls return `Err` again, or `Pending` if it was in time.
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
        // Not inside the scope: here, only those around it count.
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
