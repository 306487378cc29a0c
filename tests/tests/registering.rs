//! Registering and deregistering, as the kernel sees them: what is in the epoll instance.
//!
//! `Stats` counts the sources in the reactor's table, so it shows neither an entry that was left in the kernel nor an
//! entry that is missing there. Therefore these tests count the entries in the kernel (`/proc/self/fdinfo`), and count
//! sleeps: the event of an entry without a source wakes the reactor and is not counted otherwise.
//!
//! The tests of passed-on sockets are a table: each way in which an open file lives on when its socket is dropped, each
//! kind of socket, registered or not.

use async_epoll::{Handle, Interest, LocalRuntime, Reactor, Source};
use async_net_lite::unix::{UnixDatagram, UnixListener, UnixStream};
use async_net_lite::{TcpListener, TcpStream, UdpSocket};
use futures::future::FutureExt;
use futures::io::AsyncReadExt;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::SockRef;
use std::any::Any;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net as unix_std;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tests::common::tcp;
use tests::{LOCALHOST, TIME, abstract_name, epoll_entries, fork_idle_child, in_child, watchdog};

/// What keeps an open file alive.
type Kept = Box<dyn Any>;
/// Causes an event of the open file.
type Poke = Box<dyn FnMut() + Send>;
/// Drops the socket, and keeps its open file alive (or not).
type Way<S> = (&'static str, fn(S) -> Kept);

/// Returns the number of files in the epoll instance `epoll`.
fn entries(epoll: RawFd) -> usize {
    epoll_entries(epoll).len()
}

/// Runs `test` on a reactor of its own, with the number of its epoll instance.
fn on_a_reactor(test: impl AsyncFnOnce(RawFd)) {
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap();
    let epoll = reactor.as_raw_fd();
    LocalRuntime::from(reactor).run_until(test(epoll)).unwrap();
}

/// Checks that events of the open file do not wake the reactor.
async fn sleeps_through(mut poke: Poke, what: &str) {
    const POKES: u64 = 20;
    let handle = Handle::current().unwrap();
    for _ in 0..3 {
        tests::yield_now().await;
    }
    let before = handle.stats();
    // On another thread, so that the reactor sleeps meanwhile.
    let thread = std::thread::spawn(move || {
        for _ in 0..POKES {
            std::thread::sleep(Duration::from_micros(500));
            poke();
        }
        poke
    });
    async_timeout::sleep(Duration::from_millis(POKES)).await;
    let after = handle.stats();
    let (sleeps, events) = (after.sleeps - before.sleeps, after.events - before.events);
    assert!(sleeps <= POKES / 4 && events == 0, "{what}: {sleeps} sleeps, {events} events");
    drop(thread.join().unwrap());
}

/// Duplicates a descriptor of which only the number is known.
fn duplicate_by_number(number: RawFd) -> OwnedFd {
    let own_process = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    pidfd_getfd(own_process, number, PidfdGetfdFlags::empty()).unwrap()
}

/// Sends a descriptor as a message, which stays in flight.
fn pass(socket: &impl AsFd) -> Kept {
    let (sender, receiver) = UnixStream::pair().unwrap();
    let sent = sender.send_with_fds(b"x", &[socket.as_fd()]).now_or_never().expect("there is room");
    assert_eq!(sent.unwrap(), 1);
    Box::new((sender, receiver))
}

/// The ways that all sockets have in common.
fn ways<S>() -> Vec<Way<S>>
where
    S: AsFd + AsRawFd + Clone + 'static,
    OwnedFd: TryFrom<S, Error = io::Error>,
{
    vec![
        ("closed", |_| Box::new(())),
        ("duplicated", |socket| Box::new(socket.as_fd().try_clone_to_owned().unwrap())),
        ("duplicated by number", |socket| Box::new(duplicate_by_number(socket.as_raw_fd()))),
        ("duplicated by socket2", |socket| Box::new(SockRef::from(&socket).try_clone().unwrap())),
        ("passed as a message", |socket| pass(&socket)),
        ("converted", |socket| Box::new(OwnedFd::try_from(socket).unwrap())),
        ("converted beside a clone", |socket| {
            let clone = socket.clone();
            let kept = OwnedFd::try_from(socket).unwrap();
            drop(clone);
            Box::new(kept)
        }),
        ("duplicated from a clone", |socket| {
            let clone = socket.clone();
            drop(socket);
            Box::new(clone.as_fd().try_clone_to_owned().unwrap())
        }),
    ]
}

/// Runs the rows of one kind of socket: each way, registered and not. `wait` begins an operation that has to wait.
fn table<S: 'static>(kind: &str, ways: Vec<Way<S>>, make: impl AsyncFn() -> (S, Poke), wait: impl Fn(&S)) {
    for (way, live_on) in ways {
        for registered in [false, true] {
            on_a_reactor(async |epoll| {
                let what = format!("{kind}, {way}, registered: {registered}");
                let before = entries(epoll);
                let (socket, poke) = make().await;
                if registered {
                    wait(&socket);
                    assert_eq!(entries(epoll), before + 1, "{what}");
                }
                let kept = live_on(socket);
                assert_eq!(entries(epoll), before, "{what}: left in the kernel");
                assert_eq!(Handle::current().unwrap().stats().sources, 0, "{what}");
                sleeps_through(poke, &what).await;
                drop(kept);
            });
        }
    }
}

fn pending<T>(operation: impl Future<Output = T>) {
    assert!(operation.now_or_never().is_none(), "has to wait");
}

/// Returns an accepted stream, which was never registered.
async fn accepted() -> (TcpStream, Poke) {
    let (mut client, stream) = tcp::std_pair().await;
    // A reset is an error, and no concern of this test.
    (stream, Box::new(move || drop(client.write(b"x"))))
}

async fn unix_stream() -> (UnixStream, Poke) {
    let (stream, peer) = UnixStream::pair().unwrap();
    let mut peer = peer.into_std().unwrap();
    (stream, Box::new(move || drop(peer.write(b"x"))))
}

async fn udp() -> (UdpSocket, Poke) {
    let socket = UdpSocket::bind(LOCALHOST).await.unwrap();
    let (peer, address) = (net::UdpSocket::bind(LOCALHOST).unwrap(), socket.local_addr().unwrap());
    (socket, Box::new(move || drop(peer.send_to(b"x", address))))
}

async fn unix_datagram() -> (UnixDatagram, Poke) {
    let (socket, peer) = UnixDatagram::pair().unwrap();
    let peer = peer.into_std().unwrap();
    (socket, Box::new(move || drop(peer.send(b"x"))))
}

async fn tcp_listener() -> (TcpListener, Poke) {
    let listener = TcpListener::bind(LOCALHOST).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, Box::new(move || drop(net::TcpStream::connect(address))))
}

async fn unix_listener() -> (UnixListener, Poke) {
    let address = abstract_name("registering");
    let listener = UnixListener::bind_addr(&address).unwrap();
    (listener, Box::new(move || drop(unix_std::UnixStream::connect_addr(&address))))
}

/// Found 3: TCP streams that live on elsewhere when they are dropped.
#[test]
fn passed_on_tcp_streams() {
    let mut ways = ways::<TcpStream>();
    ways.push(("duplicated from a half", |stream| {
        let (reader, writer) = stream.into_split();
        writer.forget();
        Box::new(reader.as_ref().as_fd().try_clone_to_owned().unwrap())
    }));
    table("an accepted TcpStream", ways, accepted, |stream| pending((&*stream).read(&mut [0])));
}

/// Found 3: Unix streams that live on elsewhere when they are dropped.
#[test]
fn passed_on_unix_streams() {
    let mut ways = ways::<UnixStream>();
    ways.push(("duplicated from a half", |stream| {
        let (reader, writer) = stream.into_split();
        drop(reader);
        let kept = writer.as_ref().as_fd().try_clone_to_owned().unwrap();
        writer.forget();
        Box::new(kept)
    }));
    table("a UnixStream", ways, unix_stream, |stream| pending((&*stream).read(&mut [0])));
}

/// Found 3: datagram sockets that live on elsewhere when they are dropped.
#[test]
fn passed_on_datagram_sockets() {
    table("a UdpSocket", ways(), udp, |socket| pending(socket.recv(&mut [0])));
    table("a UnixDatagram", ways(), unix_datagram, |socket| pending(socket.recv(&mut [0])));
}

/// Found 3: listeners that live on elsewhere when they are dropped.
#[test]
fn passed_on_listeners() {
    table("a TcpListener", ways(), tcp_listener, |listener| pending(listener.accept()));
    table("a UnixListener", ways(), unix_listener, |listener| pending(listener.accept()));
}

/// Returns a lazy source of a new socket.
async fn lazy() -> (Source<unix_std::UnixStream>, Poke) {
    let (stream, mut peer) = unix_std::UnixStream::pair().unwrap();
    stream.set_nonblocking(true).unwrap();
    (Source::lazy(stream, &Handle::current().unwrap()), Box::new(move || drop(peer.write(b"x"))))
}

/// Found 3: lazy sources of sockets that live on elsewhere when they are dropped. Kills the mutant whose
/// `note_duplicate` does nothing.
#[test]
fn passed_on_lazy_sources() {
    let ways: Vec<Way<Source<unix_std::UnixStream>>> = vec![
        ("closed", |_| Box::new(())),
        ("cloned", |source| Box::new(source.get_ref().try_clone().unwrap())),
        ("duplicated", |source| Box::new(source.as_fd().try_clone_to_owned().unwrap())),
        ("duplicated by number", |source| Box::new(duplicate_by_number(source.as_raw_fd()))),
        ("passed as a message", |source| pass(&source)),
        ("taken out", |source| Box::new(source.into_inner().unwrap())),
        ("noted", |source| {
            let mut clone = None;
            // An operation that duplicates the descriptor has to say so.
            let _ = source.try_io(Interest::READABLE, |stream| {
                clone = Some(stream.try_clone()?);
                Ok(())
            });
            source.note_duplicate();
            let clone = clone.unwrap_or_else(|| source.lend().try_clone().unwrap());
            Box::new(clone)
        }),
    ];
    table("a lazy source", ways, lazy, |source| pending((&*source).read(&mut [0])));

    // A source that only borrows the descriptor.
    on_a_reactor(async |epoll| {
        let (stream, mut peer) = unix_std::UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let before = entries(epoll);
        for _ in 0..2 {
            let source = Source::lazy(&stream, &Handle::current().unwrap());
            pending(source.readable());
            assert_eq!(entries(epoll), before + 1);
            drop(source);
            assert_eq!(entries(epoll), before);
        }
        sleeps_through(Box::new(move || drop(peer.write(b"x"))), "a borrowed source").await;
        drop(stream);
    });
}

/// Eager sources are deleted from the epoll instance when they are dropped, because duplicates may have existed before.
/// Found 3, and kills the mutant that never deletes them.
#[test]
fn passed_on_eager_sources() {
    let make = async || {
        let (stream, mut peer) = unix_std::UnixStream::pair().unwrap();
        let source = Source::new(Arc::new(stream)).unwrap();
        (source, Box::new(move || drop(peer.write(b"x"))) as Poke)
    };
    let ways: Vec<Way<Source<Arc<unix_std::UnixStream>>>> = vec![
        ("closed", |_| Box::new(())),
        ("in an Arc", |source| Box::new(Arc::clone(source.lend()))),
        ("cloned", |source| Box::new(source.lend().try_clone().unwrap())),
        ("taken out", |source| Box::new(source.into_inner().unwrap())),
    ];
    table("an eager source", ways, make, |_| ());
}

/// Found 3: sockets that a forked child has inherited. The parent drops its own while the child lives.
#[test]
fn inherited_sockets() {
    if !in_child("inherited_sockets") {
        return;
    }
    async fn inherited<S>(epoll: RawFd, kind: &str, made: (S, Poke), wait: impl Fn(&S)) {
        let (socket, poke) = made;
        wait(&socket);
        let with_it = entries(epoll);
        let child = fork_idle_child();
        drop(socket);
        assert_eq!(entries(epoll), with_it - 1, "{kind}: left in the kernel");
        sleeps_through(poke, kind).await;
        drop(child);
    }
    on_a_reactor(async |epoll| {
        inherited(epoll, "a TcpStream", accepted().await, |stream| pending((&*stream).read(&mut [0]))).await;
        inherited(epoll, "a UnixStream", unix_stream().await, |stream| pending((&*stream).read(&mut [0]))).await;
        inherited(epoll, "a UdpSocket", udp().await, |socket| pending(socket.recv(&mut [0]))).await;
        inherited(epoll, "a UnixDatagram", unix_datagram().await, |socket| pending(socket.recv(&mut [0]))).await;
        inherited(epoll, "a TcpListener", tcp_listener().await, |listener| pending(listener.accept())).await;
        inherited(epoll, "a UnixListener", unix_listener().await, |listener| pending(listener.accept())).await;
        inherited(epoll, "a lazy source", lazy().await, |source| pending((&*source).read(&mut [0]))).await;
    });
}

/// Found 2: one thread drops the source of a descriptor while another makes a new one. The new source is in the epoll
/// instance, and is refused only while the old one exists. (`registrations_in_order` in `strace` delays the deletion.)
#[test]
fn one_descriptor_from_two_threads() {
    const ROUNDS: usize = 4000;
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap();
    let epoll = reactor.as_raw_fd();
    let before = entries(epoll);
    let background = reactor.into_background().unwrap();
    let handle = background.handle();
    let (stream, _peer) = unix_std::UnixStream::pair().unwrap();
    let stream = Arc::new(stream);
    let make = || Source::with_handle(Arc::clone(&stream), &handle);
    let together = Barrier::new(2);
    for round in 0..ROUNDS {
        let first = make().unwrap();
        let second = std::thread::scope(|scope| {
            // A new thread for each round: both then run on any processor, and any of the two may be interrupted.
            let second = scope.spawn(|| {
                together.wait();
                loop {
                    match make() {
                        Ok(source) => return source,
                        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => std::hint::spin_loop(),
                        Err(refused) => panic!("round {round}: {refused}"),
                    }
                }
            });
            together.wait();
            // Each end of a source takes part.
            if round % 2 == 0 {
                drop(first)
            } else {
                drop(first.into_inner())
            }
            second.join().unwrap()
        });
        assert_eq!(entries(epoll), before + 1, "round {round}: the new source gets no event");
        drop(second);
        assert_eq!(entries(epoll), before, "round {round}");
    }
    background.shutdown().unwrap();
}

/// An entry that was left in the kernel does not prevent a new source of the same descriptor. (Here an `Arc` outlives a
/// lazy source, which its documentation asks to note.) Kills the mutant that does not heal `EEXIST`.
#[test]
fn a_stale_entry_is_replaced() {
    on_a_reactor(async |epoll| {
        let handle = Handle::current().unwrap();
        let (stream, mut peer) = unix_std::UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = Arc::new(stream);
        let before = entries(epoll);
        let lazy = Source::lazy(Arc::clone(&stream), &handle);
        pending(lazy.readable());
        drop(lazy);
        assert_eq!((entries(epoll), handle.stats().sources), (before + 1, 0), "a stale entry");
        let source = Source::new(Arc::clone(&stream)).unwrap();
        assert_eq!(entries(epoll), before + 1, "the same entry, with a new token");
        // A second source is still refused, and does not harm the first.
        let refused = Source::new(Arc::clone(&stream)).unwrap_err();
        assert_eq!(refused.error.kind(), ErrorKind::AlreadyExists);
        let cause = refused.source().and_then(|cause| cause.downcast_ref::<io::Error>()).expect("the kernel's error");
        assert_eq!(cause.raw_os_error(), Some(libc::EEXIST));
        peer.write_all(b"x").unwrap();
        assert!(source.readable().await.unwrap().is_readable());
        drop((source, refused));
        assert_eq!(entries(epoll), before);
        sleeps_through(Box::new(move || drop(peer.write(b"x"))), "after the last source").await;
    });
}

/// Found 12a: the kernel's error stays reachable behind a message that says what to do.
#[test]
fn the_number_of_an_error_is_kept() {
    let reactor = Reactor::new().unwrap();
    let refused = Source::with_handle(std::fs::File::open("/dev/null").unwrap(), &reactor.handle()).unwrap_err();
    assert!(refused.to_string().contains("blocking::Unblock"));
    let number = |error: &(dyn Error + 'static)| error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    assert_eq!(refused.source().and_then(number), Some(libc::EPERM));
    let error = io::Error::from(refused);
    assert_eq!((error.kind(), error.source().and_then(number)), (ErrorKind::PermissionDenied, Some(libc::EPERM)));
}

/// Found 12a: after a registration has failed, the next operation is tried, and registers again only if it has to wait.
#[test]
fn a_failed_registration_is_retried() {
    on_a_reactor(async |_| {
        let handle = Handle::current().unwrap();
        // A second source of one descriptor is refused as long as the first is registered.
        let (stream, mut peer) = unix_std::UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let (first, second) = (Source::lazy(&stream, &handle), Source::lazy(&stream, &handle));
        let read = |mut stream: &unix_std::UnixStream| stream.read(&mut [0; 8]);
        let read_second = || second.read_with(|stream| read(stream));
        pending(first.readable());
        for _ in 0..3 {
            let refused = read_second().now_or_never().expect("cannot wait").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
            let refused = second.readable().now_or_never().expect("cannot wait").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
            peer.write_all(b"x").unwrap();
            assert_eq!(read_second().now_or_never().expect("data is there").unwrap(), 1);
        }
        drop(first);
        pending(read_second());
        assert_eq!(handle.stats().sources, 1);
        let thread = std::thread::spawn(move || peer.write_all(b"late").map(|()| peer));
        assert_eq!(read_second().await.unwrap(), 4);
        drop(thread.join().unwrap());

        // A file that epoll refuses in any case. What need not wait never fails for it.
        let file = Source::lazy(std::fs::File::open("/dev/null").unwrap(), &handle);
        for _ in 0..3 {
            let blocked = file.read_with(|_| Err::<(), _>(ErrorKind::WouldBlock.into())).await.unwrap_err();
            assert_eq!(blocked.kind(), ErrorKind::PermissionDenied);
            assert_eq!(file.read_with(|_| Ok(7)).await.unwrap(), 7);
            assert_eq!(file.write_with(|_| Ok(7)).await.unwrap(), 7);
        }
    });
}

/// Found 16: a file that cannot be registered goes back as it came: blocking, if it was, also for its duplicates.
#[test]
fn a_refused_file_is_given_back_as_it_came() {
    let is_nonblocking = |fd: &dyn AsRawFd| {
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        u32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_NONBLOCK as u32 != 0
    };
    let gone = Reactor::new().unwrap().handle();
    on_a_reactor(async |_| {
        let here = Handle::current().unwrap();
        for nonblocking in [false, true] {
            // Epoll refuses regular files (EPERM), a second registration (EEXIST), and everything for a reactor that is gone.
            let (stream, _peer) = unix_std::UnixStream::pair().unwrap();
            stream.set_nonblocking(nonblocking).unwrap();
            let file = std::fs::File::open("/proc/self/exe").unwrap();
            SockRef::from(&file).set_nonblocking(nonblocking).unwrap();
            for (kind, io, handle) in [
                (ErrorKind::PermissionDenied, OwnedFd::from(file), &here),
                (ErrorKind::NotConnected, OwnedFd::from(stream), &gone),
            ] {
                let duplicate = io.try_clone().unwrap();
                let refused = Source::with_interest(io, Interest::READABLE, handle).unwrap_err();
                assert_eq!(refused.error.kind(), kind);
                assert_eq!(is_nonblocking(&refused.source), nonblocking, "{kind:?}");
                assert_eq!(is_nonblocking(&duplicate), nonblocking, "{kind:?}");
            }
        }
    });
}
