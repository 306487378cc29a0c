//! The limits of an [`IoGuard`](crate::IoGuard), and how far each of them is: plain arithmetic on the time.
//!
//! Nothing here waits or wakes. The guard tells what its operations come to; it is told what has been exceeded, and when
//! to look again.
//!
//! ```text
//!                            began to wait       a byte moved                     began to wait
//!   idle         ────────────────┼────────────────────┼────────── thinks ────────────────┼───────────────► cut
//!                                └───── counts ───────┘                                  └─── idle limit ──┘
//! ```
//!
//! Each direction counts for itself, from the first time that its operation has to wait. Bytes in one direction let the
//! count of the other begin anew. So a clock is read in two cases only: an operation begins to wait, or bytes move
//! beside somebody who waits. Otherwise bytes that move just stop the count, which costs one store.

use crate::now::{FOREVER, now};
use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// One of the limits of an [`IoGuard`](crate::IoGuard).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Limit {
    /// No byte in either direction, from [`IoGuard::idle`](crate::IoGuard::idle).
    Idle,
    /// Everything together, from [`IoGuard::total`](crate::IoGuard::total).
    Total,
    /// The peer takes nothing, from [`IoGuard::write_stall`](crate::IoGuard::write_stall).
    WriteStall,
}

/// A limit of an [`IoGuard`](crate::IoGuard) was exceeded: the payload of its [`io::Error`]s of kind `TimedOut`.
///
/// # Examples
///
/// ```
/// use async_timeout::{Limit, LimitExceeded, guard};
/// use futures::{AsyncReadExt, TryStreamExt, stream};
/// use std::{io, time::Duration};
///
/// // A peer that says nothing.
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
    /// Which one.
    pub limit: Limit,
    /// How long it was.
    pub after: Duration,
}

impl LimitExceeded {
    /// The payload of `error`, if that comes from an [`IoGuard`](crate::IoGuard).
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

/// One of the directions of a connection; at most one task waits for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Read => Self::Write,
            Self::Write => Self::Read,
        }
    }
}

/// What is done with the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Read,
    Write,
    Flush,
    Close,
}

impl Operation {
    /// The direction that it belongs to.
    pub(crate) const fn direction(self) -> Direction {
        match self {
            Self::Read => Direction::Read,
            Self::Write | Self::Flush | Self::Close => Direction::Write,
        }
    }
}

/// What an operation that is ready has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Bytes have moved.
    Moved,
    /// Nothing is left to be flushed. Whether bytes have moved for that is seen only if it had to wait.
    Flushed,
    /// No byte will follow in this direction.
    Ended,
    /// An error, or no byte although there was room.
    Failed,
    /// Nothing was asked for: an empty buffer.
    Nothing,
}

/// The limits, and since when they count.
#[derive(Default)]
pub(crate) struct Limits {
    /// `None`, here and below: no such limit.
    idle: Option<Duration>,
    total: Option<Duration>,
    write_stall: Option<Duration>,
    /// When everything has to be done. `None` before the first operation.
    end: Option<Instant>,
    /// Since when each direction waits with no byte moved in either. `None`: its last operation was ready.
    waiting: [Option<Instant>; 2],
    /// Since when the peer takes nothing. Ends with a byte that it takes, and not when somebody gives up waiting for it.
    stalled: Option<Instant>,
    /// It is a flush that waits.
    is_flushing: bool,
    /// No byte will follow in this direction, so it is not waited for.
    ended: [bool; 2],
}

impl Limits {
    /// See [`IoGuard::idle`](crate::IoGuard::idle).
    pub(crate) fn set_idle(&mut self, limit: Duration) {
        self.idle = Some(limit).filter(|limit| *limit < FOREVER);
    }

    /// See [`IoGuard::total`](crate::IoGuard::total).
    pub(crate) fn set_total(&mut self, limit: Duration) {
        // An end that is known already is worked out anew.
        let begin = self.end.take().zip(self.total).and_then(|(end, total)| end.checked_sub(total));
        self.total = Some(limit).filter(|limit| *limit < FOREVER);
        self.end = begin.zip(self.total).and_then(|(begin, total)| begin.checked_add(total));
    }

    /// See [`IoGuard::write_stall`](crate::IoGuard::write_stall).
    pub(crate) fn set_write_stall(&mut self, limit: Duration) {
        self.write_stall = Some(limit).filter(|limit| *limit < FOREVER);
    }

    /// The limits as they were set: idle, total, write stall.
    pub(crate) fn durations(&self) -> [Option<Duration>; 3] {
        [self.idle, self.total, self.write_stall]
    }

    /// Both directions have ended: no limit counts any more.
    pub(crate) fn is_over(&self) -> bool {
        self.ended == [true; 2]
    }

    /// An operation begins: whether the total limit has been exceeded. With one, this reads the clock.
    ///
    /// A timer alone would not do. In a task that never has to wait, the loop which fires the timers does not get its
    /// turn; and a timer that needs memory and a lock is more than a connection pays for that is never waited for.
    pub(crate) fn begin(&mut self) -> Option<LimitExceeded> {
        let after = self.total.filter(|_| !self.is_over())?;
        let now = now();
        if self.end.is_none() {
            self.end = now.checked_add(after);
        }
        self.end.filter(|end| *end <= now).map(|_| LimitExceeded { limit: Limit::Total, after })
    }

    /// An operation has to wait. The time, if that has made a deadline.
    pub(crate) fn start_waiting(&mut self, operation: Operation) -> Option<Instant> {
        let direction = operation.direction();
        let writes = direction == Direction::Write;
        if writes {
            self.is_flushing = operation == Operation::Flush;
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

    /// An operation is ready.
    pub(crate) fn complete(&mut self, operation: Operation, outcome: Outcome) {
        let direction = operation.direction();
        match outcome {
            Outcome::Moved => self.moved(direction),
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

    /// Bytes have moved.
    fn moved(&mut self, direction: Direction) {
        self.waiting[direction as usize] = None;
        match direction {
            // A terminal goes on after its end of file.
            Direction::Read => self.ended[Direction::Read as usize] = false,
            Direction::Write => self.stalled = None,
        }
        // Were it only noted that bytes have moved, until the other direction next looks at the clock, then that direction could be
        // cut as late as at twice its limit.
        if let Some(since) = &mut self.waiting[direction.other() as usize] {
            *since = now();
        }
    }

    /// The limit that an operation of `direction`, which has to wait, has exceeded; if several, the first.
    pub(crate) fn exceeded(&self, direction: Direction, now: Instant) -> Option<LimitExceeded> {
        let judged = [self.total_deadline(), self.idle_deadline(direction), self.stall_deadline()];
        // That nothing could be written is for a writer to say, who has just tried again.
        let judged = if direction == Direction::Write { &judged[..] } else { &judged[..2] };
        let passed = judged.iter().flatten().filter(|(deadline, _)| *deadline <= now);
        passed.min_by_key(|(deadline, _)| *deadline).map(|(_, exceeded)| *exceeded)
    }

    /// When to look next, after `now`: the nearest deadline of either direction. Those that have passed are not in it.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let idle = [Direction::Read, Direction::Write].map(|direction| self.idle_deadline(direction));
        let all = idle.into_iter().chain([self.total_deadline(), self.stall_deadline()]).flatten();
        all.map(|(deadline, _)| deadline).filter(|deadline| *deadline > now).min()
    }

    fn total_deadline(&self) -> Option<(Instant, LimitExceeded)> {
        let end = self.end.filter(|_| !self.is_over());
        Some((end?, LimitExceeded { limit: Limit::Total, after: self.total? }))
    }

    fn idle_deadline(&self, direction: Direction) -> Option<(Instant, LimitExceeded)> {
        deadline(self.waiting[direction as usize], Limit::Idle, self.idle)
    }

    fn stall_deadline(&self) -> Option<(Instant, LimitExceeded)> {
        deadline(self.stalled, Limit::WriteStall, self.write_stall)
    }
}

/// When a limit that counts from `since` will be exceeded.
fn deadline(since: Option<Instant>, limit: Limit, after: Option<Duration>) -> Option<(Instant, LimitExceeded)> {
    let after = after?;
    Some((since?.checked_add(after)?, LimitExceeded { limit, after }))
}
