//! The record of one task: its number, its name and its polls, with the feature `inspect`.
//!
//! Only polls are measured as they happen, by two clock reads each. What a task waits for is not recorded, but found
//! out [when the user asks](crate::Handle). Without the feature a [`Record`] is empty, and its functions vanish.

use super::label::TaskName;

/// With the feature: a record of the number, the name and the polls.
#[cfg(feature = "inspect")]
mod enabled {
    use super::TaskName;
    use crate::engine::shared::Shared;
    use crate::time::clock::Clock;
    use crate::time::nanos::NEVER;
    use std::any::Any;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// The number, the name and the polls of one task. Written on the pool's thread, read on any thread.
    #[derive(Debug)]
    pub(crate) struct Record {
        /// The task's number in the reactor's directory.
        pub(crate) id: u64,
        /// The task's name, if it has one.
        pub(crate) name: Option<TaskName>,
        /// The number of polls that have begun.
        polls: AtomicU64,
        /// The duration of the longest poll that has ended, in nanoseconds.
        longest_poll: AtomicU64,
        /// When the poll in progress began, in nanoseconds of the reactor's clock; [`NEVER`] while the task is not
        /// being polled.
        polled_since: AtomicU64,
    }

    impl Record {
        /// Returns the record of a new task.
        pub(crate) fn new(id: u64, name: Option<&TaskName>) -> Self {
            Self {
                id,
                name: name.cloned(),
                polls: AtomicU64::new(0),
                longest_poll: AtomicU64::new(0),
                polled_since: AtomicU64::new(NEVER),
            }
        }

        /// Enters the task in the reactor's directory.
        pub(crate) fn enter<T: Any + Send + Sync>(&self, shared: &Shared, task: &Arc<T>) {
            let task: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(task);
            shared.directory.add(self.id, Arc::downgrade(&task));
        }

        /// Removes the task from the reactor's directory.
        pub(crate) fn leave(&self, shared: &Shared) {
            shared.directory.remove(self.id);
        }

        /// Runs a poll and measures it, even if it panics.
        pub(crate) fn measure<T>(&self, clock: &Clock, poll: impl FnOnce() -> T) -> T {
            self.polls.fetch_add(1, Ordering::Relaxed);
            self.polled_since.store(clock.real(), Ordering::Relaxed);
            let _end = EndOfPoll(self, clock);
            poll()
        }

        /// Returns the number of polls that have begun.
        pub(crate) fn polls(&self) -> u64 {
            self.polls.load(Ordering::Relaxed)
        }

        /// Returns the duration of the longest poll that has ended.
        pub(crate) fn longest_poll(&self) -> Duration {
            Duration::from_nanos(self.longest_poll.load(Ordering::Relaxed))
        }

        /// Returns how long the poll in progress has taken; `None` if the task is not being polled.
        pub(crate) fn polled_for(&self, clock: &Clock) -> Option<Duration> {
            let since = Some(self.polled_since.load(Ordering::Relaxed)).filter(|&since| since != NEVER)?;
            Some(Duration::from_nanos(clock.real().saturating_sub(since)))
        }
    }

    /// Ends the measurement of a poll when it is dropped.
    struct EndOfPoll<'a>(&'a Record, &'a Clock);

    impl Drop for EndOfPoll<'_> {
        fn drop(&mut self) {
            let Self(record, clock) = self;
            let taken = clock.real().saturating_sub(record.polled_since.swap(NEVER, Ordering::Relaxed));
            record.longest_poll.fetch_max(taken, Ordering::Relaxed);
        }
    }
}

/// Without the feature: the same functions, with nothing in them.
#[cfg(not(feature = "inspect"))]
mod disabled {
    use super::TaskName;
    use crate::engine::shared::Shared;
    use crate::time::clock::Clock;
    use std::sync::Arc;

    /// An empty record.
    #[derive(Debug)]
    pub(crate) struct Record;

    impl Record {
        pub(crate) const fn new(_: u64, _: Option<&TaskName>) -> Self {
            Self
        }

        pub(crate) const fn enter<T>(&self, _: &Shared, _: &Arc<T>) {}

        pub(crate) const fn leave(&self, _: &Shared) {}

        pub(crate) fn measure<T>(&self, _: &Clock, poll: impl FnOnce() -> T) -> T {
            poll()
        }
    }
}

#[cfg(not(feature = "inspect"))]
pub(crate) use disabled::*;
#[cfg(feature = "inspect")]
pub(crate) use enabled::*;
