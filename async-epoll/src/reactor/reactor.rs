//! The reactor: waits for the kernel, for timers and for other threads, and wakes tasks.
//!
//! It is put together from three parts. The [`Engine`] waits and wakes (steps 3 to 5 of a turn), and may move to another
//! thread. The [`Turn`] is what the tasks of this thread share with the loop (step 6), and stays. The [`Pools`] are the
//! task sets of the reactor's spawners. One call of [`Reactor::wait`] makes one turn.
//!
//! Deliberately not here: polling tasks (steps 1 and 2). The pool does that, between two turns; see [`run`](super::run).

use super::pools::Pools;
use crate::engine::engine::Engine;
use crate::engine::handle::Handle;
use crate::engine::shared::Shared;
use crate::task::spawner::Spawner;
use crate::task::turn::{PanicHook, Turn};
use futures::executor::{self, LocalPool};
use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Events taken from the kernel in one turn, unless the builder says otherwise.
const EVENTS_CAPACITY: usize = 1024;
/// Re-polls and first polls of new tasks in one turn, unless the builder says otherwise.
const POLL_BUDGET: u32 = 256;

/// Waits for descriptors, timers and other threads, and wakes the tasks concerned.
///
/// It belongs beside a [`LocalPool`]: the pool polls tasks until none can go on, then the reactor puts the thread to
/// sleep until something happens. [`run`](Self::run) and [`run_until`](Self::run_until) are that loop; it may also be
/// written by hand:
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// # let mut pool = futures::executor::LocalPool::new();
/// # let mut reactor = async_epoll::Reactor::new()?;
/// loop {
///     pool.run_until_stalled();
///     reactor.wait(None)?;
/// }
/// # }
/// ```
///
/// Tasks must be spawned through [`spawner`](Self::spawner), not through the pool's own: the pool's wakers cannot end
/// an `epoll_wait`. See [`Spawner`].
///
/// A reactor stays on its thread (`!Send`): it knows the tasks there, and has some of them put off to the next turn.
/// Its [`Handle`] goes anywhere, and its waiting half may move to [a thread of its own](Self::into_background). Inside
/// somebody else's event loop it is [one more descriptor](ReactorBuilder::embedded).
///
/// # How it works
///
/// One [epoll](https://man7.org/linux/man-pages/man7/epoll.7.html) instance, in which each source is registered once,
/// edge-triggered, for as long as it lives; one [eventfd](https://man7.org/linux/man-pages/man2/eventfd.2.html),
/// through which other threads end a sleep; one wheel of timers, whose next deadline is the timeout of the wait, or the
/// time of a timerfd if the reactor is embedded or its timers are to be [precise](ReactorBuilder::precise_timers).
///
/// Dropping the reactor wakes everything that waits on it; those operations and all later ones fail with
/// `NotConnected`.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{Handle, Reactor, Timer};
/// use futures::executor::LocalPool;
/// use std::time::Duration;
///
/// let mut reactor = Reactor::new()?;
/// let mut pool = LocalPool::new();
/// let spawner = reactor.spawner(&pool);
/// spawner.spawn_local(async {
///     let timer = Timer::after(Duration::from_millis(5), &Handle::current().unwrap());
///     timer.await.unwrap();
/// }).unwrap();
/// reactor.run(&mut pool)?; // Returns when the last task has finished.
/// assert_eq!(spawner.live_tasks(), 0);
/// # Ok(())
/// # }
/// ```
///
/// [`LocalPool`]: https://docs.rs/futures/0.3/futures/executor/struct.LocalPool.html
pub struct Reactor {
    /// The half that waits. Before the other, so that everything that waits is told first when both are dropped.
    pub(crate) engine: Engine,
    /// What the tasks on this thread share with the loop.
    pub(crate) turn: OwnTurn,
    /// The task sets of the reactor's spawners.
    pub(crate) pools: Pools,
}

/// Sets up a [`Reactor`]; from [`Reactor::builder`].
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let reactor = async_epoll::Reactor::builder()
///     .events_capacity(64)
///     .poll_budget(16)
///     .precise_timers()
///     .on_task_panic(|panic| eprintln!("a task panicked: {:?}", panic.downcast_ref::<&str>()))
///     .build()?;
/// # drop(reactor);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct ReactorBuilder {
    /// See [`events_capacity`](Self::events_capacity).
    events_capacity: usize,
    /// See [`poll_budget`](Self::poll_budget).
    poll_budget: u32,
    /// See [`on_task_panic`](Self::on_task_panic).
    on_task_panic: Option<PanicHook>,
    /// See [`embedded`](Self::embedded).
    embedded: bool,
    /// See [`precise_timers`](Self::precise_timers).
    precise_timers: bool,
}

impl ReactorBuilder {
    /// How many events one turn takes from the kernel at most; 1024 unless set, at least 1. More stay queued for the
    /// next turn, none is lost.
    pub fn events_capacity(mut self, events: usize) -> Self {
        // `epoll_wait` takes an `int`, and a dozen bytes are allocated for each.
        self.events_capacity = events.clamp(1, 1 << 20);
        self
    }

    /// How many polls one turn may spend on tasks that wake themselves and on tasks that were spawned in the turn; 256
    /// unless set, at least 1.
    ///
    /// The first poll in a turn of each task that was there when it began is free. Beyond the budget, tasks are put
    /// off until the reactor has looked for events once.
    pub fn poll_budget(mut self, polls: u32) -> Self {
        self.poll_budget = polls.max(1);
        self
    }

    /// What to do with the payload when a task panics, in poll or in drop, or a waker does; nothing unless set, beyond
    /// counting it in [`Stats`](crate::Stats). The standard panic hook has printed the message by then.
    ///
    /// The task is over, everything else goes on. A panic of `hook` itself is caught and dropped.
    pub fn on_task_panic(mut self, hook: impl Fn(Box<dyn Any + Send>) + 'static) -> Self {
        self.on_task_panic = Some(Box::new(hook));
        self
    }

    /// Has the reactor's descriptor ([`AsFd`]) become readable whenever there is something to do, so that another event
    /// loop can watch it: an event of a source, a timer that is due, a task that was woken or spawned, a notification.
    ///
    /// The host's part, whenever the descriptor is readable: [`wait(Some(Duration::ZERO))`](Reactor::wait), then
    /// `pool.run_until_stalled()`. After that it is no longer readable, until there is something new. An edge-triggered
    /// host takes its note that the descriptor is readable back *before* the two calls. No helper thread is started.
    ///
    /// # How it works
    ///
    /// An epoll instance is a descriptor that epoll itself can watch: see
    /// [`epoll(7)`](https://man7.org/linux/man-pages/man7/epoll.7.html). Between two waits the reactor counts as
    /// asleep, so a wake writes to the eventfd, and a timerfd is set to the first timer.
    ///
    /// # Examples
    ///
    /// The host here is another reactor, which knows no more than that it watches a descriptor.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Handle, Interest, Reactor, Source, Timer};
    /// use futures::executor::LocalPool;
    /// use std::os::fd::AsFd;
    /// use std::time::Duration;
    ///
    /// let (mut guest, mut pool) = (Reactor::builder().embedded().build()?, LocalPool::new());
    /// let spawner = guest.spawner(&pool);
    /// spawner.spawn_local(async {
    ///     Timer::after(Duration::from_millis(2), &Handle::current().unwrap()).await.unwrap();
    /// }).unwrap();
    ///
    /// let mut host = Reactor::new()?;
    /// let descriptor = guest.as_fd().try_clone_to_owned()?;
    /// let _watched = Source::with_interest(descriptor, Interest::READABLE, &host.handle())?;
    /// while spawner.live_tasks() > 0 {
    ///     host.wait(None)?;
    ///     guest.wait(Some(Duration::ZERO))?;
    ///     pool.run_until_stalled();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn embedded(mut self) -> Self {
        self.embedded = true;
        self
    }

    /// Has timers fire as exactly as the kernel can, through a timerfd.
    ///
    /// Usually the first timer is the timeout of the wait, which the kernel may prolong by the *timer slack*: 50 µs, or a
    /// thousandth of a longer sleep (see `PR_SET_TIMERSLACK` in
    /// [`prctl(2)`](https://man7.org/linux/man-pages/man2/prctl.2.html)). A
    /// [timerfd](https://man7.org/linux/man-pages/man2/timerfd_create.2.html) has no slack, and costs a system call
    /// whenever the reactor goes to sleep with another first timer than before.
    pub fn precise_timers(mut self) -> Self {
        self.precise_timers = true;
        self
    }

    /// Makes the reactor.
    ///
    /// # Errors
    ///
    /// Those of [`epoll_create1(2)`](https://man7.org/linux/man-pages/man2/epoll_create.2.html), `eventfd(2)` and
    /// `timerfd_create(2)`: no descriptors left, or no memory. And `ENOSPC` beyond
    /// `/proc/sys/fs/epoll/max_user_watches`, since the eventfd is registered.
    pub fn build(self) -> io::Result<Reactor> {
        let shared = Arc::new(Shared::new(self.embedded || self.precise_timers)?);
        if self.embedded {
            shared.notifier.embed();
        }
        let turn = Rc::new(Turn::new(Arc::clone(&shared), self.poll_budget, self.on_task_panic));
        let engine = Engine::new(shared, self.events_capacity);
        Ok(Reactor { engine, turn: OwnTurn(turn), pools: Pools::default() })
    }
}

impl fmt::Debug for ReactorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorBuilder")
            .field("events_capacity", &self.events_capacity)
            .field("poll_budget", &self.poll_budget)
            .field("embedded", &self.embedded)
            .field("precise_timers", &self.precise_timers)
            .finish_non_exhaustive()
    }
}

impl Reactor {
    /// Makes a reactor with the usual settings.
    ///
    /// # Errors
    ///
    /// Those of [`ReactorBuilder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Settings for a reactor.
    pub fn builder() -> ReactorBuilder {
        ReactorBuilder {
            events_capacity: EVENTS_CAPACITY,
            poll_budget: POLL_BUDGET,
            on_task_panic: None,
            embedded: false,
            precise_timers: false,
        }
    }

    /// A reference for sources, timers and other threads.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.engine.shared) }
    }

    /// Spawns into `pool`, in such a way that this reactor and that pool know of each other.
    ///
    /// Drive each reactor with the pool whose spawner it gave: the pool passed to [`run`](Self::run) must be the same, and
    /// it must be this reactor's `run`. In a hand-written loop with the wrong pool, [`wait`](Self::wait) returns at once,
    /// again and again, since tasks are ready and nobody polls them.
    ///
    /// Each call begins a group of tasks of its own in the pool, with a queue of its own; the groups take turns. One
    /// spawner and its clones are the usual case.
    pub fn spawner(&self, pool: &LocalPool) -> Spawner {
        Spawner::new(self.pools.new_set(pool, &self.turn))
    }

    /// When the first timer is due, for loops that do the waiting themselves; `None` if no timer is armed.
    ///
    /// No timer is due before it, and a [`wait`](Self::wait) then finds out when the next one is. It is the exact deadline
    /// of the first timer unless more than 32 timers lie close together: then it may be up to a millisecond later, or,
    /// while they are still far off, earlier.
    ///
    /// # Examples
    ///
    /// A loop that waits by `thread::sleep`, for timers only.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Reactor, Timer};
    /// use futures::executor::LocalPool;
    /// use std::time::{Duration, Instant};
    ///
    /// let (mut reactor, mut pool) = (Reactor::new()?, LocalPool::new());
    /// let (spawner, timer) = (reactor.spawner(&pool), Timer::after(Duration::from_millis(2), &reactor.handle()));
    /// spawner.spawn_local(async { timer.await.unwrap() }).unwrap();
    /// loop {
    ///     pool.run_until_stalled();
    ///     let Some(deadline) = reactor.next_deadline() else { break };
    ///     std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
    ///     reactor.wait(Some(Duration::ZERO))?;
    /// }
    /// assert_eq!(spawner.live_tasks(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_deadline(&self) -> Option<Instant> {
        let shared = &self.engine.shared;
        let next = shared.wheel().next();
        shared.clock.to_instant(next)
    }

    /// One turn: sleeps until an event, a due timer, a wake, a [`notify`](Handle::notify), an earlier timer that
    /// another thread sets, or the end of `timeout` (`None`: no end), and wakes the tasks concerned. Returns the number
    /// of events of descriptors.
    ///
    /// It does not sleep while a task spawned through [`Spawner`] is ready to be polled, so the hand-written loop
    /// cannot miss one. It ends early for those reasons only: a signal does not end it, nor does an event of a source
    /// that has gone. With no task, no source and no timer, `wait(None)` sleeps until somebody notifies.
    ///
    /// # Errors
    ///
    /// - Those of [`epoll_wait(2)`](https://man7.org/linux/man-pages/man2/epoll_wait.2.html) other than `EINTR`; the
    ///   reactor may be used on.
    /// - An error if it is called inside a task (nothing else could run on this thread while it slept), or in a forked
    ///   child of the process that made the reactor.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Reactor, Source};
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let (mut peer, stream) = UnixStream::pair()?;
    /// let source = Source::with_handle(stream, &reactor.handle())?;
    /// peer.write_all(b"x")?;
    /// assert_eq!(reactor.wait(None)?, 1);
    /// assert!(source.readiness().is_readable());
    /// // An event is told once.
    /// assert_eq!(reactor.wait(Some(Duration::from_millis(1)))?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let _enter = refuse_nesting("Reactor::wait")?;
        self.turn(timeout, None)
    }

    /// Makes a turn, steps 3 to 6, without the check for nesting. `watch` may refuse a sleep without end by an error.
    pub(crate) fn turn(
        &mut self,
        timeout: Option<Duration>,
        watch: Option<&dyn Fn() -> io::Result<()>>,
    ) -> io::Result<usize> {
        // 3 to 5. Sleep, dispatch, wake.
        let events = self.engine.turn(timeout, watch, |panic| self.turn.report(panic))?;
        // 6. The tasks that were put off may go on, with a new budget.
        self.turn.begin();
        Ok(events)
    }
}

/// Marks the thread as busy with an executor, as every executor of futures does; fails inside another one.
pub(crate) fn refuse_nesting(what: &str) -> io::Result<executor::Enter> {
    executor::enter().map_err(|_| {
        io::Error::other(format!(
            "{what} was called inside a task, or inside the block_on of another executor: it would block that executor; \
             spawn a task and await it instead"
        ))
    })
}

/// The turn, as the reactor has it: once the reactor is dropped, drivers that are put off call themselves.
#[derive(Debug)]
pub(crate) struct OwnTurn(Rc<Turn>);

impl std::ops::Deref for OwnTurn {
    type Target = Rc<Turn>;

    fn deref(&self) -> &Rc<Turn> {
        &self.0
    }
}

impl Drop for OwnTurn {
    fn drop(&mut self) {
        self.0.detach();
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("epoll", &self.engine.shared.epoll).finish_non_exhaustive()
    }
}

impl AsFd for Reactor {
    /// The epoll instance. Without [`embedded`](ReactorBuilder::embedded) it says nothing of timers and of tasks that are woken. Of
    /// a reactor that was built with [`embedded`](ReactorBuilder::embedded), it is readable when
    /// [`wait`](Reactor::wait) would do something. Leave the rest to the reactor: do not wait in it, and register nothing.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.engine.shared.epoll.as_fd()
    }
}

impl AsRawFd for Reactor {
    /// As [`as_fd`](Self::as_fd).
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
