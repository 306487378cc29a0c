//! Spawning from other threads.
//!
//! A [`RemoteSpawner`] leaves an [arrival](super::arrival) in the queue of a pool, which calls the driver and ends the
//! reactor's sleep. It is the only way to spawn that is `Send`: a [`Spawner`](super::spawner::Spawner) stays on its thread.

use super::arrival::Arrival;
use super::waker::PoolQueue;
use crate::engine::shared::gone;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::sync::Arc;

/// Spawns tasks onto a reactor's thread from any other thread; from [`Spawner::remote`](crate::Spawner::remote).
///
/// The task's future need not be `Send`: a closure travels, and makes the future on the reactor's thread.
///
/// # How it works
///
/// The closure is put into the pool's queue, and the reactor's sleep ends. The task counts as live from the call of
/// [`spawn_with`](Self::spawn_with), so [`Reactor::run`](crate::Reactor::run) waits for it. A `RemoteSpawner` alone
/// does not keep `run` from returning: a task that is spawned after that is run by the next `run`. While a
/// `RemoteSpawner` into the pool exists, `run` makes no [deadlock report](crate::Reactor::run), since a task that could
/// wake the others may still come.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// let remote = runtime.spawner().remote();
/// let spawned = std::thread::spawn(move || {
///     remote.spawn_with(|| {
///         let local = Rc::new(Cell::new(0)); // Made over there, so it may stay over there.
///         async move { local.set(1) }
///     })
/// });
/// spawned.join().unwrap()?;
/// runtime.run()?; // Returns when the task has finished.
/// # Ok(())
/// # }
/// ```
pub struct RemoteSpawner {
    /// The queue into which the closures go.
    pool: Arc<PoolQueue>,
}

impl RemoteSpawner {
    /// Returns a spawner into the queue of `pool`.
    pub(crate) fn new(pool: Arc<PoolQueue>) -> Self {
        pool.remote_begins();
        Self { pool }
    }

    /// Spawns a task: calls `make` on the reactor's thread, and runs the future there.
    ///
    /// `Ok` means that the task counts as live. A panic of `make` is reported like a panic of the task. If the pool is
    /// dropped first, `make` is dropped on the pool's thread. In `make` and in the task,
    /// [`Handle::current`](crate::Handle::current) is the reactor's handle.
    ///
    /// # Errors
    ///
    /// - `NotConnected` if the reactor or its pool has been dropped.
    /// - An error in a forked child of the process that made the reactor: no thread of the child runs it.
    ///
    /// `make` is dropped then.
    #[track_caller]
    pub fn spawn_with<F, Fut>(&self, make: F) -> io::Result<()>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.pool.shared.refuse_child()?;
        if self.pool.shared.is_gone() {
            return Err(gone());
        }
        self.pool.arrive(Arrival::new(make, Location::caller())).map_err(|arrival| {
            drop(arrival);
            io::Error::new(io::ErrorKind::NotConnected, "the pool of this spawner has been dropped")
        })
    }
}

impl Clone for RemoteSpawner {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.pool))
    }
}

impl Drop for RemoteSpawner {
    fn drop(&mut self) {
        self.pool.remote_ends();
    }
}

impl fmt::Debug for RemoteSpawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSpawner").finish_non_exhaustive()
    }
}
