//! What the tasks of one thread share with the loop that runs them: the budget of a turn, its number, the panic hook.
//!
//! A pool's [driver](super::set) asks here whether it may poll one more task, and the reactor says here that a new turn
//! begins (step 6). A driver that may not go on is *parked*: it is called again when the next turn begins. All of this
//! stays on one thread, and no cell is borrowed while user code runs.

use super::waker::PoolQueue;
use crate::engine::shared::Shared;
use crate::foreign::drop_payload;
use crate::order::Order;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The user's function that gets the payload of a task's panic.
pub(crate) type PanicHook = Box<dyn Fn(Box<dyn Any + Send>)>;

/// The answer to a driver that asks to poll one more task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The driver may poll.
    Granted,
    /// The driver may not poll before the reactor has looked for events. The driver parks, and is called again then.
    NextTurn,
    /// No reactor on this thread would call a parked driver. The driver has to wake itself, and let other futures of
    /// the pool go first.
    Later,
}

/// The budget of a turn, its number, and the panic hook. Stays on its thread, so plain cells suffice.
pub(crate) struct Turn {
    /// The reactor's shared half.
    pub(crate) shared: Arc<Shared>,
    /// The polls that this turn has left, beyond the [free](Self::admit) polls. Written by each poll and by each new
    /// turn.
    budget: Cell<u32>,
    /// The budget with which each turn begins. Set by the builder.
    poll_budget: u32,
    /// The number of the present turn. Wraps.
    number: Cell<u32>,
    /// The number of the task that is spawned next, in all sets of the reactor. Counts from 0.
    next_task: Cell<u64>,
    /// The drivers, by pool, that were put off to the next turn.
    parked: RefCell<Vec<Arc<PoolQueue>>>,
    /// No reactor on this thread calls parked drivers: the reactor is gone, or on a thread of its own. Set once.
    detached: Cell<bool>,
    /// The user's hook. Set by the builder.
    on_panic: Option<PanicHook>,
    /// The order of ready tasks. Set by the builder.
    pub(crate) order: Order,
}

impl Turn {
    /// Returns the state before the first turn.
    pub(crate) fn new(shared: Arc<Shared>, poll_budget: u32, on_panic: Option<PanicHook>, order: Order) -> Self {
        Self {
            shared,
            budget: Cell::new(poll_budget),
            poll_budget,
            number: Cell::new(0),
            next_task: Cell::new(0),
            parked: RefCell::default(),
            detached: Cell::new(false),
            on_panic,
            order,
        }
    }

    /// Returns the number of the present turn.
    pub(crate) fn number(&self) -> u32 {
        self.number.get()
    }

    /// Returns a number that no other task of this reactor has, now or later.
    pub(crate) fn next_task(&self) -> u64 {
        self.next_task.replace(self.next_task.get().wrapping_add(1))
    }

    /// Puts the driver of `pool` off to the next turn.
    pub(crate) fn park(&self, pool: &Arc<PoolQueue>) {
        self.shared.counters.parks.add(1);
        self.parked.borrow_mut().push(Arc::clone(pool));
        // An embedded reactor counts as asleep between its waits, and there is something to do.
        self.shared.notifier.end_sleep();
    }

    /// Begins a turn with a new budget, and calls the parked drivers.
    pub(crate) fn begin(&self) {
        self.number.set(self.number.get().wrapping_add(1));
        self.budget.set(self.poll_budget);
        if !self.parked.borrow().is_empty() {
            // Taken out first, since a call of a driver runs code of its pool.
            let mut parked = self.parked.take();
            self.order.shuffle(&mut parked);
            for pool in parked {
                pool.call_parked_driver();
            }
        }
    }

    /// Lets each driver call itself from now on: the reactor is dropped, or moves to a thread of its own.
    pub(crate) fn detach(&self) {
        self.detached.set(true);
        self.begin();
    }

    /// Returns whether no reactor on this thread would call a parked driver.
    pub(crate) fn is_detached(&self) -> bool {
        self.detached.get()
    }

    /// Decides whether a task may be polled now, and spends one poll if so. `free` is what the task's pool has left of
    /// the polls that cost no budget: one for each task that was ready when the turn began.
    ///
    /// With a single budget for all polls, 8000 ready tasks would be put off again and again, in quadratic time.
    pub(crate) fn admit(&self, free: &Cell<usize>) -> Admission {
        if let Some(left) = free.get().checked_sub(1) {
            free.set(left);
        } else if let Some(left) = self.budget.get().checked_sub(1) {
            self.budget.set(left);
        } else if self.detached.get() {
            self.budget.set(self.poll_budget);
            return Admission::Later;
        } else {
            return Admission::NextTurn;
        }
        Admission::Granted
    }

    /// Spends the whole budget, after a task has done [all the operations](crate::OPERATIONS_PER_POLL) of one poll.
    /// Such a poll was long, so the reactor has to look for events before any task is polled for the second time.
    #[cold]
    pub(crate) fn end_early(&self) {
        self.budget.set(0);
    }

    /// Counts the panic of a task's code, and reports it.
    pub(crate) fn report_task(&self, panic: Box<dyn Any + Send>) {
        self.shared.counters.task_panics.add(1);
        self.report(panic);
    }

    /// Hands the payload of a panic to the user's hook, and catches a panic of the hook itself.
    pub(crate) fn report(&self, panic: Box<dyn Any + Send>) {
        let handed_over = catch_unwind(AssertUnwindSafe(|| match &self.on_panic {
            Some(hook) => hook(panic),
            None => drop(panic),
        }));
        if let Err(payload) = handed_over {
            drop_payload(payload);
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("number", &self.number).field("budget", &self.budget).finish_non_exhaustive()
    }
}
