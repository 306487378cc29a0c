//! Waiting for nothing but the time.

use crate::delay::Delay;
use crate::now::{now, saturating_add};
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Waits for `duration`, counted from the first poll. Never ends early; `Duration::MAX` never ends.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let begin = Instant::now();
/// futures::executor::block_on(async_timeout::sleep(Duration::from_millis(2)));
/// assert!(begin.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    Sleep { delay: Delay::After(duration) }
}

/// Waits until `deadline`; not at all if that has passed.
///
/// # Examples
///
/// ```
/// use std::time::Instant;
///
/// futures::executor::block_on(async_timeout::sleep_until(Instant::now()));
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { delay: Delay::At(deadline) }
}

/// Completes at an instant, never before; from [`sleep`] or [`sleep_until`].
///
/// It may move between threads and executors: the task that polled last is woken. If the reactor whose timer it uses
/// is dropped, it goes on with futures-timer; while that lives and nobody runs it, it waits.
///
/// On a reactor, a loop of sleeps for which no time has to pass lets other tasks go first now and then. Elsewhere nobody
/// knows where a poll begins, so there it does not.
///
/// # Cancel safety
///
/// Dropping it cancels the timer.
#[must_use = "futures do nothing unless polled or awaited"]
pub struct Sleep {
    delay: Delay,
}

impl Sleep {
    /// As [`sleep`], on the timers of the reactor of `handle`, whatever thread polls.
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    pub fn with_handle(duration: Duration, handle: &async_epoll::Handle) -> Self {
        Self { delay: Delay::Reactor(async_epoll::Timer::after(duration, handle)) }
    }

    /// Sets another deadline, completed or not. The task that waits is woken at the new one; after completion, it has
    /// to be polled again first.
    pub fn reset(&mut self, deadline: Instant) {
        self.delay.reset(deadline);
    }

    /// [`reset`](Self::reset) to `duration` from now. What an `Instant` cannot express is a century from now.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let begin = Instant::now();
    /// let mut sleep = async_timeout::sleep(Duration::from_secs(3600));
    /// sleep.reset_after(Duration::from_millis(2));
    /// futures::executor::block_on(sleep);
    /// assert!(begin.elapsed() >= Duration::from_millis(2));
    /// ```
    pub fn reset_after(&mut self, duration: Duration) {
        self.reset(saturating_add(now(), duration));
    }

    /// When it completes: `None` for a duration that has not begun, and for one that never ends. Inside
    /// [`with_deadline`](crate::with_deadline), not later than that says.
    pub fn deadline(&self) -> Option<Instant> {
        self.delay.deadline()
    }

    /// Whether a poll has returned `Ready` since the last reset.
    pub fn is_elapsed(&self) -> bool {
        self.delay.is_elapsed()
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.delay.poll_fair(cx)
    }
}

impl FusedFuture for Sleep {
    fn is_terminated(&self) -> bool {
        self.is_elapsed()
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline()).field("elapsed", &self.is_elapsed()).finish()
    }
}
