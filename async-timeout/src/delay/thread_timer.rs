//! A timer for threads without a current reactor, on the helper thread of futures-timer.
//!
//! The helper thread starts with the first timer. Two things may go wrong with it:
//!
//! - It may fail to start, because the process has reached its limit of threads. futures-timer then returns a timer that
//!   panics when polled. So [`helper`] first tries whether a thread can start.
//! - A forked child does not have the thread, and futures-timer does not notice: its timers never fire in the child, and it
//!   offers no way to start the thread again. So [`helper`] knows in which process the thread runs.
//!
//! ```text
//!                                  ┌─ this one ─────► a timer of futures-timer
//!   the process with the helper? ──┼─ a parent ─────► the helper is lost: `delay` asks for another, or polls the clock
//!                                  └─ not known ──┐
//!                       ┌─ no ──► poll the clock  │
//!   can a thread start? ┤                         │
//!                     ▲ └─ yes ─► a first timer fires soon? ─ yes ─► this process
//!                     └───────────────────────────┘          └ no ─► lost: other code has used futures-timer before a fork
//! ```
//!
//! Polling the clock: each poll reads the clock, sleeps for a millisecond, wakes its own task, and looks once more for a
//! helper. This is slow and uses CPU, but a timeout still fires, never early, and nothing panics.

use crate::now::{FOREVER, now};
use crate::platform::process_number;
use futures::FutureExt;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread;
use std::time::{Duration, Instant};

/// The time between two readings of the clock when there is no helper thread.
const CLOCK_POLL_PERIOD: Duration = Duration::from_millis(1);

/// How long [`helper`] waits, once in a process, for a first timer to fire. A helper that runs takes some microseconds.
const PATIENCE: Duration = Duration::from_millis(250);

/// The [number](process_number) of the process in which the helper thread runs; 0 until a timer has fired. Set once by
/// [`helper`], and never cleared: the helper thread does not end, and cannot start again in another process.
static HELPER_IN: AtomicU32 = AtomicU32::new(0);

/// Whether the helper thread is in no known process, and cannot start. Set once by [`helper`].
static HELPER_LOST: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The end of this thread's last sleep in [`ThreadTimer::poll_clock`]. All timers of a thread share it, so many
    /// timers do not make many sleeps.
    static LAST_SLEEP: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The state of the helper thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Helper {
    /// The thread runs in this process.
    Runs,
    /// The thread cannot start at present.
    Absent,
    /// The thread runs in a parent process only, and can never start in this process.
    Lost,
}

/// Waits until an instant on the helper thread.
pub(crate) struct ThreadTimer {
    /// The timer of futures-timer; `None` without a helper thread.
    timer: Option<futures_timer::Delay>,
    /// The number of the process that has made `timer`, and has the helper thread.
    process: u32,
    /// The end of the wait; `None` if the wait never ends.
    deadline: Option<Instant>,
    /// Whether a poll has returned `Ready` since the last reset.
    is_elapsed: bool,
}

impl ThreadTimer {
    /// Creates a timer for `deadline`, on the helper thread. `None` means "never" and needs a timer, too: the timer stores
    /// the waker, and a later reset may set an earlier deadline.
    pub(super) fn new(deadline: Option<Instant>) -> Self {
        let timer = Some(futures_timer::Delay::new(remaining(deadline)));
        Self { timer, ..Self::without_helper(deadline) }
    }

    /// Creates a timer that polls the clock.
    pub(super) fn without_helper(deadline: Option<Instant>) -> Self {
        Self { timer: None, process: process_number(), deadline, is_elapsed: false }
    }

    /// Returns whether the timer has to wait and polls the clock, or has lost its helper thread by a fork.
    pub(super) fn needs_helper(&self) -> bool {
        (self.timer.is_none() || self.is_lost()) && !self.is_elapsed && !self.is_due()
    }

    /// Returns whether the helper thread is in a parent process.
    fn is_lost(&self) -> bool {
        self.process != process_number()
    }

    /// Returns whether the deadline has passed.
    fn is_due(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now())
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
        self.leave_lost();
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
        while !self.is_due() {
            let Some(timer) = &mut self.timer else { return self.poll_clock(cx) };
            ready!(timer.poll_unpin(cx));
            // futures-timer fires too early if a timer is reset while the helper thread reads it: the thread then takes the
            // old instant for the new one. The helper thread goes by the time of the system, and not by a test clock.
            if self.deadline.is_none_or(|deadline| deadline <= Instant::now()) {
                break;
            }
            timer.reset(remaining(self.deadline));
        }
        self.is_elapsed = true;
        Poll::Ready(())
    }

    /// Leaks the timer if the helper thread is in a parent process. Using or dropping the timer takes a lock that the
    /// helper thread may have held at the fork, and that nothing releases in this process.
    fn leave_lost(&mut self) {
        if self.timer.is_some() && self.is_lost() {
            std::mem::forget(self.timer.take());
        }
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

impl Drop for ThreadTimer {
    fn drop(&mut self) {
        self.leave_lost();
    }
}

/// Returns the state of the helper thread, and starts the thread if possible. The first call in a process waits for a
/// timer to fire.
pub(super) fn helper() -> Helper {
    // In a browser, JavaScript keeps the time: there are no threads, and futures-timer needs none. WASI has no threads
    // either, but there futures-timer needs one.
    if cfg!(all(target_family = "wasm", target_os = "unknown")) {
        return Helper::Runs;
    }
    let (process, known) = (process_number(), HELPER_IN.load(Ordering::Acquire));
    if known == process {
        Helper::Runs
    } else if known != 0 || HELPER_LOST.load(Ordering::Acquire) {
        Helper::Lost
    } else {
        start(process)
    }
}

/// Starts the helper thread, and waits for a timer to fire.
#[cold]
fn start(process: u32) -> Helper {
    let Ok(Ok(())) = thread::Builder::new().spawn(|| {}).map(thread::JoinHandle::join) else { return Helper::Absent };
    let fired = Arc::new(Fired::default());
    let waker = Waker::from(Arc::clone(&fired));
    let mut probe = futures_timer::Delay::new(Duration::ZERO);
    let mut poll_probe = || probe.poll_unpin(&mut Context::from_waker(&waker));
    match catch_unwind(AssertUnwindSafe(&mut poll_probe)) {
        // Another thread may have started since, and the limit may be reached again.
        Err(_) => return Helper::Absent,
        // Other code has used futures-timer, and then the process has forked.
        Ok(Poll::Pending) if !fired.wait(PATIENCE) => {
            HELPER_LOST.store(true, Ordering::Release);
            return Helper::Lost;
        }
        Ok(_) => {}
    }
    HELPER_IN.store(process, Ordering::Release);
    Helper::Runs
}

/// Whether a timer has fired. The wait does not park the thread: the executor of this thread may need its own token.
#[derive(Default)]
struct Fired {
    /// Set by the wake.
    has_fired: Mutex<bool>,
    /// Notified by the wake.
    change: Condvar,
}

impl Wake for Fired {
    fn wake(self: Arc<Self>) {
        *self.has_fired.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.change.notify_all();
    }
}

impl Fired {
    /// Waits for the wake, at most for `limit`. Returns whether it has come.
    fn wait(&self, limit: Duration) -> bool {
        let has_fired = self.has_fired.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.change.wait_timeout_while(has_fired, limit, |has_fired| !*has_fired);
        let (has_fired, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *has_fired
    }
}

/// Returns the time until `deadline`, at most [`FOREVER`]. `None` means "never".
fn remaining(deadline: Option<Instant>) -> Duration {
    deadline.map_or(FOREVER, |deadline| deadline.saturating_duration_since(now()).min(FOREVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    struct Noop;

    impl Wake for Noop {
        fn wake(self: Arc<Self>) {}
    }

    /// Returns the timer that a forked child has inherited.
    fn lost(deadline: Option<Instant>) -> ThreadTimer {
        let mut timer = ThreadTimer::new(deadline);
        timer.process = process_number().wrapping_add(1);
        timer
    }

    #[test]
    fn the_helper_runs_where_threads_can_start() {
        assert_eq!(helper(), Helper::Runs);
        assert_eq!(helper(), Helper::Runs, "known by now");
    }

    /// The timer × where its wait is: only a timer that waits and has no helper in this process looks for one.
    #[test]
    fn timers_without_a_helper_need_one_while_they_wait() {
        let later = Some(now() + HOUR);
        type Make = fn(Option<Instant>) -> ThreadTimer;
        for (make, needs) in [(ThreadTimer::new as Make, false), (ThreadTimer::without_helper, true), (lost, true)] {
            assert_eq!(make(later).needs_helper(), needs);
            assert_eq!(make(None).needs_helper(), needs, "a wait without an end");
            assert!(!make(Some(now())).needs_helper(), "due");
            let mut over = make(later);
            over.is_elapsed = true;
            assert!(!over.needs_helper());
        }
    }

    /// Dropping or resetting a timer whose helper thread is in the parent process touches nothing that the thread may
    /// have locked: the waker stays where it is. Any other timer is freed.
    #[test]
    fn a_lost_timer_is_leaked() {
        for (act, is_lost) in
            [(drop as fn(ThreadTimer), true), (|mut timer| timer.reset(now() + HOUR), true), (drop, false)]
        {
            let noop = Arc::new(Noop);
            let mut timer = ThreadTimer::new(Some(now() + HOUR));
            assert!(timer.poll_elapsed(&mut Context::from_waker(&Waker::from(Arc::clone(&noop)))).is_pending());
            if is_lost {
                timer.process = process_number().wrapping_add(1);
            }
            act(timer);
            // The helper thread drops the waker, soon.
            let end = Instant::now() + if is_lost { Duration::from_millis(50) } else { Duration::from_secs(10) };
            while Arc::strong_count(&noop) > 1 && Instant::now() < end {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(Arc::strong_count(&noop) > 1, is_lost);
        }
    }

    /// A timer that futures-timer has fired too early waits on.
    #[test]
    fn an_early_fire_is_no_end() {
        let mut timer = ThreadTimer::new(Some(now() + HOUR));
        let waker = Waker::from(Arc::new(Noop));
        let mut cx = Context::from_waker(&waker);
        let mut fired = futures_timer::Delay::new(Duration::ZERO);
        let end = Instant::now() + Duration::from_secs(10);
        while fired.poll_unpin(&mut cx).is_pending() {
            assert!(Instant::now() < end, "the helper thread");
            thread::sleep(Duration::from_millis(1));
        }
        timer.timer = Some(fired);
        assert!(timer.poll_elapsed(&mut cx).is_pending());
        // It fires once more, at its time.
        timer.reset(now() + Duration::from_millis(5));
        while timer.poll_elapsed(&mut cx).is_pending() {
            assert!(Instant::now() < end, "not at all");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(timer.deadline().is_some_and(|deadline| deadline <= Instant::now()), "early");
    }

    /// Timers that poll the clock sleep once per period, however many they are, and do not spin.
    #[test]
    fn a_period_has_one_sleep() {
        let timer = ThreadTimer::without_helper(Some(now() + HOUR));
        let waker = Waker::from(Arc::new(Noop));
        let poll = |last: Option<Instant>| {
            LAST_SLEEP.set(last);
            assert!(timer.poll_clock(&Context::from_waker(&waker)).is_pending());
            LAST_SLEEP.get() != last
        };
        let now = Instant::now();
        assert!(poll(None), "the first");
        assert!(poll(now.checked_sub(CLOCK_POLL_PERIOD)), "a period later");
        assert!(!poll(Some(now + HOUR)), "another timer has slept");
    }
}
