//! What is done with the timers, the same for every peer.
//!
//! The first four measure the cost of one operation, in one long poll of the future that the peer's runtime runs: no
//! task is scheduled and nothing sleeps meanwhile, so it is the timers that are measured, and not the executor. In the
//! storm all timers have one waker, which does nothing but count, for the same reason. Both count CPU time, that of the
//! whole process: some peers have a thread that does the work, and what else the machine does is not in it.

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

/// Operations measured beside many other timers.
const OPERATIONS: usize = 200_000;
/// The limit of a timeout that is earlier than all other timers.
const SOON: Duration = Duration::from_secs(10);
/// The other timers begin here: none of them fires while we measure.
const LATER: Duration = Duration::from_secs(600);
/// The other timers lie within so much time.
const LATER_SPAN: Duration = Duration::from_secs(1000);
/// The limit of a timeout that is later than all other timers.
const LAST: Duration = Duration::from_secs(4 * 3600);
/// Long enough for a runtime to go to sleep once and learn of its first timer.
const PAUSE: Duration = Duration::from_millis(2);
/// All timers of a storm fire within so much time.
const STORM: Duration = Duration::from_secs(1);
/// How long before the storm, with a microsecond more for each timer: they are all to be armed by then.
const EVE: Duration = Duration::from_millis(100);

/// Carries out one order with the timers of `keeper`.
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

/// T1: the timer is never needed.
async fn around_ready<K: Timekeeper>(count: usize) -> io::Result<Vec<f64>> {
    let around_ready = |cx: &mut Context<'_>| poll_once(K::timeout(ready(()), black_box(SOON)), cx);
    Ok(vec![nanos_each(count, around_ready).await?])
}

/// T2: the new deadline is the first of all. One other timer is there, as in any program that has timeouts.
async fn earliest<K: Timekeeper>(count: usize) -> io::Result<Vec<f64>> {
    let _other = armed::<K>(LATER).await;
    K::sleep(PAUSE).await;
    let arm_and_cancel = |cx: &mut Context<'_>| poll_once(K::timeout(pending::<()>(), black_box(SOON)), cx);
    Ok(vec![nanos_each(count, arm_and_cancel).await?])
}

/// T3: the new deadline is the last of very many; given as a span, then as an instant.
async fn latest<K: Timekeeper>(others: usize) -> io::Result<Vec<f64>> {
    let _others = many::<K>(others, &mut Random(1)).await;
    K::sleep(PAUSE).await;
    let deadline = Instant::now() + LAST;
    let after = |cx: &mut Context<'_>| poll_once(K::timeout(pending::<()>(), black_box(LAST)), cx);
    let at = |cx: &mut Context<'_>| poll_once(K::timeout_at(pending::<()>(), black_box(deadline)), cx);
    Ok(vec![nanos_each(OPERATIONS, after).await?, nanos_each(OPERATIONS, at).await?])
}

/// T4: any of very many is replaced by another one. Both are in the same place of memory: nothing is allocated for
/// them.
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

/// T5 and T6: CPU time of the process, in milliseconds, for timers that fire within a second: made, armed, fired, seen
/// to be ready, dropped.
async fn storm<K: Timekeeper>(count: usize) -> io::Result<Vec<f64>> {
    let (mut random, eve) = (Random(1), EVE + Duration::from_micros(count as u64));
    let tally = Arc::new(Tally { fired: AtomicUsize::new(0), count, all: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&tally));
    let mut cx = Context::from_waker(&waker);
    let before = sys::process_cpu()?;
    let mut timers: Vec<_> = (0..count)
        .map(|_| {
            let mut timer = Box::pin(K::sleep(eve + random.within(STORM)));
            if timer.as_mut().poll(&mut cx).is_ready() {
                tally.wake_by_ref(); // The eve was too short.
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
    // A timer is polled once more only after all have woken, so every one of them must be ready.
    if ready < count {
        return Err(io::Error::other(format!("{} timers were woken early", count - ready)));
    }
    Ok(vec![cpu.as_secs_f64() * 1e3])
}

/// T5: bytes of one timer: of the future itself, and of the heap beyond all futures.
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
    // The vector holds a pointer to each.
    vec![size as f64, per_timer - (size + size_of::<usize>()) as f64]
}

/// T7: the median overshoot of each of the sleeps, in microseconds. Each begins at a random moment of a millisecond, so
/// that no clock that ticks can be in step with them.
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

/// Polls a future once and drops it. It has to be in memory for that, as it would be in a task.
fn poll_once(future: impl Future, cx: &mut Context<'_>) -> bool {
    black_box(pin!(future)).poll(cx).is_ready()
}

/// A timer that has been polled once.
async fn armed<K: Timekeeper>(duration: Duration) -> Pin<Box<K::Sleep>> {
    let mut timer = Box::pin(K::sleep(duration));
    poll_fn(|cx| Poll::Ready(black_box(timer.as_mut().poll(cx).is_ready()))).await;
    timer
}

/// So many timers that do not fire while we measure.
async fn many<K: Timekeeper>(count: usize, random: &mut Random) -> Vec<Pin<Box<K::Sleep>>> {
    let mut timers = Vec::with_capacity(count);
    for _ in 0..count {
        timers.push(armed::<K>(random.later()).await);
    }
    timers
}

/// Counts timers that have fired, and wakes somebody when all have.
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

/// Random numbers by xorshift: the same for every peer.
struct Random(u64);

impl Random {
    /// Below `limit`, which is far below 2⁶⁴.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Shorter than `span`.
    fn within(&mut self, span: Duration) -> Duration {
        Duration::from_nanos(self.below(span.as_nanos() as u64))
    }

    /// For a timer that does not fire while we measure.
    fn later(&mut self) -> Duration {
        LATER + self.within(LATER_SPAN)
    }
}
