//! The live tasks of a reactor, by number (feature `inspect`).
//!
//! The engine does not know what a task is, so the directory holds weak references to any type. The task room enters
//! its task wakers, and gets them back by a downcast when the user asks for the tasks.

use crate::sys::ForkMark;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// A task waker. The engine does not know its type.
pub(crate) type AnyTask = dyn Any + Send + Sync;

/// The live tasks by number.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The tasks by number. Entered when a task is spawned, removed when the task has ended.
    tasks: Mutex<BTreeMap<u64, Weak<AnyTask>>>,
    /// The process of the reactor. A forked child that [cannot lock](ForkMark::lock) the tasks leaves them as they are.
    process: ForkMark,
}

impl Directory {
    /// Returns an empty directory.
    pub(crate) fn new() -> Self {
        Self { tasks: Mutex::default(), process: ForkMark::new() }
    }

    /// Enters a task.
    pub(crate) fn add(&self, number: u64, task: Weak<AnyTask>) {
        if let Some(mut tasks) = self.process.lock(&self.tasks) {
            tasks.insert(number, task);
        }
    }

    /// Removes a task.
    pub(crate) fn remove(&self, number: u64) {
        // The weak reference may be the last reference, and dropping it frees memory: not under the lock.
        let removed = self.process.lock(&self.tasks).and_then(|mut tasks| tasks.remove(&number));
        drop(removed);
    }

    /// Returns the live tasks in order of their numbers.
    pub(crate) fn tasks(&self) -> Vec<Arc<AnyTask>> {
        let tasks = self.process.lock(&self.tasks);
        tasks.map_or_else(Vec::new, |tasks| tasks.values().filter_map(Weak::upgrade).collect())
    }
}
