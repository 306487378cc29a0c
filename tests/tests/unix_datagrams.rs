//! Unix datagrams: complete, in order, never lost, with two ways to wait.

use async_epoll::LocalRuntime;
use async_net_lite::unix::{UnixDatagram, UnixStream};
use async_timeout::{Timeout, sleep};
use futures::future::{FutureExt, LocalBoxFuture, join};
use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self};
use std::rc::Rc;
use std::time::Instant;
use tests::common::block_on;
use tests::{Folder, TIME, abstract_name, later, millis, thread_cpu, watchdog};

/// Behaviour 101: connected datagrams, and the addresses of the peer.
#[test]
fn connected_datagrams() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    block_on(async {
        let (server, client) = (folder.join("server"), folder.join("client"));
        let (server_socket, client_socket) = (UnixDatagram::bind(&server), UnixDatagram::bind(&client));
        let (server_socket, client_socket) = (server_socket.unwrap(), client_socket.unwrap());
        assert_eq!(client_socket.send(b"x").await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(client_socket.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        client_socket.connect(&server).unwrap();
        assert_eq!(client_socket.peer_addr().unwrap().as_pathname(), Some(&*server));
        assert_eq!(client_socket.local_addr().unwrap().as_pathname(), Some(&*client));
        client_socket.send(b"question").await.unwrap();
        let mut buffer = [0; 16];
        let (length, sender) = server_socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], sender.as_pathname()), (&b"question"[..], Some(&*client)));
        server_socket.send_to_addr(b"answer", &sender).await.unwrap();
        assert_eq!(client_socket.recv(&mut buffer).await.unwrap(), 6);

        // Empty datagrams are datagrams.
        client_socket.send(b"").await.unwrap();
        client_socket.send_to(b"", &server).await.unwrap();
        client_socket.send(b"x").await.unwrap();
        assert_eq!(server_socket.recv(&mut buffer).await.unwrap(), 0);
        assert_eq!(server_socket.recv(&mut []).await.unwrap(), 0);
        assert_eq!(server_socket.recv(&mut buffer).await.unwrap(), 1);

        // A datagram that is too large is an error, without a wait.
        let huge = vec![0; 8 << 20];
        assert_eq!(client_socket.send(&huge).await.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        assert_eq!(client_socket.send_to(&huge, &server).await.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));

        // The receiver is closed.
        drop(server_socket);
        let kinds =
            [client_socket.send(b"x").await.unwrap_err().kind(), client_socket.send(b"x").await.unwrap_err().kind()];
        assert_eq!(kinds, [ErrorKind::ConnectionRefused, ErrorKind::NotConnected]);
        assert_eq!(client_socket.send_to(b"x", &server).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(client_socket.take_error().unwrap().is_none());
    });
}

/// A datagram longer than the buffer: the rest is lost, and the receiver can see this. It can also see the sender.
#[test]
fn datagrams_that_are_cut() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    block_on(async {
        let path = folder.join("server");
        let server = UnixDatagram::bind(&path).unwrap();
        let named = abstract_name("cut");
        let clients = [
            UnixDatagram::unbound().unwrap(),
            UnixDatagram::bind(folder.join("client")).unwrap(),
            UnixDatagram::bind_addr(&named).unwrap(),
        ];
        for client in &clients {
            for (sent, truncated) in [(&b"12345678"[..], false), (b"123456789", true), (b"", false)] {
                client.send_to(sent, &path).await.unwrap();
                let mut buffer = [0; 8];
                let message = server.recv_message(&mut buffer, 0).await.unwrap();
                assert_eq!((message.length, message.truncated), (sent.len().min(8), truncated));
                assert_eq!(buffer[..message.length], sent[..message.length]);
                let address = client.local_addr().unwrap();
                assert_eq!(message.sender.as_pathname(), address.as_pathname());
                assert_eq!(message.sender.as_abstract_name(), address.as_abstract_name());
                assert!(message.fds.is_empty() && !message.fds_lost);
            }
        }
        clients[0].send_to(b"cut", &path).await.unwrap();
        assert_eq!(server.recv(&mut [0; 2]).await.unwrap(), 2);
        assert_eq!(server.try_recv(&mut [0; 2]).unwrap_err().kind(), ErrorKind::WouldBlock, "the rest is gone");

        // A C program may use all 108 bytes, which std cannot express: no panic, no wrong address.
        let sender = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None).unwrap();
        let full = folder.join(&"p".repeat(108 - folder.join("").as_os_str().len()));
        assert_eq!(full.as_os_str().len(), 108);
        tests::bind_full_path(sender.as_fd(), &full).unwrap();
        sender.connect(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        sender.send(b"full").unwrap();
        let message = server.recv_message(&mut [0; 8], 0).await.unwrap();
        assert!(message.length == 4 && message.sender.is_unnamed());
    });
}

/// Behaviour 102: attempts never block, and report the present state even before the first wait.
#[test]
fn tried_operations_never_block() {
    block_on(async {
        let address = abstract_name("tried");
        let server = UnixDatagram::bind_addr(&address).unwrap();
        let client = UnixDatagram::unbound().unwrap();
        let mut byte = [0];
        let full = |result: io::Result<usize>| match result {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                true
            }
            Ok(length) => {
                assert_eq!(length, 1);
                false
            }
        };
        for round in 0..3 {
            assert_eq!(server.try_recv(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(server.try_recv_from(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
            let mut queued = 0;
            while !full(client.try_send_to_addr(b"x", &address)) {
                queued += 1;
            }
            assert!(queued > 0);
            client.connect_addr(&address).unwrap();
            assert!(full(client.try_send(b"x")) && full(client.try_send(b"x")));
            for _ in 0..queued {
                assert_eq!(server.try_recv(&mut byte).unwrap(), 1);
            }
            assert_eq!(client.try_send(b"x").unwrap(), 1, "round {round}: there is room again");
            assert_eq!(server.try_recv_from(&mut byte).unwrap().0, 1);
        }
        // Waiting and trying in turns does not spin: after a failed attempt, the wait is for a new event.
        let (left, right) = UnixStream::pair().unwrap();
        assert_eq!(left.try_read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!((left.try_read(&mut []).unwrap(), left.try_write(&[]).unwrap()), (0, 0));
        let thread = later(move || {
            std::thread::sleep(millis(100));
            right
        });
        let cpu = thread_cpu();
        let read = async {
            loop {
                left.readable().await.unwrap();
                match left.try_read(&mut byte) {
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    Ok(length) => break length,
                }
            }
        };
        assert!(Timeout::new(read, millis(90)).await.is_err());
        let right = thread.join().unwrap();
        assert!(thread_cpu() - cpu < millis(40));
        assert_eq!(right.try_write(b"x").unwrap(), 1);
        // The stream is known to be empty until the reactor reports otherwise.
        left.readable().await.unwrap();
        assert_eq!(left.try_read(&mut byte).unwrap(), 1);
        right.writable().await.unwrap();
        while right.try_write(&[0; 4096]).is_ok() {}
        assert!(right.writable().now_or_never().is_none());
    });
}

/// Behaviour 103: a connected sender waits for the receiver, and is woken each time. Datagrams arrive in order, and
/// none is lost.
#[test]
fn a_connected_sender_waits_for_room() {
    const MESSAGES: u32 = 20_000;
    let _watchdog = watchdog(TIME);
    for paired in [false, true] {
        block_on(async {
            let (receiver, sender) = if paired {
                let (receiver, sender) = net::UnixDatagram::pair().unwrap();
                (receiver, UnixDatagram::try_from(sender).unwrap())
            } else {
                let address = abstract_name("room");
                let receiver = net::UnixDatagram::bind_addr(&address).unwrap();
                let sender = UnixDatagram::unbound().unwrap();
                sender.connect_addr(&address).unwrap();
                (receiver, sender)
            };
            let thread = std::thread::spawn(move || {
                let mut buffer = [0; 4];
                for number in 0..MESSAGES {
                    if number % 1000 == 0 {
                        std::thread::sleep(millis(1));
                    }
                    assert_eq!(receiver.recv(&mut buffer).unwrap(), 4);
                    assert_eq!(u32::from_ne_bytes(buffer), number);
                }
            });
            for number in 0..MESSAGES {
                assert_eq!(sender.send(&number.to_ne_bytes()).await.unwrap(), 4);
            }
            thread.join().unwrap();

            // The receiver is now closed.
            sender.send(b"x").await.unwrap_err();
        });
    }
}

/// A connected sender waits without using CPU, and closing the receiver ends the wait.
#[test]
fn a_connected_sender_sleeps() {
    block_on(async {
        let address = abstract_name("sleeps");
        let receiver = net::UnixDatagram::bind_addr(&address).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect_addr(&address).unwrap();
        while sender.send(b"x").now_or_never().is_some() {}
        let cpu = thread_cpu();
        assert!(Timeout::new(sender.send(b"x"), millis(500)).await.is_err());
        assert!(thread_cpu() - cpu < millis(25));
        let thread = later(move || drop(receiver));
        assert_eq!(sender.send(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        thread.join().unwrap();
    });
}

/// Bug H3; trial 20: sending by address to a queue that is full for two seconds: no spinning, and delivery soon after
/// there is room.
#[test]
fn a_full_receiver_makes_a_sender_wait() {
    block_on(async {
        let address = abstract_name("full-receiver");
        let receiver = UnixDatagram::bind_addr(&address).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        // Registered, so that the kernel would report each failure as "writable".
        assert!(sender.recv(&mut [0]).now_or_never().is_none());
        let mut queued = 0;
        while sender.try_send_to_addr(b"x", &address).is_ok() {
            queued += 1;
        }
        let room: Cell<Option<Instant>> = Cell::new(None);
        let send = async {
            assert_eq!(sender.send_to_addr(b"last", &address).await.unwrap(), 4);
            room.get().expect("sent before there was room").elapsed()
        };
        let drain = async {
            let (cpu, begin) = (thread_cpu(), Instant::now());
            sleep(millis(2000)).await;
            let cpu = thread_cpu() - cpu;
            assert!(cpu * 20 <= begin.elapsed(), "5 % of the time at most, not {cpu:?}");
            room.set(Some(Instant::now()));
            let mut buffer = [0; 8];
            for _ in 0..queued {
                assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 1);
            }
            let length = receiver.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"last");
        };
        let (late, ()) = join(send, drain).await;
        let limit = if tests::strict_timing() { millis(20) } else { millis(1000) };
        assert!(late <= limit, "{late:?} after there was room");

        // A cancelled send has sent nothing.
        while sender.try_send_to_addr(b"x", &address).is_ok() {}
        assert!(Timeout::new(sender.send_to_addr(b"never", &address), millis(30)).await.is_err());
        let mut buffer = [0; 8];
        while let Ok(length) = receiver.try_recv(&mut buffer) {
            assert_eq!(length, 1);
        }

        // The receiver is closed meanwhile.
        while sender.try_send_to_addr(b"x", &address).is_ok() {}
        let (refused, ()) = join(sender.send_to_addr(b"x", &address), async {
            sleep(millis(10)).await;
            drop(receiver);
        })
        .await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

/// A socket is connected to a receiver with a full queue: a datagram to another receiver does not wait.
#[test]
fn a_full_receiver_holds_up_nobody_else() {
    block_on(async {
        let (full, free) = (abstract_name("holds-up-full"), abstract_name("holds-up-free"));
        let (_stuffed, receiver) = (UnixDatagram::bind_addr(&full).unwrap(), UnixDatagram::bind_addr(&free).unwrap());
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect_addr(&full).unwrap();
        while sender.send(b"x").now_or_never().is_some() {}
        let stuck = sender.clone();
        let mut stuck = pin_send(&stuck);
        assert!(futures::poll!(&mut stuck).is_pending());
        for _ in 0..5 {
            sender.send_to_addr(b"y", &free).await.unwrap();
            assert_eq!(receiver.recv(&mut [0; 4]).await.unwrap(), 1);
        }
        assert!(futures::poll!(&mut stuck).is_pending());
    });
}

fn pin_send(socket: &UnixDatagram) -> LocalBoxFuture<'_, io::Result<usize>> {
    socket.send(b"x").boxed_local()
}

/// Behaviour 105: one task sends and another receives, on clones of one socket. A flood does not starve other tasks.
#[test]
fn one_datagram_socket_in_two_tasks() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let (received, ticks) = runtime
        .run_until(async {
            let (near, far) = UnixDatagram::pair().unwrap();
            let reflect = async move {
                let mut buffer = [0; 8];
                while let Ok(length) = far.recv(&mut buffer).await {
                    if length == 0 || far.send(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            };
            spawner.spawn_local(reflect).unwrap();
            let ticks = Rc::new(Cell::new(0));
            let count = Rc::clone(&ticks);
            let tick = async move {
                loop {
                    sleep(millis(1)).await;
                    count.set(count.get() + 1);
                }
            };
            spawner.spawn_local(tick).unwrap();
            let sender = near.clone();
            let send = async move {
                for number in 0..10_000_u32 {
                    sender.send(&number.to_ne_bytes()).await.unwrap();
                }
            };
            spawner.spawn_local(send).unwrap();
            let mut buffer = [0; 8];
            for number in 0..10_000_u32 {
                assert_eq!(near.recv(&mut buffer).await.unwrap(), 4);
                assert_eq!(buffer[..4], number.to_ne_bytes());
            }
            (10_000, ticks.get())
        })
        .unwrap();
    assert_eq!(received, 10_000);
    assert!(ticks > 0);
    assert_eq!(runtime.handle().stats().task_panics, 0);
}
