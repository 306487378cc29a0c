//! How a future becomes a task.
//!
//! A spawner refers to a [set](super::set) of tasks, and puts a driver for the set into the pool. Users hold a spawner
//! to spawn from the pool's thread; the set tells what happens to the future after that. Other threads use a
//! [`RemoteSpawner`].

use super::remote::RemoteSpawner;
use super::set::TaskSet;
use futures::future::{FutureExt, RemoteHandle};
use futures::task::{FutureObj, LocalFutureObj, LocalSpawn, Spawn, SpawnError};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// Spawns tasks into a [`LocalPool`] that a [`Reactor`](crate::Reactor) drives; from
/// [`Reactor::spawner`](crate::Reactor::spawner).
///
/// A spawner implements [`Spawn`] and [`LocalSpawn`], so `SpawnExt` and `LocalSpawnExt` work with it, including
/// `spawn_with_handle`. A spawner stays on its thread (`!Send`), since the tasks do; clone it freely. Other threads
/// spawn through [`remote`](Self::remote).
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
    /// `SpawnError` if the pool has been dropped; `future` is dropped then. Where an `io::Error` is wanted:
    /// `.map_err(io::Error::other)`.
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
