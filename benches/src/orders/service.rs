//! The order for a server, and the facts that its clients must know.
//!
//! The conductor builds a [`Service`] and turns it into arguments; the command line parser turns the arguments back.
//! A server and a load generator, two processes, have to agree on the constants.

use super::peer::Peer;
use std::fmt;
use std::str::FromStr;

/// Bytes of the read buffer that a server keeps for each connection.
pub(crate) const BUFFER: usize = 4096;
/// The body of every HTTP answer.
pub(crate) const HELLO: &str = "Hello, World!";
/// The longest datagram, in bytes.
pub(crate) const MAX_DATAGRAM: usize = 2048;
/// Bytes of the receive queue of a UDP socket, on both sides: more than any case has in flight.
pub(crate) const DATAGRAM_QUEUE: usize = 1 << 20;

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The server sends back the bytes it receives.
    Echo,
    /// HTTP/1 by hyper, without a timer.
    Http,
    /// HTTP/1 by hyper with `writev(false)`: hyper copies the body behind the head, instead of sending two slices.
    HttpFlat,
    /// HTTP/1 by hyper with a timer, and so with hyper's default time limit for the head of each request.
    HttpTimed,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Echo => "echo",
            Self::Http => "http",
            Self::HttpFlat => "http-flat",
            Self::HttpTimed => "http-timed",
        })
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Echo, Self::Http, Self::HttpFlat, Self::HttpTimed];
        let protocol = all.into_iter().find(|protocol| protocol.to_string() == name);
        protocol.ok_or_else(|| format!("there is no protocol {name}"))
    }
}

/// The order for one server process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) peer: Peer,
    pub(crate) protocol: Protocol,
    /// The TCP or UDP port; 0 for any free port.
    pub(crate) port: u16,
    /// The server ends after this number of connections; `None` to serve until killed.
    pub(crate) connections: Option<u64>,
    /// Set `TCP_DEFER_ACCEPT` on the listener.
    pub(crate) defer_accept: bool,
    /// Close each connection after the first answer, instead of waiting for the client to close.
    pub(crate) close_first: bool,
    /// Count the live bytes of the heap, and report them on request.
    pub(crate) count_heap: bool,
    /// Echo datagrams instead of a stream, at most this number per system call.
    pub(crate) datagrams: Option<usize>,
}

impl Service {
    /// Returns the order to echo on any free port until killed.
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer,
            protocol: Protocol::Echo,
            port: 0,
            connections: None,
            defer_accept: false,
            close_first: false,
            count_heap: false,
            datagrams: None,
        }
    }

    /// Returns the command line arguments for this order.
    pub(crate) fn to_args(self) -> Vec<String> {
        let mut args = vec!["serve".into(), self.peer.to_string(), "--port".into(), self.port.to_string()];
        args.extend(["--protocol".into(), self.protocol.to_string()]);
        if let Some(connections) = self.connections {
            args.extend(["--connections".into(), connections.to_string()]);
        }
        args.extend(self.defer_accept.then(|| "--defer-accept".into()));
        args.extend(self.close_first.then(|| "--close-first".into()));
        args.extend(self.count_heap.then(|| "--count-heap".into()));
        if let Some(batch) = self.datagrams {
            args.extend(["--datagrams".into(), batch.to_string()]);
        }
        args
    }
}
