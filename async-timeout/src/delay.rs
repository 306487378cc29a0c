//! A point in time to wait for, whatever keeps the time.
//!
//! Everything public in this crate is built on [`Delay`], and nothing else here knows that there are two kinds of
//! timer. The states:
//!
//! ```text
//!   After(duration) ──┐ first poll       ┌─► Reactor(timer) ──┐ the reactor
//!                     ├──────────────────┤                    │ is dropped
//!   At(instant) ──────┘ is there a       └─► Thread(timer) ◄──┘
//!                       current reactor?
//! ```

use crate::deadline;
use crate::thread_timer::ThreadTimer;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

#[cfg(all(feature = "reactor", target_os = "linux"))]
use async_epoll::{Handle, Timer};
#[cfg(all(feature = "reactor", target_os = "linux"))]
use futures::FutureExt;

/// A century, which is for ever. Some versions of futures-timer panic on more than an `Instant` can express.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// `duration` after `instant`; [`FOREVER`] after it, if that cannot be expressed.
pub(crate) fn saturating_add(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).or_else(|| instant.checked_add(FOREVER)).unwrap_or(instant)
}

/// The time by which the timers of this crate go: `Instant::now()`, unless a test has moved the clock of the current
/// reactor (feature `test-util`). Deadlines that are made from it can be tested.
///
/// # Examples
///
/// ```
/// use async_timeout::{now, with_deadline};
/// use std::{future::pending, time::Duration};
///
/// let soon = now() + Duration::from_millis(1);
/// assert!(futures::executor::block_on(with_deadline(soon, pending::<()>())).is_err());
/// ```
pub fn now() -> Instant {
    #[cfg(all(feature = "test-util", target_os = "linux"))]
    return crate::clock::now();
    #[cfg(not(all(feature = "test-util", target_os = "linux")))]
    Instant::now()
}

/// Waits until an instant. Unpin, so that it can be moved and reset. No larger than the reactor's timer.
pub(crate) enum Delay {
    /// Begins with the first poll.
    After(Duration),
    /// Not armed yet.
    At(Instant),
    /// It had passed when first polled, so it was not worth a timer.
    Passed(Instant),
    /// Armed in a reactor.
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    Reactor(Timer),
    /// Armed on the helper thread of futures-timer.
    Thread(Box<ThreadTimer>),
    /// Nobody needs to wait any more. Never ready, and stays as it is.
    Over,
}

impl Delay {
    /// With a timer of the reactor of `handle`, whatever thread polls.
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    pub(crate) fn with_handle(duration: Duration, handle: &Handle) -> Self {
        Self::Reactor(Timer::after(duration, handle))
    }

    /// Ready once the time has come, and from then on.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::After(_) | Self::At(_) = self {
            self.arm();
        }
        #[cfg(all(feature = "reactor", target_os = "linux"))]
        if let Self::Reactor(timer) = self {
            match timer.poll_unpin(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
                // The reactor is gone. The time goes on, so somebody else has to keep it.
                Poll::Ready(Err(_)) => *self = Self::on_thread(timer.deadline()),
            }
        }
        match self {
            Self::Thread(timer) => timer.poll_elapsed(cx),
            Self::Over => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// [`poll_elapsed`](Self::poll_elapsed) for those who may wait again and again. If no time has to pass, such a loop
    /// would never let others go first, so it is made to, now and then. Not for timeouts: another loop, inside, must not be
    /// able to put them off.
    pub(crate) fn poll_fair(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        #[cfg(all(feature = "reactor", target_os = "linux"))]
        let has_waited = self.is_elapsed()
            || match self {
                Self::Reactor(timer) => timer.is_armed(),
                Self::Thread(_) => true,
                _ => false,
            };
        ready!(self.poll_elapsed(cx));
        #[cfg(all(feature = "reactor", target_os = "linux"))]
        if !has_waited && async_epoll::poll_cooperate(cx).is_pending() {
            // Nobody has heard of it. Were it over already, `select!` would not ask again.
            self.wait_again();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// To be found out once more by the next poll: that the time has come.
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    #[cold]
    fn wait_again(&mut self) {
        if let Some(deadline) = self.own_deadline() {
            self.reset(deadline);
        }
    }

    /// Whether a poll has returned `Ready` since the last reset.
    pub(crate) fn is_elapsed(&self) -> bool {
        match self {
            Self::After(_) | Self::At(_) | Self::Over => false,
            Self::Passed(_) => true,
            #[cfg(all(feature = "reactor", target_os = "linux"))]
            Self::Reactor(timer) => timer.is_elapsed(),
            Self::Thread(timer) => timer.is_elapsed(),
        }
    }

    /// Chooses who keeps the time.
    fn arm(&mut self) {
        #[cfg(all(feature = "reactor", target_os = "linux"))]
        {
            let timer = match *self {
                Self::After(duration) => Timer::try_after(duration),
                Self::At(deadline) => Timer::try_at(deadline),
                _ => return,
            };
            if let Ok(timer) = timer {
                // What was here owns nothing, so it need not be dropped. That is known to us only.
                std::mem::forget(std::mem::replace(self, Self::Reactor(timer)));
                return;
            }
        }
        let now = now();
        *self = match *self {
            Self::After(duration) if duration.is_zero() => Self::Passed(now),
            Self::After(duration) => Self::on_thread(now.checked_add(duration)),
            Self::At(deadline) if deadline > now => Self::on_thread(Some(deadline)),
            Self::At(deadline) => Self::Passed(deadline),
            _ => return,
        }
    }

    /// On the helper thread of futures-timer.
    fn on_thread(deadline: Option<Instant>) -> Self {
        Self::Thread(Box::new(ThreadTimer::new(deadline)))
    }

    /// Another deadline. Who waited for the old one is woken at the new one.
    pub(crate) fn reset(&mut self, deadline: Instant) {
        match self {
            #[cfg(all(feature = "reactor", target_os = "linux"))]
            Self::Reactor(timer) => timer.reset(deadline),
            Self::Thread(timer) => timer.reset(deadline),
            Self::Over => {}
            Self::After(_) | Self::At(_) | Self::Passed(_) => *self = Self::At(deadline),
        }
    }

    /// The instant, if it is known: not for a duration that has not begun, nor for "never". None is later than the end of
    /// the scope in which this is asked.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = self.own_deadline()?;
        Some(deadline::current().map_or(own, |end| end.min(own)))
    }

    /// The same, wherever it is asked.
    fn own_deadline(&self) -> Option<Instant> {
        match self {
            Self::At(deadline) | Self::Passed(deadline) => Some(*deadline),
            Self::Thread(timer) => timer.deadline(),
            #[cfg(all(feature = "reactor", target_os = "linux"))]
            Self::Reactor(timer) => timer.deadline(),
            Self::After(_) | Self::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug E1: what cannot be expressed is for ever, and nothing overflows.
    #[test]
    fn sums_saturate() {
        let (instant, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(saturating_add(instant, second), instant + second);
        assert_eq!(saturating_add(instant, Duration::MAX), instant + FOREVER);
        // The end of time, found by halves.
        let steps = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
        let end = steps.fold(instant, |end, step| end.checked_add(step).unwrap_or(end));
        assert_eq!(saturating_add(end, Duration::MAX), end);
    }
}
