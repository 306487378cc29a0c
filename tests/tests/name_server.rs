//! Name servers that do not answer, or answer half.
//!
//! The name server is a socket of the test, and `/etc/resolv.conf` leads to it: in a mount namespace, which takes root. So
//! these tests are ignored unless asked for. The address of the server is one that no other program uses.

use async_epoll::block_on;
use async_net_lite::{SystemResolver, TcpListener, TcpStream, UdpSocket, resolve, with_resolver};
use async_timeout::TimeoutExt;
use futures::future::join_all;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::{Folder, has_ipv6, watchdog};

/// The address of the name server. `resolv.conf` has no ports.
const SERVER: &str = "127.53.53.53:53";
/// How long the tests may take: the C library gives up a server after ten seconds.
const LONG: Duration = Duration::from_secs(60);

/// Runs the test named `test` in a process whose name server is at [`SERVER`]. Returns `false` in the parent, where the
/// test must return, and `true` in the child.
fn in_namespace(test: &str) -> bool {
    const CHILD: &str = "TEST_NAMESPACE";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let folder = Folder::new();
    let config = folder.path().join("resolv.conf");
    std::fs::write(&config, format!("nameserver {}\n", SERVER.trim_end_matches(":53"))).unwrap();
    let mount = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
    let mut child = Command::new("unshare");
    child.args(["--mount", "sh", "-c", mount, "sh"]).arg(&config).arg(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    let status = child.status().expect("unshare(1)");
    assert!(status.success(), "{test}: {status}");
    false
}

/// The type of a question for an IPv4 address, and for an IPv6 address.
const A: u16 = 1;
const AAAA: u16 = 28;

/// Runs a name server on a thread. `answer` returns when to answer a question of a type about a name, and the address;
/// `None` for no answer at all.
fn serve(answer: impl Fn(&str, u16) -> Option<(Duration, SocketAddr)> + Send + 'static) {
    let socket = StdUdpSocket::bind(SERVER).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            let question = &buffer[..length];
            // The header has twelve bytes; each label has its length before it.
            let (mut name, mut at) = (Vec::new(), 12);
            while question[at] != 0 {
                let label = &question[at + 1..][..usize::from(question[at])];
                name.push(String::from_utf8_lossy(label).into_owned());
                at += 1 + label.len();
            }
            let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
            let Some((delay, address)) = answer(&name.join("."), kind) else { continue };
            let octets = match address {
                SocketAddr::V4(address) => address.ip().octets().to_vec(),
                SocketAddr::V6(address) => address.ip().octets().to_vec(),
            };
            // An answer with the question and one record; an address of the other family means that there is none.
            let is_there = (octets.len() == 16) == (kind == AAAA);
            let mut packet = [&question[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_there), 0, 0, 0, 0]].concat();
            packet.extend(&question[12..at + 5]);
            if is_there {
                packet.extend([0xc0, 12, kind.to_be_bytes()[0], kind.to_be_bytes()[1], 0, 1, 0, 0, 0, 60, 0]);
                packet.push(octets.len() as u8);
                packet.extend(octets);
            }
            let socket = socket.try_clone().unwrap();
            std::thread::spawn(move || {
                std::thread::sleep(delay);
                socket.send_to(&packet, client).unwrap();
            });
        }
    });
}

/// Returns the number of threads that look up names.
fn lookup_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.trim() == "net-lite-names").count()
}

/// Found 11: with a server that never answers, 600 lookups that wait and 600 that were given up delay no name of
/// `/etc/hosts`, and take eight threads together.
#[test]
#[ignore = "needs root, for a name server of its own"]
fn a_dead_server() {
    if !in_namespace("a_dead_server") {
        return;
    }
    let _watchdog = watchdog(LONG);
    serve(|_, _| None);
    block_on(async {
        let limit = Duration::from_millis(500);
        let names: Vec<_> = (0..600).map(|number| format!("host{number}.invalid")).collect();
        let given_up = join_all(names.iter().map(|name| resolve(name, 1).timeout(limit))).await;
        assert!(given_up.iter().all(Result::is_err));
        let (threads, mut times) = (lookup_threads(), Vec::new());
        assert!(threads <= 8, "{threads}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // While others wait.
        let others = join_all(names.iter().map(|name| resolve(name, 1).timeout(limit)));
        let quick = async {
            async_timeout::sleep(limit / 2).await;
            for _ in 0..5 {
                let begin = Instant::now();
                assert!(!resolve("localhost", 1).await.unwrap().is_empty());
                times.push(begin.elapsed());
                // Of both families, although the file may have one only.
                let begin = Instant::now();
                TcpStream::connect(("localhost", port)).await.unwrap();
                times.push(begin.elapsed());
                assert_eq!(resolve("127.1", 1).await.unwrap().len(), 1);
            }
            assert!(lookup_threads() <= 8);
        };
        futures::join!(others, quick);
        times.sort();
        println!("{threads} threads; localhost after {:?} to {:?}", times[0], times[times.len() - 1]);
        assert!(times[times.len() / 2] < Duration::from_millis(50), "{times:?}");
    })
    .unwrap();
}

/// Found 11: a server that answers for one family, late for one, or never. Connecting goes on with the family that is
/// known, and so do UDP sockets of this family.
#[test]
#[ignore = "needs root, for a name server of its own"]
fn a_server_that_answers_half() {
    if !has_ipv6() || !in_namespace("a_server_that_answers_half") {
        return;
    }
    let _watchdog = watchdog(LONG);
    let (four, six): (SocketAddr, SocketAddr) = ("127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap());
    serve(move |name, kind| {
        let after = |millis, address| Some((Duration::from_millis(millis), address));
        match (name, kind) {
            ("both.example", A) | ("four.example", A) | ("late-six.example", A) => after(0, four),
            ("both.example", AAAA) | ("six.example", AAAA) => after(0, six),
            ("late-six.example", AAAA) => after(20, six),
            // Each family is answered with an address of the other: there is none of this one.
            ("only-four.example", _) => after(0, four),
            ("only-six.example", _) => after(0, six),
            ("none.example", A) => after(0, six),
            ("none.example", AAAA) => after(0, four),
            _ => None,
        }
    });
    let both = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = both.local_addr().unwrap().port();
    let names = [
        ("both.example", true, 0, 200),
        ("four.example", false, 50, 250),
        ("six.example", true, 0, 200),
        ("late-six.example", true, 20, 250),
        ("only-four.example", false, 0, 200),
        ("only-six.example", true, 0, 200),
    ];
    // Lookups that are never answered hold two of the threads.
    block_on(async {
        for (name, is_ipv6, from, below) in names {
            let begin = Instant::now();
            let stream = TcpStream::connect((name, port)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            let time = begin.elapsed();
            println!("{name}: {} after {time:?}", stream.peer_addr().unwrap());
            assert_eq!(stream.peer_addr().unwrap().is_ipv6(), is_ipv6, "{name}");
            assert!(time >= Duration::from_millis(from) && time < Duration::from_millis(below), "{name}: {time:?}");
        }
        let error = TcpStream::connect(("none.example", port)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("cannot look up \"none.example\""), "{error}");
        let begin = Instant::now();
        UdpSocket::bind("0.0.0.0:0").await.unwrap().send_to(b"x", ("four.example", 9)).await.unwrap();
        UdpSocket::bind("[::1]:0").await.unwrap().send_to(b"x", ("six.example", 9)).await.unwrap();
        let own = Arc::new(SystemResolver::with_threads(4));
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        with_resolver(own, socket.connect(("four.example", 9))).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        // The order of all addresses is that of the C library.
        assert_eq!(resolve("both.example", 1).await.unwrap().len(), 2);
    })
    .unwrap();
}
