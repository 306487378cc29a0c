//! A forked child shares its parent's epoll instance, and must not disturb it (bug A10).
//!
//! The program has no test harness, because a child may only be forked while the process has a single thread.

use async_epoll::{LocalRuntime, Reactor, ReactorBuilder, Source, Timer};
use async_net_lite::{TcpListener, TcpStream, UdpSocket, copy_bidirectional};
use futures::channel::oneshot;
use futures::future::FutureExt;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::cell::Cell;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Context;
use std::time::{Duration, Instant};
use tests::CountingWaker;

/// Bug A10: a forked child drops everything that it shares with its parent, and the parent still gets its events.
fn main() {
    a_child_of(Reactor::builder(), "a_forked_child_does_not_disturb_its_parent");
    // These two have a timerfd as well, which the child shares.
    a_child_of(Reactor::builder().precise_timers(), "nor_its_precise_timers");
    a_child_of(Reactor::builder().embedded(), "nor_its_host");
    a_child_has_pipes_of_its_own();
    a_child_ends_no_connection();
}

/// Copies bulk data between sockets. Afterwards the thread keeps a pipe for later copies.
fn copy() {
    async_epoll::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = || async {
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            (client, listener.accept().await.unwrap().0)
        };
        let ((mut left, a), (b, mut right)) = (connect().await, connect().await);
        let talk = async {
            let mut received = vec![0; 300_000];
            let (sent, read) = futures::join!(left.write_all(&[7; 300_000]), right.read_exact(&mut received));
            sent.and(read).unwrap();
            left.close().await.unwrap();
            right.close().await.unwrap();
            assert!(received.iter().all(|&byte| byte == 7));
        };
        let (copied, ()) = futures::join!(copy_bidirectional(a, b), talk);
        assert_eq!(copied.unwrap(), (300_000, 0));
    })
    .unwrap();
}

/// Returns the numbers of the pipes that this process has open.
fn pipes() -> HashSet<String> {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| entry.unwrap().path().read_link().ok());
    links.filter_map(|link| link.to_str().filter(|link| link.starts_with("pipe:")).map(String::from)).collect()
}

/// A pipe that the parent keeps for later copies is open in the child, too. If the child used it, the data of both
/// processes would mix. So the child makes pipes of its own.
fn a_child_has_pipes_of_its_own() {
    let before = pipes();
    copy();
    let kept: HashSet<_> = pipes().difference(&before).cloned().collect();
    assert!(!kept.is_empty(), "a pipe is kept");
    let well = tests::fork_and_run(|| {
        copy();
        let own: HashSet<_> = pipes().difference(&before).cloned().collect();
        assert!(!own.is_empty() && own.is_disjoint(&kept), "{own:?} and {kept:?}");
    });
    assert!(well, "the child failed");
    copy();
    assert_eq!(pipes().difference(&before).cloned().collect::<HashSet<_>>(), kept);
    println!("test a_child_has_pipes_of_its_own ... ok");
}

/// The writing half of a stream shuts the connection down when it is dropped. In a child, which drops its copy of
/// everything, it does not: the connection belongs to the parent.
fn a_child_ends_no_connection() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (stream, mut server, (unix, mut unix_peer)) = runtime
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            (stream, listener.accept().await.unwrap().0, async_net_lite::unix::UnixStream::pair().unwrap())
        })
        .unwrap();
    let mut halves = Some((stream.into_split(), unix.into_split()));
    assert!(tests::fork_and_run(|| drop(halves.take())), "the child failed");
    let ((_reader, mut writer), (_unix_reader, mut unix_writer)) = halves.take().unwrap();
    runtime
        .run_until(async {
            for (writer, peer) in [
                (&mut writer as &mut (dyn AsyncWrite + Unpin), &mut server as &mut (dyn AsyncRead + Unpin)),
                (&mut unix_writer, &mut unix_peer),
            ] {
                writer.write_all(b"x").await.unwrap();
                assert_eq!(peer.read(&mut [0; 8]).await.unwrap(), 1);
            }
            // In the parent, dropping the half still ends the stream.
            drop((writer, unix_writer));
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
            assert_eq!(unix_peer.read(&mut [0; 8]).await.unwrap(), 0);
        })
        .unwrap();
    println!("test a_child_ends_no_connection ... ok");
}

fn a_child_of(reactor: ReactorBuilder, name: &str) {
    let mut runtime = LocalRuntime::from(reactor.build().unwrap());
    let (handle, spawner) = (runtime.handle(), runtime.spawner());
    let (mut peer, stream) = UnixStream::pair().unwrap();
    let mut source = Source::with_handle(stream, &handle).unwrap();
    let (mut client, mut server) = runtime
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            (client, listener.accept().await.unwrap().0)
        })
        .unwrap();
    // Two clones of a datagram socket. The child drops both.
    let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0").unwrap(), &handle).unwrap();
    let clone = socket.clone();
    let from = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // Three tasks: one waits for bytes, one for room, one for a timer and then a message. The child has all three as
    // well. Each task increments `done` at its end.
    let done = Rc::new(Cell::new(0));
    let (task_peer, stream) = UnixStream::pair().unwrap();
    let (full_peer, full) = UnixStream::pair().unwrap();
    let (sender, receiver) = oneshot::channel::<()>();
    let (reader_done, writer_done, sleeper_done) = (Rc::clone(&done), Rc::clone(&done), Rc::clone(&done));
    let mut reading = Source::with_handle(stream, &handle).unwrap();
    spawner
        .spawn_local(async move {
            reading.read_exact(&mut [0]).await.unwrap();
            reader_done.set(reader_done.get() + 1);
        })
        .unwrap();
    let mut writing = Source::with_handle(full, &handle).unwrap();
    spawner
        .spawn_local(async move {
            writing.write_all(&[0; 1 << 20]).await.unwrap();
            writer_done.set(writer_done.get() + 1);
        })
        .unwrap();
    let due = Instant::now() + Duration::from_secs(1);
    let sleeping = Timer::at(due, &handle);
    spawner
        .spawn_local(async move {
            sleeping.await.unwrap();
            receiver.await.unwrap();
            sleeper_done.set(sleeper_done.get() + 1);
        })
        .unwrap();
    // A timer outside of all tasks.
    let (counter, waker) = CountingWaker::new();
    let mut timer = Timer::at(due, &handle);
    assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    // Registers everything: each operation is pending.
    runtime
        .run_until(async {
            let (mut one, mut two, mut three) = ([0], [0], [0]);
            let nothing =
                async { futures::join!(source.read(&mut one), server.read(&mut two), socket.recv(&mut three)) };
            assert!(async_timeout::Timeout::new(nothing, Duration::from_millis(10)).await.is_err());
        })
        .unwrap();

    // The child can neither wait nor register, and drops everything.
    assert_eq!((spawner.live_tasks(), handle.stats().timers), (3, 2));
    let mut everything = Some((runtime, handle.clone(), spawner, source, server, (socket, clone), timer, sender));
    let well = tests::fork_and_run(|| {
        let (mut runtime, handle, spawner, source, server, (socket, clone), timer, sender) = everything.take().unwrap();
        let error = runtime.run_until(futures::future::pending::<()>()).unwrap_err();
        assert!(error.to_string().contains("forked child"), "{error}");
        let (stream, _peer) = UnixStream::pair().unwrap();
        let error = Source::with_handle(stream, &handle).unwrap_err();
        assert!(error.to_string().contains("forked child"), "{error}");
        let mut early = Timer::after(Duration::from_millis(1), &handle);
        assert!(early.poll_unpin(&mut Context::from_waker(futures::task::noop_waker_ref())).is_pending());
        drop(early);
        drop(clone);
        assert_eq!(socket.try_recv(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        drop(socket);
        // First two sources and a timer by themselves, then the pool with its tasks, then the rest.
        drop((source, server, timer));
        assert_eq!(handle.stats().timers, 1);
        drop(runtime);
        assert_eq!((spawner.live_tasks(), handle.stats().timers, handle.stats().sources), (0, 0, 0));
        drop((spawner, handle, sender));
        // A new reactor works in the child.
        async_epoll::block_on(async {
            Timer::after(Duration::from_millis(1), &async_epoll::Handle::current().unwrap()).await.unwrap();
        })
        .unwrap();
    });
    assert!(well, "the child failed");

    // The parent still gets its events.
    let (mut runtime, handle, _spawner, mut source, mut server, (socket, clone), timer, sender) =
        everything.take().unwrap();
    runtime
        .run_until(async {
            peer.write_all(b"x").unwrap();
            client.write_all(b"y").await.unwrap();
            from.send_to(b"w", socket.local_addr().unwrap()).unwrap();
            let (mut one, mut two, mut three) = ([0], [0], [0]);
            let read = async { futures::join!(source.read(&mut one), server.read(&mut two), clone.recv(&mut three)) };
            let (first, second, third) =
                async_timeout::Timeout::new(read, Duration::from_secs(10)).await.expect("silenced");
            assert_eq!((first.unwrap(), second.unwrap(), third.unwrap()), (1, 1, 1));
            assert_eq!((&one, &two, &three), (b"x", b"y", b"w"));
        })
        .unwrap();
    // The parent's tasks end, and its timers fire once.
    (&task_peer).write_all(b"z").unwrap();
    full_peer.set_nonblocking(true).unwrap();
    sender.send(()).unwrap();
    runtime
        .run_until(async {
            let mut room = vec![0; 1 << 20];
            while done.get() < 3 {
                assert!(due.elapsed() < Duration::from_secs(10), "only {} tasks have ended", done.get());
                // Errors do not matter here: the writer's task ends only if all went well.
                let _ = (&full_peer).read(&mut room);
                async_timeout::sleep(Duration::from_millis(1)).await;
            }
        })
        .unwrap();
    assert!(Instant::now() >= due);
    assert_eq!((counter.count(), handle.stats().live_tasks, handle.stats().task_panics), (1, 0, 0));
    drop((timer, source, server, socket, clone));
    assert_eq!((handle.stats().timers, handle.stats().sources), (0, 0));
    println!("test {name} ... ok");
}
