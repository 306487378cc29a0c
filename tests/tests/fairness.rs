//! Fairness: a task or a socket that is always busy yields, so other tasks and timers still run.

use async_epoll::{LocalRuntime, OPERATIONS_PER_POLL, Reactor, Source, Spawner, Timer};
use async_net_lite::{TcpListener, TcpStream};
use futures::channel::{mpsc, oneshot};
use futures::executor::LocalPool;
use futures::future::{Either, poll_fn, select};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::stream::{FuturesUnordered, StreamExt};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tests::{TIME, p99, strict_timing, watchdog};

/// Bug C7, C18; behaviour 203, 211, 214: a task that always wakes itself and 200 futures that are always ready in one
/// `FuturesUnordered`, beside an echo connection and a 10 ms timer, which the main future uses.
#[test]
fn self_wakers_starve_nobody() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    spawner
        .spawn_local(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
        .unwrap();
    spawner
        .spawn_local(async {
            let forever = || {
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::<()>::Pending
                })
            };
            let mut all: FuturesUnordered<_> = (0..200).map(|_| forever()).collect();
            all.next().await;
        })
        .unwrap();
    let observer = handle.clone();
    let measured = runtime.run_until(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        spawner
            .spawn_local(async move {
                let (stream, _) = listener.accept().await.unwrap();
                futures::io::copy(&stream, &mut &stream).await.unwrap();
            })
            .unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut turns, mut echoes, mut ticks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..100 {
            let (begin, turn) = (Instant::now(), handle.stats().turns);
            let mut buffer = [0; 64];
            stream.write_all(&buffer).await.unwrap();
            stream.read_exact(&mut buffer).await.unwrap();
            turns.push(handle.stats().turns - turn);
            echoes.push(begin.elapsed());

            let deadline = Instant::now() + Duration::from_millis(10);
            Timer::at(deadline, &handle).await.unwrap();
            ticks.push(deadline.elapsed());
        }
        (turns, echoes, ticks)
    });
    let (mut turns, mut echoes, mut ticks) = measured.unwrap();
    turns.sort_unstable();
    let (echo, tick, stats) = (p99(&mut echoes), p99(&mut ticks), observer.stats());
    println!("at most {echo:?} for an echo, {tick:?} of delay for a tick; turns for an echo {turns:?}; {stats:?}");
    // This bound holds under any other load on the machine. A turn has a budget of 256 polls; the first polls of the
    // self-waker, the set, the echo task and the main future are not counted.
    assert!(stats.polls <= stats.turns * (256 + 8), "{stats:?}");
    // An echo takes one turn until the echo task is woken, and one until the main future is. On loopback the data is
    // there at once, but the kernel sometimes delivers it a little later.
    assert!(turns[turns.len() / 2] <= 10, "{turns:?}");
    let limit = Duration::from_millis(50);
    assert!(!strict_timing() || echo <= limit && tick <= limit, "{echo:?}, {tick:?}");
}

/// A socket that always has data, beside a task that always wakes itself. A turn ends when a task has used up its
/// budget of operations, even if the budget of polls is not used up, so the reactor looks for events regularly.
#[test]
fn a_firehose_ends_its_turn() {
    const BYTES: usize = 20_000;
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    // All data is sent before the first read; the task reads it byte by byte.
    let (mut peer, stream) = UnixStream::pair().unwrap();
    peer.write_all(&[0; BYTES]).unwrap();
    let source = Source::with_handle(stream, &handle).unwrap();
    let (done, self_wakes) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0_u64)));
    let (over, count) = (Rc::clone(&done), Rc::clone(&self_wakes));
    spawner
        .spawn_local(async move {
            while !over.get() {
                count.set(count.get() + 1);
                tests::yield_now().await;
            }
        })
        .unwrap();
    let observer = handle.clone();
    let most = Rc::new(Cell::new(0));
    let in_one_turn = Rc::clone(&most);
    spawner
        .spawn_local(async move {
            let (mut turn, mut operations) = (0, 0);
            for _ in 0..BYTES {
                (&source).read_exact(&mut [0]).await.unwrap();
                let now = observer.stats().turns;
                operations = if std::mem::replace(&mut turn, now) == now { operations + 1 } else { 1 };
                in_one_turn.set(in_one_turn.get().max(operations));
            }
            done.set(true);
        })
        .unwrap();
    runtime.run().unwrap();
    let stats = handle.stats();
    println!("at most {} operations in a turn, {} self-wakes, {stats:?}", most.get(), self_wakes.get());
    // At least the operations of one poll: the budget was used up. Fewer than those of two polls.
    assert!((OPERATIONS_PER_POLL..=2 * OPERATIONS_PER_POLL).contains(&most.get()), "{}", most.get());
    assert!(stats.turns >= BYTES as u64 / u64::from(2 * OPERATIONS_PER_POLL), "{stats:?}");
    // The self-waker is polled in every other turn at least, and not hundreds of times in a turn.
    assert!((stats.turns / 2..=stats.turns * 8).contains(&self_wakes.get()), "{} {stats:?}", self_wakes.get());
}

/// Bug B14: a task with a connection that always has data yields after a bounded number of operations.
#[test]
fn a_busy_socket_yields() {
    let _watchdog = watchdog(TIME);
    async_epoll::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(&[7; 1000]).await.unwrap();
        let mut read = 0;
        let mut most = 0;
        while read < 1000 {
            let in_one_poll = Cell::new(0);
            let mut done = false;
            poll_fn(|cx| {
                // Reads single bytes, as many as one poll allows.
                let mut byte = [0];
                let mut server = &server;
                let next = Pin::new(&mut server);
                if std::mem::replace(&mut done, true) {
                    return Poll::Ready(());
                }
                let mut next = next;
                while read < 1000 {
                    match futures::AsyncRead::poll_read(next.as_mut(), cx, &mut byte) {
                        Poll::Ready(result) => {
                            read += result.unwrap();
                            in_one_poll.set(in_one_poll.get() + 1);
                        }
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Poll::Ready(())
            })
            .await;
            most = most.max(in_one_poll.get());
        }
        assert!(most <= OPERATIONS_PER_POLL, "{most} operations in one poll");
        assert_eq!(read, 1000, "and none was lost");
    })
    .unwrap();
}

/// Bytes of a read in [`blast`], a usual size for servers. A larger size makes a turn of the task longer.
const READ: usize = 1 << 14;

/// The result of [`blast`].
struct Blast {
    /// From the first byte sent until the server has read the last one and has answered.
    time: Duration,
    /// Round trip times of the echoes during the transfer.
    echoes: Vec<Duration>,
}

/// Runs a server that gets `bytes` from one connection as fast as it reads them, while `peers` other connections ask
/// for echoes, one after the other. Returns how long both took.
fn blast(bytes: usize, peers: usize) -> Blast {
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let listener = runtime.run_until(TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let (over, is_over) = oneshot::channel();
    let blaster = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let chunk = vec![7; 1 << 18];
        let begin = Instant::now();
        stream.write_all(b"B").unwrap();
        let mut left = bytes;
        while left > 0 {
            left -= stream.write(&chunk[..left.min(chunk.len())]).unwrap();
        }
        // The server answers when it has read all bytes.
        stream.read_exact(&mut [0]).unwrap();
        begin.elapsed()
    };
    let echoes = {
        let connect = move |_| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(b"E").unwrap();
            stream
        };
        move || {
            let mut streams: Vec<_> = (0..peers).map(connect).collect();
            let blaster = std::thread::spawn(blaster);
            let mut echoes = Vec::new();
            while !blaster.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
                let next = echoes.len() % peers.max(1);
                if let Some(stream) = streams.get_mut(next) {
                    let (begin, mut buffer) = (Instant::now(), [0; 64]);
                    stream.write_all(&[1; 64]).unwrap();
                    stream.read_exact(&mut buffer).unwrap();
                    echoes.push(begin.elapsed());
                }
            }
            let time = blaster.join().unwrap();
            over.send(()).unwrap();
            Blast { time, echoes }
        }
    };
    let serve = move |mut stream: TcpStream| async move {
        let mut kind = [0];
        stream.read_exact(&mut kind).await.unwrap();
        let mut buffer = vec![0; READ];
        if &kind == b"E" {
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                stream.write_all(&buffer[..length]).await.unwrap();
            }
            return;
        }
        let mut read = 0;
        while read < bytes {
            read += stream.read(&mut buffer).await.unwrap();
        }
        stream.write_all(b"!").await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0, "and not a byte more");
    };
    let tasks = spawner.clone();
    let accept = async move {
        let mut incoming = listener.into_incoming();
        for _ in 0..=peers {
            tasks.spawn_local(serve(incoming.next().await.unwrap().unwrap())).unwrap();
        }
    };
    spawner.spawn_local(accept).unwrap();
    let clients = std::thread::spawn(echoes);
    runtime.run_until(is_over).unwrap().unwrap();
    let blast = clients.join().unwrap();
    runtime.run().unwrap();
    let stats = runtime.handle().stats();
    assert_eq!((stats.live_tasks, stats.sources, stats.task_panics), (0, 0, 0));
    blast
}

/// Bug B14; trial 9: one connection that sends as fast as it can, beside a hundred that ask for an echo now and then.
/// The echoes are answered in time, and the fast connection keeps most of its throughput.
#[test]
fn a_blast_beside_a_hundred_peers() {
    let _watchdog = watchdog(Duration::from_secs(120));
    let bytes = if strict_timing() { 1 << 30 } else { 1 << 28 };
    let alone = blast(bytes, 0);
    let Blast { time, mut echoes } = blast(bytes, 100);
    let (share, count, p99) = (alone.time.as_secs_f64() / time.as_secs_f64(), echoes.len(), p99(&mut echoes));
    println!("{:?} alone, {time:?} beside: {share:.2}; {count} echoes, p99 {p99:?}", alone.time);
    assert!(count > 10, "{count} echoes");
    let (least_share, most) = if strict_timing() { (0.7, 2) } else { (0.1, 200) };
    assert!(p99 <= Duration::from_millis(most) && share >= least_share, "{p99:?}, {share}");
}

/// Bug E16: a timer in the same task as an endless operation still fires.
#[test]
fn a_timer_fires_beside_a_firehose() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    runtime
        .run_until(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            spawner
                .spawn_local(async move {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    while client.write_all(&[0; 65536]).await.is_ok() {}
                })
                .unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let total = Rc::new(Cell::new(0));
            let count = Rc::clone(&total);
            let read = pin!(async move {
                let mut buffer = [0; 1024];
                loop {
                    count.set(count.get() + server.read(&mut buffer).await.unwrap());
                }
            });
            let begin = Instant::now();
            match select(read, Timer::after(Duration::from_millis(50), &handle)).await {
                Either::Left((never, _)) => never,
                Either::Right((fired, _)) => fired.unwrap(),
            }
            assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
            assert!(total.get() > 0);
        })
        .unwrap();
}

/// Tasks of two reactors in one pool spawn each other for ever. Each turn of the pool still ends.
#[test]
fn a_chain_of_spawns_between_two_reactors() {
    fn link(mine: Spawner, other: Spawner, links: Rc<Cell<u32>>) {
        let spawner = mine.clone();
        let task = async move {
            links.set(links.get() + 1);
            link(other, mine, links);
        };
        spawner.spawn_local(task).unwrap();
    }
    let _watchdog = watchdog(TIME);
    let mut pool = LocalPool::new();
    let reactors = [Reactor::new().unwrap(), Reactor::new().unwrap()];
    let [one, two] = reactors.each_ref().map(|reactor| reactor.spawner(&pool));
    let links = Rc::default();
    link(one, two, Rc::clone(&links));
    pool.run_until_stalled();
    assert!((1..2000).contains(&links.get()), "{links:?}");
}

/// Behaviour 206: tasks that yield run in turn.
#[test]
fn tasks_take_turns() {
    let mut runtime = LocalRuntime::new().unwrap();
    let counts: Vec<_> = (0..10).map(|_| Rc::new(Cell::new(0_u32))).collect();
    for count in &counts {
        let count = Rc::clone(count);
        runtime
            .spawner()
            .spawn_local(async move {
                loop {
                    count.set(count.get() + 1);
                    tests::yield_now().await;
                }
            })
            .unwrap();
    }
    let first = Rc::clone(&counts[0]);
    runtime
        .run_until(poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            if first.get() >= 1000 { Poll::Ready(()) } else { Poll::Pending }
        }))
        .unwrap();
    let (least, most) = counts.iter().fold((u32::MAX, 0), |(l, m), c| (l.min(c.get()), m.max(c.get())));
    assert!(most - least <= 1000 / 4, "{least} to {most}");
}

/// An executor of another crate inside a task blocks the thread, but not for ever: operations inside get a new budget.
#[test]
fn a_foreign_executor_inside_a_task_goes_on() {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let _watchdog = watchdog(TIME);
    async_epoll::block_on(async {
        let (mut peer, stream) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut peer, &[1; 100]).unwrap();
        let mut source = async_epoll::Source::new(stream).unwrap();
        let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
        let mut cx = std::task::Context::from_waker(&waker);
        let mut read = pin!(async {
            let mut byte = [0];
            for _ in 0..100 {
                source.read_exact(&mut byte).await.unwrap();
            }
        });
        // The loop of a simple `block_on`. All data is there, so it never waits for the reactor.
        while read.as_mut().poll(&mut cx).is_pending() {
            std::thread::park();
        }
    })
    .unwrap();
}

/// Behaviour 213: two tasks that exchange messages without end do not delay timers.
#[test]
fn ping_pong_leaves_timers_their_time() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let (ping, pong) = (mpsc::unbounded::<u64>(), mpsc::unbounded::<u64>());
    let exchanged = Rc::new(Cell::new(0));
    ping.0.unbounded_send(0).unwrap();
    for (sender, mut receiver) in [(ping.0, pong.1), (pong.0, ping.1)] {
        let exchanged = Rc::clone(&exchanged);
        runtime
            .spawner()
            .spawn_local(async move {
                while let Some(number) = receiver.next().await {
                    exchanged.set(number);
                    sender.unbounded_send(number + 1).unwrap();
                }
            })
            .unwrap();
    }
    let mut late = runtime
        .run_until(async move {
            let mut late = Vec::new();
            for _ in 0..50 {
                let deadline = Instant::now() + Duration::from_millis(5);
                Timer::at(deadline, &handle).await.unwrap();
                late.push(deadline.elapsed());
            }
            late
        })
        .unwrap();
    let (p99, stats) = (p99(&mut late), runtime.handle().stats());
    println!("p99 of the delay {p99:?}, {} messages, {stats:?}", exchanged.get());
    assert!(p99 <= Duration::from_millis(5) || !strict_timing(), "{p99:?}");
    // This bound holds under any other load on the machine: the reactor checks the timers after a bounded number of
    // polls. A turn has a budget of 256 polls; the first polls of the two tasks and of the main future are not counted.
    assert!(stats.polls <= stats.turns * (256 + 8), "{stats:?}");
    assert!(exchanged.get() > 1000, "they did not stop either");
    assert_eq!(runtime.handle().stats().task_panics, 0);
}
