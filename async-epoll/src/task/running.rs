//! Whether a task's code is running on this thread.
//!
//! The driver marks the thread while it polls or drops tasks, and makes the task's reactor the current one meanwhile. A
//! task that is spawned by a task is known by this mark: its first poll costs budget, so that a chain of tasks that spawn
//! each other is bounded, too.

use crate::engine::handle::{EnterGuard, Handle};
use crate::engine::shared::Shared;
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    /// A task's poll or drop is running on this thread: a task of any reactor, since tasks of two may spawn each other.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether a task's code is running on this thread.
pub(crate) fn is_running() -> bool {
    RUNNING.get()
}

/// Marks the thread as running tasks until it is dropped.
pub(crate) struct Running {
    /// The mark as it was before.
    before: bool,
    /// Keeps the reactor current.
    current: EnterGuard,
}

impl Running {
    /// Marks this thread as running tasks of the reactor with this shared half, which becomes the current one.
    pub(crate) fn begin(shared: &Arc<Shared>) -> Self {
        Self { before: RUNNING.replace(true), current: Handle::enter_shared(shared) }
    }

    /// Tells the reactor that was current before, if that is another one, that tasks which are not its own are polled:
    /// that reactor's `run` will not wake them.
    pub(crate) fn tell_replaced(&self) {
        if let Some(other) = self.current.replaced() {
            other.note_stray_driver();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(self.before);
    }
}
