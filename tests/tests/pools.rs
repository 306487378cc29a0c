//! One reactor, several pools: `run` and `run_until` find out once, exactly, which tasks are in the pool passed to
//! them.
//!
//! The table: tasks in the pool being run × tasks in another pool × the method. A task is *ready* if it waits for its
//! first poll, *pending* if it was polled and waits for a channel.

use async_epoll::{LocalRuntime, Reactor, Spawner, Timer};
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use std::cell::Cell;
use std::io::ErrorKind::InvalidInput;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::{TIME, thread_cpu, watchdog, yield_now};

const MS: Duration = Duration::from_millis(1);

/// What a pool contains.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Has {
    Nothing,
    /// A spawner, but no task.
    Spawner,
    Ready,
    Pending,
}

const ALL: [Has; 4] = [Has::Nothing, Has::Spawner, Has::Ready, Has::Pending];

/// Returns a pool with a task in this state, and the sender that ends a pending task.
fn pool(has: Has, reactor: &Reactor) -> (LocalPool, Option<Spawner>, Option<oneshot::Sender<()>>) {
    let mut pool = LocalPool::new();
    if has == Has::Nothing {
        return (pool, None, None);
    }
    let spawner = reactor.spawner(&pool);
    let mut end = None;
    match has {
        Has::Ready => spawner.spawn_local(yield_now()).unwrap(),
        Has::Pending => {
            let (sender, receiver) = oneshot::channel::<()>();
            spawner.spawn_local(async move { receiver.await.unwrap() }).unwrap();
            pool.run_until_stalled();
            end = Some(sender);
        }
        _ => {}
    }
    (pool, Some(spawner), end)
}

/// Found 12: the whole table.
#[test]
fn every_division_of_tasks() {
    let _watchdog = watchdog(TIME);
    for (here, elsewhere) in ALL.into_iter().flat_map(|here| ALL.map(|elsewhere| (here, elsewhere))) {
        for until in [false, true] {
            let mut reactor = Reactor::new().unwrap();
            let (mut first, one, end) = pool(here, &reactor);
            let (mut second, _two, other_end) = pool(elsewhere, &reactor);
            // A timer wakes a pending task here, in the pool itself.
            if let (Some(spawner), Some(end)) = (&one, end) {
                let timer = Timer::after(2 * MS, &reactor.handle());
                let end = async move {
                    timer.await.unwrap();
                    end.send(()).unwrap();
                };
                spawner.spawn_local(end).unwrap();
            }
            let begin = Instant::now();
            let handle = reactor.handle();
            let result = match until {
                false => reactor.run(&mut first),
                true => reactor.run_until(&mut first, Timer::after(4 * MS, &handle)).map(Result::unwrap),
            };
            let took = begin.elapsed();
            let cell = format!("{here:?} here, {elsewhere:?} elsewhere, until: {until}: {result:?} after {took:?}");
            let has_tasks_here = matches!(here, Has::Ready | Has::Pending);
            let is_wrong = !has_tasks_here && (elsewhere == Has::Ready || elsewhere == Has::Pending && !until);
            match result {
                Ok(()) => assert!(!is_wrong, "{cell}"),
                Err(error) => {
                    assert!(is_wrong && error.kind() == InvalidInput, "{cell}");
                    assert!(error.to_string().contains("pass the LocalPool"), "{cell}");
                }
            }
            assert!(took < Duration::from_secs(1), "{cell}");
            // The other pool's task is still there, and its wakes count again.
            let left = usize::from(matches!(elsewhere, Has::Ready | Has::Pending));
            if reactor.handle().stats().live_tasks > left {
                // The main future was ready before the tasks here.
                reactor.run(&mut first).unwrap();
            }
            assert_eq!(reactor.handle().stats().live_tasks, left, "{cell}");
            if let Some(end) = other_end {
                thread::spawn(move || {
                    thread::sleep(2 * MS);
                    end.send(()).unwrap();
                });
            }
            reactor.run(&mut second).unwrap();
            assert_eq!(reactor.handle().stats().live_tasks, 0, "{cell}");
            assert_eq!(reactor.handle().stats().ready_tasks, 0, "{cell}");
        }
    }
}

/// Found 12: while a pool is run, ready tasks of another pool neither keep the reactor awake nor make it spin. This holds for
/// tasks that were ready before, and for tasks that another thread wakes meanwhile.
#[test]
fn a_pool_that_is_not_run_costs_no_time() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let (mut first, second) = (LocalPool::new(), LocalPool::new());
    let (one, two) = (reactor.spawner(&first), reactor.spawner(&second));
    two.spawn_local(yield_now()).unwrap();
    let three = reactor.spawner(&second);
    let (wakes, mut woken) = mpsc::unbounded();
    three.spawn_local(async move { while woken.next().await.is_some() {} }).unwrap();
    let remote = three.remote();
    let waker = thread::spawn(move || {
        for _ in 0..20 {
            thread::sleep(MS);
            wakes.unbounded_send(()).unwrap();
            remote.spawn_with(|| async {}).unwrap();
        }
    });
    let handle = reactor.handle();
    one.spawn_local(async move {
        for _ in 0..50 {
            Timer::after(2 * MS, &handle).await.unwrap();
        }
    })
    .unwrap();
    let cpu = thread_cpu();
    reactor.run(&mut first).unwrap();
    let (stats, cpu) = (reactor.handle().stats(), thread_cpu() - cpu);
    assert!(stats.turns <= 3 * 50 + 20, "{stats:?}");
    assert!(cpu < 50 * MS, "{cpu:?}");
    waker.join().unwrap();
    assert_eq!(stats.live_tasks, 2 + 20);
    let mut second = second;
    reactor.run(&mut second).unwrap();
    assert_eq!(reactor.handle().stats().live_tasks, 0);
}

/// Found 12: a pool that is never run collects no probes, however often another pool is run.
#[test]
fn a_pool_that_is_not_run_collects_nothing() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let (mut first, mut second) = (LocalPool::new(), LocalPool::new());
    let (_one, _two) = (reactor.spawner(&first), reactor.spawner(&second));
    for _ in 0..1000 {
        reactor.run_until(&mut first, yield_now()).unwrap();
        // The main future is ready at once: the pool is not even run.
        reactor.run_until(&mut first, async {}).unwrap();
    }
    let left = (0..).take_while(|_| second.try_run_one()).count();
    assert!(left <= 1, "{left} probes");
    assert!(!first.try_run_one(), "the pool that was run has polled them all");
}

/// Two spawners of one pool and one of another, run in turn: each call waits only for the tasks of its pool.
#[test]
fn each_pool_in_turn() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let mut pools = [LocalPool::new(), LocalPool::new()];
    let spawners: Vec<_> = [0, 1, 0].iter().map(|&index| reactor.spawner(&pools[index])).collect();
    for round in 0..20 {
        let done = Rc::new(Cell::new(0));
        for spawner in &spawners {
            let (timer, done) = (Timer::after(MS, &reactor.handle()), Rc::clone(&done));
            let task = async move {
                timer.await.unwrap();
                done.set(done.get() + 1);
            };
            spawner.spawn_local(task).unwrap();
        }
        reactor.run(&mut pools[round % 2]).unwrap();
        assert_eq!(done.get(), [2, 1][round % 2]);
        reactor.run(&mut pools[1 - round % 2]).unwrap();
        assert_eq!(done.get(), 3);
    }
}

/// The race: other threads are in the middle of a wake when `run_until` asks. If a set of tasks in the right pool were
/// counted to another pool, it would never be woken again, and the watchdog would end the test.
#[test]
fn the_answer_is_exact_while_other_threads_wake() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let (mut first, second) = (LocalPool::new(), LocalPool::new());
    let (one, two) = (reactor.spawner(&first), reactor.spawner(&second));
    two.spawn_local(yield_now()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // Tasks of the pool's own spawner are woken in the pool's own queue, where they may hide a probe.
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (sender, mut receiver) = mpsc::unbounded::<()>();
            first.spawner().spawn_local(async move { while receiver.next().await.is_some() {} }).unwrap();
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = sender.unbounded_send(());
                    thread::yield_now();
                }
            })
        })
        .collect();
    let (ask, asked) = std::sync::mpsc::channel::<oneshot::Sender<()>>();
    let answers = thread::spawn(move || asked.into_iter().for_each(|sender| sender.send(()).unwrap()));
    for _ in 0..2000 {
        let (sender, receiver) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        // Another thread wakes the task here, and the task wakes the main future.
        one.spawn_local(async move {
            receiver.await.unwrap();
            done.send(()).unwrap();
        })
        .unwrap();
        ask.send(sender).unwrap();
        reactor.run_until(&mut first, is_done).unwrap().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    drop(ask);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    answers.join().unwrap();
    assert_eq!(reactor.handle().stats().live_tasks, 1);
}

/// A dropped pool does not confuse a runtime, nor another pool on its reactor's handle.
#[test]
fn a_pool_that_is_gone_is_no_wrong_pool() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let gone = LocalPool::new();
    let spawner = reactor.spawner(&gone);
    spawner.spawn_local(yield_now()).unwrap();
    drop(gone);
    reactor.run(&mut LocalPool::new()).unwrap();
    let mut runtime = LocalRuntime::from(reactor);
    runtime.run_until(yield_now()).unwrap();
    assert!(spawner.spawn_local(async {}).is_err());
}

/// The pool gets its first task only while it is run for the first time, from a future of its own: it is the right pool.
#[test]
fn a_task_that_is_spawned_by_the_first_run() {
    let _watchdog = watchdog(TIME);
    for until in [false, true] {
        let mut reactor = Reactor::new().unwrap();
        let (mut first, second) = (LocalPool::new(), LocalPool::new());
        let (one, two) = (reactor.spawner(&first), reactor.spawner(&second));
        two.spawn_local(yield_now()).unwrap();
        let timer = Timer::after(2 * MS, &reactor.handle());
        let (sender, mut receiver) = oneshot::channel();
        let spawn = async move {
            let task = async move {
                timer.await.unwrap();
                sender.send(()).unwrap();
            };
            one.spawn_local(task).unwrap();
        };
        first.spawner().spawn_local(spawn).unwrap();
        match until {
            false => reactor.run(&mut first).unwrap(),
            true => return reactor.run_until(&mut first, receiver).unwrap().unwrap(),
        }
        assert_eq!(receiver.try_recv(), Ok(Some(())));
    }
}

/// A pool whose tasks have been polled before is no mistake: `run_until` with another pool works, whether a task was woken
/// a moment ago or not.
#[test]
fn a_pool_that_has_been_run_is_no_mistake() {
    let _watchdog = watchdog(TIME);
    for woken in [false, true] {
        let mut reactor = Reactor::new().unwrap();
        let (mut server, _spawner, end) = pool(Has::Pending, &reactor);
        if woken {
            end.unwrap().send(()).unwrap();
            assert_eq!(reactor.handle().stats().ready_tasks, 1);
        } else {
            drop(end);
        }
        let timer = Timer::after(MS, &reactor.handle());
        reactor.run_until(&mut LocalPool::new(), timer).unwrap().unwrap();
        server.run_until_stalled();
    }
}

/// Another thread enters the reactor to make sockets, and polls tasks of a reactor of its own: no task of that reactor is
/// in the pool that is run here.
#[test]
fn a_reactor_that_another_thread_has_entered() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let other = thread::spawn(move || {
        let (mut own, mut pool) = (Reactor::new().unwrap(), LocalPool::new());
        let spawner = own.spawner(&pool);
        let _current = handle.enter();
        while !stopped.load(Ordering::Relaxed) {
            let timer = Timer::after(MS, &own.handle());
            spawner.spawn_local(async move { timer.await.unwrap() }).unwrap();
            pool.run_until_stalled();
            own.wait(Some(5 * MS)).unwrap();
        }
    });
    let handle = reactor.handle();
    let main = async {
        for _ in 0..20 {
            Timer::after(2 * MS, &handle).await.unwrap();
        }
    };
    let result = reactor.run_until(&mut LocalPool::new(), main);
    stop.store(true, Ordering::Relaxed);
    other.join().unwrap();
    result.unwrap();
}

/// The pool of tasks that are counted out is dropped by a task here, and a future of the pool's own panics out of the first
/// run and out of a later one: the count of work is right afterwards, so the reactor sleeps.
#[test]
fn what_is_counted_out_comes_back() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let sleeps = |reactor: &mut Reactor| {
        let begin = Instant::now();
        reactor.wait(Some(20 * MS)).unwrap();
        begin.elapsed() >= 20 * MS
    };
    let (mut first, second) = (LocalPool::new(), LocalPool::new());
    let (one, two) = (reactor.spawner(&first), reactor.spawner(&second));
    two.spawn_local(yield_now()).unwrap();
    let timers = [1, 5].map(|ms| Timer::after(ms * MS, &reactor.handle()));
    let task = async move {
        let [soon, later] = timers;
        soon.await.unwrap();
        drop((second, two));
        later.await.unwrap();
    };
    one.spawn_local(task).unwrap();
    reactor.run(&mut first).unwrap();
    assert!(sleeps(&mut reactor), "after the drop of the other pool");

    let mut second = LocalPool::new();
    let two = reactor.spawner(&second);
    two.spawn_local(yield_now()).unwrap();
    for wait in [Duration::ZERO, 2 * MS] {
        let (timer, later) = (Timer::after(wait, &reactor.handle()), Timer::after(4 * MS, &reactor.handle()));
        let panicking = async move {
            timer.await.unwrap();
            panic!("on purpose");
        };
        first.spawner().spawn_local(panicking).unwrap();
        one.spawn_local(async move { later.await.unwrap() }).unwrap();
        catch_unwind(AssertUnwindSafe(|| reactor.run(&mut first))).unwrap_err();
        assert!(!sleeps(&mut reactor), "the other pool's task counts again");
    }
    reactor.run(&mut second).unwrap();
    reactor.run(&mut first).unwrap();
    assert!(sleeps(&mut reactor), "nothing is left");
}

/// A remote spawner of another pool is no reason to hope: the deadlock of this pool is reported.
#[test]
fn a_deadlock_beside_a_remote_spawner_of_another_pool() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let (mut first, second) = (LocalPool::new(), LocalPool::new());
    let (one, two) = (reactor.spawner(&first), reactor.spawner(&second));
    let _remote = two.remote();
    one.spawn_local(std::future::pending()).unwrap();
    assert_eq!(reactor.run(&mut first).unwrap_err().kind(), std::io::ErrorKind::Deadlock);
}
