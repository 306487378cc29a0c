//! What another thread leaves for the pool's thread to make a task of.
//!
//! A future that is not `Send` cannot move to another thread, but the closure that makes the future can. A
//! [`RemoteSpawner`](super::remote::RemoteSpawner) leaves the closure in the pool's [queue](crate::wake::queue), and
//! the driver builds the future and adopts it as a task.

use futures::task::LocalFutureObj;
use std::fmt;
use std::future::Future;
use std::panic::Location;

/// A closure that makes a task's future.
pub(crate) struct Arrival {
    /// The closure. Called once, on the pool's thread.
    make: Box<dyn FnOnce() -> LocalFutureObj<'static, ()> + Send>,
    /// The place of the call that spawned the task.
    pub(crate) spawned_at: &'static Location<'static>,
}

impl Arrival {
    /// Keeps `make` for the pool's thread.
    pub(crate) fn new<F, Fut>(make: F, spawned_at: &'static Location<'static>) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        Self { make: Box::new(|| LocalFutureObj::new(Box::new(make()))), spawned_at }
    }

    /// Makes the future, on the pool's thread. Runs user code.
    pub(crate) fn build(self) -> LocalFutureObj<'static, ()> {
        (self.make)()
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("spawned_at", &self.spawned_at).finish_non_exhaustive()
    }
}
