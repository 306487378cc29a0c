//! The load generator: a closed loop over raw epoll, in a process of its own, so that it is never what is measured.
//!
//! It takes orders from its standard input, one a line: `time MILLISECONDS` or `count REQUESTS`. It carries each out,
//! waits for the last answer, and prints a line: requests, nanoseconds, the 50th and 99th percentile of the latency in
//! nanoseconds, and the bytes of the firehose. Before the first order it prints an empty line, when everything is
//! connected; at the end of its input it closes everything.
//!
//! Two kinds are here: [`Echo`] keeps its connections, and each sends the next request when it has the answer to the
//! last; in HTTP, if asked to. [`Connect`] makes a new connection for each request. [Large requests](crate::bulk), the
//! [firehose](crate::firehose) and [datagrams](crate::datagrams) have files of their own. Nothing waits for ever: silence
//! of the server is an error.

use crate::args::Target;
use crate::bulk::{self, Bulk};
use crate::datagrams::Datagrams;
use crate::firehose::Firehose;
use crate::histogram::Histogram;
use crate::servers::HELLO;
use crate::sys::{EPOLLET, EPOLLIN, EPOLLRDHUP, Epoll, NO_EVENT, epoll_event};
use crate::{child, sys};
use socket2::SockRef;
use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;
/// Requests and answers must be shorter, so that every complete answer is a short read.
const BUFFER: usize = 8192;
/// After so much silence the server is taken for dead.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// What kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Many requests over each connection.
    Echo,
    /// The same, in HTTP.
    Http,
    /// The same with requests that do not fit into the buffers of a connection.
    Bulk,
    /// A connection per request.
    Connect,
    /// One connection at full speed, beside others that send a request now and then.
    Firehose,
    /// Datagrams, some on their way at any time.
    Datagrams,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Echo => "echo",
            Self::Http => "http",
            Self::Bulk => "bulk",
            Self::Connect => "connect",
            Self::Firehose => "firehose",
            Self::Datagrams => "datagrams",
        })
    }
}

impl FromStr for Traffic {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Echo, Self::Bulk, Self::Http, Self::Connect, Self::Firehose, Self::Datagrams];
        let traffic = all.into_iter().find(|traffic| traffic.to_string() == name);
        traffic.ok_or_else(|| format!("there is no load {name}"))
    }
}

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// So many requests.
    Count(u64),
    /// As many requests as go into this time.
    Time(Duration),
}

impl Order {
    /// The line that gives this order.
    pub(crate) fn to_line(self) -> String {
        match self {
            Self::Count(requests) => format!("count {requests}"),
            Self::Time(time) => format!("time {}", time.as_millis()),
        }
    }

    /// Understands such a line.
    fn parse(line: &str) -> io::Result<Self> {
        match line.split_once(' ').map(|(word, number)| (word, number.parse())) {
            Some(("count", Ok(requests))) => Ok(Self::Count(requests)),
            Some(("time", Ok(millis))) => Ok(Self::Time(Duration::from_millis(millis))),
            _ => Err(io::Error::other(format!("no order: {line}"))),
        }
    }
}

/// What became of an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) nanos: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    /// What the firehose has sent and got back.
    pub(crate) bytes: u64,
}

impl Outcome {
    /// The line that reports this.
    fn to_line(self) -> String {
        format!("{} {} {} {} {}", self.requests, self.nanos, self.p50, self.p99, self.bytes)
    }
}

impl FromStr for Outcome {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [requests, nanos, p50, p99, bytes] => Ok(Self { requests, nanos, p50, p99, bytes }),
            _ => Err(io::Error::other(format!("the load generator said: {line}"))),
        }
    }
}

/// One order being carried out.
pub(crate) struct Job {
    begin: Instant,
    order: Order,
    issued: u64,
    pub(crate) latencies: Histogram,
}

impl Job {
    /// Begins now.
    pub(crate) fn new(order: Order) -> Self {
        Self { begin: Instant::now(), order, issued: 0, latencies: Histogram::new() }
    }

    /// Since the beginning.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether one more request is wanted at this time.
    pub(crate) fn more(&mut self, now: u64) -> bool {
        let more = match self.order {
            Order::Count(requests) => self.issued < requests,
            Order::Time(time) => u128::from(now) < time.as_nanos(),
        };
        self.issued += u64::from(more);
        more
    }

    /// One of them has been answered, after so many nanoseconds.
    pub(crate) fn answered(&mut self, latency: u64) {
        self.latencies.add(latency);
    }

    /// Requests without an answer so far.
    pub(crate) fn outstanding(&self) -> u64 {
        self.issued - self.latencies.count()
    }

    /// The last answer has come.
    pub(crate) fn finish(&self) -> Outcome {
        let (p50, p99) = (self.latencies.percentile(50), self.latencies.percentile(99));
        Outcome { requests: self.latencies.count(), nanos: self.now(), p50, p99, bytes: 0 }
    }
}

/// A connection of ours.
struct Client {
    stream: TcpStream,
    /// Bytes of the answer so far.
    received: usize,
    /// When the request was sent.
    sent: u64,
}

impl Client {
    /// Connects. On loopback the handshake is over before `connect` could block.
    fn new(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, target.port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: 0, sent: 0 })
    }

    /// Sends one request. The last one has been answered, so it fits into the socket's buffer.
    fn send(&mut self, request: &[u8], now: u64) -> io::Result<()> {
        (self.received, self.sent) = (0, now);
        self.stream.write_all(request)
    }
}

/// Many requests over each connection.
struct Echo {
    epoll: Epoll,
    clients: Vec<Client>,
    request: Vec<u8>,
    /// Bytes of an answer. In HTTP all are of one length, too: the date in them is.
    answer: usize,
}

impl Echo {
    /// Connects all, one after the other. Each makes one round trip, so that the server has seen it.
    fn new(target: &Target) -> io::Result<Self> {
        let (request, is_whole): (_, fn(&[u8], usize) -> bool) = match target.traffic {
            Traffic::Http => {
                let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", target.port);
                (request.into(), |answer, _| answer.ends_with(HELLO.as_bytes()))
            }
            _ => (vec![b'x'; target.size], |answer, size| answer.len() == size),
        };
        let mut echo = Self { epoll: Epoll::new()?, clients: Vec::new(), request, answer: 0 };
        for token in 0..target.connections {
            let mut client = Client::new(target)?;
            // A reset instead of TIME_WAIT: thousands of connections come and go within seconds.
            SockRef::from(&client.stream).set_linger(Some(Duration::ZERO))?;
            client.stream.set_read_timeout(Some(SILENCE))?;
            client.send(&echo.request, 0)?;
            let mut answer = Vec::new();
            while !is_whole(&answer, target.size) {
                let mut buffer = [0; BUFFER];
                match client.stream.read(&mut buffer)? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    length => answer.extend(&buffer[..length]),
                }
            }
            echo.answer = answer.len();
            client.stream.set_nonblocking(true)?;
            echo.epoll.add(client.stream.as_fd(), EPOLLIN | EPOLLRDHUP | EPOLLET, token as u64)?;
            echo.clients.push(client);
        }
        Ok(echo)
    }
}

/// One kind of load.
pub(crate) trait Load {
    /// Sends the first requests, as many as may be in flight.
    fn begin(&mut self, job: &mut Job) -> io::Result<()>;
    /// Something has come for the connection with this number.
    fn receive(&mut self, token: usize, job: &mut Job) -> io::Result<()>;
    /// Where events come from.
    fn epoll(&self) -> &Epoll;
}

impl Load for Echo {
    fn begin(&mut self, job: &mut Job) -> io::Result<()> {
        for client in &mut self.clients {
            let now = job.now();
            if job.more(now) {
                client.send(&self.request, now)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, token: usize, job: &mut Job) -> io::Result<()> {
        let client = &mut self.clients[token];
        client.received += match client.stream.read(&mut [0; BUFFER]) {
            Ok(0) => return Err(io::Error::other("the server has closed a connection")),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if client.received == self.answer {
            let now = job.now();
            job.latencies.add(now - client.sent);
            if job.more(now) {
                client.send(&self.request, now)?;
            }
        }
        Ok(())
    }

    fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}

/// A connection for each request.
struct Connect {
    epoll: Epoll,
    target: Target,
    /// The connections in flight, by their place.
    clients: Vec<Option<Client>>,
    request: Vec<u8>,
}

impl Connect {
    /// Nothing is connected before the first order.
    fn new(target: &Target) -> io::Result<Self> {
        let clients = (0..target.connections).map(|_| None).collect();
        Ok(Self { epoll: Epoll::new()?, target: *target, clients, request: vec![b'x'; target.size] })
    }

    /// Puts a new connection into a place, if one more is wanted.
    fn open(&mut self, place: usize, job: &mut Job) -> io::Result<()> {
        let now = job.now();
        if job.more(now) {
            let mut client = Client::new(&self.target)?;
            client.send(&self.request, now)?;
            client.stream.set_nonblocking(true)?;
            self.epoll.add(client.stream.as_fd(), EPOLLIN | EPOLLRDHUP | EPOLLET, place as u64)?;
            self.clients[place] = Some(client);
        }
        Ok(())
    }
}

impl Load for Connect {
    fn begin(&mut self, job: &mut Job) -> io::Result<()> {
        (0..self.clients.len()).try_for_each(|place| self.open(place, job))
    }

    fn receive(&mut self, token: usize, job: &mut Job) -> io::Result<()> {
        let Some(client) = &mut self.clients[token] else { return Ok(()) };
        loop {
            if !self.target.close_first && client.received == self.request.len() {
                break;
            }
            match client.stream.read(&mut [0; BUFFER]) {
                Ok(0) if client.received == self.request.len() => break,
                Ok(0) => return Err(io::Error::other("the server has closed a connection too early")),
                Ok(length) => client.received += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        job.latencies.add(job.now() - client.sent);
        self.clients[token] = None;
        self.open(token, job)
    }

    fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}

/// Carries out one order.
fn run(load: &mut dyn Load, order: Order, events: &mut [epoll_event]) -> io::Result<Outcome> {
    let mut job = Job::new(order);
    load.begin(&mut job)?;
    while job.outstanding() > 0 {
        let count = load.epoll().wait(events, Some(SILENCE))?;
        if count == 0 {
            return Err(io::Error::new(ErrorKind::TimedOut, "the server has fallen silent"));
        }
        for event in &events[..count] {
            load.receive(usize::try_from(event.u64).unwrap_or(usize::MAX), &mut job)?;
        }
    }
    Ok(job.finish())
}

/// The whole process: connects, and carries out orders until its input ends.
pub(crate) fn generate(target: &Target) -> io::Result<()> {
    sys::raise_file_limit()?;
    sys::pin(child::load_core()?)?;
    let largest = if target.traffic == Traffic::Bulk { bulk::LARGEST } else { BUFFER - 1 };
    if !(1..=largest).contains(&target.size) {
        return Err(io::Error::other(format!("the size must be from 1 to {largest}")));
    }
    let mut events = [NO_EVENT; EVENTS];
    match target.traffic {
        Traffic::Echo | Traffic::Http => obey(Echo::new(target)?, |load, order| run(load, order, &mut events)),
        Traffic::Bulk => obey(Bulk::new(target)?, |load, order| run(load, order, &mut events)),
        Traffic::Connect => obey(Connect::new(target)?, |load, order| run(load, order, &mut events)),
        Traffic::Datagrams => obey(Datagrams::new(target)?, |load, order| load.run(order)),
        Traffic::Firehose => obey(Firehose::new(target)?, |load, order| load.run(order, &mut events)),
    }
}

/// Carries out orders until there are no more.
fn obey<L>(mut load: L, mut carry_out: impl FnMut(&mut L, Order) -> io::Result<Outcome>) -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output)?;
    for line in io::stdin().lock().lines() {
        let outcome = carry_out(&mut load, Order::parse(&line?)?)?;
        writeln!(output, "{}", outcome.to_line())?;
    }
    Ok(())
}
