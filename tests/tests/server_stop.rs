//! Stopping a server: what is in the backlog, what is idle, what is busy, the deadline, the order of commands, signals.

use async_epoll::LocalRuntime;
use async_net_lite::server::{Connection, Event, Next, Server, ServerHandle};
use async_net_lite::{ListenOptions, TcpListener, TcpStream};
use futures::channel::oneshot;
use futures::future::{join, join_all, pending, ready};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tests::common::servers::{Commands, ask, listening, order, serve_in, until};
use tests::{HOUR, LOCALHOST, later, millis};

/// Returns a runtime, a listener with a long backlog, and clients in it that have sent `bytes`.
fn with_backlog(clients: usize, bytes: &[u8]) -> (LocalRuntime, TcpListener, Vec<std::net::TcpStream>) {
    let mut runtime = LocalRuntime::new().unwrap();
    let listener = runtime.run_until(ListenOptions::new().backlog(4096).bind(LOCALHOST)).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let connect = |_| {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(bytes).unwrap();
        client
    };
    (runtime, listener, (0..clients).map(connect).collect())
}

/// Reads a connection to its end. Returns what came, or `None` after a reset.
fn read_all(mut client: std::net::TcpStream) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).ok().map(|_| answer)
}

/// Two hundred clients are in the backlog when the server stops, before its first accept: all are answered, ten at a time if
/// that is the limit, and the listener is closed.
#[test]
fn the_backlog_is_served() {
    for limit in [10, 1000] {
        let (mut runtime, listener, clients) = with_backlog(200, b"c");
        let address = listener.local_addr().unwrap();
        let server = Server::builder().listen(listener, Commands::default()).max_connections(limit);
        let handle = server.handle();
        let readers = std::thread::spawn(|| clients.into_iter().map(read_all).collect::<Vec<_>>());
        let spawner = runtime.spawner();
        let serve = server.serve(&spawner);
        // Before the future is polled.
        handle.stop();
        handle.stop();
        let report = runtime.run_until(serve).unwrap().unwrap();
        assert_eq!((report.accepted, report.served, report.refused), (200, 200, 0), "{report}");
        assert!(report.peak <= limit as u64 && report.peak >= 10, "{report:?}");
        assert!(readers.join().unwrap().into_iter().all(|answer| answer.as_deref() == Some(b"c")));
        assert!(std::net::TcpStream::connect(address).is_err(), "the listener is closed");
    }
}

/// The whole backlog is taken although no connection ends meanwhile.
#[test]
fn the_backlog_is_taken_without_an_end() {
    let (mut runtime, listener, clients) = with_backlog(200, b"w");
    let server =
        Server::builder().listen(listener, Commands::default()).max_connections(1000).shutdown_timeout(millis(500));
    let handle = server.handle();
    let serve = server.serve(&runtime.spawner());
    handle.stop();
    let report = runtime.run_until(serve).unwrap().unwrap();
    assert_eq!((report.accepted, report.aborted, report.refused), (200, 200, 0), "{report}");
    drop(clients);
}

/// The same if the connections end too slowly: those that are open at the deadline are aborted, and what is left in the backlog
/// is refused. The numbers add up to that of the clients.
#[test]
fn what_is_left_in_the_backlog_is_refused_and_counted() {
    let (mut runtime, listener, clients) = with_backlog(100, b"w");
    let refused = Rc::new(Cell::new(0));
    let told = Rc::clone(&refused);
    let server = Server::builder()
        .listen(listener, Commands::default())
        .max_connections(10)
        .shutdown_timeout(millis(50))
        .on_event(move |event| {
            if let Event::Refused { suppressed, .. } = event {
                told.set(told.get() + 1 + suppressed);
            }
        });
    let handle = server.handle();
    let serve = server.serve(&runtime.spawner());
    handle.stop();
    let report = runtime.run_until(serve).unwrap().unwrap();
    assert_eq!((report.accepted, report.aborted, report.refused), (10, 10, 90), "{report}");
    assert_eq!(refused.get(), 1, "one event in a second");
    assert!(clients.into_iter().all(|client| read_all(client).is_none()), "each client sees a reset");
}

/// Clients connect without end while the server drains: it ends all the same, by the deadline or before.
#[test]
fn a_flood_does_not_keep_the_server_open() {
    let (mut runtime, listener, address) = listening();
    let limit = millis(1000);
    let server = Server::builder().listen(listener, Commands::default()).shutdown_timeout(limit);
    let handle = server.handle();
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let over = std::sync::Arc::clone(&is_over);
    let flood = std::thread::spawn(move || {
        let mut connected = 0_u64;
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            let Ok(mut client) = std::net::TcpStream::connect(address) else { continue };
            connected += 1;
            let _ = client.write_all(b"c");
        }
        connected
    });
    let (report, took) = serve_in(&mut runtime, server, async {
        until(|| handle.stats().accepted > 100).await;
        handle.stop();
        let begin = Instant::now();
        until(|| !handle.is_ready() && handle.stats().active == 0).await;
        begin.elapsed()
    });
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    let connected = flood.join().unwrap();
    // Refusing what is in the backlog at the end takes a moment, whatever the limit.
    let slack = if tests::strict_timing() { limit / 20 + millis(150) } else { 3 * limit };
    assert!(took < limit + slack, "{took:?}");
    assert!(report.accepted + report.refused <= connected, "{report} {connected}");
}

/// A request is already there when the server stops, but no event has told of it, since the kernel was not asked in between: on
/// an idle connection, and on a new one whose handler reads at once. It is answered, then the connection ends.
#[test]
fn an_unread_request_is_answered() {
    let (mut runtime, listener, address) = listening();
    let std = std::net::TcpListener::bind(LOCALHOST).unwrap();
    let reads = std.local_addr().unwrap();
    let at_once = async |mut connection: Connection| {
        let mut byte = [0];
        connection.read_exact(&mut byte).await?;
        connection.write_all(&byte).await
    };
    let clients = Rc::new(RefCell::new(Vec::<TcpStream>::new()));
    let of_signal = Rc::clone(&clients);
    // The server polls its signal itself: nothing runs between these writes and the stop.
    let signal = async move {
        until(|| of_signal.borrow().len() == 40).await;
        async_timeout::sleep(millis(20)).await;
        for client in of_signal.borrow().iter().step_by(2) {
            assert_eq!(client.try_write(b"e").unwrap(), 1);
        }
        of_signal.take()
    };
    let (sender, receiver) = oneshot::channel();
    let signal = async { sender.send(signal.await) };
    let server = Server::builder()
        .listen(listener, Commands::default())
        .listen(std, at_once)
        .shutdown(signal)
        .shutdown_timeout(millis(2000));
    let (report, ()) = serve_in(&mut runtime, server, async {
        for number in 0..40 {
            let is_idle = number < 20;
            let mut client = TcpStream::connect(if is_idle { address } else { reads }).await.unwrap();
            if is_idle {
                order(&mut client, b'e').await.unwrap();
            }
            clients.borrow_mut().push(client);
        }
        let mut answered = 0;
        for mut client in receiver.await.unwrap() {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answered += answer.len();
        }
        assert_eq!(answered, 20);
    });
    // Ten new ones without a byte were told an end of file, which `read_exact` calls an error.
    assert_eq!((report.closed_idle, report.served, report.failed), (10, 20, 10), "{report}");
}

/// A request that comes just after the stop is answered with a grace, and lost without one, but then the connection does not
/// count as served; the client never sees a reset.
#[test]
fn the_grace_of_idle_connections() {
    for grace in [Duration::ZERO, millis(200)] {
        let (mut runtime, listener, address) = listening();
        let server = Server::builder().listen(listener, Commands::default()).idle_grace(grace);
        let handle = server.handle();
        let (report, ()) = serve_in(&mut runtime, server, async {
            let mut old = TcpStream::connect(address).await.unwrap();
            order(&mut old, b'e').await.unwrap();
            let mut new = TcpStream::connect(address).await.unwrap();
            until(|| handle.stats().active == 2).await;
            handle.stop();
            async_timeout::sleep(millis(10).max(grace * 3 / 4)).await;
            for client in [&mut old, &mut new] {
                client.write_all(b"e").await.unwrap();
            }
            let begin = Instant::now();
            for mut client in [old, new] {
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer.is_empty(), grace.is_zero());
            }
            assert!(begin.elapsed() >= grace / 2, "idle again after the answer, for the grace");
        });
        let expected = if grace.is_zero() { (2, 0) } else { (0, 2) };
        assert_eq!((report.closed_idle, report.served), expected, "{grace:?}");
    }
}

/// Many idle connections, and new ones without a byte whose handlers read at once, end within 50 ms of the stop; a handler at
/// work answers.
#[test]
fn idle_connections_end_at_once() {
    let (mut runtime, listener, address) = listening();
    let std = std::net::TcpListener::bind(LOCALHOST).unwrap();
    let reads = std.local_addr().unwrap();
    let at_once = async |mut connection: Connection| {
        let mut byte = [0];
        assert_eq!(connection.read(&mut byte).await?, 0);
        std::io::Result::Ok(())
    };
    let server = Server::builder().listen(listener, Commands::default()).listen(std, at_once);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let (mut idle, mut new) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let mut client = TcpStream::connect(address).await.unwrap();
            order(&mut client, b'e').await.unwrap();
            idle.push(client);
            new.push(TcpStream::connect(address).await.unwrap());
            new.push(TcpStream::connect(reads).await.unwrap());
        }
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"sss").await.unwrap();
        until(|| handle.stats().active == 301).await;
        async_timeout::sleep(millis(5)).await;
        handle.stop();
        let begin = Instant::now();
        for client in idle.iter_mut().chain(&mut new) {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
        let took = begin.elapsed();
        assert!(took < millis(if tests::strict_timing() { 50 } else { 500 }), "{took:?}");
        drop((idle, new));
        let mut answer = Vec::new();
        busy.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"sss");
    });
    assert_eq!((report.accepted, report.closed_idle + report.served), (301, 301));
    assert!(report.closed_idle >= 300, "{report}");
}

/// The deadline aborts what is busy, silent or blocked, not earlier and not much later; each future is dropped once. A server
/// whose connections end before does not wait for it.
#[test]
fn the_deadline() {
    for command in [b'w', b'b'] {
        let (mut runtime, listener, address) = listening();
        let commands = Commands::default();
        let limit = millis(200);
        let server = Server::builder().listen(listener, commands.clone()).shutdown_timeout(limit);
        let handle = server.handle();
        let (report, took) = serve_in(&mut runtime, server, async {
            let mut clients = Vec::new();
            for _ in 0..20 {
                let mut client = TcpStream::connect(address).await.unwrap();
                client.write_all(&[command]).await.unwrap();
                clients.push(client);
            }
            until(|| commands.running.get() == 20).await;
            async_timeout::sleep(millis(20)).await;
            handle.stop();
            let begin = Instant::now();
            until(|| commands.running.get() == 0).await;
            let took = begin.elapsed();
            for mut client in clients {
                assert!(client.read_to_end(&mut Vec::new()).await.is_err(), "an error, not a short success");
            }
            took
        });
        assert_eq!((report.aborted, commands.dropped.get()), (20, 20));
        assert!(took >= limit && took < limit * 3, "{took:?}");
    }
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default()).shutdown_timeout(HOUR);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"s").await.unwrap();
        until(|| handle.stats().active == 1).await;
        handle.stop();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"s");
    });
    assert_eq!(report.served + report.closed_idle, 1);
}

/// Every command at every point of a server's life, from inside of a handler, beside it and from another thread: the server
/// ends, each connection is counted, nothing hangs.
#[test]
fn commands_at_every_point() {
    type Command = fn(&ServerHandle);
    let commands: [(&str, Command); 5] = [
        ("stop", ServerHandle::stop),
        ("stop now", ServerHandle::stop_now),
        ("abort", ServerHandle::abort),
        ("stop and abort", |handle| {
            handle.stop();
            handle.abort();
        }),
        ("abort, stop, resume", |handle| {
            handle.abort();
            handle.stop();
            handle.resume();
        }),
    ];
    for (name, command) in commands {
        for place in
            ["before the first poll", "beside", "on a thread", "in a handler", "in the drop of a handler", "in a hook"]
        {
            let (mut runtime, listener, address) = listening();
            let own = Rc::new(RefCell::new(None::<ServerHandle>));
            let (of_handler, of_hook) = (Rc::clone(&own), Rc::clone(&own));
            let handler = move |mut connection: Connection| {
                let own = Rc::clone(&of_handler);
                async move {
                    let _on_drop = (place == "in the drop of a handler").then(|| {
                        let own = Rc::clone(&own);
                        tests::OnDrop(move || command(own.borrow().as_ref().unwrap()))
                    });
                    let mut byte = [0];
                    connection.read_exact(&mut byte).await?;
                    if place == "in a handler" {
                        command(own.borrow().as_ref().unwrap());
                    }
                    connection.write_all(&byte).await
                }
            };
            let server = Server::builder().listen(listener, handler).shutdown_timeout(HOUR).on_event(move |event| {
                if let (Event::Accepted { .. }, "in a hook") = (event, place) {
                    command(of_hook.borrow().as_ref().unwrap());
                }
            });
            let handle = server.handle();
            own.replace(Some(server.handle()));
            let spawner = runtime.spawner();
            let serve = server.serve(&spawner);
            if place == "before the first poll" {
                command(&handle);
            }
            let clients = async {
                match place {
                    "beside" => command(&handle),
                    "on a thread" => {
                        let handle = handle.clone();
                        later(move || command(&handle));
                    }
                    _ => {}
                }
                // Whether it is served depends on the command.
                let _ = ask(address, b"x").await;
            };
            let _watchdog = tests::watchdog(tests::TIME);
            let (report, ()) = runtime.run_until(join(serve, clients)).unwrap();
            let report = report.unwrap();
            assert_eq!((report.ended(), report.active), (report.accepted, 0), "{name} {place} {report}");
            assert!(!handle.is_ready() && spawner.live_tasks() == 0);
        }
    }
}

/// During the delay of a stop, the server accepts and serves as before, but is not ready; an abort or a stop without a delay
/// cuts the delay.
#[test]
fn the_delay() {
    for cut in [false, true] {
        let (mut runtime, listener, address) = listening();
        let delay = if cut { HOUR } else { millis(100) };
        let server = Server::builder().listen(listener, Commands::default()).drain_delay(delay);
        let handle = server.handle();
        let (report, ()) = serve_in(&mut runtime, server, async {
            let mut client = TcpStream::connect(address).await.unwrap();
            order(&mut client, b'e').await.unwrap();
            handle.stop();
            let begin = Instant::now();
            assert!(!handle.is_ready());
            let mut new = TcpStream::connect(address).await.unwrap();
            for client in [&mut client, &mut new] {
                order(client, b'e').await.unwrap();
            }
            if cut {
                handle.stop_now();
            }
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            assert!(cut || begin.elapsed() >= delay);
        });
        assert_eq!(report.closed_idle, 2);
    }
}

/// The shutdown signal: ready at once, ready later, a token, never ready, panicking.
#[test]
fn shutdown_signals() {
    let token = async_timeout::CancelToken::new();
    for kind in ["at once", "later", "token", "panic"] {
        let (mut runtime, listener, address) = listening();
        let told = Rc::new(Cell::new(false));
        let log = Rc::clone(&told);
        let server = Server::builder().listen(listener, Commands::default()).on_event(move |event| {
            if let Event::ShutdownPanicked { message, .. } = event {
                assert_eq!(*message, "on purpose");
                log.set(true);
            }
        });
        let server = match kind {
            "at once" => server.shutdown(ready(7)),
            "later" => server.shutdown(async_timeout::sleep(millis(20))),
            "token" => server.shutdown(token.cancelled()),
            _ => server.shutdown(async {
                async_timeout::sleep(millis(5)).await;
                panic!("on purpose")
            }),
        };
        let handle = server.handle();
        serve_in(&mut runtime, server, async {
            if kind == "token" {
                ask(address, b"c").await.unwrap();
                token.cancel();
            }
            until(|| !handle.is_ready()).await;
        });
        assert_eq!(told.get(), kind == "panic");
    }
    // The signal begins the delay: the server serves, but is not ready.
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default()).drain_delay(HOUR).shutdown(ready(()));
    let handle = server.handle();
    serve_in(&mut runtime, server, async {
        assert_eq!(ask(address, b"c").await.unwrap(), b"c");
        assert!(!handle.is_ready());
        assert_eq!(ask(address, b"c").await.unwrap(), b"c");
        handle.stop_now();
    });
    let (mut runtime, listener, _) = listening();
    let server = Server::builder().listen(listener, Commands::default()).shutdown(pending::<()>());
    let handle = server.handle();
    serve_in(&mut runtime, server, async {
        async_timeout::sleep(millis(20)).await;
        assert!(handle.is_ready());
        handle.stop();
    });
}

/// A connection lingers when the server aborts: the abort ends the lingering, and the connection counts as what it was.
#[test]
fn an_abort_ends_lingering() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default()).linger(1 << 20, HOUR);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut client = TcpStream::connect(address).await.unwrap();
        order(&mut client, b'c').await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        handle.stop();
        async_timeout::sleep(millis(20)).await;
        assert_eq!(handle.stats().active, 1);
        handle.abort();
        until(|| handle.stats().active == 0).await;
    });
    assert_eq!((report.served, report.aborted), (1, 0));
}

/// A connection that its handler has given away hears of an abort, too: by its token, and by the errors of its operations.
#[test]
fn an_abort_is_heard() {
    let (mut runtime, listener, address) = listening();
    let given = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&given);
    let server = Server::builder().listen(listener, move |connection: Connection| {
        slot.replace(Some(connection));
        async {}
    });
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let client = TcpStream::connect(address).await.unwrap();
        until(|| given.borrow().is_some()).await;
        let mut connection = given.take().unwrap();
        handle.abort();
        connection.stopping().cancelled().await;
        assert!(connection.write_all(b"x").await.is_err());
        drop(client);
    });
    assert_eq!(report.aborted, 1);
}

/// While a handler is busy, it can ask whether the server stops, and wait for it.
#[test]
fn handlers_hear_of_the_stop() {
    let (mut runtime, listener, address) = listening();
    let handler = async |mut connection: Connection| {
        assert!(!connection.is_stopping());
        connection.write_all(b"waiting ").await?;
        connection.stopping().cancelled().await;
        // The handler's token is its own: cancelling it stops nothing else.
        assert!(connection.is_stopping());
        connection.write_all(b"bye").await
    };
    let server = Server::builder().listen(listener, handler);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let stop = async {
            until(|| handle.stats().active == 3).await;
            handle.stop();
        };
        let ask = || ask(address, b"");
        let (answers, ()) = join(join_all([ask(), ask(), ask()]), stop).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap() == b"waiting bye"));
    });
    assert_eq!(report.served, 3);
}

/// The environment variable that makes this program a server that runs by itself.
const SERVER: &str = "TEST_SERVER";

/// A server that runs by itself, for the tests of signals: prints its port, then what it hears.
fn signalled_server(kind: &str) {
    let listener = std::net::TcpListener::bind(LOCALHOST).unwrap();
    println!("port {}", listener.local_addr().unwrap().port());
    let handler = async |mut connection: Connection| {
        while connection.idle().await? == Next::Data {
            let mut byte = [0];
            connection.read_exact(&mut byte).await?;
            if byte == [b'w'] {
                pending::<()>().await;
            }
            if byte == [b'x'] {
                // Its abort takes long.
                let _on_drop = tests::OnDrop(|| std::thread::sleep(HOUR));
                pending::<()>().await;
            }
            connection.write_all(&byte).await?;
        }
        std::io::Result::Ok(())
    };
    let delay = if kind == "delay" { HOUR } else { Duration::ZERO };
    let server = Server::builder().listen(listener, handler).drain_delay(delay).shutdown_timeout(HOUR);
    println!("report {:?}", server.run().unwrap());
}

/// A process with a server.
struct Process {
    child: std::process::Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
    address: SocketAddr,
}

impl Process {
    /// Starts this program again, as a server.
    fn start(kind: &str) -> Self {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "signals_stop_a_server_that_runs_by_itself", "--nocapture", "--test-threads=1"])
            .env(SERVER, kind)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let port = Self::line(&mut lines, "port ").parse().unwrap();
        Self { child, lines, address: (LOCALHOST.0, port).into() }
    }

    /// Returns the rest of the next line with `start`.
    fn line(lines: &mut impl Iterator<Item = std::io::Result<String>>, start: &str) -> String {
        lines.find_map(|line| line.unwrap().split_once(start).map(|(_, rest)| rest.to_owned())).expect(start)
    }

    /// Connects a client, and sends a byte that comes back.
    fn client(&self) -> std::net::TcpStream {
        let mut client = std::net::TcpStream::connect(self.address).unwrap();
        client.write_all(b"e").unwrap();
        client.read_exact(&mut [0]).unwrap();
        client
    }

    /// Sends a signal.
    fn signal(&self, number: i32) {
        tests::send_signal(self.child.id(), number).unwrap();
        std::thread::sleep(millis(100));
    }
}

/// SIGTERM drains, a second signal aborts, a third one has its default action, also while the abort hangs; SIGINT skips the
/// delay of a stop.
#[test]
fn signals_stop_a_server_that_runs_by_itself() {
    if let Some(kind) = std::env::var_os(SERVER) {
        return signalled_server(kind.to_str().unwrap());
    }
    let _watchdog = tests::watchdog(tests::TIME);
    // One signal: an idle connection ends, and so does the server.
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Process::start(if signal == libc::SIGINT { "delay" } else { "" });
        let client = server.client();
        server.signal(signal);
        assert_eq!(read_all(client).as_deref(), Some(&b""[..]));
        let report = Process::line(&mut server.lines, "report ");
        assert!(report.contains("closed_idle: 1"), "{report}");
        server.lines.by_ref().for_each(drop);
        assert!(server.child.wait().unwrap().success());
    }
    // Three signals: the abort hangs, and the third one has its default action.
    let mut server = Process::start("");
    let mut client = server.client();
    client.write_all(b"x").unwrap();
    server.signal(libc::SIGTERM);
    server.signal(libc::SIGTERM);
    assert!(server.child.try_wait().unwrap().is_none(), "the abort hangs");
    server.signal(libc::SIGTERM);
    let status = server.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGTERM));
    // Two signals: a busy connection is aborted, and the report tells.
    for (kind, first) in [("", libc::SIGTERM), ("delay", libc::SIGTERM), ("", libc::SIGINT)] {
        let mut server = Process::start(kind);
        let mut client = server.client();
        client.write_all(b"w").unwrap();
        server.signal(first);
        assert!(server.child.try_wait().unwrap().is_none(), "the first signal waits for the connection");
        server.signal(libc::SIGTERM);
        assert!(read_all(client).is_none(), "a reset");
        let report = Process::line(&mut server.lines, "report ");
        assert!(report.contains("aborted: 1"), "{report}");
        server.lines.by_ref().for_each(drop);
        assert!(server.child.wait().unwrap().success());
    }
}
