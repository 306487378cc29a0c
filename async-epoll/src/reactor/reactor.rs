//! The reactor: waits for the kernel, for timers and for other threads, and wakes tasks.
//!
//! A [`Reactor`] has three parts. The [`Engine`] waits and wakes (steps 3 to 5 of a turn), and may move to another
//! thread. The [`Turn`] is the state that the tasks of this thread share with the loop (step 6), and stays. The
//! [`Pools`] are the task sets of the reactor's spawners. One call of [`Reactor::wait`] makes one turn.
//!
//! Deliberately not here: polling tasks (steps 1 and 2). The pool polls them, between two turns; see
//! [`run`](super::run).

use super::orders::default_seed;
use super::pools::Pools;
use crate::engine::engine::Engine;
use crate::engine::handle::Handle;
use crate::engine::shared::Shared;
use crate::engine::watch::Watch;
use crate::order::{Kind, Order};
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

/// The default of [`ReactorBuilder::events_capacity`].
const EVENTS_CAPACITY: usize = 1024;
/// The default of [`ReactorBuilder::poll_budget`].
const POLL_BUDGET: u32 = 256;

/// Waits for descriptors, timers and other threads, and wakes the tasks concerned.
///
/// A reactor stands beside a [`LocalPool`]: the pool polls tasks until no task is ready, then the reactor puts the
/// thread to sleep until an event, a timer or a wake. [`run`](Self::run) and [`run_until`](Self::run_until) are this
/// loop. The loop may also be written by hand. It asks whether tasks are left *after* polling and *before* waiting:
/// without a task, nothing would end the wait.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let mut pool = futures::executor::LocalPool::new();
/// # let mut reactor = async_epoll::Reactor::new()?;
/// # let spawner = reactor.spawner(&pool);
/// # spawner.spawn_local(async_epoll::Timer::after(std::time::Duration::from_millis(1), &reactor.handle()).map(drop)).unwrap();
/// # use futures::FutureExt;
/// loop {
///     pool.run_until_stalled();
///     if spawner.live_tasks() == 0 {
///         break;
///     }
///     reactor.wait(None)?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// Tasks must be spawned through [`spawner`](Self::spawner), not through the pool's own spawner: the pool's wakers
/// cannot end an `epoll_wait`. See [`Spawner`].
///
/// A reactor stays on its thread (`!Send`), because it shares state with the tasks there. A [`Handle`] may go to any
/// thread, and the waiting half of the reactor may move to [a thread of its own](Self::into_background). In another
/// event loop, a reactor is [one more descriptor](ReactorBuilder::embedded).
///
/// # How it works
///
/// - One [epoll](https://man7.org/linux/man-pages/man7/epoll.7.html) instance. Each source is registered once,
///   edge-triggered, for its whole life.
/// - One [eventfd](https://man7.org/linux/man-pages/man2/eventfd.2.html), by which other threads end a sleep.
/// - One timer wheel. Its next deadline is the timeout of the wait, or the time of a timerfd if the reactor is embedded
///   or has [precise timers](ReactorBuilder::precise_timers).
///
/// Dropping the reactor wakes all waiting operations. They fail with `NotConnected`, and so do all later ones.
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
    /// The half that waits. Declared before `turn`, so that waiting operations are woken before drivers are released.
    pub(crate) engine: Engine,
    /// The state that the tasks on this thread share with the loop.
    pub(crate) turn: OwnTurn,
    /// The task sets of the reactor's spawners.
    pub(crate) pools: Pools,
}

/// The settings of a new [`Reactor`]; made by [`Reactor::builder`].
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
    /// See [`shuffle`](Self::shuffle). `None` without the feature `test-util`.
    seed: Option<u64>,
}

impl ReactorBuilder {
    /// Sets how many events one turn takes from the kernel at most (default 1024, at least 1). Further events stay
    /// queued in the kernel for the next turn; no event is lost.
    pub fn events_capacity(mut self, events: usize) -> Self {
        // `epoll_wait` takes an `int`, and 12 bytes are allocated for each event.
        self.events_capacity = events.clamp(1, 1 << 20);
        self
    }

    /// Sets how many polls one turn may spend on tasks that are woken again during the turn and on tasks that are
    /// spawned during the turn (default 256, at least 1).
    ///
    /// The first poll of each task that was ready when the turn began costs nothing. When the budget is spent, the
    /// remaining tasks wait until the reactor has looked for events once.
    pub fn poll_budget(mut self, polls: u32) -> Self {
        self.poll_budget = polls.max(1);
        self
    }

    /// Sets a function that gets the payload of each panic of a task (in poll or in drop) and of each panic of a waker.
    /// By default a panic is only counted in [`Stats`](crate::Stats).
    ///
    /// The standard panic hook has printed the message before `hook` is called. A panic ends only its own task. A panic
    /// of `hook` itself is caught and dropped.
    pub fn on_task_panic(mut self, hook: impl Fn(Box<dyn Any + Send>) + 'static) -> Self {
        self.on_task_panic = Some(Box::new(hook));
        self
    }

    /// Makes the reactor fit for another event loop, the *host*: the reactor's descriptor ([`AsFd`]) is readable
    /// whenever the reactor has work. Work is an event of a source, a due timer, a task that was woken or spawned, or a
    /// notification.
    ///
    /// Whenever the descriptor is readable, the host calls [`wait(Some(Duration::ZERO))`](Reactor::wait), then
    /// `pool.run_until_stalled()`. After the two calls, the descriptor is not readable until there is new work. An
    /// edge-triggered host must clear its own record of the readiness *before* the two calls. No helper thread is
    /// started.
    ///
    /// # How it works
    ///
    /// An epoll instance is itself a descriptor that epoll can watch: see
    /// [`epoll(7)`](https://man7.org/linux/man-pages/man7/epoll.7.html). Between two waits the reactor counts as
    /// asleep, so a wake writes to the eventfd, and a timerfd is set to the first timer.
    ///
    /// # Examples
    ///
    /// The host here is another reactor. It watches the guest's descriptor like any other.
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

    /// Makes timers fire as exactly as the kernel can, by a timerfd.
    ///
    /// By default the first timer is the timeout of the wait. The kernel may prolong this timeout by the *timer slack*:
    /// 50 µs, or a thousandth of a longer sleep (see `PR_SET_TIMERSLACK` in
    /// [`prctl(2)`](https://man7.org/linux/man-pages/man2/prctl.2.html)). A
    /// [timerfd](https://man7.org/linux/man-pages/man2/timerfd_create.2.html) has no slack, but costs a system call
    /// each time the reactor goes to sleep with another first timer than before.
    pub fn precise_timers(mut self) -> Self {
        self.precise_timers = true;
        self
    }

    /// Serves what is ready at the same moment in an order drawn from `seed`, for tests (feature `test-util`).
    ///
    /// Three things are shuffled: the tasks that are ready together, the events that the kernel reports in one turn, and
    /// the timers that are due at the same instant. A program must not depend on the order of these; with a seed, a test
    /// finds out. The same seed draws the same orders again. Everything else is as without a seed: each ready task is
    /// polled once before any is polled again, a timer with an earlier deadline fires first, all budgets hold, and the
    /// future of [`run_until`](Reactor::run_until) is polled before the tasks.
    ///
    /// The pool polls its own tasks, and the groups of several [spawners](Reactor::spawner), in the order in which they
    /// were woken. Groups that are put off to the next turn are woken in an order drawn from `seed`.
    ///
    /// To run a test under many seeds, and with reactors that it makes by other means, use
    /// [`check_orders`](crate::check_orders). To run all tests of a program under one seed, as they are, build it with
    /// `RUSTFLAGS="--cfg async_epoll_shuffle"` and run it with `ASYNC_EPOLL_SEED=17`: then the seed of the variable is
    /// the default of all builders. Without this `--cfg`, no builder reads the environment.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{LocalRuntime, Reactor};
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    ///
    /// let order = |seed| {
    ///     let polled = Rc::new(RefCell::new(Vec::new()));
    ///     let mut runtime = LocalRuntime::from(Reactor::builder().shuffle(seed).build()?);
    ///     for name in ["first", "second", "third"] {
    ///         let polled = Rc::clone(&polled);
    ///         runtime.spawner().spawn(async move { polled.borrow_mut().push(name) })?;
    ///     }
    ///     runtime.run()?;
    ///     std::io::Result::Ok(polled.take())
    /// };
    /// assert_eq!(order(7)?, order(7)?);
    /// assert!((0..20).any(|seed| order(seed).unwrap() == ["third", "first", "second"]));
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes the reactor.
    ///
    /// # Errors
    ///
    /// - The errors of [`epoll_create1(2)`](https://man7.org/linux/man-pages/man2/epoll_create.2.html), `eventfd(2)`
    ///   and `timerfd_create(2)`: no descriptors left, or no memory.
    /// - `ENOSPC` beyond `/proc/sys/fs/epoll/max_user_watches`, because the eventfd is registered.
    pub fn build(self) -> io::Result<Reactor> {
        Handle::watch_forks();
        let shared = Arc::new(Shared::new(self.embedded || self.precise_timers)?);
        if self.embedded {
            shared.notifier.embed();
            shared.runner.keep();
        }
        let [tasks, events, timers] = [Kind::Tasks, Kind::Events, Kind::Timers].map(|kind| Order::new(self.seed, kind));
        shared.wheel().set_order(timers);
        let turn = Rc::new(Turn::new(Arc::clone(&shared), self.poll_budget, self.on_task_panic, tasks));
        let engine = Engine::new(shared, self.events_capacity, events);
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
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Reactor {
    /// Makes a reactor with the default settings.
    ///
    /// # Errors
    ///
    /// The errors of [`ReactorBuilder::build`].
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Returns the default settings of a reactor, to be changed before [`build`](ReactorBuilder::build).
    pub fn builder() -> ReactorBuilder {
        ReactorBuilder {
            events_capacity: EVENTS_CAPACITY,
            poll_budget: POLL_BUDGET,
            on_task_panic: None,
            embedded: false,
            precise_timers: false,
            seed: default_seed(),
        }
    }

    /// Returns a handle, for sources, timers and other threads.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.engine.shared) }
    }

    /// Returns a spawner of tasks into `pool`. A wake of these tasks ends the reactor's sleep.
    ///
    /// Pass the same pool to [`run`](Self::run), and call `run` of this reactor. In a hand-written loop with another
    /// pool, [`wait`](Self::wait) returns at once again and again, because tasks are ready and the loop never polls
    /// them.
    ///
    /// Usually a pool has one spawner and its clones. Each further call begins another group of tasks in the pool, with
    /// a queue of its own; the pool polls the groups in rotation.
    pub fn spawner(&self, pool: &LocalPool) -> Spawner {
        Spawner::new(self.pools.new_set(pool, &self.turn))
    }

    /// Returns when the first timer is due, for loops that wait by other means; `None` if no timer is armed.
    ///
    /// No timer is due earlier, and [`wait`](Self::wait) at this time fires the due timers. The time is the exact
    /// deadline of the first timer unless more than 32 timers lie close together. In this case it may be up to a
    /// millisecond later or, while the timers are still far off, earlier.
    ///
    /// # Examples
    ///
    /// A loop that waits with `thread::sleep`, for timers only.
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
        let next = shared.wheel_in_child()?.next();
        shared.clock.to_instant(next)
    }

    /// Makes one turn: sleeps until there is a reason to wake, and wakes the tasks concerned. Returns the number of
    /// events that reached a source.
    ///
    /// The reasons are an event of a source, a due timer, a wake of a task, a [`notify`](Handle::notify), an earlier
    /// timer that another thread sets, and the end of `timeout` (`None`: no end). Nothing else ends the sleep: neither
    /// a signal, nor an event of a dropped source. Without a task, a source and a timer, `wait(None)` sleeps until a
    /// `notify`. So a [hand-written loop](Self) checks [`live_tasks`](crate::Spawner::live_tasks) after polling, before
    /// waiting.
    ///
    /// The reactor does not sleep while a task spawned through [`Spawner`] is ready to be polled, so a hand-written
    /// loop cannot miss a wake.
    ///
    /// # Errors
    ///
    /// - The errors of [`epoll_wait(2)`](https://man7.org/linux/man-pages/man2/epoll_wait.2.html) other than `EINTR`.
    ///   The reactor stays usable.
    /// - An error inside a task, because the sleep would block all tasks of this thread.
    /// - An error in a forked child of the process that made the reactor.
    /// - With the feature `test-util`, `Unsupported` while the clock moves by itself (`TestClock::pause_auto`).
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
    /// // The kernel reports an edge once.
    /// assert_eq!(reactor.wait(Some(Duration::from_millis(1)))?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let _enter = refuse_nesting("Reactor::wait")?;
        self.engine.shared.refuse_automatic_clock("a hand-written loop")?;
        self.engine.shared.runner.begin_loop();
        self.turn(timeout, None)
    }

    /// Makes a turn, steps 3 to 6, without the check for nesting. `watch` may refuse a sleep without end by an error.
    /// Returns the number of events that reached a source.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>, watch: Option<&dyn Watch>) -> io::Result<usize> {
        // 3 to 5. Sleep, dispatch, wake.
        let events = self.engine.turn(timeout, watch, |panic| self.turn.report(panic))?;
        // 6. Give a new budget, and call the drivers that wait for this turn.
        self.turn.begin();
        Ok(events)
    }
}

/// Marks the thread as busy with an executor, as every executor of futures does, until the returned value is dropped.
/// Fails inside another executor. `what` is the caller's name for the error message.
pub(crate) fn refuse_nesting(what: &str) -> io::Result<executor::Enter> {
    executor::enter().map_err(|_| {
        io::Error::other(format!(
            "{what} was called inside a task, or inside the block_on of another executor: it would block that executor; \
             spawn a task and await it instead"
        ))
    })
}

/// The reactor's reference to its turn. Dropping the reference detaches the turn: from then on a driver without budget
/// wakes itself.
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
    /// Returns the epoll instance.
    ///
    /// Built with [`embedded`](ReactorBuilder::embedded), the reactor makes the descriptor readable whenever
    /// [`wait`](Reactor::wait) has work. Otherwise the descriptor shows neither due timers nor woken tasks. Use the
    /// descriptor for polling only: do not call `epoll_wait(2)` or `epoll_ctl(2)` on it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.engine.shared.epoll.as_fd()
    }
}

impl AsRawFd for Reactor {
    /// Returns the epoll instance, as [`as_fd`](Self::as_fd).
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
