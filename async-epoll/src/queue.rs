//! The tasks of a pool that are ready to be polled, and the one call that tells the pool so.
//!
//! Any thread may wake a task, and the pool's thread polls it. Between the two lies this queue. What must hold, however
//! their steps mix:
//!
//! - a task that was put in is taken out, with no further wake needed;
//! - the reactor does not sleep while something is in the queue;
//! - the pool is told once, not once per wake.
//!
//! All three follow from one flag under the queue's lock. The queue is *busy* from the first task that is put in until its
//! [driver](crate::task) finds nothing left. Becoming busy is counted with the [notifier](crate::notifier), which keeps
//! the reactor awake, and is the moment when the driver is called; while the queue is busy, the driver is known to come.
//!
//! ```text
//!      push(): count + 1, call the driver, end the sleep         push(): nothing but the task itself
//!   idle ─────────────────────────────────────────────► busy ──┐
//!     ▲                                                  │ ▲ └──┘
//!     └──────────────────────────────────────────────────┘ └─ take(): some tasks, in the order of their wakes
//!                    take(): nothing left, count - 1
//! ```

use crate::notifier::{Notifier, Signal};
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
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

/// Arrivals that the driver gets at a time, so that a flood of them is not moved about in each turn.
const ARRIVALS: usize = 256;
/// Numbers of tasks for which memory is kept.
const SPARE_TASKS: usize = 1024;

/// The queue of one pool. `A` is what other threads leave to be made into tasks.
#[derive(Debug)]
pub(crate) struct Queue<A> {
    /// Everything but the number below. Locked for a few instructions at a time.
    state: Mutex<State<A>>,
    /// Tasks that the driver has taken and not polled yet. Only the driver writes it.
    taken: AtomicUsize,
}

/// What is under the lock.
#[derive(Debug)]
struct State<A> {
    /// Numbers of tasks, in the order of their wakes.
    ready: Vec<u32>,
    /// What other threads have left.
    arrivals: VecDeque<A>,
    /// The driver has been called, is being polled, or was put off to the next turn: it will look here.
    busy: bool,
    /// Calls the driver. Taken with each call, and left anew by each poll of the driver.
    driver: Option<Waker>,
    /// The pool is gone.
    closed: bool,
    /// There will be no driver any more to make tasks of arrivals.
    refuses_arrivals: bool,
}

/// What is left to do when the lock has been released, since a waker is foreign code.
#[derive(Debug)]
#[must_use]
pub(crate) struct Call {
    /// To be woken, if the driver is to be called.
    driver: Option<Waker>,
    /// Whether the reactor may be asleep, and has to be woken then.
    end_sleep: bool,
}

impl Call {
    /// Tells the pool, then the reactor.
    pub(crate) fn make<E: Signal>(self, notifier: &Notifier<E>) {
        if let Some(driver) = self.driver {
            driver.wake();
        }
        if self.end_sleep {
            notifier.end_sleep();
        }
    }
}

impl<A> Queue<A> {
    /// Empty.
    pub(crate) fn new() -> Self {
        let state = State {
            ready: Vec::new(),
            arrivals: VecDeque::new(),
            busy: false,
            driver: None,
            closed: false,
            refuses_arrivals: false,
        };
        Self { state: Mutex::new(state), taken: AtomicUsize::new(0) }
    }

    /// Nothing under this lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a task in. The caller has [marked](crate::mark::Mark::schedule) it, so it is in once.
    pub(crate) fn push<E: Signal>(&self, task: u32, notifier: &Notifier<E>) -> Option<Call> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.ready.push(task);
        state.become_busy(notifier)
    }

    /// Leaves something to be made into a task; gives it back if nobody will. `accept` is called before anybody can find it.
    pub(crate) fn arrive<E: Signal>(
        &self,
        arrival: A,
        notifier: &Notifier<E>,
        accept: impl FnOnce(),
    ) -> Result<Option<Call>, A> {
        let mut state = self.lock();
        if state.closed || state.refuses_arrivals {
            return Err(arrival);
        }
        accept();
        state.arrivals.push_back(arrival);
        Ok(state.become_busy(notifier))
    }

    /// The driver is being polled, and can be called by `waker` from now on. Returns the old one, to be dropped, and some
    /// of what other threads have left.
    pub(crate) fn attend(&self, waker: Waker) -> (Option<Waker>, Vec<A>) {
        let mut state = self.lock();
        let some = state.arrivals.len().min(ARRIVALS);
        (state.driver.replace(waker), state.arrivals.drain(..some).collect())
    }

    /// Puts arrivals back in front of those that have come since.
    pub(crate) fn put_back(&self, arrivals: impl DoubleEndedIterator<Item = A>) {
        let mut state = self.lock();
        arrivals.rev().for_each(|arrival| state.arrivals.push_front(arrival));
    }

    /// Moves all ready tasks to `tasks`, which is empty, in order. If there are none, nor arrivals, the queue is idle, and
    /// the answer is `false`: the driver need not come again before it is called.
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

    /// Whether other threads have left anything.
    pub(crate) fn has_arrivals(&self) -> bool {
        !self.lock().arrivals.is_empty()
    }

    /// Calls the driver, unless it will come anyway: something has changed that it looks at.
    pub(crate) fn call_in<E: Signal>(&self, notifier: &Notifier<E>) -> Option<Call> {
        let mut state = self.lock();
        if state.closed { None } else { state.become_busy(notifier) }
    }

    /// Calls the driver again, which was put off.
    pub(crate) fn call(&self) -> Call {
        Call { driver: self.lock().driver.take(), end_sleep: false }
    }

    /// Nothing that other threads leave will be made into a task any more. Returns what they have left.
    pub(crate) fn refuse_arrivals(&self) -> Vec<A> {
        let mut state = self.lock();
        state.refuses_arrivals = true;
        std::mem::take(&mut state.arrivals).into()
    }

    /// Notes how many tasks the driver has still to poll.
    pub(crate) fn set_taken(&self, tasks: usize) {
        self.taken.store(tasks, Ordering::Relaxed);
    }

    /// Tasks that wait to be polled.
    pub(crate) fn len(&self) -> usize {
        self.lock().ready.len() + self.taken.load(Ordering::Relaxed)
    }

    /// The pool is gone, and all tasks with it. Returns what is to be dropped when no lock is held.
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
    /// Notes that there is something to do. Returns what is left to do about it, unless the driver will come anyway.
    #[inline]
    fn become_busy<E: Signal>(&mut self, notifier: &Notifier<E>) -> Option<Call> {
        if self.busy {
            return None;
        }
        self.busy = true;
        // Counted before the pool hears of it: in between, the reactor must not sleep.
        Some(Call { end_sleep: notifier.busy(), driver: self.driver.take() })
    }

    /// Notes that nothing is left to do.
    fn become_idle<E: Signal>(&mut self, notifier: &Notifier<E>) {
        if std::mem::replace(&mut self.busy, false) {
            notifier.idle();
        }
    }
}
