//! Any descriptor as a `Source`.

use async_epoll::{Handle, Interest, LocalRuntime, Reactor, Source};
use futures::future::FutureExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use socket2::{Domain, SockRef, Socket, Type};
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::common::{block_on, sources};
use tests::{TIME, later, thread_cpu, watchdog};

/// Bug A7; behaviour 173: a descriptor that epoll refuses is returned with an error that names the reason, and still
/// works.
#[test]
fn files_that_are_always_ready_are_refused_and_given_back() {
    let runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    for path in ["/dev/null", "/", "/proc/self/status", "/etc/passwd"] {
        let error = Source::with_handle(File::open(path).unwrap(), &handle).unwrap_err();
        if path == "/proc/self/status" && error.error.kind() != ErrorKind::PermissionDenied {
            continue;
        }
        assert_eq!(error.error.kind(), ErrorKind::PermissionDenied, "{path}");
        assert!(error.to_string().contains("blocking::Unblock"), "{error}");
        assert!(error.source.metadata().is_ok());
        let plain: io::Error = error.into();
        assert_eq!(plain.kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!(handle.stats().sources, 0);
    let outside = Source::new(UnixStream::pair().unwrap().0).unwrap_err();
    assert_eq!(outside.error.kind(), ErrorKind::NotConnected);
}

/// A blocking descriptor does not block the loop: it is set to non-blocking.
#[test]
fn blocking_descriptors_are_set_to_nonblocking() {
    block_on(async {
        let (_peer, stream) = UnixStream::pair().unwrap();
        assert!(!SockRef::from(&stream).nonblocking().unwrap());
        let mut source = Source::new(stream).unwrap();
        assert!(source.read(&mut [0]).now_or_never().is_none());
        assert!(SockRef::from(&source.into_inner().unwrap()).nonblocking().unwrap());
    });
}

/// Unix streams carry a megabyte each way. Dropping one end is an end of file at the other.
#[test]
fn unix_streams() {
    block_on(async {
        let (mut left, mut right) = sources::pair();
        let data = vec![5; 1 << 20];
        let write = async {
            left.write_all(&data).await.unwrap();
            drop(left);
        };
        let mut received = Vec::new();
        let (_, read) = futures::join!(write, right.read_to_end(&mut received));
        assert_eq!(read.unwrap(), 1 << 20);
    });
}

/// Bug B3: a Unix message with a descriptor ends a read early; the bytes behind it are not forgotten.
#[test]
fn unix_messages_with_descriptors_split_reads() {
    block_on(async {
        let (peer, stream) = UnixStream::pair().unwrap();
        let mut source = Source::new(stream).unwrap();
        for _ in 0..20 {
            tests::send_with_fd(peer.as_fd(), b"a", peer.as_fd()).unwrap();
            (&peer).write_all(b"b").unwrap();
            let mut buffer = [0; 2];
            source.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"ab");
        }
    });
}

/// Bug B10: the other end of a pipe closes, seen by a reader and by a writer.
#[test]
fn pipes() {
    block_on(async {
        let (reader, writer) = tests::pipe().unwrap();
        let (mut reader, mut writer) = (Source::new(reader).unwrap(), Source::new(writer).unwrap());
        writer.write_all(b"through").await.unwrap();
        let mut buffer = [0; 7];
        reader.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"through");

        let thread = later(move || drop(writer));
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
        assert!(reader.readiness().is_read_closed());
        thread.join().unwrap();

        let (reader, writer) = tests::pipe().unwrap();
        let mut writer = Source::new(writer).unwrap();
        let fill = async { while writer.write(&[0; 65536]).await.is_ok() {} };
        let thread = later(move || drop(reader));
        fill.await;
        assert_eq!(writer.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        thread.join().unwrap();
    });
}

/// Bug B4: packets in a pipe are read one at a time, so a short read does not mean "drained".
#[test]
fn packet_pipes() {
    block_on(async {
        for late in [false, true] {
            let (reader, writer) = tests::packet_pipe().unwrap();
            let (mut reader, mut writer) = (Source::new(File::from(reader)).unwrap(), File::from(writer));
            let write = move || {
                writer.write_all(b"one").unwrap();
                writer.write_all(b"three").unwrap();
                writer
            };
            // Writes before the first wait, or while the reader waits.
            let (written, thread) = if late { (None, Some(later(write))) } else { (Some(write()), None) };
            let mut buffer = [0; 64];
            assert_eq!(reader.read(&mut buffer).await.unwrap(), 3);
            assert_eq!(reader.read(&mut buffer).await.unwrap(), 5);
            assert!(reader.read(&mut buffer).now_or_never().is_none());
            drop((written, thread.map(|thread| thread.join().unwrap())));
        }
    });
}

/// Bug B4; trial 10: a thousand packets of all lengths. Each is read whole and in time, whether it arrives before the
/// read or during the wait.
#[test]
fn a_thousand_packets() {
    block_on(async {
        let (reader, writer) = tests::packet_pipe().unwrap();
        let (mut reader, mut writer) = (Source::new(File::from(reader)).unwrap(), File::from(writer));
        let length_of = |number: usize| 1 + number * 17 % 4096;
        let thread = std::thread::spawn(move || {
            for number in 0..1000 {
                assert_eq!(writer.write(&vec![number as u8; length_of(number)]).unwrap(), length_of(number));
                if number % 50 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let mut buffer = [0; 8192];
        for number in 0..1000 {
            let read = async_timeout::Timeout::new(reader.read(&mut buffer), Duration::from_secs(10)).await;
            let length = read.expect("it has stalled").unwrap();
            assert_eq!(length, length_of(number));
            assert!(buffer[..length].iter().all(|&byte| byte == number as u8));
        }
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
        thread.join().unwrap();
    });
}

/// Behaviour 114: the standard output of a child process, converted to a `File`.
#[test]
fn output_of_a_child() {
    block_on(async {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "sleep 0.02; echo one; sleep 0.02; echo two"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output: OwnedFd = child.stdout.take().unwrap().into();
        let mut source = Source::new(File::from(output)).unwrap();
        let mut text = String::new();
        source.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one\ntwo\n");
        assert!(child.wait().unwrap().success());
    });
}

/// A listener of std accepts through `read_with`, and `into_inner` returns it in working order.
#[test]
fn any_operation_by_read_with() {
    let _watchdog = watchdog(TIME);
    let path = std::env::temp_dir().join(format!("async-epoll-{}", std::process::id()));
    block_on(async {
        let source = Source::new(UnixListener::bind(&path).unwrap()).unwrap();
        let address = path.clone();
        let client = later(move || UnixStream::connect(address).unwrap());
        source.read_with(|listener| listener.accept()).await.unwrap();
        drop(client.join().unwrap());
        let listener = source.into_inner().unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
    std::fs::remove_file(path).unwrap();
}

/// Bug B16, B17; behaviour 171: `try_io` notes a `WouldBlock`, and the source waits for a new event. The other
/// direction is not affected.
#[test]
fn try_io_notes_would_block() {
    block_on(async {
        let (left, right) = UnixDatagram::pair().unwrap();
        let source = Source::new(right).unwrap();
        left.send(b"x").unwrap();
        assert!(source.readable().await.unwrap().is_readable());
        let receive = |socket: &UnixDatagram| socket.recv(&mut [0; 8]);
        assert_eq!(source.try_io(Interest::READABLE, receive).unwrap(), 1);
        assert!(source.readiness().is_readable(), "until it has met WouldBlock");
        assert_eq!(source.try_io(Interest::READABLE, receive).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(!source.readiness().is_readable() && source.readable().now_or_never().is_none());
        assert!(source.readiness().is_writable() && source.writable().now_or_never().is_some());
        // The source is known not to be ready: the operation is not even tried.
        let never = source.try_io(Interest::READABLE, |_| -> io::Result<()> { unreachable!("tried all the same") });
        assert_eq!(never.unwrap_err().kind(), ErrorKind::WouldBlock);

        // Another descriptor takes the datagram first: the reader stays pending.
        let thief = source.get_ref().try_clone().unwrap();
        let mut received = Box::pin(source.read_with(|socket| socket.recv(&mut [0; 8])));
        assert!(futures::poll!(&mut received).is_pending());
        left.send(b"stolen").unwrap();
        thief.recv(&mut [0; 8]).unwrap();
        let cpu = thread_cpu();
        let limit = Duration::from_millis(50);
        assert!(async_timeout::Timeout::new(&mut received, limit).await.is_err());
        assert!(thread_cpu() - cpu < Duration::from_millis(20));
        left.send(b"kept").unwrap();
        assert_eq!(received.await.unwrap(), 4);
    });
}

/// The kernel reports nothing about a lazy source before the first wait, so each operation is tried.
#[test]
fn a_lazy_source_is_always_tried() {
    block_on(async {
        let (left, right) = UnixDatagram::pair().unwrap();
        right.set_nonblocking(true).unwrap();
        let source = Source::lazy(right, &async_epoll::Handle::current().unwrap());
        let receive = |socket: &UnixDatagram| socket.recv(&mut [0; 8]);
        for _ in 0..3 {
            assert_eq!(source.try_io(Interest::READABLE, receive).unwrap_err().kind(), ErrorKind::WouldBlock);
            left.send(b"x").unwrap();
            assert_eq!(source.try_io(Interest::READABLE, receive).unwrap(), 1);
        }
        assert_eq!(source.handle().stats().sources, 0, "no task has waited");
        assert!(source.readable().now_or_never().is_none());
        left.send(b"x").unwrap();
        assert!(source.readable().await.unwrap().is_readable());
    });
}

/// Behaviour 170, 185: each change makes one event, and no event is repeated.
#[test]
fn edges_come_once() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let (peer, source) = sources::with_peer(&handle);
            async_timeout::sleep(Duration::from_millis(5)).await;
            let first = handle.stats().events;
            (&peer).write_all(b"x").unwrap();
            async_timeout::sleep(Duration::from_millis(5)).await;
            async_timeout::sleep(Duration::from_millis(5)).await;
            assert_eq!(handle.stats().events, first + 1, "unread, but told once");
            (&peer).write_all(b"y").unwrap();
            async_timeout::sleep(Duration::from_millis(5)).await;
            assert_eq!(handle.stats().events, first + 2);
            drop(source);
        })
        .unwrap();
}

/// Urgent data wakes the tasks that wait for priority. Plain data does not.
#[test]
fn priority() {
    block_on(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let source = Source::new(listener.accept().unwrap().0).unwrap();
        SockRef::from(&peer).send(b"plain").unwrap();
        source.readable().await.unwrap();
        assert!(source.priority().now_or_never().is_none());
        let thread = later(move || {
            SockRef::from(&peer).send_out_of_band(b"!").unwrap();
            peer
        });
        assert!(source.priority().await.unwrap().is_priority());
        let urgent = |stream: &std::net::TcpStream| {
            let mut byte = [std::mem::MaybeUninit::uninit()];
            SockRef::from(stream).recv_out_of_band(&mut byte)
        };
        assert_eq!(source.try_io(Interest::PRIORITY, urgent).unwrap(), 1);
        let again = source.try_io(Interest::PRIORITY, |_| -> io::Result<()> { Err(ErrorKind::WouldBlock.into()) });
        assert!(again.is_err() && source.priority().now_or_never().is_none());
        drop(thread.join().unwrap());
    });
}

/// The kernel reports only the requested directions.
#[test]
fn interests() {
    block_on(async {
        let handle = Handle::current().unwrap();
        let (peer, stream) = UnixStream::pair().unwrap();
        let source = Source::with_interest(stream, Interest::READABLE, &handle).unwrap();
        async_timeout::sleep(Duration::from_millis(5)).await;
        assert!(!source.readiness().is_writable());
        // Waiting for a direction that is never reported is an error.
        let error = source.writable().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("with_interest"), "{error}");
        (&peer).write_all(b"x").unwrap();
        assert!(source.readable().await.unwrap().is_readable());
    });
}

/// Operations outside of the interest of a source are tried, again and again. They fail only when they would have to wait.
#[test]
fn operations_outside_of_the_interest() {
    block_on(async {
        let handle = Handle::current().unwrap();
        let read = |mut stream: &UnixStream| Read::read(&mut stream, &mut [0; 8]);
        let write = |mut stream: &UnixStream| Write::write(&mut stream, &[0; 1 << 20]);
        for interest in [Interest::WRITABLE, Interest::PRIORITY, Interest::ERROR] {
            let (peer, stream) = UnixStream::pair().unwrap();
            let source = Source::with_interest(stream, interest, &handle).unwrap();
            for _ in 0..3 {
                // Twice each: the second one knows of the first one's `WouldBlock`.
                for _ in 0..2 {
                    assert_eq!(source.read_with(read).await.unwrap_err().kind(), ErrorKind::InvalidInput);
                }
                Write::write_all(&mut &peer, b"x").unwrap();
                assert_eq!(source.read_with(read).await.unwrap(), 1, "{interest:?}");
                for _ in 0..2 {
                    let kind = source.try_io(Interest::READABLE, read).unwrap_err().kind();
                    assert_eq!(kind, ErrorKind::WouldBlock);
                }
                Write::write_all(&mut &peer, b"x").unwrap();
                assert_eq!(source.try_io(Interest::READABLE, read).unwrap(), 1, "{interest:?}");
                Write::write_all(&mut &peer, b"x").unwrap();
                assert_eq!(AsyncReadExt::read(&mut &source, &mut [0; 8]).await.unwrap(), 1, "{interest:?}");
                assert_eq!(source.readable().await.unwrap_err().kind(), ErrorKind::InvalidInput);
            }
        }
        let (peer, stream) = UnixStream::pair().unwrap();
        let source = Source::with_interest(stream, Interest::READABLE, &handle).unwrap();
        for _ in 0..3 {
            while source.write_with(write).await.is_ok() {}
            assert_eq!(source.write_with(write).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            peer.set_nonblocking(true).unwrap();
            while Read::read(&mut &peer, &mut vec![0; 1 << 20]).is_ok() {}
            assert!(source.write_with(write).await.unwrap() > 0);
            while source.try_io(Interest::WRITABLE, write).is_ok() {}
            while Read::read(&mut &peer, &mut vec![0; 1 << 20]).is_ok() {}
            assert!(source.try_io(Interest::WRITABLE, write).unwrap() > 0);
        }
    });
    // A reactor that is gone is the error, not the interest.
    let reactor = Reactor::new().unwrap();
    let (_peer, stream) = UnixStream::pair().unwrap();
    let source = Source::with_interest(stream, Interest::WRITABLE, &reactor.handle()).unwrap();
    assert!(source.try_io(Interest::READABLE, |mut stream| Read::read(&mut stream, &mut [0])).is_err());
    drop(reactor);
    let mut tries = 0;
    let error = source.read_with(|mut stream| {
        tries += 1;
        Read::read(&mut stream, &mut [0])
    });
    assert!(error.now_or_never().unwrap().is_err());
    assert_eq!(tries, 0);
}

/// Behaviour 177: many tasks wait on one direction, in both forms. All are woken.
#[test]
fn all_waiters_are_woken() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (peer, stream) = UnixStream::pair().unwrap();
    let source = std::rc::Rc::new(Source::with_handle(stream, &runtime.handle()).unwrap());
    for number in 0..100 {
        let source = std::rc::Rc::clone(&source);
        runtime
            .spawner()
            .spawn_local(async move {
                if number % 2 == 0 {
                    source.readable().await.unwrap();
                } else {
                    poll_fn(|cx| source.poll_readable(cx)).await.unwrap();
                }
            })
            .unwrap();
    }
    runtime.run_until(tests::yield_now()).unwrap();
    assert_eq!(runtime.handle().stats().live_tasks, 100);
    (&peer).write_all(b"x").unwrap();
    runtime.run().unwrap();
    // A failed assertion in a task is a panic of that task, and does not fail the test by itself.
    assert_eq!(runtime.handle().stats().task_panics, 0);
    let polls = runtime.handle().stats().polls;
    // Two polls per task, and one more for each task evicted before the waiter list found its size.
    assert!(polls <= 2 * 100 + 50, "{polls} polls");
}

/// Bug A4: a descriptor closed by other code makes the next operation fail, and leaves no entry.
#[test]
fn closed_behind_our_back() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    // The number is so high that no other test opens a descriptor with it meanwhile.
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let (number, parked) = tests::move_fd_high(socket.into()).unwrap();
    let source = Source::with_handle(parked, &handle).unwrap();
    assert_eq!(source.as_raw_fd(), number);
    assert_eq!(handle.stats().sources, 1);
    tests::close_raw(number);
    runtime.run_until(tests::yield_now()).unwrap();
    // Opens something at this number again, so that dropping the source closes no descriptor of another test.
    tests::reopen_at(number).unwrap();
    drop(source);
    assert_eq!(handle.stats().sources, 0);
}

/// Reads and writes through `&Source`, and empty ones without a system call.
#[test]
fn through_references() {
    block_on(async {
        let (left, right) = sources::pair();
        (&left).write_all(b"hello").await.unwrap();
        (&left).flush().await.unwrap();
        assert_eq!((&right).read(&mut []).await.unwrap(), 0);
        assert_eq!((&right).write(&[]).await.unwrap(), 0);
        let mut buffer = [0; 5];
        (&right).read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"hello");
        assert_eq!(right.get_ref().peer_addr().unwrap().as_pathname(), None);
        let mut plain = right.into_inner().unwrap();
        drop(left);
        assert_eq!(plain.read(&mut buffer).unwrap(), 0);
    });
}

/// Every operation on a lazy source fails after its reactor is gone.
#[test]
fn a_lazy_source_whose_reactor_is_gone() {
    let reactor = async_epoll::Reactor::new().unwrap();
    let (mut peer, stream) = UnixStream::pair().unwrap();
    stream.set_nonblocking(true).unwrap();
    let source = Source::lazy(stream, &reactor.handle());
    drop(reactor);
    peer.write_all(b"x").unwrap();
    let result = source.try_io(Interest::READABLE, |mut stream| stream.read(&mut [0]));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::NotConnected);
    assert!((&source).read(&mut [0]).now_or_never().unwrap().is_err());
}

/// A task that waits for urgent data is woken when the connection ends.
#[test]
fn priority_ends_with_the_connection() {
    block_on(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let source = Source::new(listener.accept().unwrap().0).unwrap();
        let thread = later(move || SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap());
        let readiness = source.priority().await.unwrap();
        assert!(!readiness.is_priority() && readiness.is_read_closed());
        thread.join().unwrap();
    });
}

/// Flushing does not wait for room in a full buffer.
#[test]
fn flushing_does_not_wait_for_room() {
    block_on(async {
        let (stream, _peer) = UnixStream::pair().unwrap();
        let mut source = Source::new(stream).unwrap();
        let fill = async { while source.write(&[0; 65536]).await.is_ok() {} };
        assert!(async_timeout::Timeout::new(fill, Duration::from_millis(20)).await.is_err());
        source.flush().now_or_never().expect("flush waits").unwrap();
    });
}

/// Bug D9: several tasks own one source and wait on it. Dropping one owner does not affect the others. Dropping the
/// last owner deregisters the source.
#[test]
fn an_owner_that_goes_leaves_those_who_wait() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let (peer, stream) = UnixStream::pair().unwrap();
    let source = std::rc::Rc::new(Source::with_handle(stream, &handle).unwrap());
    let (mut waiting, stays) = (Vec::new(), std::rc::Rc::clone(&source));
    for _ in 0..3 {
        let own = std::rc::Rc::clone(&source);
        let task = async move { own.readable().await.map(drop).unwrap() };
        waiting.push(runtime.spawner().spawn_local_with_handle(task).unwrap());
    }
    let read = async move { stays.read_with(|mut stream| stream.read(&mut [0; 8])).await.unwrap() };
    let read = runtime.spawner().spawn_local_with_handle(read).unwrap();
    drop(source);
    runtime.run_until(tests::yield_now()).unwrap();
    // Dropping the handle of a task ends the task in the middle of its wait.
    drop(waiting);
    runtime.run_until(tests::yield_now()).unwrap();
    assert_eq!((handle.stats().live_tasks, handle.stats().sources), (1, 1));
    (&peer).write_all(b"x").unwrap();
    assert_eq!(runtime.run_until(read).unwrap(), 1);
    assert_eq!(handle.stats().sources, 0);
}
