//! Watched tasks: the tasks that have a handle, a group or a name.
//!
//! Most tasks have none of these, and must not pay for them. So the watched tasks are in a table of their own, with larger
//! entries, and the highest bit of a task's number [tells](super::waker::WATCHED) which table it is in. The driver looks at
//! that bit before each poll; this is all that the other tasks pay.
//!
//! An entry is owned by up to three parties, and removed when the last of them lets go:
//!
//! ```text
//!   the task      from the spawn until the task has ended
//!   the queue     while the number of an ended task is in the queue, or on its way there
//!   the handle    until it has been ready, is dropped or detached; meanwhile the output or the panic of an ended task
//!                 waits here
//! ```
//!
//! A [group](crate::group) in place of a handle takes the outcome when the task ends, so an entry never waits for a group.
//!
//! # Races
//!
//! All of this is on the pool's thread, except for one word: the [scheduled flag](crate::wake::scheduled), on which other
//! threads wake and abort.
//!
//! | the abort comes | what happens |
//! |---|---|
//! | while the task waits | the abort puts the number into the queue; the driver finds the bit, and drops the future |
//! | while the number is in the queue, also before the first poll | the driver finds the bit when it takes the number |
//! | after `begin_poll`, before the driver looks for the bit | the driver drops the future at once; the number comes to the queue a second time, for an entry that has ended |
//! | during the poll, also from inside of it | the poll goes on. If it returns `Pending`, the driver finds the number in the queue again. If it returns `Ready` or panics, that is the result: the abort came too late |
//! | at once, by a group on the pool's thread | the group takes the future out of the table, as for a poll, and drops it; if the future is out already, the abort leaves the mark |
//! | while the future is being dropped | nothing to do; the number comes to the queue for an entry that has ended |
//! | after the end | the flag says so: nothing happens |
//! | after the pool was dropped | the queue is closed, and the future has been dropped with the pool |
//!
//! The future is dropped by the driver, by a group or with the pool, so always on the pool's thread; the reactor does not sleep while
//! the queue has a number, so an abort comes before the next sleep. During a poll the future is not in the table, so
//! nothing can be polled or dropped twice. A handle may be dropped, asked and awaited at any time, also during the poll or
//! the drop of its own task: everything but the future and the span stays in the table.
//!
//! The functions of this file run no user code and drop none: what they remove, they return.

use super::job::Job;
use super::label::{Label, TaskName};
use super::waker::{TaskWaker, WATCHED};
use crate::table::Table;
use crate::trace::TaskSpan;
use std::any::Any;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// What the user has put into a task: out of the table while the task is polled.
pub(crate) struct Work {
    /// The future; after its end, the output.
    pub(crate) job: Pin<Box<dyn Job>>,
    /// The span of the task's polls, with the feature `tracing`.
    pub(crate) span: TaskSpan,
}

/// How a task has ended.
pub(crate) enum Outcome {
    /// The future was ready. The job has the output, if there is a handle that may ask for it.
    Done(Option<Pin<Box<dyn Job>>>),
    /// The task was aborted.
    Aborted,
    /// The pool was dropped.
    PoolDropped,
    /// The future has panicked, in a poll or when it was dropped.
    Panicked(Payload),
    /// The handle has taken the outcome.
    Taken,
}

/// A group of tasks.
pub(crate) trait Parent {
    /// Returns whether the group wants the output of a child that ends now.
    fn keeps_outputs(&self) -> bool;

    /// Takes the child with this number out of the group. Returns the outcome if the group does not keep it. The place of the
    /// spawn and the name are for an error. Called with no borrow held.
    fn child_ended(
        &self,
        child: u32,
        outcome: Outcome,
        spawned_at: &'static Location<'static>,
        name: Option<TaskName>,
    ) -> Option<Outcome>;

    /// Passes on each waker that only the end of a child, or another task, would wake. Runs no user code.
    fn wakers(&self, each: &mut dyn FnMut(&Waker));
}

/// What learns of the end of a task.
pub(crate) enum Owner {
    /// Nothing: the task has a name only.
    Nothing,
    /// A handle, and the waker of what awaits it. The waker is taken when the task ends.
    Handle(Option<Waker>),
    /// A group, and the number of the task in the group.
    Group(Rc<dyn Parent>, u32),
}

/// One watched task.
struct Entry {
    /// Present until the end of the task, and out of the table while the task is polled or dropped.
    work: Option<Work>,
    /// What the wakers of the task refer to. Present until the end of the task.
    waker: Option<Arc<TaskWaker>>,
    /// Present from the end of the task.
    outcome: Option<Outcome>,
    /// What learns of the end. A group is taken when the task ends, a handle stays until it has the outcome or is dropped.
    owner: Owner,
    /// The task has ended, and its number is in the queue or on its way there.
    is_queued: bool,
    /// The name of the task.
    name: Option<TaskName>,
}

impl Entry {
    /// Returns whether no party needs the entry any more.
    fn is_over(&self) -> bool {
        self.outcome.is_some() && matches!(self.owner, Owner::Nothing) && !self.is_queued
    }

    /// Returns the place for the waker of what awaits the handle; `None` if there is no handle.
    fn joiner(&mut self) -> Option<&mut Option<Waker>> {
        match &mut self.owner {
            Owner::Handle(joiner) => Some(joiner),
            _ => None,
        }
    }
}

/// What [`Watched::end`] and [`Watched::release`] leave to be woken, reported and dropped.
#[must_use = "user code, to be run with no borrow"]
pub(crate) struct Leftovers {
    /// What awaits the handle.
    pub(crate) joiner: Option<Waker>,
    /// The group that the outcome is for, with the number of the task in it, and the task's name.
    pub(crate) parent: Option<(Rc<dyn Parent>, u32, Option<TaskName>)>,
    /// An outcome that no handle will take.
    pub(crate) outcome: Option<Outcome>,
}

/// The watched tasks of a set.
#[derive(Default)]
pub(crate) struct Watched {
    /// The tasks by number, without the bit [`WATCHED`].
    table: Table<Entry>,
    /// The number of entries that have ended and are queued.
    queued: usize,
}

impl Watched {
    /// Adds a task. `make` makes what is waked by its wakers, and what learns of its end, from the task's number.
    pub(crate) fn insert(
        &mut self,
        work: Work,
        name: Option<TaskName>,
        make: impl FnOnce(u32) -> (Arc<TaskWaker>, Owner),
    ) -> u32 {
        WATCHED
            | self.table.insert_with(|number| {
                let (waker, owner) = make(number | WATCHED);
                Entry { work: Some(work), waker: Some(waker), outcome: None, owner, is_queued: false, name }
            })
    }

    /// Returns the entry of a task.
    fn entry(&mut self, number: u32) -> &mut Entry {
        &mut self.table[number & !WATCHED]
    }

    /// Removes the entry of a task if no party needs it any more.
    fn remove_if_over(&mut self, number: u32) {
        if self.entry(number).is_over() {
            // Nothing of the user's is left in it.
            self.table.remove(number & !WATCHED);
        }
    }

    /// Takes a task out of the table, for a poll. `None` if the task has ended while its number was in the queue.
    pub(crate) fn begin_poll(&mut self, number: u32) -> Option<(Work, Arc<TaskWaker>)> {
        let taken = self.take_work(number);
        if taken.is_none() {
            self.leave_queue(number);
        }
        taken
    }

    /// Takes a task out of the table. `None` if the task has ended, or is out of the table.
    pub(crate) fn take_work(&mut self, number: u32) -> Option<(Work, Arc<TaskWaker>)> {
        let entry = self.table.get_mut(number & !WATCHED)?;
        match (entry.work.take(), &entry.waker) {
            (Some(work), Some(waker)) => Some((work, Arc::clone(waker))),
            _ => None,
        }
    }

    /// Puts a task back after a poll.
    pub(crate) fn end_poll(&mut self, number: u32, work: Work) {
        self.entry(number).work = Some(work);
    }

    /// Returns whether there is a handle or a group that wants the output of a task.
    pub(crate) fn keeps_output(&mut self, number: u32) -> bool {
        match &self.entry(number).owner {
            Owner::Nothing => false,
            Owner::Handle(_) => true,
            Owner::Group(parent, _) => parent.keeps_outputs(),
        }
    }

    /// Ends a task, whose work is out of the table. `is_queued` says that its number is in the queue, or will be.
    pub(crate) fn end(&mut self, number: u32, outcome: Outcome, is_queued: bool) -> Leftovers {
        self.queued += usize::from(is_queued);
        let entry = self.entry(number);
        if let Owner::Handle(joiner) = &mut entry.owner {
            let joiner = joiner.take();
            entry.waker = None;
            entry.outcome = Some(outcome);
            entry.is_queued = is_queued;
            return Leftovers { joiner, parent: None, outcome: None };
        }
        // At most the queue still needs the entry.
        let (owner, name) = if is_queued {
            entry.is_queued = true;
            entry.waker = None;
            entry.outcome = Some(Outcome::Taken);
            (std::mem::replace(&mut entry.owner, Owner::Nothing), entry.name.take())
        } else {
            let Entry { owner, name, .. } = self.table.remove(number & !WATCHED);
            (owner, name)
        };
        let parent = match owner {
            Owner::Group(parent, child) => Some((parent, child, name)),
            _ => None,
        };
        Leftovers { joiner: None, parent, outcome: Some(outcome) }
    }

    /// Notes that the number of a task that has ended has left the queue.
    pub(crate) fn leave_queue(&mut self, number: u32) {
        let entry = self.entry(number);
        if std::mem::replace(&mut entry.is_queued, false) {
            self.queued -= 1;
        }
        self.remove_if_over(number);
    }

    /// Returns whether the queue has the number of a task that has ended, or will have it.
    pub(crate) const fn has_queued(&self) -> bool {
        self.queued != 0
    }

    /// Forgets what is in the queue, and returns the numbers of the tasks that have not ended: the pool was dropped. The
    /// tasks stay in the table, so that a group that is dropped with one of them finds its other children.
    pub(crate) fn close(&mut self) -> Vec<u32> {
        self.queued = 0;
        let mut live = Vec::new();
        for (number, entry) in self.table.iter_mut() {
            entry.is_queued = false;
            if entry.work.is_some() {
                live.push(number | WATCHED);
            }
        }
        live
    }

    /// Returns what the wakers of a task refer to; `None` if the task has ended.
    pub(crate) fn waker(&mut self, number: u32) -> Option<Arc<TaskWaker>> {
        self.entry(number).waker.clone()
    }

    /// Returns whether a task has ended.
    pub(crate) fn has_ended(&mut self, number: u32) -> bool {
        self.entry(number).outcome.is_some()
    }

    /// Takes the outcome of a task for its handle, which lets go of the task. `None` if the task has not ended.
    pub(crate) fn take_outcome(&mut self, number: u32) -> Option<Outcome> {
        let entry = self.entry(number);
        entry.outcome.as_ref()?;
        // What awaited the handle was taken at the end.
        if entry.is_queued {
            entry.owner = Owner::Nothing;
            return entry.outcome.replace(Outcome::Taken);
        }
        self.table.remove(number & !WATCHED).outcome
    }

    /// Takes the outcome of a task for its handle, as [`take_outcome`](Self::take_outcome). If the task has not ended, leaves
    /// `joiner` to be woken at the end. Also returns a waker to be dropped: what `joiner` replaces, or `joiner` itself.
    pub(crate) fn join(&mut self, number: u32, joiner: Waker) -> (Option<Outcome>, Option<Waker>) {
        if let Some(outcome) = self.take_outcome(number) {
            return (Some(outcome), Some(joiner));
        }
        match self.entry(number).joiner() {
            Some(place) => (None, place.replace(joiner)),
            None => (None, Some(joiner)),
        }
    }

    /// Returns whether the end of a task wakes `waker`.
    pub(crate) fn will_wake(&mut self, number: u32, waker: &Waker) -> bool {
        self.entry(number).joiner().and_then(|joiner| joiner.as_ref()).is_some_and(|joiner| joiner.will_wake(waker))
    }

    /// Lets go of a task's handle.
    pub(crate) fn release(&mut self, number: u32) -> Leftovers {
        let entry = self.entry(number);
        let joiner = entry.joiner().and_then(Option::take);
        entry.owner = Owner::Nothing;
        let outcome = entry.outcome.as_mut().map(|outcome| std::mem::replace(outcome, Outcome::Taken));
        self.remove_if_over(number);
        Leftovers { joiner, parent: None, outcome }
    }

    /// Takes a live task from its group. Returns its label. For a forked child, in which the task never ends.
    pub(crate) fn disown(&mut self, number: u32) -> Option<Label> {
        let entry = self.entry(number);
        entry.owner = Owner::Nothing;
        let waker = entry.waker.as_ref()?;
        Some(Label { spawned_at: waker.spawned_at, name: entry.name.clone() })
    }

    /// Returns what the wakers of each live task refer to, with the label of the task.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&Arc<TaskWaker>, Label)> {
        self.table.iter().filter_map(|entry| {
            let waker = entry.waker.as_ref()?;
            Some((waker, Label { spawned_at: waker.spawned_at, name: entry.name.clone() }))
        })
    }

    /// Returns the wakers of all that awaits a handle.
    pub(crate) fn joiners(&self) -> impl Iterator<Item = &Waker> {
        self.table.iter().filter_map(|entry| match &entry.owner {
            Owner::Handle(joiner) => joiner.as_ref(),
            _ => None,
        })
    }
}
