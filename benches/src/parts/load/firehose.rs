//! One connection at full speed (the *firehose*) beside rate-limited connections: does the server delay the latter?
//!
//! Each *rate-limited* client has a request due at even intervals. Its latency counts from the due time, even if the
//! previous answer is late, so the delays of a slow server are included (no coordinated omission). The load generator
//! never sleeps: it has a core of its own, and the latency of its own sleep must not be measured. Each round makes at
//! most one read and one write for the firehose, so the generator itself does not delay the clients.

use super::client;
use super::job::SILENCE;
use crate::figures::histogram::Histogram;
use crate::machine::sys::{EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, Epoll, epoll_event};
use crate::orders::load::{LoadOrder, LoadOutcome, Target};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The interval between the requests of a rate-limited client.
const PERIOD: Duration = Duration::from_millis(20);
/// Bytes that the firehose sends or receives at a time, at most.
const CHUNK: usize = 64 * 1024;
/// The token of the firehose; the token of a client is its index.
const FIREHOSE: u64 = u64::MAX;

/// A rate-limited client.
struct Client {
    stream: TcpStream,
    /// The due time of the request in flight or else of the next request, in nanoseconds since the order began.
    due: u64,
    /// Bytes of the answer not yet received; 0 without a request in flight.
    missing: usize,
}

/// The firehose and the rate-limited clients, all connected.
pub(super) struct Firehose {
    epoll: Epoll,
    stream: TcpStream,
    clients: Vec<Client>,
    request: Vec<u8>,
    chunk: Vec<u8>,
}

impl Firehose {
    /// Connects everything.
    pub(super) fn new(target: &Target) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let connect = || {
            let stream = client::connect(target.port)?;
            stream.set_nonblocking(true)?;
            client::reset_on_close(&stream)?;
            io::Result::Ok(stream)
        };
        let mut clients = Vec::with_capacity(target.connections);
        for token in 0..target.connections {
            let stream = connect()?;
            epoll.add(stream.as_fd(), EPOLLIN | EPOLLRDHUP | EPOLLET, token as u64)?;
            clients.push(Client { stream, due: 0, missing: 0 });
        }
        let stream = connect()?;
        epoll.add(stream.as_fd(), EPOLLIN | EPOLLOUT, FIREHOSE)?;
        Ok(Self { epoll, stream, clients, request: vec![b'x'; target.size], chunk: vec![b'x'; CHUNK] })
    }

    /// Carries out an order, which must be [`LoadOrder::Time`]. Firehose bytes in flight at the end are not waited for.
    pub(super) fn run(&mut self, order: LoadOrder, events: &mut [epoll_event]) -> io::Result<LoadOutcome> {
        let LoadOrder::Time(time) = order else { return Err(io::Error::other("the firehose flows for a time")) };
        let (period, end) = (PERIOD.as_nanos() as u64, time.as_nanos() as u64);
        let silence = (time + SILENCE).as_nanos() as u64;
        let (begin, mut latencies, mut bytes) = (Instant::now(), Histogram::new(), 0);
        let count = self.clients.len().max(1) as u64;
        for (number, client) in (0..).zip(&mut self.clients) {
            client.due = period * number / count;
        }
        loop {
            let now = begin.elapsed().as_nanos() as u64;
            if now >= end && self.clients.iter().all(|client| client.missing == 0) {
                let (p50, p99) = (latencies.percentile(50), latencies.percentile(99));
                return Ok(LoadOutcome { requests: latencies.count(), nanos: now, p50, p99, bytes });
            }
            if now >= silence {
                return Err(io::Error::new(ErrorKind::TimedOut, "the server has fallen silent"));
            }
            let due = |client: &&mut Client| client.missing == 0 && client.due <= now && now < end;
            for client in self.clients.iter_mut().filter(due) {
                client.stream.write_all(&self.request)?;
                client.missing = self.request.len();
            }
            let count = self.epoll.wait(events, Some(Duration::ZERO))?;
            for event in &events[..count] {
                let Ok(token) = usize::try_from(event.u64).map(|token| self.clients.get_mut(token)) else { continue };
                if let Some(client) = token {
                    if client.receive()? {
                        latencies.add((begin.elapsed().as_nanos() as u64).saturating_sub(client.due));
                        client.due += period;
                    }
                } else {
                    bytes += self.flow()?;
                }
            }
        }
    }

    /// Makes one read and one write on the firehose. Returns the bytes read.
    fn flow(&mut self) -> io::Result<u64> {
        let received = match self.stream.read(&mut self.chunk) {
            Ok(0) => return Err(io::Error::other("the server has closed the firehose")),
            Ok(length) => length as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        match self.stream.write(&self.chunk) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(received),
        }
    }
}

impl Client {
    /// Reads the available bytes. Returns whether the answer is complete.
    fn receive(&mut self) -> io::Result<bool> {
        loop {
            match self.stream.read(&mut [0; 1024]) {
                Ok(0) => return Err(io::Error::other("the server has closed a connection")),
                Ok(length) => self.missing = self.missing.saturating_sub(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if self.missing == 0 {
                return Ok(true);
            }
        }
    }
}
