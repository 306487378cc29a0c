//! Every kind of descriptor that epoll accepts works as a `Source`, and other kinds are refused with a clear error.
//!
//! Each test really waits: the operation is pending, the thread sleeps, then another thread causes the event (see
//! `tests::common::waiting`). Each event happens twice, because a lost edge shows only at the second one. Kinds that
//! have an end of file are tested to the end. Terminals are in `terminals.rs`.

use async_epoll::{Interest, LocalRuntime, Source};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use socket2::{Domain, SockRef, Socket, Type};
use std::cell::Cell;
use std::fs::File;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use tests::common::block_on;
use tests::common::waiting::{fill, idle, waits};
use tests::{Folder, TIME, std_tcp_pair, watchdog};

/// Converts any descriptor to a file, which uses plain `read(2)` and `write(2)`.
fn file(fd: impl Into<OwnedFd>) -> File {
    File::from(fd.into())
}

fn source(fd: impl Into<OwnedFd>) -> Source<File> {
    Source::new(file(fd)).unwrap()
}

/// Reads two messages. Each read waits.
async fn messages(reader: &mut Source<File>, writer: &Arc<File>) {
    for text in ["the first", "and the second"] {
        let mut buffer = [0; 64];
        let own = Arc::clone(writer);
        let read = waits(reader.read(&mut buffer), move || (&*own).write_all(text.as_bytes()).unwrap()).await.unwrap();
        assert_eq!(&buffer[..read], text.as_bytes());
    }
}

/// Reads two messages and then the end of the file.
async fn reads(reader: impl Into<OwnedFd>, writer: impl Into<OwnedFd>) {
    let (mut reader, writer) = (source(reader), Arc::new(file(writer)));
    messages(&mut reader, &writer).await;
    assert_eq!(waits(reader.read(&mut [0]), move || drop(writer)).await.unwrap(), 0);
    assert!(reader.readiness().is_read_closed());
    idle().await;
}

/// Writes twice when there is no room, which waits. A third write waits while the last reader closes, and fails with
/// one of the kinds in `end`.
async fn writes(writer: impl Into<OwnedFd>, reader: impl Into<OwnedFd>, end: &[ErrorKind]) {
    let (mut writer, reader) = (source(writer), Arc::new(file(reader)));
    for _ in 0..2 {
        let mut filled = vec![0; fill(&writer).await];
        let own = Arc::clone(&reader);
        let written = waits(writer.write(b"x"), move || (&*own).read_exact(&mut filled).unwrap()).await;
        assert_eq!(written.unwrap(), 1);
        let mut last = [0];
        (&*reader).read_exact(&mut last).unwrap();
        assert_eq!(&last, b"x");
    }
    fill(&writer).await;
    let error = waits(writer.write(b"x"), move || drop(reader)).await.unwrap_err();
    assert!(end.contains(&error.kind()), "{error}");
    assert!(writer.readiness().is_write_closed() || writer.readiness().is_error());
    idle().await;
}

/// Reads into `buffer` and returns the length: one packet, on sockets that keep messages apart.
async fn receive(reader: &mut Source<File>, buffer: &mut [u8]) -> usize {
    reader.read(buffer).await.unwrap()
}

/// Plain pipes.
#[test]
fn pipes() {
    block_on(async {
        let (reader, writer) = tests::pipe().unwrap();
        reads(reader, writer).await;
        let (reader, writer) = tests::pipe().unwrap();
        writes(writer, reader, &[ErrorKind::BrokenPipe]).await;
    });
}

/// Packet pipes, `pipe2(O_DIRECT)`: as plain pipes, and a read stops at the end of a packet.
#[test]
fn packet_pipes() {
    block_on(async {
        let (reader, writer) = tests::packet_pipe().unwrap();
        reads(reader, writer).await;
        let (reader, writer) = tests::packet_pipe().unwrap();
        writes(writer, reader, &[ErrorKind::BrokenPipe]).await;

        let (reader, writer) = tests::packet_pipe().unwrap();
        let (mut reader, mut writer) = (source(reader), file(writer));
        let mut buffer = [0; 64];
        let two_packets = move || {
            writer.write_all(b"one").unwrap();
            writer.write_all(b"three").unwrap();
        };
        assert_eq!(waits(reader.read(&mut buffer), two_packets).await.unwrap(), 3);
        assert_eq!(receive(&mut reader, &mut buffer).await, 5);
        assert_eq!(receive(&mut reader, &mut buffer).await, 0, "the writer is gone");
    });
}

/// FIFOs. A reader that is opened first waits for a writer by `readable`, because a read would return the end of the
/// file. A FIFO that is opened for reading and writing never ends, even when other writers close.
#[test]
fn fifos() {
    let folder = Folder::new();
    let path = folder.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    let open_reader = || File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let open_writer = {
        let path = path.clone();
        move || File::options().write(true).open(&path).unwrap()
    };
    block_on(async {
        let mut reader = source(open_reader());
        let (open, mut buffer) = (open_writer.clone(), [0; 64]);
        let readiness = waits(reader.readable(), move || open().write_all(b"first").unwrap()).await.unwrap();
        assert!(readiness.is_readable());
        assert_eq!(receive(&mut reader, &mut buffer).await, 5);
        assert_eq!(receive(&mut reader, &mut buffer).await, 0, "the writer is gone");
        // A second writer opens the FIFO.
        let mut writer = open_writer();
        writer.write_all(b"again").unwrap();
        assert_eq!(receive(&mut reader, &mut buffer).await, 5);
        drop((reader, writer));

        let (reader, writer) = (open_reader(), open_writer());
        reads(reader, writer).await;
        let (reader, writer) = (open_reader(), open_writer());
        writes(writer, reader, &[ErrorKind::BrokenPipe]).await;

        let mut both = source(File::options().read(true).write(true).open(&path).unwrap());
        for text in ["one", "another"] {
            let open = open_writer.clone();
            let read = waits(both.read(&mut buffer), move || open().write_all(text.as_bytes()).unwrap()).await;
            assert_eq!(&buffer[..read.unwrap()], text.as_bytes());
        }
        idle().await;
    });
}

/// Eventfds: a read waits for the counter to be set, and a write to a full counter waits until the counter is read.
#[test]
fn eventfds() {
    block_on(async {
        let plain = Arc::new(file(eventfd(0, EventfdFlags::CLOEXEC).unwrap()));
        let mut source = Source::new(plain.try_clone().unwrap()).unwrap();
        for number in [3_u64, 4] {
            let mut count = [0; 8];
            let own = Arc::clone(&plain);
            let add = move || (&*own).write_all(&number.to_ne_bytes()).unwrap();
            assert_eq!(waits(source.read(&mut count), add).await.unwrap(), 8);
            assert_eq!(u64::from_ne_bytes(count), number);
        }
        for _ in 0..2 {
            (&*plain).write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
            // Lets the reactor dispatch the last event, so that the write finds the counter full.
            tests::yield_now().await;
            let own = Arc::clone(&plain);
            let add = waits(source.write(&[1, 0, 0, 0, 0, 0, 0, 0]), move || (&*own).read_exact(&mut [0; 8]).unwrap());
            assert_eq!(add.await.unwrap(), 8);
            source.read_exact(&mut [0; 8]).await.unwrap();
        }
    });
}

/// A timerfd returns the number of its expirations, with each clock.
#[test]
fn timerfds() {
    block_on(async {
        for clock in [TimerfdClockId::Monotonic, TimerfdClockId::Boottime, TimerfdClockId::Realtime] {
            let timer = file(rustix::time::timerfd_create(clock, TimerfdFlags::CLOEXEC).unwrap());
            let set = Arc::new(timer.try_clone().unwrap());
            let mut source = Source::new(timer).unwrap();
            let time = |milliseconds: i64| Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
            for interval in [0, 0, 5] {
                let own = Arc::clone(&set);
                let once = Itimerspec { it_interval: time(interval), it_value: time(5) };
                let arm = move || {
                    rustix::time::timerfd_settime(&*own, TimerfdTimerFlags::empty(), &once).unwrap();
                };
                let mut expirations = [0; 8];
                waits(source.read_exact(&mut expirations), arm).await.unwrap();
                assert!(u64::from_ne_bytes(expirations) >= 1);
            }
            // The last timer has an interval and fires again by itself.
            for _ in 0..3 {
                source.read_exact(&mut [0; 8]).await.unwrap();
            }
        }
    });
}

/// A signalfd, on the thread that gets the signals.
#[test]
fn signalfds() {
    block_on(async {
        let (signals, sender) = tests::signal_descriptor().unwrap();
        let mut signals = source(signals);
        for _ in 0..2 {
            let mut record = [0; 128];
            assert_eq!(waits(signals.read(&mut record), move || sender.send()).await.unwrap(), record.len());
            assert_eq!(record[..4], libc::SIGUSR2.to_ne_bytes());
        }
        idle().await;
    });
}

/// Inotify: files that are created in a folder.
#[test]
fn inotify() {
    use rustix::fs::inotify;
    let folder = Folder::new();
    block_on(async {
        let watched = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        let watch = inotify::add_watch(&watched, folder.path(), inotify::WatchFlags::CREATE).unwrap();
        let remove = file(watched.try_clone().unwrap());
        let source = Source::new(watched).unwrap();
        let next = |fd: &OwnedFd| {
            let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
            let mut reader = inotify::Reader::new(fd, &mut buffer);
            let event = reader.next()?;
            Ok((event.events(), event.file_name().map(|name| name.to_str().unwrap().to_owned())))
        };
        for name in ["one", "another"] {
            let path = folder.join(name);
            let (events, found) =
                waits(source.read_with(next), move || drop(File::create(path).unwrap())).await.unwrap();
            assert!(events.contains(inotify::ReadFlags::CREATE));
            assert_eq!(found.as_deref(), Some(name));
        }
        let end = move || inotify::remove_watch(remove, watch).unwrap();
        assert!(waits(source.read_with(next), end).await.unwrap().0.contains(inotify::ReadFlags::IGNORED));
        idle().await;
    });
}

/// A pidfd becomes readable when its process ends, and stays readable.
#[test]
fn pidfds() {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    block_on(async {
        for _ in 0..2 {
            let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let input = child.stdin.take();
            let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
            let source = Source::new(pidfd).unwrap();
            let ended = source.read_with(|_| child.try_wait()?.ok_or(ErrorKind::WouldBlock.into()));
            assert!(waits(ended, move || drop(input)).await.unwrap().success());
            assert!(source.readable().await.unwrap().is_readable());
            // The process has been waited for. The descriptor stays readable, and no further event comes.
            idle().await;
        }
    });
}

/// Unix streams.
#[test]
fn unix_streams() {
    block_on(async {
        let (one, other) = UnixStream::pair().unwrap();
        reads(one, other).await;
        let (one, other) = UnixStream::pair().unwrap();
        writes(one, other, &[ErrorKind::BrokenPipe, ErrorKind::ConnectionReset]).await;
    });
}

/// Unix sockets that keep messages apart and have an end of file.
#[test]
fn unix_sequential_packets() {
    let pair = || Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    block_on(async {
        let (one, other) = pair();
        reads(one, other).await;
        let (one, other) = pair();
        let (mut reader, mut writer) = (source(one), file(other));
        let mut buffer = [0; 64];
        let two = move || {
            writer.write_all(b"one").unwrap();
            writer.write_all(b"three").unwrap();
        };
        assert_eq!(waits(reader.read(&mut buffer), two).await.unwrap(), 3);
        assert_eq!(receive(&mut reader, &mut buffer).await, 5);
        assert_eq!(receive(&mut reader, &mut buffer).await, 0);
    });
}

/// Unix datagrams: messages in one direction, a full queue in the other.
#[test]
fn unix_datagrams() {
    block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let (mut reader, writer) = (source(one), Arc::new(file(other)));
        messages(&mut reader, &writer).await;

        let (one, other) = UnixDatagram::pair().unwrap();
        let (mut writer, reader) = (source(one), Arc::new(other));
        for _ in 0..2 {
            while writer.try_io(Interest::WRITABLE, |mut file| file.write(b"x")).is_ok() {}
            let own = Arc::clone(&reader);
            let drain = move || {
                own.set_nonblocking(true).unwrap();
                while own.recv(&mut [0]).is_ok() {}
            };
            assert_eq!(waits(writer.write(b"y"), drain).await.unwrap(), 1);
        }
        while writer.try_io(Interest::WRITABLE, |mut file| file.write(b"x")).is_ok() {}
        let error = waits(writer.write(b"y"), move || drop(reader)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset), "{error}");
        idle().await;
    });
}

/// UDP: messages, and the error after a datagram was refused.
#[test]
fn udp_sockets() {
    block_on(async {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        one.connect(other.local_addr().unwrap()).unwrap();
        other.connect(one.local_addr().unwrap()).unwrap();
        let (mut reader, writer) = (source(one.try_clone().unwrap()), Arc::new(file(other)));
        messages(&mut reader, &writer).await;
        drop(writer);
        let refused = waits(reader.read(&mut [0]), move || assert_eq!(one.send(b"x").unwrap(), 1)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        idle().await;
    });
}

/// TCP streams, and a listener.
#[test]
fn tcp_sockets() {
    block_on(async {
        let (one, other) = std_tcp_pair();
        reads(one, other).await;
        let (one, other) = std_tcp_pair();
        SockRef::from(&one).set_send_buffer_size(1 << 16).unwrap();
        SockRef::from(&other).set_recv_buffer_size(1 << 16).unwrap();
        writes(one, other, &[ErrorKind::BrokenPipe, ErrorKind::ConnectionReset]).await;
        // A listener works as a source.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Source::new(listener).unwrap();
        for _ in 0..2 {
            let connect = move || drop(TcpStream::connect(address).unwrap());
            assert!(waits(listener.read_with(TcpListener::accept), connect).await.unwrap().1.ip().is_loopback());
        }
    });
}

/// An epoll instance inside the reactor's epoll instance.
#[test]
fn epoll_in_epoll() {
    use rustix::event::epoll;
    block_on(async {
        let inner = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let event = Arc::new(file(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()));
        epoll::add(&inner, &*event, epoll::EventData::new_u64(42), epoll::EventFlags::IN).unwrap();
        let source = Source::new(inner).unwrap();
        let next = |inner: &OwnedFd| {
            let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
            let found = epoll::wait(inner, &mut events, Some(&Timespec::default()))?;
            if found == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(events[0].data.u64()) }
        };
        for _ in 0..2 {
            let own = Arc::clone(&event);
            let happen = move || (&*own).write_all(&1_u64.to_ne_bytes()).unwrap();
            assert_eq!(waits(source.read_with(next), happen).await.unwrap(), 42);
            (&*event).read_exact(&mut [0; 8]).unwrap();
        }
        idle().await;
    });
}

/// Bug A7; behaviour 173: a descriptor that is always ready is refused. The error says why, and what to use instead.
/// The descriptor is returned in working order, and nothing is left in the reactor.
#[test]
fn what_is_always_ready_is_refused() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let path = folder.join("regular");
    std::fs::write(&path, "content").unwrap();
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let expected: [(PathBuf, Option<&[u8]>); 4] = [
        (path, Some(b"content")),
        (folder.path().to_owned(), None),
        ("/dev/null".into(), Some(b"")),
        ("/dev/zero".into(), Some(&[0; 7])),
    ];
    for (path, content) in expected {
        for interest in [Interest::READABLE, Interest::READABLE | Interest::WRITABLE] {
            let file = File::open(&path).unwrap();
            let mut refused = Source::with_interest(file, interest, &handle).unwrap_err();
            assert_eq!(refused.error.kind(), ErrorKind::PermissionDenied, "{path:?}");
            let text = refused.to_string();
            for part in ["epoll cannot wait for", "always ready", "read it directly", "blocking::Unblock"] {
                assert!(text.contains(part), "{path:?}: {text}");
            }
            let mut buffer = [1; 7];
            match content {
                Some(content) => {
                    let read = refused.source.read(&mut buffer).unwrap();
                    assert_eq!(&buffer[..read], content, "{path:?}");
                }
                None => assert!(refused.source.metadata().unwrap().is_dir()),
            }
        }
    }
    assert_eq!(handle.stats().sources, 0);
    // The reactor still works.
    runtime.run_until(idle()).unwrap();
}

/// A descriptor from `into_inner` works, and the reactor gets no more events for it until it is registered again.
#[test]
fn taken_out_and_put_in_again() {
    block_on(async {
        let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let (pipe_reader, pipe_writer) = tests::pipe().unwrap();
        let (one, other) = UnixDatagram::pair().unwrap();
        let same = event.try_clone().unwrap();
        let kinds = [(file(event), file(same)), (file(pipe_reader), file(pipe_writer)), (file(one), file(other))];
        for (reader, writer) in kinds {
            let writer = Arc::new(writer);
            let act = || {
                let writer = Arc::clone(&writer);
                move || (&*writer).write_all(&1_u64.to_ne_bytes()).unwrap()
            };
            let mut buffer = [0; 8];
            let mut source = Source::new(reader).unwrap();
            waits(source.read_exact(&mut buffer), act()).await.unwrap();
            let mut plain = source.into_inner().unwrap();
            assert_eq!(plain.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock, "still non-blocking");
            let events = async_epoll::Handle::current().unwrap().stats().events;
            act()();
            idle().await;
            assert_eq!(async_epoll::Handle::current().unwrap().stats().events, events, "an event without a waiter");
            assert_eq!(plain.read(&mut buffer).unwrap(), 8);
            let mut again = Source::new(plain).unwrap();
            waits(again.read_exact(&mut buffer), act()).await.unwrap();
        }
    });
}

/// Spawns `future` as a task and returns the number of its polls. `done` is incremented when the task ends.
fn counted<T: 'static>(
    runtime: &LocalRuntime,
    done: &Rc<Cell<usize>>,
    future: impl Future<Output = T> + 'static,
) -> Rc<Cell<usize>> {
    let polls = Rc::new(Cell::new(0));
    let (count, done) = (Rc::clone(&polls), Rc::clone(done));
    runtime
        .spawner()
        .spawn_local(async move {
            let mut future = pin!(future);
            poll_fn(|cx| {
                count.set(count.get() + 1);
                future.as_mut().poll(cx)
            })
            .await;
            done.set(done.get() + 1);
        })
        .unwrap();
    polls
}

/// Two tasks read from one source, and two write to another. Each event costs each task at most one poll; a task that
/// finds nothing waits on, and all tasks get their turn.
#[test]
fn several_waiters_per_direction() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let (one, other) = UnixDatagram::pair().unwrap();
    let reader = Rc::new(Source::with_handle(one, &handle).unwrap());
    let (full, drain) = UnixDatagram::pair().unwrap();
    let writer = Rc::new(Source::with_handle(full, &handle).unwrap());
    while writer.try_io(Interest::WRITABLE, |socket| socket.send(b"x")).is_ok() {}

    let (done_reading, done_writing) = (Rc::default(), Rc::default());
    let tasks: Vec<_> = (0..2)
        .flat_map(|_| {
            let (reader, writer) = (Rc::clone(&reader), Rc::clone(&writer));
            let read = async move { reader.read_with(|socket| socket.recv(&mut [0; 8])).await.unwrap() };
            let write = async move { writer.write_with(|socket| socket.send(b"y")).await.unwrap() };
            [counted(&runtime, &done_reading, read), counted(&runtime, &done_writing, write)]
        })
        .collect();
    let polls = || tasks.iter().map(|polls| polls.get()).collect::<Vec<_>>();
    let mut settle = || runtime.run_until(idle()).unwrap();
    settle();
    // The first event of each source is "writable", which does not concern a reader.
    let begin = polls();
    assert!(begin.iter().all(|&polls| polls <= 2), "{begin:?}");
    settle();
    assert_eq!(polls(), begin, "nothing has happened");

    for round in 1..=2 {
        let (before, events) = (polls(), handle.stats().events);
        other.send(b"message").unwrap();
        settle();
        assert_eq!((done_reading.get(), done_writing.get()), (round, 0));
        assert_eq!(handle.stats().events, events + 1);
        let extra: usize = polls().iter().zip(before).map(|(after, before)| after - before).sum();
        assert!(extra <= 3 - round, "{extra} polls for {} waiting tasks", 3 - round);
    }
    drain.set_nonblocking(true).unwrap();
    let (before, events) = (polls(), handle.stats().events);
    while drain.recv(&mut [0]).is_ok() {}
    settle();
    assert_eq!(done_writing.get(), 2, "there is room for both");
    let events = usize::try_from(handle.stats().events - events).unwrap();
    let extra: usize = polls().iter().zip(before).map(|(after, before)| after - before).sum();
    assert!(extra <= 2 * events, "{extra} polls for {events} events");
    assert_eq!(handle.stats().task_panics, 0);
}

/// Urgent data on a TCP connection, twice. Reading the plain data around it does not wake a task that waits for urgent
/// data.
#[test]
fn priority_of_urgent_data() {
    block_on(async {
        let (one, other) = std_tcp_pair();
        let other = Arc::new(other);
        let source = Source::new(one).unwrap();
        let urgent = |stream: &TcpStream| {
            let mut byte = [std::mem::MaybeUninit::uninit()];
            match SockRef::from(stream).recv_out_of_band(&mut byte) {
                // The kernel returns EINVAL when there is no urgent data.
                Err(error) if error.kind() == ErrorKind::InvalidInput => Err(ErrorKind::WouldBlock.into()),
                result => result,
            }
        };
        for _ in 0..2 {
            let own = Arc::clone(&other);
            let cause = move || assert_eq!(SockRef::from(&*own).send_out_of_band(b"!").unwrap(), 1);
            assert!(waits(source.priority(), cause).await.unwrap().is_priority());
            assert_eq!(source.try_io(Interest::PRIORITY, urgent).unwrap(), 1);
            (&*other).write_all(b"plain").unwrap();
            let mut buffer = [0; 5];
            let read = source.read_with(|mut stream| stream.read(&mut buffer)).await.unwrap();
            assert_eq!(&buffer[..read], b"plain");
            assert_eq!(source.try_io(Interest::PRIORITY, urgent).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        let ended = waits(source.priority(), move || drop(other)).await.unwrap();
        assert!(!ended.is_priority() && ended.is_read_closed(), "none will come any more");
    });
}
