//! What a reactor has done so far, in plain numbers.
//!
//! [`Counters`] belongs to a reactor and is written in every turn; [`Stats`] is a copy for users. The counters are
//! cheap enough to be always on: each has one writer, so an addition needs no locked instruction. Panics of wakers are the
//! exception, and rare.
//!
//! The reactor does not know what its descriptors are for. The code above it does, and keeps rare events (an error that
//! no caller sees, for example) in the same place, as [`NamedCounters`]: under names of its own, added by any thread
//! under a lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest number of names in [`NamedCounters`].
const MAX_NAMES: usize = 24;
/// The name under which [`NamedCounters`] counts once all other places are taken.
const OTHER: &str = "other";

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
    /// The number of panics caught in wakers: when the reactor woke a waker that a task had left with a source, a timer
    /// or a test clock, or dropped it. A panic while a waker is cloned goes to the code that polled.
    pub waker_panics: u64,
    /// The counters of code above the reactor.
    pub(crate) named: NamedCounters,
}

impl Stats {
    /// Returns a counter of code above the reactor, by the name that this code gave to
    /// [`Handle::count`](crate::Handle::count). Returns 0 if nothing has been counted under this name.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let reactor = async_epoll::Reactor::new()?;
    /// reactor.handle().count("requests_refused", 2);
    /// let stats = reactor.handle().stats();
    /// assert_eq!((stats.counter("requests_refused"), stats.counter("unheard_of")), (2, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn counter(&self, name: &str) -> u64 {
        self.counters().find(|counter| counter.0 == name).map_or(0, |counter| counter.1)
    }

    /// Returns all counters of code above the reactor, with their names, in the order of their first use.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let reactor = async_epoll::Reactor::new()?;
    /// reactor.handle().count("requests_refused", 2);
    /// let stats = reactor.handle().stats();
    /// assert_eq!(stats.counters().collect::<Vec<_>>(), [("requests_refused", 2)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.named.entries().iter().copied()
    }
}

/// Counters of code above the reactor, each with its name, in the order of their first use.
///
/// The size is fixed, so that a copy in [`Stats`] allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedCounters {
    /// The names and numbers. Unused places are empty.
    entries: [(&'static str, u64); MAX_NAMES],
    /// The number of used places.
    length: usize,
}

impl NamedCounters {
    /// Returns the used places.
    fn entries(&self) -> &[(&'static str, u64)] {
        &self.entries[..self.length]
    }

    /// Adds `n` to the counter `name`. One place is for all names that have found no place, and for this name itself.
    pub(crate) fn add(&mut self, name: &'static str, n: u64) {
        let find = |name| self.entries().iter().position(|entry| entry.0 == name);
        let (found, other) = (find(name), find(OTHER));
        let has_room = self.length < MAX_NAMES - usize::from(other.is_none());
        let name = if has_room { name } else { OTHER };
        let place = found.or(if has_room { None } else { other }).unwrap_or(self.length);
        if place == self.length {
            self.entries[place].0 = name;
            self.length += 1;
        }
        self.entries[place].1 = self.entries[place].1.wrapping_add(n);
    }
}

impl Default for NamedCounters {
    fn default() -> Self {
        Self { entries: [("", 0); MAX_NAMES], length: 0 }
    }
}

impl fmt::Debug for NamedCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries().iter().copied()).finish()
    }
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

/// A number that any thread may write. For rare things only: an addition is a locked instruction.
#[derive(Debug, Default)]
pub(crate) struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// Adds one.
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
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
    /// Panics of wakers. Written by the engine, and by each thread that drops or replaces a source, a timer or a waiting
    /// future.
    pub(crate) waker_panics: SharedCounter,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the common place may be used like any other, before or after the other names.
    #[test]
    fn names_have_a_bound() {
        const NAMES: [&str; 30] = [
            "00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16", "17",
            "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29",
        ];
        for other_at in [None, Some(0), Some(5), Some(22), Some(23), Some(24), Some(29)] {
            let mut named = NamedCounters::default();
            for _ in 0..2 {
                for (index, name) in NAMES.iter().enumerate() {
                    if other_at == Some(index) {
                        named.add(OTHER, 100);
                    }
                    named.add(name, 1);
                }
            }
            let stats = Stats { named, ..Stats::default() };
            let own = if other_at.is_some() { 200 } else { 0 };
            assert_eq!(stats.counters().count(), MAX_NAMES, "{other_at:?}");
            assert_eq!((stats.counter("00"), stats.counter("22"), stats.counter("23")), (2, 2, 0), "{other_at:?}");
            assert_eq!(stats.counter(OTHER), own + 2 * (NAMES.len() - MAX_NAMES + 1) as u64, "{other_at:?}");
            assert_eq!(stats.counters().filter(|counter| counter.0 == OTHER).count(), 1, "{other_at:?}");
            assert_eq!(stats.counters().map(|counter| counter.1).sum::<u64>(), own + 2 * NAMES.len() as u64);
        }
    }
}
