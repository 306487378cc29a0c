//! What a reactor has done so far, in plain numbers.
//!
//! [`Counters`] belongs to a reactor and is written in every turn; [`Stats`] is a copy for users. The counters are
//! cheap enough to be always on: each has one writer, so an addition needs no locked instruction.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of a reactor's numbers, from [`Handle::stats`](crate::Handle::stats).
///
/// `live_tasks`, `ready_tasks`, `sources` and `timers` are states; the others count since the reactor was made. The
/// numbers are read one after the other, so under load they may disagree by a few events.
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
    /// The number of tasks that were spawned and have neither finished nor been dropped.
    pub live_tasks: usize,
    /// The number of tasks that wait to be polled.
    pub ready_tasks: usize,
    /// The number of registered sources.
    pub sources: usize,
    /// The number of timers that are armed and will fire.
    pub timers: usize,
    /// The number of turns of the loop: calls of [`Reactor::wait`](crate::Reactor::wait), by the user, by a `run`
    /// method, or by the thread of a [`Background`](crate::Background).
    pub turns: u64,
    /// The number of times the reactor found no work and went to sleep. An event that is there already ends a sleep at
    /// once.
    pub sleeps: u64,
    /// The number of events of the kernel that reached a source.
    pub events: u64,
    /// The number of timers that have fired.
    pub timers_fired: u64,
    /// The number of wakers woken by the reactor, for events and timers.
    pub wakes: u64,
    /// The number of writes to the eventfd: wakes, mostly from other threads, that found the reactor asleep. An
    /// [embedded](crate::ReactorBuilder::embedded) reactor counts as asleep between two waits.
    pub eventfd_writes: u64,
    /// The number of polls of tasks, and of the futures of [`run_until`](crate::Reactor::run_until).
    pub polls: u64,
    /// The number of times the ready tasks of a pool were put off to the next turn, since the turn's
    /// [budget](crate::ReactorBuilder::poll_budget) was spent.
    pub parks: u64,
    /// The number of panics caught in tasks, in poll or in drop.
    pub task_panics: u64,
    /// The number of panics caught in wakers.
    pub waker_panics: u64,
}

/// A number with one writing thread and any number of readers.
///
/// The writer is the thread that waits or the thread of the tasks. These differ if the reactor is in the
/// [background](crate::Background).
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`, without a locked instruction: there is one writer.
    pub(crate) fn add(&self, n: usize) {
        self.0.store(self.get().wrapping_add(n as u64), Ordering::Relaxed);
    }

    /// Returns the number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The numbers behind [`Stats`], since the reactor was made.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Calls of `Engine::turn`. Written by the engine.
    pub(crate) turns: Counter,
    /// Sleeps, also those that an event ended at once. Written by the engine.
    pub(crate) sleeps: Counter,
    /// Events that reached a source. Written by the engine.
    pub(crate) events: Counter,
    /// Timers that have fired. Written by the engine.
    pub(crate) timers_fired: Counter,
    /// Wakers woken for events and timers. Written by the engine.
    pub(crate) wakes: Counter,
    /// Polls of tasks and of main futures. Written by the thread of the tasks.
    pub(crate) polls: Counter,
    /// Drivers put off to the next turn. Written by the thread of the tasks.
    pub(crate) parks: Counter,
    /// Panics of tasks. Written by the thread of the tasks.
    pub(crate) task_panics: Counter,
    /// Panics of wakers. Written by the engine.
    pub(crate) waker_panics: Counter,
}
