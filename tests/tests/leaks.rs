//! Nothing is left behind: no descriptor, no registration, no task, no timer.
//!
//! These tests count the descriptors of the whole process, so they run one after the other.

use async_epoll::{Handle, LocalRuntime, Reactor, Source, Timer};
use async_net_lite::{TcpListener, TcpStream};
use futures::future::FutureExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::task::noop_waker;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;
use tests::{Watchdog, open_fds, watchdog};

const LOCALHOST: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// One test at a time.
fn alone() -> (MutexGuard<'static, ()>, Watchdog) {
    static LOCK: Mutex<()> = Mutex::new(());
    (LOCK.lock().unwrap_or_else(PoisonError::into_inner), watchdog(Duration::from_secs(60)))
}

/// Behaviour 163; reactors that come and go leave no descriptor and no mapping.
#[test]
fn two_thousand_reactors() {
    let _alone = alone();
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let (fds, mappings) = (open_fds(), maps());
    for _ in 0..2000 {
        let mut runtime = LocalRuntime::new().unwrap();
        runtime.spawner().spawn_local(async {}).unwrap();
        runtime.run().unwrap();
    }
    assert_eq!(open_fds(), fds);
    assert!(maps() < mappings + 100);
}

/// Bug A5, A6: a registration that fails gives the descriptor back and leaves no entry.
#[test]
fn failed_registrations_leave_nothing() {
    let _alone = alone();
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let before = open_fds();
    for _ in 0..100 {
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = Source::with_handle(file, &handle).unwrap_err();
        drop(error);
    }
    assert_eq!((open_fds(), handle.stats().sources), (before, 0));
}

/// Ten thousand short connections, each with a timer and a task.
#[test]
fn connections_come_and_go() {
    let _alone = alone();
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    let before = open_fds();
    runtime
        .run_until(async move {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let address = listener.local_addr().unwrap();
            spawner
                .spawn_local(async move {
                    for _ in 0..10_000 {
                        let mut client = TcpStream::connect(address).await.unwrap();
                        client.write_all(b"ping").await.unwrap();
                        let mut reply = String::new();
                        client.read_to_string(&mut reply).await.unwrap();
                        assert_eq!(reply, "ping");
                    }
                })
                .unwrap();
            for _ in 0..10_000 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let serve = async move {
                    let mut buffer = [0; 4];
                    let read = stream.read_exact(&mut buffer);
                    async_timeout::Timeout::new(read, Duration::from_secs(10)).await.unwrap().unwrap();
                    stream.write_all(&buffer).await.unwrap();
                };
                spawner.spawn_local(serve).unwrap();
            }
        })
        .unwrap();
    runtime.run().unwrap();
    let stats = handle.stats();
    assert_eq!((stats.live_tasks, stats.ready_tasks, stats.sources, stats.timers), (0, 0, 0, 0));
    assert_eq!((stats.task_panics, open_fds()), (0, before));
}

/// Bug E14: timers that are dropped are gone at once, without a turn.
#[test]
fn dropped_timers_are_gone() {
    let _alone = alone();
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let waker = noop_waker();
    let mut cx = Context::from_waker(&waker);
    let timers: Vec<_> = (0..10_000)
        .map(|_| {
            let mut timer = Timer::after(Duration::from_secs(3600), &handle);
            assert!(timer.poll_unpin(&mut cx).is_pending());
            timer
        })
        .collect();
    assert_eq!(handle.stats().timers, 10_000);
    drop(timers);
    assert_eq!((handle.stats().timers, reactor.next_deadline()), (0, None));
}

/// Bug D10: forgotten futures leak themselves, and nothing else breaks.
#[test]
fn forgotten_futures() {
    let _alone = alone();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let waker = noop_waker();
    let mut cx = Context::from_waker(&waker);
    let (peer, stream) = UnixStream::pair().unwrap();
    let source = Source::with_handle(stream, &handle).unwrap();
    for _ in 0..1000 {
        let mut readable = Box::pin(source.readable());
        assert!(readable.poll_unpin(&mut cx).is_pending());
        std::mem::forget(readable);
        let mut timer = Timer::after(Duration::from_micros(1), &handle);
        let _ = timer.poll_unpin(&mut cx);
        std::mem::forget(timer);
    }
    drop(peer);
    while reactor.wait(Some(Duration::from_millis(20))).unwrap() > 0 {}
    assert_eq!((handle.stats().sources, handle.stats().timers), (1, 0));
    drop(source);
    assert_eq!(handle.stats().sources, 0);
}

/// Behaviour 10: dropping a connect that is under way leaves neither a registration nor a descriptor.
#[test]
fn a_connect_that_is_dropped_leaves_nothing() {
    let _alone = alone();
    let mut runtime = LocalRuntime::new().unwrap();
    // A full queue: further connects get no answer.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(LOCALHOST).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let before = open_fds();
    runtime
        .run_until(async {
            let mut queued = Vec::new();
            for _ in 0..10 {
                let limit = Duration::from_millis(20);
                match async_timeout::Timeout::new(TcpStream::connect(address), limit).await {
                    Ok(connected) => queued.push(connected.unwrap()),
                    Err(_) => return,
                }
            }
            panic!("the queue never filled");
        })
        .unwrap();
    assert_eq!((open_fds(), runtime.handle().stats().sources), (before, 0));
}

/// Bug A13: a task that owns its socket and waits on it is freed with its pool, no cycle keeps it.
#[test]
fn a_task_that_owns_its_socket_is_freed() {
    let _alone = alone();
    let before = open_fds();
    let mut runtime = LocalRuntime::new().unwrap();
    let (handle, spawner) = (runtime.handle(), runtime.spawner());
    let token = Rc::new(());
    let weak = Rc::downgrade(&token);
    let (peer, stream) = UnixStream::pair().unwrap();
    spawner
        .spawn_local(async move {
            let _token = token;
            let mut source = Source::new(stream).unwrap();
            assert_eq!(source.read(&mut [0]).await.unwrap(), 0);
        })
        .unwrap();
    runtime.run_until(tests::yield_now()).unwrap();
    assert_eq!(handle.stats().sources, 1);
    drop((runtime, spawner));
    assert!(weak.upgrade().is_none());
    assert_eq!(handle.stats().sources, 0);
    drop((handle, peer));
    assert_eq!(open_fds(), before);
}

/// Bug I4: sockets, timers and a reactor in thread-locals, dropped when their thread ends, in any order.
#[test]
fn thread_locals() {
    let _alone = alone();
    thread_local! {
        static BEFORE: std::cell::RefCell<Vec<Source<UnixStream>>> = const { std::cell::RefCell::new(Vec::new()) };
        static RUNTIME: std::cell::RefCell<Option<LocalRuntime>> = const { std::cell::RefCell::new(None) };
        static AFTER: std::cell::RefCell<Vec<Timer>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let before = open_fds();
    for order in 0..2 {
        std::thread::spawn(move || {
            let fill = || {
                let runtime = LocalRuntime::new().unwrap();
                let handle = runtime.handle();
                runtime
                    .spawner()
                    .spawn_local(async {
                        let _current = Handle::current().unwrap();
                        futures::future::pending::<()>().await;
                    })
                    .unwrap();
                (runtime, handle)
            };
            if order == 0 {
                BEFORE.with_borrow_mut(Vec::clear);
            }
            let (mut runtime, handle) = fill();
            runtime.run_until(tests::yield_now()).unwrap();
            RUNTIME.set(Some(runtime));
            let (_peer, stream) = UnixStream::pair().unwrap();
            BEFORE.with_borrow_mut(|sources| sources.push(Source::with_handle(stream, &handle).unwrap()));
            let mut timer = Timer::after(Duration::from_secs(9), &handle);
            let waker = noop_waker();
            assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            AFTER.with_borrow_mut(|timers| timers.push(timer));
            std::mem::forget(handle.enter());
        })
        .join()
        .unwrap();
    }
    assert_eq!(open_fds(), before);
}
