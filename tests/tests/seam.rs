//! The seam between an unmodified `LocalPool` and the reactor: the driver, which polls our tasks.
//!
//! The driver counts live and ready tasks, limits the polls per turn, and catches panics. All these tests rely on one
//! rule: `run` returns exactly when the last task has ended, and never sleeps while a task is ready.

use async_epoll::{LocalRuntime, Reactor, Spawner, Timer};
use futures::channel::oneshot;
use futures::executor::LocalPool;
use futures::future::{FutureExt, poll_fn};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::task::{LocalSpawn, LocalSpawnExt, Spawn, SpawnExt};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tests::common::pool_and_reactor;
use tests::{OnDrop, TIME, waker_fn, watchdog, yield_now};

/// `run` and `run_until` return an error for a pool with the tasks of another reactor, and the tasks still exist.
#[test]
fn the_wrong_reactor_is_an_error() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut right, spawner) = pool_and_reactor();
    let done = Rc::new(Cell::new(false));
    let (timer, end) = (Timer::after(Duration::from_millis(1), &right.handle()), Rc::clone(&done));
    let task = async move {
        timer.await.unwrap();
        end.set(true);
    };
    spawner.spawn_local(task).unwrap();
    let mut wrong = Reactor::new().unwrap();
    let error = wrong.run(&mut pool).unwrap_err();
    assert!(
        error.kind() == std::io::ErrorKind::InvalidInput && error.to_string().contains("another reactor"),
        "{error}"
    );
    wrong.run(&mut LocalPool::new()).unwrap();
    right.run(&mut pool).unwrap();
    assert!(done.get());
    // A pool may hold tasks of a background reactor: no error.
    let timer = Timer::after(Duration::from_millis(1), &right.handle());
    spawner.spawn_local(async { timer.await.unwrap() }).unwrap();
    let right = right.into_background().unwrap();
    wrong.run_until(&mut pool, Timer::after(Duration::from_millis(20), &wrong.handle())).unwrap().unwrap();
    pool.run();
    assert_eq!(spawner.live_tasks(), 0);
    right.shutdown().unwrap();
}

/// Behaviour 199: without tasks, `run` returns at once.
#[test]
fn run_returns_at_once_when_there_is_nothing() {
    let _watchdog = watchdog(TIME);
    LocalRuntime::new().unwrap().run().unwrap();
}

/// Bug C9: `run` returns when the last task has ended, also when tasks spawn each other.
#[test]
fn run_returns_when_the_last_task_has_ended() {
    let _watchdog = watchdog(TIME);
    fn chain(spawner: Spawner, left: usize, ended: Rc<Cell<usize>>) {
        let next = spawner.clone();
        let task = async move {
            yield_now().await;
            ended.set(ended.get() + 1);
            if left > 1 {
                chain(next, left - 1, ended);
            }
        };
        spawner.spawn_local(task).unwrap();
    }
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let ended = Rc::new(Cell::new(0));
    chain(spawner.clone(), 1000, Rc::clone(&ended));
    reactor.run(&mut pool).unwrap();
    assert_eq!((ended.get(), spawner.live_tasks()), (1000, 0));
    reactor.run(&mut pool).unwrap();
}

/// All three ways to spawn lead to the driver.
#[test]
fn every_way_to_spawn_counts() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    spawner.spawn_local(async {}).unwrap();
    LocalSpawnExt::spawn_local(&spawner, async {}).unwrap();
    SpawnExt::spawn(&spawner, async {}).unwrap();
    assert!(spawner.status().is_ok() && spawner.status_local().is_ok());
    assert_eq!(spawner.live_tasks(), 3);
    let stats = reactor.handle().stats();
    assert_eq!((stats.live_tasks, stats.ready_tasks), (3, 3));
    reactor.run(&mut pool).unwrap();
    let stats = reactor.handle().stats();
    assert_eq!((stats.live_tasks, stats.ready_tasks, stats.polls), (0, 0, 3));
}

/// Tasks spawned before the first run are polled before the first wait, also in the hand-written loop.
#[test]
fn tasks_spawned_before_the_first_run_are_polled_first() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let polled = Rc::new(Cell::new(false));
    let flag = Rc::clone(&polled);
    spawner.spawn_local(async move { flag.set(true) }).unwrap();
    // Even a `wait` as the first call does not sleep.
    let begin = Instant::now();
    reactor.wait(Some(Duration::from_secs(30))).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10));
    pool.run_until_stalled();
    assert!(polled.get());
}

/// Bug C11, C16; behaviour 219: a task spawned by a task, by a waker that the reactor calls, or by a destructor, is
/// polled before the loop blocks.
#[test]
fn spawns_from_anywhere_are_polled_before_the_next_wait() {
    let _watchdog = watchdog(TIME);
    thread_local! {
        /// Wakers are `Send`, spawners are not; but all of this happens on one thread.
        static SPAWNER: RefCell<Option<Spawner>> = const { RefCell::new(None) };
    }
    static RAN: AtomicUsize = AtomicUsize::new(0);
    fn spawn_one() {
        SPAWNER.with_borrow(|spawner| {
            let spawner = spawner.as_ref().unwrap();
            let task = async {
                RAN.fetch_add(1, Ordering::SeqCst);
            };
            spawner.spawn_local(task).unwrap();
        });
    }
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    SPAWNER.set(Some(spawner.clone()));

    // By the waker of a timer, called by the reactor itself.
    let mut timer = Timer::after(Duration::from_millis(5), &reactor.handle());
    let waker = waker_fn(spawn_one);
    assert!(timer.poll_unpin(&mut std::task::Context::from_waker(&waker)).is_pending());
    reactor.wait(None).unwrap();
    assert_eq!(reactor.handle().stats().ready_tasks, 1);
    let begin = Instant::now();
    reactor.wait(Some(Duration::from_secs(30))).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "a wait with a ready task does not sleep");
    reactor.run(&mut pool).unwrap();
    assert_eq!(RAN.load(Ordering::SeqCst), 1);

    // By a destructor, by a task, and by a task of the last pass.
    let guard = OnDrop(spawn_one);
    let task = async move {
        yield_now().await;
        spawn_one();
        drop(guard);
    };
    spawner.spawn_local(task).unwrap();
    reactor.run(&mut pool).unwrap();
    assert_eq!(RAN.load(Ordering::SeqCst), 3);

    // By the destructor of a task that has completed.
    let guard = OnDrop(spawn_one);
    spawner
        .spawn_local(poll_fn(move |_| {
            let _keep = &guard;
            Poll::Ready(())
        }))
        .unwrap();
    reactor.run(&mut pool).unwrap();
    assert_eq!(RAN.load(Ordering::SeqCst), 4);
    SPAWNER.set(None);
}

/// The handles of futures-rs: awaited, forgotten, and dropped, which cancels the task.
#[test]
fn remote_handles() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let dropped = Rc::new(Cell::new(false));
    let flag = Rc::clone(&dropped);

    let awaited = spawner
        .spawn_local_with_handle(async {
            yield_now().await;
            7
        })
        .unwrap();
    let guard = OnDrop(move || flag.set(true));
    let cancelled = spawner
        .spawn_local_with_handle(async move {
            let _guard = guard;
            futures::future::pending::<()>().await;
        })
        .unwrap();
    let forgotten = Rc::new(Cell::new(0));
    let result = Rc::clone(&forgotten);
    spawner
        .spawn_local_with_handle(async move {
            yield_now().await;
            result.set(9)
        })
        .unwrap()
        .forget();

    assert_eq!(reactor.run_until(&mut pool, awaited).unwrap(), 7);
    assert!(!dropped.get());
    drop(cancelled);
    reactor.run(&mut pool).unwrap();
    assert!(dropped.get(), "the wake of the dropped handle ended the task");
    assert_eq!((forgotten.get(), spawner.live_tasks()), (9, 0));
}

/// Behaviour 218: a panic behind a `RemoteHandle` travels to the future that awaits the handle, here the main future.
/// The pool does not see it.
#[test]
fn a_panic_behind_a_remote_handle_goes_to_its_owner() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let handle = spawner.spawn_local_with_handle(async { std::panic::panic_any(42_i32) }).unwrap();
    let joined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        reactor.run_until(&mut pool, handle).map(|never: std::convert::Infallible| match never {})
    }));
    assert_eq!(joined.unwrap_err().downcast_ref(), Some(&42_i32));
    assert_eq!(reactor.handle().stats().task_panics, 0, "the driver never saw it");
    // After a panic of the main future, the pool and the reactor still work.
    assert_eq!(reactor.run_until(&mut pool, async { 1 }).unwrap(), 1);
    reactor.run(&mut pool).unwrap();
}

/// Bug C12, F18: of a hundred tasks, one panics in its poll and two in a destructor. The others finish.
#[test]
fn panics_stay_with_their_task() {
    let _watchdog = watchdog(TIME);
    let reported = Rc::new(Cell::new(0));
    let count = Rc::clone(&reported);
    let mut reactor = Reactor::builder().on_task_panic(move |_| count.set(count.get() + 1)).build().unwrap();
    let mut pool = LocalPool::new();
    let spawner = reactor.spawner(&pool);
    let finished = Rc::new(Cell::new(0));
    for number in 0..100 {
        let finished = Rc::clone(&finished);
        let task = async move {
            let guard = (number >= 98).then(|| OnDrop(|| panic!("in drop")));
            yield_now().await;
            assert_ne!(number, 97, "in poll");
            finished.set(finished.get() + 1);
            drop(guard);
        };
        spawner.spawn_local(task).unwrap();
    }
    reactor.run(&mut pool).unwrap();
    // One task panics in its poll. Two have done their work, and then panic when their guard is dropped.
    assert_eq!(finished.get(), 99);
    assert_eq!((reported.get(), reactor.handle().stats().task_panics), (3, 3));
}

/// A destructor panics: when the driver drops the future, and when the pool is dropped.
#[test]
fn panics_in_drop_stay_with_their_task() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let guard = OnDrop(|| panic!("in drop, at the end"));
    spawner
        .spawn_local(poll_fn(move |_| {
            let _keep = &guard;
            Poll::Ready(())
        }))
        .unwrap();
    let guard = OnDrop(|| panic!("in drop, with the pool"));
    spawner
        .spawn_local(async move {
            let _keep = guard;
            futures::future::pending().await
        })
        .unwrap();
    reactor.run_until(&mut pool, yield_now()).unwrap();
    assert_eq!((reactor.handle().stats().task_panics, spawner.live_tasks()), (1, 1));
    drop(pool);
    assert_eq!((reactor.handle().stats().task_panics, spawner.live_tasks()), (2, 0));
}

/// A panic in the panic hook is contained as well.
#[test]
fn a_panicking_panic_hook_is_contained() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::builder().on_task_panic(|_| panic!("the hook too")).build().unwrap();
    let mut pool = LocalPool::new();
    reactor.spawner(&pool).spawn_local(async { panic!("a task") }).unwrap();
    reactor.run(&mut pool).unwrap();
    assert_eq!(reactor.handle().stats().task_panics, 1);
}

/// A task that owns its own spawner does not form a reference cycle.
#[test]
fn tasks_may_own_the_spawner() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let token = Rc::new(());
    for _ in 0..10 {
        let (own, token) = (spawner.clone(), Rc::clone(&token));
        let task = async move {
            let _token = token;
            own.spawn_local(async {}).unwrap();
            futures::future::pending::<()>().await;
            drop(own);
        };
        spawner.spawn_local(task).unwrap();
    }
    reactor.run_until(&mut pool, yield_now()).unwrap();
    assert_eq!((spawner.live_tasks(), Rc::strong_count(&token)), (10, 11));
    drop(pool);
    assert_eq!((spawner.live_tasks(), Rc::strong_count(&token)), (0, 1));
}

/// A pool is dropped: its tasks are dropped and no longer counted, new tasks are refused, and `run` has nothing to wait
/// for.
#[test]
fn a_pool_that_is_dropped_early() {
    let _watchdog = watchdog(TIME);
    let (pool, mut reactor, spawner) = pool_and_reactor();
    let (sender, receiver) = oneshot::channel::<()>();
    spawner.spawn_local(receiver.map(|_| ())).unwrap();
    spawner.spawn_local(async {}).unwrap();
    drop(pool);
    assert_eq!((spawner.live_tasks(), reactor.handle().stats().ready_tasks), (0, 0));
    assert!(sender.send(()).is_err(), "the receiver is gone");
    assert!(spawner.spawn_local(async {}).unwrap_err().is_shutdown());
    assert!(spawner.status().is_err());
    assert_eq!(spawner.live_tasks(), 0, "a refused task does not count");
    reactor.run(&mut LocalPool::new()).unwrap();
}

/// Wakes at unusual moments: during the poll, twice, after completion, and between the two calls of the loop.
#[test]
fn wakes_at_odd_moments() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let polls = Rc::new(Cell::new(0));
    let (keep, count) = (Arc::clone(&slot), Rc::clone(&polls));
    let task = poll_fn(move |cx| {
        count.set(count.get() + 1);
        *keep.lock().unwrap() = Some(cx.waker().clone());
        match count.get() {
            // Two wakes during the poll cause one more poll.
            1 => {
                cx.waker().wake_by_ref();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            2 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    });
    spawner.spawn_local(task).unwrap();
    pool.run_until_stalled();
    assert_eq!(polls.get(), 2);
    assert_eq!(reactor.handle().stats().ready_tasks, 0);

    // A wake from the reactor's own thread, between the two calls: the wait must not sleep.
    slot.lock().unwrap().as_ref().unwrap().wake_by_ref();
    assert_eq!(reactor.handle().stats().ready_tasks, 1);
    reactor.wait(None).unwrap();
    pool.run_until_stalled();
    assert_eq!((polls.get(), spawner.live_tasks()), (3, 0));

    // A wake after completion has no effect.
    slot.lock().unwrap().as_ref().unwrap().wake_by_ref();
    assert_eq!(reactor.handle().stats().ready_tasks, 0);
    reactor.wait(Some(Duration::from_millis(1))).unwrap();
}

/// Behaviour 209: no poll without a wake, and none after `Ready`.
#[test]
fn no_needless_polls() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let (sender, mut receiver) = oneshot::channel::<()>();
    let task = poll_fn(move |cx| {
        count.set(count.get() + 1);
        receiver.poll_unpin(cx).map(drop)
    });
    spawner.spawn_local(task).unwrap();
    for _ in 0..10 {
        pool.run_until_stalled();
        reactor.wait(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(polls.get(), 1);
    sender.send(()).unwrap();
    reactor.run(&mut pool).unwrap();
    assert_eq!(polls.get(), 2);
}

/// A `FuturesUnordered` inside a task has its own wakers. They wake our task.
#[test]
fn nested_futures_unordered() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let handle = reactor.handle();
    let sum = Rc::new(Cell::new(0));
    let result = Rc::clone(&sum);
    let task = async move {
        let mut timers: FuturesUnordered<_> = (0..200_u64)
            .map(|number| {
                let timer = Timer::after(Duration::from_micros(number * 50), &handle);
                async move { timer.await.map(|()| number).unwrap() }
            })
            .collect();
        while let Some(number) = timers.next().await {
            result.set(result.get() + number);
        }
    };
    spawner.spawn_local(task).unwrap();
    reactor.run(&mut pool).unwrap();
    assert_eq!(sum.get(), 199 * 200 / 2);
}

/// Polling ready tasks takes linear time, whether they were ready when the turn began, are spawned during the turn, or
/// keep waking themselves.
#[test]
fn eight_thousand_ready_tasks_stay_linear() {
    let _watchdog = watchdog(TIME);
    const TASKS: usize = 8000;
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    for _ in 0..TASKS {
        spawner
            .spawn_local(async {
                yield_now().await;
                yield_now().await
            })
            .unwrap();
    }
    reactor.run(&mut pool).unwrap();
    let stats = reactor.handle().stats();
    assert_eq!(stats.polls, 3 * TASKS as u64);
    assert!(stats.parks <= 3 * TASKS as u64, "{stats:?}");
    assert!(stats.turns <= TASKS as u64 / 16, "{stats:?}");

    // Spawned by a task, all within one turn.
    let inner = spawner.clone();
    spawner
        .spawn_local(async move {
            for _ in 0..TASKS {
                inner.spawn_local(async {}).unwrap();
            }
        })
        .unwrap();
    reactor.run(&mut pool).unwrap();
    let more = reactor.handle().stats();
    assert!(more.parks - stats.parks <= TASKS as u64, "{more:?}");
    assert!(more.turns - stats.turns <= 16, "{more:?}");
}

/// The pool passed to `run` must be the reactor's. Otherwise ready tasks would never be polled, and `run` would spin.
#[test]
fn the_wrong_pool_is_an_error() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    spawner.spawn_local(yield_now()).unwrap();
    let error = reactor.run(&mut LocalPool::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("pass the LocalPool"), "{error}");
    let pending = futures::future::pending::<()>();
    assert!(reactor.run_until(&mut LocalPool::new(), pending).is_err());
    // No task is lost: with the right pool they end.
    reactor.run(&mut pool).unwrap();
    assert_eq!(spawner.live_tasks(), 0);
}

/// Two pools driven in turn by hand: the loop does not sleep while either has a ready task.
#[test]
fn two_pools_by_hand() {
    let _watchdog = watchdog(TIME);
    let (mut first, mut reactor, one) = pool_and_reactor();
    let mut second = LocalPool::new();
    let two = reactor.spawner(&second);
    let (sender, receiver) = oneshot::channel::<()>();
    one.spawn_local(receiver.map(|_| ())).unwrap();
    two.spawn_local(async move {
        yield_now().await;
        sender.send(()).unwrap()
    })
    .unwrap();
    while one.live_tasks() != 0 {
        first.run_until_stalled();
        second.run_until_stalled();
        if one.live_tasks() != 0 {
            reactor.wait(None).unwrap();
        }
    }
}

/// The error for a wrong pool must not come from a wake in flight: many wakes from many threads, one pool, no error.
#[test]
fn wakes_in_flight_are_no_wrong_pool() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let _another = LocalPool::new();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (mut sender, mut receiver) = futures::channel::mpsc::channel::<()>(0);
            spawner.spawn_local(async move { while receiver.next().await.is_some() {} }).unwrap();
            std::thread::spawn(move || {
                for _ in 0..5000 {
                    futures::executor::block_on(poll_fn(|cx| sender.poll_ready(cx))).unwrap();
                    sender.start_send(()).unwrap();
                }
            })
        })
        .collect();
    reactor.run(&mut pool).unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Bug C10; behaviour 205: running or waiting inside a task returns a clear error, and everything else still works.
#[test]
fn nesting_is_an_error_that_says_so() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let task = async {
        let (mut inner_pool, mut inner) = (LocalPool::new(), Reactor::new().unwrap());
        [
            inner.run(&mut inner_pool).unwrap_err(),
            inner.run_until(&mut inner_pool, async {}).unwrap_err(),
            inner.wait(None).map(drop).unwrap_err(),
            async_epoll::block_on(async {}).unwrap_err(),
        ]
    };
    let errors = runtime.spawner().spawn_local_with_handle(task).unwrap();
    for error in runtime.run_until(errors).unwrap() {
        assert!(error.to_string().contains("inside a task"), "{error}");
    }
    // The same in the main future, as in every executor of futures.
    let caught = runtime.run_until(async { async_epoll::block_on(async {}).is_err() }).unwrap();
    assert!(caught);
    runtime.run().unwrap();
}

/// Bug C15; behaviour 198: tasks run while the main future waits. A task of the same pass wakes the main future.
#[test]
fn the_main_future_woken_by_a_task() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    for round in 0..100 {
        let (sender, receiver) = oneshot::channel();
        spawner
            .spawn_local(async move {
                yield_now().await;
                sender.send(round).unwrap()
            })
            .unwrap();
        assert_eq!(reactor.run_until(&mut pool, receiver).unwrap(), Ok(round));
    }
    assert_eq!(reactor.handle().stats().sleeps, 0);
}

/// Behaviour 197, 215: unfinished tasks stay, and are dropped with the pool. Their destructors may use the reactor.
#[test]
fn leftovers_stay_and_are_dropped_with_the_runtime() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let found = Rc::new(Cell::new(false));
    let flag = Rc::clone(&found);
    let guard = OnDrop(move || flag.set(async_epoll::Handle::current().is_ok()));
    runtime
        .spawner()
        .spawn_local(async move {
            let _guard = guard;
            futures::future::pending::<()>().await;
        })
        .unwrap();
    runtime.run_until(yield_now()).unwrap();
    assert_eq!(runtime.handle().stats().live_tasks, 1);
    drop(runtime);
    assert!(found.get(), "a destructor finds its reactor");
}

/// The reactor is dropped first: parked tasks return to their pool, and no task is parked any more.
#[test]
fn tasks_outlive_the_reactor() {
    let _watchdog = watchdog(TIME);
    let mut pool = LocalPool::new();
    let reactor = Reactor::builder().poll_budget(1).build().unwrap();
    let spawner = reactor.spawner(&pool);
    for _ in 0..10 {
        spawner
            .spawn_local(async {
                (0..10).for_each(drop);
                yield_now().await;
                yield_now().await
            })
            .unwrap();
    }
    pool.run_until_stalled();
    assert!(reactor.handle().stats().parks > 0);
    drop(reactor);
    pool.run_until_stalled();
    assert_eq!(spawner.live_tasks(), 0);
}

/// `RemoteHandle`s and tasks across two runtimes on one thread, one after the other.
#[test]
fn two_runtimes_in_turn() {
    let _watchdog = watchdog(TIME);
    let (mut one, mut two) = (LocalRuntime::new().unwrap(), LocalRuntime::new().unwrap());
    let (sender, receiver) = oneshot::channel();
    one.spawner().spawn_local(async move { sender.send(5).unwrap() }).unwrap();
    let doubled = two.spawner().spawn_local_with_handle(receiver.map(|number| number.unwrap() * 2)).unwrap();
    one.run().unwrap();
    assert_eq!(two.run_until(doubled).unwrap(), 10);
}

/// A task holds another reactor's `enter` guard across an await. Other tasks still find their own current reactor.
#[test]
fn a_guard_across_an_await_stays_with_its_task() {
    let _watchdog = watchdog(TIME);
    let other = Reactor::new().unwrap();
    let handle = other.handle();
    let mut runtime = LocalRuntime::new().unwrap();
    let own = format!("{:?}", runtime.handle());
    let guard = async move {
        let _guard = handle.enter();
        futures::future::pending::<()>().await;
    };
    runtime.spawner().spawn_local(guard).unwrap();
    let current = || format!("{:?}", async_epoll::Handle::current().unwrap());
    let in_task = runtime.spawner().spawn_local_with_handle(async move { current() }).unwrap();
    let (in_main, in_task) = runtime
        .run_until(async {
            yield_now().await;
            (current(), in_task.await)
        })
        .unwrap();
    assert_eq!((in_main, in_task), (own.clone(), own));
}

/// `spawner` may be called for every task: the reactor's list of pools does not grow.
#[test]
fn spawners_may_be_made_again_and_again() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let begin = Instant::now();
    for _ in 0..100_000 {
        drop(runtime.spawner());
    }
    runtime.spawner().spawn_local(async {}).unwrap();
    runtime.run().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}
