//! Options of listeners and of connections: what they do, their defaults, and values that are nonsense.

use async_epoll::{LocalRuntime, Reactor};
use async_net_lite::{ListenOptions, TcpListener, TcpStream};
use futures::future::FutureExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use socket2::SockRef;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tests::{Watchdog, open_fds, socket_option, watchdog};

const TIME: Duration = Duration::from_secs(60);
const LOCALHOST: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Open descriptors belong to the whole process, and some tests count them, so all of this file run one at a time.
fn alone() -> (MutexGuard<'static, ()>, Watchdog) {
    static ALONE: Mutex<()> = Mutex::new(());
    (ALONE.lock().unwrap_or_else(PoisonError::into_inner), watchdog(TIME))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    async_epoll::block_on(future).unwrap()
}

fn has_ipv6() -> bool {
    let has = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: this machine has no IPv6");
    }
    has
}

/// `bind` without options is that with the defaults.
#[test]
fn defaults_of_a_listener() {
    let _alone = alone();
    block_on(async {
        let options = ListenOptions::default();
        for listener in [TcpListener::bind(LOCALHOST).await.unwrap(), options.bind(LOCALHOST).await.unwrap()] {
            let socket = SockRef::from(&listener);
            assert!(socket.reuse_address().unwrap() && socket.is_listener().unwrap() && socket.nonblocking().unwrap());
            assert!(!socket.reuse_port().unwrap() && !socket.tcp_nodelay().unwrap());
            for option in [libc::TCP_DEFER_ACCEPT, libc::TCP_FASTOPEN] {
                assert_eq!(socket_option(listener.as_fd(), libc::IPPROTO_TCP, option).unwrap(), 0);
            }
        }
    });
}

/// Behaviour 25: what is set before `bind` is there afterwards, and accepted connections inherit what they can.
#[test]
fn options_of_a_listener() {
    let _alone = alone();
    block_on(async {
        let options = ListenOptions::new()
            .reuse_addr(false)
            .reuse_port(true)
            .nodelay(true)
            .defer_accept(Duration::from_millis(1))
            .recv_buffer(20_000)
            .send_buffer(30_000)
            .fastopen(7);
        let listener = options.bind(LOCALHOST).await.unwrap();
        let socket = SockRef::from(&listener);
        assert!(!socket.reuse_address().unwrap() && socket.reuse_port().unwrap());
        let option = |name| socket_option(listener.as_fd(), libc::IPPROTO_TCP, name).unwrap();
        assert!(option(libc::TCP_DEFER_ACCEPT) >= 1, "a millisecond is not none at all");
        assert_eq!(option(libc::TCP_FASTOPEN), 7);

        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (&client).write_all(b"x").await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&server);
        assert!(server.nodelay().unwrap() && !client.nodelay().unwrap());
        // The kernel doubles what it is asked for.
        assert_eq!((socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()), (40_000, 60_000));
    });
}

/// Two listeners on one address only if both ask for it, and the kernel shares the connections out.
#[test]
fn listeners_that_share_an_address() {
    let _alone = alone();
    block_on(async {
        let options = ListenOptions::new().reuse_port(true);
        let one = options.bind(LOCALHOST).await.unwrap();
        let address = one.local_addr().unwrap();
        let two = options.bind(address).await.unwrap();
        assert_eq!(TcpListener::bind(address).await.unwrap_err().kind(), ErrorKind::AddrInUse);
        let clients: Vec<_> = (0..64).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut accepted = [0, 0];
        for (listener, count) in [&one, &two].into_iter().zip(&mut accepted) {
            while let Ok(Ok(_)) = async_timeout::Timeout::new(listener.accept(), Duration::from_millis(50)).await {
                *count += 1;
            }
        }
        assert_eq!(accepted[0] + accepted[1], clients.len());
        assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}: by chance, once in 2^63 runs");
    });
}

/// A connection that sends nothing does not come up; one that does, comes with its bytes.
#[test]
fn accepting_is_deferred_until_there_are_bytes() {
    let _alone = alone();
    block_on(async {
        let listener = ListenOptions::new().defer_accept(Duration::from_secs(30)).bind(LOCALHOST).await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let early = async_timeout::Timeout::new(listener.accept(), Duration::from_millis(100)).await;
        assert!(early.is_err(), "nothing has been sent");
        client.write_all(b"now").unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 8];
        let read = server.read(&mut buffer).now_or_never().expect("the bytes are there");
        assert_eq!(&buffer[..read.unwrap()], b"now");
        // Served without having waited: the stream was never registered.
        let sources = async_epoll::Handle::current().unwrap().stats().sources;
        assert_eq!(sources, 1, "the listener alone");
    });
}

/// The queue is as long as it was said to be: one more than the backlog, by the kernel's own count.
#[test]
fn a_short_backlog_keeps_clients_waiting() {
    let _alone = alone();
    block_on(async {
        let listener = ListenOptions::new().backlog(0).bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _first = TcpStream::connect(address).await.unwrap();
        let mut second = Box::pin(TcpStream::connect(address));
        assert!(async_timeout::Timeout::new(second.as_mut(), Duration::from_millis(100)).await.is_err(), "no room");
        listener.accept().await.unwrap();
        second.await.unwrap(); // The kernel asks again after a second.
        // Far too many: the kernel cuts it down.
        ListenOptions::new().backlog(u32::MAX).bind(LOCALHOST).await.unwrap();
    });
}

/// `[::]` takes IPv4 as well, unless it was told not to.
#[test]
fn ipv6_only() {
    let _alone = alone();
    if !has_ipv6() {
        return;
    }
    block_on(async {
        for only_v6 in [false, true] {
            let listener = ListenOptions::new().only_v6(only_v6).bind("[::]:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            TcpStream::connect(("::1", port)).await.unwrap();
            let mapped = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            assert_eq!(mapped.is_err(), only_v6);
        }
        // Nothing to say about an address that is IPv4.
        ListenOptions::new().only_v6(true).bind(LOCALHOST).await.unwrap();
    });
}

/// Bad input: values that no kernel takes, addresses that are not ours, more than an integer holds. An error or the
/// nearest that is possible, and no descriptor is left.
#[test]
fn nonsense_is_refused_or_cut() {
    let _alone = alone();
    block_on(async {
        let before = open_fds();
        let huge = ListenOptions::new()
            .backlog(u32::MAX)
            .defer_accept(Duration::MAX)
            .recv_buffer(usize::MAX)
            .send_buffer(usize::MAX)
            .fastopen(u32::MAX);
        drop(huge.bind(LOCALHOST).await.unwrap());
        let none =
            ListenOptions::new().backlog(0).defer_accept(Duration::ZERO).recv_buffer(0).send_buffer(0).fastopen(0);
        let listener = none.bind(LOCALHOST).await.unwrap();
        // The kernel keeps a minimum.
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (&client).write_all(b"x").await.unwrap();
        (&server).read_exact(&mut [0]).await.unwrap();
        drop((client, server, listener));

        let not_ours: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let error = TcpListener::bind(not_ours).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        assert_eq!(TcpListener::bind(&[][..]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        // The first that can be bound.
        let bound = TcpListener::bind(&[not_ours, LOCALHOST.into()][..]).await.unwrap();
        assert_eq!(bound.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
        drop(bound);
        let scopeless = TcpListener::bind("[fe80::1]:0").await.unwrap_err();
        assert!(matches!(scopeless.kind(), ErrorKind::InvalidInput | ErrorKind::AddrNotAvailable), "{scopeless:?}");
        assert_eq!(open_fds(), before);
    });
}

/// A reactor that has been dropped is noticed before anything is bound, not when the first client comes.
#[test]
fn binding_on_a_reactor_that_is_gone() {
    let _alone = alone();
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    drop(reactor);
    let before = open_fds();
    let free = std::net::TcpListener::bind(LOCALHOST).unwrap().local_addr().unwrap();
    let _enter = handle.enter();
    let errors = [
        TcpListener::bind(free).now_or_never().unwrap().unwrap_err(),
        ListenOptions::new().bind_with(free, &handle).now_or_never().unwrap().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().contains("dropped"), "{error}");
    }
    assert_eq!(open_fds(), before);
    let runtime = LocalRuntime::new().unwrap();
    ListenOptions::new().bind_with(free, &runtime.handle()).now_or_never().unwrap().unwrap();
}

/// A listener that was closed while a connection of its lingers can be bound again, unless told not to.
#[test]
fn binding_again_after_a_restart() {
    let _alone = alone();
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        // Who closes first has the connection linger.
        server.close().await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop((server, client, listener));
        let refused = ListenOptions::new().reuse_addr(false).bind(address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        let begin = Instant::now();
        TcpListener::bind(address).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(5), "without waiting for the other to fade");
    });
}
