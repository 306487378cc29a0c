//! What an option setter refuses has changed nothing: every option of the socket, as `getsockopt(2)` returns it, is the
//! same before and after.
//!
//! A value is refused by this crate or by the kernel. Besides, a filter (`seccomp(2)`, or a BPF program of the system) may
//! refuse one of the several system calls that a setter makes.

use async_epoll::Handle;
use async_net_lite::unix::{UnixDatagram, UnixListenOptions, UnixListener};
use async_net_lite::{ConnectOptions, Keepalive, ListenOptions, TcpListener, TcpStream, UdpSocket};
use futures::future::FutureExt;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use tests::common::{block_on, tcp, udp};
use tests::{Folder, LOCALHOST, TIME, has_ipv6, in_child, open_fds, refuse, socket_options, watchdog};

type Options = BTreeMap<(i32, i32), Vec<u8>>;

/// Returns the options that do not change by themselves, as clocks and counters do.
fn options(socket: BorrowedFd<'_>) -> Options {
    const CHANGING: [i32; 4] = [libc::TCP_INFO, libc::TCP_QUICKACK, libc::TCP_TIMESTAMP, libc::TCP_CC_INFO];
    let mut options = socket_options(socket);
    options.retain(|(level, name), _| *level != libc::IPPROTO_TCP || !CHANGING.contains(name));
    assert!(options.len() > 30, "{options:?}");
    options
}

/// Returns the options that differ.
fn changed(before: &Options, after: &Options) -> Vec<(i32, i32)> {
    before
        .iter()
        .filter(|(name, value)| after.get(*name).is_some_and(|after| after != *value))
        .map(|(name, _)| *name)
        .collect()
}

/// A setter with its value: a name for messages, and the call.
type Setter<S> = (&'static str, fn(&S) -> io::Result<()>);

const SECOND: Duration = Duration::from_secs(1);
const KEEPALIVE: Keepalive = Keepalive::new().time(Duration::from_secs(9)).interval(Duration::from_secs(8)).retries(7);

/// Setters of a TCP stream that succeed, and change something.
const TCP: [Setter<TcpStream>; 8] = [
    ("nodelay", |stream| stream.set_nodelay(true)),
    ("ttl", |stream| stream.set_ttl(17)),
    ("linger", |stream| stream.set_linger(Some(Duration::ZERO))),
    ("keepalive", |stream| stream.set_keepalive(KEEPALIVE)),
    ("keepalive, time alone", |stream| stream.set_keepalive(Keepalive::new().time(9 * SECOND))),
    ("no keepalive", |stream| stream.set_keepalive(None)),
    ("recv_buffer", |stream| stream.set_recv_buffer(20_000)),
    ("send_buffer", |stream| stream.set_send_buffer(20_000)),
];

/// Setters of a TCP stream with a value that is refused. Where a setter has several values, the others are valid.
const TCP_REFUSED: [Setter<TcpStream>; 14] = [
    ("ttl 0", |stream| stream.set_ttl(0)),
    ("ttl 256", |stream| stream.set_ttl(256)),
    ("ttl, the largest", |stream| stream.set_ttl(u32::MAX)),
    ("linger 1 ns", |stream| stream.set_linger(Some(Duration::from_nanos(1)))),
    ("linger, the longest", |stream| stream.set_linger(Some(Duration::MAX))),
    ("time 0", |stream| stream.set_keepalive(KEEPALIVE.time(Duration::ZERO))),
    ("time 32768", |stream| stream.set_keepalive(KEEPALIVE.time(32_768 * SECOND))),
    ("time, the longest", |stream| stream.set_keepalive(KEEPALIVE.time(Duration::MAX))),
    ("interval 0", |stream| stream.set_keepalive(KEEPALIVE.interval(Duration::ZERO))),
    ("interval 32767.001", |stream| stream.set_keepalive(KEEPALIVE.interval(Duration::from_millis(32_767_001)))),
    ("interval, the longest", |stream| stream.set_keepalive(KEEPALIVE.interval(Duration::MAX))),
    ("retries 0", |stream| stream.set_keepalive(KEEPALIVE.retries(0))),
    ("retries 128", |stream| stream.set_keepalive(KEEPALIVE.retries(128))),
    ("retries, the most", |stream| stream.set_keepalive(KEEPALIVE.retries(u32::MAX))),
];

/// Setters of a UDP socket that succeed, and change something.
const UDP: [Setter<UdpSocket>; 7] = [
    ("broadcast", |socket| socket.set_broadcast(true)),
    ("ttl", |socket| socket.set_ttl(17)),
    ("recv_buffer_size", |socket| socket.set_recv_buffer_size(20_000)),
    ("send_buffer_size", |socket| socket.set_send_buffer_size(20_000)),
    ("multicast_if_v4", |socket| socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)),
    ("multicast_loop_v4", |socket| socket.set_multicast_loop_v4(false)),
    ("multicast_ttl_v4", |socket| socket.set_multicast_ttl_v4(17)),
];

/// Setters of a UDP socket over IPv6 that succeed, and change something.
const UDP_V6: [Setter<UdpSocket>; 3] = [
    ("multicast_if_v6", |socket| socket.set_multicast_if_v6(1)),
    ("multicast_loop_v6", |socket| socket.set_multicast_loop_v6(false)),
    ("multicast_hops_v6", |socket| socket.set_multicast_hops_v6(17)),
];

const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 71, 20);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x7109, 0x20);

/// Setters of a UDP socket with a value that is refused.
const UDP_REFUSED: [Setter<UdpSocket>; 11] = [
    ("ttl 0", |socket| socket.set_ttl(0)),
    ("ttl 256", |socket| socket.set_ttl(256)),
    ("ttl, the largest", |socket| socket.set_ttl(u32::MAX)),
    ("multicast_if_v4", |socket| socket.set_multicast_if_v4(&NOWHERE)),
    ("multicast_ttl_v4 256", |socket| socket.set_multicast_ttl_v4(256)),
    ("multicast_ttl_v4, the largest", |socket| socket.set_multicast_ttl_v4(u32::MAX)),
    ("join_multicast_v4, no group", |socket| socket.join_multicast_v4(&NOWHERE, &Ipv4Addr::LOCALHOST)),
    ("join_multicast_v4, no interface", |socket| socket.join_multicast_v4(&GROUP, &NOWHERE)),
    ("leave_multicast_v4", |socket| socket.leave_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST)),
    ("connect, broadcast", |socket| connect(socket, &["255.255.255.255:9", "[::1]:9"])),
    ("connect, no address", |socket| connect(socket, &[])),
];

/// Setters of a UDP socket over IPv6 with a value that is refused.
const UDP_V6_REFUSED: [Setter<UdpSocket>; 8] = [
    ("multicast_if_v6", |socket| socket.set_multicast_if_v6(9_999)),
    ("multicast_if_v6, the largest", |socket| socket.set_multicast_if_v6(u32::MAX)),
    ("multicast_hops_v6 256", |socket| socket.set_multicast_hops_v6(256)),
    ("multicast_hops_v6, the largest", |socket| socket.set_multicast_hops_v6(u32::MAX)),
    ("join_multicast_v6, no group", |socket| socket.join_multicast_v6(&Ipv6Addr::LOCALHOST, 1)),
    ("join_multicast_v6, no interface", |socket| socket.join_multicast_v6(&GROUP_V6, 9_999)),
    ("connect, no zone", |socket| connect(socket, &["[fe80::1]:9"])),
    ("connect, no interface", |socket| connect(socket, &["[fe80::1%9999]:9"])),
];

/// Connects a UDP socket, which never waits for numeric addresses.
fn connect(socket: &UdpSocket, addresses: &[&str]) -> io::Result<()> {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    socket.connect(&addresses[..]).now_or_never().expect("at once")
}

/// Checks that each setter fails, and that all options are as before.
fn refuses<S: AsFd>(socket: &S, setters: &[Setter<S>], state: impl Fn(&S) -> String) {
    for (name, set) in setters {
        let before = (options(socket.as_fd()), state(socket));
        let error = set(socket).expect_err(name);
        let after = (socket_options(socket.as_fd()), state(socket));
        assert_eq!((changed(&before.0, &after.0), &after.1), (Vec::new(), &before.1), "{name}: {error}");
    }
}

/// Returns the families of this machine.
fn families() -> Vec<&'static str> {
    ["127.0.0.1:0", "[::1]:0"].into_iter().take(1 + usize::from(has_ipv6())).collect()
}

/// Returns a connection of each family.
async fn stream(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Found 16: a value that a TCP stream refuses has changed nothing: with options as the kernel has them, and with all of
/// them set.
#[test]
fn values_that_a_tcp_stream_refuses() {
    block_on(async {
        for address in families() {
            let (stream, _peer) = stream(address).await;
            let state = |stream: &TcpStream| format!("{:?}", stream.keepalive().unwrap());
            refuses(&stream, &TCP_REFUSED, state);
            for (name, set) in TCP.iter().filter(|(name, _)| *name != "no keepalive") {
                set(&stream).expect(name);
            }
            refuses(&stream, &TCP_REFUSED, state);
        }
    });
}

/// Found 16: the same for a UDP socket, with and without a peer.
#[test]
fn values_that_a_udp_socket_refuses() {
    block_on(async {
        let state = |socket: &UdpSocket| {
            format!("{:?} {:?}", socket.local_addr(), socket.peer_addr().map_err(|error| error.kind()))
        };
        for address in families() {
            let socket = UdpSocket::bind(address).await.unwrap();
            let (setters, refused) = if address.starts_with('[') {
                (&UDP_V6[..], &UDP_V6_REFUSED[..])
            } else {
                (&UDP[..], &UDP_REFUSED[..])
            };
            refuses(&socket, refused, state);
            setters.iter().for_each(|(name, set)| set(&socket).expect(name));
            socket.set_broadcast(false).unwrap();
            refuses(&socket, refused, state);
            let peer = UdpSocket::bind(address).await.unwrap();
            socket.connect(peer.local_addr().unwrap()).await.unwrap();
            refuses(&socket, refused, state);
            assert_eq!(socket.send(b"still connected").await.unwrap(), 15);
            assert_eq!(peer.recv(&mut [0; 64]).await.unwrap(), 15);
        }
        // Memberships, which no option returns: joining twice is refused, and the socket is a member once.
        let socket = udp::socket().await;
        socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).unwrap_err().kind(), ErrorKind::AddrInUse);
        socket.leave_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(
            socket.leave_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).unwrap_err().kind(),
            ErrorKind::AddrNotAvailable
        );
    });
}

/// Checks a setter under a filter: for each option that the setter changes, on a thread of its own, the kernel refuses
/// the change of this option. Then the setter fails, and has changed nothing.
fn survives_filters<S: AsFd>(
    name: &str,
    socket: impl AsyncFn() -> S + Copy + Send + Sync,
    set: fn(&S) -> io::Result<()>,
) {
    let changes = async_epoll::block_on(async {
        let socket = socket().await;
        let before = options(socket.as_fd());
        set(&socket).expect(name);
        changed(&before, &socket_options(socket.as_fd()))
    });
    let changes = changes.unwrap();
    assert!(!changes.is_empty(), "{name} changes nothing");
    let refused = changes.into_iter().filter(|&(level, option)| {
        let test = move || {
            let test = async {
                let socket = socket().await;
                let before = options(socket.as_fd());
                refuse(libc::SYS_setsockopt, &[(1, level), (2, option)], libc::EACCES);
                // The kernel changes some options along with others.
                let Err(error) = set(&socket) else { return false };
                assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{name}, {level}, {option}");
                let after = socket_options(socket.as_fd());
                assert_eq!(changed(&before, &after), [], "{name}, with option {option} of level {level} refused");
                true
            };
            async_epoll::block_on(test).unwrap()
        };
        std::thread::scope(|scope| scope.spawn(test).join()).unwrap_or_else(|_| panic!("{name}"))
    });
    assert!(refused.count() >= 1, "{name}");
}

/// Found 16: a setter that makes several system calls undoes the first if a later one is refused.
#[test]
fn a_refused_call_of_several() {
    let _watchdog = watchdog(TIME);
    for address in families() {
        for (name, set) in TCP.iter().filter(|(name, _)| *name != "no keepalive") {
            survives_filters(name, async || stream(address).await.0, *set);
        }
        let v6 = address.starts_with('[');
        for (name, set) in if v6 { &UDP_V6[..] } else { &UDP[..] } {
            survives_filters(name, async || UdpSocket::bind(address).await.unwrap(), *set);
        }
    }
    let with_probes = async || {
        let (stream, _peer) = tcp::pair().await;
        stream.set_keepalive(KEEPALIVE).unwrap();
        stream
    };
    survives_filters("no keepalive", with_probes, |stream| stream.set_keepalive(None));
    survives_filters("other keepalive", with_probes, |stream| {
        stream.set_keepalive(Keepalive::new().time(90 * SECOND).interval(80 * SECOND).retries(70))
    });
}

/// Found 16: options of a socket that is made: if one is refused, no socket is left, no address bound, no connection
/// begun, and no file made.
#[test]
fn options_of_sockets_that_are_not_made() {
    if !in_child("options_of_sockets_that_are_not_made") {
        return;
    }
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(listener.accept().now_or_never().is_none());
        let before = open_fds();
        for refused in [KEEPALIVE.time(Duration::ZERO), KEEPALIVE.interval(Duration::MAX), KEEPALIVE.retries(128)] {
            let options = ConnectOptions::new().nodelay(true).keepalive(refused);
            assert_eq!(options.connect(address).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        for elsewhere in ["192.0.2.1:0", "[::1]:0"] {
            let options = ConnectOptions::new().bind(elsewhere.parse().unwrap());
            assert!(options.connect(address).await.is_err(), "{elsewhere}");
        }
        assert!(listener.accept().now_or_never().is_none(), "a client has connected nevertheless");
        let busy = ListenOptions::new().nodelay(true).fastopen(5).bind(address).await.unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::AddrInUse);

        let folder = Folder::new();
        let path = folder.join("socket");
        for mode in [0o1000, 0o10_600, u32::MAX] {
            let options = UnixListenOptions::new().mode(mode).remove_stale(true).unlink_on_drop(true);
            assert_eq!(options.bind(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(options.bind_datagram(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert!(!path.exists());
        }
        // A stale file that the same options would remove stays.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let options = UnixListenOptions::new().mode(0o1000).remove_stale(true);
        assert!(options.bind(&path).is_err() && path.exists());
        assert_eq!((open_fds(), Handle::current().unwrap().stats().sources), (before, 1));
    });
}

/// Found 16: a Unix datagram socket keeps its peer if another is refused.
#[test]
fn a_refused_peer_of_a_unix_datagram_socket() {
    block_on(async {
        let folder = Folder::new();
        let peer = UnixDatagram::bind(folder.join("peer")).unwrap();
        let _listener = UnixListener::bind(folder.join("stream")).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(folder.join("peer")).unwrap();
        for refused in ["missing", "stream", ""] {
            assert!(socket.connect(folder.join(refused)).is_err(), "{refused}");
            assert_eq!(socket.send(b"x").await.unwrap(), 1);
            assert_eq!(peer.recv(&mut [0; 8]).await.unwrap(), 1);
        }
    });
}
