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

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

#[cfg(all(feature = "reactor", target_os = "linux"))]
use async_epoll::{Handle, Timer};
use futures::FutureExt;

/// A century, which is for ever. Some versions of futures-timer panic on more than an `Instant` can express.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The time, for deadlines that are worked out here. Everything in this crate asks for it here.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until an instant. Unpin, so that it can be moved and reset. No larger than the reactor's timer.
pub(crate) enum Delay {
    /// Begins with the first poll.
    After(Duration),
    /// Not polled yet.
    At(Instant),
    /// It had passed when first polled, so it was not worth a timer.
    Passed(Instant),
    /// Armed in a reactor.
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    Reactor(Timer),
    /// Armed on the helper thread of futures-timer.
    Thread(Box<ThreadTimer>),
}

/// A timer of futures-timer, and what that does not tell.
pub(crate) struct ThreadTimer {
    timer: futures_timer::Delay,
    /// `None`: never.
    deadline: Option<Instant>,
    /// A poll has returned `Ready`.
    is_elapsed: bool,
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
        if let Self::Thread(thread) = self {
            if !thread.is_elapsed {
                ready!(thread.timer.poll_unpin(cx));
                thread.is_elapsed = true;
            }
        }
        Poll::Ready(())
    }

    /// Whether a poll has returned `Ready` since the last reset.
    pub(crate) fn is_elapsed(&self) -> bool {
        match self {
            Self::After(_) | Self::At(_) => false,
            Self::Passed(_) => true,
            #[cfg(all(feature = "reactor", target_os = "linux"))]
            Self::Reactor(timer) => timer.is_elapsed(),
            Self::Thread(thread) => thread.is_elapsed,
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

    /// On the helper thread of futures-timer. "Never" needs a timer too: it remembers whom to wake after a reset.
    fn on_thread(deadline: Option<Instant>) -> Self {
        let timer = futures_timer::Delay::new(remaining(deadline));
        Self::Thread(Box::new(ThreadTimer { timer, deadline, is_elapsed: false }))
    }

    /// Another deadline. Who waited for the old one is woken at the new one.
    pub(crate) fn reset(&mut self, deadline: Instant) {
        match self {
            #[cfg(all(feature = "reactor", target_os = "linux"))]
            Self::Reactor(timer) => timer.reset(deadline),
            Self::Thread(thread) => {
                (thread.deadline, thread.is_elapsed) = (Some(deadline), false);
                thread.timer.reset(remaining(thread.deadline));
            }
            // Not polled so far.
            _ => *self = Self::At(deadline),
        }
    }

    /// The instant, if it is known: not for a duration that has not begun, nor for "never".
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::At(deadline) | Self::Passed(deadline) => Some(*deadline),
            Self::Thread(thread) => thread.deadline,
            #[cfg(all(feature = "reactor", target_os = "linux"))]
            Self::Reactor(timer) => timer.deadline(),
            Self::After(_) => None,
        }
    }
}

/// What is left until `deadline`, which may be never.
fn remaining(deadline: Option<Instant>) -> Duration {
    deadline.map_or(FOREVER, |deadline| deadline.saturating_duration_since(now()).min(FOREVER))
}
