//! The loop: the pool polls, the reactor waits, and so on.
//!
//! The [front page](crate#the-loop) of the crate shows the loop. Its six steps have the same numbers here, in the
//! [engine](crate::engine::engine) and in the [reactor](super::reactor). Compared with the two calls of a hand-written
//! loop, five things are new:
//!
//! - `run` returns when all tasks have ended.
//! - `run_until` polls a future of the caller beside the tasks.
//! - Both make a spawner into the pool the [current](crate::task::current) one.
//! - Both find out, once, [which tasks](super::pools) are in the pool.
//! - `run` reports a [certain deadlock](super::deadlock).

use super::deadlock;
use super::pools::{CurrentPool, Members};
use super::reactor::{Reactor, refuse_nesting};
use crate::budget;
use crate::engine::handle::Handle;
use crate::engine::shared::Shared;
#[cfg(feature = "test-util")]
use crate::engine::watch::Census;
use crate::engine::watch::Watch;
use crate::task::set::TaskSet;
use crate::wake::scheduled::ScheduledFlag;
use futures::executor::LocalPool;
use futures::task::{ArcWake, waker_ref};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

impl Reactor {
    /// Runs `pool` and waits, until every task that was spawned into `pool` through [`spawner`](Self::spawner) has
    /// finished or been dropped.
    ///
    /// Tasks that were spawned with the pool's own spawner are polled, but not waited for: they stay in the pool. Spawn
    /// them through [`spawner`](Self::spawner) instead. With the feature `tracing`, leaving a task that waits for a source
    /// or a timer is reported at level `WARN`.
    ///
    /// At its beginning, `run` finds out which spawners of this reactor belong to `pool`. It does so once, and exactly.
    /// Tasks of the other spawners, in other pools, are ignored while `run` runs: they are not polled, they do not keep
    /// the reactor awake, and `run` does not wait for them. (To find out, a future is put into each pool. A pool that is not
    /// run keeps it, so the next [`LocalPool::try_run_one`] of that pool may complete this future instead of a task.)
    ///
    /// # Errors
    ///
    /// - The errors of [`wait`](Self::wait). All tasks are still in the pool, and `run` may be called again.
    /// - `InvalidInput` if `pool` has no task of this reactor, while another pool has one.
    /// - `InvalidInput` if `pool` has tasks of another reactor, unless the other reactor is in the background.
    /// - [`Deadlock`](io::ErrorKind::Deadlock) if certainly no task can ever be woken: there is no source, no timer, no
    ///   [`RemoteSpawner`](crate::RemoteSpawner) into `pool`, and no waker of a task anywhere. The message names the places where
    ///   the tasks were spawned; the tasks are still in the pool. Not every deadlock is found: two tasks that wait for
    ///   each other through a channel have wakers in the channel, and a timer that never fires may still be reset. To
    ///   drive a reactor for other threads alone, call `run_until` with a future that never ends.
    /// - With the feature `test-util`, `Deadlock` also if the tasks wait for timers, and the clock is paused and has stood for a
    ///   second of real time: see `TestClock`.
    ///
    /// # Panics
    ///
    /// If a task panics that was spawned with the pool's own spawner. The panic of any other task is
    /// [reported](crate::ReactorBuilder::on_task_panic), and the remaining tasks go on.
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
    /// A task that can never be woken is an error, not a sleep without end:
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use async_epoll::Reactor;
    /// # use futures::executor::LocalPool;
    /// let (mut reactor, mut pool) = (Reactor::new()?, LocalPool::new());
    /// reactor.spawner(&pool).spawn_local(std::future::pending()).unwrap();
    /// let error = reactor.run(&mut pool).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::Deadlock);
    /// assert!(error.to_string().contains(file!()), "the message names the place: {error}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(&mut self, pool: &mut LocalPool) -> io::Result<()> {
        self.run_set(pool, None)
    }

    /// Does what [`run`](Self::run) does. The spawner of `set` is the current one, if it is known to be in `pool`.
    pub(crate) fn run_set(&mut self, pool: &mut LocalPool, set: Option<&Rc<TaskSet>>) -> io::Result<()> {
        drop(refuse_nesting("Reactor::run")?);
        // A forked child has a copy of every task, and must not poll them: they read from the parent's sockets.
        self.engine.shared.refuse_child()?;
        let _current = self.handle().enter();
        let shared = Arc::clone(&self.engine.shared);
        let _run = shared.runner.begin();
        // 2. Poll the tasks, and find out which sets are in the pool.
        let spawner = self.pools.enter(pool, set, &self.turn);
        let mut members = self.pools.first_run(pool);
        spawner.settle(&mut members);
        members.refuse_wrong_pool(|set| !set.is_empty())?;
        loop {
            refuse_stray_drivers(&shared)?;
            if members.are_done() {
                shared.runner.note_end_of_run(|| shared.has_waiters());
                return Ok(());
            }
            // 3 to 6. Sleep, dispatch, wake, give a new budget.
            self.guarded_turn(
                "Reactor::run",
                &RunWatch { shared: &shared, spawner: &spawner, members: &members, main: None },
            )?;
            // 2. Poll the tasks, until no task is ready or the budget is spent.
            pool.run_until_stalled();
        }
    }

    /// Runs `pool` and waits, until `future` is ready. Returns the output of `future`.
    ///
    /// `future` is polled in place, not spawned, so it need not be `'static`. Tasks that have not finished when
    /// `future` is ready stay in the pool, for a later `run` or `run_until`.
    ///
    /// # Errors
    ///
    /// `future` is dropped in case of an error.
    ///
    /// - The errors of [`wait`](Self::wait).
    /// - `InvalidInput` if `pool` has no task of this reactor, while another pool has one that has never been polled, nor
    ///   any other task of its spawner. As with [`run`](Self::run), tasks in other pools are ignored otherwise.
    /// - `InvalidInput` if `pool` has tasks of another reactor, unless the other reactor is in the background.
    ///
    /// A deadlock is not reported. (With the feature `test-util`, a paused clock on which timers wait in vain is reported as
    /// by [`run`](Self::run).)
    ///
    /// # Panics
    ///
    /// If `future` panics; the pool and the reactor stay usable then. Also if a task of the pool's own spawner panics, as
    /// in [`run`](Self::run).
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
        self.run_set_until(pool, None, future)
    }

    /// Does what [`run_until`](Self::run_until) does, for a future whose output is a `Result`. The errors of `run_until`
    /// become errors of the future, so that one `?` is enough.
    ///
    /// # Errors
    ///
    /// Those of `future`, and those of [`run_until`](Self::run_until).
    ///
    /// # Panics
    ///
    /// As [`run_until`](Self::run_until).
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
    /// reactor.try_run_until(&mut pool, timer)
    /// # }
    /// ```
    pub fn try_run_until<F, T, E>(&mut self, pool: &mut LocalPool, future: F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: From<io::Error>,
    {
        self.run_until(pool, future)?
    }

    /// Does what [`run_until`](Self::run_until) does. The spawner of `set` is the current one, if it is known to be in
    /// `pool`.
    pub(crate) fn run_set_until<F: Future>(
        &mut self,
        pool: &mut LocalPool,
        set: Option<&Rc<TaskSet>>,
        future: F,
    ) -> io::Result<F::Output> {
        drop(refuse_nesting("Reactor::run_until")?);
        let _current = self.handle().enter();
        let shared = Arc::clone(&self.engine.shared);
        let mut main = MainFuture { future: pin!(future), waker: MainWaker::new(&shared) };
        // After the future, and so dropped before it: the future's destructor may run another pool by an executor of futures-rs.
        let _run = shared.runner.begin();
        let spawner = self.pools.enter(pool, set, &self.turn);
        let mut members: Option<Members> = None;
        loop {
            // 1. Poll the main future, if it was woken.
            if let Poll::Ready(output) = main.poll()? {
                return Ok(output);
            }
            // Before the tasks are polled: the future may have forked, and this may be the child.
            shared.refuse_child()?;
            // 2. Poll the tasks, until no task is ready or the budget is spent.
            let members = match &mut members {
                Some(members) => {
                    pool.run_until_stalled();
                    members
                }
                None => {
                    let members = members.insert(self.pools.first_run(pool));
                    spawner.settle(members);
                    members.refuse_wrong_pool(TaskSet::waits_for_its_first_run)?;
                    members
                }
            };
            refuse_stray_drivers(&shared)?;
            // 3 to 6. Sleep, dispatch, wake, give a new budget. No sleep if the main future was woken.
            let watch = RunWatch { shared: &shared, spawner: &spawner, members, main: Some(&main.waker) };
            self.guarded_turn("Reactor::run_until", &watch)?;
        }
    }

    /// Makes a turn of a `run` method. The thread is marked as busy meanwhile, so that no waker can run an executor.
    fn guarded_turn(&mut self, caller: &str, watch: &RunWatch<'_>) -> io::Result<usize> {
        let _enter = refuse_nesting(caller)?;
        self.turn(None, Some(watch))
    }
}

/// What a `run` method knows of its tasks.
struct RunWatch<'a> {
    /// The reactor.
    shared: &'a Shared,
    /// The current spawner.
    #[cfg_attr(not(feature = "test-util"), allow(dead_code, reason = "asked for the census only"))]
    spawner: &'a CurrentPool,
    /// The tasks in the given pool.
    members: &'a Members,
    /// The waker of the main future, in `run_until`.
    main: Option<&'a Arc<MainWaker>>,
}

impl Watch for RunWatch<'_> {
    fn refuse_endless_sleep(&self) -> io::Result<()> {
        // `run_until` may run the reactor for other threads alone, with a future that never ends.
        if self.main.is_some() { Ok(()) } else { deadlock::refuse(self.shared, self.members) }
    }

    #[cfg(feature = "test-util")]
    fn count(&self, census: &mut Census) {
        self.main.iter().for_each(|waker| census.add_main(waker));
        self.members.here().iter().chain(self.spawner.late_set(self.members)).for_each(|set| set.count(census));
    }
}

/// The waker of the main future, the future of `run_until`.
struct MainWaker {
    /// Set by a wake, cleared before each poll.
    scheduled: ScheduledFlag,
    /// The reactor, which does not sleep while the flag is set.
    shared: Arc<Shared>,
}

impl MainWaker {
    /// Returns the waker of a future that is to be polled at once.
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

/// The main future, as `run_until` polls it.
struct MainFuture<'a, F> {
    /// The future, pinned on the stack of `run_until`.
    future: Pin<&'a mut F>,
    /// Holds the flag that the future was woken, and keeps the reactor from sleeping while the flag is set.
    waker: Arc<MainWaker>,
}

impl<F: Future> MainFuture<'_, F> {
    /// Polls the future if it was woken; otherwise returns `Pending`.
    fn poll(&mut self) -> io::Result<Poll<F::Output>> {
        if !self.waker.scheduled.begin_poll() {
            return Ok(Poll::Pending);
        }
        let shared = &self.waker.shared;
        shared.notifier.idle();
        shared.counters.polls.add(1);
        // As in every executor of futures: a `block_on` inside fails instead of hanging.
        let _enter = refuse_nesting("Reactor::run_until")?;
        let _budget = budget::begin_poll();
        let _current = Handle::enter_shared(shared);
        Ok(self.future.as_mut().poll(&mut Context::from_waker(&waker_ref(&self.waker))))
    }
}

impl<F> Drop for MainFuture<'_, F> {
    fn drop(&mut self) {
        // Ready, failed or panicked: the future no longer counts as work, and late wakes have no effect.
        if self.waker.scheduled.finish() {
            self.waker.shared.notifier.idle();
        }
        self.waker.shared.note_end(&self.waker);
    }
}

/// Fails if the pool has polled tasks of another reactor: this loop does not run the other reactor. Also if a task has
/// forked, in the child.
fn refuse_stray_drivers(shared: &Shared) -> io::Result<()> {
    if shared.runner.has_stray_driver() {
        shared.refuse_child()?;
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the pool has tasks of another reactor, which would wait in vain: run it by that one, whose \
             Reactor::spawner has spawned them, or move that one to a thread of its own by into_background",
        ));
    }
    Ok(())
}
