//! Tasks on the pool: the wrapper around each spawned future, and the [`Spawner`] that puts it there.
//!
//! futures-rs gives its executors no hook for "nothing left to do, wait here", and a `LocalPool`'s waker cannot end an
//! `epoll_wait`. The seam is a wrapper around every spawned future. When the pool polls the wrapper, it polls the
//! future with a waker of our own, and from then on we hear of everything:
//!
//! - **A wake** marks the task as scheduled and counts it as ready, then wakes the pool's waker, then ends the
//!   reactor's sleep if there is one. So the reactor [never sleeps while a task is ready](crate::notifier).
//! - **A task that keeps waking itself** would keep the pool busy for ever. The wrapper counts polls; beyond the
//!   [budget](LoopState::admit) the task is *parked*: it stays scheduled and is handed back to the pool after the
//!   reactor has looked for events.
//! - **A panic** stays in the wrapper, and is reported.
//! - **The end** of the task is noticed, so `run` knows when the last one is done.
//!
//! ```text
//!             wake: count + 1, tell the pool           poll: count - 1
//!   IDLE ───────────────────────────────► SCHEDULED ──────────────────► being polled ──► IDLE or DONE
//!                                           ▲    │ over budget
//!                                           │    ▼
//!                                           PARKED (still counted; wakes change nothing)
//! ```
//!
//! The race to think of: a wake on another thread while the task is being polled. The mark is cleared *before* the
//! poll, so such a wake schedules the task again; at worst it is polled once for nothing.

use crate::budget;
use crate::handle::{Enter, Handle};
use crate::loop_state::LoopState;
use crate::schedule::Schedule;
use crate::shared::Shared;
use futures::executor::{LocalPool, LocalSpawner};
use futures::task::{ArcWake, FutureObj, LocalFutureObj, LocalSpawn, Spawn, SpawnError, waker_ref};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The waker that a task's future sees: the pool's waker with the reactor behind it.
#[derive(Debug)]
pub(crate) struct TaskWaker {
    /// Whether the task is scheduled.
    schedule: Schedule,
    /// The pool's waker for this task.
    inner: Waker,
    /// The reactor whose sleep a wake ends.
    shared: Arc<Shared>,
}

impl TaskWaker {
    /// Around `inner`. If `scheduled`, the caller has counted the task already.
    pub(crate) fn new(inner: Waker, scheduled: bool, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { schedule: Schedule::new(scheduled), inner, shared })
    }

    /// The task is about to be polled. Says whether it was scheduled.
    pub(crate) fn begin_poll(&self) -> bool {
        self.schedule.begin_poll(&self.shared.notifier)
    }

    /// Makes the task's reactor the thread's current one.
    pub(crate) fn enter(&self) -> Enter {
        Handle::enter_shared(&self.shared)
    }

    /// Hands a parked task back to its pool.
    pub(crate) fn wake_inner(&self) {
        self.inner.wake_by_ref();
    }

    /// Counts a poll of a future that is no task in the pool.
    pub(crate) fn count_poll(&self) {
        self.shared.counters.polls.add(1);
    }

    /// The task has ended.
    pub(crate) fn end(&self) {
        if self.schedule.finish() {
            self.shared.notifier.task_taken();
        }
    }
}

impl ArcWake for TaskWaker {
    fn wake_by_ref(this: &Arc<Self>) {
        if let Some(asleep) = this.schedule.schedule(&this.shared.notifier) {
            this.inner.wake_by_ref();
            if asleep {
                this.shared.notifier.end_sleep();
            }
        }
    }
}

pin_project! {
    /// A spawned future in its wrapper, which is what the pool polls and drops.
    struct Task<F> {
        // The future, until it has ended.
        #[pin]
        future: Option<F>,
        // The waker that the future sees; made at the first poll. Until then the task counts as ready.
        waker: Option<Arc<TaskWaker>>,
        // The loop.
        state: Rc<LoopState>,
        // The turn of the last poll.
        turn: u32,
    }

    impl<F> PinnedDrop for Task<F> {
        fn drop(this: Pin<&mut Self>) {
            this.end();
        }
    }
}

impl<F> Task<F> {
    /// Counts a new task.
    fn new(future: F, state: &Rc<LoopState>) -> Self {
        state.shared.counters.live_tasks.add(1);
        if state.shared.notifier.task_ready() {
            state.shared.notifier.end_sleep();
        }
        Self { future: Some(future), waker: None, turn: state.spawn_turn(), state: Rc::clone(state) }
    }

    /// Drops the future, if it is still there, and takes the task out of all counts. Catches panics.
    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.future.is_none() {
            return;
        }
        if let Err(panic) = this.state.run_task(|| this.future.set(None)) {
            this.state.report_task(panic);
        }
        match this.waker {
            Some(waker) => waker.end(),
            None => this.state.shared.notifier.task_taken(),
        }
        this.state.shared.counters.live_tasks.subtract(1);
    }
}

/// Makes the waker at the first poll, or anew if the pool has given the task another one.
///
/// The old waker may go stale then: a future must arrange to be woken through the context of its latest poll.
#[cold]
fn adopt<'a>(slot: &'a mut Option<Arc<TaskWaker>>, inner: &Waker, shared: &Arc<Shared>) -> &'a Arc<TaskWaker> {
    // A task that was never polled is counted as ready.
    let scheduled = slot.take().is_none_or(|old| old.schedule.finish());
    slot.insert(TaskWaker::new(inner.clone(), scheduled, Arc::clone(shared)))
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.as_mut().project();
        let state = &**this.state;
        let task = match this.waker {
            Some(task) if task.inner.will_wake(cx.waker()) => &*task,
            slot => adopt(slot, cx.waker(), &state.shared),
        };
        if !state.admit(this.turn) {
            // Stay counted, so that the reactor will not sleep, and scheduled, so that wakes change nothing.
            task.schedule.schedule(&state.shared.notifier);
            state.park(task);
            return Poll::Pending;
        }
        task.begin_poll();
        state.shared.counters.polls.add(1);
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        let waker = waker_ref(task);
        let result = state.run_task(|| {
            let _budget = budget::begin_poll();
            future.poll(&mut Context::from_waker(&waker))
        });
        match result {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {}
            Err(panic) => state.report_task(panic),
        }
        self.end();
        Poll::Ready(())
    }
}

/// Spawns tasks into a [`LocalPool`] that a [`Reactor`](crate::Reactor) drives; from
/// [`Reactor::spawner`](crate::Reactor::spawner).
///
/// It implements [`Spawn`] and [`LocalSpawn`], so `SpawnExt` and `LocalSpawnExt` work with it, `spawn_with_handle` too.
/// A spawner stays on its thread; clone it freely.
///
/// # How it works
///
/// Each future is wrapped. The wrapper's waker ends the reactor's sleep, so a wake from another thread (a channel, a
/// `futures_timer::Delay`) arrives at once; it counts tasks, so `run` knows when to return; it bounds how often a task
/// that wakes itself is polled before the reactor looks for events; and it catches panics, so that one bad connection
/// does not end a server.
///
/// Tasks spawned with the pool's own spawner have none of that: they are polled, but `run` does not wait for them, a wake
/// from another thread waits for the next event, and an endless self-waker starves everything.
///
/// Plain [`LocalPool::run`] would wait for ever: it asks neither the kernel nor the clock, and a task that was put off to
/// the next turn is handed back by the reactor alone. Use [`Reactor::run`](crate::Reactor::run).
///
/// # Panics in tasks
///
/// A panic in a task's poll or drop ends that task alone. It is counted in [`Stats`](crate::Stats) and its payload goes
/// to [`Builder::on_task_panic`](crate::Builder::on_task_panic). Futures spawned by `spawn_with_handle` are an
/// exception made by futures-rs: their panic travels to whoever awaits the handle, and is swallowed if the handle was
/// forgotten.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use futures::task::LocalSpawnExt;
///
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// let spawner = runtime.spawner();
/// let sum = spawner.spawn_local_with_handle(async { 1 + 1 }).unwrap();
/// assert_eq!(runtime.run_until(sum)?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Spawner {
    /// Where the pool takes new tasks from.
    pool: LocalSpawner,
    /// The loop.
    state: Rc<LoopState>,
}

impl Spawner {
    /// For `pool`, driven by the loop of `state`.
    pub(crate) fn new(pool: &LocalPool, state: Rc<LoopState>) -> Self {
        let (address, pool) = (std::ptr::from_ref(pool).addr(), pool.spawner());
        state.remember_pool(address, &pool);
        Self { pool, state }
    }

    /// Spawns a task, in one allocation (`LocalSpawnExt::spawn_local` makes two).
    ///
    /// It is polled for the first time when the pool runs next, before the reactor sleeps.
    ///
    /// # Errors
    ///
    /// `SpawnError` if the pool has been dropped; `future` is dropped then.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// runtime.spawner().spawn_local(async { println!("hello") }).unwrap();
    /// runtime.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_local(&self, future: impl Future<Output = ()> + 'static) -> Result<(), SpawnError> {
        self.pool.spawn_local_obj(LocalFutureObj::new(Box::new(Task::new(future, &self.state))))
    }

    /// Tasks of this reactor that were spawned and have neither finished nor been dropped.
    pub fn live_tasks(&self) -> usize {
        self.state.live_tasks()
    }
}

impl Spawn for Spawner {
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.spawn_local(future)
    }

    fn status(&self) -> Result<(), SpawnError> {
        self.pool.status()
    }
}

impl LocalSpawn for Spawner {
    fn spawn_local_obj(&self, future: LocalFutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.spawn_local(future)
    }

    fn status_local(&self) -> Result<(), SpawnError> {
        self.pool.status_local()
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").field("live_tasks", &self.live_tasks()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use futures::task::ArcWake;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A pool's waker for a task, that counts.
    #[derive(Default)]
    struct Inner(AtomicUsize);

    impl ArcWake for Inner {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A pool may give a task another waker: the count of ready tasks stays right, and wakes go to the latest.
    #[test]
    fn a_changed_inner_waker_is_adopted() {
        let shared = Arc::new(Shared::new().unwrap());
        let state = Rc::new(LoopState::new(Arc::clone(&shared), 8, None));
        let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
        let keep = Arc::clone(&slot);
        let future = poll_fn(move |cx| {
            *keep.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        let wakers = [Arc::new(Inner::default()), Arc::new(Inner::default())];
        let counts = || wakers.each_ref().map(|inner| inner.0.load(Ordering::SeqCst));
        let mut task = pin!(Task::new(future, &state));
        assert_eq!(shared.notifier.ready_tasks(), 1, "until it is polled for the first time");
        let mut poll = |n: usize| {
            assert!(task.as_mut().poll(&mut Context::from_waker(&waker_ref(&wakers[n]))).is_pending());
        };
        let wake = || slot.lock().unwrap().clone().unwrap().wake();

        poll(0);
        assert_eq!(shared.notifier.ready_tasks(), 0);
        wake();
        wake();
        assert_eq!((counts(), shared.notifier.ready_tasks()), ([1, 0], 1));
        // Polled under another waker while it is scheduled under the first.
        poll(1);
        assert_eq!(shared.notifier.ready_tasks(), 0);
        wake();
        assert_eq!((counts(), shared.notifier.ready_tasks()), ([1, 1], 1));
        poll(1);
        poll(0);
        wake();
        assert_eq!((counts(), shared.notifier.ready_tasks()), ([2, 1], 1));
    }
}
