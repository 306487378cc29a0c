//! A forked child shares its parent's epoll instance, and must not disturb it (bug A10).
//!
//! The program has no test harness, because a child may only be forked while the process has a single thread, or while
//! its other threads are idle.
//!
//! The second half is a table: each part of the crates, used by the parent before the fork or not. In the child, a part
//! works, or returns an error that says why not; it never hangs, and the parent goes on undisturbed. Each cell runs in a
//! process of its own, and each once more with parent and child in PID namespaces of their own, where both are process 1.

use async_epoll::{Handle, Interest, LocalRuntime, Reactor, ReactorBuilder, Source, TaskGroup, Timer};
use async_net_lite::unix::UnixListenOptions;
use async_net_lite::{TcpListener, TcpStream, UdpSocket, copy_bidirectional};
use async_timeout::{IoGuard, Timeout, interval, sleep, with_deadline};
use futures::channel::oneshot;
use futures::executor::{LocalPool, block_on};
use futures::future::{FutureExt, pending};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::stream::StreamExt;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::common::pool_and_reactor;
use tests::{CountingWaker, Folder, Forked};

/// Bug A10: a forked child drops everything that it shares with its parent, and the parent still gets its events. Found 7
/// and 8: no part hangs in a child, nor in a child with the process ID of its parent.
fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--cell").skip(1);
    if let Some(number) = arguments.next() {
        return run_cell(&number, arguments.next().as_deref());
    }
    a_child_of(Reactor::builder(), "a_forked_child_does_not_disturb_its_parent");
    // These two have a timerfd as well, which the child shares.
    a_child_of(Reactor::builder().precise_timers(), "nor_its_precise_timers");
    a_child_of(Reactor::builder().embedded(), "nor_its_host");
    a_child_has_pipes_of_its_own();
    a_child_ends_no_connection();
    table(false);
    let permitted = tests::fork_within(LIMIT, || told(tests::new_pid_namespace())).unwrap();
    if permitted == WORKS {
        table(true);
    } else {
        assert!(std::env::var_os(NEEDS_NAMESPACES).is_none(), "no PID namespace: {permitted}");
        println!("test the table in new PID namespaces ... ignored, needs the rights of root");
    }
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
        let polled = early.poll_unpin(&mut Context::from_waker(futures::task::noop_waker_ref()));
        assert!(matches!(polled, Poll::Ready(Err(error)) if error.to_string().contains("forked child")));
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

/// What a child sees of a part that works.
const WORKS: &str = "works";
/// Begins the error of everything that would wait for the parent's reactor.
const REFUSED: &str = "this reactor belongs to the parent process; a forked child needs its own";
/// The time after which a child counts as hanging.
const LIMIT: Duration = Duration::from_secs(10);
/// Set by `.ci/run`: PID namespaces have to be permitted.
const NEEDS_NAMESPACES: &str = "TEST_PID_NAMESPACES";

/// Runs each cell of the table in a process of its own.
fn table(in_namespace: bool) {
    let place = if in_namespace { "namespace" } else { "here" };
    for (part, (name, ..)) in TABLE.iter().enumerate() {
        for (used, number) in [("used", 2 * part), ("not used", 2 * part + 1)] {
            let mut cell = Command::new(std::env::current_exe().unwrap());
            if in_namespace {
                // LeakSanitizer forks, which fails in a PID namespace whose first process has ended.
                cell.env("LSAN_OPTIONS", "detect_leaks=0");
            }
            let output = cell.args(["--cell", &number.to_string(), place]).output().unwrap();
            let (saw, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{name}, {used} by the parent, {place}: {}\n{saw}{error}", output.status);
            println!("test fork, {place}: {name}, {used} by the parent ... {}", saw.trim());
        }
    }
}

/// Runs one cell of the table, and checks what the child sees.
fn run_cell(number: &str, place: Option<&str>) {
    let number: usize = number.parse().unwrap();
    let (_, expected, cell) = TABLE[number / 2];
    let scene = Scene { is_used: number % 2 == 0, in_namespace: place == Some("namespace") };
    let saw = if scene.in_namespace {
        tests::new_pid_namespace().unwrap();
        // The first process of the namespace, with the ID 1, like the main process of a container.
        tests::fork_within(2 * LIMIT, || cell(scene)).unwrap()
    } else {
        cell(scene)
    };
    assert_eq!(saw, expected[number % 2]);
    println!("{saw}");
}

/// A cell of the table.
#[derive(Clone, Copy)]
struct Scene {
    /// Whether the parent uses the part before the fork.
    is_used: bool,
    /// Whether parent and child are process 1 of two PID namespaces.
    in_namespace: bool,
}

impl Scene {
    /// Forks. Returns what the child saw.
    fn fork(self, child: impl FnOnce() -> String) -> String {
        let parent = self.before_fork();
        tests::fork_within(LIMIT, || {
            self.check_ids(parent);
            child()
        })
        .unwrap()
    }

    /// Prepares the namespace of the child. Returns the ID of this process.
    fn before_fork(self) -> u32 {
        // The other threads go to sleep, and hold no lock at the fork.
        std::thread::sleep(Duration::from_millis(5));
        if self.in_namespace {
            tests::new_pid_namespace().unwrap();
        }
        std::process::id()
    }

    /// Checks, in the child, that the scene is what the cell says.
    fn check_ids(self, parent: u32) {
        assert_eq!(std::process::id() == parent, self.in_namespace);
    }
}

/// A reactor of the parent, with a source and a timer. The source is registered and the timer armed if the cell says that
/// the part is used.
struct Parent {
    scene: Scene,
    runtime: LocalRuntime,
    peer: UnixStream,
    source: Source<UnixStream>,
    timer: Timer,
    watched: Vec<String>,
}

impl Parent {
    fn new(scene: Scene) -> Self {
        Self::with(scene, Reactor::builder())
    }

    fn with(scene: Scene, builder: ReactorBuilder) -> Self {
        let mut runtime = LocalRuntime::from(builder.build().unwrap());
        let (peer, stream) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut source = Source::lazy(stream, &runtime.handle());
        let mut timer = Timer::after(Duration::from_millis(100), &runtime.handle());
        if scene.is_used {
            let wait = async {
                assert!(source.read(&mut [0]).now_or_never().is_none());
                assert!((&mut timer).now_or_never().is_none());
                Timer::after(Duration::from_millis(1), &Handle::current().unwrap()).await.unwrap();
            };
            runtime.run_until(wait).unwrap();
        }
        let watched = watched(&runtime.handle());
        Self { scene, runtime, peer, source, timer, watched }
    }

    /// Forks. Returns what the child saw, after checking that the parent's reactor is as it was: the entries of its epoll
    /// instance, its sleep, its timer and its source.
    fn fork(mut self, child: impl FnOnce(&mut Self) -> String) -> String {
        let scene = self.scene;
        let saw = scene.fork(|| child(&mut self));
        self.check();
        saw
    }

    fn check(self) {
        let Self { mut runtime, mut peer, mut source, timer, watched: before, .. } = self;
        assert_eq!(watched(&runtime.handle()), before, "the parent's entries");
        peer.write_all(b"x").unwrap();
        let both = async {
            source.read_exact(&mut [0]).await.unwrap();
            timer.await.unwrap();
        };
        let in_time = runtime.run_until(Timeout::new(both, LIMIT)).unwrap();
        assert!(in_time.is_ok(), "the parent's source or timer");
    }
}

/// Returns the entries of a reactor's epoll instance, as the kernel shows them.
fn watched(handle: &Handle) -> Vec<String> {
    // Such as `Handle { epoll: OwnedFd { fd: 3 }, .. }`.
    let number: String = format!("{handle:?}").chars().filter(char::is_ascii_digit).collect();
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    text.lines().filter(|line| line.starts_with("tfd:")).map(String::from).collect()
}

/// Returns what a result says.
fn told<T, E: ToString>(result: Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |_| WORKS.into())
}

/// Waits for a source and a timer of a new reactor.
fn own_reactor() -> String {
    told(async_epoll::block_on(async {
        let (near, mut far) = async_net_lite::unix::UnixStream::pair().unwrap();
        let later = async {
            sleep(Duration::from_millis(2)).await;
            (&near).write_all(b"x").await.unwrap();
        };
        let mut byte = [0];
        futures::join!(far.read_exact(&mut byte), later).0.unwrap();
    }))
}

/// Sleeps without a reactor.
fn nap(millis: u64) -> String {
    let (begin, duration) = (Instant::now(), Duration::from_millis(millis));
    block_on(sleep(duration));
    assert!(begin.elapsed() >= duration, "early");
    WORKS.into()
}

/// Makes a future, polls it once before the fork if the cell says so, and then lets both processes wait for its end. The
/// future is polled inside `runtime`, if there is one, and outside afterwards.
fn both_wait<F: Future>(scene: Scene, mut runtime: Option<LocalRuntime>, future: F) -> String {
    let mut future = pin!(future);
    if scene.is_used {
        let mut poll = async || assert!(future.as_mut().now_or_never().is_none());
        match &mut runtime {
            Some(runtime) => runtime.run_until(poll()).unwrap(),
            None => block_on(poll()),
        }
    }
    let guard = runtime.as_ref().map(|runtime| runtime.handle().enter());
    let saw = scene.fork(|| {
        block_on(future.as_mut());
        WORKS.into()
    });
    drop(guard);
    match &mut runtime {
        Some(runtime) => drop(runtime.run_until(future).unwrap()),
        None => drop(block_on(future)),
    }
    saw
}

/// Three ticks.
async fn ticks() {
    interval(Duration::from_millis(10)).take(3).collect::<Vec<_>>().await;
}

/// A limit for a future that never ends.
async fn limited() {
    let (begin, limit) = (Instant::now(), Duration::from_millis(100));
    Timeout::new(pending::<()>(), limit).await.unwrap_err();
    assert!(begin.elapsed() >= limit, "early");
}

/// An idle limit for a reader that never has anything.
async fn guarded() {
    struct Silent;
    impl AsyncRead for Silent {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<std::io::Result<usize>> {
            Poll::Pending
        }
    }
    let mut reader = IoGuard::new(Silent).idle(Duration::from_millis(20));
    assert_eq!(reader.read(&mut [0]).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

/// Two connected sockets, and the listener.
async fn connected(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Drops the halves of a stream in the child, and then in the parent.
fn halves(scene: Scene) -> String {
    /// Splits two streams and drops the halves. Both peers read the end then.
    async fn split_here() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stream, mut peer) = connected(&listener).await;
        let (unix, mut unix_peer) = async_net_lite::unix::UnixStream::pair().unwrap();
        let halves = (stream.into_split(), unix.into_split());
        let (_reader, writer) = halves.0;
        let (_unix_reader, unix_writer) = halves.1;
        drop((writer, unix_writer));
        assert_eq!((peer.read(&mut [0]).await.unwrap(), unix_peer.read(&mut [0]).await.unwrap()), (0, 0));
    }
    let mut runtime = LocalRuntime::new().unwrap();
    if !scene.is_used {
        return scene.fork(|| told(async_epoll::block_on(split_here())));
    }
    let (stream, peer, unix, unix_peer) = runtime
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (stream, peer) = connected(&listener).await;
            let (unix, unix_peer) = async_net_lite::unix::UnixStream::pair().unwrap();
            (stream, peer, unix, unix_peer)
        })
        .unwrap();
    let mut halves = Some((stream.into_split(), unix.into_split()));
    let saw = scene.fork(|| {
        drop(halves.take());
        // The child's own halves end their connection.
        told(async_epoll::block_on(split_here()))
    });
    let is_open = |read: std::io::Result<usize>| assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    is_open(peer.try_read(&mut [0]));
    is_open(unix_peer.try_read(&mut [0]));
    drop(halves.take());
    runtime
        .run_until(async {
            assert_eq!((&peer).read(&mut [0]).await.unwrap(), 0);
            assert_eq!((&unix_peer).read(&mut [0]).await.unwrap(), 0);
        })
        .unwrap();
    saw
}

/// Drops a bound socket in the child and then in the parent. Only the process that has bound the socket removes the file.
fn socket_file<S>(scene: Scene, bind: impl Fn(&std::path::Path) -> S) -> String {
    let folder = Folder::new();
    let (path, own) = (folder.join("socket"), folder.join("own"));
    let runtime = LocalRuntime::new().unwrap();
    let guard = runtime.handle().enter();
    let mut socket = scene.is_used.then(|| bind(&path));
    drop(guard);
    let saw = scene.fork(|| {
        drop(socket.take());
        async_epoll::block_on(async {
            let mine = bind(&own);
            assert!(own.exists());
            drop(mine);
            assert!(!own.exists());
        })
        .unwrap();
        WORKS.into()
    });
    assert_eq!(path.exists(), scene.is_used, "the parent's file");
    drop(socket);
    assert!(!path.exists());
    saw
}

/// A listener whose accept loop has paused, because no descriptor was left, and two connections in its queue.
fn paused(scene: Scene) -> String {
    let mut runtime = LocalRuntime::new().unwrap();
    let listener = runtime.run_until(TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
    let clients = [(); 2].map(|()| std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let mut incoming = listener.incoming();
    if scene.is_used {
        let limit = tests::limit_open_files(0);
        assert_eq!(limit, 0);
        runtime.run_until(async { assert!(incoming.next().now_or_never().is_none()) }).unwrap();
        tests::limit_open_files(1000);
    }
    // The two processes share the listener: each takes one connection.
    let saw = scene.fork(|| told(block_on(incoming.next()).unwrap()));
    runtime.run_until(incoming.next()).unwrap().unwrap().unwrap();
    drop(clients);
    saw
}

/// Forks inside of `run_until`. Child and parent return from the same future, unless it waits.
fn fork_inside(scene: Scene, waits: bool) -> String {
    let mut runtime = LocalRuntime::new().unwrap();
    let polls = Rc::new(Cell::new(0));
    let (counted, spawner) = (Rc::clone(&polls), runtime.spawner());
    if scene.is_used {
        runtime.run_until(sleep(Duration::from_millis(1))).unwrap();
    }
    let mut forked = None;
    let outcome = runtime.run_until(async {
        spawner.spawn_local(async move { counted.set(counted.get() + 1) }).unwrap();
        let parent = scene.before_fork();
        let process = forked.insert(tests::fork());
        if matches!(process, Forked::Child(_)) {
            scene.check_ids(parent);
        }
        if waits {
            // On the child's helper thread, which would end this sleep late.
            sleep(Duration::from_millis(300)).await;
        }
    });
    let mut forked = forked.unwrap();
    if matches!(forked, Forked::Child(_)) {
        assert_eq!(polls.get(), 0, "the child has polled a task of the parent");
        forked.end(&told(outcome.as_ref()));
    }
    outcome.unwrap();
    runtime.run().unwrap();
    assert_eq!(polls.get(), 1);
    forked.wait(LIMIT).unwrap()
}

/// Forks inside of a task, while others are ready: of the same spawner, of another one, and one that arrives from another
/// thread. `run` runs the pool until all tasks have ended. The child polls none of the tasks, which belong to the parent.
fn fork_in_a_task(scene: Scene, waits: bool, run: fn(Reactor, LocalPool) -> std::io::Result<()>) -> String {
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    if scene.is_used {
        spawner.spawn_local(sleep(Duration::from_millis(1))).unwrap();
        reactor.run(&mut pool).unwrap();
    }
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = || {
        let polls = Arc::clone(&polls);
        async move {
            polls.fetch_add(1, Ordering::SeqCst);
        }
    };
    let forked = Rc::new(RefCell::new(None));
    let (keep, seen, counter) = (Rc::clone(&forked), Rc::clone(&forked), Arc::clone(&polls));
    let task = async move {
        let parent = scene.before_fork();
        // Tasks may have been polled before this one.
        let polls = counter.load(Ordering::SeqCst);
        let process = tests::fork();
        if matches!(process, Forked::Child(_)) {
            scene.check_ids(parent);
        }
        keep.replace(Some((process, polls)));
        if waits {
            tests::yield_now().await;
        }
    };
    spawner.spawn_local(task).unwrap();
    spawner.spawn_local(counted()).unwrap();
    // Ends after the fork, so that the child has a task of the parent in every order.
    let waits_for_fork = counted();
    let waits_for_fork = async move {
        while seen.borrow().is_none() {
            tests::yield_now().await;
        }
        waits_for_fork.await;
    };
    spawner.spawn_local(waits_for_fork).unwrap();
    reactor.spawner(&pool).spawn_local(counted()).unwrap();
    let last = counted();
    spawner.remote().spawn_with(move || last).unwrap();
    let outcome = run(reactor, pool);
    let (mut forked, polls_at_fork) = forked.take().unwrap();
    if matches!(forked, Forked::Child(_)) {
        assert_eq!(polls.load(Ordering::SeqCst), polls_at_fork, "the child has polled a task of the parent");
        forked.end(&told(outcome.as_ref()));
    }
    outcome.unwrap();
    assert_eq!(polls.load(Ordering::SeqCst), 4);
    forked.wait(LIMIT).unwrap()
}

/// Runs a pool by a loop written by hand.
fn run_by_hand(mut reactor: Reactor, mut pool: LocalPool) -> std::io::Result<()> {
    loop {
        pool.run_until_stalled();
        if reactor.handle().stats().live_tasks == 0 {
            return Ok(());
        }
        reactor.wait(None)?;
    }
}

/// Runs a pool by its own `run`, beside a reactor in the background.
fn run_beside(reactor: Reactor, mut pool: LocalPool) -> std::io::Result<()> {
    let _background = reactor.into_background()?;
    pool.run();
    Ok(())
}

/// A part: its name; what the child sees if the parent has used it, and if not; and the cell.
type Part = (&'static str, [&'static str; 2], fn(Scene) -> String);

/// The table. What the parent may do with host names before the fork has a table of its own, in `fork_lookups`.
const TABLE: &[Part] = &[
    ("LocalRuntime and block_on, new in the child", [WORKS, WORKS], |scene| Parent::new(scene).fork(|_| own_reactor())),
    ("Reactor::wait", [REFUSED, REFUSED], |scene| {
        let (mut reactor, soon) = (Reactor::new().unwrap(), Some(Duration::from_millis(1)));
        if scene.is_used {
            reactor.wait(soon).unwrap();
        }
        let saw = scene.fork(|| told(reactor.wait(None)));
        assert_eq!(reactor.wait(soon).unwrap(), 0);
        saw
    }),
    ("Reactor::run", [REFUSED, REFUSED], |scene| {
        let parent = Parent::new(scene);
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        parent.runtime.spawner().spawn_local(async move { counted.set(counted.get() + 1) }).unwrap();
        parent.fork(|parent| {
            let saw = told(parent.runtime.run());
            assert_eq!(polls.get(), 0, "the child has polled a task of the parent");
            saw
        })
    }),
    ("Reactor::run_until", [REFUSED, REFUSED], |scene| {
        let parent = Parent::new(scene);
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        parent.runtime.spawner().spawn_local(async move { counted.set(counted.get() + 1) }).unwrap();
        parent.fork(|parent| {
            let saw = told(parent.runtime.run_until(pending::<()>()));
            assert_eq!(polls.get(), 0, "the child has polled a task of the parent");
            saw
        })
    }),
    ("run_until, a fork inside, then the end", [WORKS, WORKS], |scene| fork_inside(scene, false)),
    ("run_until, a fork inside, then a wait", [REFUSED, REFUSED], |scene| fork_inside(scene, true)),
    ("run, a fork in a task, then its end", [REFUSED, REFUSED], |scene| {
        fork_in_a_task(scene, false, |mut reactor, mut pool| reactor.run(&mut pool))
    }),
    ("run, a fork in a task, then a wait", [REFUSED, REFUSED], |scene| {
        fork_in_a_task(scene, true, |mut reactor, mut pool| reactor.run(&mut pool))
    }),
    ("run_until, a fork in a task", [REFUSED, REFUSED], |scene| {
        fork_in_a_task(scene, true, |mut reactor, mut pool| {
            reactor.run_until(&mut pool, sleep(Duration::from_millis(50)))
        })
    }),
    ("a hand-written loop, a fork in a task, then its end", [REFUSED, REFUSED], |scene| {
        fork_in_a_task(scene, false, run_by_hand)
    }),
    ("a hand-written loop, a fork in a task, then a wait", [REFUSED, REFUSED], |scene| {
        fork_in_a_task(scene, true, run_by_hand)
    }),
    ("LocalPool::run, a fork in a task, then its end", [WORKS, WORKS], |scene| {
        fork_in_a_task(scene, false, run_beside)
    }),
    ("LocalPool::run, a fork in a task, then a wait", [WORKS, WORKS], |scene| fork_in_a_task(scene, true, run_beside)),
    ("Spawner", [REFUSED, REFUSED], |scene| {
        Parent::new(scene).fork(|parent| {
            parent.runtime.spawner().spawn_local(async { panic!("polled in the child") }).unwrap();
            told(parent.runtime.run())
        })
    }),
    ("TaskHandle and Idle, which would wait", [WORKS, WORKS], |scene| {
        let parent = Parent::new(scene);
        let spawner = parent.runtime.spawner();
        let mut task = spawner.spawn_task(async {}).unwrap();
        parent.fork(move |_| {
            task.abort();
            let error = block_on(&mut task).unwrap_err().to_string();
            assert!(error.contains("belongs to the parent process"), "{error}");
            block_on(spawner.idle());
            WORKS.into()
        })
    }),
    ("TaskGroup, which would wait", [WORKS, WORKS], |scene| {
        let parent = Parent::new(scene);
        let spawner = parent.runtime.spawner();
        let dropped = Rc::new(Cell::new(false));
        let flag = Rc::clone(&dropped);
        let guard = tests::OnDrop(move || flag.set(true));
        let (mut group, unread) = (TaskGroup::with_spawner(&spawner).with_limit(1), TaskGroup::with_spawner(&spawner));
        group.try_spawn(async {}).unwrap();
        unread.try_spawn(async move { drop(guard) }).unwrap();
        parent.fork(move |_| {
            let no_place = block_on(group.spawn(async {})).unwrap_err().to_string();
            let error = block_on(group.next()).unwrap().unwrap_err().to_string();
            for text in [no_place, error] {
                assert!(text.contains("belongs to the parent process"), "{text}");
            }
            assert!(block_on(group.next()).is_none());
            // The child of the group belongs to the parent, and is left alone.
            drop((group, unread));
            assert!(!dropped.get());
            WORKS.into()
        })
    }),
    ("RemoteSpawner", [REFUSED, REFUSED], |scene| {
        let mut runtime = LocalRuntime::new().unwrap();
        let remote = runtime.spawner().remote();
        if scene.is_used {
            remote.spawn_with(|| async {}).unwrap();
            runtime.run().unwrap();
        }
        let saw = scene.fork(|| told(remote.spawn_with(|| async {})));
        remote.spawn_with(|| async {}).unwrap();
        runtime.run().unwrap();
        assert_eq!(runtime.handle().stats().live_tasks, 0);
        saw
    }),
    ("Handle: notify, stats, now, current", [WORKS, WORKS], |scene| {
        // Embedded, so the parent counts as asleep and a notification would make its descriptor readable.
        let mut guest = Reactor::builder().embedded().build().unwrap();
        let mut host = Reactor::new().unwrap();
        let descriptor = guest.as_fd().try_clone_to_owned().unwrap();
        let _watched = Source::with_interest(descriptor, Interest::READABLE, &host.handle()).unwrap();
        let handle = guest.handle();
        if scene.is_used {
            handle.notify();
            assert_eq!(host.wait(Some(LIMIT)).unwrap(), 1);
            guest.wait(Some(Duration::ZERO)).unwrap();
        }
        let _current = handle.enter();
        let saw = scene.fork(|| {
            handle.notify();
            handle.now();
            assert_eq!(handle.stats().sources, 0);
            told(Handle::current())
        });
        assert_eq!(host.wait(Some(Duration::from_millis(5))).unwrap(), 0, "the child has woken the parent");
        handle.notify();
        assert_eq!(host.wait(Some(LIMIT)).unwrap(), 1);
        saw
    }),
    ("Source: a read that has to wait", [REFUSED, REFUSED], |scene| {
        Parent::new(scene).fork(|parent| told(block_on(parent.source.read(&mut [0]))))
    }),
    ("Source: a read that has to wait, in the child's reactor", [REFUSED, REFUSED], |scene| {
        Parent::new(scene).fork(|parent| told(async_epoll::block_on(parent.source.read(&mut [0])).unwrap()))
    }),
    ("Source: a write that has to wait", [REFUSED, REFUSED], |scene| {
        let (_peer, stream) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let runtime = LocalRuntime::new().unwrap();
        let mut source = Source::lazy(stream, &runtime.handle());
        if scene.is_used {
            assert!(source.write_all(&[0; 1 << 20]).now_or_never().is_none());
        }
        scene.fork(|| told(block_on(source.write_all(&[0; 1 << 20]))))
    }),
    ("Source::readable", [REFUSED, REFUSED], |scene| {
        Parent::new(scene).fork(|parent| told(block_on(parent.source.readable())))
    }),
    ("Source: waits that are over", [WORKS, REFUSED], |scene| {
        let mut reactor = Reactor::new().unwrap();
        let (peer, stream) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let source = Source::lazy(stream, &reactor.handle());
        drop(peer);
        if scene.is_used {
            assert!(source.readable().now_or_never().is_none());
            reactor.wait(Some(LIMIT)).unwrap();
        }
        scene.fork(|| {
            let ends = [
                told(block_on(source.readable())),
                told(block_on(source.writable())),
                told(block_on(source.priority())),
                told(block_on(poll_fn(|cx| source.poll_readable(cx)))),
                told(block_on(poll_fn(|cx| source.poll_write_closed(cx)))),
            ];
            assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
            // There is no error, so this one has to wait.
            assert_eq!(told(block_on(source.errors())), REFUSED);
            ends[0].clone()
        })
    }),
    ("Source::try_io, with bytes there", [WORKS, WORKS], |scene| {
        let mut parent = Parent::new(scene);
        parent.peer.write_all(b"y").unwrap();
        parent.fork(|parent| told(parent.source.try_io(Interest::READABLE, |mut stream| stream.read(&mut [0]))))
    }),
    ("Source: drop", [WORKS, WORKS], |scene| {
        let (parent, mut dropped) = (Parent::new(scene), false);
        let scene = parent.scene;
        let mut parent = Some(parent);
        let saw = scene.fork(|| {
            dropped = parent.take().is_some();
            own_reactor()
        });
        parent.unwrap().check();
        saw
    }),
    ("Source::into_inner, and a source of the child's own", [WORKS, WORKS], |scene| {
        let mut parent = Some(Parent::new(scene));
        let saw = scene.fork(|| {
            let Parent { source, mut peer, .. } = parent.take().unwrap();
            let stream = source.into_inner().unwrap();
            told(async_epoll::block_on(async {
                let mut source = Source::new(stream).unwrap();
                assert!(source.read(&mut [0]).now_or_never().is_none());
                peer.write_all(b"y").unwrap();
                source.read(&mut [0]).await.unwrap()
            }))
        });
        parent.unwrap().check();
        saw
    }),
    ("Source, new with the parent's handle", [REFUSED, REFUSED], |scene| {
        Parent::new(scene).fork(|parent| {
            let (_peer, stream) = UnixStream::pair().unwrap();
            told(Source::with_handle(stream, &parent.runtime.handle()).map_err(|refused| refused.error))
        })
    }),
    ("Timer", [REFUSED, REFUSED], |scene| Parent::new(scene).fork(|parent| told(block_on(&mut parent.timer)))),
    ("Timer, in the child's reactor", [REFUSED, REFUSED], |scene| {
        Parent::new(scene).fork(|parent| told(async_epoll::block_on(&mut parent.timer).unwrap()))
    }),
    ("Timer, after its deadline", [WORKS, WORKS], |scene| {
        Parent::new(scene).fork(|parent| {
            parent.timer.reset(Instant::now() - Duration::from_millis(1));
            told(block_on(&mut parent.timer))
        })
    }),
    ("Timer: reset and drop", [WORKS, WORKS], |scene| {
        // With a timerfd, which the child shares.
        let mut parent = Some(Parent::with(scene, Reactor::builder().precise_timers()));
        let saw = scene.fork(|| {
            let mut parent = parent.take().unwrap();
            parent.timer.reset(Instant::now() + Duration::from_secs(3600));
            drop(parent.timer);
            own_reactor()
        });
        parent.unwrap().check();
        saw
    }),
    ("embedded reactor: wait", [REFUSED, REFUSED], |scene| {
        let mut guest = Reactor::builder().embedded().build().unwrap();
        let mut host = Reactor::new().unwrap();
        let descriptor = guest.as_fd().try_clone_to_owned().unwrap();
        let _watched = Source::with_interest(descriptor, Interest::READABLE, &host.handle()).unwrap();
        let (_counter, waker) = CountingWaker::new();
        let mut timer = Timer::after(Duration::from_millis(500), &guest.handle());
        if scene.is_used {
            guest.wait(Some(Duration::ZERO)).unwrap();
            assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
        let saw = scene.fork(|| {
            // Earlier timers in the child leave the parent's timerfd alone.
            timer.reset(Instant::now() + Duration::from_millis(1));
            let mut early = Timer::after(Duration::from_millis(1), &guest.handle());
            assert!(early.poll_unpin(&mut Context::from_waker(&waker)).is_ready());
            drop(std::mem::replace(&mut timer, early));
            told(guest.wait(Some(Duration::ZERO)))
        });
        assert_eq!(host.wait(Some(Duration::from_millis(20))).unwrap(), 0, "the child has set the parent's timerfd");
        if scene.is_used {
            assert_eq!(host.wait(Some(LIMIT)).unwrap(), 1, "the parent's timerfd");
            guest.wait(Some(Duration::ZERO)).unwrap();
            assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_ready());
        }
        saw
    }),
    ("precise timers: run_until", [REFUSED, REFUSED], |scene| {
        Parent::with(scene, Reactor::builder().precise_timers())
            .fork(|parent| told(parent.runtime.run_until(sleep(Duration::from_secs(3600)))))
    }),
    ("Background: its handle", [REFUSED, REFUSED], |scene| {
        let background = Reactor::new().unwrap().into_background().unwrap();
        let timer = || Timer::after(Duration::from_millis(2), &background.handle());
        if scene.is_used {
            block_on(timer()).unwrap();
        }
        let saw = scene.fork(|| told(block_on(timer())));
        block_on(timer()).unwrap();
        background.shutdown().unwrap();
        saw
    }),
    ("Background::shutdown", [REFUSED, REFUSED], |scene| {
        let background = Reactor::new().unwrap().into_background().unwrap();
        let mut timer = Timer::after(Duration::from_millis(100), &background.handle());
        let (counter, waker) = CountingWaker::new();
        if scene.is_used {
            assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
        let mut both = Some((background, timer));
        let saw = scene.fork(|| {
            let (background, mut timer) = both.take().unwrap();
            let saw = told(background.shutdown());
            // The child's copy of the timer waits no longer.
            assert_eq!(counter.count(), usize::from(scene.is_used));
            assert_eq!(told(block_on(&mut timer)), REFUSED);
            saw
        });
        let (background, timer) = both.unwrap();
        block_on(timer).unwrap();
        background.shutdown().unwrap();
        saw
    }),
    ("Background: drop", [WORKS, WORKS], |scene| {
        let background = Reactor::new().unwrap().into_background().unwrap();
        if scene.is_used {
            block_on(Timer::after(Duration::from_millis(1), &background.handle())).unwrap();
        }
        let mut background = Some(background);
        let saw = scene.fork(|| {
            drop(background.take());
            // A background reactor of the child's own.
            let own = Reactor::new().unwrap().into_background().unwrap();
            block_on(Timer::after(Duration::from_millis(1), &own.handle())).unwrap();
            told(own.shutdown())
        });
        let background = background.unwrap();
        block_on(Timer::after(Duration::from_millis(1), &background.handle())).unwrap();
        background.shutdown().unwrap();
        saw
    }),
    ("Reactor::into_background, in the child", [REFUSED, REFUSED], |scene| {
        let mut reactor = Reactor::new().unwrap();
        if scene.is_used {
            reactor.wait(Some(Duration::ZERO)).unwrap();
        }
        let mut reactor = Some(reactor);
        scene.fork(|| told(reactor.take().unwrap().into_background().map(drop)))
    }),
    ("halves of streams", [WORKS, WORKS], halves),
    ("UnixListener: its file", [WORKS, WORKS], |scene| {
        socket_file(scene, |path| UnixListenOptions::new().unlink_on_drop(true).bind(path).unwrap())
    }),
    ("UnixDatagram: its file", [WORKS, WORKS], |scene| {
        socket_file(scene, |path| UnixListenOptions::new().unlink_on_drop(true).bind_datagram(path).unwrap())
    }),
    ("copy_bidirectional: the kept pipes", [WORKS, WORKS], |scene| {
        let before = pipes();
        if scene.is_used {
            copy();
        }
        let kept: HashSet<_> = pipes().difference(&before).cloned().collect();
        assert_eq!(!kept.is_empty(), scene.is_used);
        let saw = scene.fork(|| {
            let before = pipes();
            copy();
            let own: HashSet<_> = pipes().difference(&before).cloned().collect();
            assert!(!own.is_empty(), "the child has opened no pipe");
            WORKS.into()
        });
        copy();
        saw
    }),
    ("Incoming", [REFUSED, REFUSED], |scene| {
        let mut runtime = LocalRuntime::new().unwrap();
        let listener = runtime.run_until(TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
        let mut incoming = listener.incoming();
        if scene.is_used {
            runtime.run_until(async { assert!(incoming.next().now_or_never().is_none()) }).unwrap();
        }
        let saw = scene.fork(|| told(block_on(incoming.next()).unwrap()));
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        runtime.run_until(incoming.next()).unwrap().unwrap().unwrap();
        saw
    }),
    ("Incoming, paused", [WORKS, WORKS], paused),
    ("Sleep without a reactor", [WORKS, WORKS], |scene| {
        if scene.is_used {
            nap(2);
        }
        let saw = scene.fork(|| nap(20));
        nap(2);
        saw
    }),
    ("Sleep without a reactor, a long one uses no CPU", [WORKS, WORKS], |scene| {
        if scene.is_used {
            nap(2);
        }
        scene.fork(|| {
            nap(2);
            let before = tests::process_cpu();
            nap(400);
            let used = tests::process_cpu() - before;
            // Polling the clock takes more than 400 polls.
            assert!(used < Duration::from_millis(4), "{used:?}");
            WORKS.into()
        })
    }),
    ("Sleep without a reactor, where no thread can start", [WORKS, WORKS], |scene| {
        if scene.is_used {
            nap(2);
        }
        scene.fork(|| {
            if scene.in_namespace {
                tests::new_pid_namespace().unwrap();
                assert!(std::thread::Builder::new().spawn(|| {}).is_err());
            }
            nap(20)
        })
    }),
    ("Sleep without a reactor, polled before the fork", [WORKS, WORKS], |scene| {
        both_wait(scene, None, sleep(Duration::from_millis(50)))
    }),
    ("Sleep without a reactor, polled before the fork and reset", [WORKS, WORKS], |scene| {
        let mut sleep = sleep(Duration::from_secs(3600));
        if scene.is_used {
            assert!((&mut sleep).now_or_never().is_none());
        }
        scene.fork(|| {
            sleep.reset(Instant::now() + Duration::from_millis(10));
            block_on(&mut sleep);
            WORKS.into()
        })
    }),
    ("Sleep without a reactor, beside other code with futures-timer", [WORKS, WORKS], |scene| {
        if scene.is_used {
            block_on(futures_timer::Delay::new(Duration::from_millis(1)));
        }
        scene.fork(|| {
            nap(2);
            // Known by now, and not found out each time.
            let begin = Instant::now();
            (0..20).for_each(|_| drop(nap(2)));
            assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
            WORKS.into()
        })
    }),
    ("Timeout without a reactor", [WORKS, WORKS], |scene| both_wait(scene, None, limited())),
    ("Interval without a reactor", [WORKS, WORKS], |scene| both_wait(scene, None, ticks())),
    ("IoGuard without a reactor", [WORKS, WORKS], |scene| both_wait(scene, None, guarded())),
    ("with_deadline without a reactor", [WORKS, WORKS], |scene| {
        both_wait(scene, None, with_deadline(pending::<()>(), Instant::now() + Duration::from_millis(30)))
    }),
    ("Sleep on the parent's reactor", [WORKS, WORKS], |scene| {
        both_wait(scene, Some(LocalRuntime::new().unwrap()), sleep(Duration::from_millis(50)))
    }),
    ("Timeout on the parent's reactor", [WORKS, WORKS], |scene| {
        both_wait(scene, Some(LocalRuntime::new().unwrap()), limited())
    }),
    ("Interval on the parent's reactor", [WORKS, WORKS], |scene| {
        both_wait(scene, Some(LocalRuntime::new().unwrap()), ticks())
    }),
    ("IoGuard on the parent's reactor", [WORKS, WORKS], |scene| {
        both_wait(scene, Some(LocalRuntime::new().unwrap()), guarded())
    }),
    ("with_deadline on the parent's reactor", [WORKS, WORKS], |scene| {
        let limited = with_deadline(pending::<()>(), Instant::now() + Duration::from_millis(30));
        both_wait(scene, Some(LocalRuntime::new().unwrap()), limited)
    }),
    ("host names", [WORKS, WORKS], |scene| {
        let look_up = || told(async_epoll::block_on(async_net_lite::resolve("localhost", 80)).unwrap());
        if scene.is_used {
            assert_eq!(look_up(), WORKS);
        }
        scene.fork(look_up)
    }),
    ("a child's child: the child's reactor", [REFUSED, REFUSED], |scene| {
        Parent::new(scene).fork(|_| {
            // Of the child's own.
            Parent::new(scene).fork(|child| {
                nap(2);
                told(block_on(&mut child.timer))
            })
        })
    }),
    #[cfg(feature = "test-util")]
    ("the test clock", [REFUSED, REFUSED], |scene| {
        let mut runtime = LocalRuntime::new().unwrap();
        let clock = runtime.handle().test_clock();
        clock.pause();
        let hour = Duration::from_secs(3600);
        let mut advance = pin!(clock.advance(hour));
        if scene.is_used {
            assert!(advance.as_mut().now_or_never().is_none());
        }
        let saw = scene.fork(|| told(block_on(advance.as_mut())));
        let before = clock.now();
        runtime.run_until(advance).unwrap().unwrap();
        assert_eq!(clock.now() - before, hour);
        saw
    }),
];
