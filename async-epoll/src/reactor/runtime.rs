//! A reactor and a pool in one, for programs that need no access to the pool.
//!
//! [`LocalRuntime`] is the convenient form of [`run`](super::run): it owns the `LocalPool` that the `run` methods need,
//! and cannot be run with a wrong pool. [`block_on`] is a runtime for a single future.

use super::reactor::{Reactor, refuse_nesting};
use crate::engine::handle::Handle;
use crate::engine::timer::Timer;
use crate::task::spawner::Spawner;
use crate::task::yield_now::yield_now;
use futures::executor::LocalPool;
use futures::future::{Either, select};
use std::future::Future;
use std::io;
use std::time::Duration;

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
        self.reactor.run_set_until(&mut self.pool, Some(self.spawner.tasks()), future)
    }

    /// Runs until `future` is ready, whose output is a `Result`. The errors of [`run_until`](Self::run_until) become errors
    /// of the future, so that one `?` is enough.
    ///
    /// # Errors
    ///
    /// Those of `future`, and those of [`Reactor::run_until`].
    ///
    /// # Panics
    ///
    /// If `future` panics.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let number: u16 = runtime.try_run_until(async { "80".parse().map_err(std::io::Error::other) })?;
    /// assert_eq!(number, 80);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_run_until<F, T, E>(&mut self, future: F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: From<io::Error>,
    {
        self.run_until(future)?
    }

    /// Runs until the last task has finished, but at most for `duration`. Returns how many tasks are left; they stay in the
    /// runtime. Each ready task is polled at least once, also if `duration` is zero.
    ///
    /// # Errors
    ///
    /// The errors of [`Reactor::run_until`]. A deadlock is not reported: its tasks are left.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::time::Duration;
    ///
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// runtime.spawner().spawn(async { println!("a task that ends") })?;
    /// assert_eq!(runtime.run_for(Duration::from_secs(10))?, 0); // Returns at once.
    /// runtime.spawner().spawn(std::future::pending())?;
    /// assert_eq!(runtime.run_for(Duration::from_millis(5))?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn run_for(&mut self, duration: Duration) -> io::Result<usize> {
        let (idle, timer) = (self.spawner.idle(), Timer::after(duration, &self.handle()));
        let end = async {
            // A timer that is due must not keep the tasks from their first poll.
            yield_now().await;
            match select(idle, timer).await {
                Either::Left(_) => Ok(()),
                Either::Right((elapsed, _)) => elapsed,
            }
        };
        self.try_run_until(end)?;
        Ok(self.spawner.tasks().len())
    }

    /// Runs until the last task has finished. See [`Reactor::run`].
    ///
    /// # Errors
    ///
    /// The errors of [`Reactor::run`].
    pub fn run(&mut self) -> io::Result<()> {
        self.reactor.run_set(&mut self.pool, Some(self.spawner.tasks()))
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
/// Sockets, timers, [`Handle::current`] and [`spawn_local`](crate::spawn_local) work inside. Tasks that are left when
/// `future` is ready are dropped; to run them to their end, use a [`LocalRuntime`].
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

/// Runs one future on this thread, as [`block_on`] does, whose output is a `Result`. The errors of `block_on` become errors
/// of the future, so that one `?` is enough.
///
/// # Errors
///
/// Those of `future`, and those of [`block_on`].
///
/// # Panics
///
/// If `future` panics.
///
/// # Examples
///
/// ```
/// fn main() -> std::io::Result<()> {
///     async_epoll::try_block_on(async {
///         let handle = async_epoll::Handle::current()?;
///         async_epoll::Timer::after(std::time::Duration::from_millis(1), &handle).await
///     })
/// }
/// ```
pub fn try_block_on<F, T, E>(future: F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: From<io::Error>,
{
    block_on(future)?
}
