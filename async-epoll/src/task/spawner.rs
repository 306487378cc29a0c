//! How a future becomes a task.
//!
//! A spawner refers to a [set](super::set) of tasks, for which it puts a driver into the pool. It is what users hold to
//! spawn from the pool's thread; what happens to the future after that is told in the set. Other threads use a
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
/// It implements [`Spawn`] and [`LocalSpawn`], so `SpawnExt` and `LocalSpawnExt` work with it, `spawn_with_handle` too.
/// A spawner stays on its thread; clone it freely. Other threads spawn through [`remote`](Self::remote).
///
/// # How it works
///
/// The tasks are polled by one future of ours in the pool, from a queue of our own and with wakers of our own. Those
/// end the reactor's sleep, so a wake from another thread (a channel, a `futures_timer::Delay`) arrives at once. Tasks
/// are counted, so `run` knows when to return. It is bounded how often a task that wakes itself is polled before the
/// reactor looks for events. And panics are caught, so that one bad connection does not end a server.
///
/// Tasks spawned with the pool's own spawner have none of that: they are polled, but `run` does not wait for them, a wake
/// from another thread waits for the next event, and an endless self-waker starves everything.
///
/// Plain [`LocalPool::run`](futures::executor::LocalPool::run) would wait for ever: it asks neither the kernel nor the clock, and tasks that were put off
/// to the next turn are polled only after the reactor has had its turn. Use [`Reactor::run`](crate::Reactor::run), or
/// move the reactor to a thread of its own with [`Reactor::into_background`](crate::Reactor::into_background).
///
/// # Panics in tasks
///
/// A panic in a task's poll or drop ends that task alone. It is counted in [`Stats`](crate::Stats) and its payload goes
/// to [`ReactorBuilder::on_task_panic`](crate::ReactorBuilder::on_task_panic). Futures spawned by `spawn_with_handle` are an
/// exception made by futures-rs: their panic travels to whoever awaits the handle, and is swallowed if the handle was
/// forgotten.
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
    /// The tasks of the pool.
    tasks: Rc<TaskSet>,
}

impl Spawner {
    /// Returns a spawner into `tasks`.
    pub(crate) const fn new(tasks: Rc<TaskSet>) -> Self {
        Self { tasks }
    }

    /// Spawns a task, in two allocations: the future, and what its wakers refer to.
    ///
    /// The method of the same name of `LocalSpawnExt` does so, too. But it hides the place of the call, so that a
    /// [deadlock report](crate::Reactor::run) names one inside futures-rs.
    ///
    /// It is polled for the first time when the pool runs next (or, if the turn has no polls left to give, after the
    /// reactor has looked for events), before the reactor sleeps.
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

    /// Spawns a task, and returns a handle that is ready with its output.
    ///
    /// As `spawn_local_with_handle` of `LocalSpawnExt`, but the task is known by the place of this call. Dropping the
    /// handle drops the task's future, unless it is [forgotten](RemoteHandle::forget).
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

    /// A spawner for other threads. As many as you like; they all lead to this pool.
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
        // It stays as long as there are remote spawners, and learns of the end of the pool.
        self.tasks.ensure_driver();
        remote
    }

    /// Tasks of this reactor that were spawned and have neither finished nor been dropped, those of its other spawners
    /// and pools included.
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
