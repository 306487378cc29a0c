//! The half of the reactor that waits and wakes.
//!
//! One *turn* is one call of [`Engine::turn`], whose numbered steps are the heart of this crate; everything else serves
//! them. The rule that shapes it: wakers run foreign code, so they are collected under the locks and woken after the locks
//! are released, each guarded, so that one that panics does not lose the others.
//!
//! The engine knows nothing of tasks, so it may run on their thread, between two runs of the pool, or on a
//! [thread of its own](crate::Background).

use crate::clock::{NEVER, nanos};
use crate::shared::Shared;
use crate::sys::epoll_event;
use crate::trace;
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// Wakers for which memory is kept between turns.
const SPARE_WAKERS: usize = 1024;

/// Between two looks at whether the tasks have run, for which a clock waits that a test moves.
const PACE: Duration = Duration::from_millis(1);

/// What waits.
pub(crate) struct Engine {
    /// What handles, sources and timers refer to.
    pub(crate) shared: Arc<Shared>,
    /// Where the kernel puts events.
    events: Box<[epoll_event]>,
    /// The wakers of one turn, kept for its memory.
    wakers: Vec<Waker>,
}

impl Engine {
    /// Takes at most `events_capacity` events from the kernel in a turn.
    pub(crate) fn new(shared: Arc<Shared>, events_capacity: usize) -> Self {
        let no_event = epoll_event { events: 0, u64: 0 };
        Self { shared, events: vec![no_event; events_capacity].into_boxed_slice(), wakers: Vec::new() }
    }

    /// Sleeps until something happens, and takes the wakers of those concerned, for [`wake_all`](Self::wake_all). Returns
    /// the number of events. `watch` may refuse a sleep without end.
    pub(crate) fn turn(
        &mut self,
        timeout: Option<Duration>,
        watch: Option<&dyn Fn() -> io::Result<()>>,
    ) -> io::Result<usize> {
        let shared = &*self.shared;
        shared.refuse_child()?;
        shared.counters.turns.add(1);
        let may_sleep = timeout != Some(Duration::ZERO);
        let end = timeout.filter(|_| may_sleep).map(|t| shared.clock.real().saturating_add(nanos(t)));
        // An embedded reactor counts as asleep between two turns. Whether somebody has notified it is asked here.
        let mut notified = shared.notifier.is_embedded() && shared.notifier.awake();
        loop {
            // 1. Go to sleep, unless a task is ready or somebody has notified. From here on a wake ends the sleep.
            let asleep = may_sleep && !notified && shared.notifier.try_sleep();
            // 2. Only now look at the timers: one that is set later finds us asleep and ends the sleep.
            let moving = shared.clock.is_moving();
            let sleep = match (asleep, moving) {
                (true, false) => shared.time_to_sleep(end),
                // The clock moves once the tasks have run, which somebody else sees to: it is looked at now and then.
                (true, true) if shared.notifier.has_work() => Some(PACE),
                _ => Some(Duration::ZERO),
            };
            if asleep {
                if let (None, Some(watch)) = (sleep, watch) {
                    watch().inspect_err(|_| self.abandon_sleep())?;
                }
                shared.counters.sleeps.add(1);
                trace::sleep(sleep);
            }
            // 3. Wait. A signal is no news: go round and sleep for what remains.
            let events = match shared.epoll.wait(&mut self.events, sleep) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => {
                    self.abandon_sleep();
                    return Err(error);
                }
                Ok(events) => events,
            };
            notified |= shared.notifier.awake();
            // 4. Under the lock of each: take the wakers of the sources that have events and of the timers due.
            let real = shared.clock.real();
            let mut now = shared.clock.begin_turn(real);
            let mut log = trace::Log::new();
            let found = match events {
                0 => 0,
                _ => shared.registry().dispatch(&self.events[..events], &mut self.wakers, &mut log),
            };
            log.tell();
            if asleep && notified {
                trace::notified();
            }
            // A clock that is moved by a test moves when there is nothing else to do.
            if moving && found == 0 && shared.is_quiet(notified) {
                now = shared.step_clock(real, &mut self.wakers);
            }
            let arrived = !self.wakers.is_empty();
            let fired = {
                let mut timers = shared.timers();
                let fired = timers.fire(now, &mut self.wakers);
                if fired != 0 && found == 0 && !notified {
                    timers.note_wake(now);
                }
                fired
            };
            shared.counters.events.add(found);
            shared.counters.timers_fired.add(fired);
            trace::timers(fired);
            // 5. Without a reason to return, sleep on: the event was for a source that has gone, say.
            let timed_out = end.is_some_and(|end| real >= end);
            if !asleep || notified || timed_out || found + fired != 0 || arrived {
                return Ok(found);
            }
        }
    }

    /// Gives up a sleep. A notification is not used up by a wait that has failed.
    fn abandon_sleep(&self) {
        if self.shared.notifier.awake() {
            self.shared.notifier.notify();
        }
    }

    /// Between two turns of an embedded reactor: has its descriptor become readable when there is something to do.
    pub(crate) fn doze(&self) {
        if self.shared.notifier.is_embedded() && self.shared.refuse_child().is_ok() {
            self.shared.sleep_until();
            self.shared.notifier.doze();
            if self.shared.clock.is_moving() {
                self.shared.notifier.notify();
            }
        }
    }

    /// Wakes the collected wakers. One that panics is counted and reported, and the rest are woken all the same.
    pub(crate) fn wake_all(&mut self, on_panic: impl Fn(Box<dyn Any + Send>)) {
        self.shared.counters.wakes.add(self.wakers.len());
        trace::wake(self.wakers.len());
        wake_all(&mut self.wakers, |panic| {
            self.shared.counters.waker_panics.add(1);
            on_panic(panic);
        });
        // Ten thousand timers at one instant should not be remembered for ever.
        self.wakers.shrink_to(SPARE_WAKERS);
    }
}

/// Wakes in order, catching panics. One guard serves all wakers up to the next panic.
pub(crate) fn wake_all(wakers: &mut Vec<Waker>, mut on_panic: impl FnMut(Box<dyn Any + Send>)) {
    let mut wakers = wakers.drain(..);
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| wakers.by_ref().for_each(Waker::wake))) {
        on_panic(panic);
    }
}

/// Drops what a panic carried. That may panic as well, with something that panics when it is dropped, and so on; after a
/// few we stop caring.
pub(crate) fn drop_payload(mut payload: Box<dyn Any + Send>) {
    for _ in 0..8 {
        match catch_unwind(AssertUnwindSafe(move || drop(payload))) {
            Ok(()) => return,
            Err(worse) => payload = worse,
        }
    }
    std::mem::forget(payload);
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.wakers.extend(self.shared.close());
        self.wake_all(drop_payload);
        // A driver that has stayed for the sake of remote spawners may go now.
        for pool in self.shared.pools() {
            if let Some(call) = pool.queue.call_in(&self.shared.notifier) {
                call.make(&self.shared.notifier);
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("epoll", &self.shared.epoll).finish_non_exhaustive()
    }
}

impl Shared {
    /// How long to sleep: until the first timer or `end`, whichever comes first.
    fn time_to_sleep(&self, end: Option<u64>) -> Option<Duration> {
        let timer = self.sleep_until();
        if timer == NEVER && end.is_none() {
            return None;
        }
        let real = self.clock.real();
        // Two clocks, if a test has moved one of them.
        let (timer, end) = (timer.saturating_sub(self.clock.shown(real)), end.unwrap_or(NEVER).saturating_sub(real));
        Some(Duration::from_nanos(timer.min(end)))
    }

    /// Whether nothing is left to do but to wait. An embedded reactor is always notified of something.
    fn is_quiet(&self, notified: bool) -> bool {
        !self.notifier.has_work() && (!notified || self.notifier.is_embedded())
    }

    /// Moves a clock that stands; see [`test_clock`](crate::test_clock). Returns what it shows then.
    fn step_clock(&self, real: u64, wakers: &mut Vec<Waker>) -> u64 {
        #[cfg(feature = "test-util")]
        self.move_clock(wakers);
        #[cfg(not(feature = "test-util"))]
        let _ = wakers;
        self.clock.begin_turn(real)
    }
}
