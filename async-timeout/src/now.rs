//! The current time, and sums of times that do not overflow.
//!
//! Every other file of the crate reads the time by [`now`], so a test clock reaches all of them. Sums that an [`Instant`]
//! cannot express become [`FOREVER`] instead of a panic: `Duration::MAX` is a valid limit and means "no limit".

use crate::platform;
use std::time::{Duration, Instant};

/// A century, which stands for "never".
///
/// Some versions of futures-timer panic on a duration that leads beyond the last `Instant`. A century does not.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Returns `instant` plus `duration`, or plus [`FOREVER`] if an `Instant` cannot express the sum.
pub(crate) fn saturating_add(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).or_else(|| instant.checked_add(FOREVER)).unwrap_or(instant)
}

/// Returns the current time of the clock that the timers of this crate use.
///
/// The result is `Instant::now()`, unless a test has moved the clock of the current reactor (feature `test-util`). Code
/// can be tested with such a clock if it computes deadlines from `now`.
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
#[inline]
pub fn now() -> Instant {
    platform::clock_now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug E1: a sum that an `Instant` cannot express is a century away, and nothing overflows.
    #[test]
    fn sums_saturate() {
        let (instant, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(saturating_add(instant, second), instant + second);
        assert_eq!(saturating_add(instant, Duration::MAX), instant + FOREVER);
        // The last `Instant`, found by bisection.
        let steps = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
        let end = steps.fold(instant, |end, step| end.checked_add(step).unwrap_or(end));
        assert_eq!(saturating_add(end, Duration::MAX), end);
    }
}
