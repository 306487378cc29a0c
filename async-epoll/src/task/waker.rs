//! The part of a task that other threads know: how to wake it.
//!
//! A task stays on its thread, with its future. Its wakers, which go to any thread, refer to a [`TaskWaker`]: the
//! [scheduled flag](crate::wake::scheduled), the task's number, and the [`PoolQueue`] into which a wake puts the number.

use super::arrival::Arrival;
use super::record::Record;
use crate::engine::shared::{Pool, Shared};
use crate::wake::queue::Queue;
use crate::wake::scheduled::ScheduledFlag;
use futures::task::ArcWake;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// The bit that tells the number of a watched task from the numbers of all others: the two kinds are in two tables.
pub(crate) const WATCHED: u32 = 1 << 31;

/// What a task's wakers refer to, on any thread.
pub(crate) struct TaskWaker {
    /// Whether the task is scheduled.
    pub(crate) scheduled: ScheduledFlag,
    /// The task's number in its table, with the bit [`WATCHED`] if it is a watched task.
    pub(crate) number: u32,
    /// The queue into which a wake puts the number.
    pub(crate) pool: Arc<PoolQueue>,
    /// The place of the call that spawned the task.
    pub(crate) spawned_at: &'static Location<'static>,
    /// The task's number and polls, with the feature `inspect`.
    pub(crate) record: Record,
}

/// The part of a [`TaskSet`](super::set::TaskSet) that any thread may use.
#[derive(Debug)]
pub(crate) struct PoolQueue {
    /// The tasks that wait to be polled, and the arrivals that other threads have left.
    queue: Queue<Arrival>,
    /// The number of remote spawners. Written when a remote spawner is made or dropped, on any thread.
    remotes: AtomicUsize,
    /// The reactor of the set.
    pub(crate) shared: Arc<Shared>,
}

impl ArcWake for TaskWaker {
    fn wake_by_ref(this: &Arc<Self>) {
        if this.scheduled.schedule() {
            this.pool.push(this.number);
        }
    }
}

impl TaskWaker {
    /// Makes this what the wakers of a new task refer to.
    pub(crate) fn renew(&mut self, number: u32, spawned_at: &'static Location<'static>, record: Record) {
        self.scheduled = ScheduledFlag::scheduled();
        self.number = number;
        self.spawned_at = spawned_at;
        self.record = record;
    }

    /// Has the task dropped in place of its next poll, before the next sleep of the reactor. Does nothing to a task that
    /// has ended.
    pub(crate) fn abort(&self) {
        if self.scheduled.abort() {
            self.pool.push(self.number);
        }
    }

    /// Returns whether this is a watched task.
    #[cfg(feature = "inspect")]
    pub(crate) const fn is_watched(&self) -> bool {
        self.number & WATCHED != 0
    }
}

impl PoolQueue {
    /// Returns an empty queue, which the reactor counts from now on.
    pub(crate) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let pool = Arc::new(Self { queue: Queue::new(), remotes: AtomicUsize::new(0), shared: Arc::clone(shared) });
        let weak: Weak<Self> = Arc::downgrade(&pool);
        shared.add_pool(weak);
        pool
    }

    /// Returns the queue, for the driver's side.
    pub(crate) const fn queue(&self) -> &Queue<Arrival> {
        &self.queue
    }

    /// Puts a task into the queue.
    pub(crate) fn push(&self, task: u32) {
        self.queue.push(task, &self.shared.notifier);
    }

    /// Leaves an arrival for the driver, and counts it as a live task. Gives `arrival` back if no driver will take it.
    pub(crate) fn arrive(&self, arrival: Arrival) -> Result<(), Arrival> {
        // Counted under the lock, before the driver can find the arrival: the task may end before this returns.
        self.queue.arrive(arrival, &self.shared.notifier, || self.shared.task_begins())
    }

    /// Calls a parked driver again.
    pub(crate) fn call_parked_driver(&self) {
        self.queue.call_parked_driver(&self.shared.notifier);
    }

    /// Sets whether the work in this queue keeps the reactor awake.
    pub(crate) fn set_counted(&self, counted: bool) {
        self.queue.set_counted(counted, &self.shared.notifier);
    }

    /// Counts a remote spawner that was made: another thread may spawn from now on.
    pub(crate) fn remote_begins(&self) {
        self.remotes.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a remote spawner that was dropped.
    pub(crate) fn remote_ends(&self) {
        if self.remotes.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The driver stays in the pool while remote spawners exist, and has to end with the last of them.
            self.queue.call_driver(&self.shared.notifier);
        }
    }

    /// Returns whether other threads may spawn.
    pub(crate) fn has_remotes(&self) -> bool {
        self.remotes.load(Ordering::Acquire) != 0
    }
}

impl Pool for PoolQueue {
    fn ready(&self) -> usize {
        self.queue.len()
    }

    fn reactor_gone(&self) {
        // A driver that has stayed in the pool for remote spawners may end now.
        self.queue.call_driver(&self.shared.notifier);
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
