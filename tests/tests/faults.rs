//! System calls that fail: what `strace.rs` injects, without strace, so that the README's command sees it.
//!
//! [`refuse`] makes one system call fail on one thread, for good. So a test takes a thread for its faults
//! ([`on_a_thread`]), and where the call has to succeed afterwards there are two ways:
//!
//! - the fault is for certain arguments only, such as a wait without end or one descriptor;
//! - the operation is polled on the thread with the fault, and then on a thread without; the reactor has a third
//!   thread, which has begun before.
//!
//! Left to strace: the number of calls, faults that come and go, and the order of calls of different kinds.

use async_epoll::{Background, Handle, LocalRuntime, Reactor, Source, Timer};
use async_net_lite::{ConnectOptions, TcpListener, TcpStream, UdpSocket, copy_bidirectional, unix};
use async_timeout::{Timeout, TimeoutExt, sleep};
use futures::StreamExt;
use futures::executor::block_on;
use futures::future::{FutureExt, join, join3, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use libc::c_long;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::time::{Duration, Instant};
use tests::common::{pool_and_reactor, tcp};
use tests::{
    LOCALHOST, abstract_name, alone, epoll_entries, in_child, later, noise, open_fds, process_cpu, refuse, thread_cpu,
    waker_fn,
};

/// The calls that may be behind `epoll_wait(3)`, besides `epoll_pwait2(2)`.
const WAITS: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
];
/// The index of the timeout among the arguments of [`WAITS`], and its value for a wait without end.
const WITHOUT_END: (usize, i32) = (3, -1);
/// The arguments of `epoll_ctl(2)` for a registration, and for a deregistration.
const ADD: (usize, i32) = (1, libc::EPOLL_CTL_ADD);
const DELETE: (usize, i32) = (1, libc::EPOLL_CTL_DEL);

/// Runs `test` on a thread of its own, to which its faults belong. A panic goes on in the caller.
fn on_a_thread<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let result = std::thread::scope(|scope| scope.spawn(test).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Returns a reactor on a thread of its own, which no later fault concerns.
fn background() -> Background {
    Reactor::new().unwrap().into_background().unwrap()
}

/// Makes every wait without end fail.
fn refuse_waits_without_end(error: i32) {
    WAITS.iter().for_each(|call| refuse(*call, &[WITHOUT_END], error));
}

/// Bug C20: an error of the wait is returned by `wait`, `run` and `run_until`. The tasks are still there, and the reactor
/// can still be used.
#[test]
fn errors_of_the_wait_are_returned() {
    let _alone = alone();
    for number in [libc::EBADF, libc::EINVAL, libc::ENOMEM] {
        on_a_thread(|| {
            let mut runtime = LocalRuntime::new().unwrap();
            let (handle, spawner) = (runtime.handle(), runtime.spawner());
            let (peer, stream) = UnixStream::pair().unwrap();
            let source = Source::with_handle(stream, &handle).unwrap();
            // The first event says that there is room, and ends the first wait.
            runtime.run_until(async { source.writable().await.unwrap() }).unwrap();
            let task = async move { source.readable().await.map(drop).unwrap() };
            spawner.spawn_local(task).unwrap();
            refuse_waits_without_end(number);
            for _ in 0..3 {
                assert_eq!(runtime.run().unwrap_err().raw_os_error(), Some(number));
                let error = runtime.run_until(std::future::pending::<()>()).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(number));
                assert_eq!(spawner.live_tasks(), 1);
            }
            assert_eq!(Reactor::new().unwrap().wait(None).unwrap_err().raw_os_error(), Some(number));
            // A wait with a timeout still works.
            (&peer).write_all(b"x").unwrap();
            runtime.run_until(Timer::after(Duration::from_millis(1), &handle)).unwrap().unwrap();
            assert_eq!(spawner.live_tasks(), 0);
        });
    }
}

/// Bug C20: a reactor in the background ends with the error of its wait, which `shutdown` returns.
#[test]
fn errors_of_the_wait_end_a_background_reactor() {
    let _alone = alone();
    on_a_thread(|| {
        // Its thread inherits the fault.
        refuse_waits_without_end(libc::EBADF);
        let reactor = background();
        let source = Source::lazy(UnixStream::pair().unwrap().0, &reactor.handle());
        let begin = Instant::now();
        let error = loop {
            match block_on(source.readable()) {
                Err(error) => break error,
                Ok(_) => assert!(begin.elapsed() < Duration::from_secs(20), "the reactor goes on"),
            }
        };
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        assert_eq!(reactor.shutdown().unwrap_err().raw_os_error(), Some(libc::EBADF));
    });
}

/// A wait that fails does not use up a notification, whether the notification comes before the wait or during it.
#[test]
fn a_wait_that_fails_keeps_the_notification() {
    let _alone = alone();
    on_a_thread(|| {
        // Before: a reactor that is notified asks for events with a timeout of zero, and sleeps by another call.
        let mut reactor = Reactor::new().unwrap();
        WAITS.iter().for_each(|call| refuse(*call, &[(3, 0)], libc::EBADF));
        reactor.handle().notify();
        let begin = Instant::now();
        for _ in 0..3 {
            assert!(reactor.wait(Some(Duration::from_secs(30))).is_err(), "the notification was lost");
        }
        assert!(begin.elapsed() < Duration::from_secs(10));
    });
    on_a_thread(|| {
        // During: the wait fails as soon as the reactor sleeps, and succeeds if it does not.
        let mut reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let (seen, done) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20_000 {
                    handle.notify();
                    let begin = Instant::now();
                    while !seen.swap(false, Ordering::AcqRel) {
                        if begin.elapsed() > Duration::from_secs(10) {
                            done.store(true, Ordering::Release);
                            panic!("notification {round} was lost");
                        }
                        std::hint::spin_loop();
                    }
                }
                done.store(true, Ordering::Release);
            });
            refuse_waits_without_end(libc::EBADF);
            while !done.load(Ordering::Acquire) {
                match reactor.wait(None) {
                    Ok(_) => seen.store(true, Ordering::Release),
                    Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EBADF)),
                }
            }
        });
    });
}

/// Does what most programs do, in a reactor of its own: connections, data both ways, timers, wakes from another thread.
fn everything() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    runtime
        .run_until(async {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let address = listener.local_addr().unwrap();
            let echo = async move {
                let mut incoming = listener.into_incoming();
                for _ in 0..3 {
                    let stream = incoming.next().await.unwrap().unwrap();
                    futures::io::copy(&stream, &mut &stream).await.unwrap();
                }
            };
            spawner.spawn_local(echo).unwrap();
            for size in [1, 5000, 300_000] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let (sent, mut received) = (noise(1, size), vec![0; size]);
                let (mut reader, mut writer) = (&stream, &stream);
                try_join(reader.read_exact(&mut received), writer.write_all(&sent)).await.unwrap();
                assert!(sent == received);
                stream.close().await.unwrap();
                let deadline = Instant::now() + Duration::from_micros(1500);
                Timer::at(deadline, &handle).await.unwrap();
                assert!(Instant::now() >= deadline, "early");
                let (sender, receiver) = futures::channel::oneshot::channel();
                let thread = later(move || sender.send(()).unwrap());
                receiver.await.unwrap();
                thread.join().unwrap();
            }
        })
        .unwrap();
    runtime.run().unwrap();
    let stats = handle.stats();
    assert_eq!((stats.live_tasks, stats.sources, stats.timers, stats.task_panics), (0, 0, 0, 0));
}

/// Bug C21: without calls that old kernels, sandboxes and valgrind do not know, everything works: without
/// `epoll_pwait2`, without an eventfd (a pipe ends the sleeps), without `MADV_WIPEONFORK`.
#[test]
fn without_calls_that_may_be_missing() {
    let _alone = alone();
    let wipe = (2, libc::MADV_WIPEONFORK);
    for (call, arguments, error) in [
        (libc::SYS_epoll_pwait2, &[][..], libc::ENOSYS),
        (libc::SYS_epoll_pwait2, &[], libc::EPERM),
        (libc::SYS_eventfd2, &[], libc::ENOSYS),
        (libc::SYS_eventfd2, &[], libc::EPERM),
        (libc::SYS_madvise, &[wipe], libc::EINVAL),
    ] {
        on_a_thread(|| {
            refuse(call, arguments, error);
            let before = open_fds();
            everything();
            assert_eq!(open_fds(), before);
        });
    }
}

/// Bug I3: a reactor that cannot be made returns the kernel's error and leaves no descriptor open, whichever call fails.
#[test]
fn reactors_that_cannot_be_made() {
    let _alone = alone();
    for (call, errors) in [
        (libc::SYS_epoll_create1, [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSYS, libc::EPERM]),
        (libc::SYS_eventfd2, [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENODEV, libc::EINVAL]),
        (libc::SYS_epoll_ctl, [libc::ENOMEM, libc::ENOSPC, libc::ENOSYS, libc::EPERM, libc::ENFILE]),
        (libc::SYS_timerfd_create, [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENODEV, libc::EPERM]),
    ] {
        for number in errors {
            on_a_thread(|| {
                let before = open_fds();
                refuse(call, &[], number);
                let made = [Reactor::builder().precise_timers().build(), Reactor::builder().embedded().build()];
                for error in made.map(|made| made.map(drop).unwrap_err()) {
                    assert_eq!(error.raw_os_error(), Some(number));
                }
                assert_eq!(open_fds(), before, "left open");
            });
        }
    }
}

/// Bug A9: a source leaves epoll before its descriptor is closed, in every way in which a source can go. A duplicate
/// keeps the open file alive here, so an entry that is not deleted would stay in the kernel's table.
#[test]
fn a_source_that_goes_leaves_epoll() {
    let _alone = alone();
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let handle = reactor.handle();
    let epoll = reactor.as_fd().try_clone_to_owned().unwrap();
    let entries = || epoll_entries(epoll.as_raw_fd());
    let none = entries();
    assert_eq!(none.len(), 1, "the eventfd");

    let (one, other) = UnixStream::pair().unwrap();
    let _open = [one.try_clone().unwrap(), other.try_clone().unwrap()];
    let number = one.as_raw_fd();
    // Borrowed and dropped; refused as a duplicate, which leaves the first; taken out; dropped with the descriptor.
    let source = Source::with_handle(&one, &handle).unwrap();
    assert!(entries().contains(&number));
    assert!(Source::with_handle(&one, &handle).is_err());
    assert!(entries().contains(&number), "the first is still there");
    drop(source);
    assert_eq!(entries(), none, "borrowed");
    let one = Source::with_handle(one, &handle).unwrap().into_inner().unwrap();
    assert_eq!(entries(), none, "taken out");
    drop(Source::with_handle(one, &handle).unwrap());
    assert_eq!(entries(), none, "dropped");
    // Dropped by its own waker, which the reactor calls.
    let source = Source::with_handle(other, &handle).unwrap();
    while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
    let shelf = Arc::new(Mutex::new(None));
    let taken = Arc::clone(&shelf);
    let waker = waker_fn(move || drop(taken.lock().unwrap().take()));
    assert!(source.poll_readable(&mut Context::from_waker(&waker)).is_pending());
    *shelf.lock().unwrap() = Some(source);
    // The end of the last descriptor for the other side.
    let [open, _] = _open;
    drop(open);
    assert_eq!(reactor.wait(None).unwrap(), 1);
    assert!(shelf.lock().unwrap().is_none());
    assert_eq!(entries(), none, "dropped by a waker");

    // Dropped with its task: at the task's end, and with the pool.
    for ends in [true, false] {
        let (stream, mut peer) = UnixStream::pair().unwrap();
        let _open = stream.try_clone().unwrap();
        let task = async move {
            let mut source = Source::new(stream).unwrap();
            assert_eq!(source.read(&mut [0]).await.unwrap(), 1);
        };
        spawner.spawn_local(task).unwrap();
        pool.run_until_stalled();
        assert_eq!(entries().len(), 2);
        if ends {
            peer.write_all(b"x").unwrap();
            reactor.run(&mut pool).unwrap();
        } else {
            drop(std::mem::take(&mut pool));
        }
        assert_eq!(entries(), none, "dropped with its task: {ends}");
    }
}

/// Bug A5, A6, I7; trial 6: no memory, or more than `max_user_watches`. The caller gets an error and the descriptor; the
/// other sources work.
#[test]
fn registrations_that_fail() {
    let _alone = alone();
    for number in [libc::ENOSPC, libc::ENOMEM] {
        on_a_thread(|| {
            let mut runtime = LocalRuntime::new().unwrap();
            let handle = runtime.handle();
            let before = open_fds();
            let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
            refuse(libc::SYS_epoll_ctl, &[ADD, (2, pairs[2].0.as_raw_fd())], number);
            let (mut failed, mut sources) = (0, Vec::new());
            for (stream, peer) in pairs {
                match Source::with_handle(stream, &handle) {
                    Ok(source) => sources.push((source, peer)),
                    Err(error) => {
                        // Where the kernel's text would mislead, ours says more.
                        let words = error.to_string();
                        match number {
                            libc::ENOSPC => assert!(words.contains("epoll/max_user_watches"), "{words}"),
                            _ => assert_eq!(error.error.kind(), ErrorKind::OutOfMemory, "{words}"),
                        }
                        (&error.source).write_all(b"given back").unwrap();
                        failed += 1;
                    }
                }
            }
            assert_eq!((failed, handle.stats().sources), (1, 4));
            runtime
                .run_until(async {
                    for (source, peer) in &mut sources {
                        peer.write_all(b"x").unwrap();
                        assert_eq!(source.read(&mut [0]).await.unwrap(), 1);
                    }
                })
                .unwrap();
            drop(sources);
            assert_eq!((handle.stats().sources, open_fds()), (0, before));
        });
    }
}

/// Bug A5, A6; trial 6: the same for `EPOLL_CTL_DEL`. The entry left in the kernel does not prevent a new registration.
#[test]
fn deregistrations_that_fail() {
    let _alone = alone();
    let reactor = background();
    let handle = reactor.handle();
    let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
    on_a_thread(|| {
        refuse(libc::SYS_epoll_ctl, &[DELETE, (2, pairs[2].0.as_raw_fd())], libc::ENOMEM);
        let sources: Vec<_> = pairs.iter().map(|(stream, _)| Source::with_handle(stream, &handle).unwrap()).collect();
        sources.into_iter().for_each(|source| assert!(source.into_inner().is_ok()));
        assert_eq!(handle.stats().sources, 0);
    });
    let sources: Vec<_> = pairs.iter().map(|(stream, _)| Source::with_handle(stream, &handle).unwrap()).collect();
    for (source, (_, peer)) in sources.iter().zip(&pairs) {
        assert!(source.readable().now_or_never().is_none());
        (&*peer).write_all(b"x").unwrap();
        block_on(source.readable()).unwrap();
    }
    drop(sources);
    assert_eq!(handle.stats().sources, 0);
    reactor.shutdown().unwrap();
}

/// Bug A6: one of five descriptors cannot be made non-blocking. It is returned.
#[test]
fn descriptors_that_cannot_be_made_nonblocking() {
    let _alone = alone();
    for command in [libc::F_GETFL, libc::F_SETFL] {
        on_a_thread(|| {
            let reactor = Reactor::new().unwrap();
            let handle = reactor.handle();
            let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
            refuse(libc::SYS_fcntl, &[(0, pairs[2].0.as_raw_fd()), (1, command)], libc::EINVAL);
            let (mut sources, mut failed) = (Vec::new(), 0);
            for (stream, _) in &pairs {
                match Source::with_handle(stream, &handle) {
                    Ok(source) => sources.push(source),
                    Err(error) => {
                        assert_eq!(error.error.raw_os_error(), Some(libc::EINVAL));
                        assert_eq!(error.source.as_raw_fd(), pairs[2].0.as_raw_fd());
                        failed += 1;
                    }
                }
            }
            assert_eq!((failed, handle.stats().sources), (1, 4));
        });
    }
}

/// Bug I1; trial 4: `close` fails and leaves the descriptor open. If its deregistration was left to `close`, it is still
/// registered; its events wake no task and no reactor. Other sources still work.
#[test]
fn closes_that_fail() {
    let _alone = alone();
    for lazy in [false, true] {
        // On a thread, so that only this descriptor of this thread is concerned.
        let number = on_a_thread(|| {
            let mut reactor = Reactor::new().unwrap();
            let handle = reactor.handle();
            let (stream, mut peer) = UnixStream::pair().unwrap();
            stream.set_nonblocking(true).unwrap();
            let number = stream.as_raw_fd();
            let source =
                if lazy { Source::lazy(stream, &handle) } else { Source::with_handle(stream, &handle).unwrap() };
            assert!(source.readable().now_or_never().is_none());
            while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
            refuse(libc::SYS_close, &[(0, number)], libc::EINTR);
            drop(source);
            let (events, begin, cpu) = (handle.stats().events, Instant::now(), thread_cpu());
            peer.write_all(b"x").expect("the other end is still open");
            assert_eq!(reactor.wait(Some(Duration::from_millis(100))).unwrap(), 0);
            assert!(begin.elapsed() >= Duration::from_millis(100) && thread_cpu() - cpu < Duration::from_millis(50));
            assert_eq!((handle.stats().sources, handle.stats().events), (0, events));
            let (stream, mut peer) = UnixStream::pair().unwrap();
            let source = Source::with_handle(stream, &handle).unwrap();
            peer.write_all(b"x").unwrap();
            while !source.readiness().is_readable() {
                reactor.wait(None).unwrap();
            }
            number
        });
        tests::close_raw(number);
    }
}

/// Errors of `accept4(2)` that concern only one connection. On Linux the first never comes from TCP or a Unix socket, but
/// from other kinds of sockets and from sandboxes: a client that resets its connection early is accepted, and the first
/// read fails.
const OF_ONE_CONNECTION: [i32; 10] = [
    libc::ECONNABORTED,
    libc::EPROTO,
    libc::ENETDOWN,
    libc::EHOSTDOWN,
    libc::ENONET,
    libc::EHOSTUNREACH,
    libc::EOPNOTSUPP,
    libc::ENETUNREACH,
    libc::EPERM,
    libc::ENOPROTOOPT,
];

/// Bug F2; trial 5: an error that concerns one connection is no item of the stream and does not end it, however often it
/// comes. A shortage pauses the stream. The client is served as soon as the call works.
#[test]
fn accept_errors_do_not_end_the_stream() {
    let _alone = alone();
    let reactor = background();
    let _current = reactor.handle().enter();
    for number in OF_ONE_CONNECTION.into_iter().chain([libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM]) {
        let listener = block_on(TcpListener::bind(LOCALHOST)).unwrap();
        let (fd, address) = (listener.as_raw_fd(), listener.local_addr().unwrap());
        let mut incoming = listener.into_incoming();
        let name = abstract_name(&format!("faults-{number}"));
        let listener = unix::UnixListener::bind_addr(&name).unwrap();
        let unix_fd = listener.as_raw_fd();
        let mut unix_incoming = listener.into_incoming();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let _unix_client = UnixStream::connect_addr(&name).unwrap();
        on_a_thread(|| {
            for fd in [fd, unix_fd] {
                refuse(libc::SYS_accept4, &[(0, fd)], number);
            }
            for _ in 0..1000 {
                assert!(incoming.next().now_or_never().is_none(), "{number} is seen");
                assert!(unix_incoming.next().now_or_never().is_none(), "{number} is seen");
            }
        });
        let both = join(incoming.next(), unix_incoming.next());
        let (accepted, unix_accepted) = block_on(Timeout::new(both, Duration::from_secs(20))).expect("no wake");
        accepted.expect("the stream never ends").unwrap();
        unix_accepted.expect("the stream never ends").unwrap();
    }
}

/// Bug F4: a connection that cannot be registered when it first waits ends with the error. The others are served.
#[test]
fn connections_that_cannot_be_registered() {
    let _alone = alone();
    on_a_thread(|| {
        async_epoll::block_on(async {
            let pairs = [tcp::std_pair().await, tcp::std_pair().await, tcp::std_pair().await];
            refuse(libc::SYS_epoll_ctl, &[ADD, (2, pairs[1].1.as_raw_fd())], libc::ENOMEM);
            for (index, (mut client, mut server)) in pairs.into_iter().enumerate() {
                let mut byte = [0];
                let first = server.read(&mut byte).now_or_never();
                if index == 1 {
                    let error = first.expect("it cannot wait").unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
                    continue;
                }
                assert!(first.is_none());
                client.write_all(b"x").unwrap();
                assert_eq!(server.read(&mut byte).await.unwrap(), 1);
            }
        })
        .unwrap();
    });
}

/// If the system does not allow TCP Fast Open, or does not know it, connections are made without it. Other errors count.
#[test]
fn without_fast_open() {
    let _alone = alone();
    for (error, is_fatal) in [(libc::EOPNOTSUPP, false), (libc::ENOPROTOOPT, false), (libc::EINVAL, true)] {
        on_a_thread(|| {
            refuse(libc::SYS_setsockopt, &[(1, libc::IPPROTO_TCP), (2, libc::TCP_FASTOPEN_CONNECT)], error);
            async_epoll::block_on(async {
                let listener = TcpListener::bind(LOCALHOST).await.unwrap();
                let options = ConnectOptions::new().fastopen(true);
                let connected = options.connect(listener.local_addr().unwrap()).await;
                assert_eq!(connected.err().and_then(|error| error.raw_os_error()), is_fatal.then_some(error));
            })
            .unwrap();
        });
    }
}

/// A socket without room waits for room, although the kernel has reported nothing about it yet.
#[test]
fn a_datagram_waits_for_room() {
    let _alone = alone();
    let [left, right] = [(); 2].map(|()| std::net::UdpSocket::bind(LOCALHOST).unwrap());
    left.connect(right.local_addr().unwrap()).unwrap();
    async_epoll::block_on(async {
        let left = UdpSocket::from_std(left, &Handle::current().unwrap()).unwrap();
        // The reactor has no turn before this poll has ended. After the first event a refusal without a reason would last:
        // the kernel reports room once.
        on_a_thread(|| {
            refuse(libc::SYS_sendto, &[(0, left.as_raw_fd())], libc::EAGAIN);
            assert!(left.send(b"x").now_or_never().is_none(), "it has to wait");
        });
        assert_eq!(left.send(b"x").timeout(Duration::from_secs(20)).await.expect("no wake").unwrap(), 1);
    })
    .unwrap();
    assert_eq!(right.recv(&mut [0; 2]).unwrap(), 1);
}

/// Bug E15: without futures-timer's helper thread, and without any other, timers fire late, but they fire, and nothing
/// panics or spins.
#[test]
fn timers_without_a_helper_thread() {
    // Whether the helper thread runs belongs to the process.
    if !in_child("timers_without_a_helper_thread") {
        return;
    }
    let _alone = alone();
    refuse(libc::SYS_clone3, &[], libc::EAGAIN);
    #[cfg(target_arch = "x86_64")]
    refuse(libc::SYS_clone, &[], libc::EAGAIN);
    std::thread::Builder::new().spawn(|| ()).map(drop).expect_err("no thread can be started");
    let (begin, cpu) = (Instant::now(), process_cpu());
    let time = Duration::from_millis(30);
    block_on(async {
        sleep(time).await;
        assert!(begin.elapsed() >= time, "early");
        assert!(Timeout::new(std::future::pending::<()>(), time).await.is_err());
        // Reset to an earlier time.
        let mut timer = sleep(100 * time);
        assert!(futures::poll!(&mut timer).is_pending());
        timer.reset(Instant::now() + time);
        timer.await;
        // Two hundred sleeps together take no longer than one.
        let many = Instant::now();
        futures::future::join_all((0..200).map(|_| sleep(time))).await;
        assert!(many.elapsed() >= time && many.elapsed() < 20 * time, "{:?}", many.elapsed());
    });
    assert!(process_cpu() - cpu < begin.elapsed() / 2, "it spins: {:?}", process_cpu() - cpu);
}

/// `splice(2)` is refused, or no pipe can be made, or none larger than the default: no byte is lost.
#[test]
fn copying_where_splicing_is_refused() {
    let _alone = alone();
    for (call, arguments, number) in [
        (libc::SYS_splice, &[][..], libc::EINVAL),
        (libc::SYS_splice, &[], libc::ENOSYS),
        (libc::SYS_splice, &[], libc::EPERM),
        (libc::SYS_pipe2, &[], libc::EMFILE),
        (libc::SYS_pipe2, &[], libc::ENFILE),
        (libc::SYS_fcntl, &[(1, libc::F_SETPIPE_SZ)], libc::EPERM),
    ] {
        let before = open_fds();
        on_a_thread(|| {
            refuse(call, arguments, number);
            let bytes = noise(1, 1_000_003);
            let copied = async_epoll::block_on(async {
                let ((left, a), (b, right)) = (tcp::pair().await, tcp::pair().await);
                let carry = async |mut from: &TcpStream, mut to: &TcpStream| {
                    let mut received = vec![0; bytes.len()];
                    let send = async {
                        from.write_all(&bytes).await?;
                        from.close().await
                    };
                    try_join(send, to.read_exact(&mut received)).await.unwrap();
                    assert!(received == bytes);
                };
                let both = join3(copy_bidirectional(a, b), carry(&left, &right), carry(&right, &left));
                both.await.0.unwrap()
            });
            assert_eq!(copied.unwrap(), (bytes.len() as u64, bytes.len() as u64));
        });
        // The end of the thread has closed the pipes kept for later copies.
        assert_eq!(open_fds(), before);
    }
}

/// The helper does what the tests rely on: the call fails with these arguments on this thread, and nowhere else.
#[test]
fn refuse_concerns_one_thread() {
    let _alone = alone();
    let (mut one, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"x").unwrap();
    one.set_nonblocking(true).unwrap();
    on_a_thread(|| {
        refuse(libc::SYS_recvfrom, &[(0, one.as_raw_fd()), (2, 7)], libc::EXDEV);
        assert_eq!((&one).read(&mut [0; 7]).unwrap_err().raw_os_error(), Some(libc::EXDEV));
        assert_eq!((&one).read(&mut [0; 1]).unwrap(), 1);
    });
    assert_eq!(one.read(&mut [0; 7]).unwrap_err().kind(), ErrorKind::WouldBlock);
}
