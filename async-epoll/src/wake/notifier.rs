//! How a sleeping reactor is woken, and why it never sleeps while there is work.
//!
//! A thread in `epoll_wait` can only be woken through a descriptor, so there is an eventfd. A write to the eventfd is a
//! system call, so a wake writes only while the reactor sleeps. One atomic word says whether the reactor sleeps and
//! *whether there is work to be polled*:
//!
//! ```text
//!      63                        4   3          2          1          0
//!     ┌───────────────────────────┬──────────┬──────────┬──────────┬────────┐
//!     │ busy count                │ DETACHED │ EMBEDDED │ NOTIFIED │ ASLEEP │
//!     └───────────────────────────┴──────────┴──────────┴──────────┴────────┘
//!
//!      AWAKE ──try_sleep(): no work──► ASLEEP ──notify(): write eventfd──► NOTIFIED
//!        ▲ │                              │                                   │
//!        │ └── notify(): no system call ──┼─────────────────────────────────► │
//!        └───────── awake() ──────────────┴───────────────────────────────────┘
//! ```
//!
//! The busy count is the sum of all work: the [queue](crate::wake::queue) of a pool counts from the first task put in
//! until the driver finds nothing left, and the main future of `run_until` counts while it is scheduled.
//!
//! The hard idea is the single word. Going to sleep means "there is no work *and* the reactor is asleep" at one
//! instant. With two words, a wake could slip between the read of the first and the write of the second, unless both
//! sides paid for a full fence in just the right place. With one word, going to sleep is a compare-and-exchange, and a
//! wake is an addition; the old value says whether the reactor sleeps.
//!
//! # Orderings
//!
//! All changes of the word are read-modify-writes, so they have one order, and the old value that each returns decides
//! what to do; that needs no ordering beyond `Relaxed`. An ordering is needed where the *other* memory of a thread has to
//! be visible to the reactor, and the models have a case for each:
//!
//! | written before | seen after | for example |
//! |---|---|---|
//! | [`notify`](Notifier::notify): release | [`awake`](Notifier::awake): acquire | the stop of a background reactor |
//! | [`end_sleep`](Notifier::end_sleep): release | [`try_sleep`](Notifier::try_sleep) that succeeds: acquire | an earlier timer |
//! | [`end_sleep`](Notifier::end_sleep): release | [`doze`](Notifier::doze): acquire | the call of a driver, told to the host's pool |
//!
//! The busy count needs none: it is counted before the pool is told and taken back by the thread that polls, so while the
//! pool's news is on its way the reactor finds work and does not sleep.
//!
//! Two modes change what sleep means. *Embedded*: another loop watches the reactor's descriptor, so the reactor counts
//! as asleep between two waits, and a wake has to reach the descriptor. *Detached*: the reactor has a thread to itself
//! and polls no tasks, so the reactor sleeps whether there is work or not, and work does not wake the reactor.

use super::wake_fd::{Signal, WakeFd};
use std::io;
use std::os::fd::RawFd;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

/// The reactor is in `epoll_wait`, or about to be.
const ASLEEP: u64 = 1;
/// A notification: the current sleep has to end, or the next one must not begin.
const NOTIFIED: u64 = 2;
/// Another loop watches the descriptor: between two waits the reactor counts as asleep.
const EMBEDDED: u64 = 4;
/// The reactor has a thread to itself: work neither keeps the reactor awake nor wakes it.
const DETACHED: u64 = 8;
/// The busy count of one queue, or of one main future.
const ONE_BUSY: u64 = 16;

/// The state of the reactor's sleep, and the means to end it.
#[derive(Debug)]
pub(crate) struct Notifier<E = WakeFd> {
    /// The word of the picture above. Written by any thread.
    word: AtomicU64,
    /// Ends a sleep; written at most once in each.
    wake_fd: E,
    /// The number of writes so far, for [`Stats`](crate::Stats).
    writes: AtomicU64,
}

impl Notifier {
    /// Makes the eventfd. The reactor is awake and has no work.
    pub(crate) fn new() -> io::Result<Self> {
        WakeFd::new().map(Self::with_signal)
    }

    /// Returns the eventfd's number, to be registered edge-triggered for reading.
    pub(crate) fn fd(&self) -> RawFd {
        self.wake_fd.fd()
    }
}

impl<E: Signal> Notifier<E> {
    /// Returns a notifier with any signal.
    pub(crate) fn with_signal(wake_fd: E) -> Self {
        Self { word: AtomicU64::new(0), wake_fd, writes: AtomicU64::new(0) }
    }

    /// Marks the reactor as embedded: from now on another loop watches the descriptor.
    pub(crate) fn embed(&self) {
        self.word.fetch_or(EMBEDDED | ASLEEP, Ordering::Relaxed);
    }

    /// Returns whether another loop watches the descriptor.
    pub(crate) fn is_embedded(&self) -> bool {
        self.word.load(Ordering::Relaxed) & EMBEDDED != 0
    }

    /// Marks the reactor as detached: it moves to a thread of its own, where it polls no tasks.
    pub(crate) fn detach(&self) {
        self.word.fetch_or(DETACHED, Ordering::Relaxed);
    }

    /// Returns whether the reactor has a thread of its own.
    pub(crate) fn is_detached(&self) -> bool {
        self.word.load(Ordering::Relaxed) & DETACHED != 0
    }

    /// Counts a queue, or a main future, that has become busy. The caller calls this *before* telling the pool.
    ///
    /// Returns whether [`end_sleep`](Self::end_sleep) has to be called once the pool has been told.
    pub(crate) fn busy(&self) -> bool {
        let word = self.word.fetch_add(ONE_BUSY, Ordering::Relaxed);
        // An embedded reactor may be marked as asleep between now and then, so `end_sleep` has to look again.
        word & DETACHED == 0 && (word & EMBEDDED != 0 || word & (ASLEEP | NOTIFIED) == ASLEEP)
    }

    /// Counts a queue, or a main future, that has become idle.
    pub(crate) fn idle(&self) {
        self.word.fetch_sub(ONE_BUSY, Ordering::Relaxed);
    }

    /// Returns whether any queue or main future is busy.
    pub(crate) fn has_work(&self) -> bool {
        self.word.load(Ordering::Relaxed) >= ONE_BUSY
    }

    /// Ends a running sleep, or keeps the next one from beginning.
    pub(crate) fn notify(&self) {
        if self.word.fetch_or(NOTIFIED, Ordering::Release) & (ASLEEP | NOTIFIED) == ASLEEP {
            self.write();
        }
    }

    /// Ends a running sleep; does nothing if there is none.
    ///
    /// For a caller that has changed something which a sleeping reactor must see, *and* which a reactor about to sleep
    /// looks at after [`try_sleep`](Self::try_sleep): the work, or the earliest timer.
    pub(crate) fn end_sleep(&self) {
        // A read-modify-write has a place in the order of all changes: either it sees the reactor asleep, or the reactor
        // is marked as asleep later and then sees what the caller did before. A plain load could do neither. The later
        // exchange adds nothing to what this release makes visible.
        let mut word = self.word.fetch_or(0, Ordering::Release);
        // Not `notify`: if the reactor wakes for another reason meanwhile, this call must not cut the next sleep short.
        while word & (ASLEEP | NOTIFIED) == ASLEEP {
            match self.word.compare_exchange_weak(word, word | NOTIFIED, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return self.write(),
                Err(now) => word = now,
            }
        }
    }

    /// Goes to sleep, unless there is work or a notification. Returns whether the reactor is asleep now.
    ///
    /// After `true`, the caller must look once more at everything that may have changed the time to wake, then call
    /// `epoll_wait`, then [`awake`](Self::awake).
    pub(crate) fn try_sleep(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & NOTIFIED == 0 && (word < ONE_BUSY || word & DETACHED != 0) {
            match self.word.compare_exchange_weak(word, word | ASLEEP, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Marks an embedded reactor as asleep between two waits, even if there is work: the host's next run of the pool
    /// deals with what the pool has already been told.
    pub(crate) fn doze(&self) {
        let word = self.word.fetch_or(ASLEEP, Ordering::Acquire);
        // The notification came after the turn had looked. The reactor still counted as awake then, so the notifying
        // thread did not write.
        if word & (ASLEEP | NOTIFIED) == NOTIFIED {
            self.write();
        }
    }

    /// Ends the sleep on the reactor's side, and clears the notification. Returns whether there was a notification.
    pub(crate) fn awake(&self) -> bool {
        let notified = self.word.fetch_and(!(ASLEEP | NOTIFIED), Ordering::Acquire) & NOTIFIED != 0;
        // Also without a notification: the thread that has notified an earlier sleep may have written only now.
        self.wake_fd.clear();
        notified
    }

    /// Returns the number of writes to the eventfd so far.
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
    use crate::sys::{Epoll, epoll_event};
    use std::sync::Barrier;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

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
        // During a wait the reactor counts as awake, and work from its own dispatch needs no write.
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

    /// Found 12b: a pipe is empty after each sleep that it has ended. So it never fills, and each write finds it empty:
    /// from Linux 5.5 to 5.13 a write to a pipe with bytes in it makes no edge.
    #[test]
    fn a_pipe_is_emptied_after_each_sleep() {
        let notifier = Notifier::with_signal(WakeFd::pipe().unwrap());
        let (epoll, mut events) = (Epoll::new().unwrap(), [epoll_event { events: 0, u64: 0 }]);
        epoll.add(notifier.fd(), (libc::EPOLLIN | libc::EPOLLET) as u32, 7).unwrap();
        for sleep in 1..=10_000 {
            assert!(notifier.try_sleep());
            notifier.notify();
            assert_eq!(epoll.wait(&mut events, Some(Duration::from_secs(10))).unwrap(), 1, "sleep {sleep}");
            assert!(notifier.awake());
            assert_eq!(notifier.writes(), sleep);
            assert!(notifier.wake_fd.is_empty(), "sleep {sleep} has left bytes behind");
        }
    }

    /// Found 12b: a thread is preempted between its notification and its write, so the write comes in a later sleep. The
    /// pipe is empty after that sleep, too, and the next write makes an edge on every kernel.
    #[test]
    fn a_late_write_is_emptied() {
        /// A pipe whose first write waits for the engine's next sleep.
        struct Late {
            pipe: WakeFd,
            is_later: AtomicBool,
            about_to_write: Barrier,
            may_write: Barrier,
        }
        impl Signal for Late {
            fn raise(&self) {
                if !self.is_later.swap(true, Ordering::Relaxed) {
                    self.about_to_write.wait();
                    self.may_write.wait();
                }
                self.pipe.raise();
            }
            fn clear(&self) {
                self.pipe.clear();
            }
        }
        let (pipe, is_later) = (WakeFd::pipe().unwrap(), AtomicBool::new(false));
        let (about_to_write, may_write) = (Barrier::new(2), Barrier::new(2));
        let notifier = Notifier::with_signal(Late { pipe, is_later, about_to_write, may_write });
        let pipe = &notifier.wake_fd.pipe;
        let (epoll, mut events) = (Epoll::new().unwrap(), [epoll_event { events: 0, u64: 0 }]);
        epoll.add(pipe.fd(), (libc::EPOLLIN | libc::EPOLLET) as u32, 7).unwrap();
        assert!(notifier.try_sleep());
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| notifier.notify());
            notifier.wake_fd.about_to_write.wait();
            // A timer ends the sleep. The notification is taken, and the next sleep begins.
            assert!(notifier.awake());
            assert!(notifier.try_sleep());
            notifier.wake_fd.may_write.wait();
            thread.join().unwrap();
        });
        assert_eq!(epoll.wait(&mut events, Some(Duration::from_secs(10))).unwrap(), 1);
        assert!(!notifier.awake(), "the notification was taken before");
        assert!(pipe.is_empty(), "the late write is left behind");
    }
}
