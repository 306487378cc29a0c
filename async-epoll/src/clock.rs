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
}

impl Clock {
    /// Starts to count.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), turn: AtomicU64::new(0) }
    }

    /// The time now, by a clock read (about 25 ns).
    pub(crate) fn now(&self) -> u64 {
        self.from_instant(Instant::now())
    }

    /// Reads the clock for a new turn.
    pub(crate) fn begin_turn(&self) -> u64 {
        let now = self.now();
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
