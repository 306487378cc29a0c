//! How a future becomes a task.
//!
//! A spawner refers to a [set](super::set) of tasks, and puts a driver for the set into the pool. Users hold a spawner
//! to spawn from the pool's thread; the set tells what happens to the future after that. Other threads use a
//! [`RemoteSpawner`].

use super::builder::TaskBuilder;
use super::current::{self, CurrentGuard};
use super::handle::TaskHandle;
use super::idle::Idle;
use super::remote::RemoteSpawner;
use super::set::TaskSet;
use crate::engine::handle::{EnterGuard, Handle};
use futures::future::{FutureExt, RemoteHandle};
use futures::task::{FutureObj, LocalFutureObj, LocalSpawn, Spawn, SpawnError};
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// Spawns tasks into a [`LocalPool`] that a [`Reactor`](crate::Reactor) drives; from
/// [`Reactor::spawner`](crate::Reactor::spawner).
///
/// A spawner implements [`Spawn`] and [`LocalSpawn`], so `SpawnExt` and `LocalSpawnExt` work with it, including
/// `spawn_with_handle`. A spawner stays on its thread (`!Send`), since the tasks do; clone it freely. Other threads
/// spawn through [`remote`](Self::remote). In a task and in the future of a `run` method, the spawner need not be passed
/// on: it is the [current](Self::current) one.
///
/// | to spawn | returns | the task has |
/// |---|---|---|
/// | [`spawn`](Self::spawn), [`spawn_local`] | `io::Result<()>` | nothing beside its future |
/// | [`spawn_task`](Self::spawn_task) | a [`TaskHandle`]: await, abort; dropping it leaves the task running | a handle |
/// | [`task`](Self::task) | either of the two | a name |
/// | [`spawn_local_with_handle`](Self::spawn_local_with_handle) | the `RemoteHandle` of futures-rs, whose drop cancels | |
/// | `LocalSpawnExt` and `SpawnExt` of futures-rs | `Result<_, SpawnError>` | |
///
/// # How it works
///
/// The pool polls one future of ours, the *driver*. The driver polls the tasks, from a queue of our own and with wakers
/// of our own:
///
/// - A wake ends the reactor's sleep, so a wake from another thread (a channel, a `futures_timer::Delay`) arrives at
///   once.
/// - The tasks are counted, so `run` knows when to return.
/// - The number of polls of a task that wakes itself is bounded, until the reactor has looked for events.
/// - Panics are caught, so that one bad connection does not end a server.
///
/// Tasks spawned with the pool's own spawner have none of this: they are polled, but `run` does not wait for them, a
/// wake from another thread waits for the next event, and a task that wakes itself without end starves all others.
/// Spawn them through this type instead.
///
/// Plain [`LocalPool::run`](futures::executor::LocalPool::run) would wait for ever: it asks neither the kernel nor the
/// clock, and tasks that were put off to the next turn are polled only after the reactor has had its turn. Use
/// [`Reactor::run`](crate::Reactor::run), or move the reactor to a thread of its own with
/// [`Reactor::into_background`](crate::Reactor::into_background). With the feature `tracing`, a pool whose tasks wait
/// before the reactor is first run is reported at level `DEBUG`, and at level `WARN` if its tasks are polled again a second
/// later.
///
/// # Panics in tasks
///
/// A panic in a task's poll or drop ends that task alone. The panic is counted in [`Stats`](crate::Stats), and its
/// payload goes to [`ReactorBuilder::on_task_panic`](crate::ReactorBuilder::on_task_panic). Futures spawned by
/// `spawn_with_handle` are an exception made by futures-rs: their panic goes on in the task that awaits the handle, and
/// is swallowed if the handle was forgotten.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use futures::task::LocalSpawnExt;
///
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// let spawner = runtime.spawner();
/// let sum = spawner.spawn_local_with_handle(async { 1 + 1 }).unwrap();
/// assert_eq!(runtime.run_until(sum)?, 2);
/// # Ok(())
/// # }
/// ```
///
/// [`LocalPool`]: https://docs.rs/futures/0.3/futures/executor/struct.LocalPool.html
/// [`Spawn`]: https://docs.rs/futures/0.3/futures/task/trait.Spawn.html
/// [`LocalSpawn`]: https://docs.rs/futures/0.3/futures/task/trait.LocalSpawn.html
#[derive(Clone)]
pub struct Spawner {
    /// The tasks of this spawner and its clones.
    tasks: Rc<TaskSet>,
}

impl Spawner {
    /// Returns a spawner into `tasks`.
    pub(crate) const fn new(tasks: Rc<TaskSet>) -> Self {
        Self { tasks }
    }

    /// Returns the current spawner: the spawner of the task, `run` method or [`SpawnerGuard`] in which this is called.
    ///
    /// In the future of [`run_until`](crate::Reactor::run_until), this is the first spawner that was made for the pool, or a
    /// new one. A task that was spawned in [`block_on`](crate::block_on) is dropped when `block_on` returns.
    ///
    /// # Errors
    ///
    /// `NotConnected`, with a message that says what to do, if no spawner is current: also on the thread of a
    /// [background reactor](crate::Background), which runs no tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{LocalRuntime, Spawner};
    ///
    /// assert_eq!(Spawner::current().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    /// LocalRuntime::new()?.try_run_until(async {
    ///     let answer = Spawner::current()?.spawn_task(async { 6 * 7 })?;
    ///     assert_eq!(answer.await?, 42);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn current() -> io::Result<Self> {
        let tasks = current::task_set().and_then(|set| set.downcast::<TaskSet>().ok());
        tasks.map(Self::new).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotConnected,
                "no spawner on this thread: call this inside a task spawned through Reactor::spawner, in the future of \
                 run_until or async_epoll::block_on, or while the guard of Spawner::enter lives; or pass a Spawner, and \
                 to another thread the RemoteSpawner of Spawner::remote",
            )
        })
    }

    /// Makes this spawner and its reactor the current ones on this thread, until the guard is dropped.
    ///
    /// Guards nest: each restores what was current before it. Drop them in reverse order. A guard that is made inside a task,
    /// or in the future of a `run` method, has no effect beyond the poll in which it was made: do not keep it across an
    /// `await`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{LocalRuntime, spawn_local};
    ///
    /// let mut runtime = LocalRuntime::new()?;
    /// let guard = runtime.spawner().enter();
    /// spawn_local(async { println!("spawned before the runtime is run") })?;
    /// drop(guard);
    /// assert!(spawn_local(async {}).is_err());
    /// runtime.run()
    /// # }
    /// ```
    pub fn enter(&self) -> SpawnerGuard {
        SpawnerGuard {
            _spawner: current::enter_guard(&self.tasks),
            _reactor: Handle::enter_shared(&self.tasks.turn.shared),
        }
    }

    /// Spawns a task, as [`spawn_local`](Self::spawn_local) does, with an error that `?` takes in most programs.
    ///
    /// `SpawnExt` of futures-rs has a method of the same name, which demands a future that is `Send` and returns a
    /// `SpawnError`; on a `Spawner`, this method comes first.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the pool has been dropped; `future` is dropped then.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// runtime.spawner().spawn(async { println!("hello") })?;
    /// runtime.run()
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> io::Result<()> {
        self.spawn_local(future).map_err(TaskSet::pool_dropped)
    }

    /// Spawns a task, and returns a handle by which the task can be awaited, aborted and asked.
    ///
    /// Dropping the handle leaves the task running, unless the handle was made to
    /// [abort on drop](TaskHandle::abort_on_drop). No allocation is made for the handle.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the pool has been dropped; `future` is dropped then.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::LocalRuntime;
    /// use std::future::pending;
    ///
    /// let mut runtime = LocalRuntime::new()?;
    /// let spawner = runtime.spawner();
    /// let (sum, endless) = (spawner.spawn_task(async { 1 + 1 })?, spawner.spawn_task(pending::<()>())?);
    /// runtime.try_run_until(async {
    ///     assert_eq!(sum.await?, 2);
    ///     endless.abort();
    ///     assert!(endless.await.unwrap_err().is_aborted());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_task<F>(&self, future: F) -> io::Result<TaskHandle<F::Output>>
    where
        F: Future<Output: 'static> + 'static,
    {
        self.task().spawn_task(future)
    }

    /// Returns a builder of a task with a name.
    ///
    /// The name appears in the [deadlock report](crate::Reactor::run), in the messages of a [`TaskError`](crate::TaskError),
    /// in the `Debug` form of handles, in the task's span (feature `tracing`) and in `Handle::tasks` (feature `inspect`).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// runtime.spawner().task().name("reader").spawn(std::future::pending())?;
    /// let error = runtime.run().unwrap_err();
    /// assert!(error.to_string().contains("reader"), "a deadlock, with the name of the task: {error}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn task(&self) -> TaskBuilder {
        TaskBuilder::new(Rc::clone(&self.tasks))
    }

    /// Waits until no task of this spawner and its clones is left, including tasks that other threads have spawned.
    ///
    /// Await this in the future of a `run` method, or in a task of another spawner. A task of this spawner would wait for its
    /// own end, which [`run`](crate::Reactor::run) reports as a deadlock. For a limit: `idle().timeout(…)` of
    /// async-timeout, or [`LocalRuntime::run_for`](crate::LocalRuntime::run_for). Ready at once in a forked child, which runs
    /// none of its parent's tasks.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{LocalRuntime, spawn_local};
    ///
    /// let mut runtime = LocalRuntime::new()?;
    /// let spawner = runtime.spawner();
    /// runtime.try_run_until(async {
    ///     spawn_local(async { println!("a task") })?;
    ///     spawner.idle().await;
    ///     assert_eq!(spawner.live_tasks(), 0);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn idle(&self) -> Idle {
        Idle::new(Rc::clone(&self.tasks))
    }

    /// Returns the tasks.
    pub(crate) const fn tasks(&self) -> &Rc<TaskSet> {
        &self.tasks
    }

    /// Spawns a task, in two allocations: the future, and what its wakers refer to.
    ///
    /// The method of the same name of `LocalSpawnExt` does so, too, but hides the place of the call: a [deadlock
    /// report](crate::Reactor::run) then names a place inside futures-rs.
    ///
    /// The task is polled for the first time when the pool runs next (or, if the turn has no polls left to give, after
    /// the reactor has looked for events), before the reactor sleeps.
    ///
    /// # Errors
    ///
    /// `SpawnError` if the pool has been dropped; `future` is dropped then. [`spawn`](Self::spawn) returns an `io::Error`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// runtime.spawner().spawn_local(async { println!("hello") }).unwrap();
    /// runtime.run()?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_local(&self, future: impl Future<Output = ()> + 'static) -> Result<(), SpawnError> {
        self.tasks.spawn(LocalFutureObj::new(Box::new(future)), Location::caller())
    }

    /// Spawns a task, and returns a handle that is ready with the output of `future`.
    ///
    /// Does what `spawn_local_with_handle` of `LocalSpawnExt` does, but records the place of this call. Dropping the
    /// handle drops the task's future, unless the handle is [forgotten](RemoteHandle::forget).
    ///
    /// # Errors
    ///
    /// As [`spawn_local`](Self::spawn_local).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let sum = runtime.spawner().spawn_local_with_handle(async { 1 + 1 }).unwrap();
    /// assert_eq!(runtime.run_until(sum)?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_local_with_handle<F>(&self, future: F) -> Result<RemoteHandle<F::Output>, SpawnError>
    where
        F: Future + 'static,
    {
        let (task, handle) = future.remote_handle();
        self.spawn_local(task)?;
        Ok(handle)
    }

    /// Returns a spawner for other threads. There may be any number of them, all for this pool.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let remote = runtime.spawner().remote();
    /// std::thread::spawn(move || remote.spawn_with(|| async { println!("asked for elsewhere") })).join().unwrap()?;
    /// runtime.run()
    /// # }
    /// ```
    pub fn remote(&self) -> RemoteSpawner {
        let remote = RemoteSpawner::new(Arc::clone(&self.tasks.pool));
        // The driver stays in the pool while remote spawners exist, and notices when the pool is dropped.
        self.tasks.ensure_driver();
        remote
    }

    /// Returns the number of tasks of this reactor that were spawned and have neither finished nor been dropped,
    /// including the tasks of its other spawners and pools.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let spawner = runtime.spawner();
    /// spawner.spawn_local(async {}).unwrap();
    /// assert_eq!(spawner.live_tasks(), 1);
    /// runtime.run()?;
    /// assert_eq!(spawner.live_tasks(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn live_tasks(&self) -> usize {
        self.tasks.turn.shared.live_tasks()
    }
}

impl Spawn for Spawner {
    #[track_caller]
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.tasks.spawn(future.into(), Location::caller())
    }

    fn status(&self) -> Result<(), SpawnError> {
        self.tasks.status()
    }
}

impl LocalSpawn for Spawner {
    #[track_caller]
    fn spawn_local_obj(&self, future: LocalFutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.tasks.spawn(future, Location::caller())
    }

    fn status_local(&self) -> Result<(), SpawnError> {
        self.tasks.status()
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").field("live_tasks", &self.live_tasks()).finish_non_exhaustive()
    }
}

/// Keeps a spawner and its reactor current; from [`Spawner::enter`].
///
/// A guard is `!Send`, because dropping it restores thread-locals of its thread.
#[must_use = "the spawner is current only while the guard lives"]
pub struct SpawnerGuard {
    /// Keeps the spawner current.
    _spawner: CurrentGuard,
    /// Keeps the reactor current.
    _reactor: EnterGuard,
}

impl fmt::Debug for SpawnerGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnerGuard").finish_non_exhaustive()
    }
}

/// Spawns a task through the [current](Spawner::current) spawner.
///
/// # Errors
///
/// `NotConnected` if no spawner is current, with a message that says what to do, and if the pool has been dropped. `future`
/// is dropped then.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{LocalRuntime, spawn_local};
///
/// fn serve(number: u32) -> std::io::Result<()> {
///     // No spawner was passed on.
///     spawn_local(async move { println!("served {number}") })
/// }
///
/// let mut runtime = LocalRuntime::new()?;
/// runtime.try_run_until(async { (0..3).try_for_each(serve) })?;
/// runtime.run()
/// # }
/// ```
#[track_caller]
pub fn spawn_local(future: impl Future<Output = ()> + 'static) -> io::Result<()> {
    Spawner::current()?.spawn(future)
}
