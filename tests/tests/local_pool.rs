//! The promises that users know from `LocalPool` hold for our spawner and our loop, too.
//!
//! Older pools stopped early when a task woke itself, and forgot tasks spawned late; the workspace asks for a release
//! without these bugs. Each test runs on the bare pool and on ours, and fails if either changes.

use async_epoll::{LocalRuntime, Reactor, Source, Spawner, Timer};
use futures::channel::mpsc;
use futures::executor::{LocalPool, LocalSpawner};
use futures::future::{FutureExt, LocalBoxFuture, poll_fn};
use futures::stream::StreamExt;
use futures::task::{FutureObj, LocalSpawn, LocalSpawnExt, Spawn, noop_waker};
use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::{TIME, thread_cpu, watchdog, yield_now};

/// Runs the same test with the pool's own spawner and with ours.
fn bare_and_ours(test: impl Fn(&mut LocalPool, &dyn LocalSpawn)) {
    let _watchdog = watchdog(TIME);
    let mut pool = LocalPool::new();
    let bare: LocalSpawner = pool.spawner();
    test(&mut pool, &bare);
    let (mut pool, reactor) = (LocalPool::new(), Reactor::new().unwrap());
    let ours: Spawner = reactor.spawner(&pool);
    test(&mut pool, &ours);
    assert_eq!(reactor.handle().stats().task_panics, 0);
}

fn spawn(spawner: &dyn LocalSpawn, task: impl Future<Output = ()> + 'static) {
    let task: LocalBoxFuture<'static, ()> = task.boxed_local();
    spawner.spawn_local_obj(task.into()).unwrap();
}

/// Bug C8; behaviour 203: a task that wakes itself ten times is polled until it is done.
#[test]
fn a_task_that_wakes_itself_is_drained() {
    bare_and_ours(|pool, spawner| {
        let polls = Rc::new(Cell::new(0));
        let count = Rc::clone(&polls);
        let task = poll_fn(move |cx| {
            count.set(count.get() + 1);
            cx.waker().wake_by_ref();
            if count.get() > 10 { Poll::Ready(()) } else { Poll::Pending }
        });
        spawn(spawner, task);
        pool.run_until_stalled();
        assert_eq!(polls.get(), 11);
    });
}

/// Bug C8; behaviour 202: `run_until_stalled` may be called again and again. It returns when no task can make progress,
/// and has then run every ready task, including the tasks spawned by other tasks.
#[test]
fn running_until_stalled() {
    bare_and_ours(|pool, spawner| {
        pool.run_until_stalled();
        pool.run_until_stalled();
        let finished = Rc::new(Cell::new(0));
        let (sender, mut receiver) = mpsc::unbounded::<Rc<Cell<u32>>>();
        let count = Rc::clone(&finished);
        let waits = async move {
            while let Some(from) = receiver.next().await {
                from.set(from.get() + 100);
            }
            count.set(count.get() + 1000);
        };
        spawn(spawner, waits);
        for _ in 0..5 {
            let finished = Rc::clone(&finished);
            spawn(spawner, async move {
                yield_now().await;
                finished.set(finished.get() + 1);
            });
        }
        pool.run_until_stalled();
        assert_eq!(finished.get(), 5, "one waits");
        pool.run_until_stalled();
        sender.unbounded_send(Rc::clone(&finished)).unwrap();
        pool.run_until_stalled();
        assert_eq!(finished.get(), 105);
        drop(sender);
        pool.run_until_stalled();
        assert_eq!(finished.get(), 1105);
    });

    // Tasks that spawn tasks, three levels deep.
    fn spawn_three_deep(spawner: impl LocalSpawn + Clone + 'static, ended: &Rc<Cell<u32>>, depth: u32) {
        let (inner, counted) = (spawner.clone(), Rc::clone(ended));
        let task = async move {
            if depth > 0 {
                spawn_three_deep(inner.clone(), &counted, depth - 1);
                spawn_three_deep(inner, &counted, depth - 1);
            }
            counted.set(counted.get() + 1);
        };
        spawner.spawn_local(task).unwrap();
    }
    let ended = Rc::new(Cell::new(0));
    let mut pool = LocalPool::new();
    spawn_three_deep(pool.spawner(), &ended, 3);
    pool.run_until_stalled();
    assert_eq!(ended.replace(0), 15);
    let reactor = Reactor::new().unwrap();
    spawn_three_deep(reactor.spawner(&pool), &ended, 3);
    pool.run_until_stalled();
    assert_eq!(ended.get(), 15);
}

/// Behaviour 201: `try_run_one` runs until exactly one task has completed, and returns whether a task has.
#[test]
fn running_one_task_at_a_time() {
    bare_and_ours(|pool, spawner| {
        assert!(!pool.try_run_one(), "there is none");
        let ended = Rc::new(Cell::new(0));
        spawn(spawner, futures::future::pending());
        for yields in 0..3 {
            let ended = Rc::clone(&ended);
            spawn(spawner, async move {
                for _ in 0..yields {
                    yield_now().await;
                }
                ended.set(ended.get() + 1);
            });
        }
        for round in 1..=3 {
            assert!(pool.try_run_one());
            assert_eq!(ended.get(), round);
        }
        assert!(!pool.try_run_one(), "the one that is left waits");
        assert_eq!(ended.get(), 3);
    });
}

/// Behaviour 207: tasks and other threads use the thread's park token for their own purposes. The loop loses no wake to
/// them, and takes none of their tokens for a wake.
#[test]
fn park_tokens_belong_to_others() {
    const MESSAGES: usize = 500;
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (sender, mut receiver) = mpsc::unbounded::<()>();
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let received = async move {
        let mut received = 0;
        poll_fn(|cx| {
            count.set(count.get() + 1);
            // Consumes the park token, which is there at least by the call of `unpark` here.
            std::thread::current().unpark();
            std::thread::park();
            while let Poll::Ready(message) = receiver.poll_next_unpin(cx) {
                match message {
                    Some(()) => received += 1,
                    None => return Poll::Ready(received),
                }
            }
            Poll::Pending
        })
        .await
    };
    let received = runtime.spawner().spawn_local_with_handle(received).unwrap();
    let looping = std::thread::current();
    let thread = std::thread::spawn(move || {
        for _ in 0..MESSAGES {
            // A park token without a meaning for the loop, before the message and after it.
            looping.unpark();
            std::thread::sleep(Duration::from_micros(200));
            sender.unbounded_send(()).unwrap();
            looping.unpark();
        }
    });
    assert_eq!(runtime.run_until(received).unwrap(), MESSAGES);
    thread.join().unwrap();
    assert!(polls.get() <= MESSAGES + 2, "{} polls", polls.get());
}

/// Behaviour 210: tasks arrive from another thread through a channel, at a sleeping loop and at a busy loop.
#[test]
fn tasks_from_another_thread() {
    const TASKS: usize = 500;
    let _watchdog = watchdog(TIME);
    for busy in [false, true] {
        let mut runtime = LocalRuntime::new().unwrap();
        let (spawner, stop) = (runtime.spawner(), Arc::new(AtomicBool::new(!busy)));
        let stopped = Arc::clone(&stop);
        let spin = async move {
            while !stopped.load(Ordering::SeqCst) {
                yield_now().await;
            }
        };
        runtime.spawner().spawn_local(spin).unwrap();
        let (sender, mut receiver) = mpsc::unbounded::<FutureObj<'static, ()>>();
        let spawn = async move {
            while let Some(task) = receiver.next().await {
                spawner.spawn_obj(task).unwrap();
            }
        };
        runtime.spawner().spawn_local(spawn).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let thread = std::thread::spawn(move || {
            for number in 1..=TASKS {
                let ran = Arc::clone(&count);
                let task = async move {
                    ran.fetch_add(1, Ordering::SeqCst);
                };
                sender.unbounded_send(Box::new(task).into()).unwrap();
                // Each task is sent after the previous task has run, so that a loop without other work goes to sleep in
                // between.
                while count.load(Ordering::SeqCst) < number {
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
            stop.store(true, Ordering::SeqCst);
        });
        runtime.run().unwrap();
        thread.join().unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), TASKS);
        let stats = runtime.handle().stats();
        assert!(busy || stats.eventfd_writes > 0, "{stats:?}");
    }
}

/// Behaviour 221: without a task, `run` returns at once, even if sources and timers exist; `wait` waits for these.
#[test]
fn without_tasks_but_with_registrations() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor) = (LocalPool::new(), Reactor::new().unwrap());
    let handle = reactor.handle();
    let (mut peer, stream) = UnixStream::pair().unwrap();
    let source = Source::with_handle(stream, &handle).unwrap();
    let waker = noop_waker();
    let mut cx = Context::from_waker(&waker);
    let mut timer = Timer::after(Duration::from_secs(3600), &handle);
    assert!(timer.poll_unpin(&mut cx).is_pending());
    // Takes the first event, which reports "writable".
    reactor.wait(Some(Duration::ZERO)).unwrap();
    assert!(source.poll_readable(&mut cx).is_pending());
    let begin = Instant::now();
    reactor.run(&mut pool).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "`run` waits without a task");
    assert_eq!((handle.stats().sources, handle.stats().timers), (1, 1));

    let (begin, cpu) = (Instant::now(), thread_cpu());
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        peer.write_all(b"x").unwrap();
        peer
    });
    assert_eq!(reactor.wait(None).unwrap(), 1);
    assert!(begin.elapsed() >= Duration::from_millis(50) && thread_cpu() - cpu < Duration::from_millis(20));
    assert!(source.poll_readable(&mut cx).is_ready());
    // The same for the timer alone.
    let deadline = Instant::now() + Duration::from_millis(20);
    timer.reset(deadline);
    assert_eq!(reactor.wait(None).unwrap(), 0);
    assert!(Instant::now() >= deadline && timer.poll_unpin(&mut cx).is_ready());
    drop(thread.join().unwrap());
}
