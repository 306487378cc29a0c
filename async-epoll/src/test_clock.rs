//! Time that stands still, and moves when a test says so.
//!
//! Everything that has to do with time in a reactor goes through its [`Clock`](crate::clock::Clock): deadlines are read
//! from it, and timers fire by it. So it is enough to stop that one clock:
//!
//! ```text
//!   pause ──► the clock stands: timers do not fire, and no sleep ends on their account; sockets go on
//!
//!   advance ──► nothing is ready, and no socket has an event?   (the reactor would go to sleep now)
//!                 │ yes
//!                 ▼
//!               the clock jumps to the next timer, which fires, and its tasks run;
//!               again, until no timer is left before the end of the advance; then it is over
//!
//!   resume ──► the clock runs on from where it stood
//! ```
//!
//! It is the reactor that moves the hands, in [`Engine::turn`](crate::engine::Engine), for only there it is known that
//! all tasks have done what they could. Real time remains what it was for everything else: the `timeout` of a
//! [`wait`](crate::Reactor::wait), other threads, `Instant::now()`.

use crate::clock::{NEVER, nanos};
use crate::engine::wake_all;
use crate::handle::Handle;
use crate::shared::{Shared, gone};
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Where a clock's hands are, compared with the real time.
#[derive(Debug)]
pub(crate) struct Hands {
    /// The time that the clock shows while it stands; [`NEVER`] while it runs.
    stands_at: AtomicU64,
    /// How far it is ahead of the real time while it runs. Wraps, for it may be behind as well.
    ahead: AtomicU64,
    /// When it went on last, in real time.
    went_on_at: AtomicU64,
    /// Where it stood before that.
    stood_at: AtomicU64,
    /// The advances that are under way. Whoever changes anything here holds this lock.
    advances: Mutex<Vec<Step>>,
    /// How many they are.
    pending: AtomicUsize,
    /// The number of the next one.
    next: AtomicU64,
}

/// An [`Advance`] that is under way.
#[derive(Debug)]
struct Step {
    /// Where the clock is to go.
    target: u64,
    /// Which one it is.
    number: u64,
    /// Whom to wake when it is there.
    waker: Waker,
}

impl Hands {
    /// They show the real time.
    pub(crate) fn new() -> Self {
        Self {
            stands_at: AtomicU64::new(NEVER),
            ahead: AtomicU64::new(0),
            went_on_at: AtomicU64::new(0),
            stood_at: AtomicU64::new(0),
            advances: Mutex::default(),
            pending: AtomicUsize::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// What the clock shows when it is `real` in fact.
    pub(crate) fn shown(&self, real: u64) -> u64 {
        match self.stands_at.load(Ordering::Acquire) {
            NEVER => {
                let ahead = self.ahead.load(Ordering::Acquire);
                if real < self.went_on_at.load(Ordering::Relaxed) {
                    // Read while the clock stood, by another thread: it must not go back, still less below zero.
                    return self.stood_at.load(Ordering::Relaxed);
                }
                // Never `NEVER`, even if it is far ahead.
                real.wrapping_add(ahead).min(NEVER - 1)
            }
            stands_at => stands_at,
        }
    }

    /// Whether the clock stands.
    pub(crate) fn stand_still(&self) -> bool {
        self.stands_at.load(Ordering::Acquire) != NEVER
    }

    /// Lets a clock that stands run, when it is `real` in fact.
    fn go_on(&self, real: u64) {
        let stood_at = self.stands_at.load(Ordering::Relaxed);
        self.stood_at.store(stood_at, Ordering::Relaxed);
        self.went_on_at.store(real, Ordering::Relaxed);
        // In this order: who finds that it runs has to see how far it is ahead, and who sees that, since when.
        self.ahead.store(stood_at.wrapping_sub(real), Ordering::Release);
        self.stands_at.store(NEVER, Ordering::Release);
    }

    /// Whether somebody waits for the clock to move.
    pub(crate) fn are_moving(&self) -> bool {
        self.pending.load(Ordering::Acquire) != 0
    }

    fn advances(&self) -> MutexGuard<'_, Vec<Step>> {
        self.advances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the advances that `is_over`, and returns whom to wake.
    fn end(&self, advances: &mut Vec<Step>, is_over: impl Fn(&Step) -> bool) -> Vec<Waker> {
        let (over, left) = std::mem::take(advances).into_iter().partition(is_over);
        *advances = left;
        self.pending.store(advances.len(), Ordering::Release);
        Vec::into_iter(over).map(|step| step.waker).collect()
    }

    /// The reactor goes away: nobody will move the clock any more.
    pub(crate) fn close(&self) -> Vec<Waker> {
        self.end(&mut self.advances(), |_| true)
    }
}

impl Shared {
    /// Everything is quiet: moves a clock that stands to the next timer; or, if there is none before the end of an advance,
    /// to that end, and takes the wakers of those who waited for it.
    pub(crate) fn move_clock(&self, wakers: &mut Vec<Waker>) {
        let next = self.timers().exact_next();
        let hands = &self.clock.hands;
        let mut advances = hands.advances();
        let (now, Some(target)) = (self.clock.now(), advances.iter().map(|step| step.target).min()) else { return };
        hands.stands_at.store(next.min(target).max(now), Ordering::Release);
        if next > target {
            wakers.extend(hands.end(&mut advances, |step| step.target <= target));
        }
    }
}

/// A reactor's clock, to be stopped and moved by a test; from [`Handle::test_clock`]. Needs the feature `test-util`.
///
/// While it is paused, timers fire when the time is [advanced](Self::advance) and at no other moment, however long the
/// test takes in fact; a timeout of an hour can be tested in no time, and always with the same outcome. Sockets, other
/// threads and [`notify`](Handle::notify) work as ever. Each reactor has a clock of its own, so tests may run at the
/// same time.
///
/// Deadlines have to be made from this clock's [`now`](Self::now), since `Instant::now()` goes on.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{Handle, Timer};
/// use std::time::{Duration, Instant};
///
/// const HOUR: Duration = Duration::from_secs(3600);
///
/// let begin = Instant::now();
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// let (handle, clock) = (runtime.handle(), runtime.handle().test_clock());
/// clock.pause();
/// let started = clock.now();
/// runtime.spawner().spawn_local(async move { Timer::after(HOUR, &handle).await.unwrap() }).unwrap();
/// let spawner = runtime.spawner();
/// runtime.run_until(async {
///     clock.advance(HOUR - Duration::from_nanos(1)).await?;
///     assert_eq!(spawner.live_tasks(), 1, "not yet");
///     clock.advance(Duration::from_nanos(1)).await?;
///     assert_eq!(spawner.live_tasks(), 0);
///     std::io::Result::Ok(())
/// })??;
/// assert_eq!(clock.now() - started, HOUR);
/// assert!(begin.elapsed() < HOUR);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestClock {
    shared: Arc<Shared>,
}

impl Handle {
    /// The clock of the reactor's timers, for a test that wants to move it.
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn test_clock(&self) -> TestClock {
        TestClock { shared: Arc::clone(&self.shared) }
    }
}

impl TestClock {
    /// Stops the clock. A clock that stands already is left alone.
    ///
    /// Another thread that reads the clock at the same moment may see it a few nanoseconds past where it stops.
    pub fn pause(&self) {
        let hands = &self.shared.clock.hands;
        let advances = hands.advances();
        if !hands.stand_still() {
            hands.stands_at.store(self.shared.clock.now(), Ordering::Release);
        }
        drop(advances);
        self.moved();
    }

    /// Lets the clock run again, from where it stands: it stays as far ahead of the real time, or behind it, as it is.
    /// Advances that are under way fail. A clock that runs is left alone.
    pub fn resume(&self) {
        let clock = &self.shared.clock;
        let mut advances = clock.hands.advances();
        if clock.hands.stand_still() {
            clock.hands.go_on(clock.real());
        }
        let mut wakers = clock.hands.end(&mut advances, |_| true);
        drop(advances);
        self.moved();
        let mut panicked = None;
        wake_all(&mut wakers, |panic| panicked = Some(panic));
        if let Some(panic) = panicked {
            // It is the caller's, as that of any waker is; but nobody else is to miss his wake for it.
            resume_unwind(panic);
        }
    }

    /// Whether the clock stands.
    pub fn is_paused(&self) -> bool {
        self.shared.clock.hands.stand_still()
    }

    /// The time that the clock shows.
    pub fn now(&self) -> Instant {
        let clock = &self.shared.clock;
        clock.to_instant(clock.now()).unwrap_or_else(Instant::now)
    }

    /// Moves a clock that stands by `duration`, from the first poll of the future on: timer by timer, in order, and after
    /// each the tasks run until none can go on. Ready when the clock has arrived and they have.
    ///
    /// Somebody has to run the reactor meanwhile. Tasks of this reactor are known to have run; of other executors, of a
    /// [`Background`](crate::Background), and of what other threads are about to do, nothing is known. Several advances at
    /// a time all begin where the clock stands, so they overlap.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the clock is not paused, or [resumed](Self::resume) meanwhile, or if `duration` leads further
    /// than an `Instant` can; `NotConnected` if the reactor is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the clock stays where it has come.
    pub fn advance(&self, duration: Duration) -> Advance {
        Advance { clock: self.clone(), by: nanos(duration), step: None }
    }

    /// The reactor may have to sleep for another time than it does.
    fn moved(&self) {
        // An alarm is set anew only if the time of the first timer changes. Here it is the clock that does.
        self.shared.sleep_until();
        self.shared.first_timer_changed();
    }
}

/// An advance that is under way; from [`TestClock::advance`].
#[must_use = "the clock does not move unless this is awaited"]
pub struct Advance {
    clock: TestClock,
    by: u64,
    /// Number and target, once begun.
    step: Option<(u64, u64)>,
}

impl Advance {
    /// Puts itself in the list.
    fn begin(&mut self, waker: Waker) -> io::Result<()> {
        let shared = &self.clock.shared;
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text);
        let hands = &shared.clock.hands;
        let mut advances = hands.advances();
        // Looked at under the lock: a reactor that goes away later finds our entry.
        if shared.is_gone() {
            return Err(gone());
        }
        if !hands.stand_still() {
            return Err(invalid("the clock is not paused: pause it before advancing it"));
        }
        let target = shared.clock.now().saturating_add(self.by);
        if shared.clock.to_instant(target).is_none() {
            return Err(invalid("the clock cannot be advanced so far"));
        }
        let number = hands.next.fetch_add(1, Ordering::Relaxed);
        advances.push(Step { target, number, waker });
        hands.pending.store(advances.len(), Ordering::Release);
        drop(advances);
        self.step = Some((number, target));
        // The reactor may sleep.
        shared.notifier.notify();
        Ok(())
    }

    /// Sees to it that the right task is woken; or says how it has ended.
    fn check(&self, number: u64, target: u64, mut waker: Waker) -> Poll<io::Result<()>> {
        let shared = &self.clock.shared;
        // The guard is dropped before `waker`, which may be the old one then.
        let mut advances = shared.clock.hands.advances();
        if let Some(step) = advances.iter_mut().find(|step| step.number == number) {
            std::mem::swap(&mut step.waker, &mut waker);
            return Poll::Pending;
        }
        drop(advances);
        Poll::Ready(if shared.clock.hands.stand_still() && shared.clock.now() >= target {
            Ok(())
        } else if shared.is_gone() {
            Err(gone())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the clock was resumed while it was advanced"))
        })
    }
}

impl Future for Advance {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.step {
            Some((number, target)) => self.check(number, target, cx.waker().clone()),
            None => match self.begin(cx.waker().clone()) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
        }
    }
}

impl Drop for Advance {
    fn drop(&mut self) {
        if let Some((number, _)) = self.step {
            let hands = &self.clock.shared.clock.hands;
            let wakers = hands.end(&mut hands.advances(), |step| step.number == number);
            // Not under the lock.
            drop(wakers);
        }
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClock").field("now", &self.now()).field("paused", &self.is_paused()).finish()
    }
}

impl fmt::Debug for Advance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advance").field("begun", &self.step.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug E8: another thread has read the real time, and only then the clock goes on. What that shows does not go back, and
    /// is not the end of time either, at which all timers would fire.
    #[test]
    fn a_time_read_before_the_clock_went_on() {
        let hands = Hands::new();
        assert_eq!(hands.shown(7), 7);
        hands.stands_at.store(10, Ordering::Release);
        assert_eq!(hands.shown(1000), 10);
        hands.go_on(2000);
        for (real, shown) in [(1000, 10), (1999, 10), (2000, 10), (2001, 11), (NEVER, NEVER - 1990)] {
            assert_eq!(hands.shown(real), shown, "at {real}");
        }
        // Ahead of the real time as well.
        hands.stands_at.store(9000, Ordering::Release);
        hands.go_on(3000);
        for (real, shown) in [(2999, 9000), (3000, 9000), (3001, 9001)] {
            assert_eq!(hands.shown(real), shown, "at {real}");
        }
    }
}
