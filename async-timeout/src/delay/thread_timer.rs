//! A timer where no reactor runs: one of futures-timer's, whose helper thread starts when first needed.
//!
//! A thread may not be had: the process has reached its limit, say. futures-timer then makes a timer that panics when
//! it is polled. We look before, and do without as long as we must:
//!
//! ```text
//!                       ┌─ yes ──► a timer of futures-timer
//!   can a thread start? ┤
//!                       └─ no ───► look at the clock in each poll, pause for a millisecond, ask to be polled again
//!                                    └─ and ask again whether a thread can start
//! ```
//!
//! That is slow and warms the machine, but a timeout still comes, never early, and nothing panics.

use crate::now::{FOREVER, now};
use futures::FutureExt;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at the clock.
const PACE: Duration = Duration::from_millis(1);

/// The helper thread runs. Once it does, it never ends.
static HELPER_RUNS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// When this thread paused last. Many timers do not make many pauses.
    static LAST_PAUSE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Waits on the helper thread for an instant.
pub(crate) struct ThreadTimer {
    /// `None` as long as the helper thread cannot start.
    timer: Option<futures_timer::Delay>,
    /// `None`: never.
    deadline: Option<Instant>,
    /// A poll has returned `Ready`.
    is_elapsed: bool,
}

impl ThreadTimer {
    /// "Never" needs a timer, too: it remembers whom to wake after a reset.
    pub(crate) fn new(deadline: Option<Instant>) -> Self {
        Self { timer: start(remaining(deadline)), deadline, is_elapsed: false }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn is_elapsed(&self) -> bool {
        self.is_elapsed
    }

    /// Whoever waits is woken at the new deadline.
    pub(crate) fn reset(&mut self, deadline: Instant) {
        (self.deadline, self.is_elapsed) = (Some(deadline), false);
        if let Some(timer) = &mut self.timer {
            timer.reset(remaining(self.deadline));
        }
    }

    /// Ready once the time has come, and from then on.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_elapsed {
            return Poll::Ready(());
        }
        // The helper thread may be about to find that out, if this was set to a time that has passed.
        let is_due = self.deadline.is_some_and(|deadline| deadline <= now());
        if !is_due && self.timer.is_none() {
            self.timer = start(remaining(self.deadline));
        }
        match &mut self.timer {
            _ if is_due => {}
            Some(timer) => ready!(timer.poll_unpin(cx)),
            None => return self.look_again(cx),
        }
        self.is_elapsed = true;
        Poll::Ready(())
    }

    /// Without a helper thread: asks to be polled again, and does not hurry.
    #[cold]
    fn look_again(&self, cx: &Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if LAST_PAUSE.get().is_none_or(|last| now.saturating_duration_since(last) >= PACE) {
            thread::sleep(remaining(self.deadline).min(PACE));
            LAST_PAUSE.set(Some(Instant::now()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A timer of futures-timer; `None` if its helper thread cannot start.
fn start(duration: Duration) -> Option<futures_timer::Delay> {
    // There are no threads, and none is needed, where JavaScript keeps the time. WASI has none either, and needs them.
    if !cfg!(all(target_family = "wasm", target_os = "unknown")) && !HELPER_RUNS.load(Ordering::Acquire) {
        thread::Builder::new().spawn(|| {}).ok()?.join().ok()?;
        // Somebody else may have taken the place of that thread meanwhile.
        let mut probe = futures_timer::Delay::new(Duration::ZERO);
        let mut poll_probe = || probe.poll_unpin(&mut Context::from_waker(Waker::noop()));
        let _ready_or_not = catch_unwind(AssertUnwindSafe(&mut poll_probe)).ok()?;
        HELPER_RUNS.store(true, Ordering::Release);
    }
    Some(futures_timer::Delay::new(duration))
}

/// What is left until `deadline`, which may be never.
fn remaining(deadline: Option<Instant>) -> Duration {
    deadline.map_or(FOREVER, |deadline| deadline.saturating_duration_since(now()).min(FOREVER))
}
