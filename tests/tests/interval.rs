//! Intervals with the real clock, in each place where timers work. The tables of missed ticks are tested beside the
//! function that computes them, in `async-timeout/src/missed_tick.rs`.

use async_epoll::Reactor;
use async_timeout::{Interval, MissedTickBehavior, TimeoutExt, interval, interval_at, sleep};
use futures::executor::block_on;
use futures::future::{FutureExt, poll_fn};
use futures::stream::{FusedStream, Stream, StreamExt};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::common::everywhere;
use tests::{CountingWaker, TIME, watchdog};

const PERIOD: Duration = Duration::from_millis(10);
const BEHAVIORS: [MissedTickBehavior; 3] =
    [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip];

/// Polls for a tick with `waker`, as a task of its own would.
fn poll(interval: &mut Interval, waker: &std::task::Waker) -> Poll<Instant> {
    interval.poll_tick(&mut Context::from_waker(waker))
}

/// Returns an interval that has ticked at `start` and was then not polled for two and a half periods.
async fn late(behavior: MissedTickBehavior) -> (Instant, Interval) {
    let start = Instant::now();
    let mut interval = interval_at(start, PERIOD);
    interval.set_missed_tick_behavior(behavior);
    assert_eq!(interval.tick().await, start);
    std::thread::sleep(PERIOD * 5 / 2);
    (start, interval)
}

/// An interval with an explicit handle ticks on that reactor, in an executor where no reactor is current.
#[test]
fn ticks_of_another_reactor() {
    let _watchdog = watchdog(TIME);
    let background = Reactor::new().unwrap().into_background().unwrap();
    let handle = background.handle();
    block_on(async {
        let mut ticks = Interval::with_handle(PERIOD, &handle).unwrap();
        let first = ticks.tick().now_or_never().expect("at once");
        assert_eq!(ticks.tick().await, first + PERIOD);
        assert!(Instant::now() >= first + PERIOD, "early");
        assert!(ticks.tick().now_or_never().is_none());
        assert_eq!(handle.stats().timers, 1, "another timer");
    });
    assert_eq!(handle.stats().timers, 0, "left armed");
    assert_eq!(Interval::with_handle(Duration::ZERO, &handle).unwrap_err().kind(), ErrorKind::InvalidInput);
    background.shutdown().unwrap();
}

/// Behaviour 153: the first tick is at the first poll, or at the given start.
#[test]
fn the_first_tick() {
    everywhere(async || {
        let mut ticks = interval(PERIOD);
        std::thread::sleep(2 * PERIOD);
        let begin = Instant::now();
        let first = ticks.tick().now_or_never().expect("at once");
        assert!((begin..=Instant::now()).contains(&first), "the time before the first poll was counted");
        assert_eq!(ticks.tick().await, first + PERIOD);
        assert!(Instant::now() >= first + PERIOD, "early");

        let start = Instant::now() + 2 * PERIOD;
        let mut ticks = interval_at(start, PERIOD);
        assert_eq!(ticks.tick().await, start);
        assert!(Instant::now() >= start, "early");
        assert_eq!(ticks.tick().await, start + PERIOD);

        let past = Instant::now() - PERIOD / 2;
        let mut ticks = interval_at(past, PERIOD);
        assert_eq!(ticks.tick().now_or_never(), Some(past));
        assert_eq!(ticks.tick().await, past + PERIOD);
    });
}

/// A thousand ticks are at exact multiples of the period, and never early. Delays do not add up.
#[test]
fn a_thousand_ticks_do_not_drift() {
    let period = Duration::from_micros(300);
    everywhere(async || {
        let mut ticks = interval(period);
        let first = ticks.tick().await;
        let mut late = Duration::ZERO;
        // If each tick added its own delay to the next, all ticks would be late by now, for ever. If only the machine
        // is busy, some later tick is in time.
        for number in 1..=20_000 {
            assert_eq!(ticks.tick().await, first + period * number);
            late = Instant::now().checked_duration_since(first + period * number).expect("early");
            if number >= 1_000 && late < Duration::from_millis(5) {
                return;
            }
        }
        panic!("they are all late, the last one by {late:?}");
    });
}

/// Bug E17; behaviour 154: missed ticks follow one another at once, each with its own instant.
#[test]
fn burst_loses_none() {
    everywhere(async || {
        let (start, mut ticks) = late(MissedTickBehavior::Burst).await;
        let mut number = 0;
        while let Some(tick) = ticks.tick().now_or_never() {
            number += 1;
            assert_eq!(tick, start + PERIOD * number);
            // On a busy machine more ticks may be missed meanwhile.
            assert!(number < 5_000, "does not catch up");
        }
        assert!(number >= 2, "{number}");
        assert_eq!(ticks.tick().await, start + PERIOD * (number + 1));
    });
}

/// Behaviour 155: after a late tick, the next one is a full period later.
#[test]
fn delay_shifts() {
    everywhere(async || {
        let (start, mut ticks) = late(MissedTickBehavior::Delay).await;
        let before = Instant::now();
        assert_eq!(ticks.tick().now_or_never(), Some(start + PERIOD));
        let after = Instant::now();
        let next = ticks.tick().await;
        assert!((before + PERIOD..=after + PERIOD).contains(&next), "{:?}", next - before);
        assert!(Instant::now() >= next, "early");
    });
}

/// After a late tick, the next one is at the next multiple of the period.
#[test]
fn skip_keeps_the_multiples() {
    everywhere(async || {
        let (start, mut ticks) = late(MissedTickBehavior::Skip).await;
        let before = Instant::now();
        assert_eq!(ticks.tick().now_or_never(), Some(start + PERIOD));
        let after = Instant::now();
        let next = ticks.tick().await;
        assert_eq!((next - start).as_nanos() % PERIOD.as_nanos(), 0);
        assert!(next > before && next <= after + PERIOD, "{:?}", next - before);
        assert!(Instant::now() >= next, "early");
    });
}

/// A tiny period and an hour of missed ticks: catching up takes one step.
#[test]
fn skipping_billions_is_one_step() {
    everywhere(async || {
        let hour = Duration::from_secs(3600);
        let mut ticks = interval_at(Instant::now() - hour, Duration::from_nanos(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let first = ticks.tick().await;
        let second = ticks.tick().await;
        assert!(second - first >= hour, "{:?}", second - first);
        // Each tick is due at once, and later than the previous one.
        let more: Vec<_> = ticks.take(1_000).collect().await;
        assert!(more.is_sorted_by(|one, next| one < next));
        assert_eq!(interval(Duration::from_nanos(1)).take(1_000).count().await, 1_000);
    });
}

/// Behaviour 157: each reset sets the next tick, and the ticks behind it are a period apart.
#[test]
fn resets() {
    everywhere(async || {
        // Reset before the first tick and after it, while no task waits.
        for ticked in [false, true] {
            let made = || {
                let mut ticks = interval(PERIOD);
                assert_eq!(ticked.then(|| ticks.tick().now_or_never().unwrap()).is_some(), ticked);
                ticks
            };
            let after = |time: Duration, reset: &dyn Fn(&mut Interval)| {
                let mut ticks = made();
                let before = Instant::now();
                reset(&mut ticks);
                let after = Instant::now();
                async move {
                    let tick = ticks.tick().await;
                    assert!(Instant::now() >= tick, "early");
                    assert!((before + time..=after + time).contains(&tick), "{:?}, not {time:?}", tick - before);
                    assert_eq!(ticks.tick().await, tick + PERIOD, "the next");
                }
            };
            after(PERIOD, &Interval::reset).await;
            after(Duration::ZERO, &Interval::reset_immediately).await;
            after(3 * PERIOD, &|ticks| ticks.reset_after(3 * PERIOD)).await;
            after(Duration::ZERO, &|ticks| ticks.reset_after(Duration::ZERO)).await;

            let later = Instant::now() + 2 * PERIOD;
            let mut ticks = made();
            ticks.reset_at(later);
            assert_eq!((ticks.tick().await, ticks.tick().await), (later, later + PERIOD));
            // A time in the past: missed ticks follow.
            let past = Instant::now() - 5 * PERIOD / 2;
            ticks.reset_at(past);
            for missed in [past, past + PERIOD] {
                assert_eq!(ticks.tick().await, missed);
            }
            assert_eq!(ticks.tick().await, past + 2 * PERIOD);
        }
    });
}

/// A waiting task is woken at the time that another task sets: from far to soon, from soon to later, from never.
#[test]
fn another_task_sets_the_time() {
    everywhere(async || {
        let ticks = RefCell::new(interval(Duration::MAX));
        let wait = || poll_fn(|cx| ticks.borrow_mut().poll_tick(cx));
        wait().await;
        let soon = Instant::now() + PERIOD;
        // Polled second: by then the first future waits.
        let (tick, ()) = futures::join!(wait(), async { ticks.borrow_mut().reset_at(soon) });
        assert_eq!(tick, soon);

        let late = Instant::now() + 3 * PERIOD;
        ticks.borrow_mut().reset_at(late - 2 * PERIOD);
        let (tick, ()) = futures::join!(wait(), async { ticks.borrow_mut().reset_at(late) });
        assert_eq!(tick, late);
        assert!(Instant::now() >= late, "the time before counted");

        ticks.borrow_mut().reset();
        let never_and_now = async {
            ticks.borrow_mut().reset_after(Duration::MAX);
            sleep(PERIOD).await;
            ticks.borrow_mut().reset_immediately();
        };
        futures::join!(wait(), never_and_now);
    });
}

/// Bug E1; behaviour 158: with an extreme period the first tick comes, and no second one. Nothing panics.
#[test]
fn extremes_mean_never() {
    everywhere(async || {
        for long in [Duration::MAX, Duration::MAX - Duration::from_nanos(1), Duration::from_secs(u64::MAX / 10)] {
            for behavior in BEHAVIORS {
                for mut ticks in [interval(long), interval_at(Instant::now() - PERIOD, long)] {
                    ticks.set_missed_tick_behavior(behavior);
                    assert!(ticks.tick().now_or_never().is_some(), "the first");
                    assert!(ticks.tick().now_or_never().is_none(), "the second");
                    ticks.reset();
                    assert!(ticks.tick().now_or_never().is_none());
                    ticks.reset_after(long);
                    assert!(ticks.tick().timeout(PERIOD).await.is_err());
                    ticks.reset_immediately();
                    assert!(ticks.tick().timeout(TIME / 2).await.is_ok());
                }
            }
        }
        let far = Instant::now() + Duration::from_secs(10_000 * 365 * 24 * 3600);
        let mut ticks = interval_at(far, PERIOD);
        assert!(ticks.tick().now_or_never().is_none());
        ticks.reset_at(far);
        assert!(ticks.tick().now_or_never().is_none());
    });
}

/// Bug E17: a zero period is an error; in functions without a `Result`, a panic that names the function to use.
#[test]
fn a_zero_period() {
    let now = Instant::now();
    for made in [Interval::try_new(Duration::ZERO), Interval::try_at(now, Duration::ZERO)] {
        assert_eq!(made.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let panic = catch_unwind(|| interval(Duration::ZERO)).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("Interval::try_new"));
    let panic = catch_unwind(|| interval_at(now, Duration::ZERO)).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("Interval::try_at"));
}

/// Behaviour 159: an interval is a stream, which never ends.
#[test]
fn a_stream_of_ticks() {
    everywhere(async || {
        let mut ticks = interval(PERIOD);
        assert_eq!(ticks.size_hint(), (usize::MAX, None));
        let first = ticks.next().await.unwrap();
        let more: Vec<_> = ticks.by_ref().take(3).collect().await;
        assert_eq!(more, [first + PERIOD, first + 2 * PERIOD, first + 3 * PERIOD]);
        // `select!` requires a `FusedStream`. The fast one is polled first: if the thread is held up, both are due, and the
        // fast ticks that were missed come one after the other.
        let mut fast = interval(PERIOD / 10);
        let (mut slow_ticks, mut fast_ticks) = (0, 0);
        while slow_ticks < 2 {
            futures::select_biased! {
                _ = fast.next() => fast_ticks += 1,
                _ = ticks.next() => slow_ticks += 1,
            }
        }
        assert!(fast_ticks > 0 && !ticks.is_terminated());
    });
}

/// A stream that yields every third tick, and is pending at the others.
struct EveryThird {
    ticks: Interval,
    number: u32,
    /// Whether the stream wakes its task after the other ticks. If not, the consumer has to poll again by itself.
    wakes_itself: bool,
}

impl Stream for EveryThird {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        let Poll::Ready(_) = self.ticks.poll_tick(cx) else { return Poll::Pending };
        self.number += 1;
        if self.number % 3 == 0 {
            return Poll::Ready(Some(self.number));
        }
        if self.wakes_itself {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Behaviour 159: a stream that is pending after a tick and wakes its own task goes on. Without that wake it is not
/// polled again, because the interval was not asked for another tick.
#[test]
fn self_waking_and_other_consumers() {
    everywhere(async || {
        let mut ticks = EveryThird { ticks: interval(PERIOD), number: 0, wakes_itself: true };
        assert_eq!((ticks.next().await, ticks.next().await), (Some(3), Some(6)));

        let (counter, waker) = CountingWaker::new();
        ticks = EveryThird { ticks: interval(PERIOD), number: 0, wakes_itself: false };
        assert!(ticks.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(ticks.number, 1, "it has taken the first tick");
        sleep(3 * PERIOD).await;
        assert_eq!(counter.count(), 0, "a wake without a reason");
        // No tick is lost by that.
        assert!(ticks.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(ticks.poll_next_unpin(&mut Context::from_waker(&waker)), Poll::Ready(Some(3)));
    });
}

/// A `tick` that is dropped while pending loses no tick.
#[test]
fn a_tick_is_cancel_safe() {
    everywhere(async || {
        let mut ticks = interval(PERIOD);
        let first = ticks.tick().await;
        let (mut number, mut given_up) = (0, 0);
        while number < 5 {
            match ticks.tick().timeout(PERIOD / 3).await {
                Ok(tick) => {
                    number += 1;
                    assert_eq!(tick, first + PERIOD * number);
                }
                Err(_) => given_up += 1,
            }
            assert!(given_up < 5_000, "no tick comes");
        }
        drop(ticks.tick());
        assert_eq!(ticks.tick().await, first + 6 * PERIOD);
    });
}

/// The task that polled last is woken, once. The interval still works after its reactor was dropped.
#[test]
fn from_task_to_task_and_beyond_the_reactor() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let enter = reactor.handle().enter();
    let ((first, one), (second, two)) = (CountingWaker::new(), CountingWaker::new());
    let start = Instant::now();
    let mut ticks = interval_at(start, PERIOD);
    assert_eq!(poll(&mut ticks, &one), Poll::Ready(start));
    // On a busy machine the second tick may be due already, with a period this short.
    ticks.reset_after(5 * PERIOD);
    assert!(poll(&mut ticks, &one).is_pending());
    assert!(poll(&mut ticks, &two).is_pending());
    while second.count() == 0 {
        reactor.wait(None).unwrap();
    }
    assert_eq!((first.count(), second.count()), (0, 1));
    let Poll::Ready(tick) = poll(&mut ticks, &two) else { panic!("not ready") };
    ticks.reset_at(tick + 10 * PERIOD);
    assert!(poll(&mut ticks, &two).is_pending());
    drop(enter);
    drop(reactor);
    assert_eq!(block_on(ticks.tick()), tick + 10 * PERIOD);
    assert_eq!(block_on(ticks.tick()), tick + 11 * PERIOD);
}

/// The accessors and the `Debug` output.
#[test]
fn accessors() {
    let mut ticks = interval(PERIOD);
    assert_eq!((ticks.period(), ticks.missed_tick_behavior()), (PERIOD, MissedTickBehavior::Burst));
    assert_eq!(MissedTickBehavior::default(), MissedTickBehavior::Burst);
    for behavior in BEHAVIORS {
        ticks.set_missed_tick_behavior(behavior);
        assert_eq!(ticks.missed_tick_behavior(), behavior);
        let debug = format!("{ticks:?}");
        assert!(debug.contains("10ms") && debug.contains(&format!("{behavior:?}")), "{debug}");
    }
}
