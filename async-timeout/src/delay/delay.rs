//! A wait until an instant, on either of the two kinds of timer.
//!
//! Every public type of this crate that waits for the time holds a [`Delay`]. The states:
//!
//! ```text
//!   After(duration) ──┐ first poll       ┌─► Reactor(timer) ──┐ the reactor is dropped,
//!                     ├──────────────────┤                    │ or belongs to the parent process
//!   At(instant) ──────┘ is there a       └─► Thread(timer) ◄──┘
//!                       current reactor?
//! ```
//!
//! Without a current reactor, an instant that has passed at the first poll leads to `Passed`, which needs no timer.
//! `Over` is set from outside, by a future that needs its timer no longer.
//!
//! A forked child has neither its parent's reactor nor the helper thread of futures-timer. A delay finds that out when it
//! is polled, and moves on: to the timer of a reactor that the child starts as its own helper, which is a `Reactor` again.

use super::thread_timer::{Helper, ThreadTimer, helper};
use crate::now::now;
use crate::platform::{Timer, helper_timer, poll_cooperate};
use crate::scope;
use futures::FutureExt;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Waits until an instant. `Delay` is `Unpin`, so it can move and be reset, and is no larger than a reactor's timer.
pub(crate) enum Delay {
    /// Not polled yet. The duration begins with the first poll.
    After(Duration),
    /// Not polled yet. The wait ends at the instant.
    At(Instant),
    /// The instant had passed at the first poll, so no timer was armed.
    Passed(Instant),
    /// Armed in a reactor: the current one, or the helper of a forked child.
    Reactor(Timer),
    /// Armed on the helper thread of futures-timer, or waiting for such a thread.
    Thread(Box<ThreadTimer>),
    /// Not needed any more. Never ready, and keeps this state also when reset.
    Over,
}

impl Delay {
    /// Returns `Ready` once the time has come, and from then on.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::After(_) | Self::At(_) = self {
            self.arm();
        }
        if let Self::Reactor(timer) = self {
            match timer.poll_unpin(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
                // The reactor has been dropped, or belongs to the parent process. A helper takes over the deadline.
                Poll::Ready(Err(_)) => *self = Self::on_thread(timer.deadline()),
            }
        } else if let Self::Thread(timer) = self {
            if timer.needs_helper() {
                *self = Self::on_thread(timer.deadline());
            }
        }
        match self {
            Self::Thread(timer) => timer.poll_elapsed(cx),
            Self::Reactor(timer) => match timer.poll_unpin(cx) {
                Poll::Ready(Err(_)) => {
                    // The reactor that is the helper ends by an error whenever it is started.
                    let mut timer = Box::new(ThreadTimer::without_helper(timer.deadline()));
                    let polled = timer.poll_elapsed(cx);
                    *self = Self::Thread(timer);
                    polled
                }
                polled => polled.map(drop),
            },
            Self::Over => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Polls as [`poll_elapsed`](Self::poll_elapsed), and charges the task's budget if the delay never had to wait.
    ///
    /// A loop over delays without a wait would never let other tasks run. This method returns `Pending` now and then, so
    /// the loop yields. Timeouts do not call this method: they use no budget, so a busy loop in the inner future cannot
    /// postpone a timeout.
    pub(crate) fn poll_fair(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let has_waited = self.is_elapsed()
            || match self {
                Self::Reactor(timer) => timer.is_armed(),
                Self::Thread(_) => true,
                _ => false,
            };
        ready!(self.poll_elapsed(cx));
        if !has_waited && poll_cooperate(cx).is_pending() {
            // The caller has not seen `Ready`, so `is_elapsed` must not say so: `select!` does not poll a terminated future.
            self.wait_again();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Undoes the end of the wait: the next poll finds once more that the time has come.
    #[cold]
    fn wait_again(&mut self) {
        if let Some(deadline) = self.own_deadline() {
            self.reset(deadline);
        }
    }

    /// Returns whether a poll has returned `Ready` since the last reset.
    pub(crate) fn is_elapsed(&self) -> bool {
        match self {
            Self::After(_) | Self::At(_) | Self::Over => false,
            Self::Passed(_) => true,
            Self::Reactor(timer) => timer.is_elapsed(),
            Self::Thread(timer) => timer.is_elapsed(),
        }
    }

    /// Chooses the kind of timer: the current reactor's if there is a current reactor, else a `ThreadTimer`.
    fn arm(&mut self) {
        let timer = match *self {
            Self::After(duration) => Timer::try_after(duration),
            Self::At(deadline) => Timer::try_at(deadline),
            _ => return,
        };
        if let Ok(timer) = timer {
            // The old value is `After` or `At` and owns nothing. The compiler cannot know, and would emit a drop.
            std::mem::forget(std::mem::replace(self, Self::Reactor(timer)));
            return;
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

    /// Creates a delay on a helper thread: that of futures-timer, or, in a forked child that has lost it, a reactor's.
    fn on_thread(deadline: Option<Instant>) -> Self {
        Self::Thread(Box::new(match helper() {
            Helper::Runs => ThreadTimer::new(deadline),
            Helper::Absent => ThreadTimer::without_helper(deadline),
            Helper::Lost => match helper_timer(deadline) {
                Some(timer) => return Self::Reactor(timer),
                None => ThreadTimer::without_helper(deadline),
            },
        }))
    }

    /// Sets another deadline. A task that waited for the old deadline is woken at the new deadline.
    pub(crate) fn reset(&mut self, deadline: Instant) {
        match self {
            Self::Reactor(timer) => timer.reset(deadline),
            Self::Thread(timer) => timer.reset(deadline),
            Self::Over => {}
            Self::After(_) | Self::At(_) | Self::Passed(_) => *self = Self::At(deadline),
        }
    }

    /// Returns the deadline, but at most the end of the current scope.
    ///
    /// Returns `None` for a duration that has not begun, and for a delay that never ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = self.own_deadline()?;
        Some(scope::current().map_or(own, |end| end.min(own)))
    }

    /// Returns the deadline without regard to the current scope.
    fn own_deadline(&self) -> Option<Instant> {
        match self {
            Self::At(deadline) | Self::Passed(deadline) => Some(*deadline),
            Self::Thread(timer) => timer.deadline(),
            Self::Reactor(timer) => timer.deadline(),
            Self::After(_) | Self::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;

    /// Outside of a reactor, an instant that has passed needs no timer and no helper thread.
    #[test]
    fn what_has_passed_needs_no_timer() {
        let mut cx = Context::from_waker(noop_waker_ref());
        for mut delay in [Delay::At(now()), Delay::After(Duration::ZERO)] {
            assert!(delay.poll_elapsed(&mut cx).is_ready());
            assert!(matches!(delay, Delay::Passed(_)));
        }
    }

    /// A delay that is not needed any more stays so.
    #[test]
    fn what_is_over_never_ends() {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut delay = Delay::Over;
        assert!(delay.poll_elapsed(&mut cx).is_pending());
        delay.reset(now());
        assert!(delay.poll_elapsed(&mut cx).is_pending());
        assert!(!delay.is_elapsed());
        assert_eq!(delay.deadline(), None);
    }
}
