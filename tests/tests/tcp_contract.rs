//! The contract of a stream beside reading and writing: single attempts, readiness, peeking, and the data that remains
//! after closing, conversion or cancellation.

use async_epoll::{Handle, LocalRuntime};
use async_net_lite::unix::{UnixDatagram, UnixListener, UnixStream};
use async_net_lite::{TcpListener, TcpStream, UdpSocket};
use async_timeout::TimeoutExt;
use futures::future::{FutureExt, join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use socket2::SockRef;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tests::common::block_on;
use tests::common::tcp::pair;
use tests::{CountingWaker, LOCALHOST, TIME, watchdog};

/// Waits until what has been sent has arrived.
async fn a_moment() {
    async_timeout::sleep(Duration::from_millis(5)).await;
}

fn would_block(result: std::io::Result<usize>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Behaviour 58: attempts never wait. After a `WouldBlock`, an attempt succeeds as soon as data is there, with or
/// without a wait for readiness in between.
#[test]
fn attempts_without_waiting() {
    block_on(async {
        let (client, server) = pair().await;
        let mut buffer = [0; 16];
        for round in 1..=10 {
            would_block(server.try_read(&mut buffer));
            would_block(server.try_read_vectored(&mut [IoSliceMut::new(&mut buffer)]));
            let sent = [round; 7];
            assert_eq!(client.try_write(&sent[..3]).unwrap(), 3);
            assert_eq!(client.try_write_vectored(&[IoSlice::new(&sent[3..4]), IoSlice::new(&sent[4..])]).unwrap(), 4);
            // Waits for readiness, or only for some time.
            match round % 2 {
                0 => drop(server.readable().await.unwrap()),
                _ => a_moment().await,
            }
            let (first, second) = buffer.split_at_mut(4);
            let mut parts = [IoSliceMut::new(first), IoSliceMut::new(&mut []), IoSliceMut::new(second)];
            let read = server.try_read_vectored(&mut parts).unwrap();
            // The second part may arrive a moment later.
            let rest = if read < 7 { (&server).read(&mut [0; 16]).await.unwrap() } else { 0 };
            assert_eq!((read + rest, buffer[0]), (7, round));
        }
        drop(client);
        server.readable().await.unwrap();
        assert_eq!(server.try_read(&mut buffer).unwrap(), 0);
        assert_eq!(server.try_read(&mut buffer).unwrap(), 0, "and again");
    });
}

/// Behaviour 34, for attempts: an empty attempt returns at once, even on a closed stream.
#[test]
fn empty_and_endless_attempts() {
    block_on(async {
        let (client, server) = pair().await;
        let bytes = [7_u8; 5000];
        let mut slices: Vec<_> = (0..2000).map(|_| IoSlice::new(&[])).collect();
        assert_eq!(client.try_write_vectored(&slices).unwrap(), 0, "two thousand, all empty");
        slices.extend(bytes.chunks(1).map(IoSlice::new));
        let written = client.try_write_vectored(&slices).unwrap();
        assert_eq!(written, 1024, "as many as the kernel takes at once");
        server.readable().await.unwrap();
        let mut buffers = vec![[0_u8]; 5000];
        let mut parts: Vec<_> = (0..1500).map(|_| Vec::new()).collect();
        let mut parts: Vec<_> = parts.iter_mut().map(|empty: &mut Vec<u8>| IoSliceMut::new(empty)).collect();
        assert_eq!(server.try_read_vectored(&mut parts).unwrap(), 0);
        parts.extend(buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)));
        assert_eq!(server.try_read_vectored(&mut parts).unwrap(), 1024);
        server.shutdown(Shutdown::Both).unwrap();
        for stream in [&client, &server] {
            assert_eq!(stream.try_read(&mut []).unwrap(), 0);
            assert_eq!(stream.try_read_vectored(&mut []).unwrap(), 0);
            assert_eq!(stream.try_write(&[]).unwrap(), 0);
            assert_eq!(stream.try_write_vectored(&[IoSlice::new(&[]), IoSlice::new(&[])]).unwrap(), 0);
            assert_eq!(stream.peek(&mut []).now_or_never().unwrap().unwrap(), 0);
        }
    });
}

/// Behaviour 29; bug G8: writes succeed without a poll until the buffer is full, each with at least one byte. When the
/// peer has read, there is room again.
#[test]
fn writing_until_it_is_full() {
    block_on(async {
        let (client, server) = pair().await;
        let mut sent = 0;
        loop {
            match client.try_write(&[7; 10_000]) {
                Ok(written) => {
                    assert_ne!(written, 0);
                    sent += written;
                }
                Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert!(sent > 100_000, "{sent}");
        would_block(client.try_write_vectored(&[IoSlice::new(b"x")]));
        assert!(client.writable().timeout(Duration::from_millis(50)).await.is_err(), "full");
        let mut received = 0;
        let read = async {
            let mut buffer = vec![0; 100_000];
            while received < sent {
                received += (&server).read(&mut buffer).await.unwrap();
            }
        };
        let (writable, ()) = join(client.writable(), read).await;
        assert!(writable.unwrap().is_writable());
        assert_eq!(client.try_write(b"x").unwrap(), 1);
    });
}

/// Behaviour 35: peeking takes no bytes, returns at most what has arrived, waits for data, and sees the end.
#[test]
fn peeking() {
    block_on(async {
        let (client, mut server) = pair().await;
        let mut buffer = [0; 16];
        assert!(server.peek(&mut buffer).now_or_never().is_none(), "nothing is there");
        client.try_write(b"hello").unwrap();
        for _ in 0..3 {
            assert_eq!(server.peek(&mut buffer).await.unwrap(), 5);
            assert_eq!(&buffer[..5], b"hello");
            assert_eq!(server.peek(&mut buffer[..2]).await.unwrap(), 2);
        }
        server.read_exact(&mut buffer[..3]).await.unwrap();
        assert_eq!(poll_fn(|cx| server.poll_peek(cx, &mut buffer)).await.unwrap(), 2);
        assert_eq!(&buffer[..2], b"lo");
        server.read_exact(&mut buffer[..2]).await.unwrap();
        let clone = client.clone();
        let (peeked, ()) = join(server.peek(&mut buffer), async {
            a_moment().await;
            clone.try_write(b"!").unwrap();
        })
        .await;
        assert_eq!(peeked.unwrap(), 1);
        server.read_exact(&mut buffer[..1]).await.unwrap();
        drop((client, clone));
        assert_eq!(server.peek(&mut buffer).await.unwrap(), 0);
        assert_eq!(server.read(&mut buffer).await.unwrap(), 0);
    });
}

/// Behaviour 57: an open direction is never reported as closed, and a closed one is.
#[test]
fn what_is_closed() {
    block_on(async {
        let (client, server) = pair().await;
        client.try_write(b"x").unwrap();
        let (readable, writable) = (server.readable().await.unwrap(), server.writable().await.unwrap());
        for readiness in [readable, writable] {
            assert!(!readiness.is_read_closed() && !readiness.is_write_closed() && !readiness.is_error());
        }
        client.shutdown(Shutdown::Write).unwrap();
        a_moment().await;
        let half = server.readable().await.unwrap();
        assert!(half.is_read_closed() && !half.is_write_closed(), "{half:?}");
        assert!(!client.writable().await.unwrap().is_read_closed());
        server.shutdown(Shutdown::Write).unwrap();
        a_moment().await;
        let (ours, theirs) = (server.readable().await.unwrap(), client.readable().await.unwrap());
        assert!(ours.is_write_closed() && theirs.is_read_closed() && theirs.is_write_closed(), "{ours:?} {theirs:?}");

        let (client, server) = pair().await;
        client.set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        let reset = server.readable().await.unwrap();
        assert!(reset.is_error() && reset.is_read_closed() && reset.is_write_closed(), "{reset:?}");
    });
}

/// Behaviour 59: the poll methods report readiness, wake each task that asked, and stay correct afterwards.
#[test]
fn polling_for_readiness() {
    block_on(async {
        let (client, server) = pair().await;
        for _ in 0..3 {
            let wakers = [CountingWaker::new(), CountingWaker::new(), CountingWaker::new()];
            for (_, waker) in &wakers {
                assert!(server.poll_readable(&mut Context::from_waker(waker)).is_pending());
            }
            client.try_write(b"x").unwrap();
            a_moment().await;
            for (counter, waker) in &wakers {
                assert_eq!(counter.count(), 1);
                let mut cx = Context::from_waker(waker);
                assert!(matches!(server.poll_readable(&mut cx), Poll::Ready(Ok(told)) if told.is_readable()));
            }
            assert_eq!(server.try_read(&mut [0; 8]).unwrap(), 1);
            would_block(server.try_read(&mut [0; 8]));
        }
        let (_, waker) = CountingWaker::new();
        let mut cx = Context::from_waker(&waker);
        assert!(matches!(server.poll_writable(&mut cx), Poll::Ready(Ok(told)) if told.is_writable()));
    });
}

/// Behaviour 45: after a shutdown both ways, reading returns the end and writing fails.
#[test]
fn shut_down_both_ways() {
    block_on(async {
        let (mut client, mut server) = pair().await;
        let reading = client.clone();
        let act = async {
            a_moment().await;
            client.shutdown(Shutdown::Both).unwrap();
        };
        let mut byte = [0];
        let mut reader = &reading;
        let (read, ()) = join(reader.read(&mut byte), act).await;
        assert_eq!(read.unwrap(), 0, "the pending read ends");
        for _ in 0..2 {
            assert_eq!(client.read(&mut byte).await.unwrap(), 0);
            assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(client.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            client.close().await.unwrap();
        }
        assert_eq!(server.read(&mut byte).await.unwrap(), 0);
    });
}

/// Behaviour 61: bytes written before the drop of the stream arrive.
#[test]
fn written_then_dropped() {
    block_on(async {
        for size in [1, 1000, 60_000] {
            let (client, mut server) = pair().await;
            let data: Vec<u8> = (0..size).map(|number: u32| number as u8).collect();
            (&client).write_all(&data).await.unwrap();
            drop(client);
            let mut received = Vec::new();
            server.read_to_end(&mut received).await.unwrap();
            assert!(received == data);
        }
    });
}

/// Behaviour 62, 63: a stream is taken out of the reactor after a write: the bytes arrive, and no more events come. The
/// same for a listener.
#[test]
fn taken_out() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(listener.accept().now_or_never().is_none() && stream.read(&mut [0]).now_or_never().is_none());
            stream.write_all(b"the last words").await.unwrap();
            assert_eq!(handle.stats().sources, 2);
            let (stream, listener) = (stream.into_std().unwrap(), listener.into_std().unwrap());
            assert_eq!(handle.stats().sources, 0);
            a_moment().await;
            let events = handle.stats().events;
            let mut buffer = [0; 14];
            peer.read_exact(&mut buffer).unwrap();
            assert_eq!(&buffer, b"the last words");
            peer.write_all(b"x").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let _another = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            a_moment().await;
            assert_eq!(handle.stats().events, events);
            drop(stream);
        })
        .unwrap();
}

/// Behaviour 19: a listener is dropped with clients in its queue. Their operations fail and do not hang.
#[test]
fn a_listener_dropped_with_clients_in_its_queue() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..10 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let incoming = listener.incoming();
        drop(listener);
        clients.push(TcpStream::connect(address).await.expect("the stream of connections still has it"));
        drop(incoming);
        for client in &mut clients {
            match client.read(&mut [0]).await {
                Ok(read) => assert_eq!(read, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
        assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

/// Behaviour 21: two streams are ready at once. One is closed, and its number goes to a connection accepted in the same
/// batch, which sees only its own events.
#[test]
fn a_number_that_is_used_again_in_the_same_batch() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let mut reused = 0;
    for _ in 0..100 {
        let scene = async {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let connect = || std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut one_peer, mut two_peer) = (connect(), connect());
            let (mut one, two) = (listener.accept().await.unwrap().0, listener.accept().await.unwrap().0);
            let two = Rc::new(RefCell::new(Some(two)));
            // Both are registered, and wait.
            let (counter, waker) = CountingWaker::new();
            let mut cx = Context::from_waker(&waker);
            let mut buffer = [0; 8];
            let mut poll_two = || {
                let mut two = two.borrow_mut();
                two.as_mut().map(|two| futures::AsyncRead::poll_read(Pin::new(two), &mut cx, &mut buffer))
            };
            assert!(poll_two().is_some_and(|polled| polled.is_pending()));
            let closing = Rc::clone(&two);
            let (sender, receiver) = futures::channel::oneshot::channel();
            let accepting = listener.clone();
            spawner
                .spawn_local(async move {
                    one.read_exact(&mut [0]).await.unwrap();
                    let number = closing.borrow().as_ref().unwrap().as_raw_fd();
                    drop(closing.borrow_mut().take());
                    let (new, _) = accepting.accept().await.unwrap();
                    let _ = sender.send((number, new));
                })
                .unwrap();
            tests::yield_now().await;
            let mut new_peer = connect();
            two_peer.write_all(b"of the old one").unwrap();
            one_peer.write_all(b"x").unwrap();
            let (number, mut new) = receiver.await.unwrap();
            assert!(new.read(&mut [0; 8]).timeout(Duration::from_millis(2)).await.is_err(), "nothing has been sent");
            new_peer.write_all(b"new").unwrap();
            let mut buffer = [0; 8];
            let read = new.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..read], b"new");
            assert!(counter.count() <= 1);
            number == new.as_raw_fd()
        };
        reused += u32::from(runtime.run_until(scene).unwrap());
    }
    assert!(reused > 0, "the number was never used again");
    assert_eq!(runtime.handle().stats().task_panics, 0);
}

/// Bug G13: slices of four gigabytes in total, and one slice of many megabytes. The returned count is what was sent.
#[test]
fn more_than_fits() {
    block_on(async {
        let (client, server) = pair().await;
        let block = vec![7; 4 << 20];
        let slices: Vec<_> = (0..1024).map(|_| IoSlice::new(&block)).collect();
        let written = (&client).write_vectored(&slices).await.unwrap();
        assert!((1..100 << 20).contains(&written), "{written}");
        let more = client.try_write(&block).or_else(|error| match error.kind() {
            ErrorKind::WouldBlock => Ok(0),
            _ => Err(error),
        });
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        (&server).read_to_end(&mut received).await.unwrap();
        assert_eq!(received.len(), written + more.unwrap());
    });
}

/// Cancel safety: an operation that is dropped while it waits has taken and lost nothing.
#[test]
fn dropped_waits_take_nothing() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let (client, mut server) = pair().await;
        for round in 0..100_u8 {
            let mut buffer = [0; 4];
            assert!(server.read(&mut buffer).now_or_never().is_none());
            assert!(server.readable().now_or_never().is_none());
            assert!(server.peek(&mut buffer).now_or_never().is_none());
            assert!(listener.accept().now_or_never().is_none());
            client.try_write(&[round, round]).unwrap();
            // Dropped at once while data is there, again and again.
            for _ in 0..10 {
                let _ = server.peek(&mut buffer).now_or_never();
                let _ = server.readable().now_or_never();
                let _ = server.writable().now_or_never();
                tests::yield_now().await;
            }
            server.read_exact(&mut buffer[..2]).await.unwrap();
            assert_eq!(buffer[..2], [round, round]);
        }
        assert_eq!(Handle::current().unwrap().stats().waker_panics, 0);
    });
}

/// Trial 10: a thousand urgent bytes; the plain bytes around them arrive in time.
#[test]
fn a_thousand_urgent_bytes() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&peer);
        for round in 0..1000_u32 {
            socket.send(b"before").unwrap();
            socket.send_out_of_band(b"!").unwrap();
            socket.send(b"after").unwrap();
            let mut buffer = [0; 11];
            // All data is there before the read, or arrives while the read waits.
            if round % 2 == 0 {
                tests::yield_now().await;
            }
            let read = server.read_exact(&mut buffer).timeout(Duration::from_secs(10)).await;
            read.expect("it has stalled").unwrap();
            assert_eq!(&buffer, b"beforeafter");
        }
    });
}

/// Bug I2; trial 23: a program started while fifty sockets of every kind are open inherits none of them.
#[test]
fn a_child_gets_no_socket() {
    let _watchdog = watchdog(TIME);
    let listing = || {
        let output = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let before = listing();
    block_on(async {
        let mut held = Vec::new();
        let silent = tests::full_listener();
        let mut under_way = Box::pin(TcpStream::connect([silent.address]));
        assert!(futures::poll!(under_way.as_mut()).is_pending());
        for round in 0..7 {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let name = tests::abstract_name(&format!("child-{round}"));
            let unix_listener = UnixListener::bind_addr(&name).unwrap();
            let unix_client = UnixStream::connect_addr(&name).await.unwrap();
            let (unix_server, _) = unix_listener.accept().await.unwrap();
            // And a descriptor received in a message.
            unix_client.send_with_fds(b"fd", &[server.as_fd()]).await.unwrap();
            let received = unix_server.recv_with_fds(&mut [0; 2], 1).await.unwrap().1;
            assert_eq!(received.len(), 1);
            let datagrams = (UdpSocket::bind(LOCALHOST).await.unwrap(), UnixDatagram::pair().unwrap());
            held.push((listener, client, server, unix_listener, unix_client, unix_server, received, datagrams));
        }
        assert_eq!(listing(), before);
    });
}
