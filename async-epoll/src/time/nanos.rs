//! Points in time and spans as one `u64` of nanoseconds.
//!
//! 64 bits of nanoseconds last 584 years, so a plain number suffices where `Instant` would need 16 bytes and checked
//! arithmetic. `u64::MAX` means *never*, and all arithmetic saturates there.

use std::time::Duration;

/// The point in time of a timer that does not fire.
pub(crate) const NEVER: u64 = u64::MAX;

/// Returns a duration in nanoseconds, saturated to [`NEVER`].
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}
