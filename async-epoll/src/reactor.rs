//! The reactor: it waits for the kernel, for timers and for other threads, and wakes tasks.
//!
//! One call of [`Reactor::wait`] is one *turn*. Its numbered steps in [`Reactor::turn`] are the heart of this crate;
//! everything else serves them. The rule that shapes it: wakers run foreign code, so they are collected under the locks
//! and woken after the locks are released, each guarded, so that one that panics does not lose the others.
//!
//! Deliberately not here: polling tasks. The pool does that, between two turns; see [`run`](crate::run).

use crate::handle::Handle;
use crate::loop_state::{LoopState, PanicHook};
use crate::shared::Shared;
use crate::sys::epoll_event;
use crate::task::Spawner;
use crate::trace;
use futures::executor::{self, LocalPool};
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Events taken from the kernel in one turn, unless the builder says otherwise.
const EVENTS_CAPACITY: usize = 1024;
/// Re-polls and first polls of new tasks in one turn, unless the builder says otherwise.
const POLL_BUDGET: u32 = 256;

/// Wakers for which memory is kept between turns.
const SPARE_WAKERS: usize = 1024;

/// Waits for descriptors, timers and other threads, and wakes the tasks concerned.
///
/// It belongs beside a [`LocalPool`]: the pool polls tasks until none can go on, then the reactor puts the thread to
/// sleep until something happens. [`run`](Self::run) and [`run_until`](Self::run_until) are that loop; it may also be
/// written by hand:
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// # let mut pool = futures::executor::LocalPool::new();
/// # let mut reactor = async_epoll::Reactor::new()?;
/// loop {
///     pool.run_until_stalled();
///     reactor.wait(None)?;
/// }
/// # }
/// ```
///
/// Tasks must be spawned through [`spawner`](Self::spawner), not through the pool's own: the pool's wakers cannot end
/// an `epoll_wait`. See [`Spawner`].
///
/// A reactor stays on its thread (`!Send`): it holds the tasks that are put off to the next turn. Its [`Handle`] goes
/// anywhere.
///
/// # How it works
///
/// One epoll instance, in which each source is registered once, edge-triggered, for as long as it lives; one eventfd,
/// through which other threads end a sleep; one wheel of timers, whose next deadline is the timeout of the wait.
///
/// Dropping the reactor wakes everything that waits on it; those operations and all later ones fail with
/// `NotConnected`.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{Handle, Reactor, Timer};
/// use futures::executor::LocalPool;
/// use std::time::Duration;
///
/// let mut reactor = Reactor::new()?;
/// let mut pool = LocalPool::new();
/// let spawner = reactor.spawner(&pool);
/// spawner.spawn_local(async {
///     let timer = Timer::after(Duration::from_millis(5), &Handle::current().unwrap());
///     timer.await.unwrap();
/// }).unwrap();
/// reactor.run(&mut pool)?; // Returns when the last task has finished.
/// assert_eq!(spawner.live_tasks(), 0);
/// # Ok(())
/// # }
/// ```
pub struct Reactor {
    /// What handles, sources and timers refer to.
    pub(crate) shared: Arc<Shared>,
    /// What the tasks on this thread share with the loop.
    pub(crate) state: Rc<LoopState>,
    /// Where the kernel puts events.
    events: Box<[epoll_event]>,
    /// The wakers of one turn, kept for its memory.
    wakers: Vec<Waker>,
}

/// Sets up a [`Reactor`]; from [`Reactor::builder`].
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let reactor = async_epoll::Reactor::builder()
///     .events_capacity(64)
///     .poll_budget(16)
///     .on_task_panic(|panic| eprintln!("a task panicked: {:?}", panic.downcast_ref::<&str>()))
///     .build()?;
/// # drop(reactor);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    events_capacity: usize,
    poll_budget: u32,
    on_task_panic: Option<PanicHook>,
}

impl Builder {
    /// How many events one turn takes from the kernel at most; 1024 unless set, at least 1. More stay queued for the
    /// next turn, none is lost.
    pub fn events_capacity(mut self, events: usize) -> Self {
        // `epoll_wait` takes an `int`, and a dozen bytes are allocated for each.
        self.events_capacity = events.clamp(1, 1 << 20);
        self
    }

    /// How many polls one turn may spend on tasks that wake themselves and on tasks that were spawned in the turn; 256
    /// unless set, at least 1.
    ///
    /// The first poll in a turn of each task that was there when it began is free. Beyond the budget, tasks are put
    /// off until the reactor has looked for events once.
    pub fn poll_budget(mut self, polls: u32) -> Self {
        self.poll_budget = polls.max(1);
        self
    }

    /// What to do with the payload when a task panics, in poll or in drop, or a waker does; nothing unless set, beyond
    /// counting it in [`Stats`](crate::Stats). The standard panic hook has printed the message by then.
    ///
    /// The task is over, everything else goes on. A panic of `hook` itself is caught and dropped.
    pub fn on_task_panic(mut self, hook: impl Fn(Box<dyn Any + Send>) + 'static) -> Self {
        self.on_task_panic = Some(Box::new(hook));
        self
    }

    /// Makes the reactor.
    ///
    /// # Errors
    ///
    /// Those of `epoll_create1(2)` and `eventfd(2)`: no descriptors left, or no memory.
    pub fn build(self) -> io::Result<Reactor> {
        let shared = Arc::new(Shared::new()?);
        let state = Rc::new(LoopState::new(Arc::clone(&shared), self.poll_budget, self.on_task_panic));
        let no_event = epoll_event { events: 0, u64: 0 };
        Ok(Reactor {
            shared,
            state,
            events: vec![no_event; self.events_capacity].into_boxed_slice(),
            wakers: Vec::new(),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("events_capacity", &self.events_capacity)
            .field("poll_budget", &self.poll_budget)
            .finish_non_exhaustive()
    }
}

impl Reactor {
    /// Makes a reactor with the usual settings.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Settings for a reactor.
    pub fn builder() -> Builder {
        Builder { events_capacity: EVENTS_CAPACITY, poll_budget: POLL_BUDGET, on_task_panic: None }
    }

    /// A reference for sources, timers and other threads.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Spawns into `pool`, in such a way that this reactor and that pool know of each other.
    ///
    /// Drive each reactor with the pool whose spawner it gave: the pool passed to [`run`](Self::run) must be the same, and
    /// it must be this reactor's `run`. In a hand-written loop with the wrong pool, [`wait`](Self::wait) returns at once,
    /// again and again, since tasks are ready and nobody polls them.
    pub fn spawner(&self, pool: &LocalPool) -> Spawner {
        Spawner::new(pool, Rc::clone(&self.state))
    }

    /// When the first timer is due, for loops that do the waiting themselves; `None` if no timer is armed.
    ///
    /// No timer is due before it, and a [`wait`](Self::wait) then finds out when the next one is. It is the exact deadline
    /// of the first timer unless more than 32 timers lie close together: then it may be up to a millisecond later, or,
    /// while they are still far off, earlier.
    pub fn next_deadline(&self) -> Option<Instant> {
        let next = self.shared.timers().next();
        self.shared.clock.to_instant(next)
    }

    /// One turn: sleeps until an event, a due timer, a wake, a [`notify`](Handle::notify), an earlier timer that another
    /// thread sets, or the end of `timeout` (`None`: no end), and wakes the tasks concerned. Returns the number of events of descriptors.
    ///
    /// It does not sleep while a task spawned through [`Spawner`] is ready to be polled, so the hand-written loop
    /// cannot miss one. It ends early for those reasons only: a signal does not end it, nor does an event of a source
    /// that has gone. With no task, no source and no timer, `wait(None)` sleeps until somebody notifies.
    ///
    /// # Errors
    ///
    /// - Those of `epoll_wait(2)` other than `EINTR`; the reactor may be used on.
    /// - An error if it is called inside a task (nothing else could run on this thread while it slept), or in a forked
    ///   child of the process that made the reactor.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let _enter = refuse_nesting("Reactor::wait")?;
        self.turn(timeout)
    }

    /// [`wait`](Self::wait), without the check for nesting.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        self.shared.refuse_child()?;
        let shared = &*self.shared;
        shared.counters.turns.add(1);
        let may_sleep = timeout != Some(Duration::ZERO);
        let end = timeout.filter(|_| may_sleep).map(|t| shared.clock.now().saturating_add(crate::clock::nanos(t)));
        let found = loop {
            // 1. Go to sleep, unless a task is ready or somebody has notified. From here on a wake ends the sleep.
            let asleep = may_sleep && shared.notifier.try_sleep();
            // 2. Only now look at the timers: one that is set later finds us asleep and ends the sleep.
            let sleep = if asleep { self.time_to_sleep(end) } else { Some(Duration::ZERO) };
            if asleep {
                shared.counters.sleeps.add(1);
                trace::sleep(sleep);
            }
            // 3. Wait. A signal is no news: go round and sleep for what remains.
            let events = match shared.epoll.wait(&mut self.events, sleep) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => {
                    if shared.notifier.awake() {
                        // Not used up by a wait that has failed.
                        shared.notifier.notify();
                    }
                    return Err(error);
                }
                Ok(events) => events,
            };
            let notified = shared.notifier.awake();
            // 4. Under the lock of each: take the wakers of the sources that have events and of the timers due.
            let now = shared.clock.begin_turn();
            let mut log = trace::Log::new();
            let found = match events {
                0 => 0,
                _ => shared.registry().dispatch(&self.events[..events], &mut self.wakers, &mut log),
            };
            log.tell();
            if asleep && notified {
                trace::notified();
            }
            let fired = {
                let mut timers = shared.timers();
                let fired = timers.fire(now, &mut self.wakers);
                if fired != 0 && events == 0 {
                    timers.note_wake(now);
                }
                fired
            };
            shared.counters.events.add(found);
            shared.counters.timers_fired.add(fired);
            trace::timers(fired);
            // 5. Without a reason to return, sleep on: the event was for a source that has gone, say.
            let timed_out = end.is_some_and(|end| now >= end);
            if !asleep || notified || timed_out || found + fired != 0 {
                break found;
            }
        };
        // 6. The locks are released: wake.
        self.wake_all();
        // 7. The tasks that were put off may go on, with a new budget.
        self.state.begin_turn();
        Ok(found)
    }

    /// How long to sleep: until the first timer or `end`, whichever comes first.
    fn time_to_sleep(&self, end: Option<u64>) -> Option<Duration> {
        let timer = self.shared.timers().sleep_until();
        let until = end.map_or(timer, |end| end.min(timer));
        if until == crate::clock::NEVER {
            return None;
        }
        Some(Duration::from_nanos(until.saturating_sub(self.shared.clock.now())))
    }

    /// Wakes the collected wakers. One that panics is reported, and the rest are woken all the same.
    fn wake_all(&mut self) {
        self.shared.counters.wakes.add(self.wakers.len());
        trace::wake(self.wakers.len());
        wake_all(&mut self.wakers, |panic| {
            self.shared.counters.waker_panics.add(1);
            self.state.report(panic);
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

/// Marks the thread as busy with an executor, as every executor of futures does; fails inside another one.
pub(crate) fn refuse_nesting(what: &str) -> io::Result<executor::Enter> {
    executor::enter().map_err(|_| {
        io::Error::other(format!(
            "{what} was called inside a task: it would block the executor that runs the task; \
             spawn a task and await it instead"
        ))
    })
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.wakers.extend(self.shared.close());
        self.wake_all();
        // Tasks that were put off belong to the pool, which may go on without us.
        self.state.close();
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("epoll", &self.shared.epoll).finish_non_exhaustive()
    }
}
