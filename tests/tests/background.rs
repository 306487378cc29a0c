//! The reactor on a thread of its own (`into_background`): its sources and timers work in executors that wait in their
//! own way.
//!
//! No executor in these tests knows the reactor. Their threads park; the reactor's thread calls a plain waker, which
//! unparks them.

use async_epoll::{Background, Handle, Reactor, Source, Timer};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{Timeout, sleep};
use futures::channel::oneshot;
use futures::executor::{LocalPool, ThreadPool, block_on};
use futures::future::{FutureExt, join_all};
use futures::stream::StreamExt;
use futures::task::{LocalSpawnExt, SpawnExt};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::cell::Cell;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::Context;
use std::thread;
use std::time::{Duration, Instant};
use tests::{CountingWaker, HOUR, TIME, open_fds, thread_cpu, waker_fn, watchdog, yield_now};

fn background() -> Background {
    Reactor::new().unwrap().into_background().unwrap()
}

/// Returns a listener and its address.
async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Echoes until the end of the stream.
async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 256];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..length]).await.unwrap();
    }
}

/// Does a few round trips with pauses in between.
async fn ask(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    for round in 0..5_u8 {
        sleep(Duration::from_millis(2)).await;
        stream.write_all(&[round; 100]).await.unwrap();
        let mut answer = [0; 100];
        Timeout::new(stream.read_exact(&mut answer), Duration::from_secs(20)).await.unwrap().unwrap();
        assert_eq!(answer, [round; 100]);
    }
}

#[test]
fn block_on_of_futures() {
    let _watchdog = watchdog(TIME);
    let reactor = background();
    let _current = reactor.handle().enter();
    block_on(async {
        let (listener, address) = listen().await;
        let server = listener.incoming().take(10).for_each_concurrent(None, |stream| echo(stream.unwrap()));
        futures::join!(server, join_all((0..10).map(|_| ask(address))));
    });
    reactor.shutdown().unwrap();
}

#[test]
fn plain_local_pool_run() {
    let _watchdog = watchdog(TIME);
    let reactor = background();
    let _current = reactor.handle().enter();
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let connections = spawner.clone();
    let server = async move {
        let (listener, address) = listen().await;
        for _ in 0..20 {
            connections.spawn_local(ask(address)).unwrap();
        }
        let mut incoming = listener.incoming().take(20);
        while let Some(stream) = incoming.next().await {
            connections.spawn_local(echo(stream.unwrap())).unwrap();
        }
    };
    spawner.spawn_local(server).unwrap();
    pool.run();
    reactor.shutdown().unwrap();
}

/// Tasks that our spawner made before the reactor moved to its thread go on in the pool. None is put off for ever, and
/// the reactor's thread does not spin while tasks are ready.
#[test]
fn tasks_of_our_spawner_go_on() {
    let _watchdog = watchdog(TIME);
    let (mut pool, reactor) = (LocalPool::new(), Reactor::builder().poll_budget(4).build().unwrap());
    let spawner = reactor.spawner(&pool);
    let done = Rc::new(Cell::new(0));
    for _ in 0..50 {
        let done = Rc::clone(&done);
        let task = async move {
            for _ in 0..20 {
                yield_now().await;
            }
            // The reactor is current inside a task of our spawner.
            sleep(Duration::from_millis(5)).await;
            done.set(done.get() + 1);
        };
        spawner.spawn_local(task).unwrap();
    }
    pool.run_until_stalled(); // The budget of 4 polls leaves some ready tasks for later.
    assert!(spawner.live_tasks() == 50 && reactor.handle().stats().parks > 0);
    let reactor = reactor.into_background().unwrap();
    let parent = spawner.clone();
    let task = async move { parent.spawn_local(async { panic!("a task's own business") }).unwrap() };
    spawner.spawn_local(task).unwrap();
    pool.run();
    assert_eq!((done.get(), spawner.live_tasks()), (50, 0));
    let stats = reactor.handle().stats();
    assert_eq!(stats.task_panics, 1);
    assert!(stats.turns < 300, "the reactor spun: {stats:?}");
    reactor.shutdown().unwrap();
}

/// Returns a thread pool in which each thread has entered the reactor.
fn thread_pool(handle: &Handle) -> ThreadPool {
    let handle = handle.clone();
    ThreadPool::builder().pool_size(3).after_start(move |_| std::mem::forget(handle.enter())).create().unwrap()
}

#[test]
fn thread_pool_of_futures() {
    let _watchdog = watchdog(TIME);
    let reactor = background();
    let pool = thread_pool(&reactor.handle());
    let spawner = pool.clone();
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    let all = async move {
        let (listener, address) = listen().await;
        let clients: Vec<_> = (0..40).map(|_| spawner.spawn_with_handle(ask(address)).unwrap()).collect();
        let mut incoming = listener.incoming().take(40);
        while let Some(stream) = incoming.next().await {
            let counter = Arc::clone(&counter);
            let task = echo(stream.unwrap()).map(move |()| counter.fetch_add(1, Ordering::SeqCst));
            spawner.spawn(task.map(drop)).unwrap();
        }
        join_all(clients).await;
    };
    block_on(pool.spawn_with_handle(all).unwrap());
    while served.load(Ordering::SeqCst) < 40 {
        thread::yield_now();
    }
    assert_eq!(reactor.handle().stats().sources, 0);
    reactor.shutdown().unwrap();
}

/// The executor may move a task to another thread between any two polls.
#[test]
fn work_stealing() {
    let _watchdog = watchdog(TIME);
    let reactor = background();
    let executor = Arc::new(async_executor::Executor::new());
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.shared();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (executor, handle, stopped) = (Arc::clone(&executor), reactor.handle(), stopped.clone());
            thread::spawn(move || {
                let _current = handle.enter();
                // The sender is dropped at the end of the scope, which ends the executors.
                block_on(executor.run(stopped)).unwrap_err();
            })
        })
        .collect();
    let spawner = Arc::clone(&executor);
    let all = executor.spawn(async move {
        let (listener, address) = listen().await;
        let clients: Vec<_> = (0..40).map(|_| spawner.spawn(ask(address))).collect();
        let mut incoming = listener.incoming().take(40);
        let mut served = Vec::new();
        while let Some(stream) = incoming.next().await {
            served.push(spawner.spawn(echo(stream.unwrap())));
        }
        join_all(clients).await;
        join_all(served).await;
    });
    block_on(all);
    drop(stop);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    reactor.shutdown().unwrap();
}

/// Behaviour 169: a registration, or a timer that is earlier than all others, interrupts an endless sleep of the
/// reactor.
#[test]
fn registrations_and_earlier_timers_interrupt_the_wait() {
    let _watchdog = watchdog(TIME);
    let reactor = background();
    let handle = reactor.handle();
    let mut far = Timer::after(HOUR, &handle);
    assert!((&mut far).now_or_never().is_none());
    for _ in 0..20 {
        let begin = Instant::now();
        block_on(Timer::after(Duration::from_millis(3), &handle)).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(3));
        far.reset(Instant::now() + Duration::from_millis(2));
        block_on(&mut far).unwrap();
        far.reset(Instant::now() + HOUR);
        assert!((&mut far).now_or_never().is_none());
        let (mut left, right) = UnixStream::pair().unwrap();
        let source = Source::with_handle(right, &handle).unwrap();
        let writer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(1));
            left.write_all(b"x").unwrap();
            left
        });
        block_on(async { (&source).read_exact(&mut [0]).await.unwrap() });
        drop(writer.join().unwrap());
    }
    reactor.shutdown().unwrap();
}

/// After `shutdown`, or after a plain drop, every pending operation fails, and no descriptor is left.
#[test]
fn the_end_is_told_to_all() {
    let _watchdog = watchdog(TIME);
    for shut_down in [true, false] {
        let reactor = background();
        let handle = reactor.handle();
        let (left, right) = UnixStream::pair().unwrap();
        let waiter = thread::spawn(move || {
            let source = Source::with_handle(right, &handle).unwrap();
            let (read, timer) = block_on(async {
                futures::join!(async { (&source).read(&mut [0]).await }, Timer::after(HOUR, &handle))
            });
            (read.unwrap_err().kind(), timer.unwrap_err().kind())
        });
        while reactor.handle().stats().timers == 0 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(5));
        if shut_down {
            reactor.shutdown().unwrap();
        } else {
            drop(reactor);
        }
        assert_eq!(waiter.join().unwrap(), (io::ErrorKind::NotConnected, io::ErrorKind::NotConnected));
        drop(left);
    }
}

/// A waker that drops the reactor runs on the reactor's own thread, which cannot join itself.
#[test]
fn dropped_by_its_own_thread() {
    let _watchdog = watchdog(TIME);
    let reactor = background();
    let handle = reactor.handle();
    let mut timer = Box::pin(Timer::after(Duration::from_millis(5), &handle));
    let slot = Mutex::new(Some(reactor));
    let (sender, receiver) = mpsc::channel();
    let waker = waker_fn(move || {
        drop(slot.lock().unwrap().take());
        sender.send(thread::current().name().map(String::from)).unwrap();
    });
    assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(receiver.recv().unwrap().as_deref(), Some("async-epoll"));
    // The thread ends by itself soon after.
    while Source::with_handle(UnixStream::pair().unwrap().0, &handle).is_ok() {
        thread::yield_now();
    }
}

/// A waker that panics ends neither the reactor's thread nor the wait of other tasks.
#[test]
fn a_panicking_waker() {
    let _watchdog = watchdog(TIME);
    let reactor = background();
    let handle = reactor.handle();
    let waker = waker_fn(|| panic!("a waker's own business"));
    let mut timers: Vec<_> = (0..3).map(|_| Box::pin(Timer::after(Duration::from_millis(5), &handle))).collect();
    for timer in &mut timers {
        assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    block_on(Timer::after(Duration::from_millis(50), &handle)).unwrap();
    assert_eq!(handle.stats().waker_panics, 3);
    reactor.shutdown().unwrap();
}

/// With nothing to do, neither the reactor's thread nor the waiting thread uses the CPU.
#[test]
fn idle_costs_nothing() {
    let _watchdog = watchdog(TIME);
    let reactor = background();
    let before = (reactor.handle().stats().turns, thread_cpu());
    thread::sleep(Duration::from_millis(300));
    let stats = reactor.handle().stats();
    assert!(stats.turns - before.0 <= 1 && thread_cpu() - before.1 < Duration::from_millis(50), "{stats:?}");
    reactor.shutdown().unwrap();
}

/// A thousand reactors are made and dropped, with their threads and descriptors. None is left.
#[test]
fn come_and_go() {
    let _watchdog = watchdog(TIME);
    drop(background());
    for _ in 0..1000 {
        let before = background();
        let fds = open_fds();
        before.shutdown().unwrap();
        assert!(fds < 500, "{fds} descriptors are open");
    }
}

/// Two threads wait for the first time on one lazy source, at the same moment: both find the source unregistered, and one
/// of them registers it. There is one source, both threads are woken by its event, and nothing is left of it.
#[test]
fn two_threads_first_wait_together_on_a_lazy_source() {
    let _watchdog = watchdog(TIME);
    let reactor = background();
    let handle = reactor.handle();
    for round in 0..2000 {
        let (stream, mut peer) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let (source, begin) = (Source::lazy(stream, &handle), Barrier::new(2));
        let tasks = [CountingWaker::new(), CountingWaker::new()];
        thread::scope(|scope| {
            for (_, waker) in &tasks {
                scope.spawn(|| {
                    begin.wait();
                    assert!(source.poll_readable(&mut Context::from_waker(waker)).is_pending());
                });
            }
        });
        assert_eq!(handle.stats().sources, 1, "round {round}");
        peer.write_all(b"x").unwrap();
        while tasks.iter().any(|(counter, _)| counter.count() == 0) {
            thread::yield_now();
        }
        assert!(source.readiness().is_readable());
        drop(source);
        assert_eq!(handle.stats().sources, 0, "round {round}");
    }
    reactor.shutdown().unwrap();
}
