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
//! The six steps of a turn bear the same numbers here, in the [engine](crate::engine::engine) and in the
//! [reactor](super::reactor). Four things are added to the two calls of a hand-written loop: `run` knows when it is done;
//! `run_until` polls a future of the caller beside the tasks; both find out [which tasks](super::pools) are in the pool;
//! and `run` reports a [certain deadlock](super::deadlock).

use super::deadlock;
use super::pools::Members;
use super::reactor::{Reactor, refuse_nesting};
use crate::budget;
use crate::engine::handle::Handle;
use crate::engine::shared::Shared;
use crate::task::set::TaskSet;
use crate::wake::scheduled::ScheduledFlag;
use futures::executor::LocalPool;
use futures::task::{ArcWake, waker_ref};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

impl Reactor {
    /// Runs `pool` and waits until every task that was spawned into it through [`spawner`](Self::spawner) has finished or
    /// been dropped.
    ///
    /// Tasks that were spawned with the pool's own spawner are polled, but not waited for.
    ///
    /// # Errors
    ///
    /// - Those of [`wait`](Self::wait). All tasks are still in the pool, and `run` may be called again.
    /// - `InvalidInput` if this `pool` has no task, while a pool of another spawner of this reactor has one; and if the pool
    ///   has tasks of another reactor, unless that reactor is in the background.
    /// - [`Deadlock`](io::ErrorKind::Deadlock) if it is certain that the tasks will never end: there is no source and no
    ///   timer, no [`RemoteSpawner`](crate::RemoteSpawner), and nobody has a waker of any task. The message names the
    ///   places where the tasks were spawned; they are still there. Not every deadlock is found: two tasks that wait for
    ///   each other through a channel have wakers in there, and a timer that never fires may still be reset. To drive a reactor for other threads alone, `run_until` a
    ///   future that never ends.
    ///
    /// # Panics
    ///
    /// Not through a panicking task: that is [reported](crate::ReactorBuilder::on_task_panic), and the others go on. A task
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
        let shared = Arc::clone(&self.engine.shared);
        shared.forget_stray_drivers();
        // 2. The tasks, for the first time.
        let members = self.pools.first_run(pool);
        members.refuse_wrong_pool(|set| !set.is_empty())?;
        loop {
            refuse_stray_drivers(&shared)?;
            if members.are_done() {
                return Ok(());
            }
            // 3 to 6. Sleep, dispatch, wake, new budget.
            self.guarded_turn("Reactor::run", Some(&|| deadlock::refuse(&shared, &members)))?;
            // 2. The tasks, until none can go on or the budget is spent.
            pool.run_until_stalled();
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
        let shared = Arc::clone(&self.engine.shared);
        shared.forget_stray_drivers();
        let mut main = MainFuture { future: pin!(future), waker: MainWaker::new(&shared) };
        let mut members: Option<Members> = None;
        loop {
            // 1. The main future, if it was woken.
            if let Poll::Ready(output) = main.poll()? {
                return Ok(output);
            }
            // 2. The tasks, until none can go on or the budget is spent.
            if members.is_none() {
                members.insert(self.pools.first_run(pool)).refuse_wrong_pool(TaskSet::is_ready)?;
            } else {
                pool.run_until_stalled();
            }
            refuse_stray_drivers(&shared)?;
            // 3 to 6. Sleep, dispatch, wake, new budget. No sleep if the main future is to be polled.
            self.guarded_turn("Reactor::run_until", None)?;
        }
    }

    /// Makes a turn of a `run` method. A waker that is woken in the turn must not run an executor either.
    fn guarded_turn(&mut self, caller: &str, watch: Option<&dyn Fn() -> io::Result<()>>) -> io::Result<usize> {
        let _enter = refuse_nesting(caller)?;
        self.turn(None, watch)
    }
}

/// What wakes the future of `run_until`.
struct MainWaker {
    /// Whether the future is to be polled.
    scheduled: ScheduledFlag,
    /// Kept awake while it is.
    shared: Arc<Shared>,
}

impl MainWaker {
    /// Of a future that is to be polled.
    fn new(shared: &Arc<Shared>) -> Arc<Self> {
        shared.notifier.busy();
        Arc::new(Self { scheduled: ScheduledFlag::scheduled(), shared: Arc::clone(shared) })
    }
}

impl ArcWake for MainWaker {
    fn wake_by_ref(this: &Arc<Self>) {
        if this.scheduled.schedule() && this.shared.notifier.busy() {
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
        if !self.waker.scheduled.begin_poll() {
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
        if self.waker.scheduled.finish() {
            self.waker.shared.notifier.idle();
        }
    }
}

/// Fails if the pool has polled tasks of another reactor, which this loop does not run.
fn refuse_stray_drivers(shared: &Shared) -> io::Result<()> {
    if shared.has_stray_driver() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the pool has tasks of another reactor, which would wait in vain: run it by that one, whose \
             Reactor::spawner has spawned them, or move that one to a thread of its own by into_background",
        ));
    }
    Ok(())
}
