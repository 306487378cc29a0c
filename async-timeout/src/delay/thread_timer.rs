//! A timer for threads without a current reactor, on the helper thread of futures-timer.
//!
//! The helper thread starts with the first timer. It may fail to start, because the process has reached its limit of
//! threads. futures-timer then returns a timer that panics when polled. So [`ThreadTimer`] first tries whether a
//! thread can start, and works without the helper thread for as long as none can:
//!
//! ```text
//!                       ┌─ yes ──► a timer of futures-timer
//!   can a thread start? ┤
//!                       └─ no ───► each poll reads the clock, sleeps for a millisecond, wakes its own task,
//!                                    └─ and tries once more to start a thread
//! ```
//!
//! Polling the clock is slow and uses CPU, but a timeout still fires, never early, and nothing panics.

use crate::now::{FOREVER, now};
use futures::FutureExt;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::thread;
use std::time::{Duration, Instant};

/// The time between two readings of the clock when there is no helper thread.
const CLOCK_POLL_PERIOD: Duration = Duration::from_millis(1);

/// Whether the helper thread runs. Set once by [`start`], and never cleared: the helper thread does not end.
static HELPER_RUNS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The end of this thread's last sleep in [`ThreadTimer::poll_clock`]. All timers of a thread share it, so many
    /// timers do not make many sleeps.
    static LAST_SLEEP: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Waits until an instant on the helper thread.
pub(crate) struct ThreadTimer {
    /// The timer of futures-timer; `None` for as long as the helper thread cannot start.
    timer: Option<futures_timer::Delay>,
    /// The end of the wait; `None` if the wait never ends.
    deadline: Option<Instant>,
    /// Whether a poll has returned `Ready` since the last reset.
    is_elapsed: bool,
}

impl ThreadTimer {
    /// Creates a timer for `deadline`. `None` means "never" and needs a timer, too: the timer stores the waker, and a
    /// later reset may set an earlier deadline.
    pub(crate) fn new(deadline: Option<Instant>) -> Self {
        Self { timer: start(remaining(deadline)), deadline, is_elapsed: false }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn is_elapsed(&self) -> bool {
        self.is_elapsed
    }

    /// Sets another deadline. A waiting task is woken at the new deadline.
    pub(crate) fn reset(&mut self, deadline: Instant) {
        (self.deadline, self.is_elapsed) = (Some(deadline), false);
        if let Some(timer) = &mut self.timer {
            timer.reset(remaining(self.deadline));
        }
    }

    /// Returns `Ready` once the time has come, and from then on.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_elapsed {
            return Poll::Ready(());
        }
        // After a reset to an instant in the past, the helper thread may not have fired the timer yet.
        let is_due = self.deadline.is_some_and(|deadline| deadline <= now());
        if !is_due && self.timer.is_none() {
            self.timer = start(remaining(self.deadline));
        }
        match &mut self.timer {
            _ if is_due => {}
            Some(timer) => ready!(timer.poll_unpin(cx)),
            None => return self.poll_clock(cx),
        }
        self.is_elapsed = true;
        Poll::Ready(())
    }

    /// Wakes its own task, to be polled again, after a sleep of at most [`CLOCK_POLL_PERIOD`].
    #[cold]
    fn poll_clock(&self, cx: &Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if LAST_SLEEP.get().is_none_or(|last| now.saturating_duration_since(last) >= CLOCK_POLL_PERIOD) {
            thread::sleep(remaining(self.deadline).min(CLOCK_POLL_PERIOD));
            LAST_SLEEP.set(Some(Instant::now()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Returns a timer of futures-timer, or `None` if its helper thread cannot start.
fn start(duration: Duration) -> Option<futures_timer::Delay> {
    // In a browser, JavaScript keeps the time: there are no threads, and futures-timer needs none. WASI has no threads
    // either, but there futures-timer needs one.
    if !cfg!(all(target_family = "wasm", target_os = "unknown")) && !HELPER_RUNS.load(Ordering::Acquire) {
        thread::Builder::new().spawn(|| {}).ok()?.join().ok()?;
        // Another thread may have started since, and the limit may be reached again. So the first timer is polled
        // with a guard against its panic.
        let mut probe = futures_timer::Delay::new(Duration::ZERO);
        let mut poll_probe = || probe.poll_unpin(&mut Context::from_waker(Waker::noop()));
        let _ready_or_not = catch_unwind(AssertUnwindSafe(&mut poll_probe)).ok()?;
        HELPER_RUNS.store(true, Ordering::Release);
    }
    Some(futures_timer::Delay::new(duration))
}

/// Returns the time until `deadline`, at most [`FOREVER`]. `None` means "never".
fn remaining(deadline: Option<Instant>) -> Duration {
    deadline.map_or(FOREVER, |deadline| deadline.saturating_duration_since(now()).min(FOREVER))
}
