//! How a sleeping reactor is woken, and why it never sleeps when it should not.
//!
//! A thread in `epoll_wait` can only be woken through a descriptor, so there is an eventfd. Writing to it costs a
//! system call, so nobody writes unless the reactor really sleeps. Whether it sleeps and *whether there is work to be
//! polled* are kept in one atomic word:
//!
//! ```text
//!      63                        4   3          2          1          0
//!     ┌───────────────────────────┬──────────┬──────────┬──────────┬────────┐
//!     │ how many have work        │ DETACHED │ EMBEDDED │ NOTIFIED │ ASLEEP │
//!     └───────────────────────────┴──────────┴──────────┴──────────┴────────┘
//!
//!      AWAKE ──try_sleep(): no work──► ASLEEP ──notify(): write eventfd──► NOTIFIED
//!        ▲ │                              │                                   │
//!        │ └── notify(): no system call ──┼─────────────────────────────────► │
//!        └───────── awake() ──────────────┴───────────────────────────────────┘
//! ```
//!
//! Work is counted by those who have it: the [queue](crate::wake::queue) of a pool while it is not empty, and the main future
//! of `run_until` while it is to be polled.
//!
//! One word is the hard idea. Going to sleep means "there is no work *and* I am asleep" at one instant; with two
//! words, a wake could slip between reading the one and writing the other, unless both sides paid for a full fence in
//! just the right place. With one word it is a compare-and-exchange, and a wake is an addition whose old value says
//! whether somebody sleeps.
//!
//! Two modes change what sleep means. *Embedded*, the reactor's descriptor is watched by another loop, so between two
//! waits it counts as asleep: a wake has to reach the descriptor. *Detached*, the reactor has a thread to itself and
//! does not poll tasks, so it sleeps whether there is work or not, and work need not wake it.

use super::wake_fd::{Signal, WakeFd};
use std::io;
use std::os::fd::RawFd;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

/// The reactor is in `epoll_wait`, or about to be.
const ASLEEP: u64 = 1;
/// Somebody asked for the current sleep to end, or for the next one not to begin.
const NOTIFIED: u64 = 2;
/// Another loop watches the descriptor: between two waits the reactor counts as asleep.
const EMBEDDED: u64 = 4;
/// The reactor has a thread to itself: work is nothing to it.
const DETACHED: u64 = 8;
/// One queue, or one main future, that has work.
const ONE_BUSY: u64 = 16;

/// The reactor's sleep: who may end it, and how.
#[derive(Debug)]
pub(crate) struct Notifier<E = WakeFd> {
    /// The word of the picture above.
    word: AtomicU64,
    /// What ends a sleep; used at most once in each.
    wake_fd: E,
    /// Writes so far, for [`Stats`](crate::Stats).
    writes: AtomicU64,
}

impl Notifier {
    /// Makes the eventfd. Nobody sleeps, nothing is ready.
    pub(crate) fn new() -> io::Result<Self> {
        WakeFd::new().map(Self::with_signal)
    }

    /// The eventfd's number, to be registered edge-triggered for reading.
    pub(crate) fn fd(&self) -> RawFd {
        self.wake_fd.fd()
    }
}

impl<E: Signal> Notifier<E> {
    /// With any signal.
    pub(crate) fn with_signal(wake_fd: E) -> Self {
        Self { word: AtomicU64::new(0), wake_fd, writes: AtomicU64::new(0) }
    }

    /// Another loop watches the descriptor from now on.
    pub(crate) fn embed(&self) {
        self.word.fetch_or(EMBEDDED | ASLEEP, Ordering::AcqRel);
    }

    /// Whether another loop watches the descriptor.
    pub(crate) fn is_embedded(&self) -> bool {
        self.word.load(Ordering::Relaxed) & EMBEDDED != 0
    }

    /// The reactor moves to a thread of its own, where it has nothing to do with tasks.
    pub(crate) fn detach(&self) {
        self.word.fetch_or(DETACHED, Ordering::AcqRel);
    }

    /// Whether it has a thread of its own.
    pub(crate) fn is_detached(&self) -> bool {
        self.word.load(Ordering::Relaxed) & DETACHED != 0
    }

    /// Somebody has work now, and had none before. To be called *before* the pool is told of it.
    ///
    /// Returns whether [`end_sleep`](Self::end_sleep) has to be called once the pool knows.
    pub(crate) fn busy(&self) -> bool {
        let word = self.word.fetch_add(ONE_BUSY, Ordering::AcqRel);
        // Embedded, the reactor may be marked as asleep between now and then, so it has to be looked at again.
        word & DETACHED == 0 && (word & EMBEDDED != 0 || word & (ASLEEP | NOTIFIED) == ASLEEP)
    }

    /// Whoever had work has none any more.
    pub(crate) fn idle(&self) {
        self.word.fetch_sub(ONE_BUSY, Ordering::AcqRel);
    }

    /// Whether anybody has work.
    pub(crate) fn has_work(&self) -> bool {
        self.word.load(Ordering::Acquire) >= ONE_BUSY
    }

    /// Ends a running sleep, or keeps the next one from beginning.
    pub(crate) fn notify(&self) {
        if self.word.fetch_or(NOTIFIED, Ordering::AcqRel) & (ASLEEP | NOTIFIED) == ASLEEP {
            self.write();
        }
    }

    /// Ends a running sleep; does nothing if there is none.
    ///
    /// For whoever changed something that a sleeper must see *and* that a reactor about to sleep looks at after
    /// [`try_sleep`](Self::try_sleep): the work, the earliest timer.
    pub(crate) fn end_sleep(&self) {
        // A read that takes its place in the order of all changes: either it sees an embedded reactor asleep, or that
        // reactor, marked later, sees what the caller did before.
        let mut word = self.word.fetch_or(0, Ordering::AcqRel);
        // Not `notify`: if the sleeper wakes by itself meanwhile, its next sleep must not be cut short for nothing.
        while word & (ASLEEP | NOTIFIED) == ASLEEP {
            match self.word.compare_exchange_weak(word, word | NOTIFIED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return self.write(),
                Err(now) => word = now,
            }
        }
    }

    /// Goes to sleep, unless there is work or somebody has notified.
    ///
    /// After `true`, everything that may have changed the time to wake must be looked at once more, then comes
    /// `epoll_wait`, then [`awake`](Self::awake).
    pub(crate) fn try_sleep(&self) -> bool {
        let mut word = self.word.load(Ordering::Acquire);
        while word & NOTIFIED == 0 && (word < ONE_BUSY || word & DETACHED != 0) {
            match self.word.compare_exchange_weak(word, word | ASLEEP, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Between two waits of an embedded reactor: asleep, whatever there is to do. What the pool was told of before is for
    /// the host's next call of the pool.
    pub(crate) fn doze(&self) {
        let word = self.word.fetch_or(ASLEEP, Ordering::AcqRel);
        // Notified since the turn looked, when the reactor still counted as awake and nobody wrote.
        if word & (ASLEEP | NOTIFIED) == NOTIFIED {
            self.write();
        }
    }

    /// Ends the sleep from the reactor's side, and forgets notifications. Says whether there was one.
    pub(crate) fn awake(&self) -> bool {
        let notified = self.word.fetch_and(!(ASLEEP | NOTIFIED), Ordering::AcqRel) & NOTIFIED != 0;
        if notified {
            self.wake_fd.clear();
        }
        notified
    }

    /// Writes to the eventfd so far.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Makes an edge on the eventfd.
    fn write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.wake_fd.raise();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn sleep_needs_an_empty_word() {
        let notifier = Notifier::new().unwrap();
        assert!(!notifier.busy());
        assert!(!notifier.try_sleep(), "there is work");
        notifier.idle();
        notifier.notify();
        assert!(!notifier.try_sleep(), "notified");
        assert!(notifier.awake());
        assert!(notifier.try_sleep());
        assert!(!notifier.awake());
    }

    /// Detached, work neither keeps the reactor awake nor wakes it; a notification does both.
    #[test]
    fn detached_sleep_ignores_work() {
        let notifier = Notifier::new().unwrap();
        assert!(!notifier.busy());
        notifier.detach();
        assert!(notifier.try_sleep());
        assert!(!notifier.busy(), "asleep, but not to be woken");
        notifier.notify();
        assert_eq!(notifier.writes(), 1);
        assert!(notifier.awake());
    }

    /// Embedded, work between two waits reaches the descriptor, once.
    #[test]
    fn embedded_work_reaches_the_descriptor() {
        let notifier = Notifier::new().unwrap();
        notifier.embed();
        assert!(notifier.busy());
        notifier.end_sleep();
        assert_eq!(notifier.writes(), 1);
        assert!(notifier.busy());
        notifier.end_sleep();
        assert_eq!(notifier.writes(), 1, "notified already");
        // During a wait it is awake, and what its own dispatch does is no news.
        assert!(notifier.awake());
        notifier.idle();
        assert!(notifier.busy());
        notifier.end_sleep();
        assert_eq!(notifier.writes(), 1);
        notifier.doze();
        notifier.end_sleep();
        assert_eq!(notifier.writes(), 2);
    }

    /// Bug C3: at most one write per sleep, none while awake.
    #[test]
    fn one_write_per_sleep() {
        let notifier = Notifier::new().unwrap();
        (0..100).for_each(|_| notifier.notify());
        assert_eq!(notifier.writes(), 0);
        notifier.awake();
        for sleep in 1..=3 {
            assert!(notifier.try_sleep());
            for _ in 0..100 {
                if notifier.busy() {
                    notifier.end_sleep();
                }
                notifier.end_sleep();
            }
            assert_eq!(notifier.writes(), sleep);
            assert!(notifier.awake());
            (0..100).for_each(|_| notifier.idle());
        }
    }
}
