//! One timer for the two tasks that may wait for one connection.
//!
//! The two halves of a connection (`futures::io::split`) are often polled by two tasks, but a timer wakes one waker. So
//! the timer of a guard wakes a [`WakerPair`], which holds the wakers of both tasks:
//!
//! ```text
//!   reader's task ─┐ register                         fires: a woken task looks at the clock
//!                  ├──────────► WakerPair ◄── wakes ── Delay      and sets the timer again
//!   writer's task ─┘
//! ```
//!
//! No fire is missed. A task that has to wait looks at the clock, sets the timer, and registers last. Registering fails
//! if the timer has fired since the last registration of the same direction, and the task then looks at the clock once
//! more. Fire and registration take the same lock. A fire before the registration is therefore seen, and a fire after the
//! registration wakes the task. A fork counts as a fire: the timer of the parent does not fire in the child.
//!
//! The lock is held for a few instructions, never while a waker is cloned, woken or dropped: wakers are code of the
//! executor. Another thread may hold it at a fork, and then nothing releases it in the child. So the child never waits for
//! it: it takes over the wakers, if it can have the lock, and goes on with a pair of its own.

use super::operation::Direction;
use crate::delay::Delay;
use crate::foreign::{drop_all, wake_all};
use crate::platform::process_number;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A timer that wakes two tasks.
pub(crate) struct GuardTimer {
    /// Waits for `due`. Its waker is `wakers`.
    delay: Delay,
    /// The instant at which the timer fires; `None` if not set. Only [`set`](Self::set) writes it.
    due: Option<Instant>,
    /// The wakers of the two tasks, shared with the timer in the reactor or on the helper thread.
    wakers: Arc<WakerPair>,
}

impl Default for GuardTimer {
    /// Returns a timer that is not set.
    fn default() -> Self {
        Self { delay: Delay::After(Duration::MAX), due: None, wakers: Arc::default() }
    }
}

impl GuardTimer {
    /// Ensures that the timer fires at `next` or earlier. Returns `Ready(next)` if that instant has come meanwhile.
    ///
    /// A timer set to an earlier instant is not moved: it fires, and the woken task sets it again. Moving the timer with
    /// each byte would cost more than the byte. A timer that `has_fired` before its time has lost its reactor, and does
    /// not fire again until polled, when futures-timer takes over. So such a timer is set again in any case.
    pub(crate) fn set(
        &mut self,
        next: Option<Instant>,
        now: Instant,
        direction: Direction,
        has_fired: bool,
    ) -> Poll<Instant> {
        self.renew_in_child();
        let was_due = self.due.is_some_and(|due| due <= now);
        if was_due || has_fired {
            self.due = None;
        }
        let mut polled = Poll::Pending;
        if let Some(next) = next.filter(|next| self.due.is_none_or(|due| *next < due)) {
            self.due = Some(next);
            self.delay.reset(next);
            let waker = Waker::from(Arc::clone(&self.wakers));
            polled = self.delay.poll_elapsed(&mut Context::from_waker(&waker)).map(|()| next);
        }
        if was_due {
            // The reset may have cancelled the fire for the old instant, and the other direction may have a deadline then.
            self.wakers.wake_directions([direction.other()]);
        }
        polled
    }

    /// Registers `waker` for the next fire. Returns `false` if the timer has fired since the last registration of
    /// `direction`; the caller must then look at the clock again.
    pub(crate) fn register(&mut self, direction: Direction, waker: &Waker) -> bool {
        self.renew_in_child();
        self.wakers.register(direction, waker)
    }

    /// Makes a new pair of wakers in a forked child.
    #[inline]
    fn renew_in_child(&mut self) {
        if self.wakers.process != process_number() {
            self.wakers = self.wakers.of_child();
        }
    }

    /// Returns the instant at which the timer fires; `None` if not set.
    #[cfg(test)]
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Wakes the task of `direction` now.
    pub(crate) fn wake(&self, direction: Direction) {
        self.wakers.wake_directions([direction]);
    }
}

/// A waker that wakes the tasks of both directions.
struct WakerPair {
    /// The [number](process_number) of the process that has made the pair.
    process: u32,
    /// The state of both directions.
    registrations: Mutex<Registrations>,
}

impl Default for WakerPair {
    fn default() -> Self {
        Self { process: process_number(), registrations: Mutex::default() }
    }
}

/// The state of both directions, by the number of the [`Direction`].
#[derive(Default)]
struct Registrations {
    /// Whether the timer has fired since the direction registered. A fire sets it, and `register` clears it.
    have_fired: [bool; 2],
    /// The wakers of the waiting tasks. `register` sets one, and a fire takes both.
    wakers: [Option<Waker>; 2],
}

impl WakerPair {
    /// Locks the registrations, in the process that has made the pair. No code panics while it holds the lock, so the lock is
    /// never poisoned.
    fn lock(&self) -> MutexGuard<'_, Registrations> {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the registrations in any process. Returns `None` if a thread of the parent process held the lock at the fork.
    fn lock_anywhere(&self) -> Option<MutexGuard<'_, Registrations>> {
        if self.process == process_number() {
            return Some(self.lock());
        }
        // No other code of the child uses this lock: the timer of the parent does not fire here.
        self.registrations.try_lock().ok()
    }

    /// Returns the pair with which a forked child goes on. The fork counts as a fire.
    #[cold]
    fn of_child(&self) -> Arc<Self> {
        let wakers =
            self.lock_anywhere().map(|mut registrations| mem::take(&mut registrations.wakers)).unwrap_or_default();
        let registrations = Registrations { have_fired: [true; 2], wakers };
        Arc::new(Self { process: process_number(), registrations: Mutex::new(registrations) })
    }

    /// See [`GuardTimer::register`].
    fn register(&self, direction: Direction, waker: &Waker) -> bool {
        let index = direction as usize;
        // A fire takes the waker. If the waker is still registered, the timer has not fired.
        let is_registered = |registrations: &Registrations| {
            !registrations.have_fired[index]
                && registrations.wakers[index].as_ref().is_some_and(|registered| registered.will_wake(waker))
        };
        if is_registered(&self.lock()) {
            return true;
        }
        let clone = waker.clone();
        let mut registrations = self.lock();
        let has_fired = mem::take(&mut registrations.have_fired[index]);
        let replaced = registrations.wakers[index].replace(clone);
        drop(registrations);
        drop(replaced);
        !has_fired
    }

    /// Marks all of `directions` as fired, and wakes their registered tasks.
    fn wake_directions<const N: usize>(&self, directions: [Direction; N]) {
        let Some(mut registrations) = self.lock_anywhere() else { return };
        let wakers = directions.map(|direction| {
            registrations.have_fired[direction as usize] = true;
            registrations.wakers[direction as usize].take()
        });
        drop(registrations);
        // If the first waker panics, the second is woken all the same.
        wake_all(wakers.into_iter().flatten());
    }
}

impl Wake for WakerPair {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_directions([Direction::Read, Direction::Write]);
    }
}

impl Drop for WakerPair {
    /// Drops the registered wakers, whose drops may panic.
    fn drop(&mut self) {
        let is_lost = self.lock_anywhere().is_none();
        let registrations = self.registrations.get_mut().unwrap_or_else(PoisonError::into_inner);
        let wakers = mem::take(&mut registrations.wakers);
        if is_lost {
            // A thread of the parent process was changing them at the fork: they may be half written.
            mem::forget(wakers);
        } else {
            drop_all(wakers.into_iter().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A waker that counts its wakes.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Returns a timer as a forked child finds it: made by another process, perhaps with a lock that nothing releases.
    fn inherited(waker: &Waker, is_locked: bool) -> GuardTimer {
        let pair = WakerPair { process: process_number().wrapping_add(1), registrations: Mutex::default() };
        pair.registrations.lock().unwrap().wakers[Direction::Write as usize] = Some(waker.clone());
        if is_locked {
            mem::forget(pair.registrations.lock());
        }
        GuardTimer { wakers: Arc::new(pair), ..GuardTimer::default() }
    }

    /// Found 7: a child never waits for the lock of its parent. It registers anew, and wakes the task of the other direction
    /// unless the lock keeps the waker.
    #[test]
    fn a_timer_that_a_child_has_inherited() {
        for is_locked in [false, true] {
            let counter = Arc::new(Counter::default());
            let waker = Waker::from(Arc::clone(&counter));
            // Woken before the child has registered.
            inherited(&waker, is_locked).wake(Direction::Write);
            assert_eq!(counter.0.swap(0, Ordering::SeqCst), usize::from(!is_locked));
            // Woken after it.
            let mut timer = inherited(&waker, is_locked);
            assert!(!timer.register(Direction::Read, &waker), "the fork counts as a fire");
            assert!(timer.register(Direction::Read, &waker));
            timer.wake(Direction::Write);
            assert_eq!(counter.0.swap(0, Ordering::SeqCst), usize::from(!is_locked));
            assert!(!timer.register(Direction::Write, &waker), "the fork counts as a fire of both directions");
            timer.wake(Direction::Write);
            assert_eq!(counter.0.load(Ordering::SeqCst), 1);
            // Setting the timer comes first in some polls.
            let now = Instant::now();
            let _ = inherited(&waker, is_locked).set(Some(now), now, Direction::Read, false);
        }
    }

    /// Found 22: both wakers panic, with payloads that panic when they are dropped. The first panic is passed on.
    #[test]
    fn two_wakers_that_panic() {
        struct Bomb(usize);
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped on purpose: {}", self.0);
            }
        }
        struct Panics(usize);
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic_any(Bomb(self.0));
            }
        }
        let pair = Arc::new(WakerPair::default());
        for direction in [Direction::Read, Direction::Write] {
            assert!(pair.register(direction, &Waker::from(Arc::new(Panics(direction as usize)))));
        }
        let panic = catch_unwind(AssertUnwindSafe(|| pair.wake_by_ref())).unwrap_err();
        let bomb = panic.downcast::<Bomb>().unwrap_or_else(|_| unreachable!());
        assert_eq!(bomb.0, Direction::Read as usize);
        mem::forget(bomb);
    }
    /// Which of the wakers panic when they are dropped × whether the thread unwinds already. All are dropped, and the process
    /// goes on.
    #[test]
    fn wakers_that_panic_when_they_are_dropped() {
        struct Dropped(Arc<Counter>, bool);
        impl Wake for Dropped {
            fn wake(self: Arc<Self>) {}
        }
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.0.fetch_add(1, Ordering::SeqCst);
                assert!(!self.1, "on purpose");
            }
        }
        for (panics, unwinds) in [[true, false], [false, true], [true, true], [false, false]]
            .into_iter()
            .flat_map(|panics| [(panics, false), (panics, true)])
        {
            let counter = Arc::new(Counter::default());
            let timer = GuardTimer::default();
            for direction in [Direction::Read, Direction::Write] {
                let waker = Dropped(Arc::clone(&counter), panics[direction as usize]);
                assert!(timer.wakers.register(direction, &Waker::from(Arc::new(waker))));
            }
            let result = catch_unwind(AssertUnwindSafe(move || {
                let _timer = timer;
                assert!(!unwinds, "before the drop");
            }));
            assert_eq!(result.is_err(), unwinds || panics.contains(&true));
            assert_eq!(counter.0.load(Ordering::SeqCst), 2, "{panics:?} {unwinds}");
        }
    }

    /// The wakers of a child's copy are dropped with it, unless the lock was held at the fork.
    #[test]
    fn wakers_of_a_copy_that_is_dropped() {
        for is_locked in [false, true] {
            let counter = Arc::new(Counter::default());
            drop(inherited(&Waker::from(Arc::clone(&counter)), is_locked));
            assert_eq!(Arc::strong_count(&counter), 1 + usize::from(is_locked));
        }
    }
}
