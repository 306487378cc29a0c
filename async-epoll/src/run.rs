//! The loop: the pool polls, the reactor waits, and so on.
//!
//! ```text
//!      ┌─────────────────────────── one thread ────────────────────────────┐
//!      │   run_until_stalled            nothing left to poll                │
//!      │  ┌───────────────┐ ─────────────────────────────► ┌─────────────┐  │
//!      │  │ LocalPool     │                                │ Reactor     │  │
//!      │  │ polls tasks   │ ◄───────────────────────────── │ epoll_wait  │  │
//!      │  └──────┬────────┘      wakes tasks by token      └──────▲──────┘  │
//!      │         │ WouldBlock: store the waker                    │         │
//!      │         └──────────────► registry ◄──────────────────────┘         │
//!      └────────────────────────────────────────────────────────────────────┘
//!                        other threads ── Notifier (eventfd) ──► epoll_wait
//! ```
//!
//! Four things are added to the two calls of the hand-written loop: `run` knows when it is done, `run_until` polls a
//! future of the caller's beside the tasks, and both notice when they would wait for ever: since tasks of the reactor
//! are in another pool than the one they were given, or since nothing is left that could wake anybody.

use crate::budget;
use crate::handle::Handle;
use crate::loop_state::{LoopState, Probe};
use crate::mark::Mark;
use crate::reactor::{Reactor, refuse_nesting};
use crate::shared::Shared;
use futures::executor::LocalPool;
use futures::task::{ArcWake, waker_ref};
use std::cell::Cell;
use std::fmt::Write;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::{Context, Poll};
use std::time::Duration;

/// Places of stuck tasks that a deadlock report names at most.
const PLACES: usize = 16;
/// Turns in a row that may find ready tasks and poll none before the pool is put to the test.
const IDLE_TURNS: u32 = 2;
/// Such turns, with a pause of a millisecond each, before the task is taken for lost: another thread may take that long
/// over a wake that it has begun. Counted in turns, not by the clock, since the whole process may have been stopped.
const PATIENCE: u32 = 1000;

impl Reactor {
    /// Runs `pool` and waits, until every task spawned through [`spawner`](Self::spawner) has finished or been dropped.
    ///
    /// Tasks that were spawned with the pool's own spawner are polled, but not waited for.
    ///
    /// # Errors
    ///
    /// - Those of [`wait`](Self::wait). All tasks are still in the pool, and `run` may be called again.
    /// - `InvalidInput`, after a second or so, if tasks are ready, but not in this `pool`: the reactor has spawners of
    ///   another one. And at once if the pool has tasks of another reactor, unless that one is in the background.
    /// - [`Deadlock`](io::ErrorKind::Deadlock) if it is certain that the tasks will never end: there is no source and no
    ///   timer, no [`RemoteSpawner`](crate::RemoteSpawner), and nobody has a waker of any task. The message names the
    ///   places where the tasks were spawned; they are still there. Not every deadlock is found: two tasks that wait for
    ///   each other through a channel have wakers in there, and a timer that never fires may still be reset. To drive a reactor for other threads alone, `run_until` a
    ///   future that never ends.
    ///
    /// # Panics
    ///
    /// Not through a panicking task: that is [reported](crate::Builder::on_task_panic), and the others go on. A task
    /// that was spawned with the pool's own spawner has no such protection.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Reactor;
    /// use futures::executor::LocalPool;
    ///
    /// let (mut reactor, mut pool) = (Reactor::new()?, LocalPool::new());
    /// let spawner = reactor.spawner(&pool);
    /// let child = spawner.clone();
    /// spawner.spawn_local(async move {
    ///     child.spawn_local(async { println!("the last one") }).unwrap();
    /// }).unwrap();
    /// reactor.run(&mut pool)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A task that nobody can wake is an error, not a sleep without end:
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use async_epoll::Reactor;
    /// # use futures::executor::LocalPool;
    /// let (mut reactor, mut pool) = (Reactor::new()?, LocalPool::new());
    /// reactor.spawner(&pool).spawn_local(std::future::pending()).unwrap();
    /// let error = reactor.run(&mut pool).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::Deadlock);
    /// assert!(error.to_string().contains(file!()), "it names the place: {error}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(&mut self, pool: &mut LocalPool) -> io::Result<()> {
        drop(refuse_nesting("Reactor::run")?);
        let _current = self.handle().enter();
        let _running = Running::begin(&self.engine.shared);
        let mut progress = Progress::new(self);
        loop {
            pool.run_until_stalled();
            refuse_strangers()?;
            if self.state.live_tasks() == 0 {
                return Ok(());
            }
            progress.check(self)?;
            let state = Rc::clone(&self.state);
            // What a waker does in there must not wait, either.
            let _enter = refuse_nesting("Reactor::run")?;
            self.turn(None, Some(&|| refuse_deadlock(&state)))?;
        }
    }

    /// Runs `pool` and waits, until `future` is ready, and returns its output.
    ///
    /// `future` need not be `'static`: it is polled in place, not spawned. Tasks that have not finished by then stay in
    /// the pool, for a further `run` or `run_until`.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), but a deadlock is not reported; `future` is dropped then.
    ///
    /// # Panics
    ///
    /// If `future` panics. The pool and the reactor may be used on.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Reactor, Timer};
    /// use futures::executor::LocalPool;
    /// use std::time::Duration;
    ///
    /// let (mut reactor, mut pool) = (Reactor::new()?, LocalPool::new());
    /// let timer = Timer::after(Duration::from_millis(1), &reactor.handle());
    /// let greeting = String::from("borrowed, not moved");
    /// let length = reactor.run_until(&mut pool, async {
    ///     timer.await?;
    ///     std::io::Result::Ok(greeting.len())
    /// })??;
    /// assert_eq!(length, 19);
    /// # Ok(())
    /// # }
    /// ```
    pub fn run_until<F: Future>(&mut self, pool: &mut LocalPool, future: F) -> io::Result<F::Output> {
        drop(refuse_nesting("Reactor::run_until")?);
        let _current = self.handle().enter();
        let _running = Running::begin(&self.engine.shared);
        let mut main = MainFuture { future: pin!(future), waker: MainWaker::new(&self.engine.shared) };
        let mut progress = Progress::new(self);
        loop {
            // 1. The main future, if it was woken.
            if let Poll::Ready(output) = main.poll()? {
                return Ok(output);
            }
            // 2. The tasks, until none can go on or the budget is spent.
            pool.run_until_stalled();
            refuse_strangers()?;
            progress.check(self)?;
            // 3. Events; no sleep if something is ready, the main future included.
            let _enter = refuse_nesting("Reactor::run_until")?;
            self.turn(None, None)?;
        }
    }
}

/// What wakes the future of `run_until`.
struct MainWaker {
    /// Whether the future is to be polled.
    mark: Mark,
    /// Kept awake while it is.
    shared: Arc<Shared>,
}

impl MainWaker {
    /// Of a future that is to be polled.
    fn new(shared: &Arc<Shared>) -> Arc<Self> {
        shared.notifier.busy();
        Arc::new(Self { mark: Mark::scheduled(), shared: Arc::clone(shared) })
    }
}

impl ArcWake for MainWaker {
    fn wake_by_ref(this: &Arc<Self>) {
        if this.mark.schedule() && this.shared.notifier.busy() {
            this.shared.notifier.end_sleep();
        }
    }
}

/// The future of `run_until`.
struct MainFuture<'a, F> {
    /// It stays where the caller's stack has it.
    future: Pin<&'a mut F>,
    /// Says whether the future was woken, and keeps the reactor from sleeping then.
    waker: Arc<MainWaker>,
}

impl<F: Future> MainFuture<'_, F> {
    /// Polls the future if it was woken.
    fn poll(&mut self) -> io::Result<Poll<F::Output>> {
        if !self.waker.mark.begin_poll() {
            return Ok(Poll::Pending);
        }
        let shared = &self.waker.shared;
        shared.notifier.idle();
        shared.counters.polls.add(1);
        // As in every executor of futures: a `block_on` inside is caught, not left to hang.
        let _enter = refuse_nesting("Reactor::run_until")?;
        let _budget = budget::begin_poll();
        let _current = Handle::enter_shared(shared);
        Ok(self.future.as_mut().poll(&mut Context::from_waker(&waker_ref(&self.waker))))
    }
}

impl<F> Drop for MainFuture<'_, F> {
    fn drop(&mut self) {
        // Ready, failed or panicked: it no longer counts, and late wakes do nothing.
        if self.waker.mark.finish() {
            self.waker.shared.notifier.idle();
        }
    }
}

/// Fails if it is certain that the tasks will never end: there is no source and no timer, no other thread can spawn, and
/// no task has a waker anywhere that could be called.
///
/// Sound, but not complete: two tasks that each wait for the other through a channel have wakers in there.
fn refuse_deadlock(state: &LoopState) -> io::Result<()> {
    // The timers have been looked at, or this would be no sleep without end.
    if state.shared.has_sources() || state.shared.timers().armed() != 0 {
        return Ok(());
    }
    let Some(mut places) = state.stuck() else { return Ok(()) };
    // A waker that was dropped just now may have been used before that.
    fence(Ordering::Acquire);
    if state.shared.notifier.has_work() || places.is_empty() {
        return Ok(());
    }
    places.sort_unstable();
    let mut message =
        String::from("deadlock: no source, no timer and no waker is left that could wake the remaining tasks,");
    for (index, place) in places.chunk_by(|one, other| one == other).take(PLACES).enumerate() {
        message += if index == 0 { " spawned at " } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(message, "{}", place[0]);
        if place.len() > 1 {
            let _ = write!(message, " ({} tasks)", place.len());
        }
    }
    Err(io::Error::new(io::ErrorKind::Deadlock, message))
}

thread_local! {
    /// Which reactor's `run` or `run_until` is running, by the address of its shared half; 0 for none.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
    /// Tasks of another reactor were polled meanwhile.
    static STRANGERS: Cell<bool> = const { Cell::new(false) };
}

/// Marks a `run` method as running.
struct Running;

impl Running {
    /// Of the reactor with this shared half.
    fn begin(shared: &Arc<Shared>) -> Self {
        STRANGERS.set(false);
        RUNNING.set(Arc::as_ptr(shared).addr());
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // They do not nest.
        RUNNING.set(0);
    }
}

/// Fails if the pool has polled tasks that wait for a reactor which nobody runs.
fn refuse_strangers() -> io::Result<()> {
    if STRANGERS.get() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the pool has tasks of another reactor, which would wait in vain: run it by that one, whose \
             Reactor::spawner has spawned them, or move that one to a thread of its own by into_background",
        ));
    }
    Ok(())
}

/// Tasks of the reactor with this shared half are about to be polled, and it is that one's business to wake them. Says
/// to the `run` of another, if that is what polls them.
#[inline]
pub(crate) fn note_poll(shared: &Arc<Shared>) {
    let running = RUNNING.get();
    if running != 0 && running != Arc::as_ptr(shared).addr() {
        STRANGERS.set(true);
    }
}

/// Notices that ready tasks are never polled, which means that they are in another pool.
///
/// A wake that another thread has counted, but not yet passed on to the pool, looks the same until that thread goes on.
/// Two things tell them apart. A probe is spawned into every pool that belongs to the reactor: if running *this* pool
/// runs them all, it is the right one. But a thread that stopped in the middle of the pool's own queue hides the probe
/// as well, so there is some patience, too.
struct Progress {
    /// Polls so far, when last looked at.
    polls: u64,
    /// Turns in a row with ready tasks and no poll.
    idle_turns: u32,
    /// The test, once it has begun.
    probe: Option<Probe>,
}

impl Progress {
    /// Before the first run of the pool.
    fn new(reactor: &Reactor) -> Self {
        Self { polls: reactor.polls_and_parks(), idle_turns: 0, probe: None }
    }

    /// To be called after each run of the pool.
    fn check(&mut self, reactor: &Reactor) -> io::Result<()> {
        let polls = reactor.polls_and_parks();
        if polls != self.polls || !reactor.engine.shared.notifier.has_work() {
            *self = Self { polls, idle_turns: 0, probe: None };
            return Ok(());
        }
        self.idle_turns = self.idle_turns.saturating_add(1);
        match &self.probe {
            None if self.idle_turns >= IDLE_TURNS => self.probe = Some(reactor.state.probe()),
            None => {}
            // The right pool, and a wake under way. Should it still not come, there will be another probe.
            Some(probe) if probe.all_ran() => (self.probe, self.idle_turns) = (None, 0),
            Some(_) if self.idle_turns < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
            Some(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "tasks of this reactor are ready, but not in the pool that was passed: \
                     pass the LocalPool that was given to Reactor::spawner",
                ));
            }
        }
        std::thread::yield_now();
        Ok(())
    }
}

impl Reactor {
    /// What grows whenever a task of this reactor is polled or put off.
    fn polls_and_parks(&self) -> u64 {
        self.engine.shared.counters.polls.get() + self.engine.shared.counters.parks.get()
    }
}
