//! The part of an [`IoGuard`](crate::IoGuard) that does not depend on what is guarded: limits, and the timer for them.

use super::limits::{LimitExceeded, Limits, Operation, Outcome};
use super::timer::GuardTimer;
use crate::now::now;
use std::task::{Context, Poll};

/// Trackeres over a connection, an operation at a time.
#[derive(Default)]
pub(crate) struct Tracker {
    limits: Limits,
    /// `None` until an operation has had to wait, and after the last.
    timer: Option<GuardTimer>,
    /// The first limit that was. It stays.
    exceeded: Option<LimitExceeded>,
}

impl Tracker {
    /// To set other limits. The timer was set for the old ones.
    pub(crate) fn change(&mut self) -> &mut Limits {
        self.timer = None;
        &mut self.limits
    }

    /// What is watched for.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The limit that has been exceeded.
    pub(crate) fn exceeded(&self) -> Option<LimitExceeded> {
        self.exceeded
    }

    /// Before an operation: whether a limit has been exceeded.
    pub(crate) fn begin(&mut self, operation: Operation) -> Option<LimitExceeded> {
        if self.exceeded.is_none() {
            let exceeded = self.limits.begin()?;
            self.exceed(exceeded, operation);
        }
        self.exceeded
    }

    /// After an operation that is ready.
    pub(crate) fn complete(&mut self, operation: Operation, outcome: Outcome) {
        self.limits.complete(operation, outcome);
        if outcome == Outcome::Ended && self.limits.is_over() {
            self.timer = None;
        }
    }

    /// After one that has to wait: whether that has exceeded a limit. If not, its task is woken when it may have.
    ///
    /// It registers even if nothing counts for it: the other side may exceed a limit, and then this one is to know.
    pub(crate) fn wait(&mut self, operation: Operation, cx: &Context<'_>) -> Option<LimitExceeded> {
        let direction = operation.direction();
        let begun = self.limits.start_waiting(operation);
        if self.limits.is_over() || self.limits.durations() == [None; 3] {
            return None;
        }
        let mut look = begun.or_else(|| self.timer.is_none().then(now));
        let mut has_fired = false;
        loop {
            if let Some(time) = look {
                if let Some(exceeded) = self.limits.exceeded(direction, time) {
                    self.exceed(exceeded, operation);
                    return Some(exceeded);
                }
                let timer = self.timer.get_or_insert_default();
                if let Poll::Ready(due) = timer.set(self.limits.next(time), time, direction, has_fired) {
                    // The time has gone on while we set it.
                    look = Some(now().max(due));
                    continue;
                }
            }
            let timer = self.timer.as_ref()?;
            if timer.register(direction, cx.waker()) {
                return None;
            }
            if has_fired {
                // It has rung again while it was set, as it always does without a helper thread. To look once more is for
                // the next poll: before that, the connection is to be asked.
                timer.wake(direction);
                return None;
            }
            look = Some(now());
            has_fired = true;
        }
    }

    /// Whoever waits in the other direction learns of it, too.
    fn exceed(&mut self, exceeded: LimitExceeded, operation: Operation) {
        self.exceeded = Some(exceeded);
        if let Some(timer) = self.timer.take() {
            timer.wake(operation.direction().other());
        }
    }
}
