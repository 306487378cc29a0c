//! A reference to a reactor, to be cloned, sent to other threads, and found through the current thread.
//!
//! A socket has to know its reactor. Passing a handle everywhere is explicit but tedious, so a thread has a *current*
//! reactor: while a `run` method, a task's poll or drop, or an [`EnterGuard`] is active, and always on the thread of a
//! [`Background`](crate::Background). The current reactor is a thread-local that is set and restored, never a global.

use super::shared::Shared;
use crate::stats::Stats;
use crate::sys;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

thread_local! {
    /// The handle of the current reactor, which [`Handle::current`] clones. Written by [`replace_current`].
    static CURRENT: RefCell<Option<Handle>> = const { RefCell::new(None) };
    /// The address of the shared half in `CURRENT`, 0 for none: lets [`Handle::is_current`] answer with one load.
    /// Written together with `CURRENT`. Always 0 for the reactor of the parent in a forked child: see
    /// [`Handle::watch_forks`].
    static CURRENT_ADDRESS: Cell<usize> = const { Cell::new(0) };
}

/// Makes `handle` the current one, and returns the handle that was current before.
fn replace_current(handle: Option<Handle>) -> Option<Handle> {
    let own = handle.as_ref().filter(|handle| !handle.shared.is_child());
    let address = own.map_or(0, |handle| Arc::as_ptr(&handle.shared).addr());
    // `try_with`: a destructor of another thread-local may get here after the destructor of `CURRENT`.
    CURRENT
        .try_with(|current| {
            CURRENT_ADDRESS.set(address);
            current.replace(handle)
        })
        .unwrap_or_default()
}

/// A reference to a [`Reactor`](crate::Reactor): cheap to clone, `Send` and `Sync`.
///
/// A handle does not keep the reactor running. After the reactor is dropped, every operation that waits on the reactor,
/// or would have to wait, fails with an error that says so.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{Handle, Reactor};
///
/// let mut reactor = Reactor::new()?;
/// let handle = reactor.handle();
/// std::thread::spawn(move || handle.notify());
/// reactor.wait(None)?; // Ends when the other thread notifies.
/// assert!(Handle::current().is_err(), "not inside a run method or a task");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Handle {
    /// The reactor's shared half.
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// Returns the handle of the current reactor: the reactor of the task, `run` method or [`EnterGuard`] in which this
    /// is called.
    ///
    /// # Errors
    ///
    /// `NotConnected`, with a message that says what to do, if no reactor is current.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Handle;
    ///
    /// assert_eq!(Handle::current().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    /// async_epoll::block_on(async {
    ///     let handle = Handle::current()?;
    ///     assert_eq!(handle.stats().sources, 0);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn current() -> io::Result<Self> {
        // `try_with`: a destructor of another thread-local may call this after the destructor of `CURRENT`.
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotConnected,
                "no reactor on this thread: call this inside async_epoll::block_on, Reactor::run or run_until, a task \
                 spawned through Reactor::spawner, or while the guard of Handle::enter lives (in the threads of a \
                 ThreadPool: by after_start); or pass a handle",
            )
        })
    }

    /// Makes this reactor the current one on this thread, until the guard is dropped.
    ///
    /// Guards nest: each restores the reactor that was current before it. Drop them in reverse order.
    ///
    /// The guard only says *which* reactor is current. Some thread has to [`run`](crate::Reactor::run) the reactor or
    /// [`wait`](crate::Reactor::wait) on it, this one or a [background thread](crate::Reactor::into_background).
    /// Without such a thread, a future that is awaited in `futures::executor::block_on`, for example, waits for ever,
    /// and its timeouts do too. Use [`async_epoll::block_on`](crate::block_on) or
    /// [`Reactor::run_until`](crate::Reactor::run_until) in its place. With the feature `tracing`, such a wait is reported
    /// if an executor of futures-rs polls it on the reactor's own thread: at level `DEBUG` at once, and at level `WARN` if
    /// it is polled again a second later. Waits in other executors, and on other threads, are not reported.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Handle, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let guard = reactor.handle().enter();
    /// assert!(Handle::current().is_ok());
    /// drop(guard);
    /// assert!(Handle::current().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn enter(&self) -> EnterGuard {
        Self::enter_shared(&self.shared)
    }

    /// Lets forked children notice that they are children: in a child, [`is_current`](Self::is_current) is false for the
    /// reactor of the parent. The driver asks for this after each poll anyway, so a child is found out there at no price.
    pub(crate) fn watch_forks() {
        extern "C" fn in_child() {
            // Plain data without a destructor, so the access runs no other code.
            CURRENT_ADDRESS.set(0);
        }
        sys::count_forks(in_child);
    }

    /// Returns whether the reactor of `shared` is the current one, and not the one of a forked child's parent. One load,
    /// since this is asked for every poll of a task.
    #[inline]
    pub(crate) fn is_current(shared: &Arc<Shared>) -> bool {
        // The address belongs to a live shared half, since `CURRENT` keeps it alive.
        CURRENT_ADDRESS.get() == Arc::as_ptr(shared).addr()
    }

    /// Makes the reactor of `shared` the current one, whatever guards exist.
    #[cold]
    pub(crate) fn make_current(shared: &Arc<Shared>) {
        drop(replace_current(Some(Self { shared: Arc::clone(shared) })));
    }

    /// Does what [`enter`](Self::enter) does, without a handle.
    pub(crate) fn enter_shared(shared: &Arc<Shared>) -> EnterGuard {
        let before = (!Self::is_current(shared)).then(|| replace_current(Some(Self { shared: Arc::clone(shared) })));
        EnterGuard { before, not_send: PhantomData }
    }

    /// Ends the reactor's current [`wait`](crate::Reactor::wait), or keeps the next wait from blocking.
    ///
    /// Many calls before a wait count as one. A call costs a system call only if the reactor sleeps: a write to its
    /// [`eventfd(2)`](https://man7.org/linux/man-pages/man2/eventfd.2.html). In a forked child of the process that made
    /// the reactor, a call does not reach the parent.
    pub fn notify(&self) {
        self.shared.notifier.notify();
    }

    /// Returns when the reactor's current turn began, without a clock read.
    ///
    /// Good for deadlines that start with an event. After long work in a task, this time lags behind `Instant::now()`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Handle, Timer};
    /// use std::time::Duration;
    ///
    /// async_epoll::block_on(async {
    ///     let handle = Handle::current()?;
    ///     let begin = handle.now();
    ///     Timer::after(Duration::from_millis(2), &handle).await?;
    ///     assert!(handle.now() - begin >= Duration::from_millis(2));
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn now(&self) -> Instant {
        let clock = &self.shared.clock;
        clock.to_instant(clock.turn()).unwrap_or_else(Instant::now)
    }

    /// Returns what the reactor has done so far, in numbers.
    ///
    /// Takes the reactor's locks for a moment, so call this now and then, not for each request. In a forked child, numbers
    /// behind a lock that another thread held at the fork are 0.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// runtime.spawner().spawn_local(async { panic!("on purpose") }).unwrap();
    /// runtime.run()?;
    /// assert_eq!(runtime.handle().stats().task_panics, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            live_tasks: self.shared.live_tasks(),
            ready_tasks: self.shared.ready_tasks(),
            sources: self.shared.registry_in_child().map_or(0, |registry| registry.len()),
            timers: self.shared.wheel_in_child().map_or(0, |wheel| wheel.armed()),
            turns: counters.turns.get(),
            sleeps: counters.sleeps.get(),
            events: counters.events.get(),
            timers_fired: counters.timers_fired.get(),
            wakes: counters.wakes.get(),
            eventfd_writes: self.shared.notifier.writes(),
            polls: counters.polls.get(),
            parks: counters.parks.get(),
            task_panics: counters.task_panics.get(),
            waker_panics: counters.waker_panics.get(),
            named: self.shared.named_counters(),
        }
    }

    /// Adds `n` to the counter `name`, which [`Stats::counter`] returns. For code above the reactor that counts rare
    /// events, such as errors that no caller sees, in the place where operators look.
    ///
    /// Takes a lock for a moment, so do not call this for each request. A reactor keeps at most 23 names apart; further
    /// names are counted together, as `other`, with what is counted under this name.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let reactor = async_epoll::Reactor::new()?;
    /// reactor.handle().count("requests_refused", 1);
    /// assert_eq!(reactor.handle().stats().counter("requests_refused"), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[cold]
    pub fn count(&self, name: &'static str, n: u64) {
        self.shared.count(name, n);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("epoll", &self.shared.epoll).finish_non_exhaustive()
    }
}

/// Keeps a reactor current; from [`Handle::enter`].
///
/// A guard is `!Send`, because dropping it restores a thread-local of its thread.
#[must_use = "the handle is current only while the guard lives"]
pub struct EnterGuard {
    /// The handle to restore. `None` if the reactor was current already, so that nothing had to change.
    before: Option<Option<Handle>>,
    /// Makes the guard `!Send`.
    not_send: PhantomData<*const ()>,
}

impl EnterGuard {
    /// Returns whether the guard has made another reactor current than before.
    pub(crate) fn has_replaced(&self) -> bool {
        self.before.is_some()
    }

    /// Returns the reactor that was current before, if the guard has replaced another reactor.
    pub(crate) fn replaced(&self) -> Option<&Shared> {
        self.before.as_ref()?.as_ref().map(|handle| &*handle.shared)
    }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            // The replaced handle is dropped after the borrow has ended: it may be the last reference to its reactor's
            // shared half.
            drop(replace_current(before));
        }
    }
}

impl fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}
