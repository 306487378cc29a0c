//! Limits of one direction: so many bytes within so much waiting.
//!
//! A [`Pace`] demands that a number of bytes moves, again and again, each time within a period of waiting. Only the time
//! in which an operation of the direction waits is counted, and bytes of the other direction count for nothing. The read
//! idle limit is the pace of one byte.
//!
//! ```text
//!                 waits      7 bytes        waits    3 more: 10           waits
//!   10 bytes ───────┼───────────┼─ works ─────┼───────────┼──── works ──────┼──────────────► exceeded
//!                   └── spent ──┘             └─ (spent) ─┘                 └─── period ───┘
//! ```
//!
//! The clock is read when a wait begins, and when a wait ends with too few bytes. Bytes that fulfil the demand cost a few
//! stores. No timer is moved: a deadline only ever becomes later, and the guard's timer looks again when it fires.

use super::exceeded::{Limit, LimitExceeded};
use super::operation::Direction;
use crate::now::{FOREVER, now};
use std::time::{Duration, Instant};

/// The limits that are paces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    ReadIdle,
    MinReadRate,
    MinWriteRate,
}

impl Kind {
    /// Returns the name of the limit.
    const fn limit(self) -> Limit {
        match self {
            Self::ReadIdle => Limit::ReadIdle,
            Self::MinReadRate => Limit::MinReadRate,
            Self::MinWriteRate => Limit::MinWriteRate,
        }
    }

    /// Returns the direction in which bytes have to move.
    const fn direction(self) -> Direction {
        match self {
            Self::ReadIdle | Self::MinReadRate => Direction::Read,
            Self::MinWriteRate => Direction::Write,
        }
    }
}

/// The demand of `bytes` within each `period` of waiting.
struct Pace {
    /// Which limit this is.
    kind: Kind,
    /// The number of bytes demanded. Not 0. Set by the user.
    bytes: u64,
    /// The waiting in which they have to move. Set by the user.
    period: Duration,
    /// The number of bytes moved in the current period, fewer than `bytes`.
    moved: u64,
    /// The waiting of the current period, without the present wait.
    spent: Duration,
    /// The instant at which the present wait began; `None` if no operation waits. Set when an operation has to wait.
    /// Cleared when bytes move, by an error and by the end of the direction, but not by a task that gives up its wait.
    since: Option<Instant>,
}

impl Pace {
    /// Records that `bytes` have moved, so the present wait has ended. The number is 0 for an error.
    fn moved(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= self.bytes {
            // What is more than the demand does not count for the next period.
            (self.moved, self.spent, self.since) = (0, Duration::ZERO, None);
        } else if let Some(since) = self.since.take() {
            self.spent = self.spent.saturating_add(now().saturating_duration_since(since));
        }
    }

    /// Returns when this limit will be exceeded if the present wait goes on; `None` if no operation waits.
    fn deadline(&self) -> Option<(Instant, LimitExceeded)> {
        let deadline = self.since?.checked_add(self.period.saturating_sub(self.spent))?;
        Some((deadline, LimitExceeded { limit: self.kind.limit(), after: self.period }))
    }
}

/// The paces of a guard, by the number of their [`Kind`]. In a box, which is made for the first of them: most guards have
/// none, and three of them take more room than all other limits.
#[derive(Default)]
pub(crate) struct Paces(Option<Box<[Option<Pace>; 3]>>);

impl Paces {
    /// Sets a pace. With no bytes, or a period beyond a century, there is no limit. If the pace was set before, what has
    /// moved and what was spent still count.
    pub(crate) fn set(&mut self, kind: Kind, bytes: u64, period: Duration) {
        if bytes == 0 || period >= FOREVER {
            if let Some(paces) = &mut self.0 {
                paces[kind as usize] = None;
            }
            if self.is_empty() {
                self.0 = None;
            }
            return;
        }
        let slot = &mut self.0.get_or_insert_default()[kind as usize];
        match slot {
            Some(pace) => {
                (pace.bytes, pace.period) = (bytes, period);
                // What has moved may fulfil the new demand.
                if pace.moved >= bytes {
                    pace.moved(0);
                }
            }
            None => *slot = Some(Pace { kind, bytes, period, moved: 0, spent: Duration::ZERO, since: None }),
        }
    }

    /// Returns a pace as it was set: the bytes and the period.
    pub(crate) fn get(&self, kind: Kind) -> Option<(u64, Duration)> {
        let pace = self.0.as_ref()?[kind as usize].as_ref()?;
        Some((pace.bytes, pace.period))
    }

    /// Returns whether no pace is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|paces| paces.iter().all(Option::is_none))
    }

    /// Returns the paces of `direction`.
    fn of(&self, direction: Direction) -> impl Iterator<Item = &Pace> {
        self.0.iter().flat_map(|paces| paces.iter().flatten()).filter(move |pace| pace.kind.direction() == direction)
    }

    /// Returns the paces of `direction`.
    fn of_mut(&mut self, direction: Direction) -> impl Iterator<Item = &mut Pace> {
        let paces = self.0.iter_mut().flat_map(|paces| paces.iter_mut().flatten());
        paces.filter(move |pace| pace.kind.direction() == direction)
    }

    /// Returns whether [`start`](Self::start) would start a count.
    pub(crate) fn would_start(&self, direction: Direction) -> bool {
        self.of(direction).any(|pace| pace.since.is_none())
    }

    /// Records that an operation has to wait.
    pub(crate) fn start(&mut self, direction: Direction, now: Instant) {
        self.of_mut(direction).for_each(|pace| pace.since = pace.since.or(Some(now)));
    }

    /// Records that `bytes` have moved, or that an operation has failed, with 0. `u64::MAX` fulfils every demand.
    pub(crate) fn moved(&mut self, direction: Direction, bytes: u64) {
        self.of_mut(direction).for_each(|pace| pace.moved(bytes));
    }

    /// Returns when the limits of `direction` will be exceeded.
    pub(crate) fn deadlines(&self, direction: Direction) -> impl Iterator<Item = (Instant, LimitExceeded)> {
        self.of(direction).filter_map(Pace::deadline)
    }
}
