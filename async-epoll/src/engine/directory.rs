//! The live tasks of a reactor, by number (feature `inspect`).
//!
//! The engine does not know what a task is, so the directory holds weak references to any type. The task room enters
//! its task wakers, and gets them back by a downcast when the user asks for the tasks.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A task waker. The engine does not know its type.
pub(crate) type AnyTask = dyn Any + Send + Sync;

/// The live tasks by number.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// The tasks by number. Entered when a task is spawned, removed when the task has ended.
    tasks: Mutex<BTreeMap<u64, Weak<AnyTask>>>,
}

impl Directory {
    /// Enters a task.
    pub(crate) fn add(&self, number: u64, task: Weak<AnyTask>) {
        self.lock().insert(number, task);
    }

    /// Removes a task.
    pub(crate) fn remove(&self, number: u64) {
        // The weak reference may be the last reference, and dropping it frees memory: not under the lock.
        let removed = self.lock().remove(&number);
        drop(removed);
    }

    /// Returns the live tasks in order of their numbers.
    pub(crate) fn tasks(&self) -> Vec<Arc<AnyTask>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Locks the tasks. No code that can panic half-way runs under this lock.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<AnyTask>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
