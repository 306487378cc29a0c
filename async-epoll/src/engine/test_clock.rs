//! Time that stands still, and moves when a test says so.
//!
//! Everything that has to do with time in a reactor goes through its [`Clock`](crate::time::clock::Clock): deadlines are read
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
//! It is the reactor that moves the hands, in [`Engine::turn`](crate::engine::engine::Engine), for only there it is known that
//! all tasks have done what they could. Real time remains what it was for everything else: the `timeout` of a
//! [`wait`](crate::Reactor::wait), other threads, `Instant::now()`.

use super::handle::Handle;
use super::shared::{Shared, gone};
use crate::foreign::wake_all;
use crate::time::nanos::nanos;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

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
        if !hands.are_stopped() {
            hands.stop_at(self.shared.clock.now());
        }
        drop(advances);
        self.moved();
    }

    /// Lets the clock run again, from where it stands: it stays as far ahead of the real time, or behind it, as it is.
    /// Advances that are under way fail. A clock that runs is left alone.
    pub fn resume(&self) {
        let clock = &self.shared.clock;
        let mut advances = clock.hands.advances();
        if clock.hands.are_stopped() {
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
        self.shared.clock.hands.are_stopped()
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
        // The timerfd is set anew only if the time of the first timer changes. Here the clock changes.
        self.shared.wake_time();
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
        if !hands.are_stopped() {
            return Err(invalid("the clock is not paused: pause it before advancing it"));
        }
        let target = shared.clock.now().saturating_add(self.by);
        if shared.clock.to_instant(target).is_none() {
            return Err(invalid("the clock cannot be advanced so far"));
        }
        let number = hands.begin(&mut advances, target, waker);
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
        Poll::Ready(if shared.clock.hands.are_stopped() && shared.clock.now() >= target {
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
