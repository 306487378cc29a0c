//! Models of a wake, a sleep and an end, which `loom` checks in every interleaving of a few threads.
//!
//! The [notifier](crate::wake::notifier), the [scheduled flag](crate::wake::scheduled) and the
//! [queue](crate::wake::queue) work together here as the tasks, their driver and the reactor use them. Run by `.ci/run`.
//!
//! The hard idea is what the models must *not* have. The code under test is to order what the threads do, so the
//! stand-ins order nothing: a mutex in their place would hide a missing ordering. Each stand-in is a relaxed atomic:
//!
//! | stand-in | in place of |
//! |---|---|
//! | [`Flag`] | the eventfd and `epoll_wait` |
//! | [`Pool`] | the queue of the `LocalPool`, which holds the driver |
//! | the payloads of the models | what a thread does before it wakes: a value that a task reads, a timer, a stop |
//!
//! A thread may read an old value of a relaxed atomic, as long as nothing orders the read after the write. So a model
//! with a payload fails if the wake does not order the two. `.ci/orderings` weakens each ordering of
//! the notifier and of the scheduled flag, one at a time, and demands that a model fails.
//!
//! The models have no clock and no retry: after a lost wake the reactor sleeps for ever, which [`Flag::sleep`] reports.

use super::notifier::Notifier;
use super::queue::Queue;
use super::scheduled::ScheduledFlag;
use super::wake_fd::Signal;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, Ordering::Relaxed};
use loom::thread;
use std::task::{Wake, Waker};

/// Stands for an arrival among the numbers of tasks.
const ARRIVAL: usize = 99;
/// The looks at a [`Flag`] after which the sleep has no end. Each lets all other threads go on.
const MAX_LOOKS: usize = 100;

/// Stands in for the eventfd: a flag that the sleeping reactor waits for.
#[derive(Default)]
struct Flag(AtomicBool);

impl Flag {
    /// Stands in for `epoll_wait` without a timeout.
    fn sleep(&self) {
        for _ in 0..MAX_LOOKS {
            if self.take() {
                return;
            }
            thread::yield_now();
        }
        panic!("a wake was lost: the reactor sleeps for ever");
    }

    /// Stands in for a look at the descriptor.
    fn take(&self) -> bool {
        self.0.swap(false, Relaxed)
    }
}

impl Signal for std::sync::Arc<Flag> {
    fn raise(&self) {
        // A read-modify-write, as in the kernel: a relaxed store could count as earlier than a look that came before it.
        self.0.swap(true, Relaxed);
    }
}

/// Stands in for the pool: whether the pool has been told to poll the driver.
#[derive(Default)]
struct Pool(AtomicBool);

impl Pool {
    /// Returns whether the driver is to be polled, and forgets it.
    fn take(&self) -> bool {
        // The look is a load, which may be of an old value: a pool of futures looks with a load, too.
        self.0.load(Relaxed) && self.0.swap(false, Relaxed)
    }
}

impl Wake for Pool {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.swap(true, Relaxed);
    }
}

/// A reactor, a pool and some tasks.
struct Scene<const TASKS: usize> {
    notifier: Notifier<std::sync::Arc<Flag>>,
    flag: std::sync::Arc<Flag>,
    queue: Queue<()>,
    pool: std::sync::Arc<Pool>,
    scheduled: [ScheduledFlag; TASKS],
}

impl<const TASKS: usize> Scene<TASKS> {
    /// Returns a scene in which all tasks and the driver are idle.
    fn new() -> Arc<Self> {
        let flag = std::sync::Arc::new(Flag::default());
        let scheduled: [ScheduledFlag; TASKS] = std::array::from_fn(|_| ScheduledFlag::scheduled());
        scheduled.iter().for_each(|task| assert!(task.begin_poll()));
        let (queue, pool) = (Queue::new(), std::sync::Arc::new(Pool::default()));
        assert!(queue.attend(Waker::from(std::sync::Arc::clone(&pool))).0.is_none());
        let notifier = Notifier::with_signal(std::sync::Arc::clone(&flag));
        Arc::new(Self { notifier, flag, queue, pool, scheduled })
    }

    /// Does what a task's waker does.
    fn wake(&self, task: usize) {
        if self.scheduled[task].schedule() {
            self.queue.push(task as u32, &self.notifier);
        }
    }

    /// Does what an abort handle does.
    fn abort(&self, task: usize) {
        if self.scheduled[task].abort() {
            self.queue.push(task as u32, &self.notifier);
        }
    }

    /// Does what the waker of a main future does, with the flag of the first task.
    fn wake_main(&self) {
        if self.scheduled[0].schedule() && self.notifier.busy() {
            self.notifier.end_sleep();
        }
    }

    /// Does what a remote spawner does.
    fn arrive(&self) {
        self.queue.arrive((), &self.notifier, || ()).unwrap();
    }

    /// Does what `run_until_stalled` does with the driver. Returns the tasks that were polled; an arrival counts as
    /// number [`ARRIVAL`].
    fn run_until_stalled(&self) -> Vec<usize> {
        let mut polled = Vec::new();
        while self.pool.take() {
            let (_, arrivals) = self.queue.attend(Waker::from(std::sync::Arc::clone(&self.pool)));
            polled.extend(arrivals.iter().map(|()| ARRIVAL));
            loop {
                let mut tasks = Vec::new();
                if !self.queue.take(&mut tasks, &self.notifier) {
                    break;
                }
                if tasks.is_empty() {
                    // There are arrivals: the driver calls itself.
                    self.pool.0.swap(true, Relaxed);
                    break;
                }
                for task in tasks {
                    // A task that has ended is in the queue for nothing.
                    self.scheduled[task as usize].begin_poll();
                    polled.push(task as usize);
                }
            }
        }
        polled
    }

    /// Does what the reactor does: one wait without a timeout.
    fn wait(&self) {
        if self.notifier.try_sleep() {
            self.flag.sleep();
        } else {
            // The reactor spins while another thread is between counting and calling; loom has to be told.
            thread::yield_now();
        }
        self.notifier.awake();
    }

    /// Checks that nothing is left to do at the end, and that the reactor may sleep.
    fn check_quiet(&self) {
        assert!(!self.notifier.has_work(), "work is left");
        assert!(self.notifier.try_sleep());
    }
}

/// Starts a thread that works on the scene.
fn spawn<const TASKS: usize>(
    scene: &Arc<Scene<TASKS>>,
    work: impl FnOnce(&Scene<TASKS>) + 'static,
) -> thread::JoinHandle<()> {
    let scene = Arc::clone(scene);
    thread::spawn(move || work(&scene))
}

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

/// One wake, while the loop goes to sleep. (Bug C2.)
#[test]
fn a_wake_ends_the_sleep() {
    model(|| {
        let scene = Scene::<1>::new();
        let waker = spawn(&scene, |scene| scene.wake(0));
        while scene.run_until_stalled().is_empty() {
            scene.wait();
        }
        waker.join().unwrap();
        scene.check_quiet();
    });
}

/// Two threads wake two tasks: neither wake hides the other, and there is no more than one write for each sleep.
#[test]
fn two_wakes_end_the_sleep() {
    model(|| {
        let scene = Scene::<2>::new();
        let wakers = [0, 1].map(|task| spawn(&scene, move |scene| scene.wake(task)));
        let (mut polled, mut sleeps) = (scene.run_until_stalled(), 0);
        while polled.len() < 2 {
            scene.wait();
            sleeps += 1;
            polled.extend(scene.run_until_stalled());
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        polled.sort_unstable();
        assert_eq!(polled, [0, 1]);
        assert!(scene.notifier.writes() <= sleeps + 1);
        scene.run_until_stalled();
        scene.check_quiet();
    });
}

/// Two threads wake one task: the task is polled after the later of the two wakes, and sees what both threads did before.
#[test]
fn two_wakes_of_one_task() {
    model(|| {
        let scene = Scene::<1>::new();
        let done = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let wakers = [0, 1].map(|n| {
            let done = Arc::clone(&done);
            spawn(&scene, move |scene| {
                done[n].store(true, Relaxed);
                scene.wake(0);
            })
        });
        // The task looks for what the wakes announce, whenever it is polled.
        while scene.run_until_stalled().is_empty() || !done.iter().all(|done| done.load(Relaxed)) {
            scene.wait();
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        // A wake that came too late for the last poll has left the flag set.
        scene.run_until_stalled();
        scene.check_quiet();
    });
}

/// The main future of `run_until` has a flag and no queue. Two threads wake it: it sees what both did before, whichever
/// of the two makes it scheduled.
#[test]
fn a_main_future_is_woken() {
    model(|| {
        let scene = Scene::<1>::new();
        let done = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let wakers = [0, 1].map(|n| {
            let done = Arc::clone(&done);
            spawn(&scene, move |scene| {
                done[n].store(true, Relaxed);
                scene.wake_main();
            })
        });
        loop {
            if scene.scheduled[0].begin_poll() {
                scene.notifier.idle();
                if done.iter().all(|done| done.load(Relaxed)) {
                    break;
                }
            }
            scene.wait();
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        if scene.scheduled[0].finish() {
            scene.notifier.idle();
        }
        scene.check_quiet();
    });
}

/// The main future ends while it is being woken: what the wake has counted is taken back, whichever comes first.
#[test]
fn the_end_of_a_main_future_during_a_wake() {
    model(|| {
        let scene = Scene::<1>::new();
        let waker = spawn(&scene, |scene| scene.wake_main());
        if scene.scheduled[0].finish() {
            scene.notifier.idle();
        }
        waker.join().unwrap();
        scene.notifier.awake();
        scene.check_quiet();
    });
}

/// The task ends while it is being woken: its number comes to the queue or does not, as `finish` said, and nothing is
/// left that would keep the reactor awake.
#[test]
fn the_end_of_a_task_during_a_wake() {
    model(|| {
        let scene = Scene::<1>::new();
        let waker = spawn(&scene, |scene| scene.wake(0));
        let queued = scene.scheduled[0].finish();
        waker.join().unwrap();
        assert_eq!(!scene.run_until_stalled().is_empty(), queued);
        scene.check_quiet();
    });
}

/// A task is aborted while another thread wakes it: after the abort the task is taken from the queue once more, found
/// aborted, and the destructor sees what the aborting thread did before.
#[test]
fn an_abort_beside_a_wake() {
    model(|| {
        let scene = Scene::<1>::new();
        let before = Arc::new(AtomicBool::new(false));
        let threads = [
            spawn(&scene, {
                let before = Arc::clone(&before);
                move |scene| {
                    before.store(true, Relaxed);
                    scene.abort(0);
                }
            }),
            spawn(&scene, |scene| scene.wake(0)),
        ];
        while scene.run_until_stalled().is_empty() || !scene.scheduled[0].is_aborted() {
            scene.wait();
        }
        assert!(before.load(Relaxed), "the destructor does not see what the aborting thread did");
        let queued = scene.scheduled[0].finish();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(!scene.run_until_stalled().is_empty(), queued);
        scene.check_quiet();
    });
}

/// The task ends while it is being aborted: its number comes to the queue or does not, as `finish` said.
#[test]
fn the_end_of_a_task_during_an_abort() {
    model(|| {
        let scene = Scene::<1>::new();
        let aborting = spawn(&scene, |scene| scene.abort(0));
        let queued = scene.scheduled[0].finish();
        aborting.join().unwrap();
        assert_eq!(!scene.run_until_stalled().is_empty(), queued);
        assert!(!scene.scheduled[0].abort(), "an abort after the end does nothing");
        scene.check_quiet();
    });
}

/// A thread that sees the end of a task sees what the task's destructor did.
#[test]
fn the_end_of_a_task_is_seen() {
    model(|| {
        let scene = Scene::<1>::new();
        let dropped = Arc::new(AtomicBool::new(false));
        let watching = spawn(&scene, {
            let dropped = Arc::clone(&dropped);
            move |scene| assert!(!scene.scheduled[0].is_done() || dropped.load(Relaxed))
        });
        dropped.store(true, Relaxed);
        scene.scheduled[0].finish();
        watching.join().unwrap();
    });
}

/// The pool is dropped while one of its tasks is being woken. (Bug D11.)
#[test]
fn the_end_of_the_pool_during_a_wake() {
    model(|| {
        let scene = Scene::<1>::new();
        let waker = spawn(&scene, |scene| scene.wake(0));
        drop(scene.queue.close(&scene.notifier));
        scene.scheduled[0].finish();
        waker.join().unwrap();
        scene.check_quiet();
    });
}

/// An arrival comes from another thread while a task is woken and polled: neither hides the other.
#[test]
fn an_arrival_beside_a_wake() {
    model(|| {
        let scene = Scene::<1>::new();
        let threads = [spawn(&scene, |scene| scene.arrive()), spawn(&scene, |scene| scene.wake(0))];
        let mut polled = scene.run_until_stalled();
        while polled.len() < 2 {
            scene.wait();
            polled.extend(scene.run_until_stalled());
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        polled.sort_unstable();
        assert_eq!(polled, [0, ARRIVAL]);
        scene.run_until_stalled();
        scene.check_quiet();
    });
}

/// `notify` comes before, during or after the way to sleep.
#[test]
fn notify_ends_the_sleep() {
    model(|| {
        let scene = Scene::<0>::new();
        let notifier = spawn(&scene, |scene| scene.notifier.notify());
        if scene.notifier.try_sleep() {
            scene.flag.sleep();
        }
        notifier.join().unwrap();
        assert!(scene.notifier.awake(), "noticed");
        assert!(!scene.notifier.awake(), "once");
    });
}

/// What a thread did before it notified is seen after the wait that the notification has ended, or has kept from
/// blocking: a stop, for example. The loop looks for the stop before each wait, and nowhere else.
#[test]
fn a_stop_is_seen_after_its_notification() {
    for detached in [false, true] {
        model(move || {
            let (scene, stop) = (Scene::<0>::new(), Arc::new(AtomicBool::new(false)));
            if detached {
                scene.notifier.detach();
            }
            let stopper = spawn(&scene, {
                let stop = Arc::clone(&stop);
                move |scene| {
                    stop.store(true, Relaxed);
                    scene.notifier.notify();
                }
            });
            while !stop.load(Relaxed) {
                if scene.notifier.try_sleep() {
                    scene.flag.sleep();
                }
                scene.notifier.awake();
            }
            stopper.join().unwrap();
        });
    }
}

/// Two threads notify: both stops are seen, although only one of the notifications ends the wait.
#[test]
fn two_stops_are_seen_after_their_notifications() {
    model(|| {
        let scene = Scene::<0>::new();
        let stops = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let stoppers = [0, 1].map(|n| {
            let stops = Arc::clone(&stops);
            spawn(&scene, move |scene| {
                stops[n].store(true, Relaxed);
                scene.notifier.notify();
            })
        });
        while !stops.iter().all(|stop| stop.load(Relaxed)) {
            if scene.notifier.try_sleep() {
                scene.flag.sleep();
            }
            scene.notifier.awake();
        }
        stoppers.into_iter().for_each(|stopper| stopper.join().unwrap());
    });
}

/// Another thread sets a timer while the loop works out how long to sleep.
#[test]
fn an_earlier_timer_ends_the_sleep() {
    model(|| {
        let (scene, timer) = (Scene::<0>::new(), Arc::new(AtomicBool::new(false)));
        let setter = spawn(&scene, {
            let timer = Arc::clone(&timer);
            move |scene| {
                timer.store(true, Relaxed);
                scene.notifier.end_sleep();
            }
        });
        // Asleep first, timers second: either the loop sees the timer, or the setter sees the loop asleep.
        while !timer.load(Relaxed) {
            if scene.notifier.try_sleep() && !timer.load(Relaxed) {
                scene.flag.sleep();
            }
            scene.notifier.awake();
        }
        setter.join().unwrap();
    });
}

/// Embedded: a wake that comes while the host is between its turn and its own wait is either run in that turn, or makes
/// the descriptor readable.
#[test]
fn an_embedded_reactor_is_called() {
    model(|| {
        let scene = Scene::<1>::new();
        scene.notifier.embed();
        let waker = spawn(&scene, |scene| scene.wake(0));
        // The host's loop: a turn, the pool, and a wait of its own until the descriptor is readable.
        let mut polled = false;
        while !polled {
            scene.notifier.awake();
            scene.notifier.doze();
            polled = !scene.run_until_stalled().is_empty();
            if !polled {
                scene.flag.sleep();
            }
        }
        waker.join().unwrap();
        assert!(!scene.notifier.has_work());
    });
}

/// Embedded: a notification that comes during a turn makes the descriptor readable after the turn, if the turn has not
/// seen the notification.
#[test]
fn an_embedded_reactor_is_notified() {
    model(|| {
        let scene = Scene::<0>::new();
        scene.notifier.embed();
        let notifier = spawn(&scene, |scene| scene.notifier.notify());
        let seen = scene.notifier.awake();
        scene.notifier.doze();
        notifier.join().unwrap();
        assert!(seen || scene.flag.take(), "lost");
    });
}

/// Another thread calls the driver while this thread counts the queue out and in again: at the end the notifier counts
/// exactly the busy queue.
#[test]
fn counting_out_beside_wakes() {
    model(|| {
        let scene = Scene::<2>::new();
        let (one, two) = (Arc::clone(&scene), Arc::clone(&scene));
        let threads = [thread::spawn(move || one.wake(0)), thread::spawn(move || two.wake(1))];
        scene.queue.set_counted(false, &scene.notifier);
        scene.queue.set_counted(true, &scene.notifier);
        let mut polled = scene.run_until_stalled();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(scene.notifier.has_work(), polled.len() != 2);
        polled.extend(scene.run_until_stalled());
        assert_eq!(polled.len(), 2);
        assert!(!scene.notifier.has_work());
    });
}

/// The last remote spawner is dropped (the count becomes 0, then the driver is called) while the driver ends.
#[test]
fn the_last_remote_spawner_goes() {
    model(|| {
        let scene = Scene::<1>::new();
        let remotes = Arc::new(AtomicUsize::new(1));
        let (other, count) = (Arc::clone(&scene), Arc::clone(&remotes));
        let thread = thread::spawn(move || {
            if count.fetch_sub(1, Ordering::AcqRel) == 1 {
                other.queue.call_driver(&other.notifier);
            }
        });
        // The driver empties the queue, and ends if there is no remote spawner.
        let mut tasks = Vec::new();
        let mut ends = || {
            while scene.queue.take(&mut tasks, &scene.notifier) {
                tasks.clear();
            }
            remotes.load(Ordering::Acquire) == 0 && scene.queue.retire().is_some()
        };
        let mut ended = ends();
        thread.join().unwrap();
        if !ended && scene.notifier.has_work() {
            ended = ends();
        }
        assert!(!scene.notifier.has_work(), "busy for ever");
        assert!(ended, "the driver stays in the pool");
    });
}
