//! Addresses to bind and to connect to. Nothing here uses the crates under test.

use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;

/// Any free port of the loopback interface, to bind to.
pub const LOCALHOST: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Returns whether this machine has IPv6. Prints a line if not, because the test then skips a part.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: this machine has no IPv6");
    }
    has
}

/// Returns two connected TCP streams of std: the client and the accepted stream.
///
/// # Panics
///
/// If loopback has no port left.
pub fn std_tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOCALHOST).expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    (client, listener.accept().expect("a connection").0)
}

/// Returns a listener with a full backlog: connecting to its address neither succeeds nor fails while the listener lives.
///
/// # Panics
///
/// If loopback has no port left.
pub fn full_listener() -> FullListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(LOCALHOST).into()).expect("a free port");
    socket.listen(0).expect("a listener");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    // A backlog of 0 has room for one connection; the kernel answers no further request.
    let queued = TcpStream::connect(address).expect("a connection");
    FullListener { address, _held: (socket, queued) }
}

/// A listener with a full backlog, made by [`full_listener`].
#[derive(Debug)]
pub struct FullListener {
    /// The address of the listener: connecting to it never ends.
    pub address: SocketAddr,
    /// The listener, and the connection that fills its backlog.
    _held: (Socket, TcpStream),
}

/// Returns an abstract Unix address (`unix(7)`), which needs no directory. The name contains the process id, so it
/// is not used by another process.
///
/// # Panics
///
/// If `what` is longer than about 80 bytes.
pub fn abstract_name(what: &str) -> std::os::unix::net::SocketAddr {
    let name = format!("test-{}-{what}", std::process::id());
    std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a short name")
}
