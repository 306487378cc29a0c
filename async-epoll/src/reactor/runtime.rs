//! A reactor and a pool in one, for programs that need no access to the pool.
//!
//! [`LocalRuntime`] is the convenient form of [`run`](super::run): it owns the `LocalPool` that the `run` methods need,
//! and cannot be run with a wrong pool. [`block_on`] is a runtime for a single future.

use super::reactor::{Reactor, refuse_nesting};
use crate::engine::handle::Handle;
use crate::task::spawner::Spawner;
use futures::executor::LocalPool;
use std::future::Future;
use std::io;

/// A [`LocalPool`] with a [`Reactor`] beside it, on this thread.
///
/// For other settings than the defaults, make the runtime from a reactor:
/// `LocalRuntime::from(Reactor::builder().on_task_panic(…).build()?)`.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// runtime.spawner().spawn_local(async { println!("a task") }).unwrap();
/// assert_eq!(runtime.run_until(async { 6 * 7 })?, 42); // Until this future is ready, here at once.
/// runtime.run()?; // Until the last task has finished.
/// # Ok(())
/// # }
/// ```
///
/// [`LocalPool`]: https://docs.rs/futures/0.3/futures/executor/struct.LocalPool.html
#[derive(Debug)]
pub struct LocalRuntime {
    /// The pool. Declared before the reactor, so that the reactor still exists when the tasks are dropped with the
    /// pool.
    pool: LocalPool,
    /// The reactor's spawner into the pool.
    spawner: Spawner,
    /// The reactor.
    reactor: Reactor,
}

impl LocalRuntime {
    /// Makes a pool and a reactor with the default settings.
    ///
    /// # Errors
    ///
    /// The errors of [`Reactor::new`].
    pub fn new() -> io::Result<Self> {
        Reactor::new().map(Self::from)
    }

    /// Returns a handle to the reactor.
    pub fn handle(&self) -> Handle {
        self.reactor.handle()
    }

    /// Returns a spawner of tasks into this runtime.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Runs until `future` is ready. Returns the output of `future`. See [`Reactor::run_until`].
    ///
    /// # Errors
    ///
    /// The errors of [`Reactor::run_until`].
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
    /// The errors of [`Reactor::run`].
    pub fn run(&mut self) -> io::Result<()> {
        self.reactor.run(&mut self.pool)
    }
}

impl From<Reactor> for LocalRuntime {
    /// Makes a runtime of a reactor that was set up by [`Reactor::builder`], with a new pool.
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

/// Runs one future on this thread, with a new reactor. Returns the output of `future`.
///
/// Sockets, timers and [`Handle::current`] work inside. To spawn further tasks, use a [`LocalRuntime`].
///
/// # Errors
///
/// The errors of [`Reactor::new`] and [`Reactor::run_until`]. In particular, `block_on` fails inside a task of another
/// executor.
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
