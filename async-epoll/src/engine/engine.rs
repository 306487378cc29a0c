//! The half of the reactor that waits and wakes.
//!
//! One pass of the loop is a *turn*, in six steps with the same numbers in every file:
//!
//! ```text
//!   1. poll the main future, if it was woken        reactor/run.rs     (run_until only)
//!   2. run the pool until it stalls                 reactor/run.rs     (or the user's own loop)
//!   3. sleep: until an event, a timer, or a wake    Engine::turn
//!   4. dispatch the events, fire the due timers     Engine::turn       under the locks
//!   5. wake the tasks concerned                     Engine::turn       with no lock held
//!   6. give the tasks a new budget of polls         reactor/reactor.rs
//! ```
//!
//! Steps 4 and 5 are apart because no waker is woken under a lock (see [`io::registry`](crate::io::registry)): the
//! wakers are collected under the locks and woken after the locks are released, each guarded, so that a waker that
//! panics does not keep the others from being woken.
//!
//! The engine knows nothing of tasks. So it may run on the tasks' thread, between two runs of the pool, or on a [thread
//! of its own](crate::Background).

use super::shared::Shared;
use super::standstill::Standstill;
use super::watch::Watch;
use crate::foreign::{drop_payload, wake_all};
use crate::io::registry::{TIMERFD_TOKEN, is_own_token};
use crate::order::Order;
use crate::sys::epoll_event;
use crate::time::nanos::{NEVER, nanos};
use crate::trace;
use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// Wakers for which memory is kept between turns.
const SPARE_WAKERS: usize = 1024;

/// The sleep between two looks at whether the tasks have run, while a test waits for the clock to move.
const CLOCK_CHECK: Duration = Duration::from_millis(1);

/// Waits for events and timers, and wakes tasks. Owned by the one thread that waits.
pub(crate) struct Engine {
    /// The half that handles, sources and timers refer to.
    pub(crate) shared: Arc<Shared>,
    /// Where `epoll_wait(2)` puts events. The length is the largest number of events in one turn.
    events: Box<[epoll_event]>,
    /// The wakers of one turn, collected in step 4 and emptied in step 5. Kept for its memory.
    wakers: Vec<Waker>,
    /// The order in which events are dispatched. Set by the builder.
    order: Order,
}

impl Engine {
    /// Returns an engine that takes at most `events_capacity` events from the kernel in a turn, and dispatches them in
    /// `order`.
    pub(crate) fn new(shared: Arc<Shared>, events_capacity: usize, order: Order) -> Self {
        let no_event = epoll_event { events: 0, u64: 0 };
        Self { shared, events: vec![no_event; events_capacity].into_boxed_slice(), wakers: Vec::new(), order }
    }

    /// Does steps 3 to 5 of a turn: sleeps until something happens, and wakes the tasks concerned. Returns the number of
    /// events that reached a source.
    ///
    /// `watch` knows the tasks, and may refuse a sleep without end by an error. The payload of a waker's panic goes to
    /// `on_panic`.
    pub(crate) fn turn(
        &mut self,
        timeout: Option<Duration>,
        watch: Option<&dyn Watch>,
        on_panic: impl Fn(Box<dyn Any + Send>),
    ) -> io::Result<usize> {
        let found = self.wait(timeout, watch);
        if found.is_ok() {
            // 5. The locks are released: wake.
            self.wake_all(on_panic);
        }
        self.doze();
        found
    }

    /// Does steps 3 and 4, until there is a reason to return.
    fn wait(&mut self, timeout: Option<Duration>, watch: Option<&dyn Watch>) -> io::Result<usize> {
        let shared = &*self.shared;
        shared.refuse_child()?;
        shared.counters.turns.add(1);
        let may_sleep = timeout != Some(Duration::ZERO);
        let end = timeout.filter(|_| may_sleep).map(|t| shared.clock.real().saturating_add(nanos(t)));
        // An embedded reactor counts as asleep between two turns, so a notification may have come before this one.
        let mut notified = self.is_embedded() && shared.notifier.awake();
        #[allow(unused_mut, reason = "has a state with the feature test-util only")]
        let mut standstill = Standstill::new();
        loop {
            // 3a. Go to sleep, unless a task is ready or a notification has come. From here on a wake ends the sleep.
            let asleep = may_sleep && !notified && shared.notifier.try_sleep();
            // 3b. Only now look at the timers: a timer that another thread arms later finds the engine asleep, and ends
            //     the sleep.
            let moving = shared.clock.is_moving();
            let sleep = match (asleep, moving) {
                (true, false) => standstill.limit(shared, shared.time_to_sleep(end)),
                // The clock moves once the tasks have run. Another thread runs them: look again a little later.
                (true, true) if shared.notifier.has_work() => Some(CLOCK_CHECK),
                _ => Some(Duration::ZERO),
            };
            if asleep {
                if let (None, Some(watch)) = (sleep, watch) {
                    watch.refuse_endless_sleep().inspect_err(|_| self.abandon_sleep())?;
                }
                shared.counters.sleeps.add(1);
                trace::sleep(sleep);
            }
            // 3c. Wait. EINTR is not an event: loop, and sleep for the rest of the timeout.
            let events = match shared.epoll.wait(&mut self.events, sleep) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => {
                    self.abandon_sleep();
                    return Err(error);
                }
                Ok(events) => events,
            };
            notified |= shared.notifier.awake();
            // 4a. Take the wakers of the sources that have events, under the registry's lock. The eventfd and the timerfd
            //     are no sources: a wake from another thread takes no lock.
            let real = shared.clock.real();
            let mut now = shared.clock.begin_turn(real);
            let mut log = trace::Log::new();
            let events = &mut self.events[..events];
            let (events, timerfd_fired) =
                if notified || shared.has_timerfd() { without_own(events) } else { (events, false) };
            self.order.shuffle(events);
            let found = match events {
                [] => 0,
                events => shared.registry().dispatch(events, &mut self.wakers, &mut log),
            };
            log.emit();
            if asleep && notified {
                trace::notified();
            }
            // A test's clock moves when there is nothing else to do.
            if moving && found == 0 && shared.is_quiet(notified) {
                now = shared.step_clock(real, &mut self.wakers);
            } else if asleep && !notified && found == 0 && shared.clock.is_stopped() {
                now = standstill.end(shared, real, watch)?;
            }
            let arrived = !self.wakers.is_empty();
            // 4b. Take the wakers of the due timers, under the wheel's lock.
            let fired = {
                let mut wheel = shared.wheel();
                if timerfd_fired {
                    shared.invalidate_timerfd(&wheel);
                }
                let fired = wheel.fire(now, &mut self.wakers);
                if fired != 0 && found == 0 && !notified {
                    wheel.note_wake(now);
                }
                fired
            };
            shared.counters.events.add(found);
            shared.counters.timers_fired.add(fired);
            trace::timers(fired);
            // Without a reason to return, sleep on: the event was for a source that is gone, for example.
            let timed_out = end.is_some_and(|end| real >= end);
            if !asleep || notified || timed_out || found + fired != 0 || arrived {
                return Ok(found);
            }
        }
    }

    /// Returns whether another loop watches the descriptor between two turns. A thread of the engine's own always waits.
    fn is_embedded(&self) -> bool {
        self.shared.notifier.is_embedded() && !self.shared.notifier.is_detached()
    }

    /// Gives up a sleep. A notification is not used up by a wait that has failed.
    fn abandon_sleep(&self) {
        if self.shared.notifier.awake() {
            self.shared.notifier.notify();
        }
    }

    /// Prepares the time between two turns of an embedded reactor: makes its descriptor readable as soon as there is
    /// something to do.
    fn doze(&self) {
        if self.is_embedded() && self.shared.refuse_child().is_ok() {
            self.shared.wake_time();
            self.shared.notifier.doze();
            if self.shared.clock.is_moving() {
                self.shared.notifier.notify();
            }
        }
    }

    /// Wakes the collected wakers. A waker that panics is counted and reported, and the rest are woken all the same.
    fn wake_all(&mut self, on_panic: impl Fn(Box<dyn Any + Send>)) {
        self.shared.counters.wakes.add(self.wakers.len());
        trace::wake(self.wakers.len());
        wake_all(&mut self.wakers, |panic| {
            self.shared.counters.waker_panics.increment();
            on_panic(panic);
        });
        // The memory for ten thousand timers at one instant is not kept for ever.
        self.wakers.shrink_to(SPARE_WAKERS);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.wakers.extend(self.shared.close());
        self.wake_all(drop_payload);
        self.shared.tell_pools();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("epoll", &self.shared.epoll).finish_non_exhaustive()
    }
}

/// Returns the events of sources, without the events of the eventfd and the timerfd; and whether the timerfd has an
/// event.
fn without_own(events: &mut [epoll_event]) -> (&mut [epoll_event], bool) {
    let (mut index, mut len, mut timerfd_fired) = (0, events.len(), false);
    while index < len {
        let token = events[index].u64;
        if is_own_token(token) {
            timerfd_fired |= token == TIMERFD_TOKEN;
            len -= 1;
            events.swap(index, len);
        } else {
            index += 1;
        }
    }
    (&mut events[..len], timerfd_fired)
}

impl Shared {
    /// Returns how long to sleep: until the first timer or `end`, whichever comes first; `None` for a sleep without end.
    fn time_to_sleep(&self, end: Option<u64>) -> Option<Duration> {
        let timer = self.wake_time();
        if timer == NEVER && end.is_none() {
            return None;
        }
        let real = self.clock.real();
        // A timer counts by what the clock shows, `end` by the real time. They differ if a test has moved the clock.
        let (timer, end) = (timer.saturating_sub(self.clock.shown(real)), end.unwrap_or(NEVER).saturating_sub(real));
        Some(Duration::from_nanos(timer.min(end)))
    }

    /// Returns whether nothing is left to do but to wait. An embedded reactor counts as notified in every turn.
    fn is_quiet(&self, notified: bool) -> bool {
        !self.notifier.has_work() && (!notified || self.notifier.is_embedded())
    }

    /// Moves a stopped clock on behalf of a test (see `TestClock`). Returns what the clock shows then.
    fn step_clock(&self, real: u64, wakers: &mut Vec<Waker>) -> u64 {
        #[cfg(feature = "test-util")]
        {
            let next = self.wheel().exact_next();
            self.clock.step(next, wakers);
        }
        #[cfg(not(feature = "test-util"))]
        let _ = wakers;
        self.clock.begin_turn(real)
    }
}
