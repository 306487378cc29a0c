//! Ticks, a period apart.
//!
//! Each tick sets the timer for the next one, counted from the instant for which it was meant and not from that at
//! which it came, so that small delays do not add up. What to do about a consumer that comes late is the one question
//! here: [`MissedTickBehavior`] has three answers. They are worked out by a function without a clock, `next`, and
//! tested there.

use crate::delay::{Delay, now, saturating_add};
use futures::Stream;
use futures::stream::FusedStream;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Late by no more than this, or than a tenth of the period if that is less, a tick is punctual: every timer is late a
/// little.
const PUNCTUAL: Duration = Duration::from_millis(5);

/// Ticks every `period`; the first time with the first poll.
///
/// `Duration::MAX` means that no second tick comes.
///
/// # Panics
///
/// If `period` is zero. [`Interval::try_new`] returns an error instead.
///
/// # Examples
///
/// ```
/// use async_timeout::interval;
/// use futures::StreamExt;
/// use std::time::{Duration, Instant};
///
/// futures::executor::block_on(async {
///     let begin = Instant::now();
///     let mut interval = interval(Duration::from_millis(2));
///     interval.tick().await; // At once.
///     interval.tick().await;
///     assert!(begin.elapsed() >= Duration::from_millis(2));
///
///     // It is a stream, too.
///     let ticks: Vec<Instant> = interval.take(2).collect().await;
///     assert_eq!(ticks[1] - ticks[0], Duration::from_millis(2));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    match Interval::try_new(period) {
        Ok(interval) => interval,
        Err(error) => panic!("{error}; where a period may be zero, use Interval::try_new, which returns an error"),
    }
}

/// Ticks every `period`; the first time at `start`, which may have passed.
///
/// # Panics
///
/// If `period` is zero. [`Interval::try_at`] returns an error instead.
///
/// # Examples
///
/// ```
/// use async_timeout::interval_at;
/// use std::time::{Duration, Instant};
///
/// let period = Duration::from_millis(2);
/// let start = Instant::now() + period;
/// futures::executor::block_on(async {
///     let mut interval = interval_at(start, period);
///     assert_eq!(interval.tick().await, start);
///     assert_eq!(interval.tick().await, start + period);
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    match Interval::try_at(start, period) {
        Ok(interval) => interval,
        Err(error) => panic!("{error}; where a period may be zero, use Interval::try_at, which returns an error"),
    }
}

/// What an [`Interval`] does about ticks that nobody asked for in time.
///
/// Whatever it is, the tick that is overdue is delivered at once, with the instant for which it was meant. They differ
/// in when the next ones come. Here the consumer asks for ticks all the time, but was busy from 1 to 3.5 (in periods):
///
/// ```text
///              0     1     2     3     4     5     6
///                    ├── is busy ───┤
///   Burst      0     1              23 4     5     6     none is lost: 2 and 3 one right after the other
///   Delay      0     1              2     ·     ·        those that follow are late, too: 4.5, 5.5
///   Skip       0     1              2  4     5     6     3 is lost, those that follow come when they should
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
///     assert_eq!(interval.tick().await, start + period, "it is late");
///     assert!(interval.tick().await >= start + 3 * period, "at least one is skipped");
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MissedTickBehavior {
    /// None is lost: they are delivered one right after the other, until the interval has caught up.
    #[default]
    Burst,
    /// The next tick comes a period after the late one was delivered. So ticks are never closer together than that,
    /// and all that follow are shifted.
    ///
    /// A tick counts as late if it comes more than a tenth of a period, or 5 ms, after its instant, whichever is less.
    Delay,
    /// The next tick comes at the next multiple of the period. Those between are lost.
    Skip,
}

impl MissedTickBehavior {
    /// When the next tick comes, if the one meant for `tick` is delivered at `now`. `None`: never.
    fn next(self, tick: Instant, now: Instant, period: Duration) -> Option<Instant> {
        let late = now.saturating_duration_since(tick);
        match self {
            Self::Delay if late > PUNCTUAL.min(period / 10) => now.checked_add(period),
            Self::Skip if late >= period => now.checked_add(period - remainder(late, period)),
            _ => tick.checked_add(period),
        }
    }
}

/// What is left of `duration` when whole periods are taken away. In one step: billions may have been missed.
fn remainder(duration: Duration, period: Duration) -> Duration {
    const SECOND: u128 = Duration::from_secs(1).as_nanos();
    let left = duration.as_nanos() % period.as_nanos();
    // No more than `duration` has, so it fits.
    Duration::new((left / SECOND) as u64, (left % SECOND) as u32)
}

/// Ticks, a period apart; from [`interval`] or [`interval_at`].
///
/// A [`Stream`] that never ends. Its items are the instants for which the ticks were meant, however late they come. They
/// are a period apart, exactly, unless ticks are missed or it is reset. No tick ever comes early.
///
/// It may move between threads and executors: the task that polled last is woken. If the reactor whose timer it uses is
/// dropped, it goes on with futures-timer.
///
/// # Cancel safety
///
/// Dropping it cancels the timer. Dropping what [`tick`](Self::tick) or `next` returns loses no tick.
///
/// [`Stream`]: https://docs.rs/futures/0.3/futures/stream/trait.Stream.html
#[must_use = "an interval does nothing unless it is polled, such as by `tick`"]
pub struct Interval {
    /// When the next tick is due. `None`: when it is first polled.
    next: Option<Instant>,
    /// Waits for that.
    delay: Delay,
    /// From tick to tick. Not zero.
    period: Duration,
    /// What to do when the consumer is late.
    behavior: MissedTickBehavior,
}

impl Interval {
    /// As [`interval`], for a period that may be zero.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `period` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::Interval;
    /// use std::{io::ErrorKind, time::Duration};
    ///
    /// assert!(Interval::try_new(Duration::from_secs(1)).is_ok());
    /// assert_eq!(Interval::try_new(Duration::ZERO).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// ```
    pub fn try_new(period: Duration) -> io::Result<Self> {
        Self::new(None, Delay::After(Duration::ZERO), period)
    }

    /// As [`interval_at`], for a period that may be zero.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `period` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::Interval;
    /// use std::{io::ErrorKind, time::{Duration, Instant}};
    ///
    /// assert_eq!(Interval::try_at(Instant::now(), Duration::ZERO).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// ```
    pub fn try_at(start: Instant, period: Duration) -> io::Result<Self> {
        Self::new(Some(start), Delay::At(start), period)
    }

    fn new(next: Option<Instant>, delay: Delay, period: Duration) -> io::Result<Self> {
        if period.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the period of an interval must not be zero"));
        }
        Ok(Self { next, delay, period, behavior: MissedTickBehavior::default() })
    }

    /// Waits for the next tick, and returns the instant for which it was meant.
    ///
    /// On a reactor, very many overdue ticks in a row let other tasks go first now and then, so even a tick that is due may
    /// be pending for a moment.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a tick is taken only by the poll that returns it.
    ///
    /// # Examples
    ///
    /// See [`interval`].
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// [`tick`](Self::tick) for a poll function of one's own. The task is woken for the next tick only after a poll
    /// that returned `Pending`.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::interval;
    /// use std::time::Duration;
    ///
    /// let mut interval = interval(Duration::from_secs(60));
    /// let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// assert!(interval.poll_tick(&mut cx).is_ready(), "the first");
    /// assert!(interval.poll_tick(&mut cx).is_pending(), "the second, in a minute");
    /// ```
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(self.delay.poll_fair(cx));
        let now = now();
        let tick = self.next.unwrap_or(now);
        let next = self.behavior.next(tick, now, self.period);
        self.reset_at(next.unwrap_or_else(|| saturating_add(now, Duration::MAX)));
        Poll::Ready(tick)
    }

    /// The next tick comes a period from now. A task that waits is woken then, as with all resets.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::interval;
    /// use std::time::{Duration, Instant};
    ///
    /// futures::executor::block_on(async {
    ///     let mut interval = interval(Duration::from_millis(2));
    ///     let begin = Instant::now();
    ///     interval.reset();
    ///     assert!(interval.tick().await >= begin + Duration::from_millis(2));
    /// });
    /// ```
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// The next tick comes at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::interval;
    /// use std::time::Duration;
    ///
    /// futures::executor::block_on(async {
    ///     let mut interval = interval(Duration::MAX);
    ///     let first = interval.tick().await;
    ///     interval.reset_immediately();
    ///     assert!(interval.tick().await >= first);
    /// });
    /// ```
    pub fn reset_immediately(&mut self) {
        self.reset_at(now());
    }

    /// The next tick comes `after` from now, which may be more than a period; those that follow, a period apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::interval;
    /// use std::time::Duration;
    ///
    /// futures::executor::block_on(async {
    ///     let mut interval = interval(Duration::MAX);
    ///     let first = interval.tick().await;
    ///     interval.reset_after(Duration::from_millis(2));
    ///     assert!(interval.tick().await >= first + Duration::from_millis(2));
    /// });
    /// ```
    pub fn reset_after(&mut self, after: Duration) {
        self.reset_at(saturating_add(now(), after));
    }

    /// The next tick comes at `instant`, which may have passed; those that follow, a period apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::interval;
    /// use std::time::{Duration, Instant};
    ///
    /// futures::executor::block_on(async {
    ///     let mut interval = interval(Duration::MAX);
    ///     let instant = Instant::now() + Duration::from_millis(2);
    ///     interval.reset_at(instant);
    ///     assert_eq!(interval.tick().await, instant);
    /// });
    /// ```
    pub fn reset_at(&mut self, instant: Instant) {
        self.next = Some(instant);
        self.delay.reset(instant);
    }

    /// From tick to tick.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What happens to ticks that nobody asks for in time. [`Burst`](MissedTickBehavior::Burst), unless set otherwise.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.behavior
    }

    /// Sets what happens to ticks that nobody asks for in time.
    ///
    /// # Examples
    ///
    /// See [`MissedTickBehavior`].
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.behavior = behavior;
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl FusedStream for Interval {
    fn is_terminated(&self) -> bool {
        false
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("next", &self.next)
            .field("period", &self.period)
            .field("missed_tick_behavior", &self.behavior)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::MissedTickBehavior::{Burst, Delay, Skip};
    use super::*;
    use crate::delay::FOREVER as CENTURY;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Bug E17; behaviour 154, 155: the next tick of each behaviour, in milliseconds after the one that is late.
    #[test]
    fn the_table_of_missed_ticks() {
        let period = ms(300);
        let tick = Instant::now();
        for (late, burst, delay, skip) in [
            (0, 300, 300, 300),
            // Late as every timer is, which is not to add up.
            (1, 300, 300, 300),
            (5, 300, 300, 300),
            (6, 300, 306, 300),
            // Half a period.
            (150, 300, 450, 300),
            (299, 300, 599, 300),
            // The next one is due now: with `Skip`, it is skipped.
            (300, 300, 600, 600),
            (301, 300, 601, 600),
            (599, 300, 899, 600),
            (600, 300, 900, 900),
            // Two and a half.
            (750, 300, 1050, 900),
            (300_000_150, 300, 300_000_450, 300_000_300),
        ] {
            let next = |behavior: MissedTickBehavior| behavior.next(tick, tick + ms(late), period);
            assert_eq!(next(Burst), Some(tick + ms(burst)), "Burst, {late} ms late");
            assert_eq!(next(Delay), Some(tick + ms(delay)), "Delay, {late} ms late");
            assert_eq!(next(Skip), Some(tick + ms(skip)), "Skip, {late} ms late");
        }
    }

    /// The same for every short period and delay there is, against the definitions: a tick at a time.
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

    /// A consumer that comes at fixed times, and what it gets: whole runs, not single steps. In milliseconds.
    #[test]
    fn a_late_consumer_catches_up() {
        let start = Instant::now();
        // Asks for a tick as often as one is due, at each of these times.
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

    /// Bug E1; behaviour 158: what cannot be expressed is never, and nothing overflows.
    #[test]
    fn extremes_are_never() {
        let tick = Instant::now();
        for behavior in [Burst, Delay, Skip] {
            for late in [Duration::ZERO, ms(1000)] {
                for period in [Duration::MAX, Duration::MAX - Duration::from_nanos(1), Duration::from_secs(u64::MAX)] {
                    assert_eq!(behavior.next(tick, tick + late, period), None, "{behavior:?}");
                }
            }
            // A clock that runs backwards: the tick keeps its place.
            assert_eq!(behavior.next(tick + ms(50), tick, ms(10)), Some(tick + ms(60)));
        }
        // Three centuries late, a nanosecond at a time: one step, and no more than one period away.
        let late = 3 * CENTURY + Duration::from_nanos(1);
        let nanosecond = Duration::from_nanos(1);
        assert_eq!(Skip.next(tick, tick + late, nanosecond), Some(tick + late + nanosecond));
        assert_eq!(Skip.next(tick, tick + late, CENTURY), Some(tick + 4 * CENTURY));
        assert_eq!(remainder(Duration::MAX, Duration::MAX), Duration::ZERO);
        assert_eq!(remainder(Duration::MAX, Duration::from_secs(u64::MAX)), Duration::from_nanos(999_999_999));
    }

    /// A zero period is an error with a text.
    #[test]
    fn a_zero_period_is_an_error() {
        for made in [Interval::try_new(Duration::ZERO), Interval::try_at(Instant::now(), Duration::ZERO)] {
            let error = made.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), "the period of an interval must not be zero");
        }
    }
}
