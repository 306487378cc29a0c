//! TCP fast open in every state of the cookie: the kernel puts off the handshake until the first write, or not, and the
//! user sees no difference.
//!
//! Ignored by default: the tests change `/proc/sys/net`, so they run in a network namespace of their own, by the program
//! `unshare`. `.ci/run` runs them with `cargo test -p tests --test fast_open -- --ignored`. The kernel keeps cookies by the
//! address of the server; so each case has an address of its own in 127.0.0.0/8.

use async_epoll::{Handle, Interest};
use async_net_lite::{ConnectOptions, ListenOptions, TcpListener, TcpStream, copy_bidirectional};
use async_timeout::{TimeoutExt, sleep};
use futures::future::{FutureExt, LocalBoxFuture};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use std::cell::Cell;
use std::fs;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};
use tests::common::block_on;
use tests::{in_own_network, noise, thread_cpu};

/// The bits of `/proc/sys/net/ipv4/tcp_fastopen`.
const CLIENT: u32 = 1;
const SERVER: u32 = 2;
/// The client sends data without a cookie.
const WITHOUT_COOKIE: u32 = 4;
/// The server takes it.
const TAKES_WITHOUT_COOKIE: u32 = 0x200;

/// Writes a setting of this network namespace.
fn set(name: &str, value: impl ToString) {
    fs::write(format!("/proc/sys/net/ipv4/{name}"), value.to_string())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// Changes the key by which servers make cookies, so that all cookies become invalid.
fn change_key() {
    thread_local!(static NUMBER: Cell<u32> = const { Cell::new(0) });
    NUMBER.set(NUMBER.get() + 1);
    set("tcp_fastopen_key", format!("00000000-00000000-00000000-{:08x}", NUMBER.get()));
}

/// Returns a counter of `/proc/net/netstat`.
fn counter(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let column = names.split_whitespace().position(|column| column == name).unwrap_or_else(|| panic!("no {name}"));
    values.split_whitespace().nth(column).unwrap().parse().unwrap()
}

/// Returns an address that no case has had.
fn new_address() -> SocketAddr {
    thread_local!(static NUMBER: Cell<u16> = const { Cell::new(256) });
    NUMBER.set(NUMBER.get() + 1);
    let [high, low] = NUMBER.get().to_be_bytes();
    (Ipv4Addr::new(127, 1, high, low), 0).into()
}

/// What the client knows when it connects, and what happens until its first write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cookie {
    /// Fast open is off, for this host as a client.
    Off,
    /// The client has none: it asks for one.
    None,
    /// A valid cookie.
    Valid,
    /// The server accepts clients without a cookie.
    NotNeeded,
    /// There is a cookie when connecting, and none at the first write.
    Expired,
    /// The server does not accept the cookie any more.
    Refused,
    /// The server has stopped to offer fast open.
    ServerWithout,
}

const COOKIES: [Cookie; 7] = [
    Cookie::Off,
    Cookie::None,
    Cookie::Valid,
    Cookie::NotNeeded,
    Cookie::Expired,
    Cookie::Refused,
    Cookie::ServerWithout,
];

impl Cookie {
    /// Returns whether the kernel puts off the handshake.
    fn defers(self) -> bool {
        !matches!(self, Self::Off | Self::None)
    }

    /// Returns a listener and a stream in this state.
    async fn connect(self, backlog: u32) -> (TcpListener, TcpStream) {
        set("tcp_fastopen", CLIENT | SERVER);
        let options = ConnectOptions::new().fastopen(true);
        let listen = ListenOptions::new().fastopen(16).backlog(backlog).reuse_port(true);
        let mut listener = listen.bind(new_address()).await.unwrap();
        let address = listener.local_addr().unwrap();
        if matches!(self, Self::Valid | Self::Refused | Self::ServerWithout) {
            // The first connection asks for a cookie.
            let mut client = options.connect(address).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            client.write_all(b"x").await.unwrap();
            client.close().await.unwrap();
            server.read_to_end(&mut Vec::new()).await.unwrap();
        }
        match self {
            Self::Off => set("tcp_fastopen", SERVER),
            Self::NotNeeded => set("tcp_fastopen", CLIENT | SERVER | WITHOUT_COOKIE | TAKES_WITHOUT_COOKIE),
            Self::Expired => set("tcp_fastopen", CLIENT | SERVER | WITHOUT_COOKIE),
            Self::Refused => change_key(),
            Self::ServerWithout => {
                drop(listener);
                listener = ListenOptions::new().backlog(backlog).bind(address).await.unwrap();
            }
            Self::None | Self::Valid => {}
        }
        let client = options.connect(address).await.unwrap();
        assert_eq!(client.peer_addr().is_err(), self.defers(), "{self:?}");
        if self == Self::Expired {
            set("tcp_fastopen", CLIENT | SERVER);
        }
        (listener, client)
    }
}

/// What the client does first. Returns what the server must receive.
type Act = (&'static str, for<'a> fn(&'a mut TcpStream) -> LocalBoxFuture<'a, Vec<u8>>);

/// Acts of a client that speaks first, or never. The client is then closed.
const SPEAK: [Act; 9] = [
    ("write", |client| {
        async {
            assert_eq!(client.write(b"hello").await.unwrap(), 5);
            b"hello".to_vec()
        }
        .boxed_local()
    }),
    ("write_vectored", |client| {
        async {
            let slices = [IoSlice::new(b""), IoSlice::new(b"hel"), IoSlice::new(b"lo")];
            assert_eq!(client.write_vectored(&slices).await.unwrap(), 5);
            b"hello".to_vec()
        }
        .boxed_local()
    }),
    ("large", |client| {
        async {
            let bytes = noise(17, 3_000_000);
            client.write_all(&bytes).await.unwrap();
            bytes
        }
        .boxed_local()
    }),
    ("large, vectored", |client| {
        async {
            let bytes = noise(18, 1_000_000);
            let slices: Vec<_> = bytes.chunks(70_000).map(IoSlice::new).collect();
            let written = client.write_vectored(&slices).await.unwrap();
            assert!(written > 0);
            client.write_all(&bytes[written..]).await.unwrap();
            bytes
        }
        .boxed_local()
    }),
    ("try_write", |client| {
        async {
            client.writable().await.unwrap();
            loop {
                match client.try_write(b"hello") {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => drop(client.writable().await.unwrap()),
                    result => break assert_eq!(result.unwrap(), 5),
                }
            }
            b"hello".to_vec()
        }
        .boxed_local()
    }),
    ("write_with", |client| {
        async {
            assert_eq!(client.write_with(|mut stream| stream.write(b"hello")).await.unwrap(), 5);
            b"hello".to_vec()
        }
        .boxed_local()
    }),
    ("try_io", |client| {
        async {
            while let Err(error) = client.try_io(Interest::WRITABLE, |mut stream| stream.write(b"hello")) {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                client.writable().await.unwrap();
            }
            b"hello".to_vec()
        }
        .boxed_local()
    }),
    ("nothing written", |_| async { Vec::new() }.boxed_local()),
    ("write of nothing", |client| {
        async {
            assert_eq!(client.write(b"").await.unwrap(), 0);
            Vec::new()
        }
        .boxed_local()
    }),
];

/// Serves one connection: reads to the end, then answers.
async fn serve(listener: &TcpListener) -> Vec<u8> {
    let (mut server, _) = listener.accept().timeout(Duration::from_secs(10)).await.expect("a connection").unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    server.write_all(b"answer").await.unwrap();
    server.close().await.unwrap();
    received
}

/// Found 17: in every state of the cookie, whatever is written first arrives, closing delivers an end of file, and the
/// answer comes.
#[test]
#[ignore = "needs a network namespace"]
fn clients_that_speak_first() {
    if !in_own_network("clients_that_speak_first") {
        return;
    }
    block_on(async {
        let cpu = thread_cpu();
        for cookie in COOKIES {
            let [sent, refused] = ["TCPFastOpenActive", "TCPFastOpenActiveFail"].map(counter);
            for (name, act) in SPEAK {
                let (listener, mut client) = cookie.connect(16).await;
                let answered = async {
                    let expected = act(&mut client).await;
                    client.close().await.unwrap();
                    client.close().await.unwrap();
                    let mut answer = String::new();
                    client.read_to_string(&mut answer).await.unwrap();
                    assert_eq!(answer, "answer", "{cookie:?}, {name}");
                    expected
                };
                let both = futures::future::join(answered, serve(&listener)).timeout(Duration::from_secs(10));
                let (expected, received) = both.await.unwrap_or_else(|_| panic!("{cookie:?}, {name}: hangs"));
                assert!(received == expected, "{cookie:?}, {name}: {} bytes", received.len());
                assert!(listener.accept().now_or_never().is_none(), "{cookie:?}, {name}: a second connection");
            }
            // The states are what they are called: whether bytes went with the first packet, and were taken.
            let [sent, refused] = [counter("TCPFastOpenActive") - sent, counter("TCPFastOpenActiveFail") - refused];
            println!("{cookie:?}: {sent} with data, {refused} refused");
            match cookie {
                Cookie::Valid | Cookie::NotNeeded => assert!(sent >= 7, "{sent}"),
                Cookie::Refused | Cookie::ServerWithout => assert_eq!(sent, 0),
                Cookie::Off | Cookie::None | Cookie::Expired => assert_eq!((sent, refused), (0, 0)),
            }
        }
        assert!(thread_cpu() - cpu < Duration::from_secs(5), "it spins");
    });
}

/// Acts of a client that reads before it writes.
const LISTEN: [Act; 8] = [
    ("clear_ready, then read", |client| {
        async {
            client.writable().await.unwrap();
            client.clear_ready(Interest::READABLE);
            let mut buffer = vec![0; 8];
            client.read_exact(&mut buffer).await.unwrap();
            buffer
        }
        .boxed_local()
    }),
    ("clear_ready of all, then readable", |client| {
        async {
            client.writable().await.unwrap();
            client.clear_ready(Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY | Interest::ERROR);
            client.readable().await.unwrap();
            let mut buffer = vec![0; 8];
            client.read_exact(&mut buffer).await.unwrap();
            buffer
        }
        .boxed_local()
    }),
    ("read", |client| {
        async {
            let mut buffer = vec![0; 8];
            client.read_exact(&mut buffer).await.unwrap();
            buffer
        }
        .boxed_local()
    }),
    ("readable", |client| {
        async {
            client.readable().await.unwrap();
            let mut buffer = vec![0; 8];
            client.read_exact(&mut buffer).await.unwrap();
            buffer
        }
        .boxed_local()
    }),
    ("try_read", |client| {
        async {
            let mut buffer = vec![0; 8];
            while client.try_read(&mut buffer).is_err() {
                client.readable().await.unwrap();
            }
            buffer
        }
        .boxed_local()
    }),
    ("peek", |client| {
        async {
            assert!(client.peek(&mut [0; 8]).await.unwrap() > 0);
            let mut buffer = vec![0; 8];
            client.read_exact(&mut buffer).await.unwrap();
            buffer
        }
        .boxed_local()
    }),
    ("read_with", |client| {
        async {
            let mut buffer = vec![0; 8];
            client.read_with(|mut stream| stream.read(&mut buffer)).await.unwrap();
            buffer
        }
        .boxed_local()
    }),
    ("copy", |client| {
        async {
            // A proxy: its client says nothing, and waits for the greeting.
            let (near, far) = async_net_lite::unix::UnixStream::pair().unwrap();
            let mut buffer = vec![0; 8];
            let read = async {
                (&far).read_exact(&mut buffer).await.unwrap();
                (&far).close().await.unwrap();
            };
            let (copied, ()) = futures::join!(copy_bidirectional(&*client, near), read);
            assert_eq!(copied.unwrap(), (8, 0));
            buffer
        }
        .boxed_local()
    }),
];

/// Found 17: in every state of the cookie, a client that waits for the greeting of the server gets it.
#[test]
#[ignore = "needs a network namespace"]
fn clients_that_listen_first() {
    if !in_own_network("clients_that_listen_first") {
        return;
    }
    block_on(async {
        for cookie in COOKIES {
            for (name, act) in LISTEN {
                let (listener, mut client) = cookie.connect(16).await;
                let greet = async {
                    let (mut server, _) = listener.accept().await.unwrap();
                    server.write_all(b"greeting").await.unwrap();
                    if name == "copy" {
                        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
                        server.close().await.unwrap();
                    }
                };
                let both = futures::future::join(act(&mut client), greet).timeout(Duration::from_secs(10));
                let (received, ()) = both.await.unwrap_or_else(|_| panic!("{cookie:?}, {name}: hangs"));
                assert_eq!(received, b"greeting", "{cookie:?}, {name}");
            }
        }
    });
}

/// Found 17: while the server does not answer (its backlog is full), closing waits for the handshake, so that the bytes
/// of the first packet are not lost; and `shutdown`, which cannot wait, refuses to end the connection.
#[test]
#[ignore = "needs a network namespace"]
fn closing_before_the_server_has_answered() {
    if !in_own_network("closing_before_the_server_has_answered") {
        return;
    }
    block_on(async {
        for (cookie, bytes) in [(Cookie::Valid, &b"hello"[..]), (Cookie::Valid, b""), (Cookie::Expired, b"hello")] {
            let (listener, mut client) = cookie.connect(0).await;
            let address = listener.local_addr().unwrap();
            // The backlog of 0 has room for one connection, which has to be there before the client's first packet.
            let queued = std::net::TcpStream::connect(address).unwrap();
            let shut = client.shutdown(Shutdown::Write).unwrap_err();
            assert!(shut.kind() == ErrorKind::NotConnected && shut.to_string().contains("close()"), "{shut}");
            let begin = Instant::now();
            let close = async {
                client.write_all(bytes).await.unwrap();
                client.close().await.unwrap();
                let waited = begin.elapsed();
                let mut answer = String::new();
                client.read_to_string(&mut answer).await.unwrap();
                assert_eq!(answer, "answer");
                waited
            };
            let serve = async {
                sleep(Duration::from_millis(100)).await;
                drop(listener.accept().await.unwrap());
                serve(&listener).await
            };
            let (waited, received) = futures::join!(close, serve);
            assert_eq!(received, bytes, "{cookie:?}");
            assert!(waited >= Duration::from_millis(100), "{waited:?}: the server had not answered");
            // Connected, it can be closed as any other.
            client.shutdown(Shutdown::Both).unwrap_or_else(|error| assert_eq!(error.kind(), ErrorKind::NotConnected));
            drop(queued);
        }
    });
}

/// Found 17: errors stay errors, at the first write or at the read after it: there is no server any more.
#[test]
#[ignore = "needs a network namespace"]
fn errors_of_a_deferred_connection() {
    if !in_own_network("errors_of_a_deferred_connection") {
        return;
    }
    block_on(async {
        for first in ["write", "read", "close", "drop"] {
            let (listener, mut client) = Cookie::Valid.connect(16).await;
            drop(listener);
            let talk = async {
                match first {
                    "write" => client.write_all(b"x").await?,
                    "close" => client.close().await?,
                    "drop" => return Err(ErrorKind::ConnectionRefused.into()),
                    _ => {}
                }
                client.read(&mut [0]).await
            };
            let error = talk.timeout(Duration::from_secs(10)).await.expect("no hang").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{first}");
            drop(client);
        }
        assert_eq!(Handle::current().unwrap().stats().sources, 0);
    });
}

/// Acts of a client whose handshake the kernel refuses to begin.
type Attempt = (&'static str, for<'a> fn(&'a mut TcpStream) -> LocalBoxFuture<'a, io::Result<()>>);

const ATTEMPTS: [Attempt; 7] = [
    ("write", |client| client.write_all(b"x").boxed_local()),
    ("read", |client| async { client.read(&mut [0]).await.map(drop) }.boxed_local()),
    ("readable", |client| async { client.readable().await.map(drop) }.boxed_local()),
    ("peek", |client| async { client.peek(&mut [0]).await.map(drop) }.boxed_local()),
    ("read_with", |client| {
        async { client.read_with(|mut stream| stream.read(&mut [0])).await.map(drop) }.boxed_local()
    }),
    ("clear_ready, then read", |client| {
        async {
            client.clear_ready(Interest::READABLE);
            client.read(&mut [0]).await.map(drop)
        }
        .boxed_local()
    }),
    ("close", |client| client.close().boxed_local()),
];

/// Found 17: a system that forbids fast open between connecting and the first operation. Each operation gets the error,
/// whatever came before it, and none waits for a server that knows of no connection.
#[test]
#[ignore = "needs a network namespace"]
fn handshakes_that_cannot_begin() {
    if !in_own_network("handshakes_that_cannot_begin") {
        return;
    }
    block_on(async {
        for (first, one) in ATTEMPTS {
            let (listener, mut client) = Cookie::Valid.connect(16).await;
            set("tcp_fastopen", SERVER);
            let first_error = one(&mut client).timeout(Duration::from_secs(10)).await.expect("no hang").unwrap_err();
            assert_eq!(first_error.kind(), ErrorKind::Unsupported, "{first}");
            for (then, other) in ATTEMPTS {
                let attempt = other(&mut client).timeout(Duration::from_secs(10)).await;
                let error = attempt.unwrap_or_else(|_| panic!("{first}, {then}: hangs")).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{first}, {then}");
            }
            // Allowed again, it goes on.
            set("tcp_fastopen", CLIENT | SERVER);
            let serve = async { listener.accept().await.unwrap().0.write_all(b"x").await.unwrap() };
            let mut buffer = [0; 8];
            let both = futures::future::join(client.read(&mut buffer), serve).timeout(Duration::from_secs(10));
            assert_eq!(both.await.expect("no hang").0.unwrap(), 1, "{first}");
        }
    });
}

/// Found 15, Found 17: while the handshake is put off, no peer tells whether a socket connects to itself. It is refused all
/// the same, and a server with the port of its client is not.
#[test]
#[ignore = "needs a network namespace"]
fn no_deferred_socket_connects_to_itself() {
    if !in_own_network("no_deferred_socket_connects_to_itself") {
        return;
    }
    block_on(async {
        set("tcp_fastopen", CLIENT | SERVER | WITHOUT_COOKIE | TAKES_WITHOUT_COOKIE);
        let connect = |from: SocketAddr, to: SocketAddr| async move {
            ConnectOptions::new().fastopen(true).bind(from).connect(to).timeout(Duration::from_secs(10)).await
        };
        let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        for (local, target) in [
            (new_address(), None),
            (new_address(), Some(IpAddr::from(Ipv4Addr::UNSPECIFIED))),
            (six, None),
            (six, Some(Ipv6Addr::UNSPECIFIED.into())),
        ] {
            let listener = ListenOptions::new().fastopen(16).bind(local).await.unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            let to = SocketAddr::new(target.unwrap_or(address.ip()), address.port());
            let connected = connect(address, to).await.expect("no hang");
            assert_eq!(connected.unwrap_err().kind(), ErrorKind::ConnectionRefused, "{address} to {to}");
            // Nothing is left behind on the port.
            drop(TcpListener::bind(address).await.unwrap());
        }
        // Equal ports of two addresses.
        let listener = ListenOptions::new().fastopen(16).bind(new_address()).await.unwrap();
        let to = listener.local_addr().unwrap();
        let from = SocketAddr::new(new_address().ip(), to.port());
        let mut client = connect(from, to).await.expect("no hang").unwrap();
        assert_eq!((client.local_addr().unwrap(), client.peer_addr().unwrap()), (from, to));
        let talk = async {
            client.write_all(b"hello").await.unwrap();
            client.close().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (answer, received) = futures::future::join(talk, serve(&listener)).await;
        assert_eq!((answer.as_str(), &received[..]), ("answer", &b"hello"[..]));
        // Equal ports, and no server.
        drop(listener);
        let connected = connect(from, to).await.expect("no hang");
        assert_eq!(connected.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}
