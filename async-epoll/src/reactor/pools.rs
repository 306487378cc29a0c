//! The task sets of a reactor, divided into the sets in the *given pool*, the pool of a `run` method, and the others.
//!
//! The reactor's spawners may belong to the given pool or to other pools. A `LocalPool` cannot be compared with a
//! `LocalSpawner`, so [`Pools::first_run`] finds out by asking, once, when the given pool is run for the first time:
//!
//! ```text
//!   put a probe into the pool of each set, by that pool's own means
//!   run the given pool until it stalls
//!   sets whose probe was polled are here
//!   if a set has not answered:
//!       put a control probe into the given pool; run it until the control probe was polled
//!       sets that have not answered by now are elsewhere
//! ```
//!
//! 1. Why the control probe? `FuturesUnordered`, the queue inside a pool, looks empty while another thread is between
//!    the two steps of a wake, and hides every future that was put in after that wake. But the queue is first in, first
//!    out: the control probe is put in last, so once it was polled, every earlier probe in the same pool was polled
//!    too. The answer is exact, and the loop waits only for a thread in the middle of a wake.
//! 2. Why once? No spawner can be made while a `run` method holds the reactor, so the division cannot change.
//! 3. Sets that are elsewhere do not keep the reactor awake while the given pool is run. Their tasks would not be
//!    polled however long the reactor stays awake, and the loop would spin.

use crate::table::push_pruned;
use crate::task::current::{self, CurrentGuard, Target};
use crate::task::set::TaskSet;
use crate::task::turn::Turn;
use futures::executor::{LocalPool, LocalSpawner};
use futures::task::LocalSpawnExt;
use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::thread;

/// The task sets of a reactor, one for each call of [`Reactor::spawner`](crate::Reactor::spawner).
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// Added by [`new_set`](Self::new_set), pruned now and then. A set lives as long as its spawners and its driver.
    sets: Rc<RefCell<Vec<Weak<TaskSet>>>>,
}

impl Pools {
    /// Makes an empty task set for `pool`.
    pub(crate) fn new_set(&self, pool: &LocalPool, turn: &Rc<Turn>) -> Rc<TaskSet> {
        new_set(&self.sets, pool.spawner(), turn)
    }

    /// Makes a spawner into `pool` the current one: the spawner of `set` if it is known, otherwise a new one, which is made
    /// when it is first needed.
    pub(crate) fn enter(&self, pool: &LocalPool, set: Option<&Rc<TaskSet>>, turn: &Rc<Turn>) -> CurrentPool {
        if let Some(set) = set {
            return CurrentPool { _current: current::enter_run(set, &turn.shared), new: None };
        }
        let new = Rc::new(NewSet {
            set: OnceCell::new(),
            pool: pool.spawner(),
            turn: Rc::clone(turn),
            sets: Rc::clone(&self.sets),
        });
        CurrentPool { _current: current::enter_run(&new, &turn.shared), new: Some(new) }
    }

    /// Runs `pool` until no task is ready, and returns which sets are in `pool`.
    pub(crate) fn first_run(&self, pool: &mut LocalPool) -> Members {
        let mut sets: Vec<_> = self.sets.borrow().iter().filter_map(Weak::upgrade).collect();
        // The set of a dropped pool has no task.
        sets.retain(|set| set.status().is_ok());
        let had_tasks: Vec<_> = sets.iter().map(|set| !set.is_empty()).collect();
        sets.iter().for_each(|set| set.ask());
        pool.run_until_stalled();
        if !sets.iter().all(|set| set.has_answered()) {
            run_to_the_end_of_the_queue(pool);
        }
        Members::new(sets, &had_tasks)
    }
}

/// Makes an empty task set for `pool`, and adds the set to `sets`.
fn new_set(sets: &RefCell<Vec<Weak<TaskSet>>>, pool: LocalSpawner, turn: &Rc<Turn>) -> Rc<TaskSet> {
    let set = Rc::new(TaskSet::new(pool, Rc::clone(turn)));
    push_pruned(&mut sets.borrow_mut(), Rc::downgrade(&set), |set| set.strong_count() != 0);
    set
}

/// The set of a pool that is run before it is known which sets it has. Made when the current spawner is first wanted.
struct NewSet {
    /// The set, once it is made or found.
    set: OnceCell<Rc<TaskSet>>,
    /// Puts the driver into the pool.
    pool: LocalSpawner,
    /// The state of the tasks' thread.
    turn: Rc<Turn>,
    /// The sets of the reactor.
    sets: Rc<RefCell<Vec<Weak<TaskSet>>>>,
}

impl Target for NewSet {
    fn task_set(self: Rc<Self>) -> Rc<dyn Any> {
        Rc::<TaskSet>::clone(self.set.get_or_init(|| new_set(&self.sets, self.pool.clone(), &self.turn)))
    }
}

/// Keeps a spawner into the pool of a `run` method current.
pub(crate) struct CurrentPool {
    /// Keeps the spawner current.
    _current: CurrentGuard,
    /// The spawner, if no set of the pool was known.
    new: Option<Rc<NewSet>>,
}

impl CurrentPool {
    /// Notes which sets are in the pool. From now on the current spawner is the first of them, if none was made before. A
    /// set that was made in the meantime is added to `members`.
    pub(crate) fn settle(&self, members: &mut Members) {
        let Some(new) = &self.new else { return };
        match (new.set.get(), members.here.first()) {
            (Some(set), _) if !members.here.iter().any(|here| Rc::ptr_eq(here, set)) => {
                members.here.push(Rc::clone(set))
            }
            (None, Some(first)) => _ = new.set.set(Rc::clone(first)),
            _ => {}
        }
    }

    /// Returns the set that was made after [`settle`](Self::settle), when the pool had none: by the main future, which has
    /// spawned the pool's first task.
    #[cfg(feature = "test-util")]
    pub(crate) fn late_set(&self, members: &Members) -> Option<&Rc<TaskSet>> {
        self.new.as_ref()?.set.get().filter(|set| !members.here.iter().any(|here| Rc::ptr_eq(here, set)))
    }
}

/// Runs `pool` until every future in its present queue was polled.
fn run_to_the_end_of_the_queue(pool: &mut LocalPool) {
    let polled = Rc::new(Cell::new(false));
    let control = Rc::clone(&polled);
    // Fails only if the pool has been dropped, and the caller holds it.
    if pool.spawner().spawn_local(async move { control.set(true) }).is_ok() {
        loop {
            pool.run_until_stalled();
            if polled.get() {
                break;
            }
            // Another thread is in the middle of a wake: let the thread go on.
            thread::yield_now();
        }
    }
}

/// The task sets of a reactor while a `run` method runs a pool.
#[derive(Debug)]
pub(crate) struct Members {
    /// The sets in the given pool.
    here: Vec<Rc<TaskSet>>,
    /// The sets in other pools, which do not keep the reactor awake meanwhile.
    elsewhere: Vec<Rc<TaskSet>>,
    /// Whether a set in the given pool had a task when the `run` method began.
    had_tasks: bool,
}

impl Members {
    /// Divides `sets` by whether they have answered.
    fn new(sets: Vec<Rc<TaskSet>>, had_tasks: &[bool]) -> Self {
        let had_tasks = sets.iter().zip(had_tasks).any(|(set, had)| *had && set.has_answered());
        let (here, elsewhere): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| set.has_answered());
        elsewhere.iter().for_each(|set| set.pool.set_counted(false));
        Self { here, elsewhere, had_tasks }
    }

    /// Returns the sets in the given pool.
    pub(crate) fn here(&self) -> &[Rc<TaskSet>] {
        &self.here
    }

    /// Returns whether all tasks in the given pool have ended.
    pub(crate) fn are_done(&self) -> bool {
        self.here.iter().all(|set| set.is_empty())
    }

    /// Fails if the given pool had no task, while another pool has a set for which `matters` is true.
    pub(crate) fn refuse_wrong_pool(&self, matters: impl Fn(&TaskSet) -> bool) -> io::Result<()> {
        if self.had_tasks || !self.are_done() || !self.elsewhere.iter().any(|set| matters(set)) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "tasks of this reactor are in another pool than the one that was passed, which has none: \
             pass the LocalPool that was given to Reactor::spawner",
        ))
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.elsewhere.iter().for_each(|set| set.pool.set_counted(true));
    }
}
