//! One timer for the two tasks that may wait for one connection.
//!
//! The halves of a connection are often polled by two tasks (`futures::io::split`), and a timer wakes one. So this timer
//! wakes a [`WakerPair`], which has the wakers of both:
//!
//! ```text
//!   reader's task ─┐ register                       ring: one of them finds out what has happened,
//!                  ├──────────► WakerPair ◄── wakes ── Delay         and sets the timer anew
//!   writer's task ─┘
//! ```
//!
//! Why is no ring missed? Whoever has to wait looks at the clock, sets the timer, and only then registers; registering
//! fails if the wakers has rung since this direction last registered, and then everything is looked at once more. Both happen
//! under one lock, so a ring comes before (and is seen) or after (and wakes). That lock is held for a few instructions,
//! never while a waker is cloned, woken or dropped; all of that is code of the executor's.

use super::limits::Direction;
use crate::delay::Delay;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A timer that wakes two tasks.
pub(crate) struct GuardTimer {
    delay: Delay,
    /// When it rings; `None` if it is not set.
    due: Option<Instant>,
    wakers: Arc<WakerPair>,
}

impl Default for GuardTimer {
    /// Not set.
    fn default() -> Self {
        Self { delay: Delay::After(Duration::MAX), due: None, wakers: Arc::default() }
    }
}

impl GuardTimer {
    /// Sees to it that the wakers rings at `next` or before. Ready with the time for which it was set, if that has come
    /// meanwhile.
    ///
    /// A timer that is set to an earlier time already is left alone: it rings, somebody looks, and sets it anew. Were it
    /// moved with each byte, it would cost more than the byte. But one that `has_fired` before its time has lost its
    /// reactor, and will ring no more until it is polled and gets another clock.
    pub(crate) fn set(
        &mut self,
        next: Option<Instant>,
        now: Instant,
        direction: Direction,
        has_fired: bool,
    ) -> Poll<Instant> {
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
            // It may not ring any more for that time, and the other direction has a deadline of its own to look at.
            self.wakers.wake_directions([direction.other()]);
        }
        polled
    }

    /// Has `waker` woken by the next ring. `false` if it has rung since this direction last registered.
    pub(crate) fn register(&self, direction: Direction, waker: &Waker) -> bool {
        self.wakers.register(direction, waker)
    }

    /// Wakes the task of `direction` right now.
    pub(crate) fn wake(&self, direction: Direction) {
        self.wakers.wake_directions([direction]);
    }
}

/// Wakes two tasks.
#[derive(Default)]
struct WakerPair(Mutex<[Registration; 2]>);

/// What the wakers knows of one direction.
#[derive(Default)]
struct Registration {
    /// It has rung, and this direction has not looked since.
    has_fired: bool,
    waker: Option<Waker>,
}

impl WakerPair {
    /// Nothing panics while it is held, so it is never poisoned.
    fn lock(&self) -> MutexGuard<'_, [Registration; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`GuardTimer::register`].
    fn register(&self, direction: Direction, waker: &Waker) -> bool {
        // Still there, so it has not rung: that takes the waker away.
        if self.lock()[direction as usize].waker.as_ref().is_some_and(|registered| registered.will_wake(waker)) {
            return true;
        }
        let clone = waker.clone();
        let mut registrations = self.lock();
        let registration = &mut registrations[direction as usize];
        let has_fired = mem::take(&mut registration.has_fired);
        let replaced = registration.waker.replace(clone);
        drop(registrations);
        drop(replaced);
        !has_fired
    }

    /// Wakes those who have registered, and lets all of `directions` know.
    fn wake_directions<const N: usize>(&self, directions: [Direction; N]) {
        let mut registrations = self.lock();
        let wakers = directions.map(|direction| {
            let registration = &mut registrations[direction as usize];
            registration.has_fired = true;
            registration.waker.take()
        });
        drop(registrations);
        let mut panicked = None;
        for waker in wakers.into_iter().flatten() {
            // A waker that panics must not keep the other one from being woken.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                panicked = Some(panic);
            }
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
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
