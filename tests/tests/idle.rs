//! Many idle connections use memory, and no CPU time.
//!
//! Ignored by default: the test takes `IDLE_SECONDS` (default 20) and 18 000 descriptors in each of two processes;
//! `.ci/full idle` runs it. The server is a child process, so that its CPU time can be measured alone.

use async_epoll::LocalRuntime;
use async_net_lite::{TcpListener, TcpStream};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use socket2::{Domain, SockRef, Socket, Type};
use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tests::{limit_open_files, watchdog};

const CONNECTIONS: usize = 18_000;
/// The environment variable that marks the child process.
const SERVER: &str = "TEST_IDLE_SERVER";

/// Not a test: the child process of the test below. Serves [`CONNECTIONS`] connections and prints its progress.
#[test]
#[ignore = "the other test of this file runs it"]
fn server() {
    if std::env::var_os(SERVER).is_none() {
        return;
    }
    let _watchdog = watchdog(Duration::from_secs(300));
    limit_open_files(CONNECTIONS + 100);
    let mut runtime = LocalRuntime::new().unwrap();
    let (handle, spawner) = (runtime.handle(), runtime.spawner());
    let echoed = Rc::new(Cell::new(0));
    let count = Rc::clone(&echoed);
    runtime
        .run_until(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("\nport {}", listener.local_addr().unwrap().port());
            for _ in 0..CONNECTIONS {
                let (stream, _) = listener.accept().await.unwrap();
                spawner.spawn_local(echo(stream, Rc::clone(&count))).unwrap();
            }
            println!("accepted {CONNECTIONS}");
        })
        .unwrap();
    runtime.run().unwrap();
    let stats = handle.stats();
    assert_eq!((stats.sources, stats.timers, stats.task_panics, stats.waker_panics), (0, 0, 0, 0));
    println!("echoed {}", echoed.get());
}

/// Echoes single bytes until the client closes.
async fn echo(mut stream: TcpStream, echoed: Rc<Cell<usize>>) {
    let mut byte = [0];
    // The client closes with a reset, which leaves no port in TIME_WAIT.
    while stream.read(&mut byte).await.is_ok_and(|read| read == 1) {
        stream.write_all(&byte).await.unwrap();
        echoed.set(echoed.get() + 1);
    }
}

/// Reads lines until one begins with `word`, and returns the number behind the word.
fn told(output: &mut impl BufRead, word: &str) -> usize {
    loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the server ended before it said {word:?}");
        if let Some(number) = line.strip_prefix(word) {
            return number.trim().parse().unwrap();
        }
    }
}

/// Returns the CPU time of all threads of a process. The kernel counts it in nanoseconds, finer than the ticks of
/// `/proc/PID/stat`.
fn cpu(process: &Child) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
    let nanos = threads.map(|thread| {
        let schedule = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        schedule.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanos.sum())
}

/// Returns the resident memory of a process, in KiB.
fn resident(process: &Child) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Connects from one of eight local addresses, because a single address has too few ports.
fn connect(number: usize, server: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = Ipv4Addr::new(127, 0, 0, 2 + (number % 8) as u8);
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket
}

/// Trial 1: 18 000 idle connections use less than 5 ms of CPU time per minute. Afterwards each one echoes a byte, all
/// within two seconds.
#[test]
#[ignore = "takes long; `.ci/full idle` runs it"]
fn idle_connections_take_no_time() {
    let window = std::env::var("IDLE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let window = Duration::from_secs(window);
    let _watchdog = watchdog(window + Duration::from_secs(120));
    let limit = limit_open_files(CONNECTIONS + 100);
    assert!(limit >= CONNECTIONS + 100, "`ulimit -Hn` is {limit}");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(SERVER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, told(&mut output, "port ") as u16));
    let empty = resident(&child);

    let mut clients: Vec<_> = (0..CONNECTIONS).map(|number| connect(number, address)).collect();
    assert_eq!(told(&mut output, "accepted "), CONNECTIONS);
    // The last tasks have not been polled yet: they still have to find that no byte is there.
    std::thread::sleep(Duration::from_millis(500));
    let each = (resident(&child) - empty) * 1024 / CONNECTIONS;

    let (begin, before) = (Instant::now(), cpu(&child));
    std::thread::sleep(window);
    let (idle, used) = (begin.elapsed(), cpu(&child) - before);
    println!("{CONNECTIONS} connections of {each} bytes each idle for {idle:?} with {used:?} of CPU");
    assert!(used < Duration::from_millis(5).mul_f64(idle.as_secs_f64() / 60.0), "{used:?} of CPU in {idle:?}");

    let begin = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&[number as u8]).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [number as u8]);
    }
    let echo = begin.elapsed();
    println!("one byte back on each of them took {echo:?}");
    assert!(echo < Duration::from_secs(2), "{echo:?}");

    for client in &clients {
        SockRef::from(client).set_linger(Some(Duration::ZERO)).unwrap();
    }
    drop(clients);
    assert_eq!(told(&mut output, "echoed "), CONNECTIONS);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}\n{rest}");
}
