//! The current time, and sums of times that do not overflow.
//!
//! Everything else in this crate takes the time from [`now`] and adds durations by [`saturating_add`].

use crate::platform;
use std::time::{Duration, Instant};

/// A century, which stands for "never". Some versions of futures-timer panic on more than an `Instant` can express.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Returns `instant` plus `duration`, or plus [`FOREVER`] if an `Instant` cannot express the sum.
pub(crate) fn saturating_add(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).or_else(|| instant.checked_add(FOREVER)).unwrap_or(instant)
}

/// Returns the time by which the timers of this crate go.
///
/// That is `Instant::now()`, unless a test has moved the clock of the current reactor (feature `test-util`). Code that
/// makes its deadlines from `now` can be tested with such a clock.
///
/// # Examples
///
/// ```
/// use async_timeout::{now, with_deadline};
/// use std::{future::pending, time::Duration};
///
/// let soon = now() + Duration::from_millis(1);
/// assert!(futures::executor::block_on(with_deadline(pending::<()>(), soon)).is_err());
/// ```
pub fn now() -> Instant {
    platform::clock_now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug E1: what cannot be expressed is for ever, and nothing overflows.
    #[test]
    fn sums_saturate() {
        let (instant, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(saturating_add(instant, second), instant + second);
        assert_eq!(saturating_add(instant, Duration::MAX), instant + FOREVER);
        // The end of time, found by halves.
        let steps = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
        let end = steps.fold(instant, |end, step| end.checked_add(step).unwrap_or(end));
        assert_eq!(saturating_add(end, Duration::MAX), end);
    }
}
