//! What the tasks on a thread share with the loop that runs them: the turn's budget, the pools, what to do about panics.
//!
//! A pool's [driver](crate::task) asks here whether it may poll one task more, and the [reactor](crate::reactor) says here
//! that a new turn begins. All of it stays on one thread, and no cell is borrowed while a task's code runs.

use crate::engine::drop_payload;
use crate::handle::{Enter, Handle};
use crate::shared::Shared;
use crate::table::push_pruned;
use crate::task::TaskSet;
use futures::executor::LocalSpawner;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;

thread_local! {
    /// A task's poll or drop is running on this thread: of any reactor, since tasks of two may spawn each other.
    static POLLING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a task's code is running on this thread.
pub(crate) fn is_polling() -> bool {
    POLLING.get()
}

/// What to do with a task's panic.
pub(crate) type PanicHook = Box<dyn Fn(Box<dyn Any + Send>)>;

/// Whether the driver may poll one task more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may.
    Granted,
    /// Not before the reactor has looked for events, which calls the driver again.
    NextTurn,
    /// Nobody would call the driver again: it has to do so itself, and let others go first.
    Later,
}

/// What the tasks of one thread share with the loop that runs them. Stays on the thread, so plain cells do.
pub(crate) struct LoopState {
    /// The reactor's other half.
    pub(crate) shared: Arc<Shared>,
    /// Polls that the turn may still spend beyond those that are [free](Self::admit).
    budget: Cell<u32>,
    /// The budget of a turn.
    poll_budget: u32,
    /// The current turn.
    turn: Cell<u32>,
    /// The tasks, by pool and spawner, as long as there are any or somebody can spawn some.
    sets: RefCell<Vec<Weak<TaskSet>>>,
    /// Those whose driver was put off to the next turn.
    parked: RefCell<Vec<Rc<TaskSet>>>,
    /// The reactor is gone, or on a thread of its own: it would not call a driver that was put off.
    alone: Cell<bool>,
    /// The user's hook.
    on_panic: Option<PanicHook>,
}

impl LoopState {
    /// Before the first turn.
    pub(crate) fn new(shared: Arc<Shared>, poll_budget: u32, on_panic: Option<PanicHook>) -> Self {
        Self {
            shared,
            budget: Cell::new(poll_budget),
            poll_budget,
            turn: Cell::new(0),
            sets: RefCell::default(),
            parked: RefCell::default(),
            alone: Cell::new(false),
            on_panic,
        }
    }

    /// Tasks that have been spawned and have not ended.
    pub(crate) fn live_tasks(&self) -> usize {
        self.shared.live_tasks()
    }

    /// The current turn.
    pub(crate) fn turn(&self) -> u32 {
        self.turn.get()
    }

    /// Makes an empty set of tasks for the pool behind `spawner`.
    pub(crate) fn new_tasks(state: &Rc<Self>, spawner: LocalSpawner) -> Rc<TaskSet> {
        let tasks = Rc::new(TaskSet::new(spawner, Rc::clone(state)));
        push_pruned(&mut state.sets.borrow_mut(), Rc::downgrade(&tasks), |set| set.strong_count() != 0);
        tasks
    }

    /// Calls the driver of `tasks` in the next turn.
    pub(crate) fn park(&self, tasks: &Rc<TaskSet>) {
        self.shared.counters.parks.add(1);
        self.parked.borrow_mut().push(Rc::clone(tasks));
        // An embedded reactor sleeps between its waits, and there is something to do.
        self.shared.notifier.end_sleep();
    }

    /// Ends a turn: what was put off may go on, with a new budget.
    pub(crate) fn begin_turn(&self) {
        self.turn.set(self.turn.get().wrapping_add(1));
        self.budget.set(self.poll_budget);
        // Taken out first, since calling a driver tells its pool, which is not ours.
        if !self.parked.borrow().is_empty() {
            for tasks in self.parked.take() {
                tasks.call_driver();
            }
        }
    }

    /// The reactor goes away, or to a thread of its own: from now on each driver calls itself.
    pub(crate) fn leave_alone(&self) {
        self.alone.set(true);
        self.begin_turn();
    }

    /// Whether a task may be polled now. `free` is what its pool has left of the polls that cost nothing: one for each task
    /// that was ready when the turn began.
    ///
    /// With one budget for all polls, eight thousand ready tasks would be put off over and over, in quadratic time.
    pub(crate) fn admit(&self, free: &Cell<usize>) -> Admission {
        if let Some(left) = free.get().checked_sub(1) {
            free.set(left);
        } else if let Some(left) = self.budget.get().checked_sub(1) {
            self.budget.set(left);
        } else if self.alone.get() {
            self.budget.set(self.poll_budget);
            return Admission::Later;
        } else {
            return Admission::NextTurn;
        }
        Admission::Granted
    }

    /// A task has just done [all the operations](crate::OPERATIONS_PER_POLL) that it may in one poll. It wants to go on at
    /// once, but that was a long poll: the reactor is to look for events before anything is polled for the second time.
    #[cold]
    pub(crate) fn end_turn_early(&self) {
        self.budget.set(0);
    }

    /// Whether no reactor on this thread would call a driver that was put off.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.get()
    }

    /// Tasks are about to be polled, or dropped: makes this reactor the current one meanwhile.
    pub(crate) fn begin_polls(&self) -> Polling {
        Polling { nested: POLLING.replace(true), _current: Handle::enter_shared(&self.shared) }
    }

    /// A task's code has panicked.
    pub(crate) fn report_task(&self, panic: Box<dyn Any + Send>) {
        self.shared.counters.task_panics.add(1);
        self.report(panic);
    }

    /// Hands a panic to the user's hook, and catches the hook's own.
    pub(crate) fn report(&self, panic: Box<dyn Any + Send>) {
        let handed_over = catch_unwind(AssertUnwindSafe(|| match &self.on_panic {
            Some(hook) => hook(panic),
            None => drop(panic),
        }));
        if let Err(payload) = handed_over {
            drop_payload(payload);
        }
    }

    /// Puts a probe into every pool; see [`Probe::all_ran`].
    pub(crate) fn probe(&self) -> Probe {
        Probe(self.living().iter().filter_map(|tasks| tasks.probe()).collect())
    }

    /// Where all living tasks were spawned, if it is certain that none can ever be woken.
    pub(crate) fn stuck(&self) -> Option<Vec<&'static Location<'static>>> {
        let sets = self.living();
        let stuck: Option<Vec<_>> = sets.iter().map(|tasks| tasks.stuck()).collect();
        stuck.map(|places| places.concat())
    }

    /// The sets of tasks that are still there.
    fn living(&self) -> Vec<Rc<TaskSet>> {
        self.sets.borrow().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Tasks are being polled or dropped; see [`LoopState::begin_polls`].
pub(crate) struct Polling {
    /// They were already.
    nested: bool,
    /// Keeps the reactor current.
    _current: Enter,
}

impl Drop for Polling {
    fn drop(&mut self) {
        POLLING.set(self.nested);
    }
}

impl fmt::Debug for LoopState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopState").field("turn", &self.turn).field("budget", &self.budget).finish_non_exhaustive()
    }
}

/// A do-nothing task in each pool that belongs to a reactor. Running a pool until it stalls runs its probe.
#[derive(Debug)]
pub(crate) struct Probe(Vec<Rc<Cell<bool>>>);

impl Probe {
    /// Whether the pools in question have all been run since.
    pub(crate) fn all_ran(&self) -> bool {
        self.0.iter().all(|ran| ran.get())
    }
}
