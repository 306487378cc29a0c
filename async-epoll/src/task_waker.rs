//! What other threads know of a task: how to wake it.
//!
//! A task itself stays on its thread, future and all. Its wakers, which go anywhere, refer to a [`TaskWaker`]: the mark that
//! says whether it is scheduled, its number, and the [`PoolQueue`] that the number is put into.

use crate::inspect::{Directory, Record};
use crate::mark::Mark;
use crate::queue::Queue;
use crate::remote::Arrival;
use crate::shared::Shared;
use futures::task::ArcWake;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a task's wakers refer to, on any thread.
pub(crate) struct TaskWaker {
    /// Whether the task is scheduled.
    pub(crate) mark: Mark,
    /// The task's number in its table.
    pub(crate) number: u32,
    /// Where a wake puts the number.
    pub(crate) pool: Arc<PoolQueue>,
    /// Where the task was spawned.
    pub(crate) spawned_at: &'static Location<'static>,
    /// What is written down about the task.
    pub(crate) record: Record,
}

/// The part of a [`TaskSet`](crate::task::TaskSet) that is known to other threads.
#[derive(Debug)]
pub(crate) struct PoolQueue {
    /// Tasks to be polled.
    pub(crate) queue: Queue<Arrival>,
    /// Remote spawners that there are.
    remotes: AtomicUsize,
    /// The reactor.
    pub(crate) shared: Arc<Shared>,
    /// The living tasks.
    pub(crate) directory: Directory,
}

impl ArcWake for TaskWaker {
    fn wake_by_ref(this: &Arc<Self>) {
        if this.mark.schedule() {
            this.pool.push(this.number);
        }
    }
}

#[cfg(feature = "inspect")]
impl TaskWaker {
    /// Whether the task is to be polled.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.mark.is_scheduled()
    }
}

impl PoolQueue {
    /// Empty. The reactor knows it from now on.
    pub(crate) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let pool = Arc::new(Self {
            queue: Queue::new(),
            remotes: AtomicUsize::new(0),
            shared: Arc::clone(shared),
            directory: Directory::default(),
        });
        shared.add_pool(&pool);
        pool
    }

    /// Another thread may spawn from now on.
    pub(crate) fn remote_begins(&self) {
        self.remotes.fetch_add(1, Ordering::Relaxed);
    }

    /// One that might have will not any more.
    pub(crate) fn remote_ends(&self) {
        if self.remotes.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The driver stays in the pool for the sake of remote spawners, and has to end with the last of them.
            if let Some(call) = self.queue.call_in(&self.shared.notifier) {
                call.make(&self.shared.notifier);
            }
        }
    }

    /// Whether other threads may spawn.
    pub(crate) fn has_remotes(&self) -> bool {
        self.remotes.load(Ordering::Acquire) != 0
    }

    /// Puts a task into the queue, and tells whoever has to know.
    pub(crate) fn push(&self, task: u32) {
        if let Some(call) = self.queue.push(task, &self.shared.notifier) {
            call.make(&self.shared.notifier);
        }
    }
}

impl fmt::Debug for TaskWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskWaker")
            .field("number", &self.number)
            .field("spawned_at", &self.spawned_at)
            .finish_non_exhaustive()
    }
}
