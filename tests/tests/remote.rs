//! Spawning from other threads: the closure is sent to the reactor's thread, which calls it and keeps the future.

use async_epoll::{LocalRuntime, Reactor, Timer};
use futures::executor::LocalPool;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tests::common::pool_and_reactor;
use tests::{OnDrop, TIME, watchdog};

/// Behaviour 210: tasks are spawned from another thread while the loop is idle and while it is busy. The future need
/// not be `Send`.
#[test]
fn while_idle_and_while_busy() {
    let _watchdog = watchdog(TIME);
    for busy in [false, true] {
        let mut runtime = LocalRuntime::new().unwrap();
        let spawner = runtime.spawner();
        let here = thread::current().id();
        let done = Arc::new(AtomicUsize::new(0));
        let remote = spawner.remote();
        let finished = Arc::clone(&done);
        let helper = thread::spawn(move || {
            for round in 0..100 {
                let done = Arc::clone(&finished);
                let begin = Instant::now();
                remote
                    .spawn_with(move || {
                        assert_eq!(thread::current().id(), here);
                        let local = Rc::new(Cell::new(1));
                        async move {
                            tests::yield_now().await;
                            done.fetch_add(local.get(), Ordering::SeqCst);
                        }
                    })
                    .unwrap();
                while finished.load(Ordering::SeqCst) <= round {
                    thread::sleep(Duration::from_micros(50));
                }
                assert!(begin.elapsed() < Duration::from_secs(5));
            }
        });
        let finished = Arc::clone(&done);
        runtime
            .run_until(async {
                while finished.load(Ordering::SeqCst) < 100 {
                    if busy {
                        tests::yield_now().await;
                    } else {
                        // Idle most of the time.
                        let handle = async_epoll::Handle::current().unwrap();
                        Timer::after(Duration::from_millis(20), &handle).await.unwrap();
                    }
                }
            })
            .unwrap();
        helper.join().unwrap();
        assert_eq!((done.load(Ordering::SeqCst), spawner.live_tasks()), (100, 0));
    }
}

/// A task counts as live from the call on, so `run` waits for it. `run` does not wait for a remote spawner.
#[test]
fn run_waits_for_the_task_not_for_the_spawner() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let remote = runtime.spawner().remote();
    runtime.run().unwrap(); // Returns, although `remote` exists.
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        // There is no task, and the first spawner is dropped.
        let counter = Arc::clone(&done);
        let another = remote.clone();
        thread::spawn(move || {
            another
                .spawn_with(move || async move {
                    counter.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(runtime.handle().stats().live_tasks, 1);
        runtime.run().unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), 3);
}

/// The hand-written loop calls the closures too, and sleeps in between.
#[test]
fn in_a_loop_by_hand() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor) = (LocalPool::new(), Reactor::new().unwrap());
    let remote = reactor.spawner(&pool).remote();
    let done = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&done);
    let helper = thread::spawn(move || {
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(2));
            let counter = Arc::clone(&counter);
            remote.spawn_with(move || async move { _ = counter.fetch_add(1, Ordering::SeqCst) }).unwrap();
        }
    });
    let mut turns = 0;
    while done.load(Ordering::SeqCst) < 20 {
        pool.run_until_stalled();
        reactor.wait(None).unwrap();
        pool.run_until_stalled();
        turns += 1;
    }
    helper.join().unwrap();
    assert!(turns <= 20 * 3, "{turns} turns for 20 tasks");
}

/// After the reactor or the pool is dropped, spawning is an error. Closures on their way are dropped on the pool's
/// thread.
#[test]
fn the_end() {
    let _watchdog = watchdog(TIME);
    // The reactor is dropped first.
    let (mut pool, reactor) = (LocalPool::new(), Reactor::new().unwrap());
    let remote = reactor.spawner(&pool).remote();
    let (sender, dropped) = mpsc::channel();
    let guard = OnDrop(move || sender.send(thread::current().id()).unwrap());
    remote
        .spawn_with(move || async move {
            let _guard = guard;
            futures::future::pending::<()>().await;
        })
        .unwrap();
    let handle = reactor.handle();
    drop(reactor);
    let error = remote.spawn_with(|| async {}).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    pool.run_until_stalled();
    drop(pool);
    assert_eq!(dropped.recv().unwrap(), thread::current().id());
    assert_eq!(handle.stats().live_tasks, 0);

    // The pool is dropped first, with and without a task in it.
    for with_task in [true, false] {
        let (pool, mut reactor, spawner) = pool_and_reactor();
        let remote = spawner.remote();
        if with_task {
            spawner.spawn_local(futures::future::pending()).unwrap();
        }
        let (sender, dropped) = mpsc::channel();
        let guard = OnDrop(move || sender.send(()).unwrap());
        remote.spawn_with(move || async move { drop(guard) }).unwrap();
        drop(pool);
        dropped.try_recv().unwrap();
        assert_eq!(reactor.handle().stats().live_tasks, 0);
        let error = remote.spawn_with(|| async {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{error}");
        // Nothing is left that could keep the reactor awake.
        let begin = Instant::now();
        reactor.wait(Some(Duration::from_millis(20))).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }
}

/// A task spawns remotely while the driver polls this very task.
#[test]
fn from_a_task_that_is_being_polled() {
    let _watchdog = watchdog(TIME);
    for background in [false, true] {
        let (mut pool, mut reactor, spawner) = pool_and_reactor();
        let remote = spawner.remote();
        let (handle, done) = (reactor.handle(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&done);
        let task = async move {
            for _ in 0..10 {
                let counter = Arc::clone(&counter);
                remote.spawn_with(move || async move { _ = counter.fetch_add(1, Ordering::SeqCst) }).unwrap();
                Timer::after(Duration::from_millis(1), &handle).await.unwrap();
            }
        };
        spawner.spawn_local(task).unwrap();
        if background {
            let reactor = reactor.into_background().unwrap();
            pool.run();
            reactor.shutdown().unwrap();
        } else {
            reactor.run(&mut pool).unwrap();
            assert!(reactor.handle().stats().turns < 100, "{:?}", reactor.handle().stats());
        }
        assert_eq!(done.load(Ordering::SeqCst), 10);
    }
}

/// Four threads spawn as fast as they can, while the loop runs in each of its forms: no task is lost.
#[test]
fn a_storm_of_arrivals() {
    const EACH: usize = 5000;
    let _watchdog = watchdog(TIME);
    for form in ["run", "run_until", "by hand", "embedded", "background"] {
        let builder = Reactor::builder();
        let builder = if form == "embedded" { builder.embedded() } else { builder };
        let (mut pool, mut reactor) = (LocalPool::new(), builder.build().unwrap());
        let spawner = reactor.spawner(&pool);
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (remote, done) = (spawner.remote(), Arc::clone(&done));
                thread::spawn(move || {
                    for _ in 0..EACH {
                        let done = Arc::clone(&done);
                        remote
                            .spawn_with(move || async move {
                                tests::yield_now().await;
                                done.fetch_add(1, Ordering::SeqCst);
                            })
                            .unwrap();
                    }
                })
            })
            .collect();
        let is_done = || done.load(Ordering::SeqCst) == 4 * EACH;
        match form {
            "run" => {
                while !is_done() {
                    reactor.run(&mut pool).unwrap();
                }
            }
            "run_until" => {
                let handle = reactor.handle();
                let all = async {
                    while !is_done() {
                        Timer::after(Duration::from_millis(1), &handle).await.unwrap();
                    }
                };
                reactor.run_until(&mut pool, all).unwrap();
            }
            "by hand" | "embedded" => {
                while !is_done() {
                    pool.run_until_stalled();
                    reactor.wait(Some(Duration::from_millis(1))).unwrap();
                }
            }
            _ => {
                let reactor = reactor.into_background().unwrap();
                // Runs until the last thread has dropped its spawner.
                pool.run();
                reactor.shutdown().unwrap();
            }
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(is_done(), "{form}");
        assert_eq!(spawner.live_tasks(), 0, "{form}");
    }
}

/// Embedded: an arrival makes the reactor's descriptor readable, at whatever moment it comes.
#[test]
fn an_arrival_reaches_the_host() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor) = (LocalPool::new(), Reactor::builder().embedded().build().unwrap());
    let spawner = reactor.spawner(&pool);
    let (remote, done) = (spawner.remote(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&done);
    let helper = thread::spawn(move || {
        for round in 0..20_000 {
            let done = Arc::clone(&seen);
            remote.spawn_with(move || async move { _ = done.fetch_add(1, Ordering::SeqCst) }).unwrap();
            while seen.load(Ordering::SeqCst) <= round {
                thread::yield_now();
            }
        }
    });
    while done.load(Ordering::SeqCst) < 20_000 {
        // The host turns the reactor only if the descriptor is readable. If a wake does not reach the descriptor, the
        // watchdog ends the test.
        rustix::event::poll(&mut [rustix::event::PollFd::new(&reactor, rustix::event::PollFlags::IN)], None).unwrap();
        reactor.wait(Some(Duration::ZERO)).unwrap();
        pool.run_until_stalled();
    }
    helper.join().unwrap();
}

/// A closure spawns itself for ever, and panics: the reactor still looks for events.
#[test]
fn an_endless_chain_of_arrivals() {
    fn again(remote: Arc<async_epoll::RemoteSpawner>) {
        let next = Arc::clone(&remote);
        let make = move || -> futures::future::Ready<()> {
            again(next);
            panic!("a closure's own business")
        };
        let _ = remote.spawn_with(make);
    }
    let _watchdog = watchdog(TIME);
    std::panic::set_hook(Box::new(|_| {}));
    let mut runtime = LocalRuntime::new().unwrap();
    again(Arc::new(runtime.spawner().remote()));
    let timer = Timer::after(Duration::from_millis(5), &runtime.handle());
    runtime.run_until(timer).unwrap().unwrap();
    let _ = std::panic::take_hook();
}

/// After the end of a background reactor, a remote spawner returns errors, and the pool does not wait for it.
#[test]
fn after_a_background_reactor() {
    let _watchdog = watchdog(TIME);
    let (mut pool, reactor) = (LocalPool::new(), Reactor::new().unwrap());
    let remote = reactor.spawner(&pool).remote();
    let reactor = reactor.into_background().unwrap();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(10));
        reactor.shutdown().unwrap();
    });
    pool.run();
    stopper.join().unwrap();
    assert!(remote.spawn_with(|| async {}).is_err());
}

/// A closure that panics is reported like a task. Other closures still run.
#[test]
fn a_panicking_closure() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let remote = runtime.spawner().remote();
    fn broken() -> futures::future::Ready<()> {
        panic!("a closure's own business")
    }
    remote.spawn_with(broken).unwrap();
    remote.spawn_with(|| async {}).unwrap();
    runtime.run().unwrap();
    let stats = runtime.handle().stats();
    assert_eq!((stats.task_panics, stats.live_tasks), (1, 0));
}

/// With the reactor on its own thread, `LocalPool::run` waits for tasks that may still be spawned, and returns when the
/// last remote spawner is dropped.
#[test]
fn beside_a_background_reactor() {
    let _watchdog = watchdog(TIME);
    let (mut pool, reactor) = (LocalPool::new(), Reactor::new().unwrap());
    let remote = reactor.spawner(&pool).remote();
    let reactor = reactor.into_background().unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&done);
    let helper = thread::spawn(move || {
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(2));
            let counter = Arc::clone(&counter);
            remote
                .spawn_with(move || async move {
                    let handle = async_epoll::Handle::current().unwrap();
                    Timer::after(Duration::from_millis(1), &handle).await.unwrap();
                    counter.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
        }
    });
    pool.run();
    assert_eq!(done.load(Ordering::SeqCst), 10);
    helper.join().unwrap();
    reactor.shutdown().unwrap();
}

/// A thread spawns a task and drops the last remote spawner while the driver ends: the queue does not stay busy, so the
/// reactor sleeps afterwards. (It failed within some thousand rounds; the model `the_last_remote_spawner_goes` is exact.)
#[test]
fn a_remote_spawner_that_goes_while_the_driver_ends() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    for round in 0..2000 {
        let (sender, receiver) = futures::channel::oneshot::channel::<()>();
        let remote = runtime.spawner().remote();
        let thread = thread::spawn(move || {
            remote.spawn_with(move || async move { sender.send(()).unwrap() }).unwrap();
            drop(remote);
        });
        runtime.run_until(receiver).unwrap().unwrap();
        thread.join().unwrap();
        let before = handle.stats().turns;
        let timer = Timer::after(Duration::from_micros(200), &handle);
        runtime.run_until(timer).unwrap().unwrap();
        let turns = handle.stats().turns - before;
        assert!(turns <= 20, "round {round}: {turns} turns for one timer");
    }
}

/// With the reactor on its own thread, the last of several remote spawners is dropped while the pool is parked and no task
/// is left: `LocalPool::run` returns, whether the spawner was ever used or not.
#[test]
fn the_last_one_goes_while_the_pool_is_parked() {
    let _watchdog = watchdog(TIME);
    for used in [false, true] {
        let (mut pool, reactor) = (LocalPool::new(), Reactor::new().unwrap());
        let first = reactor.spawner(&pool).remote();
        let remotes = [first.clone(), first.clone(), first];
        let reactor = reactor.into_background().unwrap();
        let gone = Arc::new(AtomicUsize::new(0));
        let going = Arc::clone(&gone);
        let helper = thread::spawn(move || {
            if used {
                remotes[0].spawn_with(|| async {}).unwrap();
            }
            for remote in remotes {
                // The pool is parked meanwhile.
                thread::sleep(Duration::from_millis(10));
                going.fetch_add(1, Ordering::SeqCst);
                drop(remote);
            }
        });
        pool.run();
        assert_eq!(gone.load(Ordering::SeqCst), 3, "returned while a remote spawner was left");
        helper.join().unwrap();
        reactor.shutdown().unwrap();
    }
}
