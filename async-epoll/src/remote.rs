//! Spawning from other threads.
//!
//! A future that is not `Send` cannot travel, but the closure that makes it can. So another thread leaves the closure in
//! the [queue](crate::queue), and the pool's thread builds the future and polls it.

use crate::shared::gone;
use crate::task_waker::PoolQueue;
use futures::task::LocalFutureObj;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::sync::Arc;

/// A closure that makes a task's future.
pub(crate) struct Arrival {
    /// The closure.
    make: Box<dyn FnOnce() -> LocalFutureObj<'static, ()> + Send>,
    /// Where the task was spawned.
    pub(crate) spawned_at: &'static Location<'static>,
}

impl Arrival {
    /// Makes the future, on the pool's thread.
    pub(crate) fn build(self) -> LocalFutureObj<'static, ()> {
        (self.make)()
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("spawned_at", &self.spawned_at).finish_non_exhaustive()
    }
}

/// Spawns tasks onto a reactor's thread from any other; from [`Spawner::remote`](crate::Spawner::remote).
///
/// The task's future need not be `Send`: a closure travels, and makes the future over there.
///
/// # How it works
///
/// The closure is put into the pool's queue, which ends the reactor's sleep. The task counts as live from the call of
/// [`spawn_with`](Self::spawn_with), so [`Reactor::run`](crate::Reactor::run) waits for it. A `RemoteSpawner` alone
/// does not keep `run` from returning: a task that is spawned after that is run by the next `run`. As long as there is
/// one, `run` makes no [deadlock report](crate::Reactor::run), since a task that could wake the others may still
/// come.
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
    /// Where the closures go.
    pool: Arc<PoolQueue>,
}

impl RemoteSpawner {
    /// Into the queue of `pool`.
    pub(crate) fn new(pool: Arc<PoolQueue>) -> Self {
        pool.remote_begins();
        Self { pool }
    }

    /// Has `make` called on the reactor's thread, and its future run there as a task.
    ///
    /// `Ok` means that the task counts as live. A panic of `make` is reported like one of the task. If the pool is
    /// dropped before, so is `make`, on the pool's thread. In `make` and in the task,
    /// [`Handle::current`](crate::Handle::current) is the reactor's.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor or its pool has been dropped; `make` is dropped then.
    #[track_caller]
    pub fn spawn_with<F, Fut>(&self, make: F) -> io::Result<()>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let PoolQueue { queue, shared, .. } = &*self.pool;
        if shared.is_gone() {
            return Err(gone());
        }
        let make = Box::new(|| LocalFutureObj::new(Box::new(make())));
        let arrival = Arrival { make, spawned_at: Location::caller() };
        // Counted before anybody can find it: the task may have ended before the next line.
        match queue.arrive(arrival, &shared.notifier, || shared.task_begins()) {
            Ok(call) => {
                if let Some(call) = call {
                    call.make(&shared.notifier);
                }
                Ok(())
            }
            Err(arrival) => {
                drop(arrival);
                Err(io::Error::new(io::ErrorKind::NotConnected, "the pool of this spawner has been dropped"))
            }
        }
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
