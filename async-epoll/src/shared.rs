//! What a reactor, its handles, its sources and its timers have in common.
//!
//! Everything here may be used from any thread. There are two locks that matter, one around the table of sources and
//! one around the timers; besides, each source has one around the list of those who wait for it, and each pool one
//! around its queue. All are held for a few instructions and never while foreign code runs. An operation that need not
//! wait takes none.

use crate::alarm::Alarm;
use crate::clock::{Clock, NEVER};
use crate::interest::Interest;
use crate::notifier::Notifier;
use crate::registry::{ALARM_TOKEN, NOTIFIER_TOKEN, Registration, Registry};
use crate::stats::Counters;
use crate::sys::{Epoll, ForkGuard};
use crate::table::push_pruned;
use crate::task_waker::PoolQueue;
use crate::timers::Timers;
use crate::trace;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

/// One per reactor, kept alive by everything that refers to it.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where the kernel collects events for us.
    pub(crate) epoll: Epoll,
    /// The reactor's sleep.
    pub(crate) notifier: Notifier,
    /// The registered sources.
    registry: Mutex<Registry>,
    /// How many they are, for those who need not know it exactly.
    sources: AtomicUsize,
    /// The timers.
    timers: Mutex<Timers>,
    /// Fires with the first timer, where the timeout of a wait does not do.
    alarm: Option<Alarm>,
    /// The time.
    pub(crate) clock: Clock,
    /// The number of the task that is spawned next.
    #[cfg(feature = "inspect")]
    pub(crate) next_task: std::sync::atomic::AtomicU64,
    /// Tasks that were spawned, here or on another thread, and have not ended.
    live_tasks: AtomicUsize,
    /// The queues of ready tasks.
    pools: Mutex<Vec<Weak<PoolQueue>>>,
    /// Plain numbers for [`Stats`](crate::Stats).
    pub(crate) counters: Counters,
    /// The reactor has been dropped.
    gone: AtomicBool,
    /// Tells a forked child.
    fork: ForkGuard,
}

/// The error of everything that outlives its reactor.
pub(crate) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the reactor that this belongs to has been dropped")
}

impl Shared {
    /// Makes the epoll instance and the eventfd; and a timerfd, if there is to be an alarm.
    pub(crate) fn new(with_alarm: bool) -> io::Result<Self> {
        let (epoll, notifier) = (Epoll::new()?, Notifier::new()?);
        trace::create(epoll.as_fd().as_raw_fd(), notifier.fd());
        epoll.add(notifier.fd(), Interest::READABLE.events(), NOTIFIER_TOKEN)?;
        let alarm = with_alarm.then(Alarm::new).transpose()?;
        if let Some(alarm) = &alarm {
            epoll.add(alarm.fd(), Interest::READABLE.events(), ALARM_TOKEN)?;
        }
        Ok(Self {
            epoll,
            notifier,
            alarm,
            #[cfg(feature = "inspect")]
            next_task: std::sync::atomic::AtomicU64::new(0),
            live_tasks: AtomicUsize::new(0),
            pools: Mutex::default(),
            registry: Mutex::new(Registry::new()),
            sources: AtomicUsize::new(0),
            timers: Mutex::new(Timers::new()),
            clock: Clock::new(),
            counters: Counters::default(),
            gone: AtomicBool::new(false),
            fork: ForkGuard::new(),
        })
    }

    /// The table of sources. A panic cannot leave it half-changed: no foreign code runs under its lock.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The timers; as above.
    pub(crate) fn timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is any source.
    pub(crate) fn has_sources(&self) -> bool {
        self.sources.load(Ordering::Acquire) != 0
    }

    /// Until when the reactor may sleep for its timers; [`NEVER`] if an alarm takes care of them.
    pub(crate) fn sleep_until(&self) -> u64 {
        let mut timers = self.timers();
        let until = if self.clock.stands_still() { NEVER } else { timers.sleep_until() };
        match &self.alarm {
            // A child shares the timerfd, and would take it away from its parent.
            Some(_) if self.fork.is_child() => NEVER,
            Some(alarm) => {
                // Under the lock, so that an earlier timer that is set meanwhile has the last word.
                alarm.set(until, &self.clock);
                NEVER
            }
            None => until,
        }
    }

    /// A timer has become the first to fire, so somebody who sleeps has to hear of it.
    pub(crate) fn first_timer_changed(&self) {
        if self.notifier.is_embedded() {
            self.sleep_until();
        } else {
            self.notifier.end_sleep();
        }
    }

    /// A task has been spawned.
    pub(crate) fn task_begins(&self) {
        self.live_tasks.fetch_add(1, Ordering::Relaxed);
    }

    /// A task has ended.
    pub(crate) fn task_ends(&self) {
        self.live_tasks.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tasks that have been spawned and have not ended.
    pub(crate) fn live_tasks(&self) -> usize {
        self.live_tasks.load(Ordering::Relaxed)
    }

    /// Counts the tasks of one pool more in [`ready_tasks`](Self::ready_tasks).
    pub(crate) fn add_pool(&self, pool: &Arc<PoolQueue>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        push_pruned(&mut pools, Arc::downgrade(pool), |pool| pool.strong_count() != 0);
    }

    /// The queues of ready tasks.
    pub(crate) fn pools(&self) -> Vec<Arc<PoolQueue>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }

    /// Tasks that wait to be polled.
    pub(crate) fn ready_tasks(&self) -> usize {
        self.pools().iter().map(|pool| pool.queue.len()).sum()
    }

    /// Whether the reactor has been dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Refuses to act in a forked child, which shares the parent's epoll instance and would disturb it.
    pub(crate) fn refuse_child(&self) -> io::Result<()> {
        if self.fork.is_child() {
            return Err(io::Error::other("this reactor belongs to the parent process; a forked child needs its own"));
        }
        Ok(())
    }

    /// Tells the kernel of a source.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`, and one if the reactor is gone. Nothing is left behind then.
    pub(crate) fn register(&self, registration: &Arc<Registration>) -> io::Result<()> {
        self.refuse_child()?;
        let mut registry = self.registry();
        if registry.is_closed() {
            return Err(gone());
        }
        if registration.token().is_some() {
            // Another task that uses the same source was faster.
            return Ok(());
        }
        let token = registry.insert(registration);
        let add = || self.epoll.add(registration.fd, registration.interest.events(), token);
        let added = add().or_else(|error| {
            // The kernel may still know the same file under the same number from a source that is gone, if a duplicate of
            // its descriptor has kept the file open. Then that entry serves nobody.
            if error.raw_os_error() == Some(libc::EEXIST) && !registry.has_another(registration) {
                self.epoll.delete(registration.fd)?;
                return add();
            }
            Err(error)
        });
        if let Err(error) = added {
            // The caller has its own `Arc`, so nothing foreign is dropped under the lock.
            drop(registry.remove(registration));
            return Err(error);
        }
        // The lock keeps dispatch out until here, so no event can have been noted before.
        registration.read.set_registered();
        registration.write.set_registered();
        self.sources.store(registry.len(), Ordering::Release);
        drop(registry);
        trace::add(registration.fd);
        Ok(())
    }

    /// Forgets a source, and tells the kernel so unless closing the descriptor will.
    pub(crate) fn deregister(&self, registration: &Registration, will_be_closed: bool) {
        let mut registry = self.registry();
        let removed = registry.remove(registration);
        self.sources.store(registry.len(), Ordering::Release);
        drop(registry);
        if removed.is_some() && !will_be_closed && !self.fork.is_child() {
            trace::delete(registration.fd);
            // The descriptor may have been closed behind our back; then the kernel knows already.
            let _ = self.epoll.delete(registration.fd);
        }
        // A task that owns its own socket would otherwise live on through its waker in here.
        let mut wakers = Vec::new();
        registration.take_all(&mut wakers);
    }

    /// The reactor goes away: everything that waits is told, and later operations fail.
    pub(crate) fn close(&self) -> Vec<Waker> {
        self.gone.store(true, Ordering::Release);
        let mut wakers = Vec::new();
        // No `EPOLL_CTL_DEL` for each: nobody waits on this epoll instance any more, and the last handle closes it.
        let sources = self.registry().close(&mut wakers);
        drop(sources);
        self.timers().close(&mut wakers);
        #[cfg(feature = "test-util")]
        wakers.extend(self.clock.hands.close());
        wakers
    }
}
