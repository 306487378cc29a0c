//! The rule for the next tick of an interval when the consumer is late.
//!
//! [`Interval`](crate::Interval) calls [`MissedTickBehavior::next`] after each tick. The function is plain arithmetic on
//! instants. It reads no clock and does not wait, so the tests below check it against the definitions.

use std::time::{Duration, Instant};

/// The lateness up to which a tick counts as punctual, because every timer is a little late. A tenth of the period is
/// the limit instead, if shorter.
const LATENESS_TOLERANCE: Duration = Duration::from_millis(5);

/// The behaviour of an [`Interval`](crate::Interval) when the consumer has missed ticks.
///
/// In all cases, the overdue tick is delivered at once, with the instant for which it was meant. The behaviours differ in
/// the instants of the ticks after it. In this picture, the consumer always waits for the next tick, but is busy from 1
/// to 3.5 (in periods):
///
/// ```text
///              0     1     2     3     4     5     6
///                    ├── is busy ───┤
///   Burst      0     1              23 4     5     6     no tick is lost: 3 follows 2 at once
///   Delay      0     1              2     ·     ·        all later ticks are shifted: 4.5, 5.5
///   Skip       0     1              2  4     5     6     3 is lost, later ticks are on time
/// ```
///
/// # Examples
///
/// ```
/// use async_timeout::{MissedTickBehavior, interval_at};
/// use std::time::{Duration, Instant};
///
/// futures::executor::block_on(async {
///     let (start, period) = (Instant::now(), Duration::from_millis(2));
///     let mut interval = interval_at(start, period);
///     interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
///     assert_eq!(interval.tick().await, start);
///
///     std::thread::sleep(5 * period / 2); // Busy.
///     assert_eq!(interval.tick().await, start + period, "the tick is late");
///     assert!(interval.tick().await >= start + 3 * period, "at least one is skipped");
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MissedTickBehavior {
    /// Loses no tick: missed ticks are delivered one right after the other, until the interval has caught up.
    #[default]
    Burst,
    /// Delivers the next tick a period after the delivery of the late tick. Two ticks are never closer than a period,
    /// and all later ticks are shifted.
    ///
    /// A tick counts as late if delivered more than a tenth of a period, or more than 5 ms, after its instant, whichever
    /// is less.
    Delay,
    /// Delivers the next tick at the next multiple of the period. The ticks in between are lost.
    Skip,
}

impl MissedTickBehavior {
    /// Returns the instant of the next tick, when the tick meant for `tick` is delivered at `now`. `None` means never.
    pub(crate) fn next(self, tick: Instant, now: Instant, period: Duration) -> Option<Instant> {
        let late = now.saturating_duration_since(tick);
        match self {
            Self::Delay if late > LATENESS_TOLERANCE.min(period / 10) => now.checked_add(period),
            Self::Skip if late >= period => now.checked_add(period - remainder(late, period)),
            _ => tick.checked_add(period),
        }
    }
}

/// Returns the remainder of `duration` divided by `period`, by one division: billions of ticks may have been missed.
fn remainder(duration: Duration, period: Duration) -> Duration {
    const SECOND: u128 = Duration::from_secs(1).as_nanos();
    let left = duration.as_nanos() % period.as_nanos();
    // The remainder is at most `duration`, so its seconds fit into a `u64`.
    Duration::new((left / SECOND) as u64, (left % SECOND) as u32)
}

#[cfg(test)]
mod tests {
    use super::MissedTickBehavior::{Burst, Delay, Skip};
    use super::*;
    use crate::now::FOREVER as CENTURY;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Bug E17; behaviour 154, 155: the next tick of each behaviour, in milliseconds after the late tick.
    #[test]
    fn the_table_of_missed_ticks() {
        let period = ms(300);
        let tick = Instant::now();
        for (late, burst, delay, skip) in [
            (0, 300, 300, 300),
            // Every timer is late by this much, and the lateness must not add up.
            (1, 300, 300, 300),
            (5, 300, 300, 300),
            (6, 300, 306, 300),
            // Half a period.
            (150, 300, 450, 300),
            (299, 300, 599, 300),
            // The next tick is due now, and `Skip` skips it.
            (300, 300, 600, 600),
            (301, 300, 601, 600),
            (599, 300, 899, 600),
            (600, 300, 900, 900),
            // Two and a half periods.
            (750, 300, 1050, 900),
            (300_000_150, 300, 300_000_450, 300_000_300),
        ] {
            let next = |behavior: MissedTickBehavior| behavior.next(tick, tick + ms(late), period);
            assert_eq!(next(Burst), Some(tick + ms(burst)), "Burst, {late} ms late");
            assert_eq!(next(Delay), Some(tick + ms(delay)), "Delay, {late} ms late");
            assert_eq!(next(Skip), Some(tick + ms(skip)), "Skip, {late} ms late");
        }
    }

    /// Every short period and delay, against definitions that advance tick by tick.
    #[test]
    fn every_small_case_agrees_with_the_definitions() {
        let tick = Instant::now();
        let after = |nanos: u64| tick + Duration::from_nanos(nanos);
        for period in 1..=40 {
            for late in 0..=200 {
                let next = |behavior: MissedTickBehavior| {
                    behavior.next(tick, after(late), Duration::from_nanos(period)).unwrap()
                };
                assert_eq!(next(Burst), after(period));
                assert_eq!(next(Delay), after(if late * 10 > period { late + period } else { period }));
                let multiple = (1..).map(|number| number * period).find(|&multiple| multiple > late).unwrap();
                assert_eq!(next(Skip), after(multiple), "{late} ns late, period {period}");
            }
        }
    }

    /// The ticks that a consumer gets at fixed times, in milliseconds: whole runs, not single steps.
    #[test]
    fn a_late_consumer_catches_up() {
        let start = Instant::now();
        // Takes all ticks that are due, at each of these times.
        let ticks = |behavior: MissedTickBehavior, times: &[u64]| {
            let (mut next, mut ticks) = (start, Vec::new());
            for &time in times {
                while next <= start + ms(time) {
                    ticks.push((time, (next - start).as_millis()));
                    next = behavior.next(next, start + ms(time), ms(100)).unwrap();
                }
            }
            ticks
        };
        let times = [0, 100, 350, 400, 450, 500, 550];
        let burst = [(0, 0), (100, 100), (350, 200), (350, 300), (400, 400), (500, 500)];
        assert_eq!(ticks(Burst, &times), burst);
        assert_eq!(ticks(Delay, &times), [(0, 0), (100, 100), (350, 200), (450, 450), (550, 550)]);
        assert_eq!(ticks(Skip, &times), [(0, 0), (100, 100), (350, 200), (400, 400), (500, 500)]);
    }

    /// Bug E1; behaviour 158: a tick beyond the last `Instant` never comes, and nothing overflows.
    #[test]
    fn extremes_are_never() {
        let tick = Instant::now();
        for behavior in [Burst, Delay, Skip] {
            for late in [Duration::ZERO, ms(1000)] {
                for period in [Duration::MAX, Duration::MAX - Duration::from_nanos(1), Duration::from_secs(u64::MAX)] {
                    assert_eq!(behavior.next(tick, tick + late, period), None, "{behavior:?}");
                }
            }
            // The clock has run backwards: the next tick is still a period after this tick.
            assert_eq!(behavior.next(tick + ms(50), tick, ms(10)), Some(tick + ms(60)));
        }
        // Three centuries late, with a period of a nanosecond: one step, to at most one period from now.
        let late = 3 * CENTURY + Duration::from_nanos(1);
        let nanosecond = Duration::from_nanos(1);
        assert_eq!(Skip.next(tick, tick + late, nanosecond), Some(tick + late + nanosecond));
        assert_eq!(Skip.next(tick, tick + late, CENTURY), Some(tick + 4 * CENTURY));
        assert_eq!(remainder(Duration::MAX, Duration::MAX), Duration::ZERO);
        assert_eq!(remainder(Duration::MAX, Duration::from_secs(u64::MAX)), Duration::from_nanos(999_999_999));
    }
}
