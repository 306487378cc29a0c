//! Host names: which resolver is asked, and when none is.

use async_epoll::{LocalRuntime, block_on};
use async_net_lite::{
    ConnectOptions, Resolver, SystemResolver, TcpListener, TcpStream, UdpSocket, resolve, with_resolver,
};
use async_timeout::{TimeoutExt, deadline, with_deadline};
use futures::future::{BoxFuture, FutureExt, join, pending};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::{TIME, has_ipv6, in_child, limit_memory, limit_open_files, open_fds, watchdog, yield_now};

/// A resolver with the same address for every name. Records the questions.
struct Table {
    address: [u8; 4],
    asked: Mutex<Vec<(String, u16)>>,
}

impl Table {
    fn new(address: [u8; 4]) -> Arc<Self> {
        Arc::new(Self { address, asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<(String, u16)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Resolver for Table {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.asked.lock().unwrap().push((host.into(), port));
        async move {
            yield_now().await;
            Ok(vec![(self.address, port).into()])
        }
        .boxed()
    }
}

/// Behaviour 5: a custom resolver serves every function that takes an address.
#[test]
fn everything_asks_the_resolver_of_its_scope() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let table = Table::new([127, 0, 0, 1]);
        with_resolver(table.clone(), async {
            let listener = TcpListener::bind("server.example:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let stream = TcpStream::connect(("server.example", port)).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
            let socket = UdpSocket::bind(("server.example", 0)).await.unwrap();
            socket.send_to(b"x", format!("other.example:{port}")).await.unwrap();
            assert_eq!(resolve("third.example", 7).await.unwrap(), ["127.0.0.1:7".parse().unwrap()]);
            let asked: Vec<_> = table.asked().into_iter().map(|(name, _)| name).collect();
            assert_eq!(asked, ["server.example", "server.example", "server.example", "other.example", "third.example"]);

            // Numeric addresses need no resolver.
            TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            assert_eq!(resolve("::1", 7).await.unwrap(), ["[::1]:7".parse().unwrap()]);
            assert_eq!(table.asked(), []);
        })
        .await;
    })
    .unwrap();
}

/// The innermost scope counts. A scope ends with each poll, also by a panic, and spawned tasks are outside of it.
#[test]
fn scopes() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let (one, two) = (Table::new([127, 0, 0, 1]), Table::new([127, 0, 0, 2]));
    let address = |last| SocketAddr::from(([127, 0, 0, last], 9));
    runtime
        .run_until(with_resolver(one.clone(), async {
            let inner = with_resolver(two.clone(), async { resolve("name", 9).await.unwrap() });
            // Two scopes, polled in turns.
            let (inner, outer) = join(inner, resolve("name", 9)).await;
            assert_eq!((inner, outer.unwrap()), (vec![address(2)], vec![address(1)]));
            let panics = with_resolver(two.clone(), async { panic!("on purpose") });
            let panics = AssertUnwindSafe(|| panics.now_or_never());
            assert!(catch_unwind(panics).is_err());
            assert_eq!(resolve("name", 9).await.unwrap(), [address(1)]);
            let options = ConnectOptions::new().resolver(two.clone());
            let refused = options.connect("name:1").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            assert_eq!(one.asked().len(), 2);
            assert_eq!(two.asked(), [("name".into(), 9), ("name".into(), 1)], "the options come first");
            let child = spawner.spawn_local_with_handle(async { resolve("localhost", 9).await }).unwrap();
            assert!(!child.await.unwrap().is_empty(), "by the system");
            assert_eq!(one.asked(), []);
        }))
        .unwrap();
    // No resolver is kept.
    assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1));
}

/// A resolver that fails, finds nothing, or never answers.
#[test]
fn resolvers_that_do_not_help() {
    struct Bad(AtomicUsize);
    impl Resolver for Bad {
        fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => async { Err(io::Error::other("no such table")) }.boxed(),
                1 => async { Ok(Vec::new()) }.boxed(),
                _ => pending().boxed(),
            }
        }
    }
    let _watchdog = watchdog(TIME);
    block_on(with_resolver(Arc::new(Bad(AtomicUsize::new(0))), async {
        assert_eq!(TcpStream::connect("name:1").await.unwrap_err().to_string(), "no such table");
        assert_eq!(TcpStream::connect("name:1").await.unwrap_err().kind(), ErrorKind::InvalidInput, "no addresses");
        let limit = Duration::from_millis(20);
        let late = ConnectOptions::new().timeout(limit).connect("name:1").await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut, "the lookup is part of connecting");
        assert!(resolve("name", 1).timeout(limit).await.is_err());
        assert!(with_deadline(TcpStream::connect("name:1"), Instant::now() + limit).await.is_err());
        assert_eq!(deadline::current(), None);
    }))
    .unwrap();
}

/// The system's resolver: an unknown name is an error, and so is an impossible name.
#[test]
fn by_the_system() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let addresses = resolve("localhost", 80).await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{addresses:?}");
        for name in ["", "a\0b", "a b", &"x".repeat(300)] {
            assert!(resolve(name, 80).await.is_err(), "{name:?}");
        }
    })
    .unwrap();
}

/// Found 13: a zone is given by name or number, with brackets or without, to everything that takes an address. An unknown
/// zone is an error that names it, and nothing is looked up.
#[test]
fn zones_and_brackets() {
    let _watchdog = watchdog(TIME);
    if !has_ipv6() {
        return;
    }
    block_on(async {
        let table = Table::new([127, 0, 0, 1]);
        with_resolver(table.clone(), async {
            for host in ["::1", "[::1]", "::1%lo", "[::1%lo]", "::1%1", "[::1%1]"] {
                let listener = TcpListener::bind((host, 0)).await.unwrap_or_else(|error| panic!("{host}: {error}"));
                let port = listener.local_addr().unwrap().port();
                TcpStream::connect((host, port)).await.unwrap();
                TcpStream::connect((host.to_string(), port)).await.unwrap();
                let text = if host.starts_with('[') { format!("{host}:{port}") } else { format!("[{host}]:{port}") };
                TcpStream::connect(text).await.unwrap();
                let socket = UdpSocket::bind((host, 0)).await.unwrap();
                socket.send_to(b"x", (host, socket.local_addr().unwrap().port())).await.unwrap();
                assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 1);
                let [SocketAddr::V6(found)] = resolve(host, 7).await.unwrap()[..] else { panic!("{host}") };
                assert_eq!((found.ip().is_loopback(), found.port()), (true, 7));
                assert_eq!(found.scope_id(), u32::from(host.contains('%')), "{host}: lo has the index 1");
            }
            let unknown = TcpStream::connect("[fe80::1%no-such]:80").await.unwrap_err();
            assert_eq!(unknown.kind(), ErrorKind::NotFound);
            assert!(unknown.to_string().contains("no-such"), "{unknown}");
            for wrong in ["[localhost]:80", "[::1:80", "[::1%]:80", "[127.0.0.1]:80", "[::1%99999999999]:80"] {
                assert_eq!(TcpStream::connect(wrong).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
            }
            assert_eq!(table.asked(), []);
        })
        .await;
    })
    .unwrap();
}

/// Found 11: names that the system's resolver answers without a name server, and an error that names the host.
#[test]
fn names_without_a_server() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let resolver = SystemResolver::new();
        // An old form of an IPv4 address is answered by the C library, for one family only.
        assert_eq!(resolver.resolve("127.1", 7).await.unwrap(), ["127.0.0.1:7".parse().unwrap()]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        TcpStream::connect(("127.1", listener.local_addr().unwrap().port())).await.unwrap();
        let zero = resolver.resolve("a\0b", 7).await.unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
        assert!(zero.to_string().contains("cannot look up \"a\\0b\""), "{zero}");
    })
    .unwrap();
}

/// Found 11: if no thread can be started, a lookup fails at once, and says why. Later ones succeed.
#[test]
fn without_threads() {
    let _watchdog = watchdog(TIME);
    if !in_child("without_threads") {
        return;
    }
    block_on(async {
        let resolver = SystemResolver::with_threads(3);
        let before = limit_memory(Some(1 << 20));
        for _ in 0..3 {
            let error = resolver.resolve("localhost", 1).await.unwrap_err();
            assert!(error.to_string().contains("cannot start a thread"), "{error}");
        }
        limit_memory(before);
        assert!(!resolver.resolve("localhost", 1).await.unwrap().is_empty());
    })
    .unwrap();
}

/// Found 11: resolvers with threads of their own: the threads end with the resolver, and clones share them.
#[test]
fn threads_of_a_resolver() {
    let _watchdog = watchdog(TIME);
    if !in_child("threads_of_a_resolver") {
        return;
    }
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.filter(|name| name.trim() == "net-lite-names").count()
    };
    let resolver = SystemResolver::with_threads(2);
    block_on(async {
        for _ in 0..20 {
            let clone = resolver.clone();
            assert!(!clone.resolve("localhost", 1).await.unwrap().is_empty());
        }
    })
    .unwrap();
    assert!((1..=2).contains(&threads()), "{}", threads());
    drop(resolver);
    let begin = Instant::now();
    while threads() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(3), "idle threads stay, although their resolver is gone");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Found 11: without descriptors the C library does not find any name. The error says why, and is not `NotFound`.
#[test]
fn names_without_descriptors() {
    if !in_child("names_without_descriptors") {
        return;
    }
    let _watchdog = watchdog(TIME);
    block_on(async {
        limit_open_files(open_fds() + 5);
        let hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        let error = resolve("localhost", 1).await.unwrap_err();
        assert_ne!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(error.to_string(), "cannot look up \"localhost\": Too many open files (os error 24)");
        drop(hoard);
        assert!(!resolve("localhost", 1).await.unwrap().is_empty(), "found again");
        assert_eq!(resolve("no such name", 1).await.unwrap_err().kind(), ErrorKind::NotFound);
    })
    .unwrap();
}
