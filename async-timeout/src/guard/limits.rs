//! The limits of an [`IoGuard`](crate::IoGuard), and the times from which they count.
//!
//! [`Limits`] is plain arithmetic on the time. Nothing here waits or wakes a task. The tracker reports the outcome of each
//! operation, and asks which limit is exceeded and when to check next.
//!
//! ```text
//!                   starts to wait        a byte moved                    starts to wait
//!   idle      ────────────┼────────────────────┼───── handler works ────────────┼───────────────► exceeded
//!                         └───── counts ───────┘                                └─── idle limit ──┘
//! ```
//!
//! Each direction has its own count, from the first time that an operation of this direction has to wait. Bytes in one
//! direction restart the count of the other. What counts in one direction alone is in [`Paces`]. So the clock is read in two cases only: an operation starts to wait, or
//! bytes move while the other direction waits. Otherwise, bytes that move stop the count, which costs one store.

use super::exceeded::{Limit, LimitExceeded};
use super::operation::{Direction, Operation, Outcome};
use super::pace::{Kind, Paces};
use crate::now::{FOREVER, now};
use std::time::{Duration, Instant};

/// Returns a number of bytes in 32 bits. A buffer of 4 GiB or more counts as one of 4 GiB.
fn capped(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The limits, and the instants from which they count.
#[derive(Default)]
pub(crate) struct Limits {
    /// The longest wait without a byte; `None` for no limit. Set by the user.
    idle: Option<Duration>,
    /// The longest time of the connection; `None` for no limit. Set by the user.
    total: Option<Duration>,
    /// The longest wait without a byte that the peer takes; `None` for no limit. Set by the user.
    write_stall: Option<Duration>,
    /// The instant at which the total limit is exceeded; `None` before the first operation, which sets it.
    end: Option<Instant>,
    /// By direction: the instant from which its operation has waited with no byte moved in either direction. `None` if
    /// the last operation was ready.
    waiting: [Option<Instant>; 2],
    /// The instant from which the peer takes no byte. Set when a write, flush or close starts to wait; cleared by a byte
    /// that the peer takes and by the end of writing, but not by a writer that stops waiting.
    stalled: Option<Instant>,
    /// Whether the operation that waits to write is a flush.
    is_flushing: bool,
    /// By direction: whether no byte will follow, so no operation of this direction counts as waiting.
    ended: [bool; 2],
    /// The limits that count for one direction alone.
    paces: Paces,
    /// The number of bytes that the reader has shown and that were not taken since, so they have counted. 0 if unknown. Set
    /// when the reader shows its buffer; reduced when bytes are taken; 0 again when a read has to wait, as the buffer is
    /// empty then. [Capped](capped), to fit beside the flags.
    seen: u32,
}

impl Limits {
    /// Sets the idle limit. See [`IoGuard::idle`](crate::IoGuard::idle).
    pub(crate) fn set_idle(&mut self, limit: Duration) {
        self.idle = Some(limit).filter(|limit| *limit < FOREVER);
    }

    /// Sets the total limit. See [`IoGuard::total`](crate::IoGuard::total).
    pub(crate) fn set_total(&mut self, limit: Duration) {
        // If the first operation has begun already, the end is computed again from its beginning.
        let begin = self.end.take().zip(self.total).and_then(|(end, total)| end.checked_sub(total));
        self.total = Some(limit).filter(|limit| *limit < FOREVER);
        self.end = begin.zip(self.total).and_then(|(begin, total)| begin.checked_add(total));
    }

    /// Sets the write stall limit. See [`IoGuard::write_stall`](crate::IoGuard::write_stall).
    pub(crate) fn set_write_stall(&mut self, limit: Duration) {
        self.write_stall = Some(limit).filter(|limit| *limit < FOREVER);
    }

    /// Sets one of the limits that count for one direction alone: `bytes` within each `period`.
    pub(crate) fn set_pace(&mut self, kind: Kind, bytes: u64, period: Duration) {
        self.paces.set(kind, bytes, period);
    }

    /// Returns the durations as they were set: idle, total, write stall.
    pub(crate) fn durations(&self) -> [Option<Duration>; 3] {
        [self.idle, self.total, self.write_stall]
    }

    /// Returns the limits that count for one direction alone.
    pub(crate) fn paces(&self) -> &Paces {
        &self.paces
    }

    /// Returns whether no limit is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.durations() == [None; 3] && self.paces.is_empty()
    }

    /// Returns whether both directions have ended, so no limit counts any more.
    pub(crate) fn is_over(&self) -> bool {
        self.ended == [true; 2]
    }

    /// Begins an operation. Returns the total limit if it is exceeded, and reads the clock if there is a total limit.
    ///
    /// The timer alone would not do. If a task never has to wait, the loop that fires timers may not run. And a timer
    /// needs memory and a lock, which is too much for a connection that never waits.
    pub(crate) fn begin(&mut self) -> Option<LimitExceeded> {
        let after = self.total.filter(|_| !self.is_over())?;
        let now = now();
        if self.end.is_none() {
            self.end = now.checked_add(after);
        }
        self.end.filter(|end| *end <= now).map(|_| LimitExceeded { limit: Limit::Total, after })
    }

    /// Records that an operation has to wait. Returns the current time if a limit has started to count.
    pub(crate) fn start_waiting(&mut self, operation: Operation) -> Option<Instant> {
        let direction = operation.direction();
        let writes = direction == Direction::Write;
        if writes {
            self.is_flushing = operation == Operation::Flush;
        } else {
            self.seen = 0;
        }
        let is_new = |limit: Option<Duration>, since: Option<Instant>| limit.is_some() && since.is_none();
        let waits = is_new(self.idle, self.waiting[direction as usize]);
        let stalls = writes && is_new(self.write_stall, self.stalled);
        let paces = self.paces.would_start(direction);
        if self.ended[direction as usize] || !(waits || stalls || paces) {
            return None;
        }
        let now = now();
        self.paces.start(direction, now);
        if waits {
            self.waiting[direction as usize] = Some(now);
        }
        if stalls {
            self.stalled = Some(now);
        }
        Some(now)
    }

    /// Records the outcome of an operation that is ready.
    pub(crate) fn complete(&mut self, operation: Operation, outcome: Outcome) {
        let direction = operation.direction();
        match outcome {
            Outcome::Written(len) => self.moved(direction, len as u64),
            Outcome::Taken(len) => {
                let new = capped(len).saturating_sub(self.seen);
                self.take(len);
                if new > 0 {
                    self.moved(direction, new.into());
                }
            }
            Outcome::Shown(len) => {
                let new = capped(len).saturating_sub(std::mem::replace(&mut self.seen, capped(len)));
                if new > 0 {
                    self.moved(direction, new.into());
                }
            }
            // Their number is not known, but there are no more.
            Outcome::Flushed if self.is_flushing => self.moved(direction, u64::MAX),
            Outcome::Flushed | Outcome::Nothing => {}
            Outcome::Failed => {
                self.waiting[direction as usize] = None;
                self.paces.moved(direction, 0);
            }
            Outcome::Ended => {
                self.paces.moved(direction, u64::MAX);
                self.ended[direction as usize] = true;
                self.waiting[direction as usize] = None;
                if direction == Direction::Write {
                    self.stalled = None;
                }
            }
        }
        if outcome != Outcome::Nothing && direction == Direction::Write {
            self.is_flushing = false;
        }
    }

    /// Records that `len` bytes of those seen were taken from the reader's buffer.
    pub(crate) fn take(&mut self, len: usize) {
        self.seen = self.seen.saturating_sub(capped(len));
    }

    /// Records that the reader may have been used directly, so nothing is known of its buffer.
    pub(crate) fn forget_seen(&mut self) {
        self.seen = 0;
    }

    /// Records that `bytes` have moved in `direction`.
    fn moved(&mut self, direction: Direction, bytes: u64) {
        self.waiting[direction as usize] = None;
        self.paces.moved(direction, bytes);
        match direction {
            // A terminal can yield more bytes after an end of file.
            Direction::Read => self.ended[Direction::Read as usize] = false,
            Direction::Write => self.stalled = None,
        }
        // The clock is read here, not when the other direction next checks its deadline. Otherwise the other direction
        // could exceed its limit as late as after twice the limit.
        if let Some(since) = &mut self.waiting[direction.other() as usize] {
            *since = now();
        }
    }

    /// Returns the limit that a pending operation of `direction` has exceeded at `now`. If several, returns the first.
    pub(crate) fn exceeded(&self, direction: Direction, now: Instant) -> Option<LimitExceeded> {
        // Only a writer judges the write stall, because a writer has just tried again. So do the paces of each direction.
        let stall = self.stall_deadline().filter(|_| direction == Direction::Write);
        let judged = [self.total_deadline(), self.idle_deadline(direction), stall].into_iter().flatten();
        let passed = judged.chain(self.paces.deadlines(direction)).filter(|(deadline, _)| *deadline <= now);
        passed.min_by_key(|(deadline, _)| *deadline).map(|(_, exceeded)| exceeded)
    }

    /// Returns the instant of the next check: the nearest deadline after `now`, of either direction.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let directions = [Direction::Read, Direction::Write];
        let idle = directions.map(|direction| self.idle_deadline(direction));
        let all = idle.into_iter().chain([self.total_deadline(), self.stall_deadline()]).flatten();
        let paces = directions.into_iter().flat_map(|direction| self.paces.deadlines(direction));
        all.chain(paces).map(|(deadline, _)| deadline).filter(|deadline| *deadline > now).min()
    }

    /// Returns when the total limit will be exceeded.
    fn total_deadline(&self) -> Option<(Instant, LimitExceeded)> {
        let end = self.end.filter(|_| !self.is_over());
        Some((end?, LimitExceeded { limit: Limit::Total, after: self.total? }))
    }

    /// Returns when the idle limit of `direction` will be exceeded.
    fn idle_deadline(&self, direction: Direction) -> Option<(Instant, LimitExceeded)> {
        deadline(self.waiting[direction as usize], Limit::Idle, self.idle)
    }

    /// Returns when the write stall limit will be exceeded.
    fn stall_deadline(&self) -> Option<(Instant, LimitExceeded)> {
        deadline(self.stalled, Limit::WriteStall, self.write_stall)
    }
}

/// Returns when a limit that counts from `since` will be exceeded.
fn deadline(since: Option<Instant>, limit: Limit, after: Option<Duration>) -> Option<(Instant, LimitExceeded)> {
    let after = after?;
    Some((since?.checked_add(after)?, LimitExceeded { limit, after }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A century and more is no limit.
    #[test]
    fn a_century_is_no_limit() {
        for (limit, counts) in [(FOREVER - Duration::from_nanos(1), true), (FOREVER, false), (Duration::MAX, false)] {
            let mut limits = Limits::default();
            limits.set_idle(limit);
            limits.set_total(limit);
            limits.set_write_stall(limit);
            assert_eq!(limits.durations(), [Some(limit).filter(|_| counts); 3]);
        }
    }

    /// Which waits begin to count, and so read the clock: the first of a direction that has not ended, if there is a limit.
    #[test]
    fn which_waits_count() {
        for (idle, ended, expected) in [(false, false, false), (true, false, true), (true, true, false)] {
            let mut limits = Limits::default();
            if idle {
                limits.set_idle(LIMIT);
            }
            if ended {
                limits.complete(Operation::Read, Outcome::Ended);
            }
            assert_eq!(limits.start_waiting(Operation::Read).is_some(), expected, "{idle} {ended}");
            assert_eq!(limits.start_waiting(Operation::Read), None, "it counts already");
        }
    }

    /// The end of reading does not end a write stall; the end of writing does.
    #[test]
    fn which_end_ends_a_write_stall() {
        for (operation, stalls) in [(Operation::Read, true), (Operation::Write, false), (Operation::Close, false)] {
            let mut limits = Limits::default();
            limits.set_write_stall(LIMIT);
            let began = limits.start_waiting(Operation::Write).unwrap();
            limits.complete(operation, Outcome::Ended);
            assert_eq!(limits.exceeded(Direction::Write, began + LIMIT).is_some(), stalls, "{operation:?}");
        }
    }

    /// The next check is after now: what is due now has been judged.
    #[test]
    fn the_next_check_is_later() {
        let mut limits = Limits::default();
        limits.set_idle(LIMIT);
        let began = limits.start_waiting(Operation::Read).unwrap();
        assert_eq!(limits.next(began), Some(began + LIMIT));
        assert_eq!(limits.next(began + LIMIT), None);
    }
}
