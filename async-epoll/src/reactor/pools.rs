//! The task sets of a reactor, and which of them are in the pool that is run.
//!
//! A `run` method is given a pool, and the reactor's spawners may belong to that pool or to others. A `LocalPool` cannot
//! be compared with a `LocalSpawner`, so [`Pools::first_run`] finds out by asking, once, when the pool is run for the first
//! time:
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
//! 1. Why the control probe? `FuturesUnordered`, the queue inside a pool, looks empty while another thread is between the
//!    two steps of a wake, and hides what was put in after that wake. But it is first in, first out: the control probe is
//!    put in last, so once it was polled, every earlier probe in the same pool was polled too. The answer is exact, and the
//!    loop waits only for a thread that is in the middle of a wake.
//! 2. Why once? No spawner can be made while a `run` method holds the reactor, so the division cannot change.
//! 3. Sets that are elsewhere do not keep the reactor awake while this pool is run: their tasks would not be polled,
//!    however long it stays awake, and it would spin.

use crate::table::push_pruned;
use crate::task::set::TaskSet;
use crate::task::turn::Turn;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::thread;

/// The task sets of a reactor, one for each spawner that is not a clone of another.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// Added by [`new_set`](Self::new_set), pruned now and then. A set lives as long as its spawners and its driver.
    sets: RefCell<Vec<Weak<TaskSet>>>,
}

impl Pools {
    /// Makes an empty task set for `pool`.
    pub(crate) fn new_set(&self, pool: &LocalPool, turn: &Rc<Turn>) -> Rc<TaskSet> {
        let set = Rc::new(TaskSet::new(pool.spawner(), Rc::clone(turn)));
        push_pruned(&mut self.sets.borrow_mut(), Rc::downgrade(&set), |set| set.strong_count() != 0);
        set
    }

    /// Runs `pool` until it stalls, and finds out which sets are in it.
    pub(crate) fn first_run(&self, pool: &mut LocalPool) -> Members {
        let mut sets: Vec<_> = self.sets.borrow().iter().filter_map(Weak::upgrade).collect();
        // A set whose pool was dropped has no task.
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

/// Runs `pool` until everything was polled that is in its queue now.
fn run_to_the_end_of_the_queue(pool: &mut LocalPool) {
    let polled = Rc::new(Cell::new(false));
    let control = Rc::clone(&polled);
    // Fails only if the pool is gone, and here it is.
    if pool.spawner().spawn_local(async move { control.set(true) }).is_ok() {
        loop {
            pool.run_until_stalled();
            if polled.get() {
                break;
            }
            // Another thread is in the middle of a wake: let it go on.
            thread::yield_now();
        }
    }
}

/// The task sets of a reactor while a `run` method runs one pool.
#[derive(Debug)]
pub(crate) struct Members {
    /// The sets in the pool that is run.
    here: Vec<Rc<TaskSet>>,
    /// The sets in other pools, which do not keep the reactor awake meanwhile.
    elsewhere: Vec<Rc<TaskSet>>,
    /// A set in the pool that is run had a task when the `run` method began.
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

    /// Returns the sets in the pool that is run.
    pub(crate) fn here(&self) -> &[Rc<TaskSet>] {
        &self.here
    }

    /// Returns whether all tasks in the pool that is run have ended.
    pub(crate) fn are_done(&self) -> bool {
        self.here.iter().all(|set| set.is_empty())
    }

    /// Fails if the pool that is run had no task, while another pool has a set for which `matters` is true.
    pub(crate) fn refuse_wrong_pool(&self, matters: impl Fn(&TaskSet) -> bool) -> io::Result<()> {
        if self.had_tasks || !self.elsewhere.iter().any(|set| matters(set)) {
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
