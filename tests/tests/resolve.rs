//! Host names: which resolver is asked, and when none is.

use async_epoll::{LocalRuntime, block_on};
use async_net_lite::{ConnectOptions, Resolver, TcpListener, TcpStream, UdpSocket, resolve, with_resolver};
use async_timeout::{TimeoutExt, deadline, with_deadline};
use futures::future::{BoxFuture, FutureExt, join, pending};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::{TIME, watchdog, yield_now};

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
