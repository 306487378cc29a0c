//! UDP sockets: the same API as std's, the operation that gets an ICMP error, and multicast groups. Batches are in
//! `udp_batch.rs`.

use async_epoll::{LocalRuntime, Reactor, Source, Timer};
use async_net_lite::{Datagram, RecvBatch, SendBatch, UdpSocket};
use futures::executor::LocalPool;
use futures::future::{Either, FutureExt, LocalBoxFuture, join, select};
use futures::task::noop_waker_ref;
use socket2::{Domain, SockRef, Socket, Type};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::common::block_on;
use tests::common::udp::{LONGEST, address, closed_port, pair, refused, socket};
use tests::{
    CountingWaker, LOCALHOST, TIME, has_ipv6, packet_pipe, report_icmp_errors, thread_cpu, waker_fn, watchdog,
    yield_now,
};

/// Behaviour 67: datagrams both ways with the right addresses, over IPv4 and IPv6.
#[test]
fn datagrams_both_ways() {
    block_on(async {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            if local.starts_with('[') && !has_ipv6() {
                continue;
            }
            let (left, right) = (UdpSocket::bind(local).await.unwrap(), UdpSocket::bind(local).await.unwrap());
            assert_ne!(address(&left).port(), 0);
            let mut buffer = [0; 16];
            for (from, to) in [(&left, &right), (&right, &left)] {
                assert_eq!(from.send_to(b"hello", address(to)).await.unwrap(), 5);
                assert_eq!(to.recv_from(&mut buffer).await.unwrap(), (5, address(from)));
                assert_eq!(&buffer[..5], b"hello");
            }
        }
    });
}

/// Every form of an address, for each method with an address; and values that are none.
#[test]
fn addresses_of_every_kind() {
    block_on(async {
        let receiver = socket().await;
        let port = address(&receiver).port();
        let sender = UdpSocket::bind(("localhost", 0)).await.unwrap();
        let mut sent = 0;
        let mut count = |result: io::Result<usize>| sent += result.unwrap();
        count(sender.send_to(b"x", address(&receiver)).await);
        count(sender.send_to(b"x", address(&receiver).to_string()).await);
        count(sender.send_to(b"x", ("127.0.0.1", port)).await);
        count(sender.send_to(b"x", (Ipv4Addr::LOCALHOST, port)).await);
        count(sender.send_to(b"x", &[address(&receiver), closed_port()][..]).await);
        for _ in 0..sent {
            assert_eq!(receiver.recv(&mut [0; 2]).await.unwrap(), 1);
        }
        assert_eq!(sent, 5);

        // The first address that can be bound or connected to; otherwise the last error.
        let busy = address(&receiver);
        assert_ne!(UdpSocket::bind([busy, ([127, 0, 0, 1], 0).into()]).await.unwrap().local_addr().unwrap(), busy);
        assert_eq!(UdpSocket::bind([busy, busy]).await.unwrap_err().kind(), ErrorKind::AddrInUse);
        let unreachable = SocketAddr::from((Ipv6Addr::LOCALHOST, 1));
        sender.connect([unreachable, busy]).await.unwrap();
        assert_eq!(sender.peer_addr().unwrap(), busy);

        let none: [SocketAddr; 0] = [];
        for nonsense in ["", "127.0.0.1", "127.0.0.1:65536", ":::"] {
            assert_eq!(UdpSocket::bind(nonsense).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(sender.send_to(b"x", nonsense).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(sender.connect(nonsense).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(UdpSocket::bind(none).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(sender.send_to(b"x", none).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(sender.connect(none).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(sender.peer_addr().unwrap(), busy, "as before");
        // Port 0 is no destination, and an IPv4 socket cannot reach IPv6.
        assert_eq!(sender.send_to(b"x", LOCALHOST).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let error = sender.send_to(b"x", unreachable).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EAFNOSUPPORT));
    });
}

/// Behaviour 69: `send` needs a peer.
#[test]
fn connected_methods_on_an_unconnected_socket() {
    block_on(async {
        let (left, right) = (socket().await, socket().await);
        assert_eq!(left.send(b"x").await.unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
        assert_eq!(left.try_send(b"x").unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
        assert_eq!(left.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        let mut batch = SendBatch::new(2, 8).unwrap();
        batch.push(b"x").unwrap();
        assert_eq!(left.send_batch(&mut batch).await.unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
        assert_eq!(batch.len(), 1, "still there");
        // `recv` does not need one.
        right.send_to(b"hello", address(&left)).await.unwrap();
        assert_eq!(left.recv(&mut [0; 8]).await.unwrap(), 5);
    });
}

/// Behaviour 70: on Linux, a connected socket may send to another address; but it does not receive from there.
#[test]
fn a_connected_socket_may_send_elsewhere() {
    block_on(async {
        let ((left, right), third) = (pair().await, socket().await);
        left.send_to(b"third", address(&third)).await.unwrap();
        left.send(b"right").await.unwrap();
        assert_eq!(third.recv_from(&mut [0; 8]).await.unwrap(), (5, address(&left)));
        assert_eq!(right.recv_from(&mut [0; 8]).await.unwrap(), (5, address(&left)));
    });
}

/// Behaviour 71: after a second connect, the socket sends to the new peer.
#[test]
fn reconnecting_redirects() {
    block_on(async {
        let (sender, one, two) = (socket().await, socket().await, socket().await);
        for receiver in [&one, &two, &one] {
            sender.connect(address(receiver)).await.unwrap();
            assert_eq!(sender.peer_addr().unwrap(), address(receiver));
            sender.send(b"x").await.unwrap();
            assert_eq!(receiver.recv(&mut [0; 8]).await.unwrap(), 1);
        }
        assert_eq!(two.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// Behaviour 73: a connected socket discards datagrams of other senders, except those queued before it was connected.
#[test]
fn strangers_are_discarded() {
    block_on(async {
        let (receiver, friend, stranger) = (socket().await, socket().await, socket().await);
        stranger.send_to(b"early", address(&receiver)).await.unwrap();
        receiver.connect(address(&friend)).await.unwrap();
        stranger.send_to(b"stranger", address(&receiver)).await.unwrap();
        friend.send_to(b"friend", address(&receiver)).await.unwrap();
        assert_eq!(receiver.recv_from(&mut [0; 16]).await.unwrap(), (5, address(&stranger)));
        assert_eq!(receiver.recv_from(&mut [0; 16]).await.unwrap(), (6, address(&friend)));
        assert_eq!(receiver.try_recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// Bug H1; behaviour 74: an empty datagram is received as data by every method. An empty buffer takes a datagram, as
/// with std.
#[test]
fn empty_datagrams_are_data() {
    block_on(async {
        let (left, right) = pair().await;
        let from = address(&left);
        for _ in 0..7 {
            assert_eq!(left.send(&[]).await.unwrap(), 0);
        }
        left.send(b"end").await.unwrap();
        let mut buffer = [7; 8];
        assert_eq!(right.recv(&mut buffer).await.unwrap(), 0);
        assert_eq!(right.recv_from(&mut buffer).await.unwrap(), (0, from));
        let empty = Datagram { bytes: &[], address: from, truncated: false };
        assert_eq!(right.recv_datagram(&mut buffer).await.unwrap(), empty);
        assert_eq!(right.peek(&mut buffer).await.unwrap(), 0);
        let mut batch = RecvBatch::new(1, 8).unwrap();
        assert_eq!(right.recv_batch(&mut batch).await.unwrap(), 1);
        assert_eq!(batch.get(0), Some(empty));
        // With an empty buffer.
        assert_eq!(right.recv(&mut []).await.unwrap(), 0);
        assert_eq!(right.recv_from(&mut []).await.unwrap(), (0, from));
        assert_eq!(right.recv_datagram(&mut []).await.unwrap(), empty);
        assert_eq!(right.peek_from(&mut []).await.unwrap(), (0, from));
        assert_eq!(right.recv_datagram(&mut []).await.unwrap(), Datagram { truncated: true, ..empty });
        // All datagrams have been taken, and an empty buffer waits like any other.
        assert!(right.recv(&mut []).now_or_never().is_none());
        assert_eq!(left.send_to(&[], address(&right)).await.unwrap(), 0);
        assert_eq!(right.recv(&mut []).await.unwrap(), 0);
    });
}

/// Behaviour 75: peeking leaves the datagram in the queue, however often, and whether it fits the buffer or not.
#[test]
fn peeking_leaves_it() {
    block_on(async {
        let (left, right) = (socket().await, socket().await);
        let mut buffer = [0; 16];
        assert!(right.peek(&mut buffer).now_or_never().is_none(), "nothing there yet");
        left.send_to(b"hello", address(&right)).await.unwrap();
        for _ in 0..3 {
            assert_eq!(right.peek(&mut buffer).await.unwrap(), 5);
            assert_eq!(right.peek_from(&mut buffer).await.unwrap(), (5, address(&left)));
            assert_eq!(right.peek_from(&mut buffer[..2]).await.unwrap(), (2, address(&left)));
            assert_eq!(right.try_peek(&mut buffer).unwrap(), 5);
            assert_eq!(right.try_peek_from(&mut []).unwrap(), (0, address(&left)));
        }
        assert_eq!(right.recv(&mut buffer).await.unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(right.try_peek(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// Behaviour 77: each datagram that arrives at a waiting receiver wakes it, again and again.
#[test]
fn each_arrival_wakes_again() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let receiver = UdpSocket::from_std(StdSocket::bind(LOCALHOST).unwrap(), &reactor.handle()).unwrap();
    let sender = StdSocket::bind(LOCALHOST).unwrap();
    let (counter, waker) = CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    let (mut buffer, mut batch) = ([0; 8], RecvBatch::new(4, 8).unwrap());
    for round in 0..30 {
        let mut poll = |cx: &mut Context<'_>| match round % 3 {
            0 => receiver.poll_recv(cx, &mut buffer).map_ok(drop),
            1 => receiver.poll_recv_from(cx, &mut buffer).map_ok(drop),
            _ => receiver.poll_recv_batch(cx, &mut batch).map_ok(drop),
        };
        while poll(&mut cx).is_pending() && counter.count() == round {
            // The very first event reports "writable".
            sender.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
            while counter.count() == round {
                reactor.wait(Some(TIME)).unwrap();
            }
        }
        assert_eq!(counter.count(), round + 1);
    }
}

/// Behaviour 78: datagrams queued before the first poll are delivered, in order.
#[test]
fn what_came_before_the_first_poll_is_delivered() {
    block_on(async {
        let (receiver, sender) = (socket().await, StdSocket::bind(LOCALHOST).unwrap());
        for number in 0..100 {
            sender.send_to(&[number], address(&receiver)).unwrap();
        }
        for number in 0..100 {
            let mut buffer = [0; 2];
            assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 1);
            assert_eq!(buffer[0], number);
        }
    });
}

/// Bug H4; behaviour 79: bytes that do not fit are lost, silently in the methods that mirror std; other methods report
/// the loss.
#[test]
fn truncation() {
    block_on(async {
        let (left, right) = pair().await;
        let from = address(&left);
        for _ in 0..6 {
            left.send(b"0123456789").await.unwrap();
        }
        let mut buffer = [0; 4];
        assert_eq!(right.recv(&mut buffer).await.unwrap(), 4);
        assert_eq!(right.recv_from(&mut buffer).await.unwrap(), (4, from));
        let cut = Datagram { bytes: b"0123", address: from, truncated: true };
        assert_eq!(right.recv_datagram(&mut buffer).await.unwrap(), cut);
        assert_eq!(right.try_recv_datagram(&mut buffer).unwrap(), cut);
        let mut exact = [0; 10];
        let whole = Datagram { bytes: b"0123456789", address: from, truncated: false };
        let polled = poll_fn(|cx| right.poll_recv_datagram(cx, &mut buffer).map_ok(|datagram| datagram == cut)).await;
        assert!(polled.unwrap());
        assert_eq!(right.recv_datagram(&mut exact).await.unwrap(), whole);
        assert!(right.recv_datagram(&mut exact).now_or_never().is_none(), "the rests are gone");
    });
}

/// Behaviour 81; bug H2: a refused datagram is an error once, for the first operation that asks. Then the socket works
/// as before.
#[test]
fn a_refused_datagram_is_an_error_once() {
    block_on(async {
        let mut batch = RecvBatch::new(4, 8).unwrap();
        let mut sends = SendBatch::new(4, 8).unwrap();
        // On loopback the ICMP answer has arrived when `send` returns.
        for operation in 0..8 {
            let socket = refused().await;
            socket.send(b"x").await.unwrap();
            let error = match operation {
                0 => socket.recv(&mut [0; 8]).await.unwrap_err(),
                1 => socket.recv_from(&mut [0; 8]).await.unwrap_err(),
                2 => socket.recv_datagram(&mut [0; 8]).await.unwrap_err(),
                3 => socket.peek(&mut [0; 8]).await.unwrap_err(),
                4 => socket.recv_batch(&mut batch).await.unwrap_err(),
                5 => socket.send(b"y").await.unwrap_err(),
                6 => {
                    sends.push(b"y").unwrap();
                    let error = socket.send_batch(&mut sends).await.unwrap_err();
                    assert_eq!(sends.len(), 1, "not sent");
                    sends.clear();
                    error
                }
                _ => socket.take_error().unwrap().unwrap(),
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            // Only once: no error is left.
            assert!(socket.take_error().unwrap().is_none());
            assert!(socket.recv(&mut [0; 8]).now_or_never().is_none());
            // The socket works as soon as a peer exists.
            let peer = UdpSocket::bind(socket.peer_addr().unwrap()).await.unwrap();
            socket.send(b"hello").await.unwrap();
            let (length, from) = peer.recv_from(&mut [0; 8]).await.unwrap();
            peer.send_to(b"hello"[..length].as_ref(), from).await.unwrap();
            assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 5);
        }
    });
}

/// Bug H2: two receivers wait, and a third task sends. One receiver gets the error. The other still waits, and the next
/// datagram wakes it.
#[test]
fn a_refused_datagram_reaches_one_of_those_who_wait() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let results = Rc::new(RefCell::new(Vec::new()));
    let collected = Rc::clone(&results);
    runtime
        .run_until(async move {
            let socket = refused().await;
            for _ in 0..2 {
                let (socket, results) = (socket.clone(), Rc::clone(&collected));
                let wait = async move {
                    let result = socket.recv(&mut [0; 8]).await.map_err(|error| error.kind());
                    results.borrow_mut().push(result);
                };
                spawner.spawn_local(wait).unwrap();
            }
            while spawner.live_tasks() > 2 {
                yield_now().await;
            }
            // Both wait, and the reactor has asked the kernel since.
            for _ in 0..10 {
                Timer::after(Duration::from_millis(1), &async_epoll::Handle::current().unwrap()).await.unwrap();
            }
            socket.send(b"x").await.unwrap();
            while collected.borrow().is_empty() {
                yield_now().await;
            }
            for _ in 0..10 {
                Timer::after(Duration::from_millis(1), &async_epoll::Handle::current().unwrap()).await.unwrap();
            }
            assert_eq!(*collected.borrow(), [Err(ErrorKind::ConnectionRefused)], "once");
            let peer = StdSocket::bind(socket.peer_addr().unwrap()).unwrap();
            peer.send_to(b"hello", address(&socket)).unwrap();
            while collected.borrow().len() < 2 {
                yield_now().await;
            }
        })
        .unwrap();
    assert_eq!(*results.borrow(), [Err(ErrorKind::ConnectionRefused), Ok(5)]);
}

/// Bug H2: any number of errors does not make the loop busy, not even with `IP_RECVERR` and an error queue that is
/// never emptied.
#[test]
fn a_storm_of_icmp_does_not_spin() {
    const SENDS: usize = 1000;
    let _watchdog = watchdog(TIME);
    for with_queue in [false, true] {
        block_on(async {
            let socket = refused().await;
            if with_queue {
                report_icmp_errors(socket.as_fd()).unwrap();
            }
            let (polls, errors) = (Cell::new(0), Cell::new(0));
            let receive = async {
                loop {
                    let mut buffer = [0; 8];
                    let mut receive = pin!(socket.recv(&mut buffer));
                    let counted = poll_fn(|cx| {
                        polls.set(polls.get() + 1);
                        receive.as_mut().poll(cx)
                    });
                    assert_eq!(counted.await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
                    errors.set(errors.get() + 1);
                }
            };
            let (told, rest) = (Cell::new(0), Cell::new(Duration::ZERO));
            let send = async {
                for _ in 0..SENDS {
                    if socket.send(b"x").await.is_err() {
                        told.set(told.get() + 1);
                    }
                    yield_now().await;
                }
                let (before, handle) = (thread_cpu(), async_epoll::Handle::current().unwrap());
                Timer::after(Duration::from_millis(300), &handle).await.unwrap();
                rest.set(thread_cpu() - before);
            };
            assert!(matches!(select(pin!(receive), pin!(send)).await, Either::Right(_)));
            // Each error answers one datagram.
            let (polls, errors, told) = (polls.get(), errors.get(), told.get());
            println!("{SENDS} sent: {errors} errors for the receiver in {polls} polls, {told} for the sender");
            assert!(errors + told <= SENDS && errors + told > 0);
            assert!(polls <= 4 * SENDS, "{polls}");
            // A loop that spins would have used all of the 300 ms.
            assert!(rest.get() < Duration::from_millis(100), "{:?} of CPU after the storm", rest.get());
            // The socket still works.
            let peer = UdpSocket::bind(socket.peer_addr().unwrap()).await.unwrap();
            let _ = socket.take_error();
            peer.send_to(b"hello", address(&socket)).await.unwrap();
            assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 5);
        });
    }
}

/// Behaviour 82: the reader's waker closes the socket while the event of the error is still being dispatched.
#[test]
fn the_first_waker_of_an_error_closes_the_socket() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let socket = StdSocket::bind(LOCALHOST).unwrap();
    socket.connect(closed_port()).unwrap();
    let socket = UdpSocket::from_std(socket, &handle).unwrap();
    let place = Arc::new(Mutex::new(None));
    let emptied = Arc::clone(&place);
    let closing = waker_fn(move || drop::<Option<UdpSocket>>(emptied.lock().unwrap().take()));
    let (counter, waker) = CountingWaker::new();
    assert!(socket.poll_readable(&mut Context::from_waker(&closing)).is_pending());
    assert!(socket.poll_writable(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(socket.try_send(b"x").unwrap(), 1);
    *place.lock().unwrap() = Some(socket);
    let deadline = Instant::now() + TIME;
    while place.lock().unwrap().is_some() && Instant::now() < deadline {
        reactor.wait(Some(Duration::from_millis(10))).unwrap();
    }
    assert!(place.lock().unwrap().is_none(), "the error woke the reader");
    assert_eq!((handle.stats().sources, counter.count()), (0, 1), "and the writer");
}

/// Bug H5; behaviour 83: two tasks flood each other for ever, by single datagrams and by batches. A timer still fires.
#[test]
fn a_flood_starves_nobody() {
    const TICKS: u32 = 20;
    let _watchdog = watchdog(TIME);
    for in_batches in [false, true] {
        let mut runtime = LocalRuntime::new().unwrap();
        let (spawner, handle) = (runtime.spawner(), runtime.handle());
        let moved = Rc::new(Cell::new(0_usize));
        let count = Rc::clone(&moved);
        runtime
            .run_until(async move {
                let (left, right) = pair().await;
                for (from, to) in [(left.clone(), right.clone()), (right, left)] {
                    let count = Rc::clone(&count);
                    // This task never waits: it has sent all that it receives.
                    let flood = async move {
                        let (mut out, mut back) = (SendBatch::new(32, 8).unwrap(), RecvBatch::new(32, 8).unwrap());
                        loop {
                            if in_batches {
                                while !out.is_full() {
                                    out.push(b"x").unwrap();
                                }
                                from.send_batch(&mut out).await.unwrap();
                                count.set(count.get() + to.recv_batch(&mut back).await.unwrap());
                            } else {
                                from.send(b"x").await.unwrap();
                                count.set(count.get() + to.recv(&mut [0; 8]).await.unwrap());
                            }
                        }
                    };
                    spawner.spawn_local(flood).unwrap();
                }
                for _ in 0..TICKS {
                    Timer::after(Duration::from_millis(5), &handle).await.unwrap();
                }
            })
            .unwrap();
        assert!(moved.get() > 1000, "{}", moved.get());
    }
}

/// Behaviour 85: the options, their defaults, and the values that they refuse.
#[test]
fn options() {
    block_on(async {
        let socket = socket().await;
        assert!(!socket.broadcast().unwrap());
        let broadcast = ("127.255.255.255", address(&socket).port());
        assert_eq!(socket.send_to(b"x", broadcast).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        socket.set_broadcast(true).unwrap();
        assert!(socket.broadcast().unwrap());
        socket.send_to(b"x", broadcast).await.unwrap();

        assert_eq!(socket.ttl().unwrap(), StdSocket::bind(LOCALHOST).unwrap().ttl().unwrap());
        socket.set_ttl(7).unwrap();
        assert_eq!(socket.ttl().unwrap(), 7);
        for beyond in [0, 256, 1 << 31, u32::MAX - 1, u32::MAX] {
            assert_eq!(socket.set_ttl(beyond).unwrap_err().kind(), ErrorKind::InvalidInput, "{beyond}");
        }

        assert!(socket.multicast_loop_v4().unwrap());
        socket.set_multicast_loop_v4(false).unwrap();
        assert!(!socket.multicast_loop_v4().unwrap());
        assert_eq!(socket.multicast_ttl_v4().unwrap(), 1);
        socket.set_multicast_ttl_v4(9).unwrap();
        assert_eq!(socket.multicast_ttl_v4().unwrap(), 9);
        for beyond in [256, u32::MAX] {
            assert_eq!(socket.set_multicast_ttl_v4(beyond).unwrap_err().kind(), ErrorKind::InvalidInput, "{beyond}");
        }
        assert_eq!(socket.multicast_if_v4().unwrap(), Ipv4Addr::UNSPECIFIED);
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(socket.multicast_if_v4().unwrap(), Ipv4Addr::LOCALHOST);
        let nobodys = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(socket.set_multicast_if_v4(&nobodys).unwrap_err().kind(), ErrorKind::AddrNotAvailable);

        // The kernel doubles the requested size, within its bounds.
        socket.set_recv_buffer_size(20_000).unwrap();
        assert_eq!(socket.recv_buffer_size().unwrap(), 40_000);
        socket.set_send_buffer_size(20_000).unwrap();
        assert_eq!(socket.send_buffer_size().unwrap(), 40_000);
        // Sizes that are too small or too large are clamped, and a huge size does not wrap to a small one.
        socket.set_recv_buffer_size(0).unwrap();
        socket.set_send_buffer_size(0).unwrap();
        let least = (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap());
        assert!(least.0 > 1000 && least.1 > 1000, "{least:?}");
        for size in [1 << 30, 1 << 31, 1 << 32, 1 << 40, usize::MAX] {
            socket.set_recv_buffer_size(0).unwrap();
            socket.set_send_buffer_size(0).unwrap();
            socket.set_recv_buffer_size(size).unwrap();
            socket.set_send_buffer_size(size).unwrap();
            assert!((least.0 + 1..1 << 31).contains(&socket.recv_buffer_size().unwrap()), "{size}");
            assert!((least.1 + 1..1 << 31).contains(&socket.send_buffer_size().unwrap()), "{size}");
        }

        if has_ipv6() {
            let socket = UdpSocket::bind("[::1]:0").await.unwrap();
            assert!(socket.multicast_loop_v6().unwrap());
            socket.set_multicast_loop_v6(false).unwrap();
            assert!(!socket.multicast_loop_v6().unwrap());
            assert_eq!(socket.multicast_hops_v6().unwrap(), 1);
            socket.set_multicast_hops_v6(9).unwrap();
            assert_eq!(socket.multicast_hops_v6().unwrap(), 9);
            for beyond in [256, u32::MAX] {
                assert_eq!(
                    socket.set_multicast_hops_v6(beyond).unwrap_err().kind(),
                    ErrorKind::InvalidInput,
                    "{beyond}"
                );
            }
            assert_eq!(socket.multicast_if_v6().unwrap(), 0);
            assert!(socket.set_multicast_if_v6(1 << 30).is_err());
        }
    });
}

/// A broadcast on loopback reaches the socket bound to its port.
#[test]
fn broadcasts_are_received() {
    block_on(async {
        let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let sender = socket().await;
        sender.set_broadcast(true).unwrap();
        sender.send_to(b"to all", ("127.255.255.255", address(&receiver).port())).await.unwrap();
        assert_eq!(receiver.recv_from(&mut [0; 8]).await.unwrap(), (6, address(&sender)));
    });
}

/// Behaviour 86: members of a group receive its datagrams. Other sockets and former members do not.
#[test]
fn multicast_on_loopback() {
    block_on(async {
        let (group, interface) = (Ipv4Addr::new(239, 255, 71, 10), Ipv4Addr::LOCALHOST);
        let member = UdpSocket::bind((group, 0)).await.unwrap();
        let sender = socket().await;
        let to = address(&member);
        sender.set_multicast_if_v4(&interface).unwrap();
        sender.send_to(b"a group without members", to).await.unwrap();
        member.join_multicast_v4(&group, &interface).unwrap();
        assert_eq!(member.join_multicast_v4(&group, &interface).unwrap_err().kind(), ErrorKind::AddrInUse);
        sender.send_to(b"joined", to).await.unwrap();
        assert_eq!(member.recv_from(&mut [0; 8]).await.unwrap(), (6, address(&sender)));

        // The effect of `set_multicast_loop_v4` is not visible here: the loopback interface itself returns every
        // datagram sent through it.
        member.leave_multicast_v4(&group, &interface).unwrap();
        let error = member.leave_multicast_v4(&group, &interface).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        sender.send_to(b"left", to).await.unwrap();
        assert_eq!(member.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        // An address that is no group, and an address without an interface.
        assert_eq!(member.join_multicast_v4(&interface, &interface).unwrap_err().kind(), ErrorKind::InvalidInput);
        let error = member.join_multicast_v4(&group, &Ipv4Addr::new(192, 0, 2, 1)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    });
}

/// Behaviour 86, for IPv6, if loopback takes part: usually it has no route for groups.
#[test]
fn multicast_on_loopback_by_ipv6() {
    let _watchdog = watchdog(TIME);
    if !has_ipv6() {
        return;
    }
    let index = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap().trim().parse().unwrap();
    block_on(async {
        // The scope is the interface only: `ff01`.
        let group = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x71, 0x10);
        let (member, sender) = (UdpSocket::bind("[::]:0").await.unwrap(), UdpSocket::bind("[::1]:0").await.unwrap());
        member.join_multicast_v6(&group, index).unwrap();
        assert_eq!(member.join_multicast_v6(&group, index).unwrap_err().kind(), ErrorKind::AddrInUse);
        sender.set_multicast_if_v6(index).unwrap();
        assert_eq!(sender.multicast_if_v6().unwrap(), index);
        let to = (group, address(&member).port());
        match sender.send_to(b"joined", to).await {
            Err(error) if error.kind() == ErrorKind::NetworkUnreachable => {
                eprintln!("skipped the delivery: loopback has no route for groups of IPv6");
            }
            sent => {
                assert_eq!(sent.unwrap(), 6);
                let (length, from) = member.recv_from(&mut [0; 8]).await.unwrap();
                assert_eq!((length, from.port()), (6, address(&sender).port()));
            }
        }
        member.leave_multicast_v6(&group, index).unwrap();
        assert_eq!(member.leave_multicast_v6(&group, index).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        assert!(member.join_multicast_v6(&Ipv6Addr::LOCALHOST, index).is_err());
        assert!(member.join_multicast_v6(&group, 1 << 30).is_err());
    });
}

/// Behaviour 87: a socket taken out or dropped makes no events, and neither do its duplicates.
#[test]
fn no_events_after_the_end() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let sender = StdSocket::bind(LOCALHOST).unwrap();
    for dropped in [false, true] {
        let socket = UdpSocket::from_std(StdSocket::bind(LOCALHOST).unwrap(), &handle).unwrap();
        let duplicate = StdSocket::from(socket.as_fd().try_clone_to_owned().unwrap());
        // The reactor has seen the socket, with the first event.
        assert!(socket.poll_recv(&mut Context::from_waker(noop_waker_ref()), &mut [0; 8]).is_pending());
        reactor.wait(Some(TIME)).unwrap();
        let rest = if dropped { None } else { Some(socket.clone().into_std().unwrap()) };
        drop(socket);
        assert_eq!(handle.stats().sources, 0);
        let events = handle.stats().events;
        sender.send_to(b"x", duplicate.local_addr().unwrap()).unwrap();
        reactor.wait(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(handle.stats().events, events);
        assert_eq!(duplicate.recv(&mut [0; 8]).unwrap(), 1, "it is there");
        drop(rest);
    }
}

/// A socket that never waits is never registered: neither a sender, nor a receiver that only tries now and then. A
/// socket that waits is registered, and receives the datagrams queued before.
#[test]
fn who_never_waits_is_not_registered() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let (socket, peer) = (UdpSocket::bind(LOCALHOST).await.unwrap(), UdpSocket::bind(LOCALHOST).await.unwrap());
            for round in 0..3 {
                assert_eq!(peer.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock, "{round}");
                socket.send_to(b"x", address(&peer)).await.unwrap();
                assert_eq!(peer.try_recv(&mut [0; 8]).unwrap(), 1);
                assert_eq!(handle.stats().sources, 0);
            }
            // The socket does not know of this datagram: its last attempt found nothing.
            peer.try_recv(&mut [0; 8]).unwrap_err();
            socket.send_to(b"there", address(&peer)).await.unwrap();
            assert_eq!(peer.recv(&mut [0; 8]).await.unwrap(), 5);
            assert_eq!(handle.stats().sources, 1);
        })
        .unwrap();
    assert_eq!(handle.stats().sources, 0);
}

/// A dropped reactor is noticed when a socket is made, and by every attempt.
#[test]
fn a_reactor_that_is_gone() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let socket = runtime.run_until(UdpSocket::bind(LOCALHOST)).unwrap().unwrap();
    let address = address(&socket);
    drop(runtime);
    let std = StdSocket::bind(LOCALHOST).unwrap();
    let errors = [
        futures::executor::block_on(UdpSocket::bind_with(LOCALHOST, &handle)).map(drop).unwrap_err(),
        UdpSocket::from_std(std, &handle).map(drop).unwrap_err(),
        socket.try_send_to(b"x", address).map(drop).unwrap_err(),
        socket.try_recv(&mut [0; 8]).map(drop).unwrap_err(),
        futures::executor::block_on(socket.recv(&mut [0; 8])).map(drop).unwrap_err(),
        futures::executor::block_on(socket.send_to(b"x", address)).map(drop).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().contains("dropped"), "{error}");
    }
}

/// Behaviour 89: the longest datagram is sent. One byte more is an error, and so is a gigabyte.
#[test]
fn too_long_is_an_error() {
    block_on(async {
        let (left, right) = pair().await;
        // Room for the largest datagram, whatever the system's defaults are.
        right.set_recv_buffer_size(1 << 20).unwrap();
        left.set_send_buffer_size(1 << 20).unwrap();
        let longest: Vec<u8> = (0..LONGEST).map(|number| number as u8).collect();
        assert_eq!(left.send(&longest).await.unwrap(), LONGEST);
        let mut buffer = vec![0; 1 << 20];
        assert_eq!(right.recv(&mut buffer).await.unwrap(), LONGEST);
        assert!(buffer[..LONGEST] == longest);
        let message_size = |error: io::Error| assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE), "{error}");
        for length in [LONGEST + 1, 65_535, 65_536, 1 << 30] {
            let long = vec![0; length];
            message_size(left.send(&long).await.unwrap_err());
            message_size(left.send_to(&long, address(&right)).await.unwrap_err());
            message_size(left.try_send(&long).unwrap_err());
            message_size(left.try_send_to(&long, address(&right)).unwrap_err());
        }
        // A buffer may be of any size.
        let mut large = vec![0; 1 << 30];
        left.send(b"x").await.unwrap();
        assert_eq!(right.recv_datagram(&mut large).await.unwrap().bytes, b"x");
        assert!(right.recv(&mut large).now_or_never().is_none(), "nothing else has come");
    });
}

/// A socket without a reader drops the datagrams for which its queue has no room. This is the kernel's behaviour, and
/// no error.
#[test]
fn what_the_queue_has_no_room_for_is_lost() {
    block_on(async {
        let (left, right) = pair().await;
        right.set_recv_buffer_size(0).unwrap();
        for _ in 0..1000 {
            assert_eq!(left.send(&[7; 64]).await.unwrap(), 64);
        }
        let mut received = 0;
        while let Some(result) = right.recv(&mut [0; 64]).now_or_never() {
            assert_eq!(result.unwrap(), 64);
            received += 1;
        }
        assert!((1..1000).contains(&received), "{received}");
        left.send(b"later").await.unwrap();
        assert_eq!(right.recv(&mut [0; 64]).await.unwrap(), 5);
    });
}

/// Conversions from and to std's type, with and without clones; and the traits of descriptors.
#[test]
fn conversions_both_ways() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let peer = StdSocket::bind(LOCALHOST).unwrap();
    runtime
        .run_until(async {
            let std = StdSocket::bind(LOCALHOST).unwrap();
            let (number, local) = (std.as_raw_fd(), std.local_addr().unwrap());
            let socket = UdpSocket::from_std(std, &handle).unwrap();
            assert_eq!((socket.as_raw_fd(), socket.as_fd().as_raw_fd()), (number, number));
            assert!(SockRef::from(&socket).nonblocking().unwrap());
            assert!(format!("{socket:?}").contains("127.0.0.1"), "{socket:?}");
            peer.send_to(b"one", local).unwrap();
            assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 3);

            // If a clone exists, std gets a duplicate, and both work.
            let clone = socket.clone();
            let duplicate = socket.into_std().unwrap();
            assert_ne!(duplicate.as_raw_fd(), number);
            peer.send_to(b"two", local).unwrap();
            assert_eq!(clone.recv(&mut [0; 8]).await.unwrap(), 3);
            drop(duplicate);
            peer.send_to(b"three", local).unwrap();
            assert_eq!(clone.recv(&mut [0; 8]).await.unwrap(), 5);

            // Without clones, std gets the same descriptor, which can be set to blocking again.
            let std = clone.into_std().unwrap();
            assert_eq!((std.as_raw_fd(), handle.stats().sources), (number, 0));
            std.set_nonblocking(false).unwrap();
            peer.send_to(b"four", local).unwrap();
            assert_eq!(std.recv(&mut [0; 8]).unwrap(), 4);

            let socket = UdpSocket::try_from(std).unwrap();
            let fd = OwnedFd::try_from(socket).unwrap();
            assert_eq!(fd.as_raw_fd(), number);
            let socket = UdpSocket::try_from(fd).unwrap();
            peer.send_to(b"five", local).unwrap();
            assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 4);
        })
        .unwrap();
    assert_eq!(runtime.handle().stats().sources, 0);
}

/// Descriptors of another kind are errors, without further effects.
#[test]
fn descriptors_that_are_no_udp_sockets() {
    block_on(async {
        // The conversion from a descriptor checks its kind; the conversion from std's socket does not.
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert_eq!(UdpSocket::try_from(file).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert_eq!(
            UdpSocket::try_from(std::net::UdpSocket::from(file)).unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );

        let mut batch = RecvBatch::new(4, 8).unwrap();
        let (_reader, writer) = packet_pipe().unwrap();
        let pipe = UdpSocket::try_from(std::net::UdpSocket::from(writer)).unwrap();
        assert_eq!(pipe.send(b"x").await.unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
        assert_eq!(pipe.recv(&mut [0; 8]).await.unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
        assert_eq!(pipe.recv_batch(&mut batch).await.unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));

        // A datagram socket of another family: its senders have no IP address.
        let (unix, peer) = UnixDatagram::pair().unwrap();
        let unix = UdpSocket::try_from(std::net::UdpSocket::from(OwnedFd::from(unix))).unwrap();
        for _ in 0..5 {
            peer.send(b"x").unwrap();
        }
        assert_eq!(unix.recv(&mut [0; 8]).await.unwrap(), 1);
        assert!(unix.recv_from(&mut [0; 8]).await.is_err());
        assert_eq!(unix.recv_datagram(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(unix.recv_batch(&mut batch).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(batch.is_empty());
    });
}

/// Without a reactor, or after it was dropped: errors that say so, for waiting operations and for later ones.
#[test]
fn without_a_reactor() {
    let _watchdog = watchdog(TIME);
    let errors = [
        futures::executor::block_on(UdpSocket::bind(LOCALHOST)).unwrap_err(),
        UdpSocket::try_from(StdSocket::bind(LOCALHOST).unwrap()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().contains("Handle::enter"), "{error}");
    }

    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let bind = UdpSocket::bind_with(LOCALHOST, &handle);
    let socket = futures::executor::block_on(bind).unwrap();
    let (mut buffer, mut batch) = ([0; 8], RecvBatch::new(4, 8).unwrap());
    let (counter, waker) = CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    let mut recv = pin!(socket.recv(&mut buffer));
    let mut recv_batch = pin!(socket.recv_batch(&mut batch));
    assert!(recv.as_mut().poll(&mut cx).is_pending() && recv_batch.as_mut().poll(&mut cx).is_pending());
    drop(reactor);
    assert!(counter.count() > 0);
    let gone = |poll: Poll<io::Result<usize>>| {
        assert!(matches!(poll, Poll::Ready(Err(error)) if error.kind() == ErrorKind::NotConnected));
    };
    gone(recv.poll(&mut cx));
    gone(recv_batch.poll(&mut cx));
    gone(socket.poll_peek(&mut cx, &mut [0; 8]));
    gone(socket.poll_send_to(&mut cx, b"x", address(&socket)));
    gone(Poll::Ready(socket.try_recv(&mut [0; 8])));
    gone(Poll::Ready(socket.try_send_to(b"x", address(&socket))));
    assert!(socket.poll_readable(&mut cx).map(|result| result.is_err()) == Poll::Ready(true));
    let late = futures::executor::block_on(UdpSocket::bind_with(LOCALHOST, &handle)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NotConnected);
}

#[test]
fn descriptors_are_nonblocking_and_close_on_exec() {
    block_on(async {
        let socket = socket().await;
        assert!(SockRef::from(&socket).nonblocking().unwrap());
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", socket.as_raw_fd())).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        assert_ne!(i32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC, 0, "{info}");
    });
}

/// Attempts return `WouldBlock` until the reactor has reported an arrival, and then take all queued datagrams.
#[test]
fn attempts_without_waiting() {
    block_on(async {
        let (left, right) = pair().await;
        let (mut buffer, mut batch) = ([0; 8], RecvBatch::new(4, 8).unwrap());
        for round in 0..3 {
            assert_eq!(right.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(right.try_recv_from(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(right.try_recv_datagram(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(right.try_peek_from(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(right.try_recv_batch(&mut batch).unwrap_err().kind(), ErrorKind::WouldBlock);
            left.writable().await.unwrap();
            for _ in 0..4 {
                assert_eq!(left.try_send(b"x").unwrap(), 1);
            }
            right.readable().await.unwrap();
            assert_eq!(right.try_recv(&mut buffer).unwrap(), 1, "round {round}");
            assert_eq!(right.try_recv_from(&mut buffer).unwrap(), (1, address(&left)));
            assert_eq!(right.try_recv_datagram(&mut buffer).unwrap().bytes, b"x");
            assert_eq!(right.try_recv_batch(&mut batch).unwrap(), 1);
        }
        let mut out = SendBatch::new(4, 8).unwrap();
        assert_eq!(left.try_send_batch(&mut out).unwrap(), 0);
        out.push(b"x").unwrap();
        assert_eq!(left.try_send_batch(&mut out).unwrap(), 1);
        assert_eq!(left.try_send_to(b"y", address(&right)).unwrap(), 1);
    });
}

/// Two receivers on one socket, with single receives and with batches, and two senders: exactly one receiver gets each
/// datagram.
#[test]
fn two_receivers_share_a_socket() {
    const EACH: u32 = 2000;
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let collected = Rc::clone(&seen);
    runtime
        .run_until(async move {
            let receiver = socket().await;
            let to = address(&receiver);
            let (single, many) = (receiver.clone(), receiver);
            let (ones, lots) = (Rc::clone(&collected), Rc::clone(&collected));
            let parse = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
            let one_by_one = async move {
                let mut buffer = [0; 4];
                loop {
                    assert_eq!(single.recv(&mut buffer).await.unwrap(), 4);
                    ones.borrow_mut().push(parse(&buffer));
                    yield_now().await;
                }
            };
            let in_batches = async move {
                let mut batch = RecvBatch::new(8, 4).unwrap();
                loop {
                    assert_eq!(many.recv_batch(&mut batch).await.unwrap(), batch.len());
                    lots.borrow_mut().extend(batch.iter().map(|datagram| parse(datagram.bytes)));
                    yield_now().await;
                }
            };
            spawner.spawn_local(one_by_one).unwrap();
            spawner.spawn_local(in_batches).unwrap();
            let sender = socket().await;
            let send = async |first: u32| {
                for number in first..first + EACH {
                    sender.send_to(&number.to_le_bytes(), to).await.unwrap();
                    // At most as many as the queue has room for.
                    while collected.borrow().len() + 64 < number as usize - first as usize {
                        yield_now().await;
                    }
                }
            };
            join(send(0), send(EACH)).await;
            while collected.borrow().len() < 2 * EACH as usize {
                yield_now().await;
            }
        })
        .unwrap();
    let mut seen = seen.take();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..2 * EACH), "each once");
}

/// Two threads send and receive through clones of one socket, with the reactor on a third.
#[test]
fn threads_share_a_socket() {
    const EACH: usize = 2000;
    let _watchdog = watchdog(TIME);
    let background = Reactor::new().unwrap().into_background().unwrap();
    let handle = background.handle();
    let echo = futures::executor::block_on(UdpSocket::bind_with(LOCALHOST, &handle)).unwrap();
    let to = address(&echo);
    let echoes = [echo.clone(), echo].map(|echo| {
        std::thread::spawn(move || {
            futures::executor::block_on(async {
                let (mut buffer, mut echoed) = ([0; 8], 0);
                loop {
                    let (length, from) = echo.recv_from(&mut buffer).await.unwrap();
                    if length == 0 {
                        return echoed;
                    }
                    echo.send_to(&buffer[..length], from).await.unwrap();
                    echoed += 1;
                }
            })
        })
    });
    let clients = [0, 1].map(|_| {
        let handle = handle.clone();
        std::thread::spawn(move || {
            futures::executor::block_on(async {
                let client = UdpSocket::bind_with(LOCALHOST, &handle).await.unwrap();
                client.connect(to).await.unwrap();
                let mut buffer = [0; 8];
                for number in 0..EACH {
                    client.send(&number.to_le_bytes()).await.unwrap();
                    assert_eq!(client.recv(&mut buffer).await.unwrap(), 8);
                    assert_eq!(buffer, number.to_le_bytes());
                }
                client
            })
        })
    });
    let clients = clients.map(|client| client.join().unwrap());
    for client in &clients {
        assert_eq!(client.try_send(&[]).unwrap(), 0);
    }
    let echoed: usize = echoes.map(|echo| echo.join().unwrap()).iter().sum();
    assert_eq!(echoed, 2 * EACH);
    drop(clients);
    assert_eq!(handle.stats().sources, 0);
    background.shutdown().unwrap();
}

/// A cancelled operation of any kind takes no datagram with it.
#[test]
fn cancelled_operations_lose_nothing() {
    block_on(async {
        let (left, right) = pair().await;
        let (mut buffer, mut batch) = ([0; 4], RecvBatch::new(4, 4).unwrap());
        let mut received = 0;
        for number in 0..3000_u32 {
            // Pending, and dropped. Then a datagram arrives, and a race follows that either side may win.
            match number % 3 {
                0 => assert!(right.recv(&mut buffer).now_or_never().is_none()),
                1 => assert!(right.recv_batch(&mut batch).now_or_never().is_none()),
                _ => assert!(right.recv_datagram(&mut buffer).now_or_never().is_none()),
            }
            left.send(&number.to_le_bytes()).await.unwrap();
            loop {
                let recv: LocalBoxFuture<'_, io::Result<usize>> = match number % 3 {
                    0 => right.recv(&mut buffer).map(|result| result.map(|_| 1)).boxed_local(),
                    1 => right.recv_batch(&mut batch).boxed_local(),
                    _ => right.recv_datagram(&mut buffer).map(|result| result.map(|_| 1)).boxed_local(),
                };
                match select(recv, yield_now().boxed_local()).await {
                    Either::Left((count, _)) => {
                        received += count.unwrap();
                        break;
                    }
                    Either::Right(_) => continue,
                }
            }
        }
        assert_eq!(received, 3000);
    });
}

/// A hand-written loop with a plain pool.
#[test]
fn in_a_loop_written_by_hand() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let mut pool = LocalPool::new();
    let spawner = reactor.spawner(&pool);
    let done = Rc::new(Cell::new(false));
    let flag = Rc::clone(&done);
    spawner
        .spawn_local(async move {
            let (left, right) = pair().await;
            let (received, sent) = {
                let mut buffer = [0; 8];
                join(right.recv(&mut buffer), left.send(b"hello")).await
            };
            assert_eq!((received.unwrap(), sent.unwrap()), (5, 5));
            flag.set(true);
        })
        .unwrap();
    loop {
        pool.run_until_stalled();
        if spawner.live_tasks() == 0 {
            break;
        }
        reactor.wait(None).unwrap();
    }
    assert!(done.get());
}

/// Options that must be set before binding, or that are missing here, can be set through socket2.
#[test]
fn options_before_binding() {
    block_on(async {
        let bind = |to: SocketAddr| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&to.into()).unwrap();
            UdpSocket::try_from(StdSocket::from(socket)).unwrap()
        };
        let one = bind(([127, 0, 0, 1], 0).into());
        let two = bind(address(&one));
        assert_eq!(address(&one), address(&two));
        // One of the two sockets gets each datagram.
        let sender = socket().await;
        sender.send_to(b"x", address(&one)).await.unwrap();
        let (mut first, mut second) = ([0; 8], [0; 8]);
        let (first, second) = (one.recv(&mut first).boxed_local(), two.recv(&mut second).boxed_local());
        assert_eq!(select(first, second).await.factor_first().0.unwrap(), 1);
    });
}

/// A socket in one reactor, and a source of the same descriptor in another reactor.
#[test]
fn two_reactors_share_a_socket() {
    let _watchdog = watchdog(TIME);
    let (mut first, mut second) = (LocalRuntime::new().unwrap(), LocalRuntime::new().unwrap());
    let socket = UdpSocket::from_std(StdSocket::bind(LOCALHOST).unwrap(), &first.handle()).unwrap();
    let shared = socket.as_fd().try_clone_to_owned().unwrap();
    let other = Source::with_handle(StdSocket::from(shared), &second.handle()).unwrap();
    let sender = StdSocket::bind(LOCALHOST).unwrap();
    for _ in 0..10 {
        sender.send_to(b"x", address(&socket)).unwrap();
        assert_eq!(first.run_until(socket.recv(&mut [0; 8])).unwrap().unwrap(), 1);
        sender.send_to(b"y", address(&socket)).unwrap();
        assert_eq!(second.run_until(other.read_with(|socket| socket.recv(&mut [0; 8]))).unwrap().unwrap(), 1);
    }
}
