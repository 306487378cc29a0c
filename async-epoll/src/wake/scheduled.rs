//! Whether a task is scheduled.
//!
//! A task is *scheduled* from the wake that makes it ready until its poll begins. The mark is what makes the first wake
//! count and all further ones nothing:
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
//! The future of `run_until` is no task and in no queue, but has a mark all the same: it is polled when it is
//! scheduled.
//!
//! The race to think of: a wake on another thread while the task is being polled. The mark is cleared *before* the
//! poll, so such a wake schedules the task again; at worst it is polled once for nothing.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering};

/// The task is in the queue of those to be polled, or about to be put there.
const SCHEDULED: u8 = 1;
/// The task has ended; wakes do nothing.
const DONE: u8 = 2;

/// One task's mark.
#[derive(Debug)]
pub(crate) struct ScheduledFlag(AtomicU8);

impl ScheduledFlag {
    /// Of a task that was put into the queue when it was made.
    pub(crate) fn scheduled() -> Self {
        Self(AtomicU8::new(SCHEDULED))
    }

    /// Marks the task. Says whether the caller has to put it into the queue.
    pub(crate) fn schedule(&self) -> bool {
        // Even if the mark is set already, this write makes what the waking thread did visible to the next poll.
        self.0.fetch_or(SCHEDULED, Ordering::AcqRel) & (SCHEDULED | DONE) == 0
    }

    /// Whether the task is scheduled.
    #[cfg(feature = "inspect")]
    pub(crate) fn is_scheduled(&self) -> bool {
        self.0.load(Ordering::Relaxed) & SCHEDULED != 0
    }

    /// The task is about to be polled: from now on a wake schedules it anew. Says whether it was scheduled.
    pub(crate) fn begin_poll(&self) -> bool {
        self.0.fetch_and(!SCHEDULED, Ordering::AcqRel) & SCHEDULED != 0
    }

    /// The task has ended. Says whether it was scheduled, so that somebody will find it in the queue.
    pub(crate) fn finish(&self) -> bool {
        self.0.swap(DONE, Ordering::AcqRel) & SCHEDULED != 0
    }
}
