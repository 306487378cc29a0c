//! Spans of time that many tests share, and the judgement of latencies.

use std::time::Duration;

/// The time limit of a test, for its [`watchdog`](crate::watchdog).
pub const TIME: Duration = Duration::from_secs(60);

/// Longer than any test: for timers that must not fire.
pub const HOUR: Duration = Duration::from_secs(3600);

/// Returns a span of `millis` milliseconds.
pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Returns the 99th percentile of `latencies`, or zero if the slice is empty. Sorts the slice.
pub fn p99(latencies: &mut [Duration]) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default()
}

/// Returns whether the environment variable `STRICT_TIMING` is set: latencies are then checked against their exact
/// limits. Without it, tests allow some slack, because other load on the machine would fail a correct test.
pub fn strict_timing() -> bool {
    std::env::var_os("STRICT_TIMING").is_some()
}
