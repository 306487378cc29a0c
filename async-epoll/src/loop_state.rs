//! What the tasks on a thread share with the loop that runs them: the turn, its budget, who was put off, what to do about
//! panics.
//!
//! A [task](crate::task) asks here whether it may be polled, and the [reactor](crate::reactor) says here that a new turn
//! begins. All of it stays on one thread, and no cell is borrowed while a task's code runs.

use crate::handle::Handle;
use crate::shared::Shared;
use crate::task::TaskWaker;
use futures::executor::LocalSpawner;
use futures::task::{LocalFutureObj, LocalSpawn};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

/// What to do with a task's panic.
pub(crate) type PanicHook = Box<dyn Fn(Box<dyn Any + Send>)>;

/// What the tasks of one thread share with the loop that runs them. Stays on the thread, so plain cells do.
pub(crate) struct LoopState {
    /// The reactor's other half.
    pub(crate) shared: Arc<Shared>,
    /// The current turn.
    turn: Cell<u32>,
    /// Polls that the turn may still spend on tasks which are not polled for the first time in it.
    budget: Cell<u32>,
    /// The budget of a turn.
    poll_budget: u32,
    /// A task's poll or drop is running, so a task that is spawned now belongs to this turn.
    polling: Cell<bool>,
    /// Tasks put off until the reactor has looked for events.
    parked: RefCell<Vec<Arc<TaskWaker>>>,
    /// The pools that tasks were spawned into, to find out whether `run` was given the right one; with the address that
    /// each had, since there is no other way to see that two spawners belong to one pool.
    pools: RefCell<Vec<(usize, LocalSpawner)>>,
    /// The reactor is gone, so nobody would hand a parked task back: park none.
    closed: Cell<bool>,
    /// The user's hook.
    on_panic: Option<PanicHook>,
}

impl LoopState {
    /// Before the first turn.
    pub(crate) fn new(shared: Arc<Shared>, poll_budget: u32, on_panic: Option<PanicHook>) -> Self {
        Self {
            shared,
            turn: Cell::new(1),
            budget: Cell::new(poll_budget),
            poll_budget,
            polling: Cell::new(false),
            parked: RefCell::default(),
            pools: RefCell::default(),
            closed: Cell::new(false),
            on_panic,
        }
    }

    /// Tasks that have been spawned and have not ended.
    pub(crate) fn live_tasks(&self) -> usize {
        usize::try_from(self.shared.counters.live_tasks.get()).unwrap_or(usize::MAX)
    }

    /// Puts a task off until the reactor has looked for events.
    pub(crate) fn park(&self, task: &Arc<TaskWaker>) {
        self.shared.counters.parks.add(1);
        self.parked.borrow_mut().push(Arc::clone(task));
    }

    /// Remembers a pool that tasks are spawned into, and forgets those that are gone.
    pub(crate) fn remember_pool(&self, address: usize, spawner: &LocalSpawner) {
        let mut pools = self.pools.borrow_mut();
        // A pool that has moved away may still live, but then its place in the list is taken by the one that came.
        pools.retain(|(other, pool)| *other != address && pool.status_local().is_ok());
        pools.push((address, spawner.clone()));
    }

    /// Ends a turn: hands the parked tasks back to their pool, with a new budget.
    pub(crate) fn begin_turn(&self) {
        self.turn.set(self.turn.get().wrapping_add(1));
        self.budget.set(self.poll_budget);
        // Taken out first: waking a task of the pool runs foreign code.
        for task in self.parked.take() {
            task.wake_inner();
        }
    }

    /// The reactor goes away: the parked tasks go back for good.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.begin_turn();
    }

    /// Whether a task may be polled now. `last` is the turn in which it was last, or in which it was spawned.
    ///
    /// The first poll in a turn is free: it is bounded by the number of tasks. With one budget for all polls, eight
    /// thousand ready tasks would be parked over and over, in quadratic time.
    pub(crate) fn admit(&self, last: &mut u32) -> bool {
        let (turn, budget) = (self.turn.get(), self.budget.get());
        if *last != turn {
            *last = turn;
        } else if budget == 0 {
            return self.closed.get();
        } else {
            self.budget.set(budget - 1);
        }
        true
    }

    /// The turn to note for a task that is spawned now.
    pub(crate) fn spawn_turn(&self) -> u32 {
        // Spawned by a task, its first poll costs budget, so that a chain of spawns is bounded too.
        if self.polling.get() { self.turn.get() } else { self.turn.get().wrapping_sub(1) }
    }

    /// Runs a task's code: poll or drop. Catches a panic, and makes this reactor the current one meanwhile.
    pub(crate) fn run_task<T>(&self, code: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
        let _current = (!Handle::is_current(&self.shared)).then(|| Handle::enter_shared(&self.shared));
        let nested = self.polling.replace(true);
        let result = catch_unwind(AssertUnwindSafe(code));
        self.polling.set(nested);
        if !Handle::is_current(&self.shared) {
            // The task holds a guard of another reactor across an await. That must not reach anybody else.
            Handle::make_current(&self.shared);
        }
        result
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
        // A payload may panic when it is dropped, and so on; the third one is where we stop caring.
        if let Err(payload) = handed_over.map_err(AssertUnwindSafe) {
            if let Err(worse) = catch_unwind(move || drop(payload)) {
                std::mem::forget(worse);
            }
        }
    }

    /// Puts a probe into every pool; see [`Probe::all_ran`].
    pub(crate) fn probe(&self) -> Probe {
        let mut flags = Vec::new();
        self.pools.borrow_mut().retain(|(_, pool)| {
            let flag = Rc::new(Cell::new(false));
            let ran = Rc::clone(&flag);
            let spawned = pool.spawn_local_obj(LocalFutureObj::new(Box::new(async move { ran.set(true) })));
            flags.push(flag);
            spawned.is_ok() || flags.pop().is_none()
        });
        Probe(flags)
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
