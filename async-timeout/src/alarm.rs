//! One timer for the two tasks that may wait for one connection.
//!
//! The halves of a connection are often polled by two tasks (`futures::io::split`), and a timer wakes one. So this timer
//! wakes a [`Bell`], which has the wakers of both:
//!
//! ```text
//!   reader's task ─┐ register                       ring: one of them finds out what has happened,
//!                  ├──────────► Bell ◄── wakes ── Delay         and sets the timer anew
//!   writer's task ─┘
//! ```
//!
//! Why is no ring missed? Whoever has to wait looks at the clock, sets the timer, and only then registers; registering
//! fails if the bell has rung since this side last registered, and then everything is looked at once more. Both happen
//! under one lock, so a ring comes before (and is seen) or after (and wakes). That lock is held for a few instructions,
//! never while a waker is cloned, woken or dropped; all of that is code of the executor's.

use crate::delay::Delay;
use crate::limits::Side;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A timer that wakes two tasks.
pub(crate) struct Alarm {
    delay: Delay,
    /// When it rings; `None` if it is not set.
    due: Option<Instant>,
    bell: Arc<Bell>,
}

impl Default for Alarm {
    /// Not set.
    fn default() -> Self {
        Self { delay: Delay::After(Duration::MAX), due: None, bell: Arc::default() }
    }
}

impl Alarm {
    /// Sees to it that the bell rings at `next` or before. Ready with the time for which it was set, if that has come
    /// meanwhile.
    ///
    /// A timer that is set to an earlier time already is left alone: it rings, somebody looks, and sets it anew. Were it
    /// moved with each byte, it would cost more than the byte. But one that `has_rung` before its time has lost its
    /// reactor, and will ring no more until it is polled and gets another clock.
    pub(crate) fn set(&mut self, next: Option<Instant>, now: Instant, side: Side, has_rung: bool) -> Poll<Instant> {
        let was_due = self.due.is_some_and(|due| due <= now);
        if was_due || has_rung {
            self.due = None;
        }
        let mut polled = Poll::Pending;
        if let Some(next) = next.filter(|next| self.due.is_none_or(|due| *next < due)) {
            self.due = Some(next);
            self.delay.reset(next);
            let waker = Waker::from(Arc::clone(&self.bell));
            polled = self.delay.poll_elapsed(&mut Context::from_waker(&waker)).map(|()| next);
        }
        if was_due {
            // It may not ring any more for that time, and the other side has a deadline of its own to look at.
            self.bell.ring([side.other()]);
        }
        polled
    }

    /// Has `waker` woken by the next ring. `false` if it has rung since this side last registered.
    pub(crate) fn register(&self, side: Side, waker: &Waker) -> bool {
        self.bell.register(side, waker)
    }

    /// Wakes the task of `side` right now.
    pub(crate) fn ring(&self, side: Side) {
        self.bell.ring([side]);
    }
}

/// Wakes two tasks.
#[derive(Default)]
struct Bell(Mutex<[Place; 2]>);

/// What the bell knows of one side.
#[derive(Default)]
struct Place {
    /// It has rung, and this side has not looked since.
    has_rung: bool,
    waker: Option<Waker>,
}

impl Bell {
    /// Nothing panics while it is held, so it is never poisoned.
    fn lock(&self) -> MutexGuard<'_, [Place; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Alarm::register`].
    fn register(&self, side: Side, waker: &Waker) -> bool {
        // Still there, so it has not rung: that takes the waker away.
        if self.lock()[side as usize].waker.as_ref().is_some_and(|registered| registered.will_wake(waker)) {
            return true;
        }
        let clone = waker.clone();
        let mut places = self.lock();
        let place = &mut places[side as usize];
        let has_rung = mem::take(&mut place.has_rung);
        let replaced = place.waker.replace(clone);
        drop(places);
        drop(replaced);
        !has_rung
    }

    /// Wakes those who have registered, and lets all of `sides` know.
    fn ring<const N: usize>(&self, sides: [Side; N]) {
        let mut places = self.lock();
        let wakers = sides.map(|side| {
            let place = &mut places[side as usize];
            place.has_rung = true;
            place.waker.take()
        });
        drop(places);
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

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring([Side::Read, Side::Write]);
    }
}
