//! System calls of the user's own on each type of socket: they wait, they note `WouldBlock`, and they do not spin.

use async_epoll::{Handle, Interest, LocalRuntime, Reactor, Source};
use async_net_lite::unix::{UnixDatagram, UnixListener, UnixStream};
use async_net_lite::{TcpListener, TcpStream, UdpSocket};
use async_timeout::TimeoutExt;
use futures::future::FutureExt;
use rustix::net::{RecvFlags, SendFlags};
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::time::Duration;
use tests::common::waiting::{idle, waits};
use tests::common::{block_on, tcp, udp};
use tests::{LOCALHOST, later, thread_cpu, yield_now};

/// Receives from the bare descriptor, past the source.
fn recv<T: AsFd>(socket: &T) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, &mut [0_u8; 64], RecvFlags::DONTWAIT)?.0)
}

/// Sends to the bare descriptor, past the source.
fn send<T: AsFd>(socket: &T) -> io::Result<usize> {
    Ok(rustix::net::send(socket, &[7; 4096], SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// The four forms of an own reading call, for a connected socket and an end that sends one byte.
macro_rules! reading_forms {
    ($socket:expr, $send:expr) => {{
        let (socket, send) = ($socket, $send);
        let send = move || assert_eq!(send().expect("room"), 1);
        let kind = |result: io::Result<usize>| result.unwrap_err().kind();
        // Nothing is known yet, so the call is tried. Then it is known that nothing is there.
        let calls = Cell::new(0);
        let counted = || {
            calls.set(calls.get() + 1);
            recv(socket)
        };
        assert_eq!(kind(socket.try_io(Interest::READABLE, |_| counted())), ErrorKind::WouldBlock);
        waits(socket.read_with(|_| counted()), send).await.unwrap();
        assert!(calls.get() <= 4, "{}", calls.get());
        waits(poll_fn(|cx| socket.poll_read_with(cx, |_| counted())), send).await.unwrap();
        // A wait and an attempt, in a loop: one round for each datagram, and one that meets `WouldBlock`.
        assert_eq!(kind(socket.try_io(Interest::READABLE, |_| recv(socket))), ErrorKind::WouldBlock);
        waits(socket.readable(), send).await.unwrap();
        assert_eq!(socket.try_io(Interest::READABLE, |_| recv(socket)).unwrap(), 1);
        assert_eq!(kind(socket.try_io(Interest::READABLE, |_| recv(socket))), ErrorKind::WouldBlock);
        let before = calls.get();
        assert_eq!(kind(socket.try_io(Interest::READABLE, |_| counted())), ErrorKind::WouldBlock);
        assert_eq!(calls.get(), before, "known without a call");
        waits(socket.readable(), send).await.unwrap();
        // Past the source, with a notice.
        assert_eq!(recv(socket).unwrap(), 1);
        socket.clear_ready(Interest::READABLE);
        waits(socket.readable(), send).await.unwrap();
        // A notice that is not true is harmless: the kernel is asked.
        socket.clear_ready(Interest::READABLE);
        assert!(socket.readable().now_or_never().is_some());
        assert_eq!(recv(socket).unwrap(), 1);
        socket.clear_ready(Interest::READABLE | Interest::WRITABLE);
        idle().await;
    }};
}

/// Found 6: own reading calls on every type of socket that reads, in each form.
#[test]
fn reading_calls_of_each_type() {
    block_on(async {
        let (client, server) = tcp::std_pair().await;
        let client: &'static std::net::TcpStream = Box::leak(Box::new(client));
        reading_forms!(&server, move || { &*client }.write(b"x"));

        let (left, right) = udp::pair().await;
        let left: &'static std::net::UdpSocket = Box::leak(Box::new(left.into_std().unwrap()));
        reading_forms!(&right, || left.send(b"x"));

        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        let right = UnixStream::try_from(right).unwrap();
        let left: &'static std::os::unix::net::UnixStream = Box::leak(Box::new(left));
        reading_forms!(&right, || { &*left }.write(b"x"));

        let (left, right) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let right = UnixDatagram::try_from(right).unwrap();
        let left: &'static std::os::unix::net::UnixDatagram = Box::leak(Box::new(left));
        reading_forms!(&right, || left.send(b"x"));

        // A half leads to its stream.
        let (mut client, server) = tcp::std_pair().await;
        let (reader, writer) = server.into_split();
        waits(reader.as_ref().read_with(recv), move || client.write_all(b"x").map(|()| drop(client)).unwrap())
            .await
            .unwrap();
        assert_eq!(writer.as_ref().write_with(send).await.unwrap(), 4096);
    });
}

/// Fills a socket by own writing calls, and checks that they wait for room without spinning.
macro_rules! writing_forms {
    ($socket:expr, $drain:expr) => {{
        let (socket, drain) = ($socket, $drain);
        while socket.try_io(Interest::WRITABLE, |_| send(socket)).is_ok() {}
        waits(socket.write_with(|_| send(socket)), drain.clone()).await.unwrap();
        while socket.try_io(Interest::WRITABLE, |_| send(socket)).is_ok() {}
        waits(poll_fn(|cx| socket.poll_write_with(cx, |_| send(socket))), drain.clone()).await.unwrap();
        while send(socket).is_ok() {}
        socket.clear_ready(Interest::WRITABLE);
        waits(socket.writable(), drain).await.unwrap();
        assert!(send(socket).is_ok(), "there is room");
        socket.clear_ready(Interest::WRITABLE);
        assert!(socket.writable().now_or_never().is_some(), "and more");
    }};
}

/// Found 6: own writing calls on every type of socket that can be full.
#[test]
fn writing_calls_of_each_type() {
    fn drain(mut stream: impl Read) {
        while stream.read(&mut vec![0; 1 << 20]).is_ok_and(|length| length > 0) {}
    }
    block_on(async {
        let (client, server) = tcp::std_pair().await;
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let client: &'static std::net::TcpStream = Box::leak(Box::new(client));
        writing_forms!(&server, move || drain(client));

        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        let right = UnixStream::try_from(right).unwrap();
        left.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let left: &'static std::os::unix::net::UnixStream = Box::leak(Box::new(left));
        writing_forms!(&right, move || drain(left));

        let (left, right) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let right = UnixDatagram::try_from(right).unwrap();
        left.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let left: &'static std::os::unix::net::UnixDatagram = Box::leak(Box::new(left));
        writing_forms!(&right, move || while left.recv(&mut [0; 8192]).is_ok() {});

        let (left, right) = udp::pair().await;
        assert_eq!(left.write_with(send).await.unwrap(), 4096);
        assert_eq!(right.read_with(recv).await.unwrap(), 64);
    });
}

/// Found 6: own calls that accept, on both types of listeners: here without close-on-exec.
#[test]
fn accepting_calls_of_each_type() {
    fn accept<T: AsFd>(listener: &T) -> io::Result<OwnedFd> {
        Ok(rustix::net::accept_with(listener, rustix::net::SocketFlags::NONBLOCK)?)
    }
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = move || drop(std::net::TcpStream::connect(address).unwrap());
        let accepted = waits(listener.read_with(accept), connect).await.unwrap();
        assert!(rustix::io::fcntl_getfd(&accepted).unwrap().is_empty());
        assert_eq!(listener.try_io(Interest::READABLE, accept).unwrap_err().kind(), ErrorKind::WouldBlock);
        waits(poll_fn(|cx| listener.poll_read_with(cx, accept)), connect).await.unwrap();
        listener.clear_ready(Interest::READABLE);
        waits(listener.accept(), connect).await.unwrap();

        let listener = UnixListener::bind_addr(&SocketAddr::from_pathname("").unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = move || drop(std::os::unix::net::UnixStream::connect_addr(&address).unwrap());
        waits(listener.read_with(accept), connect.clone()).await.unwrap();
        waits(poll_fn(|cx| listener.poll_read_with(cx, accept)), connect.clone()).await.unwrap();
        waits(listener.accept(), connect).await.unwrap();
    });
}

/// Found 6: a loop of a wait and an own call on the bare descriptor makes one round for each datagram, if it notes
/// `WouldBlock`. (Without the notice: some hundred thousand rounds.)
#[test]
fn a_loop_around_readable_does_not_spin() {
    block_on(async {
        let (socket, peer) = udp::pair().await;
        let (rounds, received) = (Cell::new(0), Cell::new(0));
        let receive = async {
            loop {
                socket.readable().await.unwrap();
                rounds.set(rounds.get() + 1);
                match recv(&socket) {
                    Ok(_) => received.set(received.get() + 1),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        socket.clear_ready(Interest::READABLE);
                    }
                }
            }
        };
        let send = async {
            for _ in 0..10 {
                peer.send(b"x").await.unwrap();
                async_timeout::sleep(Duration::from_millis(20)).await;
            }
        };
        let cpu = thread_cpu();
        let both = futures::future::select(Box::pin(receive), Box::pin(send));
        drop(both.timeout(Duration::from_secs(20)).await.expect("ten datagrams"));
        assert_eq!(received.get(), 10);
        assert!(rounds.get() <= 30, "{} rounds", rounds.get());
        assert!(thread_cpu() - cpu < Duration::from_millis(100), "it spins");
    });
}

/// Found 6: with a reactor in the background, an event may be dispatched between the call that meets `WouldBlock` and
/// the notice. It is not lost.
#[test]
fn a_notice_loses_no_event_of_a_background_reactor() {
    let _watchdog = tests::watchdog(tests::TIME);
    let background = Reactor::new().unwrap().into_background().unwrap();
    let (peer, socket) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let socket = UnixDatagram::from_std(socket, &background.handle()).unwrap();
    const ROUNDS: usize = 20_000;
    let sender = std::thread::spawn(move || (0..ROUNDS).for_each(|_| assert_eq!(peer.send(b"x").unwrap(), 1)));
    let mut received = 0;
    while received < ROUNDS {
        futures::executor::block_on(socket.readable()).unwrap();
        while recv(&socket).is_ok() {
            received += 1;
        }
        socket.clear_ready(Interest::READABLE);
    }
    sender.join().unwrap();
}

/// Found 6: the notice for each state of a source: not registered, the reactor gone, the peer gone.
#[test]
fn a_notice_in_every_state() {
    block_on(async {
        // Not registered: the next wait registers, and the kernel reports what is there.
        let (stream, peer) = UnixStream::pair().unwrap();
        stream.clear_ready(Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY);
        peer.try_write(b"x").unwrap();
        stream.readable().await.unwrap();
        stream.writable().await.unwrap();
        // At the end of file, nothing ever blocks.
        drop(peer);
        assert_eq!(recv(&stream).unwrap(), 1);
        stream.clear_ready(Interest::READABLE | Interest::WRITABLE);
        while !stream.readable().await.unwrap().is_read_closed() {
            yield_now().await;
        }
        stream.clear_ready(Interest::READABLE | Interest::WRITABLE);
        assert!(stream.readable().now_or_never().is_some() && stream.writable().now_or_never().is_some());
        // An error that was collected past the source.
        let closed = std::net::UdpSocket::bind(LOCALHOST).unwrap().local_addr().unwrap(); // Dropped at once.
        let socket = Source::new(std::net::UdpSocket::bind(LOCALHOST).unwrap()).unwrap();
        socket.get_ref().connect(closed).unwrap();
        socket.get_ref().send(b"x").unwrap();
        socket.errors().await.unwrap();
        socket.clear_ready(Interest::ERROR);
        assert!(socket.errors().now_or_never().is_some(), "the error is still there");
        assert!(socket.get_ref().take_error().unwrap().is_some());
        socket.clear_ready(Interest::ERROR);
        assert!(socket.errors().now_or_never().is_none(), "waits for the next error");
        // The error of a full pipe without a reader.
        let (reader, writer) = tests::pipe().unwrap();
        let writer = Source::new(writer).unwrap();
        while writer.get_ref().write(&[7; 4096]).is_ok() {}
        writer.clear_ready(Interest::WRITABLE);
        let closer = later(move || drop(reader));
        let mut write = |mut file: &std::fs::File| file.write(b"x");
        assert_eq!(writer.write_with(&mut write).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        writer.clear_ready(Interest::WRITABLE);
        assert!(writer.writable().now_or_never().is_some(), "the error is still there");
        closer.join().unwrap();
    });
    let runtime = LocalRuntime::new().unwrap();
    let (stream, _peer) = UnixStream::pair_with(&runtime.handle()).unwrap();
    drop(runtime);
    stream.clear_ready(Interest::READABLE);
    assert_eq!(stream.try_io(Interest::READABLE, recv).unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(Handle::current().is_err());
}

/// Own calls spend the budget of a task, as those of the crate do.
#[test]
fn own_calls_yield() {
    block_on(async {
        let (client, server): (TcpStream, TcpStream) = tcp::pair().await;
        drop(client);
        let mut rounds = 0_usize;
        let forever = async {
            loop {
                assert_eq!(server.read_with(recv).await.unwrap(), 0);
                rounds += 1;
            }
        };
        // The other future gets its turn although reading at the end of file is always ready.
        let other = async { async_timeout::sleep(Duration::from_millis(5)).await };
        drop(futures::future::select(Box::pin(forever), Box::pin(other)).await);
        assert!(rounds > 32, "{rounds}");
        let (left, right) = (udp::socket().await, udp::socket().await);
        let _: (UdpSocket, UdpSocket) = (left, right);
    });
}
