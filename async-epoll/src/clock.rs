//! The time, as the reactor counts it: nanoseconds since it was made, in one `u64`.
//!
//! 64 bits of nanoseconds last 584 years, so a plain number serves where `Instant` would need 16 bytes and checked
//! arithmetic. `u64::MAX` means *never*, and everything that would lie beyond saturates to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No point in time: a timer that does not fire.
pub(crate) const NEVER: u64 = u64::MAX;

/// Reads the monotonic clock, and remembers what it was in this turn.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Time zero.
    start: Instant,
    /// When the current turn began.
    turn: AtomicU64,
    /// Lets a test stop it.
    #[cfg(feature = "test-util")]
    pub(crate) hands: crate::test_clock::Hands,
}

impl Clock {
    /// Starts to count.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            turn: AtomicU64::new(0),
            #[cfg(feature = "test-util")]
            hands: crate::test_clock::Hands::new(),
        }
    }

    /// The time now, by a clock read (about 25 ns).
    pub(crate) fn now(&self) -> u64 {
        self.shown(self.real())
    }

    /// The time now, even if a test has stopped this clock.
    pub(crate) fn real(&self) -> u64 {
        self.from_instant(Instant::now())
    }

    /// What the clock shows when it is `real` in fact: just that, unless a test moves it.
    pub(crate) fn shown(&self, real: u64) -> u64 {
        #[cfg(feature = "test-util")]
        let real = self.hands.shown(real);
        real
    }

    /// Whether a test has stopped it: then no sleep has to end for the sake of a timer.
    pub(crate) fn stands_still(&self) -> bool {
        #[cfg(feature = "test-util")]
        return self.hands.stand_still();
        #[cfg(not(feature = "test-util"))]
        false
    }

    /// Whether a test waits for it to move.
    pub(crate) fn is_moving(&self) -> bool {
        #[cfg(feature = "test-util")]
        return self.hands.are_moving();
        #[cfg(not(feature = "test-util"))]
        false
    }

    /// Begins a new turn, when the time is `real` in fact. Returns what the clock shows.
    pub(crate) fn begin_turn(&self, real: u64) -> u64 {
        let now = self.shown(real);
        self.turn.store(now, Ordering::Relaxed);
        now
    }

    /// When the current turn began, without a clock read.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Saturates at both ends: an instant before the reactor's first is 0, one that is too far away is [`NEVER`].
    #[allow(clippy::wrong_self_convention, reason = "converts an Instant *by* this clock")]
    pub(crate) fn from_instant(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.start))
    }

    /// `None` for [`NEVER`], and for what an `Instant` cannot express.
    pub(crate) fn to_instant(&self, time: u64) -> Option<Instant> {
        if time == NEVER { None } else { self.start.checked_add(Duration::from_nanos(time)) }
    }
}

/// A duration in nanoseconds, saturating to [`NEVER`].
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug E1, E8: no extreme panics, none goes backwards.
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
