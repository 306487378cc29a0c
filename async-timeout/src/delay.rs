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

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

#[cfg(all(feature = "reactor", target_os = "linux"))]
use async_epoll::{Handle, Timer};
use futures::FutureExt;

/// A century, which is for ever. Some versions of futures-timer panic on more than an `Instant` can express.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Waits until an instant. Unpin, so that it can be moved and reset.
pub(crate) enum Delay {
    /// Begins with the first poll.
    After(Duration),
    /// Not polled yet.
    At(Instant),
    /// Armed in a reactor.
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    Reactor(Timer),
    /// Armed on the helper thread of futures-timer; with the deadline, which that does not tell (`None`: never).
    Thread(futures_timer::Delay, Option<Instant>),
}

impl Delay {
    /// With a timer of the reactor of `handle`, whatever thread polls.
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    pub(crate) fn with_handle(duration: Duration, handle: &Handle) -> Self {
        Self::Reactor(Timer::after(duration, handle))
    }

    /// Ready once the time has come, and from then on.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self, Self::After(_) | Self::At(_)) {
            self.arm();
        }
        #[cfg(all(feature = "reactor", target_os = "linux"))]
        if let Self::Reactor(timer) = self {
            match Pin::new(&mut *timer).poll_unpin(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
                // The reactor is gone. The time goes on, so somebody else has to keep it.
                Poll::Ready(Err(_)) => *self = Self::on_thread(timer.deadline()),
            }
        }
        match self {
            Self::Thread(timer, _) => Pin::new(timer).poll_unpin(cx),
            // It was not worth a timer.
            _ => Poll::Ready(()),
        }
    }

    /// Chooses who keeps the time. What is due already stays without a timer.
    fn arm(&mut self) {
        #[cfg(all(feature = "reactor", target_os = "linux"))]
        if let Ok(handle) = Handle::current() {
            match *self {
                Self::After(duration) => *self = Self::Reactor(Timer::after(duration, &handle)),
                Self::At(deadline) => *self = Self::Reactor(Timer::at(deadline, &handle)),
                _ => {}
            }
            return;
        }
        let now = Instant::now();
        *self = match *self {
            Self::After(duration) if duration.is_zero() => Self::At(now),
            Self::After(duration) => Self::on_thread(now.checked_add(duration)),
            Self::At(deadline) if deadline > now => Self::on_thread(Some(deadline)),
            _ => return,
        }
    }

    /// On the helper thread of futures-timer. "Never" needs a timer too: it remembers whom to wake after a reset.
    fn on_thread(deadline: Option<Instant>) -> Self {
        Self::Thread(futures_timer::Delay::new(remaining(deadline)), deadline)
    }

    /// Another deadline. Who waited for the old one is woken at the new one.
    pub(crate) fn reset(&mut self, deadline: Instant) {
        match self {
            #[cfg(all(feature = "reactor", target_os = "linux"))]
            Self::Reactor(timer) => timer.reset(deadline),
            Self::Thread(timer, at) => {
                *at = Some(deadline);
                timer.reset(remaining(*at));
            }
            // Not polled so far.
            _ => *self = Self::At(deadline),
        }
    }

    /// The instant, if it is known: not for a duration that has not begun, nor for "never".
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::At(deadline) => Some(*deadline),
            Self::Thread(_, deadline) => *deadline,
            #[cfg(all(feature = "reactor", target_os = "linux"))]
            Self::Reactor(timer) => timer.deadline(),
            Self::After(_) => None,
        }
    }
}

/// What is left until `deadline`, which may be never.
fn remaining(deadline: Option<Instant>) -> Duration {
    deadline.map_or(FOREVER, |deadline| deadline.saturating_duration_since(Instant::now()).min(FOREVER))
}
