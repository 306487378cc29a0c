//! How connections end, and the counts of a server.
//!
//! Each connection ends in exactly one way, an [`Outcome`], so the numbers of a [`Report`] add up. The server's thread counts
//! in [`Counters`], which any thread may read.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The limits of time that a connection can exceed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TimeLimit {
    /// No byte has come soon enough after the accept: [`Server::first_byte_timeout`](super::Server::first_byte_timeout).
    FirstByte,
    /// No byte has moved: [`Server::idle_timeout`](super::Server::idle_timeout).
    Idle,
    /// The peer has taken no byte: [`Server::write_stall_timeout`](super::Server::write_stall_timeout).
    WriteStall,
    /// Too few bytes have come: [`Server::min_rate`](super::Server::min_rate).
    MinRate,
    /// The connection is too old: [`Server::lifetime`](super::Server::lifetime).
    Lifetime,
}

impl TimeLimit {
    /// The number of limits.
    const COUNT: usize = 5;
}

/// How a connection has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler has returned without an error. Also after a stop, if it was at work when the stop began.
    Served,
    /// The handler has returned an error.
    Failed,
    /// The handler has panicked: when it was called, in a poll, or when its future was dropped.
    Panicked,
    /// The connection has exceeded a limit of time, whatever the handler has made of that.
    TimedOut(TimeLimit),
    /// The server has aborted the handler: by [`abort`](super::ServerHandle::abort), at the deadline of a stop, or because the
    /// server or its pool was dropped.
    Aborted,
    /// The connection was idle when the server had to close it: because it stopped, or because there were more than
    /// [`soft_limit`](super::Server::soft_limit).
    ClosedIdle,
}

/// The number of connections that have exceeded each limit of time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct TimedOut {
    /// See [`TimeLimit::FirstByte`].
    pub first_byte: u64,
    /// See [`TimeLimit::Idle`].
    pub idle: u64,
    /// See [`TimeLimit::WriteStall`].
    pub write_stall: u64,
    /// See [`TimeLimit::MinRate`].
    pub min_rate: u64,
    /// See [`TimeLimit::Lifetime`].
    pub lifetime: u64,
}

impl TimedOut {
    /// Returns the sum.
    pub const fn total(&self) -> u64 {
        self.first_byte + self.idle + self.write_stall + self.min_rate + self.lifetime
    }
}

/// What a server has done, in numbers of connections.
///
/// Each accepted connection ends in exactly one way, so for the report of a server that has ended
///
/// ```text
/// accepted = served + failed + panicked + timed_out.total() + aborted + closed_idle
/// ```
///
/// In a report of a running server ([`ServerHandle::stats`](super::ServerHandle::stats)), the difference is
/// [`active`](Self::active).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The connections that were given to a handler.
    pub accepted: u64,
    /// See [`Outcome::Served`].
    pub served: u64,
    /// See [`Outcome::Failed`].
    pub failed: u64,
    /// See [`Outcome::Panicked`].
    pub panicked: u64,
    /// See [`Outcome::TimedOut`].
    pub timed_out: TimedOut,
    /// See [`Outcome::Aborted`].
    pub aborted: u64,
    /// See [`Outcome::ClosedIdle`].
    pub closed_idle: u64,
    /// How many of `closed_idle` were closed for [`Server::soft_limit`](super::Server::soft_limit).
    pub shed: u64,
    /// The connections that were closed without a handler. They are not in `accepted`.
    pub refused: u64,
    /// The greatest number of connections that were open at a time.
    pub peak: u64,
    /// The connections that are open. 0 in the report of a server that has ended.
    pub active: u64,
}

impl Report {
    /// Returns the number of connections that have ended.
    pub const fn ended(&self) -> u64 {
        self.served + self.failed + self.panicked + self.timed_out.total() + self.aborted + self.closed_idle
    }
}

/// Writes one line for a log.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted: {} served, {} failed, {} panicked, {} timed out, {} aborted, {} closed idle; {} refused",
            self.accepted,
            self.served,
            self.failed,
            self.panicked,
            self.timed_out.total(),
            self.aborted,
            self.closed_idle,
            self.refused,
        )?;
        if self.active > 0 {
            write!(f, ", {} active", self.active)?;
        }
        Ok(())
    }
}

/// The counts while the server runs. The server's thread writes them.
#[derive(Default, Debug)]
pub(super) struct Counters {
    accepted: AtomicU64,
    served: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    timed_out: [AtomicU64; TimeLimit::COUNT],
    aborted: AtomicU64,
    closed_idle: AtomicU64,
    shed: AtomicU64,
    refused: AtomicU64,
    peak: AtomicU64,
    active: AtomicU64,
}

/// Adds one to a counter.
fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Counts a connection that is given to a handler. Returns how many are open now.
    pub(super) fn accept(&self) -> u64 {
        increment(&self.accepted);
        let active = self.active.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(active, Ordering::Relaxed);
        active
    }

    /// Counts a connection that has ended. `is_shed` says that it was to end for the soft limit.
    pub(super) fn end(&self, outcome: Outcome, is_shed: bool) {
        match outcome {
            Outcome::Served => increment(&self.served),
            Outcome::Failed => increment(&self.failed),
            Outcome::Panicked => increment(&self.panicked),
            Outcome::TimedOut(limit) => increment(&self.timed_out[limit as usize]),
            Outcome::Aborted => increment(&self.aborted),
            Outcome::ClosedIdle => {
                increment(&self.closed_idle);
                if is_shed {
                    increment(&self.shed);
                }
            }
        }
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection that was closed without a handler.
    pub(super) fn refuse(&self) {
        increment(&self.refused);
    }

    /// Returns the present numbers, each by itself.
    pub(super) fn report(&self) -> Report {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let of_limit = |limit: TimeLimit| of(&self.timed_out[limit as usize]);
        Report {
            accepted: of(&self.accepted),
            served: of(&self.served),
            failed: of(&self.failed),
            panicked: of(&self.panicked),
            timed_out: TimedOut {
                first_byte: of_limit(TimeLimit::FirstByte),
                idle: of_limit(TimeLimit::Idle),
                write_stall: of_limit(TimeLimit::WriteStall),
                min_rate: of_limit(TimeLimit::MinRate),
                lifetime: of_limit(TimeLimit::Lifetime),
            },
            aborted: of(&self.aborted),
            closed_idle: of(&self.closed_idle),
            shed: of(&self.shed),
            refused: of(&self.refused),
            peak: of(&self.peak),
            active: of(&self.active),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Aborted, ClosedIdle, Failed, Panicked, Served, TimedOut as Late};

    /// Each outcome has a number of its own, and the sum is that of the accepted connections.
    #[test]
    fn each_outcome_counts_once() {
        let numbers = |report: &Report| {
            let late = report.timed_out;
            let of_time = [late.first_byte, late.idle, late.write_stall, late.min_rate, late.lifetime];
            let others = [report.served, report.failed, report.panicked, report.aborted, report.closed_idle];
            [others, of_time].concat()
        };
        let times =
            [TimeLimit::FirstByte, TimeLimit::Idle, TimeLimit::WriteStall, TimeLimit::MinRate, TimeLimit::Lifetime];
        let outcomes = [Served, Failed, Panicked, Aborted, ClosedIdle].into_iter().chain(times.map(Late));
        for (index, outcome) in outcomes.enumerate() {
            let counters = Counters::default();
            assert_eq!(counters.accept(), 1);
            assert_eq!(counters.report().active, 1);
            counters.end(outcome, true);
            let report = counters.report();
            let expected: Vec<u64> = (0..10).map(|number| u64::from(number == index)).collect();
            assert_eq!(numbers(&report), expected, "{outcome:?}");
            assert_eq!((report.ended(), report.active, report.peak), (report.accepted, 0, 1));
            assert_eq!(report.shed, report.closed_idle);
        }
    }
}
