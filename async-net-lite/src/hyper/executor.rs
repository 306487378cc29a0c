//! The executor for hyper's own tasks: the pool of a reactor.

use async_epoll::Spawner;
use futures::FutureExt;
use hyper::rt::Executor;
use std::future::Future;

/// Spawns hyper's tasks by a [`Spawner`]. The tasks need not be `Send`, so services and bodies need not be, either.
///
/// hyper spawns a task for each request of an HTTP/2 server, and a few tasks for each HTTP/2 client. HTTP/1 spawns
/// none.
///
/// The output of a task is discarded, so a connection itself can be such a task. The tasks belong to the pool:
/// [`Reactor::run`](async_epoll::Reactor::run) waits for them, and a panic ends only its own task.
///
/// # When the pool is gone
///
/// hyper has no way to report a task that cannot be spawned. Its future is then dropped with everything in it: the
/// stream of its request, which is reset, or the connection of the client, which fails its requests. The connections of
/// a pool are usually tasks of that pool, so this happens only to a connection that is polled elsewhere and outlives
/// the pool.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use async_net_lite::HyperExecutor;
/// use hyper::rt::Executor;
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// let executor = HyperExecutor::new(runtime.spawner());
/// let done = Rc::new(Cell::new(false));
/// let task = Rc::clone(&done);
/// executor.execute(async move { task.set(true) });
/// runtime.run()?;
/// assert!(done.get());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HyperExecutor {
    /// Spawns the tasks into the pool.
    spawner: Spawner,
}

impl HyperExecutor {
    /// Returns an executor that spawns by `spawner`.
    pub fn new(spawner: Spawner) -> Self {
        Self { spawner }
    }
}

impl From<Spawner> for HyperExecutor {
    fn from(spawner: Spawner) -> Self {
        Self::new(spawner)
    }
}

impl<F: Future + 'static> Executor<F> for HyperExecutor {
    #[track_caller]
    fn execute(&self, future: F) {
        // If the pool is gone, `spawn_local` drops the future; see `HyperExecutor`.
        let _ = self.spawner.spawn_local(future.map(drop));
    }
}
