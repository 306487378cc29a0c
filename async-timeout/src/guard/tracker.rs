//! The part of an [`IoGuard`](crate::IoGuard) that does not depend on the type of the connection.
//!
//! The guard calls [`Tracker::begin`] before an operation, and [`complete`](Tracker::complete) or
//! [`wait`](Tracker::wait) after it. The tracker passes the news to the [`Limits`], and sets the [`GuardTimer`] for the
//! nearest deadline. The hard part is the loop of `wait`: the time goes on while the timer is set, and the timer may
//! fire before the task is registered.

use super::exceeded::LimitExceeded;
use super::limits::Limits;
use super::operation::{Direction, Operation, Outcome};
use super::timer::GuardTimer;
use crate::now::now;
use std::task::{Context, Poll};

/// Tracks a connection, operation by operation.
#[derive(Default)]
pub(crate) struct Tracker {
    /// The limits, and the times from which they count.
    limits: Limits,
    /// The timer. `None` until an operation has had to wait, after a change of limits, after a limit was exceeded, and once
    /// both directions have ended.
    timer: Option<GuardTimer>,
    /// The first limit that was exceeded. Set once, never cleared.
    exceeded: Option<LimitExceeded>,
}

impl Tracker {
    /// Returns the limits for a change, and drops the timer, which was set for the old limits. Tasks that wait for the
    /// connection are woken: their next polls set a new one.
    pub(crate) fn change(&mut self) -> &mut Limits {
        if let Some(timer) = self.timer.take() {
            timer.wake(Direction::Read);
            timer.wake(Direction::Write);
        }
        &mut self.limits
    }

    /// Returns the limits for a change that makes no deadline earlier. The timer stays: at worst it fires too early, and the
    /// woken task sets it again.
    pub(crate) fn extend(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// Returns the limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the limit that has been exceeded, if any.
    pub(crate) fn exceeded(&self) -> Option<LimitExceeded> {
        self.exceeded
    }

    /// Begins an operation. Returns the limit that has been exceeded, if any.
    pub(crate) fn begin(&mut self, operation: Operation) -> Option<LimitExceeded> {
        if self.exceeded.is_none() {
            let exceeded = self.limits.begin()?;
            self.exceed(exceeded, operation);
        }
        self.exceeded
    }

    /// Records that `len` bytes were taken from the reader's buffer.
    pub(crate) fn take(&mut self, len: usize) {
        self.limits.take(len);
    }

    /// Records that the connection may have been used directly.
    pub(crate) fn forget_seen(&mut self) {
        self.limits.forget_seen();
    }

    /// Records the outcome of an operation that is ready.
    pub(crate) fn complete(&mut self, operation: Operation, outcome: Outcome) {
        self.limits.complete(operation, outcome);
        if outcome == Outcome::Ended && self.limits.is_over() {
            self.timer = None;
        }
    }

    /// Records that an operation is pending. Returns the limit that this exceeds; otherwise registers the task with the
    /// timer.
    ///
    /// The task registers even if no limit counts for its own direction. If the other direction exceeds a limit, both
    /// tasks must get the error.
    ///
    /// ```text
    ///   deadline passed? → return the limit
    ///   set the timer to the nearest deadline
    ///   register the task
    /// ```
    ///
    /// The real loop is longer, because
    /// 1. the clock is read, and the timer set, only if the operation has just begun to wait or there is no timer;
    /// 2. the instant may come while the timer is set: then the deadlines are checked again;
    /// 3. the timer may have fired before the registration: then the clock is read and the loop runs once more.
    pub(crate) fn wait(&mut self, operation: Operation, cx: &Context<'_>) -> Option<LimitExceeded> {
        let direction = operation.direction();
        let begun = self.limits.start_waiting(operation);
        if self.limits.is_over() || self.limits.is_empty() {
            return None;
        }
        let mut time_to_check = begun.or_else(|| self.timer.is_none().then(now));
        let mut has_fired = false;
        loop {
            if let Some(time) = time_to_check {
                if let Some(exceeded) = self.limits.exceeded(direction, time) {
                    self.exceed(exceeded, operation);
                    return Some(exceeded);
                }
                let timer = self.timer.get_or_insert_default();
                if let Poll::Ready(due) = timer.set(self.limits.next(time), time, direction, has_fired) {
                    time_to_check = Some(now().max(due));
                    continue;
                }
            }
            let timer = self.timer.as_mut()?;
            if timer.register(direction, cx.waker()) {
                return None;
            }
            if has_fired {
                // The timer has fired again while it was set, as always happens without a helper thread. The next poll
                // checks the deadlines, after it has tried the connection.
                timer.wake(direction);
                return None;
            }
            time_to_check = Some(now());
            has_fired = true;
        }
    }

    /// Records an exceeded limit, and wakes the task of the other direction, which must get the error, too.
    fn exceed(&mut self, exceeded: LimitExceeded, operation: Operation) {
        self.exceeded = Some(exceeded);
        if let Some(timer) = self.timer.take() {
            timer.wake(operation.direction().other());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use std::time::Duration;

    /// The timer goes when both directions have ended, and not when one has: the task of the other still waits. Without
    /// limits and after the end of both, there is no timer.
    #[test]
    fn when_there_is_a_timer() {
        let cx = Context::from_waker(Waker::noop());
        let mut tracker = Tracker::default();
        assert!(tracker.wait(Operation::Write, &cx).is_none() && tracker.timer.is_none(), "no limits");
        tracker.change().set_idle(Duration::from_secs(3600));
        assert!(tracker.wait(Operation::Write, &cx).is_none() && tracker.timer.is_some());
        tracker.complete(Operation::Read, Outcome::Ended);
        assert!(tracker.timer.is_some(), "the writer still waits");
        tracker.complete(Operation::Close, Outcome::Ended);
        assert!(tracker.timer.is_none() && tracker.limits.is_over());
        assert!(tracker.wait(Operation::Read, &cx).is_none() && tracker.timer.is_none(), "both have ended");
        assert_eq!(Operation::Close.direction(), Direction::Write);
    }

    /// Bytes that move leave the timer as it is: it is set for the first wait, and looked at when it fires.
    #[test]
    fn a_read_touches_no_timer() {
        let cx = Context::from_waker(Waker::noop());
        let mut tracker = Tracker::default();
        let hour = Duration::from_secs(3600);
        tracker.change().set_idle(hour);
        tracker.change().set_write_stall(hour);
        tracker.change().set_total(hour);
        assert!(tracker.wait(Operation::Read, &cx).is_none());
        let due = tracker.timer.as_ref().unwrap().due();
        assert!(due.is_some());
        for _ in 0..100 {
            for (operation, outcome) in [(Operation::Read, Outcome::Taken(1)), (Operation::Write, Outcome::Written(1))]
            {
                tracker.complete(operation, outcome);
                assert!(tracker.wait(operation, &cx).is_none());
                assert_eq!(tracker.timer.as_ref().unwrap().due(), due);
            }
        }
    }
}
