//! Whether a task's code is running on this thread.
//!
//! The driver marks the thread while it polls or drops tasks, and makes the tasks' reactor and their
//! [spawner](super::current) the current ones meanwhile.
//! The mark tells a spawn by a task from other spawns: the first poll of a task that a task has spawned costs budget,
//! so that a chain of tasks that spawn each other is bounded, too.

use super::current::{CurrentGuard, Target, enter_run};
use crate::engine::handle::{EnterGuard, Handle};
use crate::engine::shared::Shared;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

thread_local! {
    /// A task's poll or drop is running on this thread. The task may be of any reactor, since tasks of two reactors may
    /// spawn each other. Written by [`Running`].
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether a task's code is running on this thread.
pub(crate) fn is_running() -> bool {
    RUNNING.get()
}

/// Marks the thread as running tasks, until this guard is dropped.
pub(crate) struct Running {
    /// The mark before this guard, to be restored.
    before: bool,
    /// Keeps the tasks' spawner current.
    _spawner: CurrentGuard,
    /// Keeps the tasks' reactor current.
    current: EnterGuard,
}

impl Running {
    /// Marks this thread as running tasks of the set `target`, which becomes the current one, as does the reactor with
    /// this shared half.
    pub(crate) fn begin<T: Target>(target: &Rc<T>, shared: &Arc<Shared>) -> Self {
        Self {
            before: RUNNING.replace(true),
            _spawner: enter_run(target, shared),
            current: Handle::enter_shared(shared),
        }
    }

    /// Returns whether another reactor was current before, or none. Always so in a forked child of the reactor's process.
    pub(crate) fn has_changed_current(&self) -> bool {
        self.current.has_replaced()
    }

    /// Tells the reactor that was current before, if any, that the pool has polled tasks of another reactor. The `run`
    /// method of the former will not wake these tasks.
    pub(crate) fn tell_replaced(&self) {
        if let Some(other) = self.current.replaced() {
            other.runner.note_stray_driver();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(self.before);
    }
}
