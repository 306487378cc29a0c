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
//! direction restart the count of the other. So the clock is read in two cases only: an operation starts to wait, or
//! bytes move while the other direction waits. Otherwise, bytes that move stop the count, which costs one store.

use crate::now::{FOREVER, now};
use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// One of the limits of an [`IoGuard`](crate::IoGuard).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Limit {
    /// No byte has moved in either direction. See [`IoGuard::idle`](crate::IoGuard::idle).
    Idle,
    /// The time of the whole connection is up. See [`IoGuard::total`](crate::IoGuard::total).
    Total,
    /// The peer has taken no byte. See [`IoGuard::write_stall`](crate::IoGuard::write_stall).
    WriteStall,
}

/// The payload of the [`io::Error`]s of an [`IoGuard`](crate::IoGuard) when a limit has been exceeded.
///
/// The errors are of kind `TimedOut`.
///
/// # Examples
///
/// ```
/// use async_timeout::{Limit, LimitExceeded, guard};
/// use futures::{AsyncReadExt, TryStreamExt, stream};
/// use std::{io, time::Duration};
///
/// // A peer that sends nothing.
/// let silent = stream::pending::<io::Result<Vec<u8>>>().into_async_read();
/// let limit = Duration::from_millis(5);
/// let error = futures::executor::block_on(guard(silent).idle(limit).read(&mut [0; 16])).unwrap_err();
///
/// assert_eq!(error.kind(), io::ErrorKind::TimedOut);
/// let exceeded = LimitExceeded::of(&error).unwrap();
/// assert_eq!((exceeded.limit, exceeded.after), (Limit::Idle, limit));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct LimitExceeded {
    /// The limit that was exceeded.
    pub limit: Limit,
    /// The duration of the limit.
    pub after: Duration,
}

impl LimitExceeded {
    /// Returns the payload of `error`, or `None` if `error` does not come from an [`IoGuard`](crate::IoGuard).
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.after;
        match self.limit {
            Limit::Idle => write!(f, "idle limit exceeded: no byte in either direction for {after:?}"),
            Limit::Total => write!(f, "total limit exceeded: not done after {after:?}"),
            Limit::WriteStall => write!(f, "write stall limit exceeded: the peer has taken no byte for {after:?}"),
        }
    }
}

impl Error for LimitExceeded {}

impl From<LimitExceeded> for io::Error {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::new(io::ErrorKind::TimedOut, exceeded)
    }
}

/// A direction of a connection. At most one task waits for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    /// Returns the other direction.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Read => Self::Write,
            Self::Write => Self::Read,
        }
    }
}

/// An operation on the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Read,
    Write,
    Flush,
    Close,
}

impl Operation {
    /// Returns the direction of the operation.
    pub(crate) const fn direction(self) -> Direction {
        match self {
            Self::Read => Direction::Read,
            Self::Write | Self::Flush | Self::Close => Direction::Write,
        }
    }
}

/// The outcome of an operation that is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Bytes were written.
    Written,
    /// This number of bytes was read and taken: 0 if the buffer was empty.
    Taken(usize),
    /// The reader has this number of bytes, not 0, in its buffer, and shows them.
    Shown(usize),
    /// No byte is left to flush. The flush has certainly moved bytes only if it had to wait before.
    Flushed,
    /// No byte will follow in this direction.
    Ended,
    /// An error, or a write of no byte although the buffer had bytes.
    Failed,
    /// There was nothing to write.
    Nothing,
}

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

    /// Returns the limits as they were set: idle, total, write stall.
    pub(crate) fn durations(&self) -> [Option<Duration>; 3] {
        [self.idle, self.total, self.write_stall]
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
        if self.ended[direction as usize] || !(waits || stalls) {
            return None;
        }
        let now = now();
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
            Outcome::Written => self.moved(direction),
            Outcome::Taken(len) => {
                let is_new = capped(len) > self.seen;
                self.take(len);
                if is_new {
                    self.moved(direction);
                }
            }
            Outcome::Shown(len) => {
                if capped(len) > std::mem::replace(&mut self.seen, capped(len)) {
                    self.moved(direction);
                }
            }
            Outcome::Flushed if self.is_flushing => self.moved(direction),
            Outcome::Flushed | Outcome::Nothing => {}
            Outcome::Failed => self.waiting[direction as usize] = None,
            Outcome::Ended => {
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

    /// Records that bytes have moved in `direction`.
    fn moved(&mut self, direction: Direction) {
        self.waiting[direction as usize] = None;
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
        let judged = [self.total_deadline(), self.idle_deadline(direction), self.stall_deadline()];
        // Only a writer judges the write stall, because a writer has just tried again.
        let judged = if direction == Direction::Write { &judged[..] } else { &judged[..2] };
        let passed = judged.iter().flatten().filter(|(deadline, _)| *deadline <= now);
        passed.min_by_key(|(deadline, _)| *deadline).map(|(_, exceeded)| *exceeded)
    }

    /// Returns the instant of the next check: the nearest deadline after `now`, of either direction.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let idle = [Direction::Read, Direction::Write].map(|direction| self.idle_deadline(direction));
        let all = idle.into_iter().chain([self.total_deadline(), self.stall_deadline()]).flatten();
        all.map(|(deadline, _)| deadline).filter(|deadline| *deadline > now).min()
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
