//! Errors beside data and beside the exceptional condition, on one source.
//!
//! The kernel reports an error of a socket (`EPOLLERR`) for two reasons: a pending error, which the next operation
//! returns, and a message in the error queue, which only `recvmsg(MSG_ERRQUEUE)` returns. Some files report the
//! exceptional condition together with an error (`EPOLLPRI | EPOLLERR`), and sockets do so with `SO_SELECT_ERR_QUEUE`.

use async_epoll::{Handle, Interest, Reactor, Readiness, Source};
use async_timeout::TimeoutExt;
use futures::future::{FutureExt, join, join3};
use socket2::SockRef;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::process::Command;
use std::task::Context;
use std::time::Duration;
use tests::common::block_on;
use tests::common::waiting::{idle, waits};
use tests::{CountingWaker, LOCALHOST, report_icmp_errors, set_socket_option};

/// The options of `SO_TIMESTAMPING`: the time of sending by software, and only the time.
const SEND_TIMES: libc::c_uint =
    libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE | libc::SOF_TIMESTAMPING_OPT_TSONLY;
/// How long a wake may take.
const LOST: Duration = Duration::from_secs(10);

/// Returns two sockets that are connected to each other.
fn pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = (UdpSocket::bind(LOCALHOST).unwrap(), UdpSocket::bind(LOCALHOST).unwrap());
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    (one, other)
}

/// Returns two connected sockets. The kernel reports when it has sent a datagram of the first.
fn pair_with_send_times() -> (UdpSocket, UdpSocket) {
    let (one, other) = pair();
    set_socket_option(one.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, SEND_TIMES as i32).unwrap();
    (one, other)
}

/// Returns a socket that gets an ICMP message for each datagram that it sends.
fn refused() -> UdpSocket {
    let (one, other) = pair();
    report_icmp_errors(one.as_fd()).unwrap();
    drop(other);
    one
}

/// Takes a message from the error queue.
fn take(socket: &UdpSocket) -> io::Result<usize> {
    SockRef::from(socket).recv_with_flags(&mut [MaybeUninit::uninit(); 64], libc::MSG_ERRQUEUE)
}

/// Takes all messages from the error queue, until `WouldBlock`. Returns their number.
fn take_all(source: &Source<UdpSocket>, interest: Interest) -> usize {
    let mut count = 0;
    loop {
        match source.try_io(interest, take) {
            Ok(_) => count += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return count;
            }
        }
    }
}

fn nothing<T>(_: &T) -> io::Result<usize> {
    Err(ErrorKind::WouldBlock.into())
}

/// Found 4: one task reads data, one waits for send times, on one source. Each gets all that is its own, in every order
/// of arrival, and neither spins.
#[test]
fn data_and_send_times() {
    const ROUNDS: usize = 30;
    block_on(async {
        let (socket, peer) = pair_with_send_times();
        let source = Source::new(socket).unwrap();
        let (datagrams, times, polls) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let read = async {
            while datagrams.get() < ROUNDS {
                source.read_with(|socket| socket.recv(&mut [0; 8])).await.unwrap();
                datagrams.set(datagrams.get() + 1);
            }
        };
        let watch = async {
            while times.get() < ROUNDS {
                assert!(source.errors().await.unwrap().is_error());
                polls.set(polls.get() + 1);
                times.set(times.get() + take_all(&source, Interest::ERROR));
            }
        };
        let talk = async {
            for round in 0..ROUNDS {
                // The data first, the send time first, or both before either task is polled.
                if round % 3 == 0 {
                    peer.send(b"data").unwrap();
                    tests::yield_now().await;
                }
                source.write_with(|socket| socket.send(b"x")).await.unwrap();
                if round % 3 == 1 {
                    tests::yield_now().await;
                }
                if round % 3 != 0 {
                    peer.send(b"data").unwrap();
                }
                for _ in 0..1 + round % 4 {
                    tests::yield_now().await;
                }
            }
        };
        let done = join3(read, watch, talk).timeout(LOST).await;
        assert!(done.is_ok(), "lost: {} datagrams, {} send times", datagrams.get(), times.get());
        assert!(polls.get() <= 3 * ROUNDS, "{} waits for {ROUNDS} send times", polls.get());
        assert!(!source.readiness().is_error());
        idle().await;
    });
}

/// Found 4: a read that meets `WouldBlock` does not hide a message in the error queue, nor does an empty error queue
/// hide data; in both orders, and while both wait.
#[test]
fn neither_hides_the_other() {
    block_on(async {
        let (socket, peer) = pair_with_send_times();
        let source = Source::new(socket).unwrap();
        let receive = |socket: &UdpSocket| socket.recv(&mut [0; 8]);
        source.writable().await.unwrap();
        assert_eq!(take_all(&source, Interest::READABLE | Interest::ERROR), 0);
        for _ in 0..3 {
            source.lend().send(b"x").unwrap();
            source.readable().await.unwrap();
            let blocked = source.try_io(Interest::READABLE, receive).unwrap_err();
            assert_eq!(blocked.kind(), ErrorKind::WouldBlock);
            assert!(source.readiness().is_error() && source.readable().now_or_never().is_none());
            assert!(source.errors().now_or_never().expect("hidden").unwrap().is_error());
            assert_eq!(take_all(&source, Interest::ERROR), 1);

            source.lend().send(b"x").unwrap();
            peer.send(b"data").unwrap();
            source.errors().await.unwrap();
            assert_eq!(take_all(&source, Interest::ERROR), 1);
            assert!(source.errors().now_or_never().is_none());
            assert_eq!(source.try_io(Interest::READABLE, receive).unwrap(), 4, "hidden");
            assert_eq!(source.try_io(Interest::READABLE, receive).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        // Both wait. Each event ends one of the waits.
        let sender = source.lend().try_clone().unwrap();
        let read = source.read_with(receive);
        let mut read = std::pin::pin!(read);
        assert!(futures::poll!(&mut read).is_pending());
        assert!(waits(source.errors(), move || assert_eq!(sender.send(b"x").unwrap(), 1)).await.unwrap().is_error());
        assert!(futures::poll!(&mut read).is_pending());
        assert_eq!(take_all(&source, Interest::ERROR), 1);
        assert_eq!(waits(read, move || assert_eq!(peer.send(b"data").unwrap(), 4)).await.unwrap(), 4);
    });
}

/// Found 4: ICMP messages of refused datagrams (`IP_RECVERR`). The pending error goes to the reader, the message to the
/// error queue.
#[test]
fn icmp_messages_beside_their_errors() {
    block_on(async {
        let source = Source::new(refused()).unwrap();
        for _ in 0..3 {
            source.lend().send(b"x").unwrap();
            assert!(source.errors().timeout(LOST).await.expect("lost").unwrap().is_error());
            let error = source.read_with(|socket| socket.recv(&mut [0; 8])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let read = source.try_io(Interest::READABLE, |socket| socket.recv(&mut [0; 8]));
            assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(take_all(&source, Interest::ERROR), 1);
            assert!(!source.readiness().is_error() && source.errors().now_or_never().is_none());
        }
        idle().await;
    });
}

/// Found 4: an event without an error ends the error, because another task has collected it.
#[test]
fn an_event_without_an_error_ends_it() {
    block_on(async {
        let (socket, peer) = pair_with_send_times();
        let source = Source::new(socket).unwrap();
        source.lend().send(b"x").unwrap();
        assert!(source.errors().await.unwrap().is_error());
        assert!(take(source.lend()).is_ok(), "past the source");
        assert!(source.readiness().is_error(), "unknown to the source");
        peer.send(b"data").unwrap();
        tests::yield_now().await;
        tests::yield_now().await;
        assert!(!source.readiness().is_error());
        assert!(source.errors().now_or_never().is_none());
    });
}

/// Found 4: errors are reported to a source of each interest, and to a lazy source from the first wait on.
#[test]
fn errors_of_each_interest() {
    block_on(async {
        let handle = Handle::current().unwrap();
        let interests = [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY, Interest::ERROR];
        for interest in interests {
            let (socket, _peer) = pair_with_send_times();
            let sender = socket.try_clone().unwrap();
            let source = Source::with_interest(socket, interest, &handle).unwrap();
            let readiness = waits(source.errors(), move || assert_eq!(sender.send(b"x").unwrap(), 1)).await.unwrap();
            assert!(readiness.is_error(), "{interest:?}");
            assert_eq!(take_all(&source, Interest::ERROR), 1);
        }
        let (socket, _peer) = pair_with_send_times();
        socket.set_nonblocking(true).unwrap();
        let sender = socket.try_clone().unwrap();
        let lazy = Source::lazy(socket, &handle);
        assert_eq!(take_all(&lazy, Interest::ERROR), 0, "tried, though not registered");
        assert!(waits(lazy.errors(), move || assert_eq!(sender.send(b"x").unwrap(), 1)).await.unwrap().is_error());
        assert_eq!(take_all(&lazy, Interest::ERROR), 1);
    });
    // Without a reactor the wait ends.
    let reactor = Reactor::new().unwrap();
    let source = Source::with_handle(pair().0, &reactor.handle()).unwrap();
    drop(reactor);
    assert_eq!(source.errors().now_or_never().unwrap().unwrap_err().kind(), ErrorKind::NotConnected);
}

/// Found 4: after an error alone, `priority()` returns and `try_io(PRIORITY)` makes its attempt, once each.
#[test]
fn an_attempt_for_priority_after_an_error() {
    block_on(async {
        let source = Source::new(refused()).unwrap();
        for _ in 0..3 {
            source.lend().send(b"x").unwrap();
            let readiness = source.priority().timeout(LOST).await.expect("lost").unwrap();
            assert!(!readiness.is_priority() && readiness.is_error());
            assert_eq!(take_all(&source, Interest::PRIORITY), 1, "the operation was called");
            assert!(source.priority().now_or_never().is_none(), "noted");
            assert!(source.readiness().is_error(), "an attempt for errors has not been made");
            assert_eq!(take_all(&source, Interest::ERROR), 0);
            assert!(!source.readiness().is_error());
        }
    });
}

/// Found 4: the exceptional condition together with an error, as `SO_SELECT_ERR_QUEUE` reports them. A loop of waits
/// for the condition and a loop of waits for errors each see every message, in either order, and do not spin.
#[test]
fn priority_together_with_errors() {
    block_on(async {
        let (socket, _peer) = pair_with_send_times();
        set_socket_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SELECT_ERR_QUEUE, 1).unwrap();
        let source = Source::new(socket).unwrap();
        source.writable().await.unwrap();
        let (by_priority, by_errors) = (Cell::new(0), Cell::new(0));
        let both = join(
            async {
                loop {
                    source.priority().await.unwrap();
                    by_priority.set(by_priority.get() + 1);
                    let _ = source.try_io(Interest::PRIORITY, nothing);
                }
            },
            async {
                loop {
                    source.errors().await.unwrap();
                    by_errors.set(by_errors.get() + 1);
                    let _ = source.try_io(Interest::ERROR, take);
                    let _ = source.try_io(Interest::ERROR, take);
                }
            },
        );
        let mut both = std::pin::pin!(both);
        for round in 1..=5 {
            source.lend().send(b"x").unwrap();
            assert!((&mut both).timeout(Duration::from_millis(10)).await.is_err());
            assert_eq!((by_priority.get(), by_errors.get()), (round, round));
        }
    });
}

/// The name of the variable that tells the child of [`files_with_priority_and_error`].
const IN_NAMESPACE: &str = "TEST_IN_NAMESPACE";

/// Runs the test named `test` again in a mount namespace of its own, where it is root. Some machines forbid that. Returns
/// `false` in the parent, where the test must return.
fn in_mount_namespace(test: &str) -> bool {
    if std::env::var_os(IN_NAMESPACE).is_some() {
        return true;
    }
    let unshare = ["--user", "--map-root-user", "--mount"];
    let allowed = Command::new("unshare").args(unshare).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("no namespaces here");
        return false;
    }
    let mut child = Command::new("unshare");
    child.args(unshare).arg(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(IN_NAMESPACE, "1");
    assert!(child.status().unwrap().success());
    false
}

/// Changes the table of mounts.
fn mount() {
    assert!(Command::new("mount").args(["-t", "tmpfs", "none", "/mnt"]).status().unwrap().success());
}

/// Found 6: `/proc/self/mounts` reports a change to the first call that asks for it, even by `poll(2)`. A notice of
/// `WouldBlock`, which asks the kernel, loses no change, whatever it is about: the waits end, also those that have begun.
#[test]
fn a_notice_loses_no_change_of_a_file() {
    if !in_mount_namespace("a_notice_loses_no_change_of_a_file") {
        return;
    }
    let all = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY | Interest::ERROR;
    let notices = [
        Interest::READABLE,
        Interest::WRITABLE,
        Interest::PRIORITY,
        Interest::ERROR,
        Interest::READABLE | Interest::PRIORITY,
        Interest::PRIORITY | Interest::ERROR,
        all,
    ];
    for interest in [all, Interest::PRIORITY] {
        for notice in notices {
            for waits in [true, false] {
                let case = format!("{interest:?}, {notice:?}, {waits}");
                let mut reactor = Reactor::new().unwrap();
                let file = File::open("/proc/self/mounts").unwrap();
                let source = Source::with_interest(file, interest, &reactor.handle()).unwrap();
                reactor.wait(Some(Duration::from_millis(1))).unwrap();
                for _ in 0..2 {
                    let (counter, waker) = CountingWaker::new();
                    let mut cx = Context::from_waker(&waker);
                    let mut wait = Box::pin(join(source.priority(), source.errors()));
                    if waits {
                        assert!(wait.poll_unpin(&mut cx).is_pending(), "{case}");
                    }
                    mount();
                    // Takes the change, before the reactor sees it.
                    source.clear_ready(notice);
                    if waits {
                        assert_ne!(counter.count(), 0, "not woken: {case}");
                    }
                    assert!(wait.poll_unpin(&mut cx).is_ready(), "lost: {case}");
                    // Nothing is left, so a notice is true now.
                    let _ = source.try_io(Interest::PRIORITY | Interest::ERROR, nothing);
                    reactor.wait(Some(Duration::from_millis(1))).unwrap();
                    let _ = source.try_io(Interest::PRIORITY | Interest::ERROR, nothing);
                    source.clear_ready(notice);
                    assert!(source.priority().now_or_never().is_none(), "left over: {case}");
                    assert!(source.errors().now_or_never().is_none(), "left over: {case}");
                }
            }
        }
    }
}

/// Found 4: `/proc/self/mounts` reports a change as the exceptional condition together with an error. One change ends
/// one wait.
#[test]
fn files_with_priority_and_error() {
    if !in_mount_namespace("files_with_priority_and_error") {
        return;
    }
    block_on(async {
        let handle = Handle::current().unwrap();
        let mounts = File::open("/proc/self/mounts").unwrap();
        let source = Source::with_interest(mounts, Interest::PRIORITY, &handle).unwrap();
        let times = Cell::new(0);
        let seen = Cell::new(Readiness::default());
        let mut watch = std::pin::pin!(async {
            loop {
                seen.set(source.priority().await.unwrap());
                times.set(times.get() + 1);
                let _ = source.try_io(Interest::PRIORITY, nothing);
            }
        });
        assert!((&mut watch).timeout(Duration::from_millis(10)).await.is_err());
        assert_eq!(times.get(), 0, "no change yet");
        for change in 1..=3 {
            mount();
            assert!((&mut watch).timeout(Duration::from_millis(50)).await.is_err());
            assert_eq!(times.get(), change);
            assert!(seen.get().is_priority() && seen.get().is_error());
        }
    });
}
