//! Where hyper's own tasks run: in the reactor's pool.

use async_epoll::Spawner;
use futures::FutureExt;
use hyper::rt::Executor;
use std::future::Future;

/// Spawns hyper's tasks by a [`Spawner`]: they need not be `Send`, and nor do services and bodies.
///
/// hyper spawns a task for each request of an HTTP/2 server, and some for each HTTP/2 client. HTTP/1 spawns nothing.
///
/// What a task returns is thrown away, so a connection itself can be one. The tasks count as those of the pool:
/// [`Reactor::run`](async_epoll::Reactor::run) waits for them, and a panic ends one of them alone.
///
/// # When the pool is gone
///
/// hyper has no way to hear of a task that cannot be spawned. Its future is dropped then, and takes along what it held:
/// the stream of its request, which is reset, or the client's connection, whose requests fail. The connections of a
/// pool are usually tasks of that pool, so this is met only by a connection that outlives it elsewhere.
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
    spawner: Spawner,
}

impl HyperExecutor {
    /// Spawns by `spawner`.
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
        // If the pool is gone, the future has been dropped; see above.
        let _ = self.spawner.spawn_local(future.map(drop));
    }
}
