//! A future that waits for the time alone.
//!
//! [`Sleep`] is the thinnest use of a [`Delay`], which chooses and holds the timer.

use crate::delay::Delay;
use crate::now::{now, saturating_add};
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Waits for `duration`, counted from the first poll.
///
/// The wait never ends early. `Duration::MAX` never ends.
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

/// Waits until `deadline`. If `deadline` has passed, the first poll is ready.
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

/// A future that completes at an instant, never before, from [`sleep`] or [`sleep_until`].
///
/// A sleep may move between threads and executors: the task of the last poll is woken. If the reactor of its timer is
/// dropped, the sleep continues with futures-timer. While the reactor lives but no thread runs it, the sleep waits.
///
/// On a reactor, a loop of sleeps without any wait yields to other tasks now and then. Elsewhere such a loop does not
/// yield, since nothing tells where the poll of a task begins.
///
/// # Cancel safety
///
/// Dropping the future cancels the timer.
#[must_use = "futures do nothing unless polled or awaited"]
pub struct Sleep {
    /// Waits for the deadline.
    delay: Delay,
}

impl Sleep {
    /// Waits for `duration`, as [`sleep`] does, on a timer of the reactor of `handle`, whatever thread polls.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_timeout::Sleep;
    /// use std::time::Duration;
    ///
    /// // No reactor is current in this executor, so a plain `sleep` would use futures-timer.
    /// let background = async_epoll::Reactor::new()?.into_background()?;
    /// futures::executor::block_on(Sleep::with_handle(Duration::from_millis(2), &background.handle()));
    /// # background.shutdown()
    /// # }
    /// ```
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "reactor")))]
    pub fn with_handle(duration: Duration, handle: &async_epoll::Handle) -> Self {
        Self { delay: Delay::Reactor(async_epoll::Timer::after(duration, handle)) }
    }

    /// Sets another deadline, before or after completion.
    ///
    /// A task that waits is woken at the new deadline. After completion, no task waits until the next poll.
    pub fn reset(&mut self, deadline: Instant) {
        self.delay.reset(deadline);
    }

    /// Sets the deadline to `duration` from now, by [`reset`](Self::reset).
    ///
    /// If an `Instant` cannot express that time, the deadline is a century from now.
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

    /// Returns the instant of completion, or `None` for a duration that has not begun or never ends.
    ///
    /// Inside [`with_deadline`](crate::with_deadline), the result is at most the deadline of that scope.
    pub fn deadline(&self) -> Option<Instant> {
        self.delay.deadline()
    }

    /// Returns whether a poll has returned `Ready` since the last reset.
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
