//! Which spawner is the *current* one: where [`spawn_local`](crate::spawn_local) puts a task.
//!
//! Passing a spawner through every function is explicit but tedious, so a thread has a current spawner, as it has a
//! [current reactor](crate::engine::handle): a thread-local that is set and restored, never a global. It is set in three
//! places, and each restores what was there before:
//!
//! ```text
//!   set by                                   current meanwhile
//!   ───────────────────────────────────────  ─────────────────────────────────────────────────────────
//!   a driver, while it polls or drops tasks  the spawner of these tasks            ┐ a *run entry*
//!   a run method, block_on                   the first spawner of the pool         ┘
//!   Spawner::enter, until the guard drops    that spawner: a *guard entry*
//! ```
//!
//! The hard case is a guard that a task keeps across an await. The guard must not change the current spawner of the tasks
//! that are polled next, and asking after each poll would cost every poll of every task. So the question is put off to
//! the moment when the current spawner is wanted: a guard entry that was made inside of a poll remembers *which* poll, by
//! the reactor's count of polls. If the count has moved on, the run entry below is the current one.
//!
//! This file does not know what a task set is: it keeps [targets](Target), and the spawner gets its set back by a
//! downcast. Nothing is cloned or dropped while the thread-local is borrowed, except reference counts.

use crate::engine::shared::Shared;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Where the current spawner puts tasks: a task set, or a pool for which a set is made when it is first needed.
pub(crate) trait Target: 'static {
    /// Returns the task set.
    fn task_set(self: Rc<Self>) -> Rc<dyn Any>;
}

thread_local! {
    /// The current spawner. Written by [`replace`].
    static CURRENT: RefCell<Option<Entry>> = const { RefCell::new(None) };
    /// The address of the target in `CURRENT` if that is a run entry, otherwise 0: lets a driver see with one load that
    /// nothing has to change. Written together with `CURRENT`.
    static RUN_ADDRESS: Cell<usize> = const { Cell::new(0) };
}

/// The current spawner, and how far it reaches.
struct Entry {
    /// Where tasks go.
    target: Rc<dyn Target>,
    /// Where the entry comes from.
    kind: Kind,
}

/// Where an [`Entry`] comes from.
enum Kind {
    /// A run method or a driver, of the reactor with this shared half.
    Run(Arc<Shared>),
    /// A guard outside of any run method.
    Guard,
    /// A guard inside of a poll.
    GuardInPoll {
        /// The target of the run entry below.
        run: Rc<dyn Target>,
        /// The reactor that counts the polls.
        shared: Arc<Shared>,
        /// The number of the poll in which the guard was made.
        poll: u64,
    },
}

impl Entry {
    /// Returns the target that is current now.
    fn target(&self) -> &Rc<dyn Target> {
        match &self.kind {
            Kind::GuardInPoll { run, shared, poll } if shared.counters.polls.get() != *poll => run,
            _ => &self.target,
        }
    }

    /// Returns the kind of a guard entry on top of this entry.
    fn kind_of_guard(&self) -> Kind {
        let (run, shared) = match &self.kind {
            Kind::Run(shared) => (&self.target, shared),
            Kind::GuardInPoll { run, shared, .. } => (run, shared),
            Kind::Guard => return Kind::Guard,
        };
        Kind::GuardInPoll { run: Rc::clone(run), shared: Arc::clone(shared), poll: shared.counters.polls.get() }
    }
}

/// Returns the task set of the current spawner, if there is one.
pub(crate) fn task_set() -> Option<Rc<dyn Any>> {
    // `try_with`: a destructor of another thread-local may call this after the destructor of `CURRENT`.
    let target = CURRENT.try_with(|current| current.borrow().as_ref().map(|entry| Rc::clone(entry.target())));
    Some(target.ok()??.task_set())
}

/// Makes `entry` the current one, and returns the entry that was current before.
fn replace(entry: Option<Entry>) -> Option<Entry> {
    let address = entry.as_ref().map_or(0, |entry| match entry.kind {
        Kind::Run(_) => Rc::as_ptr(&entry.target).addr(),
        _ => 0,
    });
    CURRENT
        .try_with(|current| {
            RUN_ADDRESS.set(address);
            current.replace(entry)
        })
        .unwrap_or_default()
}

/// Makes `target` the current one for a run method or a driver, until the guard is dropped.
#[inline]
pub(crate) fn enter_run<T: Target>(target: &Rc<T>, shared: &Arc<Shared>) -> CurrentGuard {
    // The address belongs to a live target, since `CURRENT` keeps it alive.
    let is_current = RUN_ADDRESS.get() == Rc::as_ptr(target).addr();
    CurrentGuard { before: (!is_current).then(|| enter_another_run(Rc::<T>::clone(target), shared)) }
}

/// Does what [`enter_run`] does if another target is current.
#[inline(never)]
fn enter_another_run(target: Rc<dyn Target>, shared: &Arc<Shared>) -> Option<Entry> {
    replace(Some(Entry { target, kind: Kind::Run(Arc::clone(shared)) }))
}

/// Makes `target` the current one until the guard is dropped, or until the end of the poll in which this is called.
pub(crate) fn enter_guard<T: Target>(target: &Rc<T>) -> CurrentGuard {
    let kind = CURRENT.try_with(|current| current.borrow().as_ref().map(Entry::kind_of_guard)).ok().flatten();
    let kind = kind.unwrap_or(Kind::Guard);
    CurrentGuard { before: Some(replace(Some(Entry { target: Rc::<T>::clone(target), kind }))) }
}

/// Keeps a target current.
#[must_use = "the target is current only while the guard lives"]
pub(crate) struct CurrentGuard {
    /// The entry to restore. `None` if the target was current already, so that nothing had to change.
    before: Option<Option<Entry>>,
}

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            // The replaced entry is dropped after the borrow has ended: it may be the last reference to a task set.
            drop(replace(before));
        }
    }
}
