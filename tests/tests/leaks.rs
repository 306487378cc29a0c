//! Nothing is leaked: no descriptor, no registration, no task, no timer.
//!
//! The tests count the descriptors of the whole process, so they run one after the other.

use async_epoll::{Handle, LocalRuntime, Reactor, Source, Timer};
use async_net_lite::{RecvBatch, SendBatch, TcpListener, TcpStream, UdpSocket};
use async_timeout::{Timeout, TimeoutExt, sleep};
use futures::StreamExt;
use futures::future::{FutureExt, LocalBoxFuture, pending};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::task::noop_waker;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tests::common::sources;
use tests::{LOCALHOST, alone, full_listener, open_fds};

/// Behaviour 163: reactors that are made and dropped leave no descriptor and no memory mapping.
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

/// Bug A5, A6: a registration that fails returns the descriptor and leaves no entry.
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

/// Bug E14; behaviour 134: a timer that is dropped is removed at once, without a turn.
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

/// Bug D10: a forgotten future (`mem::forget`) leaks itself, and breaks nothing else.
#[test]
fn forgotten_futures() {
    let _alone = alone();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let waker = noop_waker();
    let mut cx = Context::from_waker(&waker);
    let (peer, source) = sources::with_peer(&handle);
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

/// Bug D10: futures, owners of descriptors and guards are forgotten while they wait. Everything else still works.
#[test]
fn forgotten_futures_of_every_kind() {
    const EACH: usize = 10;
    let _alone = alone();
    let mut runtime = LocalRuntime::new().unwrap();
    let (handle, spawner) = (runtime.handle(), runtime.spawner());
    let full = full_listener();
    let (peer, source) = sources::with_peer(&handle);
    runtime
        .run_until(async {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let fill = async { while (&source).write(&[0; 65536]).await.is_ok() {} };
            assert!(Timeout::new(fill, Duration::from_millis(20)).await.is_err());
            let (short, long) = (Duration::from_millis(1), Duration::from_secs(3600));
            for _ in 0..EACH {
                let futures: [LocalBoxFuture<'_, ()>; 15] = [
                    source.readable().map(drop).boxed_local(),
                    source.writable().map(drop).boxed_local(),
                    source.priority().map(drop).boxed_local(),
                    source.read_with(|mut stream| stream.read(&mut [0])).map(drop).boxed_local(),
                    source.write_with(|mut stream| stream.write(&[0])).map(drop).boxed_local(),
                    async { drop((&server).read(&mut [0; 8]).await) }.boxed_local(),
                    listener.accept().map(drop).boxed_local(),
                    listener.incoming().into_future().map(drop).boxed_local(),
                    TcpStream::connect(full.address).map(drop).boxed_local(),
                    Timer::after(short, &handle).map(drop).boxed_local(),
                    Timer::after(long, &handle).map(drop).boxed_local(),
                    Timer::never(&handle).map(drop).boxed_local(),
                    sleep(short).boxed_local(),
                    Timeout::new(pending::<()>(), short).map(drop).boxed_local(),
                    pending::<std::io::Result<()>>().io_timeout(short).map(drop).boxed_local(),
                ];
                for mut future in futures {
                    assert!(futures::poll!(&mut future).is_pending());
                    std::mem::forget(future);
                }
                // Forget sources, one of them with a waiter; and a task that forgets its own future.
                let (stream, _) = UnixStream::pair().unwrap();
                let forgotten = Source::new(stream).unwrap();
                let _ =
                    forgotten.read_with(|_| std::io::Result::<()>::Err(ErrorKind::WouldBlock.into())).now_or_never();
                std::mem::forget(forgotten);
                spawner
                    .spawn_local(async {
                        let mut sleep = sleep(Duration::from_millis(1));
                        assert!(futures::poll!(&mut sleep).is_pending());
                        std::mem::forget(sleep);
                    })
                    .unwrap();
                std::mem::forget((spawner.clone(), Handle::current().unwrap()));
            }
            // The short timers fire, and their wakers do nothing.
            sleep(Duration::from_millis(20)).await;
            assert_eq!(handle.stats().timers, EACH, "the long ones");
            // Everything that was waited for can be waited for again.
            (&peer).write_all(b"x").unwrap();
            source.readable().await.unwrap();
            let drain = async { while (&peer).read(&mut [0; 65536]).is_ok_and(|n| n == 65536) {} };
            peer.set_nonblocking(true).unwrap();
            drain.await;
            source.writable().await.unwrap();
            client.write_all(b"echo").await.unwrap();
            let mut buffer = [0; 4];
            (&server).read_exact(&mut buffer).await.unwrap();
            let again = TcpStream::connect(address).await.unwrap();
            assert_eq!(listener.accept().await.unwrap().1, again.local_addr().unwrap());
        })
        .unwrap();
    runtime.run().unwrap();
    assert_eq!(handle.stats().task_panics, 0);

    // Forgetting the guard of `enter` has one effect: its reactor stays current.
    std::mem::forget(handle.enter());
    drop((runtime, source));
    let error = Source::new(UnixStream::pair().unwrap().0).unwrap_err();
    assert!(error.to_string().contains("has been dropped"), "{error}");
    let mut other = LocalRuntime::new().unwrap();
    other.run_until(sleep(Duration::from_millis(1))).unwrap();
    assert_eq!(other.handle().stats().timers_fired, 1, "the current one while it runs");
    std::mem::forget(other.handle().enter());
    std::mem::forget(other);
}

/// Datagram sockets: used, waited for, converted, and sockets that cannot be made.
#[test]
fn datagram_sockets_come_and_go() {
    let _alone = alone();
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let before = open_fds();
    runtime
        .run_until(async {
            let (mut incoming, mut outgoing) = (RecvBatch::new(4, 8).unwrap(), SendBatch::new(4, 8).unwrap());
            for _ in 0..1000 {
                let (left, right) =
                    (UdpSocket::bind(LOCALHOST).await.unwrap(), UdpSocket::bind(LOCALHOST).await.unwrap());
                assert!(right.recv_batch(&mut incoming).now_or_never().is_none());
                left.connect(right.local_addr().unwrap()).await.unwrap();
                outgoing.push(b"x").unwrap();
                left.send_batch(&mut outgoing).await.unwrap();
                assert_eq!(right.recv_batch(&mut incoming).await.unwrap(), 1);
                let clone = right.clone();
                drop((right.into_std().unwrap(), clone.into_std().unwrap()));
                // An address in use, and a descriptor that is no socket.
                assert!(UdpSocket::bind(left.local_addr().unwrap()).await.is_err());
                let file = std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
                assert!(UdpSocket::try_from(file).is_err());
            }
        })
        .unwrap();
    assert_eq!((open_fds(), handle.stats().sources), (before, 0));
    drop(runtime);
    for _ in 0..100 {
        let bind = UdpSocket::bind_with(LOCALHOST, &handle);
        assert!(futures::executor::block_on(bind).is_err(), "the reactor is gone");
    }
    drop(handle);
    assert!(open_fds() < before, "the reactor's own");
}

/// Behaviour 10: dropping a connect in progress leaves neither a registration nor a descriptor.
#[test]
fn a_connect_that_is_dropped_leaves_nothing() {
    let _alone = alone();
    let mut runtime = LocalRuntime::new().unwrap();
    let full = full_listener();
    let before = open_fds();
    runtime
        .run_until(async {
            for _ in 0..3 {
                let connect = TcpStream::connect(full.address);
                assert!(async_timeout::Timeout::new(connect, Duration::from_millis(20)).await.is_err());
            }
        })
        .unwrap();
    assert_eq!((open_fds(), runtime.handle().stats().sources), (before, 0));
}

/// Bug A13; behaviour 191: a task that owns its socket and waits for it is freed with its pool; no reference cycle
/// keeps it.
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

/// Bug I4: sockets, timers and a runtime with tasks in thread-locals are dropped when their thread ends, in any order,
/// before and after the thread-local with the current reactor.
#[test]
fn thread_locals() {
    thread_local! {
        static SOURCES: RefCell<Vec<Source<UnixStream>>> = const { RefCell::new(Vec::new()) };
        static RUNTIME: RefCell<Option<LocalRuntime>> = const { RefCell::new(None) };
        static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
    }
    /// A value that uses the reactor in every possible way while it is dropped.
    struct Late(Handle);
    impl Drop for Late {
        fn drop(&mut self) {
            // The thread-local with the current reactor may be gone already.
            let _ = Handle::current();
            let _guard = self.0.enter();
            if let Ok(source) = Source::with_handle(UnixStream::pair().unwrap().0, &self.0) {
                let _ = source.readable().now_or_never();
            }
            let _ = Timer::after(Duration::from_secs(9), &self.0).now_or_never();
            self.0.notify();
        }
    }
    // The thread-local that is used first is dropped last.
    let touch: [fn(); 4] = [
        || drop(Handle::current()),
        || SOURCES.with_borrow_mut(Vec::clear),
        || assert!(RUNTIME.with_borrow(Option::is_none)),
        || TIMERS.with_borrow_mut(Vec::clear),
    ];
    let _alone = alone();
    let before = open_fds();
    for order in 0..24 {
        std::thread::spawn(move || {
            // The permutation with the number `order`.
            let (mut rest, mut order) = (touch.to_vec(), order);
            while !rest.is_empty() {
                rest.remove(order % rest.len())();
                order /= rest.len() + 1;
            }
            let mut runtime = LocalRuntime::new().unwrap();
            let handle = runtime.handle();
            let (of_task, stream) = UnixStream::pair().unwrap();
            let late = Late(handle.clone());
            runtime
                .spawner()
                .spawn_local(async move {
                    let _late = late;
                    let (mut source, _peer) = (Source::new(stream).unwrap(), of_task);
                    futures::future::join(source.read(&mut [0]).map(drop), sleep(Duration::from_secs(9))).await;
                })
                .unwrap();
            runtime.run_until(tests::yield_now()).unwrap();
            assert_eq!((handle.stats().sources, handle.stats().timers), (1, 1));
            RUNTIME.set(Some(runtime));
            let (_peer, stream) = UnixStream::pair().unwrap();
            SOURCES.with_borrow_mut(|sources| sources.push(Source::with_handle(stream, &handle).unwrap()));
            let mut timer = Timer::after(Duration::from_secs(9), &handle);
            let waker = noop_waker();
            assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            TIMERS.with_borrow_mut(|timers| timers.push(timer));
            std::mem::forget(handle.enter());
        })
        .join()
        .unwrap();
    }
    assert_eq!(open_fds(), before);
}

/// A waker that is called when its thread ends.
struct WakeOnDrop(Waker);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake_by_ref();
    }
}

/// Behaviour 195: the destructor of a thread-local wakes a task, in a loop that sleeps on another thread, and in a
/// runtime in a thread-local of the same thread that is destroyed before or after.
#[test]
fn wakes_from_destructors_of_thread_locals() {
    let _alone = alone();
    thread_local! {
        static EARLY: RefCell<Option<WakeOnDrop>> = const { RefCell::new(None) };
        static RUNTIME: RefCell<Option<LocalRuntime>> = const { RefCell::new(None) };
        static LATE: RefCell<Option<WakeOnDrop>> = const { RefCell::new(None) };
    }
    /// Spawns a task that ends at its second poll, and returns its waker.
    fn waiting(runtime: &mut LocalRuntime) -> Waker {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut polled = false;
        let task = poll_fn(move |cx| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            sender.send(cx.waker().clone()).unwrap();
            Poll::Pending
        });
        runtime.spawner().spawn_local(task).unwrap();
        runtime.run_until(tests::yield_now()).unwrap();
        receiver.recv().unwrap()
    }
    let before = open_fds();
    let mut runtime = LocalRuntime::new().unwrap();
    let waker = waiting(&mut runtime);
    let thread = std::thread::spawn(move || {
        LATE.set(Some(WakeOnDrop(waker)));
        std::thread::sleep(Duration::from_millis(20));
    });
    runtime.run().unwrap();
    thread.join().unwrap();
    drop(runtime);

    std::thread::spawn(|| {
        let mut runtime = LocalRuntime::new().unwrap();
        let wakers = [waiting(&mut runtime), waiting(&mut runtime)];
        // Destructors run in the order in which thread-locals were first used, or in the reverse order. In both cases
        // one of the two wakers is called before the runtime is dropped and one after.
        let [early, late] = wakers.map(WakeOnDrop);
        EARLY.set(Some(early));
        RUNTIME.set(Some(runtime));
        LATE.set(Some(late));
    })
    .join()
    .unwrap();
    assert_eq!(open_fds(), before);
}

/// Bug I5: `process::exit` runs the destructors of the main thread's thread-locals. The process still ends with the
/// given status.
#[test]
fn exiting_with_everything_in_thread_locals() {
    const CHILD: &str = "TEST_EXIT_CHILD";
    thread_local! {
        static SOURCES: RefCell<Vec<Source<UnixStream>>> = const { RefCell::new(Vec::new()) };
        static RUNTIME: RefCell<Option<LocalRuntime>> = const { RefCell::new(None) };
        static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
        static WAKER: RefCell<Option<WakeOnDrop>> = const { RefCell::new(None) };
    }
    /// A value that shows whether destructors run.
    struct Tell;
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = Handle::current();
            println!("\ndropped by exit");
        }
    }
    if std::env::var_os(CHILD).is_none() {
        let _alone = alone();
        for order in ["first", "last"] {
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "exiting_with_everything_in_thread_locals", "--nocapture", "--test-threads", "1"])
                .env(CHILD, order)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
            assert_eq!(child.status.code(), Some(7), "{text}");
            assert!(!text.contains("panicked"), "{text}");
            // C libraries other than glibc do not run these destructors when the process exits.
            assert!(text.contains("dropped by exit") || !cfg!(target_env = "gnu"), "{text}");
        }
        return;
    }
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let waker = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&waker);
    let task = async move {
        let _tell = Tell;
        let (_peer, stream) = UnixStream::pair().unwrap();
        let source = Source::new(stream).unwrap();
        poll_fn(|cx| {
            *keep.lock().unwrap() = Some(cx.waker().clone());
            source.poll_readable(cx)
        })
        .await
        .unwrap();
    };
    runtime.spawner().spawn_local(task).unwrap();
    runtime.run_until(tests::yield_now()).unwrap();
    let waker = waker.lock().unwrap().take().expect("the task was polled");
    let put_runtime = || RUNTIME.set(Some(runtime));
    let put_others = || {
        let (_peer, stream) = UnixStream::pair().unwrap();
        SOURCES.with_borrow_mut(|sources| sources.push(Source::with_handle(stream, &handle).unwrap()));
        let mut timer = Timer::after(Duration::from_secs(9), &handle);
        assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        TIMERS.with_borrow_mut(|timers| timers.push(timer));
        WAKER.set(Some(WakeOnDrop(waker)));
        std::mem::forget(handle.enter());
    };
    if std::env::var_os(CHILD).is_some_and(|order| order == "first") {
        put_runtime();
        put_others();
    } else {
        put_others();
        put_runtime();
    }
    std::process::exit(7);
}
