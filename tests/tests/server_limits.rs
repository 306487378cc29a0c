//! The limits of a server: of time, of connections, of descriptors; and that its numbers add up whatever the clients do.

use async_epoll::LocalRuntime;
use async_net_lite::server::{
    Connection, Event, MAX_REFUSALS, Next, Outcome, REFUSAL_TIMEOUT, Report, Server, TimeLimit,
};
use async_net_lite::unix::{UnixListener, UnixStream};
use async_net_lite::{ListenOptions, TcpStream};
use async_timeout::{LimitExceeded, sleep};
use futures::future::{LocalBoxFuture, join, join_all};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tests::common::servers::{Commands, listening, order, serve_in, until};
use tests::{
    HOUR, LOCALHOST, TIME, abstract_name, in_child, limit_open_files, millis, open_fds, strict_timing, thread_cpu,
    watchdog,
};

/// The limit of the tests of time.
const LIMIT: Duration = millis(150);

/// Checks that something took the time of `limit`, and not much more.
fn check_time(took: Duration, limit: Duration, what: &str) {
    let slack = if strict_timing() { limit / 20 } else { Duration::from_secs(2) };
    assert!(took >= limit && took <= limit + slack, "{what}: {took:?}");
}

/// A future of a connection's life.
type Life = LocalBoxFuture<'static, io::Result<()>>;

/// Each limit of time, with handlers that find it in different places: the connection is cut in time, counts as timed out by
/// this limit, and the error has the limit as its payload. A good client beside is served.
#[test]
fn limits_of_time() {
    type Work = fn(Connection) -> Life;
    let reads: Work = |mut connection| {
        async move {
            let mut buffer = [0; 64];
            while connection.read(&mut buffer).await? > 0 {}
            Ok(())
        }
        .boxed_local()
    };
    let idles: Work = |mut connection| {
        async move {
            while connection.idle().await? == Next::Data {
                let mut buffer = [0; 64];
                let len = connection.read(&mut buffer).await?;
                connection.write_all(&buffer[..len]).await?;
            }
            Ok(())
        }
        .boxed_local()
    };
    let greets: Work = |mut connection| {
        async move {
            for _ in 0..5 {
                connection.write_all(b"hello").await?;
                sleep(LIMIT / 10).await;
            }
            connection.read_to_end(&mut Vec::new()).await.map(drop)
        }
        .boxed_local()
    };
    let floods: Work = |mut connection| {
        async move {
            loop {
                connection.write_all(&[0; 64 * 1024]).await?;
            }
        }
        .boxed_local()
    };
    let uploads: Work = |mut connection| {
        async move {
            assert_eq!(connection.idle().await?, Next::Data);
            connection.read_to_end(&mut Vec::new()).await.map(drop)
        }
        .boxed_local()
    };
    let hides: Work = |mut connection| {
        async move {
            let _ = connection.read_to_end(&mut Vec::new()).await;
            Ok(())
        }
        .boxed_local()
    };
    for (name, work, bytes, drips, limit) in [
        ("a silent client, read at once", reads, &b""[..], false, TimeLimit::FirstByte),
        ("a silent client, waited for", idles, b"", false, TimeLimit::FirstByte),
        ("a silent client that is greeted", greets, b"", false, TimeLimit::FirstByte),
        ("a handler that hides the error", hides, b"", false, TimeLimit::FirstByte),
        ("silence after a byte, read", reads, b"x", false, TimeLimit::Idle),
        ("silence after a byte, waited for", idles, b"x", false, TimeLimit::Idle),
        ("a client that never reads", floods, b"", false, TimeLimit::WriteStall),
        ("a drip", reads, b"x", true, TimeLimit::MinRate),
        ("a drip after the beginning of a request", uploads, b"x", true, TimeLimit::MinRate),
        ("a busy client", idles, b"x", true, TimeLimit::Lifetime),
    ] {
        let (mut runtime, listener, address) = listening();
        let outcome = Rc::new(Cell::new(None));
        let log = Rc::clone(&outcome);
        let off = Duration::MAX;
        let of = |which: TimeLimit| if which == limit { LIMIT } else { off };
        let mut server = Server::builder()
            .listen(listener, work)
            .first_byte_timeout(of(TimeLimit::FirstByte))
            .idle_timeout(of(TimeLimit::Idle))
            .write_stall_timeout(of(TimeLimit::WriteStall))
            .lifetime(of(TimeLimit::Lifetime))
            .on_event(move |event| {
                if let Event::Closed { outcome, error, .. } = event {
                    let payload = error.and_then(|error| LimitExceeded::of(error.downcast_ref()?));
                    log.set(Some((*outcome, payload.is_some())));
                }
            });
        if limit == TimeLimit::MinRate {
            server = server.min_rate(1000, LIMIT);
        }
        let handle = server.handle();
        let (report, took) = serve_in(&mut runtime, server, async {
            let mut client = TcpStream::connect(address).await.unwrap();
            let begin = Instant::now();
            client.write_all(bytes).await.unwrap();
            while handle.stats().ended() == 0 {
                sleep(millis(5)).await;
                if drips {
                    let _ = client.write_all(b"x").await;
                }
                assert!(begin.elapsed() < TIME, "{name}");
            }
            let took = begin.elapsed();
            // Half of an answer must not look like a whole one; a silent client just sees the end.
            let is_reset = client.read_to_end(&mut Vec::new()).await.is_err();
            // If the client goes on writing, a write has told it of the reset.
            assert!(drips || is_reset != matches!(limit, TimeLimit::FirstByte | TimeLimit::Idle), "{name}");
            handle.stop();
            took
        });
        check_time(took, LIMIT, name);
        let tells = name != "a handler that hides the error";
        assert_eq!(outcome.get(), Some((Outcome::TimedOut(limit), tells)), "{name}");
        assert_eq!(report.timed_out.total(), 1, "{name}: {report}");
    }
}

/// A handler changes the limit of idleness of its connection: longer, shorter, none; and a minimum rate does not count between
/// two requests.
#[test]
fn limits_of_one_connection() {
    for (own, expected) in [(HOUR, None), (millis(60), Some(millis(60))), (Duration::MAX, None)] {
        let (mut runtime, listener, address) = listening();
        let handler = move |mut connection: Connection| async move {
            assert_eq!(connection.idle().await?, Next::Data);
            connection.read_exact(&mut [0]).await?;
            connection.set_idle_timeout(own);
            connection.read_exact(&mut [0]).await
        };
        let server = Server::builder().listen(listener, handler).idle_timeout(LIMIT);
        let handle = server.handle();
        let (report, ()) = serve_in(&mut runtime, server, async {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"x").await.unwrap();
            let begin = Instant::now();
            match expected {
                Some(limit) => {
                    until(|| handle.stats().ended() == 1).await;
                    check_time(begin.elapsed(), limit, "shorter");
                }
                None => {
                    sleep(LIMIT * 2).await;
                    client.write_all(b"x").await.unwrap();
                    until(|| handle.stats().ended() == 1).await;
                }
            }
            handle.stop();
        });
        assert_eq!(report.timed_out.idle, u64::from(expected.is_some()), "{own:?}");
    }

    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default()).min_rate(1000, LIMIT / 3);
    // Nor does the limit of the first byte count any more.
    let server = server.first_byte_timeout(LIMIT / 3);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut client = TcpStream::connect(address).await.unwrap();
        for _ in 0..3 {
            order(&mut client, b'e').await.unwrap();
            sleep(LIMIT).await;
        }
        handle.stop();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    });
    assert_eq!(report.closed_idle, 1, "{report}");
}

/// The limits are those of Unix connections, too.
#[test]
fn limits_of_unix_connections() {
    let mut runtime = LocalRuntime::new().unwrap();
    let name = abstract_name("limits");
    let listener = runtime.run_until(async { UnixListener::bind_addr(&name) }).unwrap().unwrap();
    let server = Server::builder()
        .listen(listener, Commands::default())
        .first_byte_timeout(LIMIT)
        .idle_timeout(LIMIT)
        // Shorter: a blocked writer is idle, too.
        .write_stall_timeout(LIMIT / 2);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut clients = Vec::new();
        for bytes in [&b""[..], b"e", b"b", b"p", b"c"] {
            let mut client = UnixStream::connect_addr(&name).await.unwrap();
            client.write_all(bytes).await.unwrap();
            clients.push(client);
        }
        let mut answer = Vec::new();
        clients.pop().unwrap().read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"c");
        until(|| handle.stats().ended() == 5).await;
        handle.stop();
    });
    let late = report.timed_out;
    assert_eq!((late.first_byte, late.idle, late.write_stall), (1, 1, 1), "{report}");
    assert_eq!((report.panicked, report.served), (1, 1));
}

/// Many silent clients and slow ones are cut in time, while good ones are served without delay.
#[test]
fn slow_clients_are_cut_beside_good_ones() {
    let (mut runtime, listener, address) = listening();
    let limit = millis(500);
    let server = Server::builder().listen(listener, Commands::default()).first_byte_timeout(limit).idle_timeout(limit);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut slow = Vec::new();
        for number in 0..200 {
            let mut client = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                order(&mut client, b'e').await.unwrap();
            }
            slow.push((client, Instant::now()));
        }
        let good = async {
            let mut client = TcpStream::connect(address).await.unwrap();
            while handle.stats().timed_out.total() < 200 {
                order(&mut client, b'e').await.unwrap();
                sleep(millis(1)).await;
            }
        };
        let cut = slow.into_iter().map(|(mut client, begin)| async move {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            // The server may have begun to count a little before.
            check_time(begin.elapsed() + millis(100), limit, "a slow client");
        });
        join(good, join_all(cut)).await;
        handle.stop();
    });
    assert_eq!((report.timed_out.first_byte, report.timed_out.idle), (100, 100));
}

/// A full server uses no CPU while clients wait in the backlog, and tells of its pauses at most once a second.
#[test]
fn a_full_server_sleeps() {
    let (mut runtime, listener, address) = listening();
    let pauses = Rc::new(Cell::new(0));
    let told = Rc::clone(&pauses);
    let server = Server::builder().listen(listener, Commands::default()).max_connections(2).on_event(move |event| {
        if let Event::Paused { .. } = event {
            told.set(told.get() + 1);
        }
    });
    let handle = server.handle();
    let begin = Instant::now();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        until(|| handle.stats().active == 2).await;
        let (cpu, polls) = (thread_cpu(), runtime_sleeps());
        sleep(millis(300)).await;
        assert!(thread_cpu() - cpu < millis(100), "{:?}", thread_cpu() - cpu);
        assert!(runtime_sleeps() - polls < 10);
        for mut client in clients {
            order(&mut client, b'e').await.unwrap();
        }
        handle.stop();
    });
    assert_eq!((report.accepted, report.peak), (50, 2));
    assert!(pauses.get() >= 1 && pauses.get() <= 1 + begin.elapsed().as_secs(), "{}", pauses.get());
}

/// Returns how often the current reactor has slept.
fn runtime_sleeps() -> u64 {
    async_epoll::Handle::current().unwrap().stats().sleeps
}

/// Uses up all descriptors of this process except `room` of them.
fn leave_room(room: usize) -> Vec<File> {
    limit_open_files(open_fds() + room + 10);
    let mut hoard: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    hoard.truncate(hoard.len() - room);
    hoard
}

/// Descriptors run out although the limit of connections is not reached: the server pauses, tells so, serves those that it has,
/// and the others as descriptors become free.
#[test]
fn descriptors_run_out() {
    if !in_child("descriptors_run_out") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let listener = runtime.run_until(ListenOptions::new().backlog(4096).bind(LOCALHOST)).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..60).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let hoard = leave_room(10);
    let failures = Rc::new(Cell::new(0));
    let told = Rc::clone(&failures);
    let server = Server::builder().listen(listener, Commands::default()).max_connections(1000).on_event(move |event| {
        if let Event::AcceptFailed { error, pause, .. } = event {
            assert_eq!((error.raw_os_error(), pause.is_some()), (Some(libc::EMFILE), true));
            told.set(told.get() + 1);
        }
    });
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut clients: Vec<_> = clients.into_iter().map(|client| TcpStream::try_from(client).unwrap()).collect();
        sleep(millis(300)).await;
        assert_eq!(handle.stats().accepted, 10);
        for client in &mut clients[..10] {
            order(client, b'e').await.unwrap();
        }
        // Each client that ends lets others in, without waiting for the end of the pause.
        for mut client in clients {
            order(&mut client, b'e').await.unwrap();
        }
        handle.stop();
    });
    assert_eq!((report.accepted, report.refused), (60, 0));
    assert!(failures.get() >= 1, "the user was told");
    drop(hoard);
}

/// The same while the server stops: it does not wait for the end of the pause, and the backlog is served as descriptors become
/// free; without that, the deadline comes.
#[test]
fn descriptors_have_run_out_when_the_server_stops() {
    if !in_child("descriptors_have_run_out_when_the_server_stops") {
        return;
    }
    let _watchdog = watchdog(TIME);
    for (become_free, by_others) in [(true, false), (false, false), (false, true)] {
        let mut runtime = LocalRuntime::new().unwrap();
        let listener = runtime.run_until(ListenOptions::new().backlog(4096).bind(LOCALHOST)).unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        for client in &mut clients {
            io::Write::write_all(client, if become_free { b"s" } else { b"w" }).unwrap();
        }
        let hoard = leave_room(10);
        let server = Server::builder().listen(listener, Commands::default()).max_connections(1000);
        let server = server.shutdown_timeout(millis(500));
        let server = if become_free { server.shutdown_timeout(HOUR) } else { server };
        let handle = server.handle();
        let begin = Instant::now();
        let (report, hoard) = serve_in(&mut runtime, server, async {
            until(|| handle.stats().accepted == 10).await;
            handle.stop();
            if become_free {
                drop(clients);
                return Some(hoard);
            }
            sleep(millis(100)).await;
            // No connection ends.
            let hoard = Some(hoard).filter(|_| !by_others);
            sleep(millis(600)).await;
            hoard
        });
        match (become_free, by_others) {
            (true, _) => assert_eq!((report.accepted, report.refused), (40, 0), "{report}"),
            (false, false) => assert_eq!((report.aborted, report.refused), (10, 30), "{report}"),
            // Ten more were free.
            (false, true) => {
                assert!(report.aborted >= 20 && report.aborted + report.refused == 40, "{report}");
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        drop(hoard);
    }
}

/// What a client does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Connects one more client.
    Connect,
    /// A client sends a command, and does not wait for the answer.
    Command(usize, u8),
    /// A client closes its direction.
    Close(usize),
    /// A client goes, with a reset or without.
    Leave(usize, bool),
    /// The server gets time.
    Wait(u64),
    /// A command of the server's owner.
    Own(u8),
}

/// Returns a strategy of steps.
fn step() -> impl Strategy<Value = Step> {
    let command = proptest::sample::select(b"eesswcfpdbl".to_vec());
    prop_oneof![
        6 => Just(Step::Connect),
        8 => (any::<usize>(), command).prop_map(|(client, command)| Step::Command(client, command)),
        1 => any::<usize>().prop_map(Step::Close),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(client, resets)| Step::Leave(client, resets)),
        4 => (0_u64..15).prop_map(Step::Wait),
        1 => (0_u8..4).prop_map(Step::Own),
    ]
}

/// Plays steps against a server. Returns the report, the number of connected clients, and that of the handlers that began and
/// were dropped.
fn play(steps: &[Step], limit: usize, last: u8, grace: u64) -> (Report, u64, (usize, usize)) {
    let (mut runtime, listener, address) = listening();
    let commands = Commands::default();
    let closed = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&closed);
    let server = Server::builder()
        .listen(listener, commands.clone())
        .max_connections(limit)
        .idle_timeout(millis(30))
        .first_byte_timeout(millis(20))
        .write_stall_timeout(millis(25))
        .linger(1000, millis(10))
        .idle_grace(millis(grace))
        .shutdown_timeout(millis(40))
        .on_event(move |event| {
            if let Event::Closed { id, .. } = event {
                log.borrow_mut().push(*id);
            }
        });
    let handle = server.handle();
    let own = |command: u8| match command {
        0 => handle.stop(),
        1 => handle.abort(),
        2 => handle.pause(),
        _ => handle.resume(),
    };
    let (report, connected) = serve_in(&mut runtime, server, async {
        let mut clients: Vec<TcpStream> = Vec::new();
        let mut connected = 0;
        for step in steps {
            let chosen = |index: &usize, clients: &Vec<TcpStream>| (!clients.is_empty()).then(|| index % clients.len());
            match step {
                Step::Connect => {
                    // After a stop there is no listener.
                    if let Ok(client) = TcpStream::connect(address).await {
                        connected += 1;
                        clients.push(client);
                    }
                }
                Step::Command(index, command) => {
                    if let Some(index) = chosen(index, &clients) {
                        let _ = clients[index].try_write(&[*command]);
                    }
                }
                Step::Close(index) => {
                    if let Some(index) = chosen(index, &clients) {
                        let _ = clients[index].close().await;
                    }
                }
                Step::Leave(index, resets) => {
                    if let Some(index) = chosen(index, &clients) {
                        let client = clients.swap_remove(index);
                        let client = socket2::Socket::from(client.into_std().unwrap());
                        if *resets {
                            client.set_linger(Some(Duration::ZERO)).unwrap();
                        }
                    }
                }
                Step::Wait(time) => sleep(millis(*time)).await,
                Step::Own(command) => own(*command),
            }
        }
        own(last);
        handle.resume();
        connected
    });
    let mut ids = closed.take();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..report.accepted), "each connection ends once: {ids:?} {report}");
    assert!(report.peak <= limit as u64, "{report:?}");
    let all = commands.dropped.get();
    (report, connected, (all, commands.running.get()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Clients connect, command, stall, close and reset; handlers return, fail, panic and wait; the server pauses, stops and
    /// aborts at any point. Each accepted connection ends in one way, each handler's future is dropped once, no client is
    /// counted twice, and the limit holds.
    #[test]
    fn the_numbers_add_up(
        steps in proptest::collection::vec(step(), 0..60),
        limit in 1_usize..6,
        last in 0_u8..2,
        grace in 0_u64..10,
    ) {
        let (report, connected, (dropped, running)) = play(&steps, limit, last, grace);
        prop_assert_eq!(report.ended(), report.accepted);
        prop_assert!(report.accepted + report.refused <= connected, "{} {}", report, connected);
        prop_assert_eq!(running, 0);
        // A connection that was cut before the first poll of its task has had no handler.
        prop_assert!(dropped as u64 <= report.accepted, "{} {}", dropped, report);
        prop_assert!(dropped as u64 + report.aborted >= report.accepted, "{} {}", dropped, report);
    }
}

/// A thousand connections over a limit of 50, with clients of every kind: the sum of what the clients see is that of the
/// report.
#[test]
fn what_clients_see_is_what_the_report_says() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default()).max_connections(50);
    let handle = server.handle();
    let (report, seen) = serve_in(&mut runtime, server, async {
        let client = |number: usize| async move {
            let command = b"cfpecf"[number % 6];
            let mut client = TcpStream::connect(SocketAddr::clone(&address)).await.unwrap();
            client.write_all(&[command]).await.unwrap();
            if command == b'e' {
                client.read_exact(&mut [0]).await.unwrap();
                return (command, true);
            }
            (command, client.read_to_end(&mut Vec::new()).await.is_ok())
        };
        let seen = join_all((0..1000).map(client)).await;
        handle.stop();
        seen
    });
    let count = |command: u8| seen.iter().filter(|(of, _)| *of == command).count() as u64;
    assert!(seen.iter().all(|(command, is_ok)| (*command == b'p') != *is_ok));
    assert_eq!(report.accepted, 1000);
    assert_eq!((report.failed, report.panicked), (count(b'f'), count(b'p')));
    assert_eq!(report.served + report.closed_idle, count(b'c') + count(b'e'));
    assert_eq!(report.peak, 50);
}

/// Above the soft limit, each new connection ends the one that has been idle longest, if that is long enough. A request that is
/// there is answered, a busy connection is left alone, and a connection that works again is not shed.
#[test]
fn the_soft_limit_sheds_the_longest_idle() {
    let (mut runtime, listener, address) = listening();
    let idle = millis(50);
    let server = Server::builder().listen(listener, Commands::default()).soft_limit(3, idle);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut clients = Vec::new();
        for number in 0..3 {
            let mut client = TcpStream::connect(address).await.unwrap();
            match number {
                // Busy, idle, and new.
                0 => client.write_all(b"w").await.unwrap(),
                1 => order(&mut client, b'e').await.unwrap(),
                _ => until(|| handle.stats().active == 3).await,
            }
            clients.push(client);
        }
        // Not idle for long enough.
        let mut fourth = TcpStream::connect(address).await.unwrap();
        order(&mut fourth, b'e').await.unwrap();
        assert_eq!((handle.stats().active, handle.stats().shed), (4, 0));
        sleep(idle * 2).await;
        order(&mut fourth, b'e').await.unwrap();
        // The idle one, then the new one; the fourth has just worked.
        for (number, shed) in [(1, 1), (2, 2)] {
            let fifth = TcpStream::connect(address).await.unwrap();
            assert_eq!(clients[number].read(&mut [0]).await.unwrap(), 0, "{number}");
            drop(std::mem::replace(&mut clients[number], fifth));
            until(|| handle.stats().shed == shed).await;
        }
        order(&mut fourth, b'e').await.unwrap();
        // A request that nothing has told of yet: it is answered, and another one is shed.
        for client in &mut clients[1..] {
            order(client, b'e').await.unwrap();
        }
        sleep(idle * 2).await;
        assert_eq!(fourth.try_write(b"e").unwrap(), 1);
        let sixth = TcpStream::connect(address).await.unwrap();
        fourth.read_exact(&mut [0]).await.unwrap();
        order(&mut fourth, b'e').await.unwrap();
        drop(sixth);
        handle.abort();
    });
    assert!(report.shed >= 2 && report.shed <= 3, "{report:?}");
    assert_eq!(report.shed, report.closed_idle);
}

/// One address has at most so many connections: more are refused, with an answer if there is one, and another may come when one
/// has ended. Unix sockets are not limited.
#[test]
fn connections_of_one_address() {
    for answers in [false, true] {
        let (mut runtime, listener, address) = listening();
        let name = abstract_name(if answers { "answers" } else { "no answers" });
        let unix = runtime.run_until(async { UnixListener::bind_addr(&name) }).unwrap().unwrap();
        let mut server = Server::builder()
            .listen(listener, Commands::default())
            .listen(unix, Commands::default())
            .max_per_address(2);
        if answers {
            server = server.refuse_when_full(|reason, peer| format!("{reason:?} {}", peer.ip().unwrap()).into_bytes());
        }
        let handle = server.handle();
        let (report, ()) = serve_in(&mut runtime, server, async {
            let mut clients = Vec::new();
            for _ in 0..2 {
                let mut client = TcpStream::connect(address).await.unwrap();
                order(&mut client, b'e').await.unwrap();
                clients.push(client);
            }
            for refused in 1..=3 {
                let mut answer = Vec::new();
                let _ = TcpStream::connect(address).await.unwrap().read_to_end(&mut answer).await;
                assert_eq!(answer, if answers { &b"TooManyOfAddress 127.0.0.1"[..] } else { b"" });
                assert_eq!(handle.stats().refused, refused);
            }
            for _ in 0..5 {
                let mut client = UnixStream::connect_addr(&name).await.unwrap();
                client.write_all(b"c").await.unwrap();
                client.read_exact(&mut [0]).await.unwrap();
            }
            drop(clients.pop());
            until(|| handle.stats().active == 1).await;
            let mut client = TcpStream::connect(address).await.unwrap();
            order(&mut client, b'e').await.unwrap();
            handle.stop();
        });
        assert_eq!((report.accepted, report.refused), (8, 3));
    }
}

/// A full server that refuses: each client gets the whole answer, also if it has sent a request; the others are served. The
/// limit holds, and the hook may panic.
#[test]
fn a_full_server_may_refuse() {
    let (mut runtime, listener, address) = listening();
    let count = Rc::new(Cell::new(0));
    let calls = Rc::clone(&count);
    let server = Server::builder().listen(listener, Commands::default()).max_connections(2).refuse_when_full(
        move |reason, _| {
            calls.set(calls.get() + 1);
            assert_eq!(format!("{reason:?}"), "Full");
            assert!(calls.get() < 100, "the hook panics, on purpose");
            b"503, try again".to_vec()
        },
    );
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = TcpStream::connect(address).await.unwrap();
            order(&mut client, b'e').await.unwrap();
            clients.push(client);
        }
        let refused = |_| async {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"a request that is not read").await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"503, try again");
        };
        join_all((0..99).map(refused)).await;
        for _ in 0..3 {
            let _ = TcpStream::connect(address).await.unwrap().read(&mut [0]).await;
        }
        assert_eq!(handle.stats().refused, 102);
        for client in &mut clients {
            order(client, b'e').await.unwrap();
        }
        drop(clients.pop());
        until(|| handle.stats().active == 1).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        order(&mut client, b'e').await.unwrap();
        handle.stop();
    });
    assert_eq!((report.accepted, report.refused, report.peak), (3, 102, 2));
}

/// Only so many refused connections are answered at a time. The others wait in the backlog until these have ended.
#[test]
fn refusals_are_limited() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder()
        .listen(listener, Commands::default())
        .max_connections(1)
        .refuse_when_full(|_, _| b"full".to_vec());
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut first = TcpStream::connect(address).await.unwrap();
        order(&mut first, b'e').await.unwrap();
        let mut refused = Vec::new();
        for _ in 0..MAX_REFUSALS + 20 {
            refused.push(TcpStream::connect(address).await.unwrap());
        }
        until(|| handle.stats().refused == MAX_REFUSALS as u64).await;
        let waiting = refused.split_off(MAX_REFUSALS);
        sleep(millis(20)).await;
        assert_eq!(handle.stats().refused, MAX_REFUSALS as u64);
        let begin = Instant::now();
        drop(refused);
        for mut client in waiting {
            let mut answer = [0; 4];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"full");
        }
        assert!(begin.elapsed() < REFUSAL_TIMEOUT, "{:?}", begin.elapsed());
        handle.stop();
    });
    assert_eq!((report.accepted, report.refused), (1, MAX_REFUSALS as u64 + 20));
}
