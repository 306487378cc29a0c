//! Reactor and pool in one, for those who need no say in how they are put together.

use super::reactor::{Reactor, refuse_nesting};
use crate::engine::handle::Handle;
use crate::task::spawner::Spawner;
use futures::executor::LocalPool;
use std::future::Future;
use std::io;

/// A [`LocalPool`] with a [`Reactor`] beside it, on this thread.
///
/// With other settings than the usual ones, make it from a reactor:
/// `LocalRuntime::from(Reactor::builder().on_task_panic(…).build()?)`.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// runtime.spawner().spawn_local(async { println!("a task") }).unwrap();
/// assert_eq!(runtime.run_until(async { 6 * 7 })?, 42); // Until this one is ready, which is at once.
/// runtime.run()?; // Until the last task has finished.
/// # Ok(())
/// # }
/// ```
///
/// [`LocalPool`]: https://docs.rs/futures/0.3/futures/executor/struct.LocalPool.html
#[derive(Debug)]
pub struct LocalRuntime {
    /// Before the reactor, so that tasks dropped with the pool find it alive.
    pool: LocalPool,
    /// Into the pool.
    spawner: Spawner,
    /// The waiting half.
    reactor: Reactor,
}

impl LocalRuntime {
    /// Makes a pool and a reactor with the usual settings.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::new`].
    pub fn new() -> io::Result<Self> {
        Reactor::new().map(Self::from)
    }

    /// The reactor's handle.
    pub fn handle(&self) -> Handle {
        self.reactor.handle()
    }

    /// Spawns tasks into this runtime.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Runs until `future` is ready. See [`Reactor::run_until`].
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::run_until`].
    ///
    /// # Panics
    ///
    /// If `future` panics.
    pub fn run_until<F: Future>(&mut self, future: F) -> io::Result<F::Output> {
        self.reactor.run_until(&mut self.pool, future)
    }

    /// Runs until the last task has finished. See [`Reactor::run`].
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::run`].
    pub fn run(&mut self) -> io::Result<()> {
        self.reactor.run(&mut self.pool)
    }
}

impl From<Reactor> for LocalRuntime {
    /// A pool of its own for a reactor that was set up by [`Reactor::builder`].
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{LocalRuntime, Reactor};
    ///
    /// let mut runtime = LocalRuntime::from(Reactor::builder().poll_budget(16).build()?);
    /// assert_eq!(runtime.run_until(async { 1 + 1 })?, 2);
    /// # Ok(())
    /// # }
    /// ```
    fn from(reactor: Reactor) -> Self {
        let pool = LocalPool::new();
        Self { spawner: reactor.spawner(&pool), pool, reactor }
    }
}

/// Runs one future on this thread, with a reactor of its own.
///
/// Sockets, timers and [`Handle::current`] work inside; to spawn further tasks, use a [`LocalRuntime`].
///
/// # Errors
///
/// Those of [`Reactor::new`] and [`Reactor::run_until`]; in particular it fails inside a task of another executor.
///
/// # Panics
///
/// If `future` panics.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{Handle, Timer};
/// use std::time::Duration;
///
/// async_epoll::block_on(async {
///     Timer::after(Duration::from_millis(1), &Handle::current()?).await
/// })?
/// # }
/// ```
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    drop(refuse_nesting("async_epoll::block_on")?);
    LocalRuntime::new()?.run_until(future)
}
