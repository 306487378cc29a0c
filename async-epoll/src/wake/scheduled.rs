//! Whether a task is scheduled.
//!
//! A task is *scheduled* from the wake that makes it ready until its poll begins. The flag makes the first wake count,
//! and all further wakes do nothing:
//!
//! ```text
//!                      schedule(): true
//!      ┌──────┐ ────────────────────────────────► ┌───────────┐
//!      │ idle │                                   │ scheduled │──┐ schedule(): false
//!      └──────┘ ◄──────────────────────────────── └───────────┘◄─┘
//!          │             begin_poll()                   │
//!          └───────────────────┬────────────────────────┘
//!                              ▼ finish()
//!                          ┌──────┐
//!                          │ done │ for ever; schedule(): false
//!                          └──────┘
//! ```
//!
//! A task may be *aborted* from any thread. The abort is a wake that leaves a second bit: the driver takes the task from
//! the queue as after every wake, finds the bit, and drops the task instead of polling it. So an abort needs no queue of
//! its own, and loses no race that a wake does not lose.
//!
//! The main future of `run_until` is not a task and not in a queue. It has a flag all the same, and is polled when the
//! flag is set.
//!
//! The hard race is a wake on another thread while the task is being polled. The flag is cleared *before* the poll, so
//! such a wake schedules the task again; at worst one poll finds nothing to do.
//!
//! `schedule` and `abort` release, `begin_poll` and `is_aborted` acquire: what each waking thread did before is visible to
//! the next poll, or to the drop in its place. `finish` releases and `is_done` acquires: what the task's destructor did is visible
//! to a thread that sees the end.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering};

/// The task is in the queue, or about to be put there.
const SCHEDULED: u8 = 1;
/// The task has ended; wakes do nothing.
const DONE: u8 = 2;
/// The task is to be dropped in place of its next poll. Never cleared before the end.
const ABORTED: u8 = 4;

/// The scheduled flag of one task.
#[derive(Debug)]
pub(crate) struct ScheduledFlag(AtomicU8);

impl ScheduledFlag {
    /// Returns the flag of a new task, which is scheduled from the start.
    pub(crate) fn scheduled() -> Self {
        Self(AtomicU8::new(SCHEDULED))
    }

    /// Sets the flag. Returns whether the caller has to put the task into the queue.
    pub(crate) fn schedule(&self) -> bool {
        // Even if the flag is set already, this write makes what the waking thread did visible to the next poll.
        self.0.fetch_or(SCHEDULED, Ordering::Release) & (SCHEDULED | DONE) == 0
    }

    /// Sets the flag, and marks the task as aborted. Returns whether the caller has to put the task into the queue.
    pub(crate) fn abort(&self) -> bool {
        self.0.fetch_or(SCHEDULED | ABORTED, Ordering::Release) & (SCHEDULED | DONE) == 0
    }

    /// Returns whether the task has been aborted. Asked after [`begin_poll`](Self::begin_poll): an abort that comes later
    /// schedules the task anew, and one that comes in between is found here.
    pub(crate) fn is_aborted(&self) -> bool {
        self.0.load(Ordering::Acquire) & ABORTED != 0
    }

    /// Returns whether the task has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & DONE != 0
    }

    /// Returns whether the task is scheduled.
    #[cfg(feature = "inspect")]
    pub(crate) fn is_scheduled(&self) -> bool {
        self.0.load(Ordering::Relaxed) & SCHEDULED != 0
    }

    /// Clears the flag before a poll: from now on a wake schedules the task anew. Returns whether the task was
    /// scheduled.
    pub(crate) fn begin_poll(&self) -> bool {
        self.0.fetch_and(!SCHEDULED, Ordering::Acquire) & SCHEDULED != 0
    }

    /// Marks the task as ended. Returns whether the task was scheduled: then its number is in the queue, or will be,
    /// and the driver finds the number there.
    pub(crate) fn finish(&self) -> bool {
        self.0.swap(DONE, Ordering::Release) & SCHEDULED != 0
    }
}
