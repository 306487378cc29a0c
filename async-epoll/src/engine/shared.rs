//! The half of a reactor that its handles, sources and timers refer to, on any thread.
//!
//! Two locks matter: the lock of the table of sources, and the lock of the timers. Besides, each source has a lock
//! around the list of its waiters, and each pool a lock around its queue. Every lock is held for a few instructions,
//! and no waker is cloned, woken or dropped meanwhile (see [`io::registry`](crate::io::registry)). An operation that
//! need not wait takes no lock.
//!
//! Deliberately not here: tasks. A pool of tasks registers as a [`Pool`], to be counted and to be told of the end.

#[cfg(feature = "inspect")]
use super::directory::Directory;
use crate::io::interest::Interest;
use crate::io::registry::{NOTIFIER_TOKEN, Registration, Registry, TIMERFD_TOKEN};
use crate::stats::Counters;
use crate::sys::{Epoll, ForkGuard};
use crate::table::push_pruned;
use crate::time::clock::Clock;
use crate::time::nanos::NEVER;
use crate::time::timerfd::TimerFd;
use crate::time::wheel::Wheel;
use crate::trace;
use crate::wake::notifier::Notifier;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::thread::{self, ThreadId};

/// A pool of tasks, as far as the engine knows pools. Neither method is on a hot path.
pub(crate) trait Pool: fmt::Debug + Send + Sync {
    /// Returns the number of tasks that wait to be polled.
    fn ready(&self) -> usize;

    /// Tells the pool that the reactor has been dropped.
    fn reactor_gone(&self);
}

/// The state of a reactor that any thread may use. Every handle, source, timer and task of the reactor keeps it alive.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The epoll instance, in which the kernel collects events.
    pub(crate) epoll: Epoll,
    /// Ends the engine's sleep, and counts the work of queues and main futures.
    pub(crate) notifier: Notifier,
    /// The registered sources, by token.
    registry: Mutex<Registry>,
    /// The number of registered sources, for readers that need no exact value. Written under the registry's lock.
    sources: AtomicUsize,
    /// The armed timers.
    wheel: Mutex<Wheel>,
    /// Fires with the first timer, in an embedded reactor and in a reactor with precise timers. Set under the wheel's
    /// lock.
    timerfd: Option<TimerFd>,
    /// The time. The engine writes the turn's clock, once per turn.
    pub(crate) clock: Clock,
    /// The live tasks, for [`Handle::tasks`](crate::Handle::tasks).
    #[cfg(feature = "inspect")]
    pub(crate) directory: Directory,
    /// The number of tasks that were spawned, on any thread, and have not ended.
    live_tasks: AtomicUsize,
    /// The pools with tasks of this reactor. Pruned now and then, when a pool is added.
    pools: Mutex<Vec<Weak<dyn Pool>>>,
    /// The counters for [`Stats`](crate::Stats).
    pub(crate) counters: Counters,
    /// The thread on which a `run` method of this reactor is running.
    runner: Mutex<Option<ThreadId>>,
    /// A driver of *another* reactor was polled by the present `run` method. Cleared when a `run` method begins.
    stray_driver: AtomicBool,
    /// The reactor has been dropped. Set once.
    gone: AtomicBool,
    /// Tells a forked child from the process that made the reactor.
    fork: ForkGuard,
}

/// Returns the error of every operation on a reactor that has been dropped.
pub(crate) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the reactor that this belongs to has been dropped")
}

impl Shared {
    /// Makes the epoll instance and the eventfd, and a timerfd if `with_timerfd`.
    ///
    /// # Errors
    ///
    /// Those of `epoll_create1(2)`, `eventfd(2)`, `timerfd_create(2)` and `epoll_ctl(2)`.
    pub(crate) fn new(with_timerfd: bool) -> io::Result<Self> {
        let (epoll, notifier) = (Epoll::new()?, Notifier::new()?);
        trace::create(epoll.as_fd().as_raw_fd(), notifier.fd());
        epoll.add(notifier.fd(), Interest::READABLE.events(), NOTIFIER_TOKEN)?;
        let timerfd = with_timerfd.then(TimerFd::new).transpose()?;
        if let Some(timerfd) = &timerfd {
            epoll.add(timerfd.fd(), Interest::READABLE.events(), TIMERFD_TOKEN)?;
        }
        Ok(Self {
            epoll,
            notifier,
            timerfd,
            #[cfg(feature = "inspect")]
            directory: Directory::default(),
            live_tasks: AtomicUsize::new(0),
            pools: Mutex::default(),
            registry: Mutex::new(Registry::new()),
            sources: AtomicUsize::new(0),
            wheel: Mutex::new(Wheel::new()),
            clock: Clock::new(),
            counters: Counters::default(),
            runner: Mutex::default(),
            stray_driver: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            fork: ForkGuard::new(),
        })
    }

    /// Locks the table of sources. A panic cannot leave the table half-changed: no user code runs under this lock.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the timers. No user code runs under this lock either.
    pub(crate) fn wheel(&self) -> MutexGuard<'_, Wheel> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a timerfd ends the waits.
    pub(crate) const fn has_timerfd(&self) -> bool {
        self.timerfd.is_some()
    }

    /// Returns whether any source is registered.
    pub(crate) fn has_sources(&self) -> bool {
        self.sources.load(Ordering::Acquire) != 0
    }

    /// Returns the time at which the next wait has to end for a timer: [`NEVER`] if there is no timer, or if the
    /// timerfd ends the wait. Sets the timerfd, if there is one.
    pub(crate) fn wake_time(&self) -> u64 {
        let mut wheel = self.wheel();
        let time = if self.clock.is_stopped() { NEVER } else { wheel.wake_time() };
        let Some(timerfd) = &self.timerfd else { return time };
        // A forked child shares the timerfd with its parent, and must not change it.
        if !self.fork.is_child() {
            // Under the lock: if another thread arms an earlier timer meanwhile, that thread sets the timerfd after
            // this one.
            timerfd.set(time, &self.clock);
        }
        NEVER
    }

    /// Tells a sleeping engine that the first timer to fire has changed.
    pub(crate) fn first_timer_changed(&self) {
        if self.notifier.is_embedded() {
            self.wake_time();
        } else {
            self.notifier.end_sleep();
        }
    }

    /// Counts a task that is spawned.
    pub(crate) fn task_begins(&self) {
        self.live_tasks.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a task that has ended.
    pub(crate) fn task_ends(&self) {
        self.live_tasks.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the number of tasks that were spawned and have not ended, in all pools.
    pub(crate) fn live_tasks(&self) -> usize {
        self.live_tasks.load(Ordering::Relaxed)
    }

    /// Adds a pool, for [`ready_tasks`](Self::ready_tasks) to count.
    pub(crate) fn add_pool(&self, pool: Weak<dyn Pool>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        push_pruned(&mut pools, pool, |pool| pool.strong_count() != 0);
    }

    /// Returns the pools that still exist.
    pub(crate) fn pools(&self) -> Vec<Arc<dyn Pool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }

    /// Returns the number of tasks that wait to be polled, in all pools.
    pub(crate) fn ready_tasks(&self) -> usize {
        self.pools().iter().map(|pool| pool.ready()).sum()
    }

    /// Notes that a driver of another reactor was polled while this one was current, if a `run` method of this reactor is
    /// running on this thread. (On other threads, a guard of [`Handle::enter`](crate::Handle::enter) makes it current.)
    #[cold]
    pub(crate) fn note_stray_driver(&self) {
        if *self.runner() == Some(thread::current().id()) {
            self.stray_driver.store(true, Ordering::Relaxed);
        }
    }

    /// Marks this thread as running a `run` method of this reactor, until the guard is dropped.
    pub(crate) fn begin_run(&self) -> RunGuard<'_> {
        self.stray_driver.store(false, Ordering::Relaxed);
        *self.runner() = Some(thread::current().id());
        RunGuard(self)
    }

    /// Locks the thread on which a `run` method is running.
    fn runner(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the present `run` method has polled a driver of another reactor.
    pub(crate) fn has_stray_driver(&self) -> bool {
        self.stray_driver.load(Ordering::Relaxed)
    }

    /// Returns whether the reactor has been dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Fails in a forked child, which shares the parent's epoll instance and would disturb the parent.
    pub(crate) fn refuse_child(&self) -> io::Result<()> {
        if self.fork.is_child() {
            return Err(io::Error::other("this reactor belongs to the parent process; a forked child needs its own"));
        }
        Ok(())
    }

    /// Registers a source with the kernel.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`, and `NotConnected` if the reactor has been dropped. Nothing stays registered then.
    pub(crate) fn register(&self, registration: &Arc<Registration>) -> io::Result<()> {
        self.refuse_child()?;
        let mut registry = self.registry();
        if registry.is_closed() {
            return Err(gone());
        }
        if registration.token().is_some() {
            // Another task that uses the same source has registered the source meanwhile.
            return Ok(());
        }
        let token = registry.insert(registration);
        let add = || self.epoll.add(registration.fd, registration.interest.events(), token);
        let added = add().or_else(|error| {
            // The kernel may still have an entry for the same file under the same number, from a source that is gone,
            // if a duplicate of its descriptor keeps the file open. No source needs this entry any more.
            if error.raw_os_error() == Some(libc::EEXIST) && !registry.has_another(registration) {
                self.epoll.delete(registration.fd)?;
                return add();
            }
            Err(error)
        });
        if let Err(error) = added {
            // The caller has its own `Arc`, so no user code is dropped under the lock.
            drop(registry.remove(registration));
            return Err(error);
        }
        // The lock keeps the engine's dispatch out until here, so no event can have been noted before.
        registration.read.set_registered();
        registration.write.set_registered();
        self.sources.store(registry.len(), Ordering::Release);
        drop(registry);
        trace::add(registration.fd);
        Ok(())
    }

    /// Removes a source from the table. Also deletes it from the epoll instance, unless closing the descriptor will do
    /// so.
    pub(crate) fn deregister(&self, registration: &Registration, will_be_closed: bool) {
        let mut registry = self.registry();
        let removed = registry.remove(registration);
        self.sources.store(registry.len(), Ordering::Release);
        drop(registry);
        if removed.is_some() && !will_be_closed && !self.fork.is_child() {
            trace::delete(registration.fd);
            // Fails if other code has closed the descriptor: then the kernel has removed the entry already.
            let _ = self.epoll.delete(registration.fd);
        }
        // Otherwise a task that owns its own socket would be kept alive by its waker in the registration.
        let mut wakers = Vec::new();
        registration.take_all(&mut wakers);
    }

    /// Marks the reactor as gone: later operations fail. Returns the wakers of all tasks that wait.
    pub(crate) fn close(&self) -> Vec<Waker> {
        self.gone.store(true, Ordering::Release);
        let mut wakers = Vec::new();
        // No `EPOLL_CTL_DEL` for each source: no thread waits on this epoll instance any more, and the last handle
        // closes the instance.
        let sources = self.registry().close(&mut wakers);
        drop(sources);
        self.wheel().close(&mut wakers);
        #[cfg(feature = "test-util")]
        wakers.extend(self.clock.hands.close());
        wakers
    }
}

/// A `run` method is running; see [`Shared::begin_run`].
pub(crate) struct RunGuard<'a>(&'a Shared);

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        *self.0.runner() = None;
    }
}
