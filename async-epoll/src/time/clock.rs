//! The reactor's clock: nanoseconds since the reactor was made.
//!
//! `CLOCK_MONOTONIC`, read through `Instant::now()` (about 25 ns). The *turn's clock* is what the clock showed when the
//! engine's current turn began: it costs no clock read, and is behind the time after long work in a task.
//!
//! With the feature `test-util` a test may stop and move what the clock [shows](Clock::shown); the
//! [real](Clock::real) time goes on.

#[cfg(feature = "test-util")]
use super::hands::Hands;
use super::nanos::{NEVER, nanos};
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "test-util")]
use std::task::Waker;
use std::time::{Duration, Instant};

/// Reads the monotonic clock, and remembers what it showed when the current turn began.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Time zero: when the reactor was made.
    start: Instant,
    /// What the clock showed when the current turn began, in nanoseconds. Written once per turn, by the engine.
    turn: AtomicU64,
    /// Lets a test stop the clock and move it.
    #[cfg(feature = "test-util")]
    pub(crate) hands: Hands,
}

impl Clock {
    /// Returns a clock that shows 0.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            turn: AtomicU64::new(0),
            #[cfg(feature = "test-util")]
            hands: Hands::new(),
        }
    }

    /// Returns what the clock shows now, by a clock read.
    pub(crate) fn now(&self) -> u64 {
        self.shown(self.real())
    }

    /// Returns the real time, even if a test has stopped this clock.
    pub(crate) fn real(&self) -> u64 {
        self.from_instant(Instant::now())
    }

    /// Returns what the clock shows at the real time `real`: `real`, unless a test has moved the clock.
    pub(crate) fn shown(&self, real: u64) -> u64 {
        #[cfg(feature = "test-util")]
        let real = self.hands.shown(real);
        real
    }

    /// Returns whether a test has stopped the clock: then no sleep has to end for the sake of a timer.
    pub(crate) fn is_stopped(&self) -> bool {
        #[cfg(feature = "test-util")]
        return self.hands.are_stopped();
        #[cfg(not(feature = "test-util"))]
        false
    }

    /// Returns whether a test waits for the clock to move.
    pub(crate) fn is_moving(&self) -> bool {
        #[cfg(feature = "test-util")]
        return self.hands.are_moving();
        #[cfg(not(feature = "test-util"))]
        false
    }

    /// Sets the turn's clock, at the real time `real`. Returns what the clock shows.
    pub(crate) fn begin_turn(&self, real: u64) -> u64 {
        let now = self.shown(real);
        self.turn.store(now, Ordering::Relaxed);
        now
    }

    /// Returns the turn's clock: what the clock showed when the current turn began.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Moves a stopped clock to `next_timer`, the deadline of the first timer; or, if no timer is due before the end of
    /// an advance, to that end, and then takes the wakers of the tasks that await it.
    #[cfg(feature = "test-util")]
    pub(crate) fn step(&self, next_timer: u64, wakers: &mut Vec<Waker>) {
        let mut advances = self.hands.advances();
        let (now, Some(target)) = (self.now(), advances.iter().map(|step| step.target).min()) else { return };
        self.hands.stop_at(next_timer.min(target).max(now));
        if next_timer > target {
            wakers.extend(self.hands.end(&mut advances, |step| step.target <= target));
        }
    }

    /// Moves a clock that moves by itself to `next_timer`, the deadline of the first timer. An advance that has begun
    /// meanwhile on another thread moves the clock in its place, and a clock that was resumed is left alone.
    #[cfg(feature = "test-util")]
    pub(crate) fn step_by_itself(&self, next_timer: u64) {
        let advances = self.hands.advances();
        if advances.is_empty() && self.hands.move_by_themselves() {
            self.hands.stop_at(next_timer.max(self.now()));
        }
    }

    /// Returns whether a test has stopped the clock in such a way that it moves by itself.
    pub(crate) fn moves_by_itself(&self) -> bool {
        #[cfg(feature = "test-util")]
        return self.hands.move_by_themselves();
        #[cfg(not(feature = "test-util"))]
        false
    }

    /// Converts an instant, saturating at both ends: an instant before the reactor's first is 0, and one too far away
    /// is [`NEVER`].
    #[allow(clippy::wrong_self_convention, reason = "converts an Instant *by* this clock")]
    pub(crate) fn from_instant(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.start))
    }

    /// Converts a time of this clock. `None` for [`NEVER`], and for times that an `Instant` cannot express.
    pub(crate) fn to_instant(&self, time: u64) -> Option<Instant> {
        if time == NEVER { None } else { self.start.checked_add(Duration::from_nanos(time)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bugs E1 and E8: no extreme duration panics, and no instant converts to a time before zero.
    #[test]
    fn extremes_saturate() {
        assert_eq!(nanos(Duration::MAX), NEVER);
        assert_eq!(nanos(Duration::from_nanos(7)), 7);
        let before = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        let clock = Clock::new();
        assert_eq!(clock.from_instant(before), 0);
        assert_eq!(clock.to_instant(NEVER), None);
        assert_eq!(clock.from_instant(clock.to_instant(1234).unwrap()), 1234);
    }
}
