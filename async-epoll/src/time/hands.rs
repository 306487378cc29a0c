//! The hands of a clock that a test stops and moves (feature `test-util`).
//!
//! [`Clock`](super::clock::Clock) reads the real time and asks the hands what to show. Running hands show the real time
//! plus an offset; stopped hands show one point in time. Each advance of a test is a [`Step`] in a list: only the
//! reactor moves the hands, when nothing is ready and no descriptor has an event. It ends the steps that have reached
//! their target.
//!
//! The hard idea is the moment at which stopped hands go on: another thread may have read the real time before that and
//! ask only afterwards. The hands must not go back for it.

use super::nanos::NEVER;
use crate::sys::ForkMark;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// What a clock shows, compared with the real time. All times are nanoseconds of that clock.
#[derive(Debug)]
pub(crate) struct Hands {
    /// The time shown while the clock is stopped; [`NEVER`] while it runs. Written under the lock of `advances`.
    stands_at: AtomicU64,
    /// The time shown less the real time, while the clock runs. Wraps, for the clock may be behind. Written by
    /// [`go_on`](Self::go_on).
    ahead: AtomicU64,
    /// The real time at which the clock went on last. Written by [`go_on`](Self::go_on).
    went_on_at: AtomicU64,
    /// The time shown when the clock went on last. Written by [`go_on`](Self::go_on).
    stood_at: AtomicU64,
    /// The advances in progress. Holding this lock is the right to change any field.
    advances: Mutex<Vec<Step>>,
    /// The number of advances in progress, read without the lock in each turn.
    pending: AtomicUsize,
    /// The number of the next advance.
    next: AtomicU64,
    /// Stopped hands move to the next timer when nothing else can go on. Written under the lock of `advances`.
    by_themselves: AtomicBool,
    /// It was reported that the clock does not move. Set once.
    reported: AtomicBool,
}

/// An advance in progress.
#[derive(Debug)]
pub(crate) struct Step {
    /// The time at which the advance ends.
    pub(crate) target: u64,
    /// The number that tells this advance from others.
    pub(crate) number: u64,
    /// The waker of the task that awaits the advance.
    pub(crate) waker: Waker,
}

impl Hands {
    /// Returns hands that show the real time.
    pub(crate) fn new() -> Self {
        Self {
            stands_at: AtomicU64::new(NEVER),
            ahead: AtomicU64::new(0),
            went_on_at: AtomicU64::new(0),
            stood_at: AtomicU64::new(0),
            advances: Mutex::default(),
            pending: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            by_themselves: AtomicBool::new(false),
            reported: AtomicBool::new(false),
        }
    }

    /// Returns what the clock shows at the real time `real`.
    pub(crate) fn shown(&self, real: u64) -> u64 {
        match self.stands_at.load(Ordering::Acquire) {
            NEVER => {
                let ahead = self.ahead.load(Ordering::Acquire);
                if real < self.went_on_at.load(Ordering::Relaxed) {
                    // Another thread has read the real time while the clock was stopped, and asks only now: for this
                    // thread the time must not go back, still less below zero.
                    return self.stood_at.load(Ordering::Relaxed);
                }
                // Never `NEVER`, even if the clock is far ahead.
                real.wrapping_add(ahead).min(NEVER - 1)
            }
            stands_at => stands_at,
        }
    }

    /// Returns whether the clock is stopped.
    pub(crate) fn are_stopped(&self) -> bool {
        self.stands_at.load(Ordering::Acquire) != NEVER
    }

    /// Stops the hands at `time`, or moves stopped hands there. The caller holds the lock of `advances`.
    pub(crate) fn stop_at(&self, time: u64) {
        self.stands_at.store(time, Ordering::Release);
    }

    /// Lets stopped hands run from the real time `real` on. The caller holds the lock of `advances`.
    pub(crate) fn go_on(&self, real: u64) {
        let stood_at = self.stands_at.load(Ordering::Relaxed);
        self.stood_at.store(stood_at, Ordering::Relaxed);
        self.went_on_at.store(real, Ordering::Relaxed);
        // In this order: a thread that sees the clock run has to see the offset, and a thread that sees the offset has
        // to see since when it holds.
        self.ahead.store(stood_at.wrapping_sub(real), Ordering::Release);
        self.stands_at.store(NEVER, Ordering::Release);
    }

    /// Sets whether stopped hands move by themselves. The caller holds the lock of `advances`.
    pub(crate) fn set_by_themselves(&self, by_themselves: bool) {
        self.by_themselves.store(by_themselves, Ordering::Release);
    }

    /// Returns whether the hands are stopped, and move to the next timer when nothing else can go on.
    pub(crate) fn move_by_themselves(&self) -> bool {
        self.by_themselves.load(Ordering::Acquire) && self.are_stopped()
    }

    /// Returns whether it has not been reported yet that the clock does not move. From now on it has.
    pub(crate) fn is_first_report(&self) -> bool {
        !self.reported.swap(true, Ordering::Relaxed)
    }

    /// Returns whether any advance is in progress.
    pub(crate) fn are_moving(&self) -> bool {
        self.pending.load(Ordering::Acquire) != 0
    }

    /// Locks the advances. No code that can panic half-way runs under this lock.
    pub(crate) fn advances(&self) -> MutexGuard<'_, Vec<Step>> {
        self.advances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an advance to `advances`, and returns its number.
    pub(crate) fn begin(&self, advances: &mut Vec<Step>, target: u64, waker: Waker) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        advances.push(Step { target, number, waker });
        self.pending.store(advances.len(), Ordering::Release);
        number
    }

    /// Removes the advances for which `is_over` is true, and returns their wakers.
    pub(crate) fn end(&self, advances: &mut Vec<Step>, is_over: impl Fn(&Step) -> bool) -> Vec<Waker> {
        let (over, left) = std::mem::take(advances).into_iter().partition(is_over);
        *advances = left;
        self.pending.store(advances.len(), Ordering::Release);
        Vec::into_iter(over).map(|step| step.waker).collect()
    }

    /// Ends the advances for which `is_over` is true, in `process`, or in a forked child unless the child
    /// [cannot lock](ForkMark::lock) them. Returns their wakers.
    pub(crate) fn end_in_child(&self, process: ForkMark, is_over: impl Fn(&Step) -> bool) -> Vec<Waker> {
        process.lock(&self.advances).map_or_else(Vec::new, |mut advances| self.end(&mut advances, is_over))
    }

    /// Ends all advances because the reactor is dropped: no code will move the clock any more. Returns their wakers.
    pub(crate) fn close(&self, process: ForkMark) -> Vec<Waker> {
        self.end_in_child(process, |_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug E8: another thread has read the real time, and only then the clock goes on. What the clock shows does not go
    /// back, and is not the end of time either, at which all timers would fire.
    #[test]
    fn a_time_read_before_the_clock_went_on() {
        let hands = Hands::new();
        assert_eq!(hands.shown(7), 7);
        hands.stop_at(10);
        assert_eq!(hands.shown(1000), 10);
        hands.go_on(2000);
        for (real, shown) in [(1000, 10), (1999, 10), (2000, 10), (2001, 11), (NEVER, NEVER - 1990)] {
            assert_eq!(hands.shown(real), shown, "at {real}");
        }
        // Ahead of the real time as well.
        hands.stop_at(9000);
        hands.go_on(3000);
        for (real, shown) in [(2999, 9000), (3000, 9000), (3001, 9001)] {
            assert_eq!(hands.shown(real), shown, "at {real}");
        }
    }
}
