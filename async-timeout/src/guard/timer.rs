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
//! executor.

use super::operation::Direction;
use crate::delay::Delay;
use crate::foreign::wake_all;
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
    pub(crate) fn register(&self, direction: Direction, waker: &Waker) -> bool {
        self.wakers.register(direction, waker)
    }

    /// Wakes the task of `direction` now.
    pub(crate) fn wake(&self, direction: Direction) {
        self.wakers.wake_directions([direction]);
    }
}

/// A waker that wakes the tasks of both directions.
#[derive(Default)]
struct WakerPair(Mutex<Registrations>);

/// The state of both directions, by the number of the [`Direction`].
#[derive(Default)]
struct Registrations {
    /// Whether the timer has fired since the direction registered. A fire sets it, and `register` clears it.
    have_fired: [bool; 2],
    /// The [number](process_number) of the process that registered last; 0 before.
    process: u32,
    /// The wakers of the waiting tasks. `register` sets one, and a fire takes both.
    wakers: [Option<Waker>; 2],
}

impl WakerPair {
    /// Locks the registrations. No code panics while it holds the lock, so the lock is never poisoned.
    fn lock(&self) -> MutexGuard<'_, Registrations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`GuardTimer::register`].
    fn register(&self, direction: Direction, waker: &Waker) -> bool {
        let (process, index) = (process_number(), direction as usize);
        // A fire takes the waker. If the waker is still registered, the timer has not fired.
        let is_registered = |registrations: &Registrations| {
            registrations.process == process
                && registrations.wakers[index].as_ref().is_some_and(|registered| registered.will_wake(waker))
        };
        if is_registered(&self.lock()) {
            return true;
        }
        let clone = waker.clone();
        let mut registrations = self.lock();
        let before = mem::replace(&mut registrations.process, process);
        if before != 0 && before != process {
            registrations.have_fired = [true; 2];
        }
        let has_fired = mem::take(&mut registrations.have_fired[index]);
        let replaced = registrations.wakers[index].replace(clone);
        drop(registrations);
        drop(replaced);
        !has_fired
    }

    /// Marks all of `directions` as fired, and wakes their registered tasks.
    fn wake_directions<const N: usize>(&self, directions: [Direction; N]) {
        let mut registrations = self.lock();
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
