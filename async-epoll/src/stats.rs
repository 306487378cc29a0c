//! What a reactor has done so far, in plain numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of a reactor's numbers, from [`Handle::stats`](crate::Handle::stats).
///
/// `live_tasks`, `ready_tasks`, `sources` and `timers` are states; the others count from the reactor's beginning.
/// Taken one by one, so under load they may disagree by the odd event.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let reactor = async_epoll::Reactor::new()?;
/// let stats = reactor.handle().stats();
/// assert_eq!((stats.sources, stats.turns), (0, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that were spawned and have neither finished nor been dropped.
    pub live_tasks: usize,
    /// Tasks that wait to be polled.
    pub ready_tasks: usize,
    /// Sources in the table.
    pub sources: usize,
    /// Timers that are armed and will fire.
    pub timers: usize,
    /// Calls of [`Reactor::wait`](crate::Reactor::wait), by the user or by a `run` method.
    pub turns: u64,
    /// Times that the reactor was about to sleep, if nothing happened meanwhile.
    pub sleeps: u64,
    /// Events of the kernel that reached a source.
    pub events: u64,
    /// Timers that have fired.
    pub timers_fired: u64,
    /// Wakers woken by the reactor, for events and timers.
    pub wakes: u64,
    /// Writes to the eventfd: wakes from elsewhere that found the reactor asleep.
    pub remote_wakes: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Times that tasks were put off to the next turn, since their turn's budget was spent.
    pub parks: u64,
    /// Panics caught in tasks, in poll or in drop.
    pub task_panics: u64,
    /// Panics caught in wakers.
    pub waker_panics: u64,
}

/// One number that only the reactor's thread changes, and all may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds without a locked instruction: there is one writer.
    pub(crate) fn add(&self, n: usize) {
        self.0.store(self.get().wrapping_add(n as u64), Ordering::Relaxed);
    }

    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The numbers behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) turns: Counter,
    pub(crate) sleeps: Counter,
    pub(crate) events: Counter,
    pub(crate) timers_fired: Counter,
    pub(crate) wakes: Counter,
    pub(crate) polls: Counter,
    pub(crate) parks: Counter,
    pub(crate) task_panics: Counter,
    pub(crate) waker_panics: Counter,
}
