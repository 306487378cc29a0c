//! Connecting: to one address, the race of several addresses (RFC 8305, "happy eyeballs"), timeouts, and what a dropped
//! connect leaves behind.

use async_epoll::{Handle, LocalRuntime, Reactor};
use async_net_lite::{ConnectOptions, ListenOptions, Resolver, TcpListener, TcpStream, UdpSocket, with_resolver};
use async_timeout::TimeoutExt;
use futures::executor::LocalPool;
use futures::future::{BoxFuture, FutureExt, join_all, pending};
use futures::io::AsyncReadExt;
use futures::stream::{self, BoxStream, StreamExt};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::common::block_on;
use tests::{LOCALHOST, alone, full_listener, has_ipv6, open_fds, thread_cpu};

/// How long an attempt runs alone before the next address is tried too.
const HEAD_START: Duration = Duration::from_millis(250);
/// A step that takes no head start is done within this time.
const AT_ONCE: Duration = Duration::from_millis(200);

/// Returns an address that refuses connections: its port was free a moment ago.
fn refused() -> SocketAddr {
    std::net::TcpListener::bind(LOCALHOST).unwrap().local_addr().unwrap()
}

/// Returns a silent IPv6 address: its listener has a full backlog while the returned sockets live. Returns `None` on
/// a machine without IPv6.
fn silence_of_ipv6() -> Option<(SocketAddr, impl Sized)> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into()).ok()?;
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let queued = std::net::TcpStream::connect(address).unwrap();
    Some((address, (socket, queued)))
}

/// Connects, and checks that the connect takes `head_starts` head starts. The machine may be slow at times, so one of
/// five tries must be fast enough; no try may be too fast.
async fn timed(addresses: &[SocketAddr], head_starts: u32) -> std::io::Result<SocketAddr> {
    let soonest = HEAD_START * head_starts;
    let mut times = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        let result = TcpStream::connect(addresses).await.and_then(|stream| stream.peer_addr());
        let time = begin.elapsed();
        assert!(time >= soonest, "{addresses:?} took only {time:?}");
        if time < soonest + AT_ONCE {
            return result;
        }
        times.push(time);
    }
    panic!("{addresses:?} should take {head_starts} head starts, and took {times:?}");
}

/// Behaviour 6: a silent address costs a quarter of a second, an address that refuses costs nothing, and the first
/// answer wins. The other attempts leave nothing behind.
#[test]
fn the_first_to_answer_wins() {
    let _alone = alone();
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let silent = full_listener();
            let refused = refused();
            let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
            let good = listener.local_addr().unwrap();
            let before = (open_fds(), handle.stats().sources, handle.stats().timers);
            let rows: [(&[SocketAddr], u32); 8] = [
                (&[good], 0),
                (&[good, silent.address], 0),
                (&[refused, good], 0),
                (&[refused, refused, refused, good, silent.address], 0),
                (&[silent.address, good], 1),
                (&[silent.address, refused, good], 1),
                (&[refused, silent.address, good], 1),
                (&[silent.address, silent.address, refused, good], 2),
            ];
            for (addresses, head_starts) in rows {
                assert_eq!(timed(addresses, head_starts).await.unwrap(), good, "{addresses:?}");
                let after = (open_fds(), handle.stats().sources, handle.stats().timers);
                assert_eq!(after, before, "{addresses:?} left something behind");
            }
        })
        .unwrap();
}

/// Families take turns, beginning with IPv6, even if the list has several IPv4 addresses first.
#[test]
fn ipv6_goes_first() {
    let _alone = alone();
    let Some((silent, _held)) = silence_of_ipv6() else {
        eprintln!("skipped: this machine has no IPv6");
        return;
    };
    block_on(async {
        let listeners = (TcpListener::bind("[::1]:0").await.unwrap(), TcpListener::bind(LOCALHOST).await.unwrap());
        let (six, four) = (listeners.0.local_addr().unwrap(), listeners.1.local_addr().unwrap());
        let refused: SocketAddr = std::net::TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
        let silent_four = full_listener();
        let rows: [(&[SocketAddr], SocketAddr, u32); 5] = [
            (&[four, four, six], six, 0),
            (&[six, four], six, 0),
            (&[four, refused], four, 0),
            (&[four, silent], four, 1),
            // The IPv4 address is tried between the two IPv6 addresses.
            (&[silent, six, silent_four.address], six, 2),
        ];
        for (addresses, winner, head_starts) in rows {
            assert_eq!(timed(addresses, head_starts).await.unwrap(), winner, "{addresses:?}");
        }
    });
}

/// A late answer of the first address still wins: its attempt goes on beside the later ones.
#[test]
fn a_late_answer_counts() {
    let _alone = alone();
    block_on(async {
        let slow = ListenOptions::new().backlog(0).bind(LOCALHOST).await.unwrap();
        let address = slow.local_addr().unwrap();
        let _queued = TcpStream::connect(address).await.unwrap();
        let silent = full_listener();
        let mut connect = Box::pin(TcpStream::connect([address, silent.address, silent.address]));
        let early = async_timeout::Timeout::new(connect.as_mut(), Duration::from_millis(600)).await;
        assert!(early.is_err(), "all three are silent");
        slow.accept().await.unwrap();
        // The kernel sends the SYN again one second after the first, and then after two more.
        let stream = connect.await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        slow.accept().await.unwrap();
    });
}

/// If all addresses fail, the error is the one of the last address that has answered. "No route to the address" is
/// returned only if no other error is there.
#[test]
fn the_most_telling_error() {
    let _alone = alone();
    block_on(async {
        let refused = refused();
        let nowhere: SocketAddr = "255.255.255.255:9".parse().unwrap();
        let lonely = TcpStream::connect(nowhere).await.unwrap_err();
        assert_ne!(lonely.kind(), ErrorKind::ConnectionRefused);
        for addresses in [&[refused][..], &[refused, nowhere], &[nowhere, refused], &[refused, refused]] {
            assert_eq!(timed(addresses, 0).await.unwrap_err().kind(), ErrorKind::ConnectionRefused, "{addresses:?}");
        }
        let error = timed(&[nowhere, nowhere], 0).await.unwrap_err();
        assert_eq!(error.raw_os_error(), lonely.raw_os_error());
        assert_eq!(timed(&[], 0).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// Bad input: connecting to an address that cannot be reached fails at once, with an error.
#[test]
fn addresses_that_lead_nowhere() {
    let _alone = alone();
    block_on(async {
        let before = open_fds();
        let nonsense =
            ["0.0.0.0:0", "127.0.0.1:0", "255.255.255.255:1", "224.0.0.1:1", "[::]:0", "[fe80::1]:1", "[ff02::1]:1"];
        for address in nonsense {
            let connect = async_timeout::Timeout::new(TcpStream::connect(address), Duration::from_secs(10));
            connect.await.expect("at once").expect_err(address);
        }
        assert_eq!(open_fds(), before);
    });
}

/// Cancel safety; behaviour 10: a race that is dropped at any point leaves no descriptor, no source and no timer.
#[test]
fn a_race_that_is_dropped_leaves_nothing() {
    let _alone = alone();
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let silent = full_listener();
            let before = (open_fds(), handle.stats().sources, handle.stats().timers);
            for millis in [0, 1, 100, 300, 600] {
                let mut race = Box::pin(TcpStream::connect([silent.address; 4]));
                let limited = async_timeout::Timeout::new(race.as_mut(), Duration::from_millis(millis));
                assert!(limited.await.is_err());
                let under_way = 1 + millis as usize / 250;
                assert!((open_fds() - before.0) >= under_way.min(2), "so there was something to leave");
                drop(race);
                assert_eq!((open_fds(), handle.stats().sources, handle.stats().timers), before, "after {millis} ms");
            }
        })
        .unwrap();
}

/// At most eight attempts run at the same time, however many addresses there are: the next closes the oldest. A waiting
/// connect does not spin.
#[test]
fn attempts_are_bounded() {
    let _alone = alone();
    block_on(async {
        let silent = full_listener();
        let address = silent.address;
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let good = listener.local_addr().unwrap();
        let mut addresses = vec![address; 12];
        addresses.push(good);
        let before = open_fds();
        let mut race = Box::pin(TcpStream::connect(addresses));
        // Eight head starts, and more on a busy machine.
        let mut rounds = 0;
        while open_fds() - before < 8 {
            assert!(async_timeout::Timeout::new(race.as_mut(), HEAD_START).await.is_err());
            rounds += 1;
            assert!(rounds < 40, "{} attempts", open_fds() - before);
        }
        assert!(async_timeout::Timeout::new(race.as_mut(), HEAD_START).await.is_err());
        assert_eq!(open_fds() - before, 8);
        let cpu = thread_cpu();
        assert!(async_timeout::Timeout::new(race.as_mut(), HEAD_START).await.is_err());
        assert!(thread_cpu() - cpu < Duration::from_millis(25), "a waiting connect spins");
        // From now on the address refuses: each pending attempt fails when the kernel sends its SYN again.
        drop(silent);
        assert_eq!(race.await.unwrap().peer_addr().unwrap(), good);
    });
}

/// Found 10: a number of bad addresses before the good one × what is wrong with them. A silent address costs its head
/// start and nothing more, however many there are; the others cost nothing.
#[test]
fn any_number_of_bad_addresses() {
    let _alone = alone();
    block_on(async {
        let silent = full_listener();
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let good = listener.local_addr().unwrap();
        let bad = [(silent.address, 1), (refused(), 0), ("255.255.255.255:9".parse().unwrap(), 0)];
        let cell = |number: usize, (address, cost): (SocketAddr, u32)| async move {
            let mut addresses = vec![address; number];
            addresses.push(good);
            let (soonest, begin) = (HEAD_START * cost * number as u32, Instant::now());
            let stream = ConnectOptions::new().timeout(Duration::from_secs(30)).connect(addresses).await;
            let time = begin.elapsed();
            assert_eq!(stream.unwrap().peer_addr().unwrap(), good);
            assert!(time >= soonest && time < soonest + Duration::from_secs(1), "{number} × {address}: {time:?}");
        };
        let cells = [0, 1, 7, 8, 9, 40].into_iter().flat_map(|number| bad.map(|bad| cell(number, bad)));
        join_all(cells).await;
        // If none answers, the error of one that has answered counts more than silence.
        let mut addresses = vec![silent.address; 3];
        addresses.push(refused());
        addresses.extend([silent.address; 8]);
        let late = ConnectOptions::new().timeout(HEAD_START * 14).connect(addresses).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut, "the last eight are pending");
    });
}

/// What a resolver knows of one family: when, after the lookup has begun, and what. `None` is never known.
type Part = Option<(u64, Result<Vec<SocketAddr>, ErrorKind>)>;

/// A row of the table: the parts A and AAAA, the outcome, and the time in milliseconds, from and less than.
type Row = (Part, Part, Result<SocketAddr, ErrorKind>, u64, u64);

/// A resolver that gives its addresses in two parts.
struct Parts([Part; 2]);

impl Resolver for Parts {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        panic!("connecting asks for parts")
    }

    fn resolve_stream<'a>(&'a self, _: &'a str, _: u16) -> BoxStream<'a, io::Result<Vec<SocketAddr>>> {
        let part = |part: &'a Part| async move {
            let Some((millis, result)) = part else { return pending().await };
            if *millis > 0 {
                async_timeout::sleep(Duration::from_millis(*millis)).await;
            }
            result.clone().map_err(io::Error::from)
        };
        stream::select_all(self.0.each_ref().map(|known| stream::once(part(known)).boxed())).boxed()
    }
}

/// A resolver whose stream is always ready, and has the same part again and again.
struct Endless(Vec<SocketAddr>);

impl Resolver for Endless {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        panic!("connecting asks for parts")
    }

    fn resolve_stream<'a>(&'a self, _: &'a str, _: u16) -> BoxStream<'a, io::Result<Vec<SocketAddr>>> {
        stream::repeat_with(|| Ok(self.0.clone())).boxed()
    }
}

/// Found 11: a resolver whose stream never ends, and never waits, does not hold the thread: other futures of the task go
/// on, and so does the time limit.
#[test]
fn endless_parts_of_a_name() {
    let _alone = alone();
    block_on(async {
        let refused = refused();
        for part in [Vec::new(), vec![refused]] {
            let options = ConnectOptions::new().resolver(Arc::new(Endless(part)));
            let connected = options.timeout(Duration::from_millis(50)).connect(("endless.test", 1)).await;
            assert_eq!(connected.unwrap_err().kind(), ErrorKind::TimedOut);
        }
        // A UDP socket waits for an address of its family.
        let socket = UdpSocket::bind(LOCALHOST).await.unwrap();
        let send = async { socket.send_to(b"x", ("endless.test", 1)).await };
        let send = with_resolver(Arc::new(Endless(Vec::new())), send);
        assert!(send.timeout(Duration::from_millis(50)).await.is_err());
    });
}

/// Found 11: when each family becomes known × what it is. IPv6 addresses are used at once, IPv4 addresses after 50 ms or
/// when no more will come, and later addresses join the race (RFC 8305, section 3).
#[test]
fn addresses_that_become_known_one_family_after_the_other() {
    let _alone = alone();
    let Some((silent_six, _held)) = silence_of_ipv6() else {
        eprintln!("skipped: this machine has no IPv6");
        return;
    };
    block_on(async {
        let listeners = (TcpListener::bind(LOCALHOST).await.unwrap(), TcpListener::bind("[::1]:0").await.unwrap());
        let (four, six) = (listeners.0.local_addr().unwrap(), listeners.1.local_addr().unwrap());
        let (silent, refused) = (full_listener(), refused());
        let at = |millis, address| Some((millis, Ok(vec![address])));
        let nothing = |millis| Some((millis, Ok(Vec::new())));
        let fails = |millis, kind| Some((millis, Err(kind)));
        let table: [Row; 18] = [
            (at(0, four), at(0, six), Ok(six), 0, 45),
            (at(0, four), None, Ok(four), 50, 200),
            (at(0, four), at(20, six), Ok(six), 20, 200),
            (at(0, four), nothing(0), Ok(four), 0, 45),
            (at(0, four), fails(0, ErrorKind::NotFound), Ok(four), 0, 45),
            (at(0, four), at(500, six), Ok(four), 50, 200),
            (at(100, four), at(0, six), Ok(six), 0, 45),
            (None, at(0, six), Ok(six), 0, 45),
            (None, at(100, six), Ok(six), 100, 240),
            (nothing(0), at(100, six), Ok(six), 100, 240),
            (at(100, four), at(0, silent_six), Ok(four), 250, 400),
            (at(0, silent.address), at(150, six), Ok(six), 300, 450),
            (at(0, silent.address), at(400, six), Ok(six), 400, 550),
            (at(0, refused), at(200, six), Ok(six), 200, 350),
            (at(0, refused), fails(0, ErrorKind::NotFound), Err(ErrorKind::ConnectionRefused), 0, 45),
            (fails(0, ErrorKind::NotFound), fails(0, ErrorKind::Other), Err(ErrorKind::Other), 0, 45),
            (fails(0, ErrorKind::Other), fails(20, ErrorKind::NotFound), Err(ErrorKind::Other), 20, 200),
            (nothing(0), nothing(20), Err(ErrorKind::InvalidInput), 20, 200),
        ];
        for (a, aaaa, outcome, from, below) in table {
            let resolver = Arc::new(Parts([a.clone(), aaaa.clone()]));
            let mut times = Vec::new();
            // The machine may be slow at times.
            while times.len() < 5 && times.iter().all(|time| *time >= Duration::from_millis(below)) {
                let begin = Instant::now();
                let found = with_resolver(resolver.clone(), TcpStream::connect("name:1")).await;
                times.push(begin.elapsed());
                let found = found.map(|stream| stream.peer_addr().unwrap()).map_err(|error| error.kind());
                assert_eq!(found, outcome, "{a:?} {aaaa:?} {times:?}");
                assert!(*times.last().unwrap() >= Duration::from_millis(from), "{a:?} {aaaa:?} {times:?}");
            }
            assert!(*times.last().unwrap() < Duration::from_millis(below), "{a:?} {aaaa:?} {times:?}");
            assert_eq!(Arc::strong_count(&resolver), 1);
        }
        // A lookup that never ends is part of the time limit.
        let options = ConnectOptions::new().timeout(Duration::from_millis(100)).resolver(Arc::new(Parts([None, None])));
        assert_eq!(options.connect("name:1").await.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

/// Found 15: a socket whose local address is the peer's is connected to itself: that is a refusal, the next address has
/// its turn, and the port is free afterwards.
#[test]
fn no_socket_connects_to_itself() {
    let _alone = alone();
    block_on(async {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let before = open_fds();
        let loopbacks = ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"];
        for loopback in &loopbacks[..if has_ipv6() { 3 } else { 1 }] {
            let free: SocketAddr = std::net::TcpListener::bind(loopback).unwrap().local_addr().unwrap();
            let options = ConnectOptions::new().bind(free);
            let error = options.connect(free).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED), "{free}: {error}");
            // The unspecified address means this machine, too.
            let unspecified =
                SocketAddr::new(if free.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() }, free.port());
            assert_eq!(options.connect(unspecified).await.unwrap_err().kind(), ErrorKind::ConnectionRefused, "{free}");
            // Without SO_REUSEADDR, a port with remains of a connection could not be bound.
            let socket = Socket::new(Domain::for_address(free), Type::STREAM, None).unwrap();
            socket.bind(&free.into()).unwrap();
        }
        let free: SocketAddr = std::net::TcpListener::bind(LOCALHOST).unwrap().local_addr().unwrap();
        let options = ConnectOptions::new().bind(free);
        assert_eq!(options.connect([free, good]).await.unwrap().peer_addr().unwrap(), good, "the next address");
        // A port of the ephemeral range, which the kernel sooner or later chooses as the local port.
        let is_free = |address: &SocketAddr| std::net::TcpListener::bind(address).is_ok();
        let free = (40_000..40_200).step_by(2).map(|port| ([127, 0, 0, 1], port).into()).find(is_free).unwrap();
        for attempt in 0..60_000 {
            let error = TcpStream::connect(free).await.expect_err("no program listens");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "attempt {attempt}");
        }
        assert_eq!(open_fds(), before);
    });
}

/// A timeout covers all addresses together, ends the connect in time, and leaves nothing behind.
#[test]
fn timeouts() {
    let _alone = alone();
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let silent = full_listener();
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            let good = listener.local_addr().unwrap();
            let before = (open_fds(), handle.stats().sources, handle.stats().timers);
            for millis in [0, 1, 50, 400] {
                let (time, begin) = (Duration::from_millis(millis), Instant::now());
                let error = TcpStream::connect_timeout(&[silent.address; 3][..], time).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert!(error.to_string().contains("not connected within"), "{error}");
                let took = begin.elapsed();
                assert!(took >= time && took < time + Duration::from_secs(2), "{took:?}");
                assert_eq!((open_fds(), handle.stats().sources, handle.stats().timers), before);
            }
            for long in [Duration::from_secs(5), Duration::MAX] {
                TcpStream::connect_timeout(good, long).await.unwrap();
                TcpStream::connect_timeout(("localhost", good.port()), long).await.unwrap();
                let error = TcpStream::connect_timeout(refused(), long).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            }
            // The limit ends after the second attempt has begun, and before a third would.
            let options = ConnectOptions::new().timeout(HEAD_START * 2);
            assert_eq!(options.connect([silent.address, good]).await.unwrap().peer_addr().unwrap(), good);
        })
        .unwrap();
}

/// With a reactor that has been dropped, connecting fails before any packet is sent. Dropping the reactor during a race
/// ends the race.
#[test]
fn a_reactor_that_is_gone() {
    let _alone = alone();
    let silent = full_listener();
    let good = std::net::TcpListener::bind(LOCALHOST).unwrap();
    let (reactor, mut pool) = (Reactor::new().unwrap(), LocalPool::new());
    let (handle, spawner) = (reactor.handle(), reactor.spawner(&pool));
    let (sender, mut receiver) = futures::channel::oneshot::channel();
    let race = async move {
        let connect = ConnectOptions::new().timeout(Duration::from_secs(9)).connect([silent.address; 3]).await;
        let _ = sender.send(connect.unwrap_err());
        drop(silent);
    };
    spawner.spawn_local(race).unwrap();
    pool.run_until_stalled();
    assert_eq!(handle.stats().sources, 1);
    drop(reactor);
    pool.run_until_stalled();
    let late = TcpStream::connect_with(good.local_addr().unwrap(), &handle).now_or_never().unwrap();
    good.set_nonblocking(true).unwrap();
    assert_eq!(good.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nothing has connected");
    for error in [receiver.try_recv().unwrap().unwrap(), late.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().contains("dropped"), "{error}");
    }
}

/// Behaviour 11: a peer that closes at once, with a FIN or with a reset, causes an end of file or an error, and no
/// hang.
#[test]
fn a_peer_that_hangs_up_at_once() {
    let _alone = alone();
    let listener = std::net::TcpListener::bind(LOCALHOST).unwrap();
    let address = listener.local_addr().unwrap();
    let rounds = 200;
    let peer = std::thread::spawn(move || {
        for round in 0..rounds {
            let (stream, _) = listener.accept().unwrap();
            if round % 2 == 0 {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    });
    block_on(async {
        for round in 0..rounds {
            match TcpStream::connect(address).await {
                // An end of file after a FIN, an error after a reset.
                Ok(mut stream) => match stream.read(&mut [0]).await {
                    Ok(read) => assert_eq!(read, 0, "round {round}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                },
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
        assert_eq!(Handle::current().unwrap().stats().sources, 0);
    });
    peer.join().unwrap();
}
