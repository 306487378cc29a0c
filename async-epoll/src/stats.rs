//! What a reactor has done so far, in plain numbers.
//!
//! Counting is cheap enough to be always on: each number has one writer, so adding to it takes no locked instruction.

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
    /// Turns of the loop: calls of [`Reactor::wait`](crate::Reactor::wait), by the user, by a `run` method, or by the
    /// thread of a [`Background`](crate::Background).
    pub turns: u64,
    /// Times that the reactor went to sleep, or would have if nothing had happened meanwhile.
    pub sleeps: u64,
    /// Events of the kernel that reached a source.
    pub events: u64,
    /// Timers that have fired.
    pub timers_fired: u64,
    /// Wakers woken by the reactor, for events and timers.
    pub wakes: u64,
    /// Writes to the eventfd: wakes from elsewhere that found the reactor asleep. An
    /// [embedded](crate::ReactorBuilder::embedded) one counts as asleep between two waits.
    pub eventfd_writes: u64,
    /// Polls of tasks, and of the futures of [`run_until`](crate::Reactor::run_until).
    pub polls: u64,
    /// Times that the ready tasks of a pool were put off to the next turn, since the turn's
    /// [budget](crate::ReactorBuilder::poll_budget) was spent.
    pub parks: u64,
    /// Panics caught in tasks, in poll or in drop.
    pub task_panics: u64,
    /// Panics caught in wakers.
    pub waker_panics: u64,
}

/// One number that only one thread changes, and all may read: the thread of the reactor, or that of the tasks, which
/// may be another if the reactor is in the [background](crate::Background).
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
    /// Calls of `Engine::turn`.
    pub(crate) turns: Counter,
    /// Waits that may have slept.
    pub(crate) sleeps: Counter,
    /// Events that reached a source.
    pub(crate) events: Counter,
    /// Timers that have fired.
    pub(crate) timers_fired: Counter,
    /// Wakers woken for events and timers.
    pub(crate) wakes: Counter,
    /// Polls of tasks and of main futures.
    pub(crate) polls: Counter,
    /// Drivers put off to the next turn.
    pub(crate) parks: Counter,
    /// Panics of tasks.
    pub(crate) task_panics: Counter,
    /// Panics of wakers.
    pub(crate) waker_panics: Counter,
}
