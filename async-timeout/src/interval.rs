//! Ticks, a period apart.
//!
//! Each tick sets the timer for the next tick. The next period is counted from the instant for which the tick was meant,
//! not from its delivery, so small delays do not add up. If the consumer comes late, [`MissedTickBehavior`] decides
//! about the next tick; its arithmetic is in `missed_tick.rs`. This file has the timer, the resets and the stream.

use crate::delay::Delay;
use crate::missed_tick::MissedTickBehavior;
use crate::now::{now, saturating_add};
use futures::Stream;
use futures::stream::FusedStream;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Returns an interval that ticks every `period`, for the first time with the first poll.
///
/// With `Duration::MAX`, there is no second tick.
///
/// # Panics
///
/// Panics if `period` is zero. [`Interval::try_new`] returns an error instead.
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
///     // An interval is a stream, too.
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

/// Returns an interval that ticks every `period`, for the first time at `start`, which may have passed.
///
/// # Panics
///
/// Panics if `period` is zero. [`Interval::try_at`] returns an error instead.
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

/// A stream of ticks, a period apart, from [`interval`] or [`interval_at`].
///
/// This [`Stream`] never ends. Its items are the instants for which the ticks were meant, however late they are
/// delivered. The items are exactly a period apart, unless ticks are missed or the interval is reset. No tick is
/// delivered early.
///
/// An interval may move between threads and executors: the task of the last poll is woken. If the reactor of its timer
/// is dropped, the interval continues with futures-timer.
///
/// # Cancel safety
///
/// Dropping the interval cancels the timer. Dropping the future of [`tick`](Self::tick) or `next` loses no tick.
///
/// [`Stream`]: https://docs.rs/futures/0.3/futures/stream/trait.Stream.html
#[must_use = "an interval does nothing unless it is polled, such as by `tick`"]
pub struct Interval {
    /// The instant of the next tick; `None` until the first poll, if the interval starts then. Each tick and each reset
    /// writes it.
    next: Option<Instant>,
    /// Waits for `next`.
    delay: Delay,
    /// The time from tick to tick. Not zero.
    period: Duration,
    /// The rule for the next tick when the consumer is late.
    behavior: MissedTickBehavior,
}

impl Interval {
    /// Returns an interval as [`interval`] does, or an error if `period` is zero.
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

    /// Returns an interval as [`interval_at`] does, or an error if `period` is zero.
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

    /// Returns an interval as [`try_new`](Self::try_new) does, on a timer of the reactor of `handle`, whatever thread polls.
    ///
    /// The ticks are computed from the time that [`now`](crate::now()) tells where the interval is polled. So a test clock
    /// that is paused or moved has to be the one of the current reactor.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `period` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_timeout::Interval;
    /// use std::time::Duration;
    ///
    /// // No reactor is current in this executor, so a plain `interval` would use futures-timer.
    /// let background = async_epoll::Reactor::new()?.into_background()?;
    /// let period = Duration::from_millis(2);
    /// let mut interval = Interval::with_handle(period, &background.handle())?;
    /// futures::executor::block_on(async {
    ///     let first = interval.tick().await;
    ///     assert_eq!(interval.tick().await, first + period);
    /// });
    /// # background.shutdown()
    /// # }
    /// ```
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "reactor")))]
    pub fn with_handle(period: Duration, handle: &async_epoll::Handle) -> io::Result<Self> {
        Self::new(None, Delay::Reactor(async_epoll::Timer::after(Duration::ZERO, handle)), period)
    }

    /// Checks `period`. `delay` must wait for `next`.
    fn new(next: Option<Instant>, delay: Delay, period: Duration) -> io::Result<Self> {
        if period.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the period of an interval must not be zero"));
        }
        Ok(Self { next, delay, period, behavior: MissedTickBehavior::default() })
    }

    /// Waits for the next tick, and returns the instant for which it was meant.
    ///
    /// On a reactor, a long row of overdue ticks yields to other tasks now and then. So even a tick that is due may be
    /// pending for a moment.
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

    /// Polls for the next tick, as [`tick`](Self::tick) does, for hand-written futures.
    ///
    /// The task is woken for the next tick only after a poll has returned `Pending`.
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

    /// Sets the next tick to a period from now.
    ///
    /// As with all resets, a task that waits is woken at the new instant.
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

    /// Sets the next tick to now.
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

    /// Sets the next tick to `after` from now, which may be more than a period.
    ///
    /// The ticks after the next are a period apart.
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

    /// Sets the next tick to `instant`, which may have passed.
    ///
    /// The ticks after the next are a period apart.
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

    /// Returns the time from tick to tick.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Returns what the interval does about missed ticks. The default is [`Burst`](MissedTickBehavior::Burst).
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.behavior
    }

    /// Sets what the interval does about missed ticks.
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
    use super::*;

    /// A zero period is an error with a message.
    #[test]
    fn a_zero_period_is_an_error() {
        for made in [Interval::try_new(Duration::ZERO), Interval::try_at(Instant::now(), Duration::ZERO)] {
            let error = made.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), "the period of an interval must not be zero");
        }
    }
}
