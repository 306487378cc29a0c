//! The order of tasks, events and timers, drawn from a seed: `ReactorBuilder::shuffle`.
//!
//! For each kind: the same seed draws the same order, three things come in all six orders, and what has an order by contract
//! keeps it. Random programs end as they do without a seed.

use async_epoll::{Handle, LocalRuntime, Reactor, Source, Spawner, Timer};
use futures::channel::oneshot;
use futures::executor::LocalPool;
use futures::future::{FutureExt, LocalBoxFuture};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;
use tests::{TIME, millis, waker_fn, watchdog, yield_now};

/// Numbers that many tasks or wakers write down.
type Log = Rc<RefCell<Vec<usize>>>;

/// Returns a runtime with this seed.
fn runtime(seed: u64) -> LocalRuntime {
    Reactor::builder().shuffle(seed).build().unwrap().into()
}

/// Returns a task that is polled `polls` times, and writes its number down each time.
async fn busy(number: usize, polls: usize, log: Log) {
    for poll in 0..polls {
        if poll != 0 {
            yield_now().await;
        }
        log.borrow_mut().push(number);
    }
}

/// Returns a list for wakers, and `count` wakers that write their numbers into it.
fn wakers(count: usize) -> (Arc<Mutex<Vec<usize>>>, Vec<Waker>) {
    let woken = Arc::<Mutex<Vec<usize>>>::default();
    let waker = |number| {
        let woken = Arc::clone(&woken);
        waker_fn(move || woken.lock().unwrap().push(number))
    };
    let wakers = (0..count).map(waker).collect();
    (woken, wakers)
}

/// Checks the orders in which `run` serves the numbers below its second argument: the same for the same seed, and in
/// 100 seeds all orders of three.
fn check(run: impl Fn(u64, usize) -> Vec<usize>) {
    let _watchdog = watchdog(TIME);
    let in_order: Vec<_> = (0..10).collect();
    let many: BTreeSet<_> = (0..100).map(|seed| run(seed, 10)).collect();
    assert!(many.len() > 95, "{} orders in 100 seeds", many.len());
    for mut order in many {
        order.sort_unstable();
        assert_eq!(order, in_order, "lost or served twice");
    }
    assert_eq!(run(12345, 10), run(12345, 10));
    let three: BTreeSet<_> = (0..100).map(|seed| run(seed, 3)).collect();
    assert_eq!(three.len(), 6, "{three:?}");
}

/// Tasks that have been spawned, with and without a handle.
#[test]
fn spawned_tasks() {
    check(|seed, count| {
        let (mut runtime, log) = (runtime(seed), Log::default());
        for number in 0..count {
            let task = busy(number, 1, Rc::clone(&log));
            match number % 2 {
                0 => runtime.spawner().spawn(task).unwrap(),
                _ => runtime.spawner().spawn_task(task).unwrap().detach(),
            }
        }
        runtime.run().unwrap();
        log.take()
    });
}

/// Tasks that a task wakes, one after the other.
#[test]
fn woken_tasks() {
    check(|seed, count| {
        let (mut runtime, log) = (runtime(seed), Log::default());
        let mut senders = Vec::new();
        for number in 0..count {
            let (sender, receiver) = oneshot::channel();
            senders.push(sender);
            let log = Rc::clone(&log);
            let task = async move {
                receiver.await.unwrap();
                log.borrow_mut().push(number);
            };
            runtime.spawner().spawn(task).unwrap();
        }
        runtime.run_until(yield_now()).unwrap();
        assert_eq!(log.borrow().len(), 0);
        runtime.spawner().spawn(async { senders.into_iter().for_each(|sender| sender.send(()).unwrap()) }).unwrap();
        runtime.run().unwrap();
        log.take()
    });
}

/// The drivers of several spawners, whose tasks have all spent the budget of a turn.
#[test]
fn parked_drivers() {
    check(|seed, count| {
        let mut reactor = Reactor::builder().poll_budget(1).shuffle(seed).build().unwrap();
        let (mut pool, log) = (LocalPool::new(), Log::default());
        let spawners: Vec<_> = (0..=count).map(|_| reactor.spawner(&pool)).collect();
        for (number, spawner) in spawners.iter().enumerate() {
            spawner.spawn(busy(number, 2, Rc::clone(&log))).unwrap();
        }
        // The first polls are free, and the budget is for one more, of the first spawner's task. The drivers of the others
        // are parked, and called in the next turn.
        reactor.run(&mut pool).unwrap();
        let again = log.take().split_off(count + 1);
        assert_eq!(again[0], 0);
        again[1..].iter().map(|number| number - 1).collect()
    });
}

/// Events that the kernel reports in one turn: the wakers are woken in the order of the seed.
#[test]
fn events() {
    check(|seed, count| {
        let mut reactor = Reactor::builder().shuffle(seed).build().unwrap();
        let (woken, wakers) = wakers(count);
        let mut pairs = Vec::new();
        for waker in &wakers {
            let (peer, stream) = UnixStream::pair().unwrap();
            stream.set_nonblocking(true).unwrap();
            let source = Source::with_handle(stream, &reactor.handle()).unwrap();
            let mut byte = [0];
            let read = source.poll_read_with(&mut Context::from_waker(waker), |mut stream| {
                std::io::Read::read(&mut stream, &mut byte)
            });
            assert!(read.is_pending());
            pairs.push((peer, source));
        }
        // The events of new sources, which can be written to.
        reactor.wait(Some(Duration::ZERO)).unwrap();
        assert!(woken.lock().unwrap().is_empty());
        pairs.iter_mut().for_each(|(peer, _)| peer.write_all(b"!").unwrap());
        assert_eq!(reactor.wait(None).unwrap(), count);
        std::mem::take(&mut woken.lock().unwrap())
    });
}

/// Arms a timer that wakes `waker` at `deadline`.
fn arm(handle: &Handle, after: Duration, waker: &Waker) -> Timer {
    let mut timer = Timer::at(handle.test_clock().now() + after, handle);
    assert!(Pin::new(&mut timer).poll(&mut Context::from_waker(waker)).is_pending());
    timer
}

/// Timers that are due at the same instant.
#[test]
fn timers_of_one_instant() {
    check(|seed, count| {
        let mut runtime = runtime(seed);
        let (handle, (woken, wakers)) = (runtime.handle(), wakers(count));
        handle.test_clock().pause();
        let _timers: Vec<_> = wakers.iter().map(|waker| arm(&handle, millis(5), waker)).collect();
        runtime.run_until(handle.test_clock().advance(millis(5))).unwrap().unwrap();
        std::mem::take(&mut woken.lock().unwrap())
    });
}

/// Timers of different instants fire in the order of their deadlines under every seed, also if all are due in one turn.
#[test]
fn deadlines_keep_their_order() {
    let _watchdog = watchdog(TIME);
    for seed in 0..100 {
        let mut reactor = Reactor::builder().shuffle(seed).build().unwrap();
        let (handle, (woken, wakers)) = (reactor.handle(), wakers(40));
        let _timers: Vec<_> = wakers
            .iter()
            .zip((1..).map(Duration::from_micros))
            .map(|(waker, after)| {
                let mut timer = Timer::after(millis(1) + after, &handle);
                assert!(Pin::new(&mut timer).poll(&mut Context::from_waker(waker)).is_pending());
                timer
            })
            .collect();
        std::thread::sleep(millis(5));
        reactor.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(*woken.lock().unwrap(), (0..40).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// Without a seed, all three kinds come in their own order.
#[test]
#[cfg_attr(async_epoll_shuffle, ignore = "the program has a seed")]
fn without_a_seed() {
    let _watchdog = watchdog(TIME);
    let (mut runtime, log) = (LocalRuntime::new().unwrap(), Log::default());
    let (handle, (woken, wakers)) = (runtime.handle(), wakers(10));
    handle.test_clock().pause();
    let _timers: Vec<_> = wakers.iter().map(|waker| arm(&handle, millis(5), waker)).collect();
    for number in 0..10 {
        runtime.spawner().spawn(busy(number, 2, Rc::clone(&log))).unwrap();
    }
    runtime.run_until(handle.test_clock().advance(millis(5))).unwrap().unwrap();
    assert_eq!(*log.borrow(), (0..10).chain(0..10).collect::<Vec<_>>());
    assert_eq!(*woken.lock().unwrap(), (0..10).collect::<Vec<_>>());
}

/// No task starves: whatever the budget, each of many busy tasks is polled once before any is polled again, and a turn
/// polls as many tasks as without a seed.
#[test]
fn each_task_has_its_poll_in_each_round() {
    let _watchdog = watchdog(TIME);
    const TASKS: usize = 20;
    const POLLS: usize = 6;
    for budget in [1, 7, 20, 256] {
        let turns = |seed: Option<u64>| {
            let mut builder = Reactor::builder().poll_budget(budget);
            if let Some(seed) = seed {
                builder = builder.shuffle(seed);
            }
            let (mut runtime, log) = (LocalRuntime::from(builder.build().unwrap()), Log::default());
            for number in 0..TASKS {
                runtime.spawner().spawn(busy(number, POLLS, Rc::clone(&log))).unwrap();
            }
            runtime.run().unwrap();
            let log = log.take();
            assert_eq!(log.len(), TASKS * POLLS);
            for round in log.chunks(TASKS) {
                assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), TASKS, "seed {seed:?}: {round:?}");
            }
            runtime.handle().stats().turns
        };
        let expected = turns(None);
        for seed in 0..50 {
            assert_eq!(turns(Some(seed)), expected, "seed {seed}, budget {budget}");
        }
    }
}

/// A generator of random numbers for programs.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A step of a random task.
#[derive(Clone)]
enum Step {
    /// Waits for the next turn of the task.
    Yield,
    /// Waits for so many milliseconds.
    Sleep(u64),
    /// Runs the other task to its end, with a handle, and takes its output.
    Join(Vec<Self>),
    /// Leaves the other task to itself.
    Spawn(Vec<Self>),
}

/// Returns the steps of a random task, with further tasks up to this depth.
fn steps(random: &mut Random, depth: u64) -> Vec<Step> {
    let count = 1 + random.below(4);
    let step = |random: &mut Random| match random.below(if depth == 0 { 2 } else { 5 }) {
        0 => Step::Yield,
        1 => Step::Sleep(random.below(4)),
        2 => Step::Join(steps(random, depth - 1)),
        _ => Step::Spawn(steps(random, depth - 1)),
    };
    (0..count).map(|_| step(random)).collect()
}

/// What is known of a program: each step of each task, with its time in milliseconds.
type Trace = Rc<RefCell<Vec<(String, usize, u128)>>>;

/// Takes the steps of a task one after the other, and writes each down. Returns their number.
fn perform(name: String, steps: Vec<Step>, trace: Trace) -> LocalBoxFuture<'static, usize> {
    Box::pin(async move {
        let handle = Handle::current().unwrap();
        let clock = handle.test_clock();
        let (begin, count) = (clock.now(), steps.len());
        for (number, step) in steps.into_iter().enumerate() {
            let (child, spawner) = (format!("{name}.{number}"), Spawner::current().unwrap());
            match step {
                Step::Yield => yield_now().await,
                Step::Sleep(duration) => Timer::after(millis(duration), &handle).await.unwrap(),
                Step::Join(steps) => {
                    let expected = steps.len();
                    let child = spawner.spawn_task(perform(child, steps, Rc::clone(&trace))).unwrap();
                    assert_eq!(child.await.unwrap(), expected);
                }
                Step::Spawn(steps) => {
                    let child = perform(child, steps, Rc::clone(&trace));
                    spawner.spawn(child.map(drop)).unwrap();
                }
            }
            trace.borrow_mut().push((name.clone(), number, (clock.now() - begin).as_millis()));
        }
        count
    })
}

/// Returns the steps that a random program takes, in order.
fn outcome(program: u64, seed: Option<u64>) -> Vec<(String, usize, u128)> {
    let mut builder = Reactor::builder().poll_budget(5);
    if let Some(seed) = seed {
        builder = builder.shuffle(seed);
    }
    let (mut runtime, trace) = (LocalRuntime::from(builder.build().unwrap()), Trace::default());
    let clock = runtime.handle().test_clock();
    clock.pause();
    let mut random = Random(program);
    for number in 0..4 {
        let task = perform(number.to_string(), steps(&mut random, 2), Rc::clone(&trace));
        runtime.spawner().spawn(task.map(drop)).unwrap();
    }
    runtime.run_until(clock.advance(millis(200))).unwrap().unwrap();
    let stats = runtime.handle().stats();
    assert_eq!((stats.task_panics, stats.live_tasks, stats.timers), (0, 0, 0), "program {program}, seed {seed:?}");
    trace.take()
}

/// 10 000 seeds, over 100 programs: no step is lost, taken twice or at another time, and few come in the order that they
/// have without a seed.
#[test]
fn random_programs_end_as_without_a_seed() {
    let _watchdog = watchdog(2 * TIME);
    let mut same_order = 0;
    for program in 0..100 {
        let unshuffled = outcome(program, None);
        let mut expected = unshuffled.clone();
        expected.sort_unstable();
        for seed in 0..100 {
            let mut steps = outcome(program, Some(seed));
            same_order += usize::from(steps == unshuffled);
            steps.sort_unstable();
            assert_eq!(steps, expected, "program {program}, seed {seed}");
        }
        assert_eq!(outcome(program, Some(program)), outcome(program, Some(program)), "the same seed");
    }
    assert!(same_order < 2000, "{same_order} of 10000 as without a seed");
}
