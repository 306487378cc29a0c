//! Options of listeners and of connections: effects, defaults, and impossible values.

use async_epoll::{LocalRuntime, Reactor};
use async_net_lite::{ConnectOptions, Keepalive, ListenOptions, TcpListener, TcpStream};
use futures::future::FutureExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use socket2::SockRef;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tests::common::block_on;
use tests::{LOCALHOST, alone, has_ipv6, open_fds, socket_option};

/// `bind` without options sets the defaults of `ListenOptions`.
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

/// Behaviour 25: options set before `bind` are in effect afterwards, and accepted connections inherit what the kernel
/// lets them inherit.
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
        // The kernel doubles the requested size.
        assert_eq!((socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()), (40_000, 60_000));
    });
}

/// Two listeners share one address only if both ask for it. The kernel then distributes the connections.
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

/// A connection without data is not accepted. A connection with data is accepted together with its bytes.
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
        // The stream never had to wait, so it was never registered.
        let sources = async_epoll::Handle::current().unwrap().stats().sources;
        assert_eq!(sources, 1, "the listener alone");
    });
}

/// The queue has the requested length: the backlog plus one, as the kernel counts.
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
        second.await.unwrap(); // The kernel retries after a second.
        // Far too many: the kernel reduces the backlog.
        ListenOptions::new().backlog(u32::MAX).bind(LOCALHOST).await.unwrap();
    });
}

/// `[::]` accepts IPv4 as well, unless `only_v6` is set.
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
        // The option has no effect on an IPv4 address.
        ListenOptions::new().only_v6(true).bind(LOCALHOST).await.unwrap();
    });
}

/// Impossible input: values that no kernel accepts, foreign addresses, numbers that overflow an integer. The result is
/// an error or the nearest possible value, and no descriptor is left.
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
        // The kernel enforces a minimum.
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (&client).write_all(b"x").await.unwrap();
        (&server).read_exact(&mut [0]).await.unwrap();
        drop((client, server, listener));

        let not_ours: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let error = TcpListener::bind(not_ours).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        assert_eq!(TcpListener::bind(&[][..]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        // The first address that can be bound is used.
        let bound = TcpListener::bind(&[not_ours, LOCALHOST.into()][..]).await.unwrap();
        assert_eq!(bound.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
        drop(bound);
        let scopeless = TcpListener::bind("[fe80::1]:0").await.unwrap_err();
        assert!(matches!(scopeless.kind(), ErrorKind::InvalidInput | ErrorKind::AddrNotAvailable), "{scopeless:?}");
        assert_eq!(open_fds(), before);
    });
}

/// A dropped reactor is noticed before anything is bound, not at the first client.
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
        TcpListener::bind_with(free, &handle).now_or_never().unwrap().unwrap_err(),
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

/// After a listener was closed while one of its connections lingers, its address can be bound again, unless this is
/// turned off.
#[test]
fn binding_again_after_a_restart() {
    let _alone = alone();
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        // The side that closes first keeps the lingering connection.
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

/// Returns a connection over each address family of the machine.
async fn connections() -> Vec<(TcpStream, TcpStream)> {
    let mut pairs = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0"].into_iter().take(1 + usize::from(has_ipv6())) {
        let listener = TcpListener::bind(address).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        pairs.push((client, listener.accept().await.unwrap().0));
    }
    pairs
}

/// Behaviour 22: the time to live, for both families.
#[test]
fn time_to_live() {
    let _alone = alone();
    block_on(async {
        for (client, server) in connections().await {
            let default = server.ttl().unwrap();
            assert!((32..=255).contains(&default), "{default}");
            for ttl in [1, 77, 255] {
                client.set_ttl(ttl).unwrap();
                assert_eq!((client.ttl().unwrap(), server.ttl().unwrap()), (ttl, default));
            }
            for nonsense in [0, 256, u32::MAX] {
                assert_eq!(client.set_ttl(nonsense).unwrap_err().kind(), ErrorKind::InvalidInput);
            }
            assert_eq!(client.ttl().unwrap(), 255);
        }
    });
}

/// `SO_LINGER` may only be set to values that do not block: none, and a reset.
#[test]
fn lingering_without_blocking() {
    let _alone = alone();
    block_on(async {
        for (client, mut server) in connections().await {
            assert_eq!(client.linger().unwrap(), None);
            for blocking in [Duration::from_nanos(1), Duration::from_secs(1), Duration::MAX] {
                let error = client.set_linger(Some(blocking)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains("block"), "{error}");
                assert_eq!(client.linger().unwrap(), None, "nothing has changed");
            }
            client.set_linger(Some(Duration::ZERO)).unwrap();
            assert_eq!(client.linger().unwrap(), Some(Duration::ZERO));
            client.set_linger(None).unwrap();
            assert_eq!(client.linger().unwrap(), None);
            client.set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            assert_eq!(server.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    });
}

/// Behaviour 25, for keepalive: off by default. Values that are set are read back; the others are the kernel's.
#[test]
fn keepalive() {
    let _alone = alone();
    block_on(async {
        for (client, _server) in connections().await {
            assert_eq!(client.keepalive().unwrap(), None);
            client.set_keepalive(Keepalive::new()).unwrap();
            let defaults = client.keepalive().unwrap().unwrap();
            assert!(defaults.time.unwrap() > Duration::from_secs(60), "{defaults:?}");
            let seconds = Duration::from_secs;
            let wanted = Keepalive::new().time(seconds(60)).interval(seconds(7)).retries(3);
            client.set_keepalive(Some(wanted)).unwrap();
            assert_eq!(client.keepalive().unwrap(), Some(wanted));
            client.set_keepalive(Keepalive { time: Some(Duration::from_millis(1500)), ..Keepalive::new() }).unwrap();
            assert_eq!(client.keepalive().unwrap(), Some(Keepalive { time: Some(seconds(2)), ..wanted }), "rounded up");
            for nonsense in [
                Keepalive::new().time(Duration::ZERO),
                Keepalive::new().time(Duration::MAX),
                Keepalive::new().interval(Duration::ZERO),
                Keepalive::new().interval(seconds(32_768)),
                Keepalive::new().retries(0),
                Keepalive::new().retries(u32::MAX),
            ] {
                let error = client.set_keepalive(nonsense).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{nonsense:?}");
            }
            client.set_keepalive(None).unwrap();
            assert_eq!(client.keepalive().unwrap(), None);
        }
    });
}

/// Buffer sizes are clamped and not refused; quick acknowledgements; no pending error.
#[test]
fn other_options_of_a_connection() {
    let _alone = alone();
    block_on(async {
        for (client, server) in connections().await {
            client.set_recv_buffer(20_000).unwrap();
            client.set_send_buffer(30_000).unwrap();
            assert_eq!((client.recv_buffer().unwrap(), client.send_buffer().unwrap()), (40_000, 60_000));
            for bytes in [0, 1, usize::MAX] {
                client.set_recv_buffer(bytes).unwrap();
                client.set_send_buffer(bytes).unwrap();
                assert!(client.recv_buffer().unwrap() > 1000 && client.send_buffer().unwrap() > 1000);
            }
            server.set_quickack(false).unwrap();
            assert!(!server.quickack().unwrap());
            server.set_quickack(true).unwrap();
            assert!(server.quickack().unwrap());
            assert!(client.take_error().unwrap().is_none());
            client.set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            server.readable().await.unwrap();
            let error = server.take_error().unwrap().expect("the reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert!(server.take_error().unwrap().is_none(), "once");
        }
    });
}

/// Options of a connect are set on its connection.
#[test]
fn options_of_a_connect() {
    let _alone = alone();
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        let plain = ConnectOptions::default().connect(address).await.unwrap();
        assert!(!plain.nodelay().unwrap() && plain.keepalive().unwrap().is_none());

        let keepalive = Keepalive::new().time(Duration::from_secs(9)).interval(Duration::from_secs(8)).retries(7);
        let options = ConnectOptions::new()
            .bind("127.0.0.3:0".parse().unwrap())
            .nodelay(true)
            .keepalive(keepalive)
            .recv_buffer(20_000)
            .send_buffer(30_000)
            .timeout(Duration::from_secs(10));
        let stream = options.connect(address).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(stream.keepalive().unwrap(), Some(keepalive));
        assert_eq!((stream.recv_buffer().unwrap(), stream.send_buffer().unwrap()), (40_000, 60_000));
        assert_eq!(stream.local_addr().unwrap().ip(), Ipv4Addr::new(127, 0, 0, 3));
        assert_ne!(stream.local_addr().unwrap().port(), 0);
        // A second connection with the same options, at the same time.
        options.connect(address).await.unwrap();
    });
}

/// A fixed local port serves connections to two peers at once, but not two to one peer.
#[test]
fn connecting_from_a_port() {
    let _alone = alone();
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let other = TcpListener::bind(LOCALHOST).await.unwrap();
        let from = std::net::TcpListener::bind("127.0.0.4:0").unwrap().local_addr().unwrap();
        let options = ConnectOptions::new().bind(from);
        let one = options.connect(listener.local_addr().unwrap()).await.unwrap();
        let two = options.connect(other.local_addr().unwrap()).await.unwrap();
        assert_eq!((one.local_addr().unwrap(), two.local_addr().unwrap()), (from, from));
        let twice = options.connect(listener.local_addr().unwrap()).await.unwrap_err();
        assert!(matches!(twice.kind(), ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse), "{twice:?}");
        // Neither a foreign address nor an address of the other family can be bound.
        for nonsense in ["192.0.2.1:0", "[::1]:0"] {
            let options = ConnectOptions::new().bind(nonsense.parse().unwrap());
            assert!(options.connect(listener.local_addr().unwrap()).await.is_err(), "{nonsense}");
        }
    });
}

/// With TCP Fast Open, whether the system allows it or not, written bytes arrive, and a refused connection is an error.
#[test]
fn fast_open() {
    let _alone = alone();
    block_on(async {
        let listener = ListenOptions::new().fastopen(16).bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ConnectOptions::new().fastopen(true);
        // From the second connection on, the client has the cookie of the first, if the system allows Fast Open.
        for _ in 0..3 {
            let mut client = options.connect(address).await.unwrap();
            client.write_all(b"first").await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 5];
            server.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"first");
            server.write_all(b"answer").await.unwrap();
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "answer");
        }
        drop(listener);
        let refused = async {
            let mut client = options.connect(address).await?;
            client.write_all(b"x").await?;
            client.read(&mut [0]).await
        };
        assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}
