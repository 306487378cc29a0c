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

use super::thread_timer::ThreadTimer;
use crate::now::now;
use crate::platform::{Timer, poll_cooperate};
use crate::scope;
use futures::FutureExt;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Waits until an instant. Unpin, so that it can be moved and reset. No larger than the reactor's timer.
pub(crate) enum Delay {
    /// Begins with the first poll.
    After(Duration),
    /// Not armed yet.
    At(Instant),
    /// It had passed when first polled, so it was not worth a timer.
    Passed(Instant),
    /// Armed in a reactor.
    Reactor(Timer),
    /// Armed on the helper thread of futures-timer.
    Thread(Box<ThreadTimer>),
    /// Nobody needs to wait any more. Never ready, and stays as it is.
    Over,
}

impl Delay {
    /// Ready once the time has come, and from then on.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::After(_) | Self::At(_) = self {
            self.arm();
        }
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
        let has_waited = self.is_elapsed()
            || match self {
                Self::Reactor(timer) => timer.is_armed(),
                Self::Thread(_) => true,
                _ => false,
            };
        ready!(self.poll_elapsed(cx));
        if !has_waited && poll_cooperate(cx).is_pending() {
            // Nobody has heard of it. Were it over already, `select!` would not ask again.
            self.wait_again();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// To be found out once more by the next poll: that the time has come.
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
            Self::Reactor(timer) => timer.is_elapsed(),
            Self::Thread(timer) => timer.is_elapsed(),
        }
    }

    /// Chooses who keeps the time.
    fn arm(&mut self) {
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
        Some(scope::current().map_or(own, |end| end.min(own)))
    }

    /// The same, wherever it is asked.
    fn own_deadline(&self) -> Option<Instant> {
        match self {
            Self::At(deadline) | Self::Passed(deadline) => Some(*deadline),
            Self::Thread(timer) => timer.deadline(),
            Self::Reactor(timer) => timer.deadline(),
            Self::After(_) | Self::Over => None,
        }
    }
}
