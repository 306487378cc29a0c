//! TCP connections of the load generator.

use crate::orders::load::Target;
use socket2::SockRef;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Requests and answers must be shorter than this number of bytes, so every complete answer is a short read.
pub(super) const BUFFER: usize = 8192;

/// Connects with `TCP_NODELAY`. On loopback the handshake is over before `connect` could block.
pub(super) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Makes `close` send a reset. A FIN would leave a `TIME_WAIT` state for each of thousands of connections.
pub(super) fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// A connection with at most one request in flight.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// Bytes of the answer received so far.
    pub(super) received: usize,
    /// The time of the request, in nanoseconds of the job.
    pub(super) sent: u64,
}

impl Client {
    /// Connects to the target.
    pub(super) fn new(target: &Target) -> io::Result<Self> {
        Ok(Self { stream: connect(target.port)?, received: 0, sent: 0 })
    }

    /// Sends a request. The previous request has been answered, so the new request fits into the socket's buffer.
    pub(super) fn send(&mut self, request: &[u8], now: u64) -> io::Result<()> {
        (self.received, self.sent) = (0, now);
        self.stream.write_all(request)
    }
}
