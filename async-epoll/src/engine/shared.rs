//! The half of a reactor that its handles, sources and timers refer to, on any thread.
//!
//! Two locks matter: the lock of the table of sources, and the lock of the timers. Besides, each source has a lock
//! around the list of its waiters, and each pool a lock around its queue. Every lock is held for a few instructions, and
//! no waker is cloned, woken or dropped meanwhile (see [`io::registry`](crate::io::registry)). The lock of the table is
//! also held for one `epoll_ctl(2)` at a time, so that the table and the kernel change in one order. An operation that
//! need not wait takes no lock.
//!
//! In a forked child, a lock may be held by a thread that the child does not have: the thread held it at the fork. So a
//! child never waits for a lock of its parent's reactor. What would wait for the reactor is refused before it locks, and
//! what a child may do (drop, reset, ask for numbers) locks by [`ForkMark::lock`]. If that fails, the child leaves the
//! state behind the lock alone: the entry of a dropped timer, for example, is leaked with the rest of the wheel.
//!
//! Deliberately not here: tasks. A pool of tasks registers as a [`Pool`], to be counted and to be told of the end.

#[cfg(feature = "inspect")]
use super::directory::Directory;
use super::runner::Runner;
use crate::budget;
use crate::foreign::{drop_all, drop_payload, drop_waker};
use crate::io::interest::Interest;
use crate::io::registry::{NOTIFIER_TOKEN, Registration, Registry, TIMERFD_TOKEN};
use crate::stats::{Counters, NamedCounters};
use crate::sys::{Epoll, ForkMark};
use crate::table::push_pruned;
use crate::time::clock::Clock;
use crate::time::nanos::NEVER;
use crate::time::timerfd::TimerFd;
use crate::time::wheel::Wheel;
use crate::trace;
use crate::wake::notifier::Notifier;
use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

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
    /// What the wakers of ended tasks and main futures refer to, if any wakers were left: they wake nothing, which a test's
    /// clock has to know. Pruned now and then.
    #[cfg(feature = "test-util")]
    ended: Mutex<Vec<Weak<dyn Any + Send + Sync>>>,
    /// The number of tasks that were spawned, on any thread, and have not ended.
    live_tasks: AtomicUsize,
    /// The pools with tasks of this reactor. Pruned now and then, when a pool is added.
    pools: Mutex<Vec<Weak<dyn Pool>>>,
    /// The counters for [`Stats`](crate::Stats).
    pub(crate) counters: Counters,
    /// The counters of code above the reactor. Written by any thread.
    named: Mutex<NamedCounters>,
    /// Whether a thread runs the reactor.
    pub(crate) runner: Runner,
    /// The reactor has been dropped. Set once.
    gone: AtomicBool,
    /// The process that made the reactor, and not a forked child of it.
    pub(crate) process: ForkMark,
}

/// Returns the error of every operation on a reactor that has been dropped.
pub(crate) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the reactor that this belongs to has been dropped")
}

/// Returns the error of every operation that would have to wait for the parent's reactor, in a forked child.
#[cold]
pub(crate) fn not_in_child() -> io::Error {
    io::Error::other("this reactor belongs to the parent process; a forked child needs its own")
}

/// Returns the error of a clock that is to move by itself at a `place` without a `run` method.
#[cold]
pub(crate) fn no_automatic_clock(place: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "a clock moves by itself (pause_auto) in Reactor::run, run_until and block_on only, which know all tasks, and \
             not in {place}: pause the clock, and move it by advance"
        ),
    )
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
            directory: Directory::new(),
            #[cfg(feature = "test-util")]
            ended: Mutex::default(),
            live_tasks: AtomicUsize::new(0),
            pools: Mutex::default(),
            registry: Mutex::new(Registry::new()),
            sources: AtomicUsize::new(0),
            wheel: Mutex::new(Wheel::new()),
            clock: Clock::new(),
            counters: Counters::default(),
            named: Mutex::default(),
            runner: Runner::new(),
            gone: AtomicBool::new(false),
            process: ForkMark::new(),
        })
    }

    /// Locks the table of sources, for code that is not reached in a forked child. A panic cannot leave the table half-changed: no user code runs under this lock.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the timers, for code that is not reached in a forked child. No user code runs under this lock either.
    pub(crate) fn wheel(&self) -> MutexGuard<'_, Wheel> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the table of sources, unless this is a forked child that [cannot](ForkMark::lock).
    pub(crate) fn registry_in_child(&self) -> Option<MutexGuard<'_, Registry>> {
        self.process.lock(&self.registry)
    }

    /// Locks the timers, unless this is a forked child that [cannot](ForkMark::lock).
    #[inline]
    pub(crate) fn wheel_in_child(&self) -> Option<MutexGuard<'_, Wheel>> {
        self.process.lock(&self.wheel)
    }

    /// Returns whether a timerfd ends the waits.
    pub(crate) const fn has_timerfd(&self) -> bool {
        self.timerfd.is_some()
    }

    /// Returns whether any task waits for a source or a timer.
    #[cold]
    pub(crate) fn has_waiters(&self) -> bool {
        // One lock at a time.
        self.registry_in_child().is_some_and(|registry| registry.has_waiters(self.process))
            || self.wheel_in_child().is_some_and(|wheel| wheel.armed() != 0)
    }

    /// Returns whether any source is registered.
    pub(crate) fn has_sources(&self) -> bool {
        self.sources.load(Ordering::Acquire) != 0
    }

    /// Returns the time at which the next wait has to end for a timer: [`NEVER`] if there is no timer, or if the
    /// timerfd ends the wait. Sets the timerfd, if there is one. Not called in a forked child, which shares the timerfd
    /// with its parent and must not change it.
    pub(crate) fn wake_time(&self) -> u64 {
        let mut wheel = self.wheel();
        let time = if self.clock.is_stopped() { NEVER } else { wheel.wake_time() };
        let Some(timerfd) = &self.timerfd else { return time };
        // Under the lock: if another thread arms an earlier timer meanwhile, that thread sets the timerfd after this one.
        timerfd.set(time, &self.clock);
        NEVER
    }

    /// Notes that the timerfd, if there is one, is not set to the right time any more: it has fired, or the clock was
    /// moved. The caller holds the wheel's lock, and passes the guard as a proof.
    pub(crate) fn invalidate_timerfd(&self, _: &MutexGuard<'_, Wheel>) {
        if let Some(timerfd) = &self.timerfd {
            timerfd.invalidate();
        }
    }

    /// Tells a sleeping engine that the first timer to fire has changed.
    pub(crate) fn first_timer_changed(&self) {
        if !self.notifier.is_embedded() {
            self.notifier.end_sleep();
        } else if !self.is_child() {
            self.wake_time();
        }
    }

    /// Notes that a poll of a source or a timer returns `Pending`. The driver notes the waits of tasks.
    #[inline]
    pub(crate) fn note_wait(&self) {
        if trace::ENABLED && !budget::is_bounded() {
            self.runner.note_stranger(|| self.clock.real());
        }
    }

    /// Adds `n` to a counter of code above the reactor. Adds nothing in a forked child that
    /// [cannot lock](ForkMark::lock) the counters.
    pub(crate) fn count(&self, name: &'static str, n: u64) {
        // A panic cannot leave the counters half-changed: no user code runs under this lock.
        if let Some(mut named) = self.process.lock(&self.named) {
            named.add(name, n);
        }
    }

    /// Returns the counters of code above the reactor; none in a forked child that [cannot lock](ForkMark::lock) them.
    pub(crate) fn named_counters(&self) -> NamedCounters {
        self.process.lock(&self.named).map_or_else(NamedCounters::default, |named| *named)
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

    /// Notes that a task or a main future has ended, for a test's clock: from now on its wakers wake nothing. `waker` is
    /// what they refer to, and the caller has one reference.
    #[inline]
    pub(crate) fn note_end<T: Any + Send + Sync>(&self, waker: &Arc<T>) {
        #[cfg(feature = "test-util")]
        if Arc::strong_count(waker) > 1 {
            if let Some(mut ended) = self.process.lock(&self.ended) {
                // Keeps the address from being used again.
                let waker: Weak<T> = Arc::downgrade(waker);
                push_pruned(&mut ended, waker, |waker| waker.strong_count() != 0);
            }
        }
        #[cfg(not(feature = "test-util"))]
        let _ = waker;
    }

    /// Returns the addresses to which the wakers of ended tasks and main futures refer, sorted.
    #[cfg(feature = "test-util")]
    pub(crate) fn ended(&self) -> Vec<usize> {
        let ended = self.process.lock(&self.ended);
        let mut ended: Vec<_> = ended.map_or_else(Vec::new, |ended| {
            let left = ended.iter().filter(|waker| waker.strong_count() != 0);
            left.map(|waker| waker.as_ptr().addr()).collect()
        });
        ended.sort_unstable();
        ended
    }

    /// Adds a pool, for [`ready_tasks`](Self::ready_tasks) to count.
    pub(crate) fn add_pool(&self, pool: Weak<dyn Pool>) {
        if let Some(mut pools) = self.process.lock(&self.pools) {
            push_pruned(&mut pools, pool, |pool| pool.strong_count() != 0);
        }
    }

    /// Returns the pools that still exist.
    pub(crate) fn pools(&self) -> Vec<Arc<dyn Pool>> {
        let pools = self.process.lock(&self.pools);
        pools.map_or_else(Vec::new, |pools| pools.iter().filter_map(Weak::upgrade).collect())
    }

    /// Tells the pools that the reactor has been dropped.
    pub(crate) fn tell_pools(&self) {
        self.pools().iter().for_each(|pool| pool.reactor_gone());
    }

    /// Returns the number of tasks that wait to be polled, in all pools.
    pub(crate) fn ready_tasks(&self) -> usize {
        self.pools().iter().map(|pool| pool.ready()).sum()
    }

    /// Returns whether the reactor has been dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Returns whether the calling process is a forked child of the process that made the reactor. The child shares the
    /// parent's epoll instance, eventfd and timerfd, and would disturb the parent. And nothing would end a wait in the
    /// child: no thread of the child waits for events.
    #[inline]
    pub(crate) fn is_child(&self) -> bool {
        self.process.is_child()
    }

    /// Fails if a test has made the clock move by itself, which only a `run` method can do: it knows all tasks and polls
    /// them. `place` says what the caller is.
    pub(crate) fn refuse_automatic_clock(&self, place: &str) -> io::Result<()> {
        if self.clock.moves_by_itself() { Err(no_automatic_clock(place)) } else { Ok(()) }
    }

    /// Fails in a forked child, in place of everything that would wait or register.
    #[inline]
    pub(crate) fn refuse_child(&self) -> io::Result<()> {
        if self.is_child() { Err(not_in_child()) } else { Ok(()) }
    }

    /// Registers a source with the kernel.
    ///
    /// The table and the kernel's entries change together, under the table's lock. Otherwise an addition and a deletion
    /// of one descriptor could mix (several sources may share it, one after the other, through an `Arc` for example):
    ///
    /// ```text
    ///   thread 1, drops the old source          thread 2, makes a new one
    ///   remove the entry from the table
    ///                                           insert; EPOLL_CTL_ADD: EEXIST, but the table has no other source
    ///                                           EPOLL_CTL_DEL, EPOLL_CTL_ADD
    ///   EPOLL_CTL_DEL: deletes the new entry
    /// ```
    ///
    /// The new source would get no event. If thread 1 deletes before thread 2 does, thread 2 would meet ENOENT.
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
            if error.raw_os_error() != Some(libc::EEXIST) || registry.has_another(registration) {
                return Err(error);
            }
            match self.epoll.delete(registration.fd) {
                // Another process with this epoll instance, such as a forked child, has deleted the entry.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                deleted => deleted?,
            }
            add()
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
        let Some(mut registry) = self.registry_in_child() else { return };
        let removed = registry.remove(registration);
        self.sources.store(registry.len(), Ordering::Release);
        let deletes = removed.is_some() && !will_be_closed && !self.is_child();
        if deletes {
            // Under the lock, because another thread may register the same descriptor: see `register`. This fails if
            // other code has closed the descriptor: then the kernel has removed the entry already.
            let _ = self.epoll.delete(registration.fd);
        }
        drop(registry);
        if deletes {
            trace::delete(registration.fd);
        }
        // Otherwise a task that owns its own socket would be kept alive by its waker in the registration.
        let mut wakers = Vec::new();
        registration.take_all(&mut wakers, self.process);
        drop_all(&mut wakers, |panic| self.note_waker_panic(panic));
    }

    /// Counts the panic of a waker that a task has left in the reactor, and drops the payload.
    #[cold]
    pub(crate) fn note_waker_panic(&self, panic: Box<dyn Any + Send>) {
        self.counters.waker_panics.increment();
        drop_payload(panic);
    }

    /// Drops a waker that a task has left in the reactor, when no lock is held. Its panic is counted: the caller may be
    /// another task, or may be unwinding already.
    #[inline]
    pub(crate) fn drop_waker(&self, waker: Waker) {
        drop_waker(waker, |panic| self.note_waker_panic(panic));
    }

    /// Marks the reactor as gone: later operations fail. Returns the wakers of all tasks that wait.
    pub(crate) fn close(&self) -> Vec<Waker> {
        self.gone.store(true, Ordering::Release);
        let mut wakers = Vec::new();
        // No `EPOLL_CTL_DEL` for each source: no thread waits on this epoll instance any more, and the last handle
        // closes the instance.
        let sources = self.registry_in_child().map(|mut registry| registry.close(&mut wakers, self.process));
        drop(sources);
        if let Some(mut wheel) = self.wheel_in_child() {
            wheel.close(&mut wakers);
        }
        #[cfg(feature = "test-util")]
        wakers.extend(self.clock.hands.close(self.process));
        wakers
    }
}
