//! TCP listener and stream: the same API as std's, the contract of futures-io, and errors.

use async_epoll::{Handle, LocalRuntime, Reactor, Source, Timer};
use async_net_lite::{TcpListener, TcpStream};
use futures::channel::oneshot;
use futures::executor::LocalPool;
use futures::future::{FutureExt, LocalBoxFuture, join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::stream::StreamExt;
use futures::task::noop_waker;
use futures::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::common::tcp::{pair, reset, std_pair};
use tests::common::{block_on, streams};
use tests::{LOCALHOST, TIME, in_child, open_fds, thread_cpu, watchdog};

/// Behaviour 1, 7, 18: addresses are real, and mirror each other.
#[test]
fn addresses_mirror_each_other() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let client = TcpStream::connect(address).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!((client.peer_addr().unwrap(), server.local_addr().unwrap()), (address, address));
        assert_eq!((client.local_addr().unwrap(), server.peer_addr().unwrap()), (peer, peer));
    });
}

/// Behaviour 2: the same over IPv6, if the machine has it.
#[test]
fn ipv6_works_too() {
    let _watchdog = watchdog(TIME);
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    block_on(async {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = join(connect, listener.accept()).await;
        assert_eq!(client.unwrap().local_addr().unwrap(), server.unwrap().1);
    });
}

/// Behaviour 5: every form of an address.
#[test]
fn addresses_of_every_kind() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let port = address.port();
        TcpStream::connect(address).await.unwrap();
        TcpStream::connect(address.to_string()).await.unwrap();
        TcpStream::connect(address.to_string().as_str()).await.unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        TcpStream::connect((String::from("127.0.0.1"), port)).await.unwrap();
        TcpStream::connect([address]).await.unwrap();
        TcpStream::connect(&[address][..]).await.unwrap();
        TcpStream::connect(vec![address]).await.unwrap();
        TcpStream::connect(("localhost", port)).await.unwrap();
        TcpStream::connect(format!("localhost:{port}")).await.unwrap();
    });
}

/// Behaviour 6: the first address that answers wins. If none does, the last error is returned. Impossible addresses are
/// refused.
#[test]
fn several_addresses_and_bad_ones() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind(LOCALHOST).unwrap().local_addr().unwrap();
        let stream = TcpStream::connect([closed, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let kind = async |address: &[SocketAddr]| TcpStream::connect(address).await.unwrap_err().kind();
        assert_eq!(kind(&[closed, closed]).await, ErrorKind::ConnectionRefused);
        assert_eq!(kind(&[]).await, ErrorKind::InvalidInput);
        for nonsense in ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http", ":::"] {
            let error = TcpStream::connect(nonsense).await.unwrap_err();
            assert!(error.to_string().len() > 10, "{nonsense:?}: {error}");
        }
    });
}

/// Behaviour 3: a busy port is `AddrInUse`.
#[test]
fn a_busy_port_is_addr_in_use() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let error = TcpListener::bind(listener.local_addr().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

/// Behaviour 194: without a reactor there is no panic, but an error that says what to do.
#[test]
fn outside_a_reactor_there_is_an_error_that_says_what_to_do() {
    let listener = std::net::TcpListener::bind(LOCALHOST).unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let errors = [
        futures::executor::block_on(connect).unwrap_err(),
        futures::executor::block_on(TcpListener::bind(LOCALHOST)).unwrap_err(),
        TcpListener::try_from(listener).unwrap_err(),
        Handle::current().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().contains("Handle::enter"), "{error}");
    }
}

/// Bug F13; behaviour 9: a refused connection is an error, also with an explicit handle.
#[test]
fn a_refused_connection_is_an_error() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let closed = std::net::TcpListener::bind(LOCALHOST).unwrap().local_addr().unwrap();
    runtime
        .run_until(async {
            for _ in 0..10 {
                let error = TcpStream::connect_with(closed, &handle).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            }
        })
        .unwrap();
    assert_eq!(runtime.handle().stats().sources, 0);
}

/// Behaviour 17; bug F17, I2: accepted and connected sockets are non-blocking and close-on-exec.
#[test]
fn descriptors_are_nonblocking_and_close_on_exec() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        for fd in [listener.as_fd(), client.as_fd(), server.as_fd()] {
            let socket = SockRef::from(&fd);
            assert!(socket.nonblocking().unwrap());
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            let flags = i32::from_str_radix(flags, 8).unwrap();
            assert_ne!(flags & libc::O_CLOEXEC, 0, "{info}");
        }
    });
}

/// Behaviour 23: `nodelay` is off unless set.
#[test]
fn nodelay_is_off_unless_set() {
    block_on(async {
        let (client, _server) = pair().await;
        assert!(!client.nodelay().unwrap());
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
    });
}

/// Behaviour 30, 53: a megabyte both ways at once, through references to one stream.
#[test]
fn a_megabyte_both_ways() {
    streams::a_megabyte_both_ways(async || pair().await);
}

/// Behaviour 33, 34: many slices, some of them empty, arrive in order and completely.
#[test]
fn vectored_reads_and_writes() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        let bytes: Vec<u8> = (0..5000_u32).map(|i| i as u8).collect();
        let mut slices: Vec<_> = (0..2000).map(|_| IoSlice::new(&[])).collect();
        slices.extend(bytes.chunks(1).map(IoSlice::new));
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            let written = client.write_vectored(slices).await.unwrap();
            assert_ne!(written, 0);
            IoSlice::advance_slices(&mut slices, written);
        }
        let (mut first, mut second) = ([0; 3], vec![0; 8000]);
        let mut read = 0;
        while read < 5000 {
            let mut buffers = [IoSliceMut::new(&mut []), IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            let count = server.read_vectored(&mut buffers).await.unwrap();
            let got: Vec<u8> = first.iter().chain(&second).copied().take(count).collect();
            assert_eq!(got, bytes[read..read + count]);
            read += count;
        }
    });
}

/// Bug G6: an empty operation returns at once, whatever the state of the connection.
#[test]
fn empty_operations_return_at_once() {
    block_on(async {
        let (mut client, _server) = pair().await;
        assert_eq!(client.read(&mut []).await.unwrap(), 0);
        assert_eq!(client.read_vectored(&mut []).await.unwrap(), 0);
        assert_eq!(client.read_vectored(&mut [IoSliceMut::new(&mut [])]).await.unwrap(), 0);
        assert_eq!(client.write(&[]).await.unwrap(), 0);
        assert_eq!(client.write_vectored(&[]).await.unwrap(), 0);
        assert_eq!(client.write_vectored(&[IoSlice::new(&[])]).await.unwrap(), 0);
        client.flush().await.unwrap();
    });
}

/// Bug G1, G2; behaviour 43, 46, 47: `close` sends an end of file once, reading still works, and closing after a reset
/// succeeds.
#[test]
fn close_is_an_idempotent_half_close() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        for _ in 0..3 {
            client.close().await.unwrap();
        }
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        server.write_all(b"still here").await.unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "still here");

        let (peer, mut server) = std_pair().await;
        reset(peer);
        assert_eq!(server.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        server.close().await.unwrap();
        server.close().await.unwrap();
        assert_eq!(server.shutdown(Shutdown::Write).unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

/// Bug B1; behaviour 41, 51: data and end of file in one event, read with a buffer larger than the data.
#[test]
fn data_with_an_end_of_file_is_read_to_its_end() {
    block_on(async {
        for late in [false, true] {
            let (mut peer, mut server) = std_pair().await;
            let act = move || {
                peer.write_all(b"0123456789").unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
                peer
            };
            // Before the first wait, or while the reader waits.
            let (peer, thread) = if late {
                (
                    None,
                    Some(std::thread::spawn(|| {
                        std::thread::sleep(Duration::from_millis(20));
                        act()
                    })),
                )
            } else {
                (Some(act()), None)
            };
            let mut buffer = [0; 64];
            assert_eq!(server.read(&mut buffer).await.unwrap(), 10);
            assert_eq!(server.read(&mut buffer).await.unwrap(), 0, "without another event");
            drop((peer, thread.map(|thread| thread.join().unwrap())));
        }
    });
}

/// Bug B2: a short read at the urgent mark does not mean "drained".
#[test]
fn urgent_data_does_not_hide_what_follows() {
    block_on(async {
        for late in [false, true] {
            let (peer, mut server) = std_pair().await;
            let act = move || {
                let socket = SockRef::from(&peer);
                socket.send(b"abc").unwrap();
                socket.send_out_of_band(b"!").unwrap();
                socket.send(b"def").unwrap();
                peer
            };
            let thread = std::thread::spawn(move || {
                if late {
                    std::thread::sleep(Duration::from_millis(20));
                }
                act()
            });
            if !late {
                async_timeout::sleep(Duration::from_millis(20)).await;
            }
            let mut buffer = [0; 6];
            server.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"abcdef");
            drop(thread.join().unwrap());
        }
    });
}

/// Many short reads: pieces of any size arrive completely, and no read hangs.
#[test]
fn short_reads_never_lose_an_edge() {
    block_on(async {
        let (mut peer, mut server) = std_pair().await;
        peer.set_nodelay(true).unwrap();
        let thread = std::thread::spawn(move || {
            for round in 0..20_000_u32 {
                peer.write_all(&vec![round as u8; (round % 97) as usize + 1]).unwrap();
            }
        });
        let mut buffer = [0; 64];
        for round in 0..20_000_u32 {
            let buffer = &mut buffer[..];
            let mut left = (round % 97) as usize + 1;
            while left > 0 {
                let length = left.min(buffer.len());
                let count = server.read(&mut buffer[..length]).await.unwrap();
                assert!(count > 0 && buffer[..count].iter().all(|&byte| byte == round as u8));
                left -= count;
            }
        }
        thread.join().unwrap();
        assert_eq!(server.read(&mut buffer).await.unwrap(), 0);
    });
}

/// Behaviour 37, 38, 39, 42: the peer goes away while we wait.
#[test]
fn a_peer_that_goes_away_wakes_reader_and_writer() {
    block_on(async {
        let later = |act: Box<dyn FnOnce() + Send>| {
            std::thread::spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                act()
            })
        };
        let (peer, mut server) = std_pair().await;
        let thread = later(Box::new(|| drop(peer)));
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        thread.join().unwrap();

        let (peer, mut server) = std_pair().await;
        let thread = later(Box::new(|| reset(peer)));
        assert_eq!(server.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(matches!(
            server.write(b"x").await.unwrap_err().kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
        thread.join().unwrap();

        let (peer, mut server) = std_pair().await;
        let thread = later(Box::new(|| reset(peer)));
        let error = loop {
            if let Err(error) = server.write(&[0; 65536]).await {
                break error;
            }
        };
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        thread.join().unwrap();
    });
}

/// Bug B9; behaviour 49, 50: a blocked writer does not spin when the peer closes its writing side.
#[test]
fn a_half_closed_peer_does_not_make_a_writer_spin() {
    block_on(async {
        let (mut peer, mut server) = std_pair().await;
        let sent = Cell::new(0);
        let fill = async {
            loop {
                sent.set(sent.get() + server.write(&[7; 65536]).await.unwrap());
            }
        };
        assert!(async_timeout::Timeout::new(fill, Duration::from_millis(100)).await.is_err());
        peer.shutdown(Shutdown::Write).unwrap();
        let cpu = thread_cpu();
        let polls = Cell::new(0);
        let blocked = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            Pin::new(&mut server).poll_write(cx, b"x")
        });
        assert!(async_timeout::Timeout::new(blocked, Duration::from_millis(300)).await.is_err());
        assert!(polls.get() <= 3 && thread_cpu() - cpu < Duration::from_millis(30), "{} polls", polls.get());
        // The peer can still read all of it.
        let thread = std::thread::spawn(move || {
            let mut received = vec![0; sent.get()];
            peer.read_exact(&mut received).unwrap();
            peer
        });
        server.writable_again().await;
        drop(thread.join().unwrap());
    });
}

trait WritableAgain {
    async fn writable_again(&mut self);
}

impl WritableAgain for TcpStream {
    async fn writable_again(&mut self) {
        assert_eq!(self.write(b"x").await.unwrap(), 1);
    }
}

/// Bug B11; behaviour 193: a reset connection without a reader uses no CPU.
#[test]
fn a_reset_connection_does_not_spin() {
    block_on(async {
        let (peer, mut server) = std_pair().await;
        // Registered first, then reset.
        assert!(server.read(&mut [0; 1]).now_or_never().is_none());
        reset(peer);
        let cpu = thread_cpu();
        async_timeout::sleep(Duration::from_millis(500)).await;
        assert!(thread_cpu() - cpu < Duration::from_millis(25));
    });
}

/// Bug D6, D7: a reader and a writer, and two readers, on one socket: all are woken.
#[test]
fn several_tasks_on_one_stream() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let ended = Rc::new(Cell::new(0));
    let count = Rc::clone(&ended);
    runtime
        .run_until(async move {
            let (client, server) = pair().await;
            for _ in 0..3 {
                let (server, count) = (server.clone(), Rc::clone(&count));
                spawner
                    .spawn_local(async move {
                        let mut byte = [0];
                        while (&server).read(&mut byte).await.unwrap() == 1 {}
                        count.set(count.get() + 1);
                    })
                    .unwrap();
            }
            tests::yield_now().await;
            for _ in 0..100 {
                (&client).write_all(b"x").await.unwrap();
                tests::yield_now().await;
            }
            drop(client);
        })
        .unwrap();
    runtime.run().unwrap();
    assert_eq!((ended.get(), runtime.handle().stats().task_panics), (3, 0));
}

/// Behaviour 13, 14: the listener is not polled without a connection, and twice for one.
#[test]
fn accepting_polls_no_more_than_needed() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    runtime
        .run_until(async move {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut incoming = listener.incoming();
            let counting = count.clone();
            spawner
                .spawn_local(poll_fn(move |cx| {
                    counting.set(counting.get() + 1);
                    while let Poll::Ready(Some(stream)) = incoming.poll_next_unpin(cx) {
                        stream.unwrap();
                    }
                    Poll::Pending
                }))
                .unwrap();
            async_timeout::sleep(Duration::from_millis(50)).await;
            assert_eq!(count.get(), 1, "no connection, no poll");
            let _client = std::net::TcpStream::connect(address).unwrap();
            async_timeout::sleep(Duration::from_millis(50)).await;
            assert_eq!(count.get(), 2, "one came");
        })
        .unwrap();
}

/// Bug B13; behaviour 15: fifty tasks accept a hundred queued connections: all are accepted.
#[test]
fn no_queued_connection_is_forgotten() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let accepted = Rc::new(Cell::new(0));
    let count = Rc::clone(&accepted);
    runtime
        .run_until(async move {
            let listener = Rc::new(TcpListener::bind(LOCALHOST).await.unwrap());
            let address = listener.local_addr().unwrap();
            for _ in 0..50 {
                let (listener, count) = (Rc::clone(&listener), Rc::clone(&count));
                spawner
                    .spawn_local(async move {
                        loop {
                            listener.accept().await.unwrap();
                            count.set(count.get() + 1);
                        }
                    })
                    .unwrap();
            }
            tests::yield_now().await;
            let clients: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            while accepted.get() < 100 {
                async_timeout::sleep(Duration::from_millis(1)).await;
            }
            drop(clients);
        })
        .unwrap();
}

/// Bug B13: a task accepts at most 16 connections in one poll, and wakes itself for the others.
#[test]
fn sixteen_accepts_in_one_poll() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let polls = Rc::new(RefCell::new(vec![0]));
    let counts = Rc::clone(&polls);
    runtime
        .run_until(async move {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let address = listener.local_addr().unwrap();
            let clients: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let mut left = clients.len();
            poll_fn(|cx| {
                counts.borrow_mut().push(0);
                while left > 0 {
                    std::task::ready!(listener.poll_accept(cx)).unwrap();
                    *counts.borrow_mut().last_mut().unwrap() += 1;
                    left -= 1;
                }
                Poll::Ready(())
            })
            .await;
        })
        .unwrap();
    let polls = polls.borrow();
    assert!(polls.iter().sum::<usize>() == 100 && polls.iter().all(|&accepts| accepts <= 16), "{polls:?}");
}

/// Bug F19: dropping an accept loses no connection.
#[test]
fn a_cancelled_accept_loses_nothing() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut accepted, mut connected) = (0, 0);
        for _ in 0..1000 {
            let client = std::net::TcpStream::connect(address).unwrap();
            connected += 1;
            if let Some(stream) = listener.accept().now_or_never() {
                stream.unwrap();
                accepted += 1;
            }
            drop(client);
            tests::yield_now().await;
        }
        while accepted < connected {
            listener.accept().await.unwrap();
            accepted += 1;
        }
    });
}

/// Bug F2: a connection reset in the queue is still accepted, and the listener continues.
#[test]
fn connections_reset_in_the_queue_do_not_end_the_stream() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = listener.incoming();
        for _ in 0..10 {
            reset(std::net::TcpStream::connect(address).unwrap());
        }
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(b"!").unwrap();
        let mut byte = [0];
        while !matches!(incoming.next().await.unwrap().unwrap().read(&mut byte).await, Ok(1)) {}
        assert_eq!(&byte, b"!");
    });
}

/// Bug A3; behaviour 26, 27: the listener and its streams convert from and to std's types.
#[test]
fn conversions_both_ways() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let listener = std::net::TcpListener::bind(LOCALHOST).unwrap();
            let number = listener.as_raw_fd();
            let listener = TcpListener::from_std(listener, &handle).unwrap();
            assert_eq!(listener.as_raw_fd(), number);
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let client = TcpStream::from_std(client, &handle).unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let listener = listener.into_std().unwrap();
            assert!(SockRef::from(&listener).nonblocking().unwrap());

            // The stream was registered by a wait. After deregistering, no event of it reaches the reactor.
            assert!(server.read(&mut [0]).now_or_never().is_none());
            assert_eq!(handle.stats().sources, 2);
            let mut std_server = server.into_std().unwrap();
            assert_eq!(handle.stats().sources, 1);
            let events = handle.stats().events;
            (&client).write_all(b"hello").await.unwrap();
            async_timeout::sleep(Duration::from_millis(20)).await;
            let of_the_client = handle.stats().events - events;
            assert!(of_the_client <= 1, "{of_the_client}");
            let mut buffer = [0; 5];
            std_server.read_exact(&mut buffer).unwrap();
            assert_eq!(&buffer, b"hello");

            // Back into a stream, through a bare descriptor.
            let mut server = TcpStream::try_from(OwnedFd::from(std_server)).unwrap();
            (&client).write_all(b"again").await.unwrap();
            server.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"again");
            drop(OwnedFd::try_from(server).unwrap());
            assert_eq!(handle.stats().sources, 1);
        })
        .unwrap();
    assert_eq!(runtime.handle().stats().sources, 0);
}

/// Bug A12, A13; behaviour 189, 190: the reactor is dropped first. Waiting operations are woken and fail, and so do all
/// later ones. Nothing panics.
#[test]
fn a_reactor_that_is_dropped_first() {
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let listener = TcpListener::from_std(std::net::TcpListener::bind(LOCALHOST).unwrap(), &handle).unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut client = TcpStream::from_std(client, &handle).unwrap();
    let mut unregistered = listener.accept().now_or_never().unwrap().unwrap().0;

    let (counter, waker) = tests::CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    let mut byte = [0];
    assert!(Pin::new(&mut client).poll_read(&mut cx, &mut byte).is_pending());
    assert!(listener.poll_accept(&mut cx).is_pending());
    drop(reactor);
    assert_eq!(counter.count(), 2, "each was woken, once");
    let gone = |result: Poll<io::Result<usize>>| match result {
        Poll::Ready(Err(error)) => assert!(error.to_string().contains("dropped"), "{error}"),
        other => panic!("{other:?}"),
    };
    for stream in [&mut client, &mut unregistered] {
        gone(Pin::new(&mut *stream).poll_read(&mut cx, &mut byte));
        gone(Pin::new(stream).poll_write(&mut cx, b"x"));
    }
    let mut incoming = listener.incoming();
    gone(listener.poll_accept(&mut cx).map_ok(|_| 0));
    assert!(futures::executor::block_on(incoming.next()).unwrap().is_err());
    assert!(futures::executor::block_on(incoming.next()).is_none(), "then the stream ends");
    let late = std::net::TcpListener::bind(LOCALHOST).unwrap();
    assert!(TcpListener::from_std(late, &handle).is_err());
}

/// Bug A12: a reactor is dropped while operations of every kind wait, polled by hand and by tasks. Each is woken once
/// and gets an error, and the tasks end.
#[test]
fn a_reactor_that_is_dropped_under_everybody() {
    let _watchdog = watchdog(TIME);
    let (reactor, mut pool) = (Reactor::new().unwrap(), LocalPool::new());
    let (handle, spawner) = (reactor.handle(), reactor.spawner(&pool));
    let full = tests::full_listener();
    // Peers that neither send nor read.
    let quiet = std::net::TcpListener::bind(LOCALHOST).unwrap();
    let mut peers = Vec::new();
    let mut stream = || {
        let stream = std::net::TcpStream::connect(quiet.local_addr().unwrap()).unwrap();
        peers.push(quiet.accept().unwrap().0);
        stream
    };
    let mut waiters = || -> Vec<LocalBoxFuture<'static, io::Result<()>>> {
        let source = || Source::with_handle(std::net::TcpListener::bind(LOCALHOST).unwrap(), &handle).unwrap();
        let listener = || TcpListener::from_std(std::net::TcpListener::bind(LOCALHOST).unwrap(), &handle).unwrap();
        let (readable, writable, priority, both) = (source(), source(), source(), Rc::new(source()));
        let (accepting, mut incoming) = (listener(), listener().incoming());
        let mut reader = TcpStream::from_std(stream(), &handle).unwrap();
        let mut writer = TcpStream::from_std(stream(), &handle).unwrap();
        let (connect_handle, second) = (handle.clone(), Rc::clone(&both));
        let far = Duration::from_secs(3600);
        vec![
            async move { readable.readable().await.map(drop) }.boxed_local(),
            async move { writable.writable().await.map(drop) }.boxed_local(),
            async move { priority.priority().await.map(drop) }.boxed_local(),
            async move { both.read_with(|listener| listener.accept()).await.map(drop) }.boxed_local(),
            async move { second.readable().await.map(drop) }.boxed_local(),
            async move { accepting.accept().await.map(drop) }.boxed_local(),
            async move { incoming.next().await.unwrap().map(drop) }.boxed_local(),
            async move { reader.read(&mut [0]).await.map(drop) }.boxed_local(),
            async move { writer.write_all(&vec![0; 100 << 20]).await }.boxed_local(),
            async move { TcpStream::connect_with(full.address, &connect_handle).await.map(drop) }.boxed_local(),
            Timer::after(far, &handle).boxed_local(),
            Timer::at(Instant::now() + far, &handle).boxed_local(),
            Timer::never(&handle).boxed_local(),
        ]
    };
    let mut by_hand: Vec<_> = waiters().into_iter().map(|future| (future, tests::CountingWaker::new())).collect();
    for (future, (counter, waker)) in &mut by_hand {
        // A future that has used up its budget for one poll wakes itself.
        let mut woken = usize::MAX;
        while std::mem::replace(&mut woken, counter.count()) != counter.count() {
            assert!(future.poll_unpin(&mut Context::from_waker(waker)).is_pending());
        }
    }
    let errors = Rc::new(Cell::new(0));
    for future in waiters() {
        let errors = Rc::clone(&errors);
        spawner
            .spawn_local(async move {
                let error = future.await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotConnected);
                errors.set(errors.get() + 1);
            })
            .unwrap();
    }
    pool.run_until_stalled();
    let tasks = by_hand.len();
    assert_eq!((spawner.live_tasks(), handle.stats().timers), (tasks, 4));

    let counts: Vec<_> = by_hand.iter().map(|(_, (counter, _))| counter.count()).collect();
    drop(reactor);
    for (index, ((future, (counter, waker)), before)) in by_hand.iter_mut().zip(counts).enumerate() {
        assert_eq!(counter.count(), before + 1, "waiter {index} is woken once");
        match future.poll_unpin(&mut Context::from_waker(waker)) {
            Poll::Ready(Err(error)) => assert!(error.to_string().contains("dropped"), "{error}"),
            other => panic!("waiter {index}: {other:?}"),
        }
    }
    pool.run_until_stalled();
    assert_eq!((errors.get(), spawner.live_tasks()), (tasks, 0));
    drop(by_hand);
    let stats = handle.stats();
    assert_eq!((stats.sources, stats.timers, stats.task_panics, stats.waker_panics), (0, 0, 0, 0));
}

/// Bug G4; trial 22: with the default action for SIGPIPE, writing to a closed connection must not kill the process.
/// Runs in a child process, since Rust programs ignore the signal by default.
#[test]
fn no_sigpipe() {
    if !in_child("no_sigpipe") {
        return;
    }
    tests::restore_default_sigpipe();
    block_on(async {
        for vectored in [false, true] {
            let (peer, mut server) = std_pair().await;
            reset(peer);
            async_timeout::sleep(Duration::from_millis(10)).await;
            for _ in 0..3 {
                let result = match vectored {
                    false => server.write(b"x").await,
                    true => server.write_vectored(&[IoSlice::new(b"x"), IoSlice::new(b"y")]).await,
                };
                assert!(matches!(result.unwrap_err().kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
            }
            for result in [server.try_write(b"x"), server.try_write_vectored(&[IoSlice::new(b"x"), IoSlice::new(b"y")])]
            {
                assert!(matches!(result.unwrap_err().kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
            }
            server.close().await.unwrap();
            let (reader, mut writer) = server.into_split();
            let result = writer.write_vectored(&[IoSlice::new(b"x"), IoSlice::new(b"y")]).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
            drop((writer, reader));
        }
    });
}

/// Bug F1: out of descriptors. `incoming` pauses instead of spinning, and continues when descriptors are available
/// again.
#[test]
fn out_of_descriptors() {
    if !in_child("out_of_descriptors") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    runtime
        .run_until(async {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let mut incoming = listener.incoming();
            let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            tests::limit_open_files(open_fds() + 2);
            let mut hoard = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                hoard.push(file);
            }
            let cpu = thread_cpu();
            let limited = async_timeout::Timeout::new(incoming.next(), Duration::from_millis(400));
            assert!(limited.await.is_err(), "nothing to accept with");
            assert!(thread_cpu() - cpu < Duration::from_millis(25));
            let raw = async_timeout::Timeout::new(listener.accept(), Duration::from_millis(100)).await;
            assert_eq!(raw.unwrap().unwrap_err().raw_os_error(), Some(libc::EMFILE), "accept itself tells");
            drop(hoard);
            let begin = Instant::now();
            incoming.next().await.unwrap().unwrap();
            assert!(begin.elapsed() <= Duration::from_secs(2));
        })
        .unwrap();
}

/// Streams work in any executor while some thread turns the reactor.
#[test]
fn polled_by_hand() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let _enter = handle.enter();
    let listener = std::net::TcpListener::bind(LOCALHOST).unwrap();
    let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut stream = TcpStream::try_from(listener.accept().unwrap().0).unwrap();
    let waker = noop_waker();
    let mut cx = Context::from_waker(&waker);
    let mut byte = [0];
    for _ in 0..100 {
        assert!(Pin::new(&mut stream).poll_read(&mut cx, &mut byte).is_pending());
        peer.write_all(b"x").unwrap();
        while Pin::new(&mut stream).poll_read(&mut cx, &mut byte).is_pending() {
            reactor.wait(None).unwrap();
        }
        assert_eq!(&byte, b"x");
        byte = [0];
    }
}

/// Behaviour 222: two runtimes on two threads exchange bytes.
#[test]
fn two_runtimes_on_two_threads() {
    let _watchdog = watchdog(TIME);
    let (sender, receiver) = oneshot::channel();
    let server = std::thread::spawn(move || {
        block_on(async move {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            futures::io::copy(&stream, &mut &stream).await.unwrap()
        })
    });
    block_on(async move {
        let mut stream = TcpStream::connect(receiver.await.unwrap()).await.unwrap();
        let mut buffer = [0; 64];
        for round in 0..2000_u32 {
            let sent = [round as u8; 64];
            stream.write_all(&sent).await.unwrap();
            stream.read_exact(&mut buffer).await.unwrap();
            assert_eq!(buffer, sent);
        }
    });
    assert_eq!(server.join().unwrap(), 2000 * 64);
}

/// A stream with clones is taken out as a duplicate of its descriptor. No event of it reaches the reactor afterwards,
/// and the entry left in the kernel does not prevent a new registration.
#[test]
fn taking_out_a_stream_that_has_clones() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let (stream, mut peer) = pair().await;
            assert!(futures::poll!((&stream).read(&mut [0])).is_pending(), "so it is registered");
            let clone = stream.clone();
            let taken = stream.into_std().unwrap();
            drop(clone);
            async_timeout::sleep(Duration::from_millis(5)).await;
            let turns = handle.stats().sleeps;
            peer.write_all(b"x").await.unwrap();
            async_timeout::sleep(Duration::from_millis(20)).await;
            // At most one sleep for the timer and one for the peer's own event; none for the stream taken out.
            assert!(handle.stats().sleeps - turns <= 2);
            let mut again = TcpStream::from_std(taken, &handle).unwrap();
            assert_eq!(again.read(&mut [0]).await.unwrap(), 1);

            // The same with a duplicate unknown to the reactor: the old entry is replaced.
            let (stream, mut peer) = pair().await;
            assert!(futures::poll!((&stream).read(&mut [0])).is_pending());
            let number = stream.as_raw_fd();
            let (high, duplicate) = tests::move_fd_high(stream.as_fd().try_clone_to_owned().unwrap()).unwrap();
            drop(stream);
            assert_ne!(high, number);
            let same_number = duplicate.try_clone().unwrap();
            peer.write_all(b"x").await.unwrap();
            let mut again = TcpStream::try_from(same_number).unwrap();
            assert_eq!(again.read(&mut [0]).await.unwrap(), 1);
        })
        .unwrap();
}

/// A descriptor converts only to a socket of its own kind.
#[test]
fn descriptors_of_another_kind() {
    block_on(async {
        let unix = || OwnedFd::from(std::os::unix::net::UnixStream::pair().unwrap().0);
        let datagrams = || OwnedFd::from(std::net::UdpSocket::bind(LOCALHOST).unwrap());
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        for fd in [unix(), datagrams()] {
            assert_eq!(TcpStream::try_from(fd).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(async_net_lite::UdpSocket::try_from(unix()).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(async_net_lite::UdpSocket::try_from(datagrams()).is_ok());
        assert!(async_net_lite::unix::UnixStream::try_from(unix()).is_ok());
        assert!(async_net_lite::unix::UnixStream::try_from(datagrams()).is_err());
        assert!(async_net_lite::unix::UnixDatagram::try_from(unix()).is_err());
        assert_eq!(TcpStream::try_from(file()).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    });
}

/// A socket on which `accept` always fails with an error that normally concerns one connection: no endless loop.
#[test]
fn a_listener_that_is_none() {
    block_on(async {
        let none = || OwnedFd::from(std::net::UdpSocket::bind(LOCALHOST).unwrap());
        // The conversion from a descriptor checks its kind, the conversion from std's listener does not.
        let refused = TcpListener::try_from(none()).unwrap_err();
        assert_eq!(refused.to_string(), "the descriptor is no listening TCP socket");
        let listener = TcpListener::try_from(std::net::TcpListener::from(none())).unwrap();
        assert_eq!(listener.accept().await.unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        let cpu = thread_cpu();
        let mut incoming = listener.incoming();
        assert!(async_timeout::Timeout::new(incoming.next(), Duration::from_millis(300)).await.is_err());
        assert!(thread_cpu() - cpu < Duration::from_millis(50));
    });
}
