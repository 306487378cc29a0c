//! Whether a task is scheduled, and the count of those that are.
//!
//! A task is *scheduled* from the wake that makes it ready until its poll begins. The mark is the task's own, the count
//! is the [notifier](crate::notifier)'s, and the two change one after the other, on any thread. What must hold:
//!
//! - between the first wake and the poll, the count says so, so the reactor does not sleep;
//! - in the end each wake that was counted has been taken back, whoever wins: the poll, the end of the task, or another
//!   wake.
//!
//! ```text
//!                schedule(): mark, then count + 1
//!      ┌──────┐ ────────────────────────────────► ┌───────────┐
//!      │ idle │                                   │ scheduled │──┐ schedule(): nothing
//!      └──────┘ ◄──────────────────────────────── └───────────┘◄─┘
//!          │     begin_poll(): unmark, count - 1        │
//!          └───────────────────┬────────────────────────┘
//!                              ▼ finish(): count - 1 if it was marked
//!                          ┌──────┐
//!                          │ done │ for ever; schedule() does nothing
//!                          └──────┘
//! ```
//!
//! Marking comes before counting, so for a moment the count may be too small, and if a poll slips in between even less
//! than zero. The notifier knows: only a word that is exactly zero lets the reactor sleep, and the counting that is
//! still to come finds it asleep and wakes it.

use crate::notifier::{Notifier, Signal};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering};

/// The task is counted as ready, and the pool has been told or will be.
const SCHEDULED: u8 = 1;
/// The task has ended; wakes do nothing.
const DONE: u8 = 2;

/// One task's mark.
#[derive(Debug)]
pub(crate) struct Schedule(AtomicU8);

impl Schedule {
    /// If `scheduled`, the caller has counted the task already.
    pub(crate) fn new(scheduled: bool) -> Self {
        Self(AtomicU8::new(if scheduled { SCHEDULED } else { 0 }))
    }

    /// Marks and counts the task. Says whether the reactor sleeps and has to be woken once the pool knows; `None` if
    /// there is nothing to tell the pool.
    pub(crate) fn schedule<E: Signal>(&self, notifier: &Notifier<E>) -> Option<bool> {
        // Even if the mark is set already, this write makes what the waking thread did visible to the next poll.
        let state = self.0.fetch_or(SCHEDULED, Ordering::AcqRel);
        (state & (SCHEDULED | DONE) == 0).then(|| notifier.task_ready())
    }

    /// The task is about to be polled: from now on a wake schedules it anew. Says whether it was scheduled.
    pub(crate) fn begin_poll<E: Signal>(&self, notifier: &Notifier<E>) -> bool {
        let scheduled = self.0.fetch_and(!SCHEDULED, Ordering::AcqRel) & SCHEDULED != 0;
        if scheduled {
            notifier.task_taken();
        }
        scheduled
    }

    /// The task has ended. Says whether it was scheduled, and leaves the count to the caller.
    pub(crate) fn finish(&self) -> bool {
        self.0.swap(DONE, Ordering::AcqRel) & SCHEDULED != 0
    }
}

/// Every interleaving of a few threads, by `loom`: `.ci/full loom`. A lost wake is a dead-lock, which loom reports.
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// In place of the eventfd: a flag that the sleeper waits for, and counts.
    #[derive(Default)]
    struct Flag {
        raised: Mutex<bool>,
        change: Condvar,
    }

    impl Signal for Flag {
        fn signal(&self) {
            *self.raised.lock().unwrap() = true;
            self.change.notify_one();
        }
    }

    impl Flag {
        /// In place of `epoll_wait` without a timeout.
        fn sleep(&self) {
            let mut raised = self.raised.lock().unwrap();
            while !*raised {
                raised = self.change.wait(raised).unwrap();
            }
            *raised = false;
        }
    }

    /// A task in a pool: its mark, and whether the pool has it in its queue.
    struct Task {
        schedule: Schedule,
        queued: Mutex<bool>,
    }

    impl Task {
        fn new() -> Self {
            Self { schedule: Schedule::new(false), queued: Mutex::new(false) }
        }

        /// What a task's waker does.
        fn wake(&self, notifier: &Notifier<std::sync::Arc<Flag>>) {
            if let Some(asleep) = self.schedule.schedule(notifier) {
                *self.queued.lock().unwrap() = true;
                if asleep {
                    notifier.end_sleep();
                }
            }
        }

        /// What the pool does. Says whether it polled.
        fn run_until_stalled(&self, notifier: &Notifier<std::sync::Arc<Flag>>) -> bool {
            let queued = std::mem::take(&mut *self.queued.lock().unwrap());
            if queued {
                self.schedule.begin_poll(notifier);
            }
            queued
        }
    }

    impl Signal for std::sync::Arc<Flag> {
        fn signal(&self) {
            (**self).signal();
        }
    }

    type Loop = Arc<(Notifier<std::sync::Arc<Flag>>, std::sync::Arc<Flag>)>;

    fn a_loop() -> Loop {
        let flag = std::sync::Arc::new(Flag::default());
        Arc::new((Notifier::with_signal(std::sync::Arc::clone(&flag)), flag))
    }

    /// What the reactor does: one wait without a timeout.
    fn wait((notifier, flag): &(Notifier<std::sync::Arc<Flag>>, std::sync::Arc<Flag>)) {
        if notifier.try_sleep() {
            flag.sleep();
        } else {
            // It spins while another thread is between counting and queueing; loom has to be told.
            thread::yield_now();
        }
        notifier.awake();
    }

    fn model(test: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(test);
    }

    /// One wake, while the loop goes to sleep.
    #[test]
    fn a_wake_ends_the_sleep() {
        model(|| {
            let (reactor, task) = (a_loop(), Arc::new(Task::new()));
            let waker = thread::spawn({
                let (reactor, task) = (Arc::clone(&reactor), Arc::clone(&task));
                move || task.wake(&reactor.0)
            });
            while !task.run_until_stalled(&reactor.0) {
                wait(&reactor);
            }
            waker.join().unwrap();
            assert_eq!(reactor.0.ready_tasks(), 0);
        });
    }

    /// Two threads wake two tasks: neither covers the other's wake, and one write to the eventfd serves both.
    #[test]
    fn two_wakes_end_the_sleep() {
        model(|| {
            let (reactor, one, two) = (a_loop(), Arc::new(Task::new()), Arc::new(Task::new()));
            let wakers = [&one, &two].map(|task| {
                let (reactor, task) = (Arc::clone(&reactor), Arc::clone(task));
                thread::spawn(move || task.wake(&reactor.0))
            });
            let (mut first, mut second) = (false, false);
            let mut sleeps = 0;
            while !(first && second) {
                first |= one.run_until_stalled(&reactor.0);
                second |= two.run_until_stalled(&reactor.0);
                if !(first && second) {
                    wait(&reactor);
                    sleeps += 1;
                }
            }
            wakers.into_iter().for_each(|waker| waker.join().unwrap());
            assert_eq!(reactor.0.ready_tasks(), 0);
            assert!(reactor.0.writes() <= sleeps + 1);
        });
    }

    /// Two threads wake one task: it is polled after the later of them, and the count comes out even.
    #[test]
    fn two_wakes_of_one_task() {
        model(|| {
            let (reactor, task) = (a_loop(), Arc::new(Task::new()));
            let done = Arc::new([Mutex::new(false), Mutex::new(false)]);
            let wakers = [0, 1].map(|n| {
                let (reactor, task, done) = (Arc::clone(&reactor), Arc::clone(&task), Arc::clone(&done));
                thread::spawn(move || {
                    *done[n].lock().unwrap() = true;
                    task.wake(&reactor.0);
                })
            });
            // The task looks for what the wakes announce, whenever it is polled.
            loop {
                if task.run_until_stalled(&reactor.0) && done.iter().all(|done| *done.lock().unwrap()) {
                    break;
                }
                wait(&reactor);
            }
            wakers.into_iter().for_each(|waker| waker.join().unwrap());
            // A wake that came too late for the last poll may have left its mark.
            task.run_until_stalled(&reactor.0);
            assert_eq!(reactor.0.ready_tasks(), 0);
        });
    }

    /// The task ends while it is being woken: the count comes out even, and nothing sleeps for ever.
    #[test]
    fn the_end_of_a_task_during_a_wake() {
        model(|| {
            let (reactor, task) = (a_loop(), Arc::new(Task::new()));
            let waker = thread::spawn({
                let (reactor, task) = (Arc::clone(&reactor), Arc::clone(&task));
                move || task.wake(&reactor.0)
            });
            if task.schedule.finish() {
                reactor.0.task_taken();
            }
            waker.join().unwrap();
            assert_eq!(reactor.0.ready_tasks(), 0);
            assert!(reactor.0.try_sleep(), "the word is not zero");
        });
    }

    /// A wake during the poll schedules the task again.
    #[test]
    fn a_wake_during_the_poll() {
        model(|| {
            let (reactor, task) = (a_loop(), Arc::new(Task::new()));
            task.wake(&reactor.0);
            let waker = thread::spawn({
                let (reactor, task) = (Arc::clone(&reactor), Arc::clone(&task));
                move || task.wake(&reactor.0)
            });
            let mut polls = 0;
            while reactor.0.ready_tasks() != 0 || polls == 0 {
                polls += u32::from(task.run_until_stalled(&reactor.0));
                thread::yield_now();
            }
            waker.join().unwrap();
            task.run_until_stalled(&reactor.0);
            assert_eq!(reactor.0.ready_tasks(), 0);
        });
    }

    /// `notify` before, during or after the way to sleep.
    #[test]
    fn notify_ends_the_sleep() {
        model(|| {
            let reactor = a_loop();
            let notifier = thread::spawn({
                let reactor = Arc::clone(&reactor);
                move || reactor.0.notify()
            });
            if reactor.0.try_sleep() {
                reactor.1.sleep();
            }
            notifier.join().unwrap();
            assert!(reactor.0.awake(), "noticed");
            assert!(!reactor.0.awake(), "once");
        });
    }

    /// A timer that another thread sets while the loop works out how long to sleep.
    #[test]
    fn an_earlier_timer_ends_the_sleep() {
        model(|| {
            let (reactor, timer) = (a_loop(), Arc::new(Mutex::new(false)));
            let setter = thread::spawn({
                let (reactor, timer) = (Arc::clone(&reactor), Arc::clone(&timer));
                move || {
                    *timer.lock().unwrap() = true;
                    reactor.0.end_sleep();
                }
            });
            // Asleep first, timers second: either it sees the timer, or the setter sees it asleep.
            while !*timer.lock().unwrap() {
                if reactor.0.try_sleep() && !*timer.lock().unwrap() {
                    reactor.1.sleep();
                }
                reactor.0.awake();
            }
            setter.join().unwrap();
        });
    }
}
