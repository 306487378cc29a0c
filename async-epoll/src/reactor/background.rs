//! A reactor on a thread of its own, for executors that wait in their own way.
//!
//! `ThreadPool`, `async-executor`, `futures::executor::block_on` and plain `LocalPool::run` park their threads, so a
//! reactor cannot wait on these threads. But their wakers unpark from any thread. So the
//! [engine](crate::engine::engine) moves to a thread that only waits and wakes. The [turn](crate::task::turn) stays
//! behind with the tasks; from then on, a driver without budget wakes itself instead of waiting for the next turn.
//!
//! Other threads register sources and timers while the engine waits. The kernel allows `epoll_ctl(2)` during
//! `epoll_wait(2)`, and an earlier first timer ends the wait.

use super::reactor::Reactor;
use crate::engine::engine::Engine;
use crate::engine::handle::Handle;
use crate::engine::shared::not_in_child;
use crate::foreign::{drop_payload, wake_all};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A reactor that waits on a thread of its own; made by [`Reactor::into_background`].
///
/// Dropping a `Background` ends the thread as [`shutdown`](Self::shutdown) does, but ignores the thread's error.
///
/// # Examples
///
/// A reactor for an executor without one: the `block_on` of futures.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{Reactor, Source, Timer};
/// use futures::{AsyncReadExt, AsyncWriteExt};
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// let reactor = Reactor::new()?.into_background()?;
/// let (left, right) = UnixStream::pair()?;
/// let handle = reactor.handle();
/// futures::executor::block_on(async {
///     let (left, right) = (Source::with_handle(left, &handle)?, Source::with_handle(right, &handle)?);
///     Timer::after(Duration::from_millis(1), &handle).await?;
///     (&left).write_all(b"hello").await?;
///     let mut text = [0; 5];
///     (&right).read_exact(&mut text).await
/// })?;
/// reactor.shutdown()
/// # }
/// ```
#[must_use = "dropped, it ends the reactor's thread"]
pub struct Background {
    /// A handle to the reactor.
    handle: Handle,
    /// Set once, to end the thread.
    stop: Arc<AtomicBool>,
    /// The reactor's thread; `None` once it has been joined.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Reactor {
    /// Moves the reactor's waiting to a new thread, named `async-epoll`. Returns the owner of the thread.
    ///
    /// From then on, sources and timers of this reactor work in any executor, on any thread: in a
    /// `futures::executor::ThreadPool` (with the feature `thread-pool` of futures), in `async-executor`, in
    /// `futures::executor::block_on`, and in plain [`LocalPool::run`](futures::executor::LocalPool::run).
    ///
    /// A thread on which [`Handle::current`] is to return the reactor has to [enter](Handle::enter) the reactor. For
    /// the threads of a `ThreadPool`: `builder.after_start(move |_| std::mem::forget(handle.enter()))`.
    ///
    /// Tasks of a [`Spawner`](crate::Spawner) stay in their pool, and `pool.run()` polls them. No task is put off to a
    /// next turn any more. A task that wakes itself for ever does not keep other tasks from I/O, because another thread
    /// waits, but `run` does not return while such a task exists. Nor does `LocalPool::run` return while a
    /// [`RemoteSpawner`](crate::RemoteSpawner) exists. The hook of
    /// [`on_task_panic`](crate::ReactorBuilder::on_task_panic) stays with the tasks; panics of wakers on the new thread
    /// are only counted.
    ///
    /// # Errors
    ///
    /// - If no thread can be started. The reactor is dropped then.
    /// - In a forked child of the process that made the reactor.
    /// - With the feature `test-util`, `Unsupported` while the clock moves by itself (`TestClock::pause_auto`).
    ///
    /// # Examples
    ///
    /// A pool that is driven by its own `run` alone.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Handle, Reactor, Timer};
    /// use futures::executor::LocalPool;
    /// use futures::task::LocalSpawnExt;
    /// use std::time::Duration;
    ///
    /// let reactor = Reactor::new()?.into_background()?;
    /// let _current = reactor.handle().enter();
    /// let mut pool = LocalPool::new();
    /// let task = async { Timer::after(Duration::from_millis(1), &Handle::current().unwrap()).await.unwrap() };
    /// pool.spawner().spawn_local(task).unwrap();
    /// pool.run();
    /// reactor.shutdown()
    /// # }
    /// ```
    pub fn into_background(self) -> io::Result<Background> {
        let Self { engine, turn, pools: _ } = self;
        engine.shared.refuse_child()?;
        engine.shared.refuse_automatic_clock("a reactor in the background")?;
        let handle = Handle { shared: Arc::clone(&engine.shared) };
        handle.shared.notifier.detach();
        handle.shared.runner.keep();
        // From now on a driver without budget wakes itself.
        drop(turn);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("async-epoll".into()).spawn(move || run(engine, &stopped))?;
        Ok(Background { handle, stop, thread: Some(thread) })
    }
}

/// Makes turns on the reactor's thread, until `stop` is set.
fn run(mut engine: Engine, stop: &AtomicBool) -> io::Result<()> {
    // Wakers run on this thread, and their code may ask for the current reactor.
    let _current = Handle::enter_shared(&engine.shared);
    while !stop.load(Ordering::Acquire) {
        engine.turn(None, None, drop_payload)?;
    }
    Ok(())
}

impl Background {
    /// Returns a handle, for sources and timers.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the reactor's thread, and waits for its end. All waiting operations are woken, and fail with
    /// `NotConnected`.
    ///
    /// # Errors
    ///
    /// - The error of `epoll_wait(2)` by which the thread had ended before.
    /// - An error in a forked child of the process that made the reactor. The child does not have the thread. The child's
    ///   waiting operations are woken and fail, and the parent's go on. (Operations behind a lock that another thread held
    ///   at the fork are not woken.)
    ///
    /// # Panics
    ///
    /// If a waker calls it on the reactor's thread: a thread cannot wait for its own end.
    pub fn shutdown(mut self) -> io::Result<()> {
        self.end().unwrap_or(Ok(()))
    }

    /// Ends the thread, and returns the thread's result; `None` if the thread has been joined before.
    fn end(&mut self) -> Option<io::Result<()>> {
        let thread = self.thread.take()?;
        if self.handle.shared.is_child() {
            // The thread runs in the parent only, so there is nothing to join and nothing to detach.
            std::mem::forget(thread);
            let shared = &self.handle.shared;
            wake_all(&mut shared.close(), drop_payload);
            shared.tell_pools();
            return Some(Err(not_in_child()));
        }
        self.stop.store(true, Ordering::Release);
        self.handle.notify();
        Some(thread.join().unwrap_or_else(|_| Err(io::Error::other("the reactor's thread panicked"))))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.thread.as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id()) {
            // A waker on the reactor's thread drops this: the thread ends after the turn, and cannot be joined here.
            self.stop.store(true, Ordering::Release);
            self.thread = None;
        }
        drop(self.end());
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("handle", &self.handle).finish_non_exhaustive()
    }
}
