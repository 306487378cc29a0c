//! Everything at once, for a long time: connections that come and go, steady echoes, timers, wakes from another thread.
//!
//! Ignored by default, since the test takes `SOAK_SECONDS` (10 unless set). `.ci/full soak` runs it for minutes. Every
//! connection must be served, every byte must come back, every timer must fire or be cancelled, and in the end nothing
//! may be left. Memory must not grow after the first tenth of the time.

use async_epoll::{Handle, LocalRuntime};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{Timeout, sleep};
use futures::StreamExt;
use futures::channel::mpsc;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tests::open_fds;

/// A generator of pseudo-random numbers (xorshift). The same seed repeats a run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Returns the resident memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn echo(stream: TcpStream) {
    // Resets by the peer are expected here.
    let _ = futures::io::copy(&stream, &mut &stream).await;
}

#[test]
#[ignore = "takes long; `.ci/full soak` runs it"]
fn soak() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let seed = std::env::var("SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x9E37_79B9_7F4A_7C15);
    println!("{seconds} s with seed {seed}");
    let fds = open_fds();
    let mut runtime = LocalRuntime::new().unwrap();
    let (handle, spawner) = (runtime.handle(), runtime.spawner());
    let end = Instant::now() + Duration::from_secs(seconds);
    let (connected, served, messages) =
        (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)));

    // Wakes from another thread. The numbers must arrive in order.
    let (sender, mut receiver) = mpsc::unbounded::<u64>();
    let count = Rc::clone(&messages);
    spawner
        .spawn_local(async move {
            while let Some(number) = receiver.next().await {
                assert_eq!(number, count.get());
                count.set(number + 1);
            }
        })
        .unwrap();
    let thread = std::thread::spawn(move || {
        let mut random = Random(seed ^ 1);
        let mut sent = 0;
        while Instant::now() < end {
            sender.unbounded_send(sent).unwrap();
            sent += 1;
            std::thread::sleep(Duration::from_micros(random.below(3000)));
        }
        sent
    });

    let (connections, accepted, tasks) = (Rc::clone(&connected), Rc::clone(&served), spawner.clone());
    runtime
        .run_until(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (server, inner) = (listener.incoming(), tasks.clone());
            tasks
                .spawn_local(async move {
                    let stop = Box::pin(sleep(end.saturating_duration_since(Instant::now()) + Duration::from_secs(2)));
                    let mut server = server.take_until(stop);
                    while let Some(stream) = server.next().await {
                        accepted.set(accepted.get() + 1);
                        inner.spawn_local(echo(stream.unwrap())).unwrap();
                    }
                })
                .unwrap();
            // Clients: each connects, exchanges some messages of random sizes, and closes the connection in one of
            // several ways.
            for client in 0..50 {
                let connections = Rc::clone(&connections);
                let mut random = Random(seed + client);
                tasks
                    .spawn_local(async move {
                        while Instant::now() < end {
                            let mut stream = TcpStream::connect(address).await.unwrap();
                            connections.set(connections.get() + 1);
                            for _ in 0..random.below(20) {
                                let magnitude = random.below(15);
                                let size = 1 + random.below(1 << magnitude) as usize;
                                let sent: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
                                let mut received = vec![0; size];
                                let (mut reader, mut writer) = (&stream, &stream);
                                let both = futures::future::try_join(
                                    reader.read_exact(&mut received),
                                    writer.write_all(&sent),
                                );
                                Timeout::new(both, Duration::from_secs(20)).await.expect("stuck").unwrap();
                                assert_eq!(sent, received);
                                sleep(Duration::from_micros(random.below(2000))).await;
                            }
                            match random.below(3) {
                                0 => drop(stream),
                                1 => stream.close().await.unwrap(),
                                // Closed in the middle of an exchange.
                                _ => drop(Timeout::new(stream.read(&mut [0]), Duration::from_micros(50)).await),
                            }
                        }
                    })
                    .unwrap();
            }
            // Memory, measured after the warm-up.
            let handle = Handle::current().unwrap();
            let mut warm = None;
            while Instant::now() < end {
                sleep(Duration::from_secs(seconds) / 10).await;
                let (now, first) = (resident(), *warm.get_or_insert_with(resident));
                println!("{now} KiB, {:?}", handle.stats());
                assert!(now <= first + 8 * 1024, "memory grows: {first} KiB, then {now} KiB");
            }
        })
        .unwrap();
    runtime.run().unwrap();
    assert_eq!(thread.join().unwrap(), messages.get());
    assert_eq!(connected.get(), served.get());
    let stats = handle.stats();
    println!("{} connections, {} messages, {stats:?}", connected.get(), messages.get());
    assert_eq!((stats.live_tasks, stats.ready_tasks, stats.sources, stats.timers), (0, 0, 0, 0));
    assert_eq!((stats.task_panics, stats.waker_panics), (0, 0));
    drop((runtime, handle, spawner));
    assert_eq!(open_fds(), fds);
}
