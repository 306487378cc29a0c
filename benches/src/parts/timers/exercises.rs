//! The exercises: what is done with the timers of every peer.
//!
//! The first four exercises (T1 to T4) measure the cost of an operation within a single poll of the main future: no
//! task is scheduled and nothing sleeps meanwhile, so the figures contain the timers and not the executor. For the same
//! reason all timers of the storm (T5, T6) share a waker that only counts. The figures are CPU time of the whole
//! process: some peers work in a second thread, and the load of other processes is excluded.

use super::timekeeper::Timekeeper;
use crate::figures::spread::Spread;
use crate::machine::{heap, sys};
use crate::orders::timers::{Exercise, LONE_SLEEPS, TimerOrder};
use crate::parts::cpu_time::nanos_each;
use futures::future::{pending, ready};
use futures::task::AtomicWaker;
use std::future::{Future, poll_fn};
use std::hint::{black_box, spin_loop};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// The number of operations measured beside many other timers.
const OPERATIONS: usize = 200_000;
/// The limit of a timeout earlier than all other timers.
const SOON: Duration = Duration::from_secs(10);
/// The earliest limit of the other timers, so late that none fires during the measurement.
const LATER: Duration = Duration::from_secs(600);
/// The limits of the other timers are distributed over this time after [`LATER`].
const LATER_SPAN: Duration = Duration::from_secs(1000);
/// The limit of a timeout later than all other timers.
const LAST: Duration = Duration::from_secs(4 * 3600);
/// A sleep before the measurement, so the runtime has entered its driver once and knows its first timer.
const PAUSE: Duration = Duration::from_millis(2);
/// All timers of a storm fire within this time.
const STORM: Duration = Duration::from_secs(1);
/// The time to arm all timers before the storm begins; each timer adds a microsecond.
const ARMING: Duration = Duration::from_millis(100);

/// Carries out an order with the timers of `keeper`, and returns the figures.
pub(super) fn exercise<K: Timekeeper>(keeper: K, order: &TimerOrder) -> io::Result<Vec<f64>> {
    let count = order.count;
    match order.exercise {
        Exercise::Ready => keeper.run(around_ready::<K>(count))?,
        Exercise::Earliest => keeper.run(earliest::<K>(count))?,
        Exercise::Latest => keeper.run(latest::<K>(count))?,
        Exercise::Churn => keeper.run(churn::<K>(count))?,
        Exercise::Storm => keeper.run(storm::<K>(count))?,
        Exercise::Bytes => keeper.run(bytes::<K>(count)),
        Exercise::Lone => keeper.run(lone::<K>(count))?,
    }
}

/// T1: a timeout around a ready future, in nanoseconds. The timer is never needed.
async fn around_ready<K: Timekeeper>(count: usize) -> io::Result<Vec<f64>> {
    let around_ready = |cx: &mut Context<'_>| poll_once(K::timeout(ready(()), black_box(SOON)), cx);
    Ok(vec![nanos_each(count, around_ready).await?])
}

/// T2: the new deadline is the earliest, in nanoseconds. Another timer is armed, as in any program with timeouts.
async fn earliest<K: Timekeeper>(count: usize) -> io::Result<Vec<f64>> {
    let _other = armed::<K>(LATER).await;
    K::sleep(PAUSE).await;
    let arm_and_cancel = |cx: &mut Context<'_>| poll_once(K::timeout(pending::<()>(), black_box(SOON)), cx);
    Ok(vec![nanos_each(count, arm_and_cancel).await?])
}

/// T3: the new deadline is the latest of very many, in nanoseconds: given as a duration, and as an instant.
async fn latest<K: Timekeeper>(others: usize) -> io::Result<Vec<f64>> {
    let _others = many::<K>(others, &mut Random(1)).await;
    K::sleep(PAUSE).await;
    let deadline = Instant::now() + LAST;
    let after = |cx: &mut Context<'_>| poll_once(K::timeout(pending::<()>(), black_box(LAST)), cx);
    let at = |cx: &mut Context<'_>| poll_once(K::timeout_at(pending::<()>(), black_box(deadline)), cx);
    Ok(vec![nanos_each(OPERATIONS, after).await?, nanos_each(OPERATIONS, at).await?])
}

/// T4: a random timer of very many is replaced by another, in nanoseconds. The new timer takes the place of the old in
/// memory, so nothing is allocated.
async fn churn<K: Timekeeper>(live: usize) -> io::Result<Vec<f64>> {
    let random = &mut Random(1);
    let mut timers = many::<K>(live, random).await;
    K::sleep(PAUSE).await;
    let replace = |cx: &mut Context<'_>| {
        let timer = &mut timers[random.below(live as u64) as usize];
        timer.set(K::sleep(random.later()));
        timer.as_mut().poll(cx).is_ready()
    };
    Ok(vec![nanos_each(OPERATIONS, replace).await?])
}

/// T5 and T6: CPU time of the process, in milliseconds, for timers that fire within a second: create, arm, fire, poll
/// until ready, drop.
async fn storm<K: Timekeeper>(count: usize) -> io::Result<Vec<f64>> {
    let (mut random, arming) = (Random(1), ARMING + Duration::from_micros(count as u64));
    let tally = Arc::new(Tally { fired: AtomicUsize::new(0), count, all: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&tally));
    let mut cx = Context::from_waker(&waker);
    let before = sys::process_cpu()?;
    let mut timers: Vec<_> = (0..count)
        .map(|_| {
            let mut timer = Box::pin(K::sleep(arming + random.within(STORM)));
            if timer.as_mut().poll(&mut cx).is_ready() {
                tally.wake_by_ref(); // `ARMING` was too short.
            }
            timer
        })
        .collect();
    poll_fn(|cx| {
        tally.all.register(cx.waker());
        if tally.fired.load(Ordering::Acquire) < count { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let ready = timers.iter_mut().map(|timer| usize::from(timer.as_mut().poll(&mut cx).is_ready())).sum::<usize>();
    drop(timers);
    let cpu = sys::process_cpu()? - before;
    // The second poll comes only after all timers have woken their waker, so every timer must be ready.
    if ready < count {
        return Err(io::Error::other(format!("{} timers were woken early", count - ready)));
    }
    Ok(vec![cpu.as_secs_f64() * 1e3])
}

/// T5: bytes of a timer: of the future itself, and of the heap beyond the future.
async fn bytes<K: Timekeeper>(count: usize) -> Vec<f64> {
    let (mut random, waker) = (Random(1), Waker::noop());
    let mut cx = Context::from_waker(waker);
    let before = heap::live();
    let mut timers = Vec::with_capacity(count);
    let mut size = 0;
    for _ in 0..count {
        let mut timer = Box::pin(K::sleep(random.later()));
        size = size_of_val(&*timer);
        black_box(timer.as_mut().poll(&mut cx).is_ready());
        timers.push(timer);
    }
    let per_timer = (heap::live() - before) as f64 / count as f64;
    // The vector holds a pointer to each timer.
    vec![size as f64, per_timer - (size + size_of::<usize>()) as f64]
}

/// T7: the median overshoot of each length of sleep, in microseconds. Each sleep begins at a random moment within a
/// millisecond, so the sleeps cannot be in phase with a ticking clock.
async fn lone<K: Timekeeper>(count: usize) -> io::Result<Vec<f64>> {
    let (mut random, mut medians) = (Random(1), Vec::new());
    for sleep in LONE_SLEEPS {
        let mut overshoots = Vec::with_capacity(count);
        for _ in 0..count {
            let begin = Instant::now() + random.within(Duration::from_millis(1));
            while Instant::now() < begin {
                spin_loop();
            }
            let begin = Instant::now();
            K::sleep(sleep).await;
            let slept = begin.elapsed();
            let over = slept.checked_sub(sleep).ok_or_else(|| {
                io::Error::other(format!("a sleep of {sleep:?} was over after {slept:?}, which is early"))
            })?;
            overshoots.push(over.as_secs_f64() * 1e6);
        }
        medians.push(Spread::of(overshoots).median);
    }
    Ok(medians)
}

/// Polls a future once and drops it. The future is forced into memory, as in a task.
fn poll_once(future: impl Future, cx: &mut Context<'_>) -> bool {
    black_box(pin!(future)).poll(cx).is_ready()
}

/// Returns an armed timer: it has been polled once.
async fn armed<K: Timekeeper>(duration: Duration) -> Pin<Box<K::Sleep>> {
    let mut timer = Box::pin(K::sleep(duration));
    poll_fn(|cx| Poll::Ready(black_box(timer.as_mut().poll(cx).is_ready()))).await;
    timer
}

/// Returns `count` armed timers that do not fire during the measurement.
async fn many<K: Timekeeper>(count: usize, random: &mut Random) -> Vec<Pin<Box<K::Sleep>>> {
    let mut timers = Vec::with_capacity(count);
    for _ in 0..count {
        timers.push(armed::<K>(random.later()).await);
    }
    timers
}

/// A waker that counts the timers fired, and wakes the main future when all have fired.
struct Tally {
    fired: AtomicUsize,
    count: usize,
    all: AtomicWaker,
}

impl Wake for Tally {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.fired.fetch_add(1, Ordering::AcqRel) + 1 == self.count {
            self.all.wake();
        }
    }
}

/// Pseudo-random numbers by xorshift: the same sequence for every peer.
struct Random(u64);

impl Random {
    /// Returns a number below `limit`, which must be far below 2⁶⁴.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Returns a duration shorter than `span`.
    fn within(&mut self, span: Duration) -> Duration {
        Duration::from_nanos(self.below(span.as_nanos() as u64))
    }

    /// Returns a limit for a timer that must not fire during the measurement.
    fn later(&mut self) -> Duration {
        LATER + self.within(LATER_SPAN)
    }
}
