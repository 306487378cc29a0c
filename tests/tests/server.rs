//! What a server does with its connections: what they know, how they are counted, what a panic costs, what events tell.
//! Its limits are in `server_limits.rs`, stopping is in `server_stop.rs`.

use async_epoll::{LocalRuntime, Spawner};
use async_net_lite::server::{Address, Connection, Event, Next, Outcome, Server};
use async_net_lite::unix::{UnixListener, UnixStream};
use async_net_lite::{TcpListener, TcpStream};
use futures::future::{join_all, pending};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tests::common::servers::{Commands, ask, listening, order, serve_in, until};
use tests::{LOCALHOST, abstract_name, later, millis};

/// One server with a TCP listener, one of std, and a Unix listener: each connection goes to the handler of its listener, knows
/// its peer and its number, and all are counted together.
#[test]
fn several_listeners_of_several_kinds() {
    let (mut runtime, tcp, address) = listening();
    let std = std::net::TcpListener::bind(LOCALHOST).unwrap();
    let second = std.local_addr().unwrap();
    let name = abstract_name("server");
    let unix = runtime.run_until(async { UnixListener::bind_addr(&name) }).unwrap().unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let handler = |letter: u8| {
        let seen = Rc::clone(&seen);
        move |mut connection: Connection| {
            seen.borrow_mut().push((letter, connection.listener(), connection.id(), connection.peer().clone()));
            assert_eq!(connection.tcp().is_some(), connection.peer().ip().is_some());
            assert_eq!(connection.unix().is_some(), connection.peer().ip().is_none());
            assert!(connection.local_addr().is_ok());
            async move { connection.write_all(&[letter]).await }
        }
    };
    let server = Server::builder().listen(tcp, handler(b'a')).listen(std, handler(b'b')).listen(unix, handler(b'c'));
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        assert_eq!(ask(address, b"").await.unwrap(), b"a");
        assert_eq!(ask(second, b"").await.unwrap(), b"b");
        let mut answer = Vec::new();
        UnixStream::connect_addr(&name).await.unwrap().read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"c");
        handle.stop();
    });
    assert_eq!((report.accepted, report.served), (3, 3));
    let seen = seen.take();
    let facts: Vec<_> = seen.iter().map(|(letter, listener, id, _)| (*letter, *listener, *id)).collect();
    assert_eq!(facts, [(b'a', 0, 0), (b'b', 1, 1), (b'c', 2, 2)]);
    assert!(seen[..2].iter().all(|(.., peer)| peer.ip() == Some(LOCALHOST.0.into())));
    assert!(matches!(&seen[2].3, Address::Unix(peer) if peer.is_unnamed()));
}

/// Each way in which a handler can end has its number in the report, and the connections beside are not disturbed.
#[test]
fn each_end_is_counted() {
    let (mut runtime, listener, address) = listening();
    let commands = Commands::default();
    let server = Server::builder().listen(listener, commands.clone()).shutdown_timeout(millis(50));
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut steady = TcpStream::connect(address).await.unwrap();
        for (command, is_whole) in [(b'c', true), (b'f', true), (b'p', false), (b'd', false)] {
            order(&mut steady, b'e').await.unwrap();
            let answer = ask(address, &[command]).await;
            assert_eq!(answer.is_ok(), is_whole, "{}: {answer:?}", command.escape_ascii());
        }
        // One that waits for ever, one that is idle, one that its client has ended.
        let mut waiting = TcpStream::connect(address).await.unwrap();
        waiting.write_all(b"w").await.unwrap();
        drop(TcpStream::connect(address).await.unwrap());
        until(|| handle.stats().served == 2).await;
        order(&mut steady, b'e').await.unwrap();
        handle.stop();
        assert_eq!(steady.read(&mut [0]).await.unwrap(), 0);
        assert!(waiting.read(&mut [0]).await.is_err(), "an aborted connection is reset");
    });
    let numbers = (report.accepted, report.served, report.failed, report.panicked, report.aborted, report.closed_idle);
    assert_eq!(numbers, (7, 2, 1, 2, 1, 1), "{report}");
    assert_eq!((commands.running.get(), commands.dropped.get()), (0, 7));
}

/// A handler that panics when it is called, in a poll or when its future is dropped costs its own connection: the permit comes
/// back, and no task of the pool has panicked.
#[test]
fn panics_cost_one_connection() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("in the drop, on purpose");
            }
        }
    }
    let (mut runtime, listener, address) = listening();
    let handler = |mut connection: Connection| {
        if connection.id() % 4 == 0 {
            panic!("when called, on purpose");
        }
        async move {
            let _bomb = (connection.id() % 4 == 1).then(|| Bomb);
            let mut answer = if connection.id() % 4 == 2 { panic!("in a poll, on purpose") } else { b"whole".to_vec() };
            answer.resize(100_000, b'!');
            connection.write_all(&answer).await
        }
    };
    let server = Server::builder().listen(listener, handler).max_connections(1);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        for number in 0..40 {
            let answer = ask(address, b"").await;
            // The bomb goes off after a whole answer, but then the server cannot know that it was whole.
            assert_eq!(answer.is_ok_and(|answer| answer.len() == 100_000), number % 4 == 3, "{number}");
        }
        handle.stop();
    });
    assert_eq!((report.panicked, report.served, report.peak), (30, 10, 1));
    assert_eq!(runtime.handle().stats().task_panics, 0);
}

/// The future of a handler panics when it is dropped: after it was ready, with and without an error, when the server aborts it,
/// and when its pool is dropped. The connection is counted once, and no panic goes further.
#[test]
fn futures_that_panic_when_they_are_dropped() {
    struct Work(Connection, Option<Result<(), &'static str>>);
    impl Future for Work {
        type Output = Result<(), &'static str>;
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
            self.1.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        }
    }
    impl Drop for Work {
        fn drop(&mut self) {
            let _connection = &self.0;
            panic!("in the drop, on purpose");
        }
    }
    for result in [Some(Ok(())), Some(Err("failed")), None] {
        let (mut runtime, listener, address) = listening();
        let handler = move |connection: Connection| Work(connection, result);
        let server = Server::builder().listen(listener, handler);
        let handle = server.handle();
        let (report, ()) = serve_in(&mut runtime, server, async {
            let mut client = TcpStream::connect(address).await.unwrap();
            until(|| handle.stats().accepted == 1).await;
            if result.is_none() {
                handle.abort();
            }
            assert!(client.read(&mut [0]).await.is_err(), "a reset");
            handle.stop();
        });
        assert_eq!((report.panicked, runtime.handle().stats().task_panics), (1, 0), "{report}");
    }
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, |connection: Connection| Work(connection, None));
    let handle = server.handle();
    let serve = server.serve(&runtime.spawner());
    runtime.spawner().spawn(async { drop(serve.await) }).unwrap();
    let client = std::net::TcpStream::connect(address).unwrap();
    runtime.run_until(until(|| handle.stats().accepted == 1)).unwrap();
    drop(runtime);
    assert_eq!((handle.stats().ended(), handle.stats().aborted), (1, 1));
    drop(client);
}

/// A panic while the server drains: the drain ends, and the answer of the other connection is whole.
#[test]
fn a_panic_while_draining() {
    for command in [b'p', b'd'] {
        let (mut runtime, listener, address) = listening();
        let server = Server::builder().listen(listener, Commands::default());
        let handle = server.handle();
        let (report, ()) = serve_in(&mut runtime, server, async {
            let (mut bad, mut good) =
                (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
            good.write_all(b"s").await.unwrap();
            bad.write_all(&[b's', command]).await.unwrap();
            async_timeout::sleep(millis(5)).await;
            handle.stop();
            let mut answer = Vec::new();
            good.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"s");
        });
        // Under load, the good one may be idle already when the server stops.
        assert_eq!((report.panicked, report.served + report.closed_idle), (1, 1), "{report}");
    }
}

/// A connection that its handler gives away counts until it is dropped, detached or not. It hears of the stop, and the deadline
/// aborts it.
#[test]
fn connections_that_outlive_their_handler() {
    for is_detached in [true, false] {
        for hears in [true, false] {
            let (mut runtime, listener, address) = listening();
            let given = Rc::new(RefCell::new(None));
            let slot = Rc::clone(&given);
            let handler = move |mut connection: Connection| {
                if is_detached {
                    connection.detach();
                }
                slot.replace(Some(connection));
                async {}
            };
            let server = Server::builder().listen(listener, handler).max_connections(1).shutdown_timeout(millis(100));
            // A lingering connection would keep its place.
            let server = server.linger(0, millis(0));
            let handle = server.handle();
            let (report, ()) = serve_in(&mut runtime, server, async {
                let mut client = TcpStream::connect(address).await.unwrap();
                until(|| given.borrow().is_some()).await;
                assert_eq!(handle.stats().active, 1);
                let mut connection = given.take().unwrap();
                let mut second = TcpStream::connect(address).await.unwrap();
                connection.write_all(b"x").await.unwrap();
                client.read_exact(&mut [0]).await.unwrap();
                assert_eq!(handle.stats().active, 1, "the second client waits");
                drop(connection);
                // The place is free at once.
                until(|| given.borrow().is_some()).await;
                let mut connection = given.take().unwrap();
                handle.stop();
                connection.stopping().cancelled().await;
                if hears {
                    connection.write_all(b"bye").await.unwrap();
                    drop(connection);
                    let mut answer = Vec::new();
                    second.read_to_end(&mut answer).await.unwrap();
                    assert_eq!(answer, b"bye");
                } else {
                    // In a task of its own, which nothing polls but the end of its wait.
                    let read = async move {
                        let error = connection.read(&mut [0]).await;
                        (connection, error)
                    };
                    let read = Spawner::current().unwrap().spawn_task(read).unwrap();
                    let (mut connection, error) = read.await.unwrap();
                    // A new connection without a byte is idle, and is told to end; a detached one is not.
                    match is_detached {
                        true => assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ConnectionAborted),
                        false => assert_eq!(error.unwrap(), 0),
                    }
                    until(|| handle.stats().active == 0).await;
                    let error = connection.write(b"x").await.unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
                }
            });
            let aborted = u64::from(!hears);
            assert_eq!((report.served, report.aborted), (2 - aborted, aborted), "{is_detached} {hears} {report}");
        }
    }
}

/// The limits of requests do not count for a detached connection, and one without a byte is not taken for a new one.
#[test]
fn a_detached_connection_has_no_limits_of_requests() {
    let (mut runtime, listener, address) = listening();
    let limit = millis(20);
    let handler = async |mut connection: Connection| {
        connection.detach();
        let mut byte = [0];
        connection.read_exact(&mut byte).await?;
        connection.write_all(&byte).await
    };
    let server = Server::builder()
        .listen(listener, handler)
        .first_byte_timeout(limit)
        .idle_timeout(limit)
        .min_rate(1000, limit)
        .soft_limit(0, millis(0));
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut client = TcpStream::connect(address).await.unwrap();
        async_timeout::sleep(limit * 5).await;
        // Makes the server look for a connection to shed.
        let other = TcpStream::connect(address).await.unwrap();
        until(|| handle.stats().accepted == 2).await;
        drop(other);
        handle.stop();
        async_timeout::sleep(limit).await;
        order(&mut client, b'x').await.unwrap();
    });
    assert_eq!((report.served, report.failed), (1, 1), "{report}");
}

/// Listeners take turns: a busy one does not keep the clients of another waiting.
#[test]
fn listeners_take_turns() {
    let (mut runtime, listener, busy) = listening();
    let other = std::net::TcpListener::bind(LOCALHOST).unwrap();
    let quiet = other.local_addr().unwrap();
    let order = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&order);
    let server = Server::builder()
        .listen(listener, Commands::default())
        .listen(other, Commands::default())
        .max_connections(1)
        .on_event(move |event| {
            if let Event::Accepted { listener, .. } = event {
                log.borrow_mut().push(*listener);
            }
        });
    let connect = |address| {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut client, b"c").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        client
    };
    let clients: Vec<_> = (0..40).map(|number| connect(if number < 36 { busy } else { quiet })).collect();
    let handle = server.handle();
    serve_in(&mut runtime, server, async {
        until(|| handle.stats().served == 40).await;
        handle.stop();
    });
    let last = order.borrow().iter().rposition(|listener| *listener == 1).unwrap();
    assert!(last < 10, "{:?}", order.borrow());
    drop(clients);
}

/// What a wait for a request returns. It takes no byte, and a second wait returns the same.
#[test]
fn what_idle_returns() {
    let (mut runtime, listener, address) = listening();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let handler = move |mut connection: Connection| {
        let log = Rc::clone(&log);
        async move {
            loop {
                let next = connection.idle().await.unwrap();
                // A second look, of a byte that is still there.
                assert_eq!(connection.idle().await.unwrap(), next);
                log.borrow_mut().push(next);
                if next != Next::Data {
                    return;
                }
                let mut buffer = [0; 16];
                let len = connection.read(&mut buffer).await.unwrap();
                connection.write_all(&buffer[..len]).await.unwrap();
            }
        }
    };
    let server = Server::builder().listen(listener, handler);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut client = TcpStream::connect(address).await.unwrap();
        for _ in 0..3 {
            order(&mut client, b'x').await.unwrap();
            async_timeout::sleep(millis(2)).await;
        }
        client.close().await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        let mut other = TcpStream::connect(address).await.unwrap();
        order(&mut other, b'x').await.unwrap();
        handle.stop();
        assert_eq!(other.read(&mut [0]).await.unwrap(), 0);
    });
    use Next::{Data, End, Stopping};
    assert_eq!(*seen.borrow(), [Data, Data, Data, End, Data, Stopping]);
    assert_eq!((report.served, report.closed_idle), (1, 1));
}

/// The events of a connection come in order, each once, and a hook that panics disturbs nothing.
#[test]
fn events_tell_what_happens() {
    for panics in [false, true] {
        let (mut runtime, listener, address) = listening();
        let told = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&told);
        // Without lingering, a connection ends before its client sees that.
        let server =
            Server::builder().listen(listener, Commands::default()).linger(0, millis(0)).on_event(move |event| {
                log.borrow_mut().push(match event {
                    Event::Accepted { id, .. } => format!("accepted {id}"),
                    Event::Closed { id, outcome, error, .. } => format!("closed {id} {outcome:?} {}", error.is_some()),
                    Event::HandlerPanicked { id, message, .. } => format!("panicked {id} {message}"),
                    other => format!("{other}"),
                });
                assert!(!panics, "a hook that panics, on purpose");
            });
        let handle = server.handle();
        serve_in(&mut runtime, server, async {
            for command in [b'c', b'f', b'p'] {
                let _ = ask(address, &[command]).await;
            }
            handle.stop();
        });
        let expected = [
            "accepted 0",
            "closed 0 Served false",
            "accepted 1",
            "closed 1 Failed true",
            "accepted 2",
            "panicked 2 in a poll, on purpose",
            "closed 2 Panicked false",
            "stopping",
            "draining",
        ];
        assert_eq!(*told.borrow(), expected, "{panics}");
    }
}

/// Without a listener, without room for a connection, and after a stop, `serve` fails at once and accepts nothing.
#[test]
fn what_cannot_be_served() {
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let listener = || std::net::TcpListener::bind(LOCALHOST).unwrap();
    let handler = |_: Connection| pending::<()>();
    let none = Server::builder();
    let no_room = Server::builder().listen(listener(), handler).max_connections(0);
    let stopped = Server::builder().listen(listener(), handler);
    stopped.handle().stop();
    for (server, kind) in
        [(none, io::ErrorKind::InvalidInput), (no_room, io::ErrorKind::InvalidInput), (stopped, io::ErrorKind::Other)]
    {
        let handle = server.handle();
        let error = runtime.run_until(server.serve(&spawner)).unwrap().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!handle.is_ready() && handle.stats().accepted == 0);
    }
}

/// Dropping the future of a server closes its listener and aborts its connections. Dropping the pool does the latter, too.
#[test]
fn a_server_that_is_dropped() {
    let (mut runtime, listener, address) = listening();
    let commands = Commands::default();
    let server = Server::builder().listen(listener, commands.clone());
    let handle = server.handle();
    let spawner = runtime.spawner();
    let mut client = runtime
        .run_until(async {
            let mut serve = Box::pin(server.serve(&spawner));
            let connect = async {
                let mut client = TcpStream::connect(address).await.unwrap();
                order(&mut client, b'e').await.unwrap();
                client
            };
            match futures::future::select(&mut serve, Box::pin(connect)).await {
                futures::future::Either::Left(_) => panic!("the server has ended"),
                futures::future::Either::Right((client, _)) => client,
            }
        })
        .unwrap();
    assert!(!handle.is_ready());
    assert_eq!(commands.running.get(), 1);
    runtime
        .run_until(async {
            assert!(client.read(&mut [0]).await.is_err(), "a reset");
            assert!(TcpStream::connect(address).await.is_err());
        })
        .unwrap();
    assert_eq!((handle.stats().aborted, handle.stats().active, commands.running.get()), (1, 0, 0));

    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, commands.clone());
    let handle = server.handle();
    let client = std::net::TcpStream::connect(address).unwrap();
    let serve = server.serve(&runtime.spawner());
    runtime.spawner().spawn(async { drop(serve.await) }).unwrap();
    runtime.run_until(until(|| commands.running.get() == 1)).unwrap();
    drop(runtime);
    assert_eq!((handle.stats().aborted, handle.stats().active, commands.running.get()), (1, 0, 0));
    drop(client);
}

/// A limit of one connection and a thousand clients, one after the other and all at once: each is served, and the greatest
/// number of connections is exactly one.
#[test]
fn a_limit_of_one() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default()).max_connections(1);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        for _ in 0..500 {
            assert_eq!(ask(address, b"c").await.unwrap(), b"c");
        }
        for answer in join_all((0..100).map(|_| ask(address, b"c"))).await {
            assert_eq!(answer.unwrap(), b"c");
        }
        handle.stop();
    });
    assert_eq!((report.served, report.peak, report.refused), (600, 1, 0));
}

/// The limit is lowered while the server is full: nothing is aborted and nothing accepted until enough have ended. Raising it
/// lets the waiting ones in at once.
#[test]
fn the_limit_changes() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default()).max_connections(4);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        until(|| handle.stats().active == 4).await;
        handle.set_max_connections(2);
        for client in &mut clients[..4] {
            order(client, b'e').await.unwrap();
        }
        for left in [3, 2] {
            drop(clients.remove(0));
            until(|| handle.stats().active == left).await;
            async_timeout::sleep(millis(5)).await;
            assert_eq!((handle.stats().active, handle.stats().accepted), (left, 4));
        }
        drop(clients.remove(0));
        until(|| handle.stats().accepted == 5).await;
        handle.set_max_connections(100);
        until(|| handle.stats().accepted == 8).await;
        handle.stop();
    });
    assert_eq!(report.peak, 5, "{report}");
}

/// A paused server accepts nothing and is not ready; its connections are served. Also by another thread.
#[test]
fn pause_and_resume() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default());
    let handle = server.handle();
    assert!(!handle.is_ready(), "not served yet");
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut client = TcpStream::connect(address).await.unwrap();
        order(&mut client, b'e').await.unwrap();
        assert!(handle.is_ready());
        handle.pause();
        assert!(!handle.is_ready());
        let mut waiting = TcpStream::connect(address).await.unwrap();
        async_timeout::sleep(millis(10)).await;
        order(&mut client, b'e').await.unwrap();
        assert_eq!(handle.stats().accepted, 1);
        let remote = handle.clone();
        later(move || remote.resume());
        order(&mut waiting, b'e').await.unwrap();
        assert!(handle.is_ready());
        // A paused server stops, too.
        handle.pause();
        handle.stop();
        assert!(!handle.is_ready());
        for mut client in [client, waiting] {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
    });
    assert_eq!((report.accepted, report.closed_idle), (2, 2));
}

/// An early answer, and the client goes on sending: the whole answer arrives, and no reset destroys it.
#[test]
fn an_early_answer_is_read_whole() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default()).linger(4 << 20, millis(5000));
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut client = TcpStream::connect(address).await.unwrap();
        // The command, and a megabyte that the handler does not read.
        let mut upload = vec![0; 1 << 20];
        upload[0] = b'l';
        client.write_all(&upload).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, [b'l'; 1024]);
        drop(client);
        until(|| handle.stats().served == 1).await;
        handle.stop();
    });
    assert_eq!(report.served, 1);
}

/// Without lingering, the same answer is destroyed: the test above tests something.
#[test]
fn without_lingering_a_reset_destroys_the_answer() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default()).linger(0, millis(5000));
    let handle = server.handle();
    serve_in(&mut runtime, server, async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"l and more that is not read").await.unwrap();
        assert!(client.read_to_end(&mut Vec::new()).await.is_err());
        handle.stop();
    });
}

/// A lingering connection counts against the limit, until the peer has closed, or the bytes or the time are used up.
#[test]
fn lingering_is_limited() {
    for (bytes, time, closes) in
        [(1 << 20, millis(60_000), true), (100, millis(60_000), false), (1 << 20, millis(50), false)]
    {
        let (mut runtime, listener, address) = listening();
        let server = Server::builder().listen(listener, Commands::default()).max_connections(1).linger(bytes, time);
        let handle = server.handle();
        serve_in(&mut runtime, server, async {
            let mut client = TcpStream::connect(address).await.unwrap();
            order(&mut client, b'c').await.unwrap();
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the server has closed its direction");
            let mut waiting = TcpStream::connect(address).await.unwrap();
            async_timeout::sleep(millis(10)).await;
            assert_eq!(handle.stats().active, 1, "it lingers");
            assert_eq!(handle.stats().accepted, 1);
            client.write_all(&[0; 50]).await.unwrap();
            if closes {
                drop(client);
            } else {
                client.write_all(&[0; 50]).await.unwrap();
            }
            order(&mut waiting, b'e').await.unwrap();
            assert_eq!(handle.stats().served, 1);
            handle.stop();
        });
    }
}

/// A closure with state, an async closure, and a function; returning nothing, or any error.
#[test]
fn what_can_be_a_handler() {
    async fn function(connection: Connection) -> Result<(), String> {
        Err(format!("connection {} failed", connection.id()))
    }
    let (mut runtime, listener, address) = listening();
    let others: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind(LOCALHOST).unwrap()).collect();
    let addresses: Vec<SocketAddr> = others.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let mut others = others.into_iter();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&outcomes);
    let server = Server::builder()
        .listen(listener, function)
        .listen(others.next().unwrap(), async |_: Connection| {})
        .listen(others.next().unwrap(), move |_: Connection| {
            count.set(count.get() + 1);
            async { Err::<(), Box<dyn std::error::Error>>("boxed".into()) }
        })
        .listen(others.next().unwrap(), async |_: Connection| io::Result::Ok(()))
        .on_event(move |event| {
            if let Event::Closed { outcome, error, .. } = event {
                log.borrow_mut().push((*outcome, error.map(ToString::to_string)));
            }
        });
    let handle = server.handle();
    serve_in(&mut runtime, server, async {
        assert_eq!(ask(address, b"").await.unwrap(), b"");
        for address in addresses {
            assert_eq!(ask(address, b"").await.unwrap(), b"");
        }
        handle.stop();
    });
    let failed = |text: &str| (Outcome::Failed, Some(text.to_owned()));
    let expected = [failed("connection 0 failed"), (Outcome::Served, None), failed("boxed"), (Outcome::Served, None)];
    assert_eq!(*outcomes.borrow(), expected);
    assert_eq!(calls.get(), 1);
}

/// A server of its own thread, with listeners of std and of another reactor.
#[test]
fn a_server_runs_by_itself() {
    let (runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, Commands::default());
    let handle = server.handle();
    let client = std::thread::spawn(move || {
        let answer = async_epoll::block_on(ask(address, b"c")).unwrap().unwrap();
        handle.stop();
        answer
    });
    let report = server.run().unwrap();
    assert_eq!((report.accepted, report.served), (1, 1));
    assert_eq!(client.join().unwrap(), b"c");
    drop(runtime);
}

/// A listener that fails for good stops the server, which returns its error. Connections of the others are served to the end.
#[test]
fn a_listener_that_fails() {
    let (mut runtime, listener, address) = listening();
    // A TCP socket that does not listen: accepting is `EINVAL`.
    let broken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    broken.bind(&SocketAddr::from((LOCALHOST.0, 0)).into()).unwrap();
    let broken = std::net::TcpListener::from(broken);
    let server = Server::builder().listen(listener, Commands::default()).listen(broken, Commands::default());
    let server = server.linger(1000, millis(50));
    let handle = server.handle();
    let mut client = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut client, b"s").unwrap();
    let spawner = runtime.spawner();
    let error = runtime.run_until(server.serve(&spawner)).unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut client, &mut answer).unwrap();
    assert_eq!(answer, b"s");
    assert_eq!((handle.stats().accepted, handle.stats().ended()), (1, 1));
    assert!(runtime.run_until(TcpListener::bind(address)).unwrap().is_ok(), "the good listener is closed");
}
