//! The tasks of a pool that are ready to be polled, and the one call that tells the pool so.
//!
//! Any thread may wake a task, and the pool's thread polls the task. Between the two lies this queue. However the
//! threads' steps interleave:
//!
//! - a task that was put in is taken out, with no further wake needed;
//! - the reactor does not sleep while something is in the queue;
//! - the pool is told once, not once per wake.
//!
//! All three follow from one flag under the queue's lock. The queue is *busy* from the first task put in until its
//! [driver](crate::task::set) finds nothing left. A queue that becomes busy adds to the count of the
//! [notifier](crate::wake::notifier), so the reactor stays awake, and calls the driver. While the queue is busy, the
//! driver is sure to come.
//!
//! ```text
//!      push(): count + 1, call the driver, end the sleep         push(): nothing but the task itself
//!   idle ─────────────────────────────────────────────► busy ──┐
//!     ▲                                                  │ ▲ └──┘
//!     └──────────────────────────────────────────────────┘ └─ take(): some tasks, in the order of their wakes
//!                    take(): nothing left, count - 1
//! ```

use super::notifier::Notifier;
use super::wake_fd::Signal;
#[cfg(not(loom))]
use crate::sys::ForkMark;
use std::collections::VecDeque;
use std::task::Waker;

#[cfg(loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{
    Mutex, MutexGuard, OnceLock, TryLockError,
    atomic::{AtomicUsize, Ordering},
};

/// Arrivals that the driver gets in one poll, so that a flood of arrivals is not moved about in each turn.
const MAX_ARRIVALS: usize = 256;
/// Numbers of tasks for which memory is kept.
const SPARE_TASKS: usize = 1024;

/// The queue of one pool. `A` is an arrival: what another thread leaves to be made into a task.
#[derive(Debug)]
pub(crate) struct Queue<A> {
    /// Everything but the number below. Locked for a few instructions at a time.
    state: Mutex<State<A>>,
    /// The number of tasks that the driver has taken and not polled yet. Only the driver writes this field.
    taken: AtomicUsize,
    /// What a forked child of the pool's process uses if it cannot lock the state.
    #[cfg(not(loom))]
    orphan: Orphan<A>,
}

/// A closed queue in place of the state, for a forked child. Another thread may have held the lock of the state at the
/// fork; the child does not have this thread, and the lock is never released.
#[cfg(not(loom))]
#[derive(Debug)]
struct Orphan<A> {
    /// The process that made the queue.
    process: ForkMark,
    /// Made by the first call that finds the state locked.
    state: OnceLock<Box<Mutex<State<A>>>>,
}

/// What is under the lock.
#[derive(Debug)]
struct State<A> {
    /// Numbers of tasks, in the order of their wakes.
    ready: Vec<u32>,
    /// The arrivals, oldest first.
    arrivals: VecDeque<A>,
    /// The driver has been called, is being polled, or is parked: it will look into the queue.
    busy: bool,
    /// Calls the driver. Taken with each call, and left anew by each poll of the driver.
    driver: Option<Waker>,
    /// The pool is gone. Set once.
    closed: bool,
    /// No driver will make tasks of arrivals any more. Set once, by a driver that ends after its reactor.
    refuses_arrivals: bool,
    /// The work in this queue does not count with the notifier, because a `run` method runs another pool.
    uncounted: bool,
}

/// What is left to do once the lock is released, since a waker is user code.
#[derive(Debug)]
struct Call {
    /// The driver's waker, if the driver is to be called.
    driver: Option<Waker>,
    /// Whether the reactor may be asleep, and its sleep has to end.
    end_sleep: bool,
}

impl Call {
    /// Calls the driver, and ends the reactor's sleep. Once per batch of work, so out of line: what is done for each task
    /// stays small.
    #[inline(never)]
    fn make<E: Signal>(self, notifier: &Notifier<E>) {
        let end_sleep = EndSleep(self.end_sleep.then_some(notifier));
        // The pool first: a reactor that wakes finds the pool told.
        if let Some(driver) = self.driver {
            driver.wake();
        }
        drop(end_sleep);
    }
}

/// Ends the reactor's sleep when it is dropped, also if the driver's waker has panicked: the work is counted, and the
/// reactor must not sleep on it.
struct EndSleep<'a, E: Signal>(Option<&'a Notifier<E>>);

impl<E: Signal> Drop for EndSleep<'_, E> {
    #[inline]
    fn drop(&mut self) {
        if let Some(notifier) = self.0 {
            notifier.end_sleep();
        }
    }
}

impl<A> Queue<A> {
    /// Returns an empty queue, which is idle.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::new(false)),
            taken: AtomicUsize::new(0),
            #[cfg(not(loom))]
            orphan: Orphan { process: ForkMark::new(), state: OnceLock::new() },
        }
    }

    /// Locks the state. No code that can panic half-way runs under this lock.
    #[cfg(not(loom))]
    #[inline(always)]
    fn lock(&self) -> MutexGuard<'_, State<A>> {
        match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.lock_held(),
        }
    }

    /// Locks the state that another thread has locked; in a forked child that cannot, the closed queue in its place.
    #[cfg(not(loom))]
    #[cold]
    fn lock_held(&self) -> MutexGuard<'_, State<A>> {
        self.orphan.process.lock(&self.state).unwrap_or_else(|| {
            let orphan = self.orphan.state.get_or_init(|| Box::new(Mutex::new(State::new(true))));
            orphan.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }

    /// Locks the state. No code that can panic half-way runs under this lock.
    #[cfg(loom)]
    fn lock(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one way to wake: locks, makes a change, unlocks, and then calls the driver and ends the reactor's sleep if
    /// the change asks for that.
    #[inline]
    fn change<E: Signal>(&self, notifier: &Notifier<E>, change: impl FnOnce(&mut State<A>) -> Option<Call>) {
        let mut state = self.lock();
        let call = change(&mut state);
        drop(state);
        if let Some(call) = call {
            call.make(notifier);
        }
    }

    /// Puts a task in, and calls the driver unless the driver will come anyway. The caller has set the task's
    /// [flag](super::scheduled::ScheduledFlag::schedule), so the task is in the queue once.
    pub(crate) fn push<E: Signal>(&self, task: u32, notifier: &Notifier<E>) {
        self.change(notifier, |state| {
            if state.closed {
                return None;
            }
            state.ready.push(task);
            state.become_busy(notifier)
        });
    }

    /// Leaves an arrival, and calls the driver unless the driver will come anyway. Gives `arrival` back if no driver
    /// will take it. `accept` is called under the lock, before the driver can find the arrival.
    pub(crate) fn arrive<E: Signal>(&self, arrival: A, notifier: &Notifier<E>, accept: impl FnOnce()) -> Result<(), A> {
        let mut refused = None;
        self.change(notifier, |state| {
            if state.closed || state.refuses_arrivals {
                refused = Some(arrival);
                return None;
            }
            accept();
            state.arrivals.push_back(arrival);
            state.become_busy(notifier)
        });
        refused.map_or(Ok(()), Err)
    }

    /// Calls the driver, unless the driver will come anyway, because of a change outside of the queue.
    pub(crate) fn call_driver<E: Signal>(&self, notifier: &Notifier<E>) {
        self.change(notifier, |state| if state.driver.is_none() { None } else { state.become_busy(notifier) });
    }

    /// Lets the driver end. Returns `None` if the driver has been called since it found the queue idle, and has to stay;
    /// otherwise the driver's waker, to be dropped with no lock held.
    ///
    /// The race: another thread drops the last remote spawner, the driver sees that and ends, and only then that thread
    /// calls the driver. Without this, the call would make a queue busy that no driver makes idle again.
    pub(crate) fn retire(&self) -> Option<Option<Waker>> {
        let mut state = self.lock();
        (!state.busy).then(|| state.driver.take())
    }

    /// Calls a parked driver again. The queue has stayed busy.
    pub(crate) fn call_parked_driver<E: Signal>(&self, notifier: &Notifier<E>) {
        self.change(notifier, |state| Some(Call { driver: state.driver.take(), end_sleep: false }));
    }

    /// Begins a poll of the driver; from now on, a call of the driver wakes `waker`. Returns the driver's old waker, to be
    /// dropped with no lock held, and some of the arrivals.
    pub(crate) fn attend(&self, waker: Waker) -> (Option<Waker>, Vec<A>) {
        let mut state = self.lock();
        let some = state.arrivals.len().min(MAX_ARRIVALS);
        (state.driver.replace(waker), state.arrivals.drain(..some).collect())
    }

    /// Puts arrivals back, in front of arrivals that have come since.
    pub(crate) fn put_back(&self, arrivals: impl DoubleEndedIterator<Item = A>) {
        let mut state = self.lock();
        arrivals.rev().for_each(|arrival| state.arrivals.push_front(arrival));
    }

    /// Moves all ready tasks to `tasks`, which is empty, in order.
    ///
    /// Returns `false` if there are neither ready tasks nor arrivals: the queue is idle then, and the driver need not
    /// come again before it is called.
    pub(crate) fn take<E: Signal>(&self, tasks: &mut Vec<u32>, notifier: &Notifier<E>) -> bool {
        let mut state = self.lock();
        if state.ready.is_empty() {
            if state.arrivals.is_empty() {
                state.become_idle(notifier);
            }
            return state.busy;
        }
        // The larger of the two buffers goes back and forth, unless it has become very large.
        tasks.shrink_to(SPARE_TASKS);
        std::mem::swap(&mut state.ready, tasks);
        true
    }

    /// Returns the number of arrivals.
    pub(crate) fn arrivals(&self) -> usize {
        self.lock().arrivals.len()
    }

    /// Refuses arrivals from now on. Returns the arrivals that no driver has taken.
    pub(crate) fn refuse_arrivals(&self) -> Vec<A> {
        let mut state = self.lock();
        state.refuses_arrivals = true;
        std::mem::take(&mut state.arrivals).into()
    }

    /// Notes how many tasks the driver has taken and not polled yet.
    pub(crate) fn set_taken(&self, tasks: usize) {
        self.taken.store(tasks, Ordering::Relaxed);
    }

    /// Returns the number of tasks that wait to be polled.
    pub(crate) fn len(&self) -> usize {
        self.lock().ready.len() + self.taken.load(Ordering::Relaxed)
    }

    /// Sets whether this queue's work keeps the reactor awake. Work does not count while a `run` method runs another
    /// pool: then the driver of this queue will not be polled, however long the reactor stays awake.
    pub(crate) fn set_counted<E: Signal>(&self, counted: bool, notifier: &Notifier<E>) {
        self.change(notifier, |state| {
            if state.uncounted == counted {
                state.uncounted = !counted;
                match (state.busy, counted) {
                    (true, true) => return Some(Call { driver: None, end_sleep: notifier.busy() }),
                    (true, false) => notifier.idle(),
                    (false, _) => {}
                }
            }
            None
        });
    }

    /// Closes the queue: the pool is gone, and all tasks with it. Returns what is to be dropped with no lock held.
    pub(crate) fn close<E: Signal>(&self, notifier: &Notifier<E>) -> (Vec<A>, Option<Waker>) {
        let mut state = self.lock();
        state.closed = true;
        state.ready = Vec::new();
        state.become_idle(notifier);
        self.set_taken(0);
        (std::mem::take(&mut state.arrivals).into(), state.driver.take())
    }
}

impl<A> State<A> {
    /// Returns the state of an empty and idle queue.
    const fn new(closed: bool) -> Self {
        Self {
            ready: Vec::new(),
            arrivals: VecDeque::new(),
            busy: false,
            driver: None,
            closed,
            refuses_arrivals: false,
            uncounted: false,
        }
    }

    /// Makes the queue busy. Returns what is left to do, or `None` if the queue was busy: then the driver will come
    /// anyway.
    #[inline]
    fn become_busy<E: Signal>(&mut self, notifier: &Notifier<E>) -> Option<Call> {
        if self.busy { None } else { self.leave_idle(notifier) }
    }

    /// Makes an idle queue busy. Out of line: of a batch of wakes, only the first one meets an idle queue.
    #[inline(never)]
    fn leave_idle<E: Signal>(&mut self, notifier: &Notifier<E>) -> Option<Call> {
        self.busy = true;
        // Counted before the pool is told: in between, the reactor must not sleep.
        let end_sleep = !self.uncounted && notifier.busy();
        Some(Call { end_sleep, driver: self.driver.take() })
    }

    /// Makes the queue idle.
    fn become_idle<E: Signal>(&mut self, notifier: &Notifier<E>) {
        if std::mem::replace(&mut self.busy, false) && !self.uncounted {
            notifier.idle();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::task::Wake;

    /// Found 22: the driver's waker panics. The work is counted all the same, the reactor's sleep ends, and the next call
    /// of the driver goes to the waker of the driver's next poll.
    #[test]
    fn a_driver_whose_waker_panics() {
        struct Panicking;
        impl Wake for Panicking {
            fn wake(self: Arc<Self>) {
                std::panic::resume_unwind(Box::new(()));
            }
        }
        let (notifier, queue) = (Notifier::new().unwrap(), Queue::<()>::new());
        assert!(queue.attend(Arc::new(Panicking).into()).0.is_none());
        assert!(notifier.try_sleep());
        assert!(catch_unwind(AssertUnwindSafe(|| queue.push(7, &notifier))).is_err());
        assert!(notifier.has_work());
        assert_eq!(notifier.writes(), 1, "the sleep was not ended");
        assert!(notifier.awake());
        // The pool polls the driver for another reason: the task is there.
        let mut tasks = Vec::new();
        assert!(queue.attend(Waker::noop().clone()).0.is_none());
        assert!(queue.take(&mut tasks, &notifier));
        assert_eq!(tasks, [7]);
        tasks.clear();
        assert!(!queue.take(&mut tasks, &notifier));
        assert!(notifier.try_sleep());
    }

    /// A driver may end only if it has not been called since it found the queue idle.
    #[test]
    fn when_a_driver_may_end() {
        let (notifier, queue) = (Notifier::new().unwrap(), Queue::<()>::new());
        let waker = Waker::noop();
        queue.attend(waker.clone());
        queue.push(7, &notifier);
        assert!(queue.retire().is_none(), "there is work");
        let mut tasks = Vec::new();
        assert!(queue.attend(waker.clone()).0.is_none() && queue.take(&mut tasks, &notifier));
        tasks.clear();
        assert!(!queue.take(&mut tasks, &notifier));
        assert!(queue.retire().expect("idle").is_some());
        assert!(queue.retire().expect("idle").is_none(), "once");
    }

    /// What has arrived is there until a driver takes it or refuses it, in order.
    #[test]
    fn arrivals_that_are_refused() {
        let (notifier, queue) = (Notifier::new().unwrap(), Queue::new());
        for arrival in [1, 2] {
            queue.arrive(arrival, &notifier, || ()).unwrap();
        }
        assert_eq!(queue.arrivals(), 2);
        assert_eq!(queue.refuse_arrivals(), [1, 2]);
        assert!(queue.refuse_arrivals().is_empty());
        assert_eq!(queue.arrive(3, &notifier, || panic!("it is refused")), Err(3));
    }
}
