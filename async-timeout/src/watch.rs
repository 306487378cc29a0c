//! The part of an [`IoGuard`](crate::IoGuard) that does not depend on what is guarded: limits, and the alarm for them.

use crate::alarm::Alarm;
use crate::delay::now;
use crate::limits::{LimitExceeded, Limits, Operation, Outcome};
use std::task::{Context, Poll};

/// Watches over a connection, an operation at a time.
#[derive(Default)]
pub(crate) struct Watch {
    limits: Limits,
    /// `None` until an operation has had to wait, and after the last.
    alarm: Option<Alarm>,
    /// The first limit that was. It stays.
    exceeded: Option<LimitExceeded>,
}

impl Watch {
    /// To set other limits. The alarm was set for the old ones.
    pub(crate) fn change(&mut self) -> &mut Limits {
        self.alarm = None;
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
    pub(crate) fn settle(&mut self, operation: Operation, outcome: Outcome) {
        self.limits.settle(operation, outcome);
        if outcome == Outcome::Ended && self.limits.is_over() {
            self.alarm = None;
        }
    }

    /// After one that has to wait: whether that has exceeded a limit. If not, its task is woken when it may have.
    ///
    /// It registers even if nothing counts for it: the other side may exceed a limit, and then this one is to know.
    pub(crate) fn wait(&mut self, operation: Operation, cx: &Context<'_>) -> Option<LimitExceeded> {
        let side = operation.side();
        let begun = self.limits.pend(operation);
        if self.limits.is_over() || self.limits.durations() == [None; 3] {
            return None;
        }
        let mut look = begun.or_else(|| self.alarm.is_none().then(now));
        let mut has_rung = false;
        loop {
            if let Some(time) = look {
                if let Some(exceeded) = self.limits.exceeded(side, time) {
                    self.exceed(exceeded, operation);
                    return Some(exceeded);
                }
                let alarm = self.alarm.get_or_insert_default();
                if let Poll::Ready(due) = alarm.set(self.limits.next(time), time, side, has_rung) {
                    // The time has gone on while we set it.
                    look = Some(now().max(due));
                    continue;
                }
            }
            let alarm = self.alarm.as_ref()?;
            if alarm.register(side, cx.waker()) {
                return None;
            }
            if has_rung {
                // It has rung again while it was set, as it always does without a helper thread. To look once more is for
                // the next poll: before that, the connection is to be asked.
                alarm.ring(side);
                return None;
            }
            look = Some(now());
            has_rung = true;
        }
    }

    /// Whoever waits in the other direction learns of it, too.
    fn exceed(&mut self, exceeded: LimitExceeded, operation: Operation) {
        self.exceeded = Some(exceeded);
        if let Some(alarm) = self.alarm.take() {
            alarm.ring(operation.side().other());
        }
    }
}
