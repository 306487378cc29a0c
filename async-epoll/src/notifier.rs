//! How a sleeping reactor is woken, and why it never sleeps when it should not.
//!
//! A thread in `epoll_wait` can only be woken through a descriptor, so there is an eventfd. Writing to it costs a
//! system call, so nobody writes unless the reactor really sleeps. Whether it sleeps and *how many tasks are ready to
//! be polled* are kept in one atomic word:
//!
//! ```text
//!      63                                  2   1          0
//!     ┌─────────────────────────────────────┬──────────┬────────┐
//!     │ number of ready tasks               │ NOTIFIED │ ASLEEP │
//!     └─────────────────────────────────────┴──────────┴────────┘
//!
//!      AWAKE ──try_sleep(): word is 0──► ASLEEP ──notify(): write eventfd──► NOTIFIED
//!        ▲ │                                │                                   │
//!        │ └── notify(): no system call ────┼─────────────────────────────────► │
//!        └───────── awake() ────────────────┴───────────────────────────────────┘
//! ```
//!
//! One word is the hard idea. Going to sleep means "no task is ready *and* I am asleep" at one instant; with two
//! words, a wake could slip between reading the one and writing the other, unless both sides paid for a full fence in
//! just the right place. With one word it is a compare-and-exchange from 0, and a wake is an addition whose old value
//! says whether somebody sleeps.
//!
//! The eventfd is never read: it is registered edge-triggered, and each write makes a new edge. Its counter would
//! overflow after 2⁶⁴ - 1 sleeps.

use crate::sys;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

/// The reactor is in `epoll_wait`, or about to be.
const ASLEEP: u64 = 1;
/// Somebody asked for the current sleep to end, or for the next one not to begin.
const NOTIFIED: u64 = 2;
/// One ready task.
const ONE_READY: u64 = 4;

/// What a sleeper wakes from. Outside of models it is an eventfd.
pub(crate) trait Signal {
    /// Ends the present sleep, or the next one.
    fn signal(&self);
}

impl Signal for File {
    fn signal(&self) {
        let mut event = self;
        loop {
            match event.write(&1_u64.to_ne_bytes()) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The only other error is a full counter, which epoll reports as readable all the same.
                _ => return,
            }
        }
    }
}

/// The reactor's sleep: who may end it, and how.
#[derive(Debug)]
pub(crate) struct Notifier<E = File> {
    /// The word of the picture above.
    word: AtomicU64,
    /// The eventfd, written at most once per sleep.
    event: E,
    /// Writes so far, for [`Stats`](crate::Stats).
    writes: AtomicU64,
}

impl Notifier {
    /// Makes the eventfd. Nobody sleeps, nothing is ready.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self::with_signal(File::from(sys::eventfd()?)))
    }

    /// The eventfd's number, to be registered edge-triggered for reading.
    pub(crate) fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

impl<E: Signal> Notifier<E> {
    /// With any signal.
    pub(crate) fn with_signal(event: E) -> Self {
        Self { word: AtomicU64::new(0), event, writes: AtomicU64::new(0) }
    }

    /// A task has become ready. To be called *before* the pool is told of it; see [`end_sleep`](Self::end_sleep).
    ///
    /// Returns whether the reactor sleeps and has to be woken once the pool knows.
    pub(crate) fn task_ready(&self) -> bool {
        self.word.fetch_add(ONE_READY, Ordering::AcqRel) & (ASLEEP | NOTIFIED) == ASLEEP
    }

    /// A ready task is being polled, or will never be.
    ///
    /// A waker sets its task's flag before it counts, so this may run first and take the count below zero for a
    /// moment. The word wraps and is not 0, so the reactor stays awake until the waker has counted: harmless.
    pub(crate) fn task_taken(&self) {
        self.word.fetch_sub(ONE_READY, Ordering::AcqRel);
    }

    /// Tasks that are ready now.
    pub(crate) fn ready_tasks(&self) -> usize {
        // Signed, since the count may be below zero for a moment (see `task_taken`), which is nobody's business outside.
        let ready = self.word.load(Ordering::Acquire) as i64 / ONE_READY as i64;
        usize::try_from(ready).unwrap_or(0)
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
    /// [`try_sleep`](Self::try_sleep): the ready count, the earliest timer.
    pub(crate) fn end_sleep(&self) {
        let mut word = self.word.load(Ordering::Acquire);
        // Not `notify`: if the sleeper wakes by itself meanwhile, its next sleep must not be cut short for nothing.
        while word & (ASLEEP | NOTIFIED) == ASLEEP {
            match self.word.compare_exchange_weak(word, word | NOTIFIED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return self.write(),
                Err(now) => word = now,
            }
        }
    }

    /// Goes to sleep, unless a task is ready or somebody has notified.
    ///
    /// After `true`, everything that may have changed the time to wake must be looked at once more, then comes
    /// `epoll_wait`, then [`awake`](Self::awake).
    pub(crate) fn try_sleep(&self) -> bool {
        self.word.compare_exchange(0, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Ends the sleep from the reactor's side, and forgets notifications. Says whether there was one.
    pub(crate) fn awake(&self) -> bool {
        self.word.fetch_and(!(ASLEEP | NOTIFIED), Ordering::AcqRel) & NOTIFIED != 0
    }

    /// Writes to the eventfd so far.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Makes an edge on the eventfd.
    fn write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.event.signal();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn sleep_needs_an_empty_word() {
        let notifier = Notifier::new().unwrap();
        assert!(!notifier.task_ready());
        assert!(!notifier.try_sleep(), "a task is ready");
        notifier.task_taken();
        notifier.notify();
        assert!(!notifier.try_sleep(), "notified");
        assert!(notifier.awake());
        assert!(notifier.try_sleep());
        assert!(!notifier.awake());
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
                if notifier.task_ready() {
                    notifier.end_sleep();
                }
                notifier.end_sleep();
            }
            assert_eq!(notifier.writes(), sleep);
            assert!(notifier.awake());
            (0..100).for_each(|_| notifier.task_taken());
        }
    }
}
