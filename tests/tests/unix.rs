//! Unix streams and listeners: the same API as std's, the wait for a full queue, for which epoll has no event, and
//! errors. Datagrams are in `unix_datagrams.rs`, the files of sockets in `unix_files.rs`, descriptors as messages in
//! `unix_fds.rs`.

use async_epoll::{LocalRuntime, Reactor};
use async_net_lite::unix::{UnixDatagram, UnixListenOptions, UnixListener, UnixStream};
use async_timeout::{Timeout, sleep};
use futures::future::{FutureExt, LocalBoxFuture, join, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::stream::StreamExt;
use socket2::SockRef;
use std::cell::Cell;
use std::fs::{self, File};
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{self, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::common::{block_on, streams};
use tests::{Folder, TIME, abstract_name, in_child, later, millis, open_fds, thread_cpu, watchdog};

/// Behaviour 90, 91: a listener at a path. The path is the listener's address, and a client has no address.
#[test]
fn echo_at_a_path() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let path = folder.join("socket");
    block_on(async {
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
        let mut client = UnixStream::connect(&path).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert!(peer.is_unnamed() && peer.as_pathname().is_none());
        assert!(client.local_addr().unwrap().is_unnamed());
        assert!(server.peer_addr().unwrap().is_unnamed());
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
        assert_eq!(server.local_addr().unwrap().as_pathname(), Some(&*path));

        let echo = async { futures::io::copy(&server, &mut &server).await };
        let talk = async {
            client.write_all(b"hello").await?;
            client.close().await?;
            let mut text = String::new();
            let mut buffer = [0; 16];
            while text.len() < 5 {
                let length = client.read(&mut buffer).await?;
                text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
            Ok(text)
        };
        assert_eq!(try_join(echo, talk).await.unwrap(), (5, "hello".to_owned()));
    });
    assert!(path.exists(), "the file stays unless told otherwise");
}

/// An abstract name consists of all its bytes, including zeroes at the end. Binding without a name assigns a name.
#[test]
fn abstract_names() {
    block_on(async {
        let short = abstract_name("name");
        let zero = SocketAddr::from_abstract_name([short.as_abstract_name().unwrap(), b"\0"].concat()).unwrap();
        let listeners = [UnixListener::bind_addr(&short).unwrap(), UnixListener::bind_addr(&zero).unwrap()];
        assert_eq!(UnixListener::bind_addr(&short).unwrap_err().kind(), ErrorKind::AddrInUse);
        for (address, listener) in [&short, &zero].into_iter().zip(&listeners) {
            let client = UnixStream::connect_addr(address).await.unwrap();
            assert_eq!(client.peer_addr().unwrap().as_abstract_name(), address.as_abstract_name());
            let (server, _) = listener.accept().await.unwrap();
            assert_eq!(server.local_addr().unwrap().as_abstract_name(), address.as_abstract_name());
        }
        drop(listeners);
        let gone = UnixStream::connect_addr(&short).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::ConnectionRefused, "the name went away with its socket");

        let unnamed = SocketAddr::from_pathname("").unwrap();
        let any = UnixListener::bind_addr(&unnamed).unwrap().local_addr().unwrap();
        assert_eq!(any.as_abstract_name().map(<[u8]>::len), Some(5));
        assert_eq!(UnixStream::connect_addr(&unnamed).await.unwrap_err().kind(), ErrorKind::InvalidInput);

        // A client with a bound socket is reported by its name, even a name of maximal length.
        let listener = UnixListener::bind_addr(&short).unwrap();
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        let address = socket2::SockAddr::unix(format!("\0{}", "n".repeat(107))).unwrap();
        client.bind(&address).unwrap();
        let server = socket2::SockAddr::unix(format!("\0test-{}-name", std::process::id())).unwrap();
        client.connect(&server).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.as_abstract_name(), Some("n".repeat(107).as_bytes()));
    });
}

/// Behaviour 93: pairs of streams and of datagrams.
#[test]
fn pairs() {
    block_on(async {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        left.write_all(b"there").await.unwrap();
        right.write_all(b"back").await.unwrap();
        let mut buffer = [0; 5];
        right.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"there");
        left.read_exact(&mut buffer[..4]).await.unwrap();
        assert_eq!(&buffer[..4], b"back");
        assert!(left.local_addr().unwrap().is_unnamed() && left.peer_addr().unwrap().is_unnamed());
        assert!(left.take_error().unwrap().is_none());

        let (left, right) = UnixDatagram::pair().unwrap();
        left.send(b"there").await.unwrap();
        right.send(b"back").await.unwrap();
        assert_eq!(right.recv(&mut buffer).await.unwrap(), 5);
        assert_eq!(&buffer, b"there");
        let (length, sender) = left.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], sender.is_unnamed()), (&b"back"[..], true));
    });
}

/// Behaviour 94, 95: the peer closes, and pending reads and writes end.
#[test]
fn a_peer_that_goes_away() {
    block_on(async {
        let pair = || {
            let (peer, ours) = net::UnixStream::pair().unwrap();
            (peer, UnixStream::try_from(ours).unwrap())
        };
        let (peer, mut ours) = pair();
        let thread = later(move || drop(peer));
        assert_eq!(ours.read(&mut [0]).await.unwrap(), 0);
        thread.join().unwrap();
        assert_eq!(ours.read(&mut [0]).await.unwrap(), 0, "and again");
        assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

        let (peer, mut ours) = pair();
        let thread = later(move || drop(peer));
        let error = loop {
            if let Err(error) = ours.write(&[0; 65536]).await {
                break error;
            }
        };
        // The peer had unread bytes.
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        thread.join().unwrap();

        // Bytes sent before are read first, then the reset is reported once.
        let (mut peer, mut ours) = pair();
        ours.write_all(b"never read").await.unwrap();
        peer.write_all(b"last words").unwrap();
        drop(peer);
        let mut buffer = [0; 16];
        let first = ours.read(&mut buffer).await;
        match first {
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            Ok(length) => assert_eq!(&buffer[..length], b"last words"),
        }
    });
}

/// Bug G1, G2, G10: closing is an idempotent half-close, and succeeds after a reset. Reading after the end and writing
/// after closing return results and do not hang.
#[test]
fn close_is_an_idempotent_half_close() {
    block_on(async {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        for _ in 0..3 {
            left.close().await.unwrap();
        }
        for _ in 0..2 {
            assert_eq!(right.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(left.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
        right.write_all(b"still here").await.unwrap();
        drop(right);
        let mut text = String::new();
        left.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "still here");
        left.close().await.unwrap();

        // A reset: the peer closes with unread bytes.
        let (mut left, right) = UnixStream::pair().unwrap();
        left.write_all(b"unread").await.unwrap();
        drop(right);
        assert_eq!(left.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        left.close().await.unwrap();
        left.shutdown(Shutdown::Both).unwrap();
        left.close().await.unwrap();

        // A socket that was never connected.
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        let mut stream = UnixStream::try_from(OwnedFd::from(socket)).unwrap();
        stream.close().await.unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.write(b"x").await.unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

/// Behaviour 97: a listener is dropped with a connection in its queue.
#[test]
fn a_listener_dropped_with_a_queue() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let path = folder.join("socket");
    block_on(async {
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = UnixStream::connect(&path).await.unwrap();
        let mut buffer = [0; 1];
        let (read, ()) = join(client.read(&mut buffer), async {
            tests::yield_now().await;
            drop(listener);
        })
        .await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(UnixStream::connect(&path).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

/// Bug F14; behaviour 98; trial 21: a connect that finds the queue full waits without spinning, continues soon after
/// there is room, and may be cancelled.
#[test]
fn a_full_queue_makes_a_connect_wait() {
    block_on(async {
        let address = abstract_name("full-queue");
        let listener = UnixListenOptions::new().backlog(0).bind_addr(&address).unwrap();
        let first = UnixStream::connect_addr(&address).await.unwrap();
        let room: Cell<Option<Instant>> = Cell::new(None);
        let connect = async {
            let stream = UnixStream::connect_addr(&address).await.unwrap();
            (stream, room.get().expect("connected before there was room").elapsed())
        };
        let accept = async {
            let cpu = thread_cpu();
            let begin = Instant::now();
            sleep(millis(1000)).await;
            let cpu = thread_cpu() - cpu;
            assert!(cpu * 20 <= begin.elapsed(), "5 % of the time at most, not {cpu:?}");
            room.set(Some(Instant::now()));
            listener.accept().await.unwrap().0
        };
        let ((mut second, late), mut server) = join(connect, accept).await;
        let limit = if tests::strict_timing() { millis(60) } else { millis(1000) };
        assert!(late <= limit, "{late:?} after there was room");
        // The first connection was accepted, and the second is accepted next. Both work.
        (&first).write_all(b"1").await.unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"1");
        second.write_all(b"2").await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"2");

        // A cancelled connect reaches no listener.
        let _fills = UnixStream::connect_addr(&address).await.unwrap();
        assert!(Timeout::new(UnixStream::connect_addr(&address), millis(50)).await.is_err());
        listener.accept().await.unwrap();
        assert!(Timeout::new(listener.accept(), millis(100)).await.is_err());

        // The listener is dropped while a connect waits.
        let _fills = UnixStream::connect_addr(&address).await.unwrap();
        let (refused, ()) = join(UnixStream::connect_addr(&address), async {
            sleep(millis(10)).await;
            drop(listener);
        })
        .await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

/// Many clients connect at once to a short queue: each is accepted once.
#[test]
fn a_crowd_gets_through_a_short_queue() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let accepted = runtime.run_until(async {
        let address = abstract_name("crowd");
        let listener = UnixListenOptions::new().backlog(4).bind_addr(&address).unwrap();
        for number in 0..100_u8 {
            let address = address.clone();
            let client = async move {
                let mut stream = UnixStream::connect_addr(&address).await.unwrap();
                stream.write_all(&[number]).await.unwrap();
            };
            spawner.spawn_local(client).unwrap();
        }
        let mut seen: Vec<u8> = Vec::new();
        let mut incoming = listener.incoming();
        while seen.len() < 100 {
            let mut stream = incoming.next().await.unwrap().unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            seen.push(byte[0]);
        }
        seen.sort_unstable();
        seen
    });
    assert_eq!(accepted.unwrap(), (0..100).collect::<Vec<_>>());
    assert_eq!(runtime.handle().stats().task_panics, 0);
}

/// Behaviour 106; bug A3: a stream is registered only by its first wait, deregistered by `into_std`, and can be
/// registered again.
#[test]
fn conversions_both_ways() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let sources = || handle.stats().sources;
    runtime
        .run_until(async {
            let (mut left, mut right) = UnixStream::pair().unwrap();
            left.write_all(b"x").await.unwrap();
            right.read_exact(&mut [0]).await.unwrap();
            assert_eq!(sources(), 0, "nothing had to wait");
            assert!(right.read(&mut [0]).now_or_never().is_none());
            assert_eq!(sources(), 1);
            let number = right.as_raw_fd();
            let mut std_right = right.into_std().unwrap();
            assert_eq!((sources(), std_right.as_raw_fd()), (0, number));
            left.write_all(b"hello").await.unwrap();
            let mut buffer = [0; 5];
            std_right.read_exact(&mut buffer).unwrap();
            let mut right = UnixStream::try_from(OwnedFd::from(std_right)).unwrap();
            left.write_all(b"again").await.unwrap();
            right.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"again");
            // While a clone exists, std gets a duplicate.
            let clone = right.clone();
            let mut std_right = right.into_std().unwrap();
            drop(clone);
            assert_eq!(sources(), 0);
            std_right.set_nonblocking(false).unwrap();
            (&left).write_all(b"!").await.unwrap();
            assert_eq!(std_right.read(&mut buffer).unwrap(), 1);
            drop(OwnedFd::try_from(left).unwrap());

            let path = folder.join("datagram");
            let socket = UnixDatagram::bind(&path).unwrap();
            assert!(socket.recv(&mut [0]).now_or_never().is_none());
            assert_eq!(sources(), 1);
            let std_socket = socket.into_std().unwrap();
            assert_eq!(sources(), 0);
            let socket = UnixDatagram::try_from(std_socket).unwrap();
            assert_eq!(sources(), 1);
            net::UnixDatagram::unbound().unwrap().send_to(b"hello", &path).unwrap();
            assert_eq!(socket.recv(&mut buffer).await.unwrap(), 5);
            let clone = socket.clone();
            let std_socket = OwnedFd::try_from(socket).unwrap();
            drop(clone);
            drop(UnixDatagram::try_from(std_socket).unwrap());

            let path = folder.join("listener");
            let listener = UnixListener::bind(&path).unwrap();
            assert!(listener.accept().now_or_never().is_none());
            assert_eq!(sources(), 1);
            let std_listener = listener.into_std().unwrap();
            assert_eq!(sources(), 0);
            let listener = UnixListener::try_from(OwnedFd::from(std_listener)).unwrap();
            let client = UnixStream::connect(&path).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            drop(client);
            assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
            let incoming = listener.incoming();
            let std_listener = net::UnixListener::from(OwnedFd::try_from(listener).unwrap());
            drop(incoming);
            let _client = UnixStream::connect(&path).await.unwrap();
            assert!(std_listener.accept().is_ok(), "it listens on");
        })
        .unwrap();
    assert_eq!(sources(), 0);
}

/// Behaviour 107: the credentials of the peer, from the kernel.
#[test]
fn peer_credentials() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let ours = fs::metadata(folder.path()).unwrap();
    block_on(async {
        let listener = UnixListener::bind(folder.join("socket")).unwrap();
        let client = UnixStream::connect(folder.join("socket")).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (left, right) = UnixStream::pair().unwrap();
        for stream in [&client, &server, &left, &right] {
            let peer = stream.peer_cred().unwrap();
            assert_eq!((peer.uid, peer.gid), (ours.uid(), ours.gid()));
            assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
        }
    });
}

/// Bug F17, I2: each descriptor is non-blocking and close-on-exec from its creation.
#[test]
fn descriptors_are_nonblocking_and_close_on_exec() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    block_on(async {
        let path = folder.join("socket");
        let listener = UnixListenOptions::new().mode(0o600).bind(&path).unwrap();
        let client = UnixStream::connect(&path).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (left, right) = UnixStream::pair().unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        let (bound, unbound) = (UnixDatagram::bind(folder.join("datagram")).unwrap(), UnixDatagram::unbound().unwrap());
        let datagrams = [near.as_fd(), far.as_fd(), bound.as_fd(), unbound.as_fd()];
        let streams = [listener.as_fd(), client.as_fd(), server.as_fd(), left.as_fd(), right.as_fd()];
        for fd in streams.into_iter().chain(datagrams) {
            assert!(SockRef::from(&fd).nonblocking().unwrap());
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            assert_ne!(i32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC, 0, "{info}");
        }
    });
}

/// Failed and cancelled operations leave nothing: no descriptor, no registration, no timer.
#[test]
fn failures_leave_nothing() {
    let _watchdog = watchdog(TIME);
    if !in_child("failures_leave_nothing") {
        return;
    }
    let folder = Folder::new();
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let address = abstract_name("failures");
            let busy = UnixListenOptions::new().backlog(0).bind_addr(&address).unwrap();
            let _queued = UnixStream::connect_addr(&address).await.unwrap();
            let receiver_address = abstract_name("failures-receiver");
            let _receiver = UnixDatagram::bind_addr(&receiver_address).unwrap();
            let sender = UnixDatagram::unbound().unwrap();
            while sender.try_send_to_addr(b"x", &receiver_address).is_ok() {}
            fs::write(folder.join("file"), "text").unwrap();
            sleep(millis(1)).await;
            let begin = (open_fds(), handle.stats().sources, handle.stats().timers);
            let options = UnixListenOptions::new().mode(0o600).remove_stale(true).unlink_on_drop(true);
            for _ in 0..20 {
                UnixStream::connect(folder.join("missing")).await.unwrap_err();
                UnixStream::connect(folder.join("file")).await.unwrap_err();
                UnixListener::bind(folder.join("file")).unwrap_err();
                UnixDatagram::bind(folder.join("file")).unwrap_err();
                options.bind(folder.join("file")).unwrap_err();
                options.bind_datagram(folder.join("no/folder")).unwrap_err();
                drop(options.bind(folder.join("socket")).unwrap());
                assert!(Timeout::new(UnixStream::connect_addr(&address), millis(2)).await.is_err());
                assert!(Timeout::new(sender.send_to_addr(b"x", &receiver_address), millis(2)).await.is_err());
                assert!(UnixDatagram::unbound().unwrap().recv(&mut [0]).now_or_never().is_none());
            }
            assert_eq!((open_fds(), handle.stats().sources, handle.stats().timers), begin);
            assert!(!folder.join("socket").exists());
            drop(busy);
        })
        .unwrap();
    assert_eq!((handle.stats().sources, handle.stats().timers), (0, 0));
}

/// Bug F19: a cancelled accept loses no connection, and a cancelled receive no datagram.
#[test]
fn what_is_given_up_loses_nothing() {
    block_on(async {
        let address = abstract_name("given-up");
        let listener = UnixListener::bind_addr(&address).unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        let (mut left, mut right) = UnixStream::pair().unwrap();
        let mut accepted = 0;
        let mut byte = [0];
        for round in 0..2000_u32 {
            let client = async {
                if round % 3 == 0 {
                    tests::yield_now().await;
                }
                let client = UnixStream::connect_addr(&address).await.unwrap();
                near.send(b"x").await.unwrap();
                left.write_all(b"x").await.unwrap();
                client
            };
            // Each accept is polled, dropped in the middle, and started anew.
            let (_client, ()) = join(client, async {
                for _ in 0..round % 4 {
                    accepted += usize::from(listener.accept().now_or_never().is_some());
                    tests::yield_now().await;
                }
            })
            .await;
            while accepted <= round as usize {
                listener.accept().await.unwrap();
                accepted += 1;
            }
            while far.recv(&mut byte).now_or_never().is_none() {
                tests::yield_now().await;
            }
            while right.read(&mut byte).now_or_never().is_none() {
                tests::yield_now().await;
            }
        }
        assert_eq!(accepted, 2000);
        assert!(listener.accept().now_or_never().is_none());
        assert!(far.recv(&mut byte).now_or_never().is_none());
    });
}

/// Bug G6: an empty operation returns at once. Vectored operations keep the order, with more slices than one system
/// call takes.
#[test]
fn empty_and_vectored_operations() {
    block_on(async {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        assert_eq!(left.read(&mut []).await.unwrap(), 0);
        assert_eq!(left.read_vectored(&mut []).await.unwrap(), 0);
        assert_eq!(left.read_vectored(&mut [IoSliceMut::new(&mut [])]).await.unwrap(), 0);
        assert_eq!(left.write(&[]).await.unwrap(), 0);
        assert_eq!(left.write_vectored(&[]).await.unwrap(), 0);
        assert_eq!(left.write_vectored(&[IoSlice::new(&[])]).await.unwrap(), 0);
        left.flush().await.unwrap();

        let bytes: Vec<u8> = (0..5000_u32).map(|number| number as u8).collect();
        let mut slices: Vec<_> = (0..2000).map(|_| IoSlice::new(&[])).collect();
        slices.extend(bytes.chunks(1).map(IoSlice::new));
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            let written = left.write_vectored(slices).await.unwrap();
            assert_ne!(written, 0);
            IoSlice::advance_slices(&mut slices, written);
        }
        let (mut first, mut second) = ([0; 3], vec![0; 8000]);
        let mut read = 0;
        while read < 5000 {
            let mut buffers: Vec<_> = (0..2000).map(|_| IoSliceMut::new(&mut [])).collect();
            buffers.push(IoSliceMut::new(&mut first));
            buffers.push(IoSliceMut::new(&mut second));
            let count = right.read_vectored(&mut buffers).await.unwrap();
            let got: Vec<u8> = first.iter().chain(&second).copied().take(count).collect();
            assert_eq!(got, bytes[read..read + count]);
            read += count;
        }
    });
}

/// A megabyte both ways at once, through references to one stream.
#[test]
fn a_megabyte_both_ways() {
    streams::a_megabyte_both_ways(async || UnixStream::pair().unwrap());
}

/// Bug G4; trial 22: with the default action for SIGPIPE, sending to a closed peer does not kill the process, by any
/// method.
#[test]
fn no_sigpipe() {
    let _watchdog = watchdog(TIME);
    if !in_child("no_sigpipe") {
        return;
    }
    tests::restore_default_sigpipe();
    block_on(async {
        for operation in 0..6 {
            let (mut ours, peer) = UnixStream::pair().unwrap();
            match operation % 2 {
                0 => drop(peer),
                _ => ours.shutdown(Shutdown::Write).unwrap(),
            }
            for _ in 0..3 {
                let fds = [ours.as_fd()];
                let result = match operation / 2 {
                    0 => (&ours).write(b"x").await,
                    1 => (&ours).write_vectored(&[IoSlice::new(b"x"), IoSlice::new(b"y")]).await,
                    _ => ours.send_with_fds(b"x", &fds).await,
                };
                assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
                assert_eq!(ours.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            }
            ours.close().await.unwrap();
            ours.shutdown(Shutdown::Both).unwrap();
        }
        let (ours, peer) = UnixDatagram::pair().unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ours.send(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let fds = [ours.as_fd()];
        assert_eq!(ours.send_with_fds(b"x", &fds).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(peer);
        let address = abstract_name("sigpipe");
        let receiver = UnixDatagram::bind_addr(&address).unwrap();
        receiver.shutdown(Shutdown::Read).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        assert_eq!(sender.send_to_addr(b"x", &address).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(sender.try_send_to_addr(b"x", &address).unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Bug F1: out of descriptors. `incoming` pauses instead of spinning, and continues when descriptors are available
/// again. Connecting and binding return errors.
#[test]
fn out_of_descriptors() {
    let _watchdog = watchdog(TIME);
    if !in_child("out_of_descriptors") {
        return;
    }
    let folder = Folder::new();
    block_on(async {
        let path = folder.join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut incoming = listener.incoming();
        let _client = net::UnixStream::connect(&path).unwrap();
        tests::limit_open_files(open_fds() + 2);
        let mut hoard = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        let cpu = thread_cpu();
        assert!(Timeout::new(incoming.next(), millis(400)).await.is_err(), "nothing to accept with");
        assert!(thread_cpu() - cpu < millis(25));
        let errors = [
            listener.accept().await.unwrap_err(),
            UnixStream::connect(&path).await.unwrap_err(),
            UnixStream::pair().unwrap_err(),
            UnixListener::bind(folder.join("other")).unwrap_err(),
            UnixDatagram::unbound().unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        }
        // One descriptor is available: enough for the socket, but not for opening its file. The incomplete socket file
        // is removed.
        drop(hoard.pop());
        let options = UnixListenOptions::new().mode(0o777);
        assert_eq!(options.bind(folder.join("other")).unwrap_err().raw_os_error(), Some(libc::EMFILE));
        drop(hoard);
        let begin = Instant::now();
        incoming.next().await.unwrap().unwrap();
        assert!(begin.elapsed() <= Duration::from_secs(2));
        assert!(!folder.join("other").exists());
    });
}

/// Bug A12: a reactor is dropped while operations of every kind wait on Unix sockets. Each is woken once and gets an
/// error.
#[test]
fn a_reactor_that_is_dropped_first() {
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let enter = handle.enter();
    let (queue, full) = (abstract_name("gone-queue"), abstract_name("gone-full"));
    let busy = UnixListenOptions::new().backlog(0).bind_addr(&queue).unwrap();
    let _queued = net::UnixStream::connect_addr(&queue).unwrap();
    let _receiver = UnixDatagram::bind_addr(&full).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    while sender.try_send_to_addr(b"x", &full).is_ok() {}
    let (stuffed, _peer) = UnixStream::pair().unwrap();
    while stuffed.try_write(&[0; 4096]).is_ok() {}
    let (quiet, _other) = UnixDatagram::pair().unwrap();
    let mut incoming = UnixListener::bind_addr(&abstract_name("gone-incoming")).unwrap().incoming();
    let (reader, fd_writer, fd_reader) = (stuffed.clone(), stuffed.clone(), stuffed.clone());
    let (second, third) = (quiet.clone(), quiet.clone());
    let idle = UnixListener::bind_addr(&abstract_name("gone-accept")).unwrap();
    let connect_handle = handle.clone();
    let waiters: Vec<LocalBoxFuture<'_, io::Result<()>>> = vec![
        async { UnixStream::connect_addr_with(&queue, &connect_handle).await.map(drop) }.boxed_local(),
        async { sender.send_to_addr(b"x", &full).await.map(drop) }.boxed_local(),
        async { idle.accept().await.map(drop) }.boxed_local(),
        async { incoming.next().await.unwrap().map(drop) }.boxed_local(),
        async { (&reader).read(&mut [0]).await.map(drop) }.boxed_local(),
        async { (&stuffed).write(b"x").await.map(drop) }.boxed_local(),
        async { fd_writer.send_with_fds(b"x", &[]).await.map(drop) }.boxed_local(),
        async { fd_reader.recv_with_fds(&mut [0], 1).await.map(drop) }.boxed_local(),
        async { quiet.recv(&mut [0]).await.map(drop) }.boxed_local(),
        async { second.recv_from(&mut [0]).await.map(drop) }.boxed_local(),
        async { third.recv_message(&mut [0], 1).await.map(drop) }.boxed_local(),
    ];
    let mut waiters: Vec<_> = waiters.into_iter().map(|future| (future, tests::CountingWaker::new())).collect();
    for (future, (_, waker)) in &mut waiters {
        assert!(future.poll_unpin(&mut Context::from_waker(waker)).is_pending());
    }
    let before: Vec<_> = waiters.iter().map(|(_, (counter, _))| counter.count()).collect();
    drop(enter);
    drop(reactor);
    for (index, ((future, (counter, waker)), before)) in waiters.iter_mut().zip(before).enumerate() {
        assert_eq!(counter.count(), before + 1, "waiter {index} is woken once");
        match future.poll_unpin(&mut Context::from_waker(waker)) {
            Poll::Ready(Err(error)) => assert!(error.to_string().contains("dropped"), "{error}"),
            other => panic!("waiter {index}: {other:?}"),
        }
    }
    drop((waiters, busy));
    assert_eq!((handle.stats().sources, handle.stats().timers), (0, 0));
    // No operation begins, and no file is left: neither with paths nor with names.
    let _enter = handle.enter();
    let folder = Folder::new();
    let path = folder.join("socket");
    let errors = [
        futures::executor::block_on(UnixStream::connect_addr_with(&queue, &handle)).unwrap_err(),
        UnixListener::bind(&path).unwrap_err(),
        UnixListenOptions::new().mode(0o600).bind(&path).unwrap_err(),
        UnixListener::bind_addr(&abstract_name("gone")).unwrap_err(),
        UnixDatagram::bind(&path).unwrap_err(),
        UnixDatagram::unbound().unwrap_err(),
        UnixStream::pair_with(&handle).unwrap_err(),
        UnixDatagram::pair().unwrap_err(),
        UnixStream::try_from(net::UnixStream::pair().unwrap().0).unwrap_err(),
        UnixDatagram::try_from(net::UnixDatagram::pair().unwrap().0).unwrap_err(),
        // Operations on existing sockets fail as well.
        sender.try_send_to_addr(b"x", &full).unwrap_err(),
        stuffed.try_read(&mut [0]).unwrap_err(),
        quiet.try_recv(&mut [0]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        assert!(error.to_string().contains("dropped"), "{error}");
    }
    assert!(!path.exists());
}

/// Without a reactor there is no panic, but an error that says what to do.
#[test]
fn outside_a_reactor_there_is_an_error_that_says_what_to_do() {
    let folder = Folder::new();
    let path = folder.join("socket");
    let errors = [
        futures::executor::block_on(UnixStream::connect(&path)).unwrap_err(),
        futures::executor::block_on(UnixStream::connect_addr(&abstract_name("outside"))).unwrap_err(),
        UnixListener::bind(&path).unwrap_err(),
        UnixListener::bind_addr(&abstract_name("outside")).unwrap_err(),
        UnixDatagram::bind(&path).unwrap_err(),
        UnixDatagram::bind_addr(&abstract_name("outside")).unwrap_err(),
        UnixDatagram::unbound().unwrap_err(),
        UnixStream::pair().unwrap_err(),
        UnixDatagram::pair().unwrap_err(),
        UnixStream::try_from(net::UnixStream::pair().unwrap().0).unwrap_err(),
        UnixDatagram::try_from(net::UnixDatagram::pair().unwrap().0).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().contains("Handle::enter"), "{error}");
    }
    assert!(!path.exists(), "nothing has been bound");
}

/// A socket on which `accept` always fails with an error that normally concerns one connection: no endless loop.
#[test]
fn a_listener_that_is_none() {
    block_on(async {
        let (none, _peer) = net::UnixDatagram::pair().unwrap();
        let listener = UnixListener::try_from(net::UnixListener::from(OwnedFd::from(none))).unwrap();
        assert_eq!(listener.accept().await.unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        let cpu = thread_cpu();
        let mut incoming = listener.incoming();
        assert!(Timeout::new(incoming.next(), millis(300)).await.is_err());
        assert!(thread_cpu() - cpu < millis(50));
    });
}

/// No needless polls: a reader is polled once per arrival, and not at all while nothing arrives.
#[test]
fn no_needless_polls() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    runtime
        .run_until(async {
            let (mut left, mut right) = UnixStream::pair().unwrap();
            let read = poll_fn(move |cx| {
                count.set(count.get() + 1);
                futures::AsyncRead::poll_read(Pin::new(&mut right), cx, &mut [0; 8])
                    .map(|length| assert_eq!(length.unwrap(), 1))
            });
            spawner.spawn_local(read).unwrap();
            sleep(millis(50)).await;
            // The first poll registers the stream, and the kernel then reports once that there is room to write.
            assert_eq!(polls.get(), 1);
            left.write_all(b"x").await.unwrap();
            sleep(millis(10)).await;
        })
        .unwrap();
    assert_eq!((polls.get(), runtime.handle().stats().task_panics), (2, 0));
}

/// A std peer on its own thread sends pieces of many sizes, and the reader has to wait for each.
#[test]
fn pieces_of_every_size_arrive_whole() {
    block_on(async {
        let (mut peer, ours) = net::UnixStream::pair().unwrap();
        let mut ours = UnixStream::try_from(ours).unwrap();
        let thread = std::thread::spawn(move || {
            for round in 0..20_000_u32 {
                peer.write_all(&vec![round as u8; (round % 97) as usize + 1]).unwrap();
            }
        });
        let mut buffer = [0; 64];
        for round in 0..20_000_u32 {
            let mut left = (round % 97) as usize + 1;
            while left > 0 {
                let length = left.min(buffer.len());
                let count = ours.read(&mut buffer[..length]).await.unwrap();
                assert!(count > 0 && buffer[..count].iter().all(|&byte| byte == round as u8));
                left -= count;
            }
        }
        thread.join().unwrap();
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
    });
}

/// Bug G11; behaviour 54: a Unix stream in halves. Dropping the write half sends an end of file, and the read half
/// still works. Forgetting or reuniting the write half sends none.
#[test]
fn halves_of_a_stream() {
    let _watchdog = watchdog(TIME);
    async_epoll::block_on(async {
        let (stream, peer) = UnixStream::pair().unwrap();
        let (other, _other_peer) = UnixStream::pair().unwrap();
        // Halves of different streams do not reunite.
        let (reader, writer) = stream.into_split();
        let (other_reader, other_writer) = other.into_split();
        let error = reader.reunite(other_writer).unwrap_err();
        let stream = error.0.reunite(writer).unwrap();
        drop(error.1.reunite(other_reader).unwrap());
        let (reader, writer) = stream.into_split();
        writer.forget();
        assert!(reader.as_ref().peer_addr().unwrap().is_unnamed() && reader.local_addr().unwrap().is_unnamed());
        assert_eq!(peer.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "not at its end");

        let (mut reader, mut writer) = reader.as_ref().clone().into_split();
        writer.write_all(b"question").await.unwrap();
        let mut bytes = [0; 16];
        assert_eq!((&peer).read(&mut bytes).await.unwrap(), 8);
        drop(writer);
        assert_eq!((&peer).read(&mut bytes).await.unwrap(), 0);
        (&peer).write_all(b"answer").await.unwrap();
        assert_eq!(reader.read(&mut bytes).await.unwrap(), 6);
        drop(peer);
        assert_eq!(reader.read(&mut bytes).await.unwrap(), 0);
    })
    .unwrap();
}

/// Vectored attempts, and the poll methods for readiness, as with TCP.
#[test]
fn attempts_and_readiness_by_hand() {
    let _watchdog = watchdog(TIME);
    async_epoll::block_on(async {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut one, mut two) = ([0; 2], [0; 8]);
        assert_eq!(left.try_write_vectored(&[]).unwrap(), 0);
        assert_eq!(right.try_read_vectored(&mut [IoSliceMut::new(&mut [])]).unwrap(), 0);
        let nothing = right.try_read_vectored(&mut [IoSliceMut::new(&mut one)]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        let (counter, waker) = tests::CountingWaker::new();
        assert!(right.poll_readable(&mut Context::from_waker(&waker)).is_pending());
        let many = vec![IoSlice::new(b""); 3000];
        assert_eq!(
            left.try_write_vectored(&[&many[..], &[IoSlice::new(b"abc"), IoSlice::new(b"de")]].concat()).unwrap(),
            5
        );
        right.readable().await.unwrap();
        assert_eq!(counter.count(), 1);
        let mut buffers = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        assert_eq!(right.try_read_vectored(&mut buffers).unwrap(), 5);
        assert_eq!((&one, &two[..3]), (b"ab", &b"cde"[..]));

        while left.try_write_vectored(&[IoSlice::new(&[0; 512]), IoSlice::new(&[0; 512])]).is_ok() {}
        assert!(left.poll_writable(&mut Context::from_waker(&waker)).is_pending());
        drop(right);
        assert!(poll_fn(|cx| left.poll_writable(cx)).await.unwrap().is_write_closed());
        let broken = left.try_write_vectored(&[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!((broken.kind(), counter.count()), (ErrorKind::BrokenPipe, 2));

        let (left, right) = UnixDatagram::pair().unwrap();
        assert!(right.poll_readable(&mut Context::from_waker(&waker)).is_pending());
        poll_fn(|cx| left.poll_writable(cx)).await.unwrap();
        left.send(b"x").await.unwrap();
        assert!(poll_fn(|cx| right.poll_readable(cx)).await.unwrap().is_readable());
        assert_eq!(counter.count(), 3);
    })
    .unwrap();
}
