//! A reactor on a thread of its own, for executors that wait in their own way.
//!
//! `ThreadPool`, `async-executor`, `futures::executor::block_on` and plain `LocalPool::run` park their threads; no
//! reactor could run on them. Their wakers unpark, though, so any thread may wake their tasks. So the
//! [engine](crate::engine::engine) moves to a thread that does nothing but wait and wake. The [turn](crate::task::turn)
//! stays behind with the tasks: from then on a driver that it puts off calls itself.
//!
//! Registering a source during its wait needs no ceremony, since the kernel allows it. An earlier timer ends the wait.

use super::reactor::Reactor;
use crate::engine::engine::Engine;
use crate::engine::handle::Handle;
use crate::foreign::drop_payload;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A reactor that waits on a thread of its own; from [`Reactor::into_background`].
///
/// Dropping it ends the thread, as [`shutdown`](Self::shutdown) does, without saying whether it went well.
///
/// # Examples
///
/// The reactor of a `block_on` that knows of none.
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
    /// The reactor.
    handle: Handle,
    /// Set to end the thread.
    stop: Arc<AtomicBool>,
    /// The thread, until it was joined.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Reactor {
    /// Moves the waiting to a thread of its own, named `async-epoll`.
    ///
    /// From then on sources and timers of this reactor work in any executor, on any thread: in a
    /// `futures::executor::ThreadPool`, in `async-executor`, in `futures::executor::block_on`, and in plain
    /// [`LocalPool::run`](futures::executor::LocalPool::run).
    ///
    /// (`ThreadPool` is there with the feature `thread-pool` of futures.)
    ///
    /// A thread where [`Handle::current`] is to find the reactor has to [enter](Handle::enter) it. For the threads of a
    /// `ThreadPool`: `builder.after_start(move |_| std::mem::forget(handle.enter()))`.
    ///
    /// Tasks of a [`Spawner`](crate::Spawner) stay in their pool. They are polled by `pool.run()` then, and none is put
    /// off: one that wakes itself for ever no longer keeps others from I/O, since the waiting is done elsewhere, but it
    /// keeps `run` from returning. `LocalPool::run` does not return either while a
    /// [`RemoteSpawner`](crate::RemoteSpawner) exists. The hook of [`on_task_panic`](crate::ReactorBuilder::on_task_panic)
    /// stays with the tasks; panics of wakers on the new thread are counted only.
    ///
    /// # Errors
    ///
    /// If no thread can be started; the reactor is dropped then. In a forked child of the process that made it.
    ///
    /// # Examples
    ///
    /// Tasks of a pool that only its own `run` drives.
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
        let handle = Handle { shared: Arc::clone(&engine.shared) };
        handle.shared.notifier.detach();
        // Drivers that are put off call themselves from now on.
        drop(turn);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("async-epoll".into()).spawn(move || run(engine, &stopped))?;
        Ok(Background { handle, stop, thread: Some(thread) })
    }
}

/// What the thread does.
fn run(mut engine: Engine, stop: &AtomicBool) -> io::Result<()> {
    // Wakers run here, and what they do may ask for the current reactor.
    let _current = Handle::enter_shared(&engine.shared);
    while !stop.load(Ordering::Acquire) {
        engine.turn(None, None, drop_payload)?;
    }
    Ok(())
}

impl Background {
    /// A reference for sources and timers.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the thread and waits for it. Everything that waits on the reactor is woken, and fails with `NotConnected`.
    ///
    /// # Errors
    ///
    /// What made the thread end before: those of `epoll_wait(2)`.
    ///
    /// # Panics
    ///
    /// If it is called by a waker on the reactor's thread, which cannot wait for itself.
    pub fn shutdown(mut self) -> io::Result<()> {
        self.end().unwrap_or(Ok(()))
    }

    /// Ends the thread; `None` if that is done already.
    fn end(&mut self) -> Option<io::Result<()>> {
        let thread = self.thread.take()?;
        self.stop.store(true, Ordering::Release);
        self.handle.notify();
        Some(thread.join().unwrap_or_else(|_| Err(io::Error::other("the reactor's thread panicked"))))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.thread.as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id()) {
            // Dropped by a waker on that thread, which ends by itself.
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
