//! System calls as strace sees them, and behaviour when strace makes them fail.
//!
//! Ignored by default: the tests need the program `strace` and the right to trace. `.ci/run` installs it and runs them
//! with `cargo test -p tests --test strace -- --ignored`. Each test runs a scenario of this file in a child process
//! under strace. The scenario checks itself, and prints its last line only after success.
//!
//! A fault that can be made without strace also has a test in `faults.rs`, which runs everywhere.

use async_epoll::{ForkMark, Handle, LocalRuntime, Reactor, Source, Timer};
use async_net_lite::server::{Connection, Server, ServerHandle};
use async_net_lite::{
    ConnectOptions, RecvBatch, SendBatch, TcpListener, TcpStream, UdpSocket, copy_bidirectional, unix,
};
use async_timeout::{Timeout, guard, sleep};
use futures::future::FutureExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::{TIME, abstract_name, open_fds, thread_cpu, watchdog};

const SCENARIO: &str = "TEST_STRACE_SCENARIO";
const WELL: &str = "all is well";
const CONNECTIONS: usize = 64;

/// Runs `scenario` of this program under `strace` with `options`. Meanwhile `while_running` reads the output of the
/// scenario. Returns the report of strace.
fn strace(options: &[&str], scenario: &str, while_running: impl FnOnce(&mut dyn BufRead)) -> String {
    let file = std::env::temp_dir().join(format!("strace-{}-{scenario}-{:?}", std::process::id(), Instant::now()));
    let mut child = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&file)
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "scenario", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(SCENARIO, scenario)
        .stdout(Stdio::piped())
        .spawn()
        .expect("strace is installed");
    let mut output = BufReader::new(child.stdout.take().unwrap());
    while_running(&mut output);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let status = child.wait().unwrap();
    let report = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    assert!(status.success() && rest.contains(WELL), "{scenario} under {options:?}: {status}\n{rest}");
    report
}

/// Runs `scenario` with one kind of fault, such as `accept4:error=EMFILE:when=3`, and checks that the fault has
/// happened.
fn inject(fault: &str, scenario: &str) {
    println!("{scenario} with {fault}");
    let calls = fault.split(':').next().unwrap();
    // A call with faults has to be traced: `trace=none` would turn the injection off.
    let report = strace(&["-e", &format!("trace={calls}"), "-e", &format!("inject={fault}")], scenario, |_| ());
    assert!(report.contains("(INJECTED)"), "{fault} never happened to {scenario}");
}

/// Returns the number of calls by name, from the report of `strace -c`.
fn counts(report: &str) -> BTreeMap<String, usize> {
    report
        .lines()
        .filter_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let calls = columns.get(3)?.parse().ok()?;
            columns.last().filter(|name| **name != "total").map(|name| ((*name).to_owned(), calls))
        })
        .collect()
}

/// Not a test: the child process of the tests below.
#[test]
#[ignore = "the other tests of this file run it under strace"]
fn scenario() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let _watchdog = watchdog(Duration::from_secs(120));
    match scenario.as_str() {
        "echo" => echo(),
        "everything" => everything(),
        "datagrams" => datagrams(),
        "unix" => unix_sockets(),
        "registering fails" => registering_fails(),
        "registering once fails" => registering_once_fails(),
        "registering in order" => registering_in_order(),
        "deregistering fails" => deregistering_fails(),
        "setting to non-blocking fails" => setting_to_nonblocking_fails(),
        "closing fails" => closing_fails(),
        "accepting fails" => accepting_fails(100),
        "accepting a thousand fails" => accepting_fails(1000),
        "draining fails" => draining_fails(),
        "a listener fails while draining" => a_listener_fails_while_draining(),
        "registering a listener fails" => registering_a_listener_fails(),
        "serving fails" => serving_fails(),
        "waiting for bytes" => waiting_for_bytes(),
        "connecting with fast open" => connecting_with_fast_open(),
        "waiting fails" => waiting_fails(),
        "a notified wait fails" => a_notified_wait_fails(),
        "making fails" => making_fails(),
        "closing" => closing(),
        "forking" => forking(),
        "counting" => counting(),
        "no helper thread" => no_helper_thread(),
        "copying" => copying(),
        other => panic!("no scenario {other}"),
    }
    println!("{WELL}");
}

/// Runs an echo server for [`CONNECTIONS`] connections.
fn echo() {
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    runtime
        .run_until(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("\n{}", listener.local_addr().unwrap().port());
            let mut incoming = listener.incoming();
            for _ in 0..CONNECTIONS {
                let mut stream = incoming.next().await.unwrap().unwrap();
                let echo = async move {
                    let mut buffer = [0; 4096];
                    loop {
                        match stream.read(&mut buffer).await.unwrap() {
                            0 => return,
                            length => stream.write_all(&buffer[..length]).await.unwrap(),
                        }
                    }
                };
                spawner.spawn_local(echo).unwrap();
            }
        })
        .unwrap();
    runtime.run().unwrap();
}

/// Sends 64 bytes on each of [`CONNECTIONS`] connections and reads them back, `rounds` times. Returns the number of
/// calls by name.
fn calls_of_an_echo_server(rounds: usize) -> BTreeMap<String, usize> {
    let report = strace(&["-c"], "echo", |output| {
        let port: u16 = loop {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).unwrap(), 0);
            if let Ok(port) = line.trim().parse() {
                break port;
            }
        };
        let mut clients: Vec<_> =
            (0..CONNECTIONS).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let mut buffer = [7; 64];
        for _ in 0..rounds {
            clients.iter_mut().for_each(|client| client.write_all(&buffer).unwrap());
            clients.iter_mut().for_each(|client| client.read_exact(&mut buffer).unwrap());
        }
    });
    counts(&report)
}

/// Bug B22; trial 28: with 64 connections, at most 2.2 system calls per request (the goal is 2.10), and one `epoll_ctl`
/// per connection.
#[test]
#[ignore = "needs strace"]
fn system_calls_of_an_echo_server() {
    let _watchdog = watchdog(Duration::from_secs(120));
    let (few, many) = (calls_of_an_echo_server(100), calls_of_an_echo_server(400));
    let requests = 300 * CONNECTIONS;
    let total = |calls: &BTreeMap<String, usize>| calls.values().sum::<usize>();
    let per_request = (total(&many) - total(&few)) as f64 / requests as f64;
    println!(
        "{per_request:.3} system calls per request; epoll_ctl {} for {CONNECTIONS} connections",
        many["epoll_ctl"]
    );
    println!("{many:?}");
    assert!(per_request <= 2.2, "{per_request}");
    // One call for each connection, one for the listener, one for the eventfd; none to deregister.
    assert!(many["epoll_ctl"] <= CONNECTIONS + 2, "{}", many["epoll_ctl"]);
}

/// Many operations on one thread: connections, data both ways, timers, wakes from another thread. The result must be
/// the same with every fault.
fn everything() {
    let before = open_fds();
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    let threads = runtime
        .run_until(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut incoming = listener.incoming();
            let inner = spawner.clone();
            spawner
                .spawn_local(async move {
                    for _ in 0..10 {
                        let stream = incoming.next().await.unwrap().unwrap();
                        let echo = async move { futures::io::copy(&stream, &mut &stream).await.map(drop).unwrap() };
                        inner.spawn_local(echo).unwrap();
                    }
                })
                .unwrap();
            let handle = Handle::current().unwrap();
            let mut threads = Vec::new();
            for _ in 0..10 {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for size in [1, 64, 5000, 300_000] {
                    let sent = vec![size as u8; size];
                    let mut received = vec![0; size];
                    let (mut reader, mut writer) = (&stream, &stream);
                    let (read, written) = futures::join!(reader.read_exact(&mut received), writer.write_all(&sent));
                    read.unwrap();
                    written.unwrap();
                    assert_eq!(sent, received);
                }
                // Attempts, peeking, and reading.
                assert_eq!(stream.try_write(b"attempt").unwrap(), 7);
                assert!(stream.peek(&mut [0; 16]).await.unwrap() > 0);
                stream.read_exact(&mut [0; 7]).await.unwrap();
                assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
                // By `sendmsg` and `readv`.
                let (one, two, mut first, mut second) = ([1; 100], [2; 5000], [0; 300], [0; 4800]);
                let sent = stream.write_vectored(&[IoSlice::new(&one), IoSlice::new(&two)]).await.unwrap();
                assert_eq!(sent, 5100, "there is room");
                let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
                let received = stream.read_vectored(&mut parts).await.unwrap();
                let rest = vec![0; sent - received];
                stream.read_exact(&mut rest.clone()).await.unwrap();
                assert!(first[..100] == one && first[100] == 2);
                stream.close().await.unwrap();
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
                through_files(300_000).await;
                let deadline = Instant::now() + Duration::from_micros(1500);
                Timer::at(deadline, &handle).await.unwrap();
                assert!(Instant::now() >= deadline, "early");
                let (sender, receiver) = futures::channel::oneshot::channel();
                threads.push(std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(1));
                    sender.send(()).unwrap();
                }));
                receiver.await.unwrap();
            }
            threads
        })
        .unwrap();
    runtime.run().unwrap();
    let stats = handle.stats();
    assert_eq!((stats.live_tasks, stats.sources, stats.timers, stats.task_panics), (0, 0, 0, 0));
    drop((runtime, handle));
    // Until a thread has ended, it may hold the waker it has called, and the waker keeps the reactor's descriptors
    // open.
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(open_fds(), before);
}

/// Sends bytes by `write` and receives them by `read`, the calls used for files.
async fn through_files(length: usize) {
    let (reader, writer) = UnixStream::pair().unwrap();
    let file = |stream: UnixStream| Source::new(File::from(OwnedFd::from(stream))).unwrap();
    let (reader, mut writer) = (file(reader), file(writer));
    let sent: Vec<u8> = (0..length).map(|number| number as u8).collect();
    let write = async {
        writer.write_all(&sent).await.unwrap();
        drop(writer);
    };
    let mut received = Vec::new();
    let (copied, ()) = futures::join!(futures::io::copy(reader, &mut received), write);
    assert_eq!(copied.unwrap(), length as u64);
    assert_eq!(received, sent);
}

/// Sends and receives datagrams, by every system call for this. The result must be the same if the calls are
/// interrupted. It must also be the same if the first of each finds no room: the kernel has reported nothing by then,
/// so the sender waits for the next event.
fn datagrams() {
    for call in 0..4 {
        async_epoll::block_on(async {
            let (left, right) =
                (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
            let to = right.local_addr().unwrap();
            left.connect(to).await.unwrap();
            let (mut buffer, mut incoming) = ([0; 8], RecvBatch::new(4, 8).unwrap());
            let mut outgoing = SendBatch::new(4, 8).unwrap();
            for number in 0..10 {
                let send = async {
                    match call {
                        0 => left.send(&[number]).await.unwrap(),
                        1 => left.send_to(&[number], to).await.unwrap(),
                        _ => {
                            outgoing.push(&[number]).unwrap();
                            left.send_batch(&mut outgoing).await.unwrap()
                        }
                    }
                };
                let receive = async {
                    match call {
                        0 => right.recv(&mut buffer).await.map(|length| buffer[..length].to_vec()).unwrap(),
                        1 => right.recv_from(&mut buffer).await.map(|(length, _)| buffer[..length].to_vec()).unwrap(),
                        2 => right.recv_datagram(&mut buffer).await.unwrap().bytes.to_vec(),
                        _ => {
                            right.recv_batch(&mut incoming).await.unwrap();
                            incoming.iter().flat_map(|datagram| datagram.bytes).copied().collect()
                        }
                    }
                };
                let (received, sent) = futures::join!(receive, send);
                assert_eq!((received, sent), (vec![number], 1));
            }
        })
        .unwrap();
    }
}

/// Uses Unix sockets, by every call that connects them or transfers data.
fn unix_sockets() {
    let before = open_fds();
    let mut runtime = LocalRuntime::new().unwrap();
    runtime
        .run_until(async {
            let (name, to) = (abstract_name("strace"), abstract_name("strace-datagrams"));
            let listener = unix::UnixListener::bind_addr(&name).unwrap();
            let mut incoming = listener.incoming();
            let file = File::open("/dev/null").unwrap();
            for round in 0..10_u8 {
                let client = unix::UnixStream::connect_addr(&name).await.unwrap();
                let server = incoming.next().await.unwrap().unwrap();
                for size in [1, 64, 5000, 300_000] {
                    let (sent, mut received) = (vec![round; size], vec![0; size]);
                    let (mut reader, mut writer) = (&server, &client);
                    let (read, written) = futures::join!(reader.read_exact(&mut received), writer.write_all(&sent));
                    read.unwrap();
                    written.unwrap();
                    assert_eq!(sent, received);
                }
                let (mut buffer, mut one, mut two) = ([0; 16], [0; 2], [0; 4]);
                assert_eq!(client.try_write(b"attempt").unwrap(), 7);
                assert_eq!(server.try_read(&mut buffer).unwrap(), 7);
                assert_eq!((&client).write_vectored(&[IoSlice::new(b"abc"), IoSlice::new(b"def")]).await.unwrap(), 6);
                let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
                assert_eq!((&server).read_vectored(&mut parts).await.unwrap(), 6);
                assert_eq!(client.send_with_fds(b"fd", &[file.as_fd()]).await.unwrap(), 2);
                let (length, fds) = server.recv_with_fds(&mut buffer, 1).await.unwrap();
                assert_eq!((length, fds.len()), (2, 1));
                (&client).close().await.unwrap();
                assert_eq!((&server).read(&mut buffer).await.unwrap(), 0);
            }
            let (receiver, sender) =
                (unix::UnixDatagram::bind_addr(&to).unwrap(), unix::UnixDatagram::unbound().unwrap());
            sender.connect_addr(&to).unwrap();
            for _ in 0..10 {
                let mut buffer = [0; 16];
                assert_eq!(sender.send(b"one").await.unwrap(), 3);
                assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 3);
                assert_eq!(sender.send_to_addr(b"four", &to).await.unwrap(), 4);
                assert_eq!(receiver.recv_from(&mut buffer).await.unwrap().0, 4);
                assert_eq!(sender.try_send_to_addr(b"seven", &to).unwrap(), 5);
                assert_eq!(receiver.try_recv(&mut buffer).unwrap(), 5);
                assert_eq!(sender.send_with_fds(b"fd", &[file.as_fd()]).await.unwrap(), 2);
                assert_eq!(receiver.recv_message(&mut buffer, 1).await.unwrap().fds.len(), 1);
            }
        })
        .unwrap();
    let stats = runtime.handle().stats();
    assert_eq!((stats.sources, stats.timers), (0, 0));
    drop(runtime);
    assert_eq!(open_fds(), before);
}

/// A socket without room waits for room: the first of each sending call returns `EAGAIN`.
#[test]
#[ignore = "needs strace"]
fn datagrams_wait_for_room() {
    for call in ["sendto", "sendmmsg"] {
        inject(&format!("{call}:error=EAGAIN:when=1"), "datagrams");
    }
}

/// Bug G5, I1, C20; trial 4: every system call that may be interrupted is interrupted now and then, without a visible
/// effect.
#[test]
#[ignore = "needs strace"]
fn interrupted_calls_do_not_show() {
    let calls = [
        "epoll_wait,epoll_pwait2",
        "recvfrom",
        "sendto",
        "readv",
        "sendmsg",
        "accept4",
        "connect",
        // The calls to the eventfd as well: for each thread that wakes the loop, the first call is interrupted.
        "write",
    ];
    for call in calls {
        inject(&format!("{call}:error=EINTR:when=1+2"), "everything");
    }
    for call in ["connect", "recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmmsg", "epoll_wait,epoll_pwait2"] {
        inject(&format!("{call}:error=EINTR:when=1+2"), "datagrams");
    }
    for call in ["bind", "connect", "accept4", "recvfrom", "recvmsg", "readv", "sendto", "sendmsg"] {
        inject(&format!("{call}:error=EINTR:when=1+2"), "unix");
    }
    // The first hundred calls are left alone: the dynamic loader does not expect interruptions.
    inject("read:error=EINTR:when=101+2", "everything");
}

/// Bug C21: kernels, sandboxes and valgrind without `epoll_pwait2`.
#[test]
#[ignore = "needs strace"]
fn without_epoll_pwait2() {
    for error in ["ENOSYS", "EPERM"] {
        inject(&format!("epoll_pwait2:error={error}"), "everything");
    }
}

/// Bug C21: without an eventfd, a pipe ends the sleeps.
#[test]
#[ignore = "needs strace"]
fn without_eventfd() {
    for error in ["ENOSYS", "EPERM"] {
        inject(&format!("eventfd2:error={error}"), "everything");
    }
}

/// Found 8: without `MADV_WIPEONFORK`, a handler of `pthread_atfork` tells a forked child.
#[test]
#[ignore = "needs strace"]
fn without_wipe_on_fork() {
    inject("madvise:error=EINVAL", "everything");
    inject("madvise:error=EINVAL", "forking");
}

/// Forks, and forks in the child.
fn forking() {
    let (mark, mut reactor) = (ForkMark::new(), Reactor::new().unwrap());
    let told = tests::fork_within(Duration::from_secs(10), || {
        let own = ForkMark::new();
        assert!(mark.is_child() && !own.is_child() && own.number() > mark.number());
        assert!(reactor.wait(None).unwrap_err().to_string().contains("forked child"));
        Reactor::new().unwrap().wait(Some(Duration::from_millis(1))).unwrap();
        tests::fork_within(Duration::from_secs(5), || {
            assert!(mark.is_child() && own.is_child() && !ForkMark::new().is_child());
            "well".into()
        })
        .unwrap()
    });
    assert_eq!(told.unwrap(), "well");
    assert!(!mark.is_child());
    reactor.wait(Some(Duration::from_millis(1))).unwrap();
}

/// A reactor that cannot be made returns the kernel's error, and leaves no descriptor open. The second attempt
/// succeeds.
fn making_fails() {
    let before = open_fds();
    let error = Reactor::new().unwrap_err();
    let reasons =
        [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSYS, libc::EPERM, libc::ENOSPC, libc::ENODEV, libc::EINVAL];
    assert!(error.raw_os_error().is_some_and(|reason| reasons.contains(&reason)), "{error:?}");
    assert_eq!(open_fds(), before, "left open");
    let error = LocalRuntime::new().map(drop).unwrap_err();
    assert!(error.to_string().contains("os error"), "{error}");
    assert_eq!(open_fds(), before, "left open");
    let mut reactor = Reactor::new().unwrap();
    reactor.handle().notify();
    reactor.wait(None).unwrap();
}

/// Bug I3: a reactor that cannot be made leaves nothing, whichever call fails: because descriptors or memory are
/// exhausted, or because a sandbox does not know the call.
#[test]
#[ignore = "needs strace"]
fn reactors_that_cannot_be_made() {
    for (call, reasons) in [
        ("epoll_create1", ["EMFILE", "ENFILE", "ENOMEM", "ENOSYS", "EPERM"]),
        ("eventfd2", ["EMFILE", "ENFILE", "ENOMEM", "ENODEV", "EINVAL"]),
        ("epoll_ctl", ["ENOMEM", "ENOSPC", "ENOSYS", "EPERM", "ENFILE"]),
    ] {
        for reason in reasons {
            inject(&format!("{call}:error={reason}:when=1..2"), "making fails");
        }
    }
}

/// Closes sources in every possible way.
fn closing() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    for _ in 0..10 {
        // Dropped; taken out and then dropped; refused, because the descriptor is already registered.
        let (one, other) = UnixStream::pair().unwrap();
        drop(Source::with_handle(&one, &handle).unwrap());
        let source = Source::with_handle(&one, &handle).unwrap();
        assert!(Source::with_handle(&one, &handle).is_err());
        drop(source);
        drop(Source::with_handle(one, &handle).unwrap());
        drop(Source::with_handle(other, &handle).unwrap().into_inner().unwrap());
        // Dropped with the task that waits for the source; and dropped by a waker, while the source's own event is
        // dispatched.
        let (one, mut other) = UnixStream::pair().unwrap();
        let waits = async move {
            let mut source = Source::new(one).unwrap();
            assert_eq!(source.read(&mut [0]).await.unwrap(), 1);
        };
        spawner.spawn_local(waits).unwrap();
        runtime.run_until(tests::yield_now()).unwrap();
        other.write_all(b"x").unwrap();
        runtime.run().unwrap();
        let source = Source::with_handle(other, &handle).unwrap();
        let shelf = std::sync::Mutex::new(None);
        let waker = {
            let shelf = std::sync::Arc::new(shelf);
            let taken = std::sync::Arc::clone(&shelf);
            let waker = tests::waker_fn(move || drop(taken.lock().unwrap().take()));
            let _ = source.poll_readable(&mut std::task::Context::from_waker(&waker));
            *shelf.lock().unwrap() = Some(source);
            waker
        };
        runtime.run_until(tests::yield_now()).unwrap();
        waker.wake();
    }
    assert_eq!(handle.stats().sources, 0);
}

/// Reads the order of `epoll_ctl` and `close` from a report of strace. A descriptor that is deregistered must be
/// registered at that time: otherwise its number may already belong to another file. Returns how many descriptors were
/// deregistered, and how many were closed while they were registered.
fn order_of_calls(report: &str) -> (usize, usize) {
    let (mut deregistered, mut closed) = (0, 0);
    let mut registered = std::collections::BTreeSet::new();
    for line in report.lines().filter(|line| !line.contains(" = -1 ")) {
        // "1234 epoll_ctl(3, EPOLL_CTL_ADD, 5, …) = 0". The line of a call interrupted by another thread begins in the
        // same way.
        let Some((call, rest)) = line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('(')) else {
            continue;
        };
        let arguments: Vec<_> = rest.split([',', ')', ' ']).filter(|part| !part.is_empty()).collect();
        match (call, &arguments[..]) {
            ("epoll_ctl", [epoll, "EPOLL_CTL_ADD", fd, ..]) => {
                assert!(registered.insert((*epoll, *fd)), "twice: {line}");
            }
            ("epoll_ctl", [epoll, "EPOLL_CTL_DEL", fd, ..]) => {
                assert!(registered.remove(&(*epoll, *fd)), "closed before: {line}\n{report}");
                deregistered += 1;
            }
            ("close", [fd, ..]) => {
                // Closing an epoll instance removes all its registrations.
                registered.retain(|(epoll, _)| epoll != fd);
                let before = registered.len();
                registered.retain(|(_, registered)| registered != fd);
                closed += before - registered.len();
            }
            _ => {}
        }
    }
    (deregistered, closed)
}

/// The reader of reports below notices a wrong order.
#[test]
fn a_wrong_order_is_noticed() {
    let add = "17 epoll_ctl(3, EPOLL_CTL_ADD, 5, {events=EPOLLIN, data=0x1}) = 0\n";
    let (delete, close) = ("17 epoll_ctl(3, EPOLL_CTL_DEL, 5, NULL) = 0\n", "17 close(5) = 0\n");
    assert_eq!(order_of_calls(&[add, delete, close].concat()), (1, 0));
    assert_eq!(order_of_calls(&[add, close].concat()), (0, 1));
    let wrong = [add, close, delete].concat();
    assert!(std::panic::catch_unwind(|| order_of_calls(&wrong)).is_err());
}

/// Bug A9: a source is deregistered before its descriptor is closed, never after.
#[test]
#[ignore = "needs strace"]
fn deregistering_comes_before_closing() {
    let calls = ["-e", "trace=epoll_ctl,close"];
    let (deregistered, closed) = order_of_calls(&strace(&calls, "closing", |_| ()));
    // Six descriptors per round.
    assert_eq!((deregistered, closed), (60, 0));
    // Sockets without a duplicate are deregistered by closing them, and not a second time afterwards. Only the two
    // files of each of the ten rounds are deregistered explicitly.
    let (deregistered, closed) = order_of_calls(&strace(&calls, "everything", |_| ()));
    assert!(deregistered == 20 && closed > 20, "{deregistered} {closed}");
}

/// Dispatches each event once, though every second wait is interrupted and leaves the old events in the array.
fn counting() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (mut peer, stream) = UnixStream::pair().unwrap();
    let source = Source::with_handle(stream, &handle).unwrap();
    assert_eq!(reactor.wait(None).unwrap(), 1, "writable");
    let (counter, waker) = tests::CountingWaker::new();
    for round in 1..=100 {
        let take = |mut stream: &UnixStream| stream.read(&mut [0; 8]);
        while source.try_io(async_epoll::Interest::READABLE, take).is_ok() {}
        assert!(source.poll_readable(&mut std::task::Context::from_waker(&waker)).is_pending());
        peer.write_all(b"x").unwrap();
        assert_eq!(reactor.wait(None).unwrap(), 1);
        for timeout in [Duration::ZERO, Duration::ZERO, Duration::from_micros(100)] {
            assert_eq!(reactor.wait(Some(timeout)).unwrap(), 0, "told again");
        }
        assert_eq!((counter.count(), handle.stats().events), (round, 1 + round as u64));
    }
}

/// Bug B18: after an interrupted wait, the array holds only old events.
#[test]
#[ignore = "needs strace"]
fn interrupted_waits_replay_nothing() {
    for first in [1, 2] {
        inject(&format!("epoll_wait,epoll_pwait2:error=EINTR:when={first}+2"), "counting");
    }
}

/// One source cannot be registered. The others work.
fn registering_fails() {
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let before = open_fds();
    runtime
        .run_until(async {
            let mut failed = 0;
            let mut sources = Vec::new();
            for _ in 0..10 {
                let (stream, peer) = UnixStream::pair().unwrap();
                match Source::new(stream) {
                    Ok(source) => sources.push((source, peer)),
                    Err(error) => {
                        // Where the kernel's error text would mislead, ours says more.
                        let words = error.to_string();
                        match error.error.kind() {
                            ErrorKind::StorageFull => assert!(words.contains("epoll/max_user_watches"), "{words}"),
                            kind => assert_eq!(kind, ErrorKind::OutOfMemory, "{words}"),
                        }
                        assert!(error.source.peer_addr().is_ok(), "given back in working order");
                        failed += 1;
                    }
                }
            }
            assert_eq!((failed, sources.len(), Handle::current().unwrap().stats().sources), (1, 9, 9));
            for (source, peer) in &mut sources {
                peer.write_all(b"x").unwrap();
                assert_eq!(source.read(&mut [0]).await.unwrap(), 1);
            }
        })
        .unwrap();
    assert_eq!((handle.stats().sources, open_fds()), (0, before));
}

/// Bug A5, A6, I7; trial 6: no memory, or more than `max_user_watches`. The caller gets an error and the descriptor.
#[test]
#[ignore = "needs strace"]
fn registrations_that_fail() {
    // The first call is for the eventfd.
    for k in 2..=11 {
        let error = if k % 2 == 0 { "ENOSPC" } else { "ENOMEM" };
        inject(&format!("epoll_ctl:error={error}:when={k}"), "registering fails");
    }
}

/// Sockets that register when they first wait. One of them cannot, and does so at its next operation.
fn registering_once_fails() {
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let before = open_fds();
    runtime
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (mut one, other) = unix::UnixStream::pair().unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut errors = Vec::new();
            for _ in 0..3 {
                let accepted = listener.accept().now_or_never().map(|accepted| accepted.map(drop));
                let read = one.read(&mut [0]).now_or_never().map(|read| read.map(drop));
                let received = socket.recv(&mut [0]).now_or_never().map(|received| received.map(drop));
                for result in [accepted, read, received].into_iter().flatten() {
                    let error = result.unwrap_err();
                    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
                    let number = error.raw_os_error().or(cause.and_then(std::io::Error::raw_os_error));
                    errors.push(number.expect("the number of the kernel's error"));
                }
            }
            assert!(matches!(errors[..], [libc::ENOSPC | libc::ENOMEM]), "{errors:?}");
            assert_eq!(handle.stats().sources, 3);
            let address_of_socket = socket.local_addr().unwrap();
            let thread = std::thread::spawn(move || {
                let client = std::net::TcpStream::connect(address).unwrap();
                let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                sender.send_to(b"x", address_of_socket).unwrap();
                client
            });
            let bytes = async { (&other).write_all(b"x").await.unwrap() };
            let (accepted, received, ()) =
                futures::join!(listener.accept(), async { socket.recv(&mut [0]).await }, bytes);
            assert_eq!((accepted.is_ok(), received.unwrap()), (true, 1));
            assert_eq!(one.read(&mut [0]).await.unwrap(), 1);
            drop(thread.join().unwrap());
        })
        .unwrap();
    assert_eq!((handle.stats().sources, open_fds()), (0, before));
}

/// Found 12a: one ENOSPC or ENOMEM of `epoll_ctl(2)` when a socket first waits. The operation fails with an error that
/// has the number, and the next operation registers.
#[test]
#[ignore = "needs strace"]
fn registrations_that_fail_once() {
    // The first call is for the eventfd, then one for each socket.
    for k in 2..=4 {
        for error in ["ENOSPC", "ENOMEM"] {
            inject(&format!("epoll_ctl:error={error}:when={k}"), "registering once fails");
        }
    }
}

/// Drops a source on a new thread, whose first `epoll_ctl(2)` is slow, and makes a new source of the same descriptor
/// meanwhile.
fn registering_in_order() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (stream, mut peer) = UnixStream::pair().unwrap();
    let stream = std::sync::Arc::new(stream);
    runtime
        .run_until(async {
            for ends_by_drop in [true, false] {
                let first = Source::new(std::sync::Arc::clone(&stream)).unwrap();
                let thread =
                    std::thread::spawn(
                        move || {
                            if ends_by_drop { drop(first) } else { drop(first.into_inner().unwrap()) }
                        },
                    );
                let second = loop {
                    match Source::new(std::sync::Arc::clone(&stream)) {
                        Ok(second) => break second,
                        Err(refused) => assert_eq!(refused.error.kind(), ErrorKind::AlreadyExists, "{refused}"),
                    }
                };
                thread.join().unwrap();
                // The first event is "writable". Then the source is empty, and the kernel has to report the byte.
                second.writable().await.unwrap();
                assert!(second.read_with(|stream| (&**stream).read(&mut [0])).now_or_never().is_none());
                peer.write_all(b"x").unwrap();
                let read = second.read_with(|stream| (&**stream).read(&mut [0]));
                assert_eq!(Timeout::new(read, Duration::from_secs(5)).await.expect("no event").unwrap(), 1);
            }
        })
        .unwrap();
}

/// Found 2: a slow `EPOLL_CTL_DEL` on one thread does not delete the entry that another thread has added meanwhile.
#[test]
#[ignore = "needs strace"]
fn registrations_in_order() {
    let report = strace(
        &["-e", "trace=epoll_ctl", "-e", "inject=epoll_ctl:delay_enter=100000:when=1"],
        "registering in order",
        |_| (),
    );
    assert!(report.contains("(DELAYED)"), "{report}");
}

/// Takes five sources out, which the kernel refuses for one of them, and registers them again.
fn deregistering_fails() {
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let before = open_fds();
    runtime
        .run_until(async {
            let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
            let sources: Vec<_> = pairs.iter().map(|(stream, _)| Source::new(stream).unwrap()).collect();
            for source in sources {
                source.into_inner().unwrap();
            }
            assert_eq!(Handle::current().unwrap().stats().sources, 0);
            let sources: Vec<_> = pairs.iter().map(|(stream, _)| Source::new(stream).unwrap()).collect();
            for (source, (_, peer)) in sources.iter().zip(&pairs) {
                assert!(source.readable().now_or_never().is_none());
                (&*peer).write_all(b"x").unwrap();
                source.readable().await.unwrap();
            }
        })
        .unwrap();
    assert_eq!((handle.stats().sources, open_fds()), (0, before));
}

/// Bug A5, A6; trial 6: the same for `EPOLL_CTL_DEL`. An entry left in the kernel does not prevent a new registration.
#[test]
#[ignore = "needs strace"]
fn deregistrations_that_fail() {
    // The eventfd and five sources are registered, then five sources are deregistered.
    for k in 7..=11 {
        inject(&format!("epoll_ctl:error=ENOMEM:when={k}"), "deregistering fails");
    }
}

/// One of five descriptors cannot be made non-blocking.
fn setting_to_nonblocking_fails() {
    // On a new thread, so that these are its first calls of `fcntl`: the test harness uses `fcntl` as well.
    let thread = std::thread::spawn(|| {
        let reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let before = open_fds();
        let (mut sources, mut failed) = (Vec::new(), 0);
        for _ in 0..5 {
            let (stream, peer) = UnixStream::pair().unwrap();
            match Source::with_handle(stream, &handle) {
                Ok(source) => sources.push((source, peer)),
                Err(error) => {
                    assert_eq!(error.error.raw_os_error(), Some(libc::EINVAL));
                    (&error.source).write_all(b"given back").unwrap();
                    failed += 1;
                }
            }
        }
        assert_eq!((failed, handle.stats().sources), (1, 4));
        drop(sources);
        assert_eq!((handle.stats().sources, open_fds()), (0, before));
    });
    thread.join().unwrap();
}

/// Bug A6: `fcntl` fails at each of its ten calls, two per descriptor. The descriptor is returned.
#[test]
#[ignore = "needs strace"]
fn descriptors_that_cannot_be_made_nonblocking() {
    for k in 1..=10 {
        inject(&format!("fcntl:error=EINVAL:when={k}"), "setting to non-blocking fails");
    }
}

/// Every second `close` fails, and strace prevents the actual call. A descriptor that stays open stays registered if
/// its deregistration was left to `close`; its events must wake no task.
fn closing_fails() {
    // `close` works up to here: the dynamic loader does not continue otherwise.
    for _ in 0..UNHARMED_CLOSES {
        let _ = File::open("/dev/null").unwrap();
    }
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (mut peers, before) = (Vec::new(), open_fds());
    for lazy in [false, true] {
        for _ in 0..10 {
            let (stream, peer) = UnixStream::pair().unwrap();
            stream.set_nonblocking(true).unwrap();
            let source =
                if lazy { Source::lazy(stream, &handle) } else { Source::with_handle(stream, &handle).unwrap() };
            assert!(source.readable().now_or_never().is_none());
            while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
            drop(source);
            peers.push(peer);
        }
    }
    assert_eq!(handle.stats().sources, 0);
    let left = open_fds() - before - peers.len();
    // `open_fds` itself closes a directory, which may fail and stay open.
    assert!((9..=12).contains(&left), "{left} are still open");
    let (events, begin, cpu) = (handle.stats().events, Instant::now(), thread_cpu());
    // Some peers are still connected, but no task will read.
    assert!(peers.iter().filter(|peer| (&**peer).write_all(b"x").is_ok()).count() >= 9);
    assert_eq!(reactor.wait(Some(Duration::from_millis(100))).unwrap(), 0);
    assert!(begin.elapsed() >= Duration::from_millis(100) && thread_cpu() - cpu < Duration::from_millis(50));
    assert_eq!(handle.stats().events, events);
    // Other sources still work.
    let (stream, peer) = UnixStream::pair().unwrap();
    let source = Source::with_handle(stream, &handle).unwrap();
    (&peer).write_all(b"x").unwrap();
    while !source.readiness().is_readable() {
        reactor.wait(None).unwrap();
    }
}

/// The number of calls of `close` before the first failure.
const UNHARMED_CLOSES: usize = 30;

/// Bug I1; trial 4: a failing `close` has no visible effect.
#[test]
#[ignore = "needs strace"]
fn closes_that_fail() {
    // Not `EIO`: std itself panics when closing a directory fails with it.
    inject(&format!("close:error=EINTR:when={UNHARMED_CLOSES}+2"), "closing fails");
}

/// Accepts this number of clients, whatever `accept4` returns in between.
fn accepting_fails(clients: usize) {
    async_epoll::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = listener.incoming();
        let (begin, cpu) = (Instant::now(), thread_cpu());
        for _ in 0..clients {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            client.write_all(b"x").unwrap();
            let mut stream = incoming.next().await.expect("the stream never ends").unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
        }
        println!("{:?}, CPU {:?}", begin.elapsed(), thread_cpu() - cpu);
    })
    .unwrap();
}

/// Errors of `accept4` that concern only one connection.
const OF_ONE_CONNECTION: [&str; 16] = [
    "ECONNABORTED",
    "EPROTO",
    "ENETDOWN",
    "EHOSTDOWN",
    "ENONET",
    "EHOSTUNREACH",
    "EOPNOTSUPP",
    "ENETUNREACH",
    "EPERM",
    "EINTR",
    "ENOPROTOOPT",
    "EACCES",
    "ECONNRESET",
    "ETIMEDOUT",
    "ESOCKTNOSUPPORT",
    "EPROTONOSUPPORT",
];

/// Bug F2; trial 5: a thousand errors of each kind between a thousand clients, including shortages. All clients are
/// served.
#[test]
#[ignore = "needs strace"]
fn a_thousand_accept_errors() {
    for error in OF_ONE_CONNECTION.iter().chain(&["ENOBUFS", "ENOMEM"]) {
        // Every second call.
        let fault = format!("inject=accept4:error={error}:when=1+2");
        let report = strace(&["-e", "trace=accept4", "-e", &fault], "accepting a thousand fails", |_| ());
        let injected = report.matches("(INJECTED)").count();
        assert!(injected >= 1000, "{injected} times {error}");
    }
}

/// Bug F2; trial 5: errors of one connection are skipped, and shortages are waited out.
#[test]
#[ignore = "needs strace"]
fn accept_errors_do_not_end_the_stream() {
    for error in OF_ONE_CONNECTION {
        inject(&format!("accept4:error={error}:when=1+3"), "accepting fails");
    }
    // A thousand in a row.
    inject("accept4:error=ECONNABORTED:when=1..1000", "accepting fails");
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENOSR", "ENOSPC"] {
        inject(&format!("accept4:error={error}:when=3+20"), "accepting fails");
    }
}

/// Returns a server that was told to stop before its first poll, and clients in the backlog of its listener.
fn draining_server(runtime: &LocalRuntime, clients: usize) -> (Server, ServerHandle, Vec<std::net::TcpStream>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = |_| {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(b"x").unwrap();
        client
    };
    let clients = (0..clients).map(connect).collect();
    let handler = async |mut connection: Connection| {
        let mut byte = [0];
        connection.read_exact(&mut byte).await?;
        connection.write_all(&byte).await
    };
    let listener = TcpListener::from_std(listener, &runtime.handle()).unwrap();
    let server = Server::builder().listen(listener, handler).linger(0, Duration::ZERO);
    let handle = server.handle();
    (server, handle, clients)
}

/// Drains a backlog of a hundred clients, whatever `accept4` returns in between.
fn draining_fails() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (server, handle, clients) = draining_server(&runtime, 100);
    let serve = server.serve(&runtime.spawner());
    handle.stop();
    let (begin, cpu) = (Instant::now(), thread_cpu());
    let report = runtime.run_until(serve).unwrap().unwrap();
    assert_eq!((report.accepted, report.served, report.refused), (100, 100, 0));
    println!("{:?}, CPU {:?}", begin.elapsed(), thread_cpu() - cpu);
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 1);
    }
}

/// Drains a backlog until the listener fails: the clients that were taken are served, and the error is returned.
fn a_listener_fails_while_draining() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (server, handle, clients) = draining_server(&runtime, 100);
    let serve = server.serve(&runtime.spawner());
    handle.stop();
    let error = runtime.run_until(serve).unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(9), "EBADF: {error}");
    let report = handle.stats();
    assert_eq!((report.accepted, report.served, report.active), (49, 49, 0));
    let served = clients.into_iter().filter_map(|mut client| client.read(&mut [0]).ok()).filter(|len| *len == 1);
    assert_eq!(served.count(), 49);
}

/// A server that drains its backlog skips errors of single connections and waits out shortages; an error of the listener ends
/// the drain of its backlog, and the rest of the stop goes on.
#[test]
#[ignore = "needs strace"]
fn accept_errors_do_not_end_a_drain() {
    for error in OF_ONE_CONNECTION {
        inject(&format!("accept4:error={error}:when=1+3"), "draining fails");
    }
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        inject(&format!("accept4:error={error}:when=3+20"), "draining fails");
    }
    inject("accept4:error=EBADF:when=50", "a listener fails while draining");
}

/// Accepts clients that connect while the listener waits, or tries to.
fn registering_a_listener_fails() {
    async_epoll::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = listener.incoming();
        let cpu = thread_cpu();
        for _ in 0..20 {
            let client = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                std::net::TcpStream::connect(address).unwrap()
            });
            incoming.next().await.expect("the stream never ends").unwrap();
            client.join().unwrap();
        }
        let stats = Handle::current().unwrap().stats();
        assert!(stats.counter("accept_pauses") >= 1 && stats.counter("accept_errors_listener") == 0, "{stats:?}");
        assert_eq!(stats.sources, 1, "registered in the end");
        assert!(thread_cpu() - cpu < Duration::from_millis(200), "it spins");
    })
    .unwrap();
}

/// Found 12a: a listener that cannot be registered, for want of memory or of places in epoll, goes on. It is registered
/// as soon as that is possible.
#[test]
#[ignore = "needs strace"]
fn listeners_that_cannot_be_registered_at_first() {
    for error in ["ENOSPC", "ENOMEM"] {
        // The first call is for the eventfd. Each pause begins with two attempts.
        for when in ["2..3", "2..8"] {
            inject(&format!("epoll_ctl:error={error}:when={when}"), "registering a listener fails");
        }
    }
}

/// Serves five clients that send nothing at first. One connection cannot be registered when it has to wait.
fn serving_fails() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, before) = (runtime.spawner(), open_fds());
    runtime
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut incoming = listener.incoming();
            let (sender, receiver) = futures::channel::mpsc::unbounded();
            let mut clients = Vec::new();
            for _ in 0..5 {
                clients.push(std::net::TcpStream::connect(address).unwrap());
                let mut stream = incoming.next().await.unwrap().unwrap();
                let sender = sender.clone();
                let serve = async move {
                    let result = async {
                        stream.read_exact(&mut [0]).await?;
                        stream.write_all(b"y").await
                    };
                    let _ = sender.unbounded_send(result.await.map_err(|error| error.kind()));
                };
                spawner.spawn_local(serve).unwrap();
                // The connection waits for the first time.
                tests::yield_now().await;
            }
            // The others are served, whatever happens to one of them.
            assert!(incoming.next().now_or_never().is_none());
            for client in &mut clients {
                let _ = client.write_all(b"x");
            }
            drop(sender);
            let results: Vec<_> = receiver.collect().await;
            let failed = results.iter().filter(|result| **result == Err(ErrorKind::OutOfMemory)).count();
            assert_eq!((failed, results.iter().filter(|result| result.is_ok()).count()), (1, 4), "{results:?}");
            let answered: Vec<_> = clients.iter_mut().map(|client| matches!(client.read(&mut [0]), Ok(1))).collect();
            assert_eq!(answered.iter().filter(|answered| **answered).count(), 4, "the fifth has been closed");
        })
        .unwrap();
    assert_eq!((runtime.handle().stats().sources, open_fds()), (0, before));
}

/// Bug F4: a connection that cannot be registered ends. The others are not affected.
#[test]
#[ignore = "needs strace"]
fn connections_that_cannot_be_registered() {
    // The first call is for the eventfd. The listener is registered last.
    for k in 2..=6 {
        inject(&format!("epoll_ctl:error=ENOMEM:when={k}"), "serving fails");
    }
}

/// Connects with an option that the system may refuse.
fn connecting_with_fast_open() {
    let mut runtime = LocalRuntime::new().unwrap();
    runtime
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let options = ConnectOptions::new().fastopen(true);
            options.connect(listener.local_addr().unwrap()).await.unwrap();
        })
        .unwrap();
}

/// If the system does not allow TCP Fast Open, connections are made without it.
#[test]
#[ignore = "needs strace"]
fn without_fast_open() {
    // The first call sets the listener's `SO_REUSEADDR`.
    inject("setsockopt:error=EOPNOTSUPP:when=2", "connecting with fast open");
}

/// Polls an idle stream a hundred times, by every function that reads.
fn waiting_for_bytes() {
    let mut runtime = LocalRuntime::new().unwrap();
    runtime
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 16];
            for _ in 0..100 {
                assert!(server.read(&mut buffer).now_or_never().is_none());
                assert!(server.peek(&mut buffer).now_or_never().is_none());
                assert!(server.readable().now_or_never().is_none());
                assert_eq!(server.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
                tests::yield_now().await;
            }
        })
        .unwrap();
}

/// Behaviour 31: waiting for bytes costs one attempt to read, however often the stream is polled. Looking at readiness
/// costs no system call, nor does an attempt that is known to fail.
#[test]
#[ignore = "needs strace"]
fn an_idle_stream_costs_one_read() {
    let _watchdog = watchdog(TIME);
    let report = strace(&["-c", "-e", "trace=recvfrom,epoll_ctl"], "waiting for bytes", |_| ());
    let calls = counts(&report);
    assert_eq!(calls["recvfrom"], 1, "{report}");
    // The eventfd and the stream.
    assert_eq!(calls["epoll_ctl"], 2, "{report}");
}

/// An error of `epoll_wait` other than EINTR is returned by `run`, and the reactor can still be used.
fn waiting_fails() {
    let mut runtime = LocalRuntime::new().unwrap();
    let timer = || Timer::after(Duration::from_millis(1), &runtime_handle());
    fn runtime_handle() -> Handle {
        Handle::current().unwrap()
    }
    let mut errors = 0;
    for _ in 0..10 {
        match runtime.run_until(async { timer().await.unwrap() }) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EBADF));
                errors += 1;
            }
        }
    }
    assert_eq!(errors, 1);
}

/// A wait that fails does not consume a notification.
fn a_notified_wait_fails() {
    let mut reactor = Reactor::new().unwrap();
    reactor.handle().notify();
    assert!(reactor.wait(None).is_err());
    let begin = Instant::now();
    reactor.wait(Some(Duration::from_secs(30))).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "the notification was lost");
}

/// Bug C20: errors of the wait reach the caller.
#[test]
#[ignore = "needs strace"]
fn errors_of_the_wait_are_returned() {
    inject("epoll_pwait2:error=EBADF:when=3", "waiting fails");
    inject("epoll_wait:error=EBADF:when=1", "a notified wait fails");
}

/// Sleeps and timeouts without a reactor, while no thread can be started.
fn no_helper_thread() {
    let (begin, cpu) = (Instant::now(), thread_cpu());
    let time = Duration::from_millis(30);
    futures::executor::block_on(async {
        sleep(time).await;
        assert!(begin.elapsed() >= time, "early");
        assert!(Timeout::new(std::future::pending::<()>(), time).await.is_err());
        assert_eq!(Timeout::new(sleep(time), 100 * time).await, Ok(()));
        // Reset to a later time, then to an earlier time.
        let mut timer = sleep(100 * time);
        assert!(futures::poll!(&mut timer).is_pending());
        timer.reset(Instant::now() + time);
        timer.await;
        // Two hundred sleeps together take no longer than one.
        let many = Instant::now();
        futures::future::join_all((0..200).map(|_| sleep(time))).await;
        assert!(many.elapsed() >= time && many.elapsed() < 20 * time, "{:?}", many.elapsed());
        assert!(sleep(Duration::MAX).now_or_never().is_none());
        // A guard waits for its connection and its timer: here for two halves, and for data from another task.
        let (sender, receiver) = futures::channel::mpsc::unbounded::<std::io::Result<Vec<u8>>>();
        let mut connection = guard(receiver.into_async_read()).idle(100 * time).total(200 * time);
        let (mut buffer, late) = ([0; 4], Instant::now());
        let send = async {
            sleep(time).await;
            sender.unbounded_send(Ok(b"late".to_vec())).unwrap();
        };
        let (read, ()) = futures::join!(connection.read(&mut buffer), send);
        assert_eq!((read.unwrap(), late.elapsed() < 50 * time), (4, true), "{:?}", late.elapsed());
        let mut connection = guard(connection.into_inner()).idle(time);
        let late = Instant::now();
        let error = connection.read(&mut buffer).await.unwrap_err();
        assert!(error.kind() == ErrorKind::TimedOut && late.elapsed() >= time, "{error:?}");
    });
    assert!(thread_cpu() - cpu < begin.elapsed() / 2, "it spins: {:?}", thread_cpu() - cpu);
}

/// Bug E15: without futures-timer's helper thread, timers fire late, but they fire, and nothing panics. The first
/// thread of the scenario is the watchdog.
#[test]
#[ignore = "needs strace"]
fn timers_without_a_helper_thread() {
    // No thread at all; none from the fifth attempt on; and none for futures-timer, although a thread could be started
    // just before.
    for when in ["2+", "2..5", "3"] {
        inject(&format!("clone3:error=EAGAIN:when={when}"), "no helper thread");
    }
}

/// Copies bulk data both ways through a proxy, several times, with a pause in between. The result must be the same with
/// every fault.
fn copying() {
    let before = open_fds();
    std::thread::spawn(|| {
        async_epoll::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let connect = || async {
                let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                (client, listener.accept().await.unwrap().0)
            };
            let ((left, a), (b, right)) = (connect().await, connect().await);
            let bytes: Vec<u8> = (0..1_000_003_u32).map(|number| (number.wrapping_mul(number) >> 7) as u8).collect();
            let carry = async |mut from: &TcpStream, mut to: &TcpStream| {
                let mut received = vec![0; bytes.len()];
                let (sent, read) = futures::join!(from.write_all(&bytes), to.read_exact(&mut received));
                sent.and(read).unwrap();
                assert!(received == bytes);
            };
            let ends = async {
                for _ in 0..3 {
                    futures::join!(carry(&left, &right), carry(&right, &left));
                    sleep(Duration::from_millis(2)).await;
                }
                (&left).close().await.unwrap();
                (&right).close().await.unwrap();
            };
            let (copied, ()) = futures::join!(copy_bidirectional(a, b), ends);
            assert_eq!(copied.unwrap(), (3 * bytes.len() as u64, 3 * bytes.len() as u64));
        })
        .unwrap();
    })
    .join()
    .unwrap();
    // The end of the thread has closed the pipes kept for later copies.
    assert_eq!(open_fds(), before);
}

/// `splice` is refused, from the beginning or in the middle (with or without bytes in a pipe), or is interrupted; or no
/// pipe can be made, or none larger than the default: no byte is lost.
#[test]
#[ignore = "needs strace"]
fn copying_where_splicing_is_refused() {
    for error in ["EINVAL", "ENOSYS", "EPERM"] {
        inject(&format!("splice:error={error}"), "copying");
    }
    // The calls fill and drain the pipe in turn.
    for k in 1..=8 {
        inject(&format!("splice:error=EINVAL:when={k}"), "copying");
        inject(&format!("splice:error=ENOSYS:when={k}+"), "copying");
    }
    inject("splice:error=EINTR:when=1+2", "copying");
    inject("splice:error=EINTR:when=2+2", "copying");
    inject("pipe2:error=EMFILE", "copying");
    inject("pipe2:error=ENFILE:when=2+", "copying");
    inject("fcntl:error=EPERM", "copying");
}
