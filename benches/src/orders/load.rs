//! The orders for a load generator, and their outcomes.
//!
//! A [`Target`] is fixed for the life of the process: where to connect, and how. Then the conductor writes any number
//! of [`LoadOrder`]s to the generator, each on a line, and reads a [`LoadOutcome`] for each.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

/// The kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Many requests over each connection.
    Echo,
    /// Many HTTP requests over each connection.
    Http,
    /// Many requests over each connection, each larger than the socket buffers.
    Bulk,
    /// One connection per request.
    Connect,
    /// One connection at full speed, beside rate-limited connections.
    Firehose,
    /// Datagrams, with a fixed number in flight.
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

/// The order for one load generator process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) traffic: Traffic,
    /// The server's port on 127.0.0.1.
    pub(crate) port: u16,
    /// Connections at a time. For [`Traffic::Firehose`] the number of rate-limited connections beside it; for
    /// [`Traffic::Datagrams`] the number of datagrams in flight.
    pub(crate) connections: usize,
    /// Bytes of a request and of its answer.
    pub(crate) size: usize,
    /// The server closes first, after its answer.
    pub(crate) close_first: bool,
}

impl Target {
    /// Returns the order for requests of 64 bytes, with the client closing first.
    pub(crate) fn new(traffic: Traffic, port: u16, connections: usize) -> Self {
        Self { traffic, port, connections, size: 64, close_first: false }
    }

    /// Returns the command line arguments for this order.
    pub(crate) fn to_args(self) -> Vec<String> {
        let mut args = vec!["load".into(), self.traffic.to_string()];
        args.extend(["--port".into(), self.port.to_string(), "--connections".into(), self.connections.to_string()]);
        args.extend(["--size".into(), self.size.to_string()]);
        args.extend(self.close_first.then(|| "--close-first".into()));
        args
    }
}

/// The amount of load to generate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LoadOrder {
    /// This number of requests.
    Count(u64),
    /// As many requests as fit into this time.
    Time(Duration),
}

impl LoadOrder {
    /// Returns the line for the load generator's standard input.
    pub(crate) fn to_line(self) -> String {
        match self {
            Self::Count(requests) => format!("count {requests}"),
            Self::Time(time) => format!("time {}", time.as_millis()),
        }
    }
}

impl FromStr for LoadOrder {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        match line.split_once(' ').map(|(word, number)| (word, number.parse())) {
            Some(("count", Ok(requests))) => Ok(Self::Count(requests)),
            Some(("time", Ok(millis))) => Ok(Self::Time(Duration::from_millis(millis))),
            _ => Err(io::Error::other(format!("no order: {line}"))),
        }
    }
}

/// The result of a [`LoadOrder`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadOutcome {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Nanoseconds from the first request to the last answer.
    pub(crate) nanos: u64,
    /// Median latency, in nanoseconds.
    pub(crate) p50: u64,
    /// 99th percentile of the latency, in nanoseconds.
    pub(crate) p99: u64,
    /// Bytes that the firehose sent and received back; 0 in every other traffic.
    pub(crate) bytes: u64,
}

impl LoadOutcome {
    /// Returns the line for the load generator's standard output.
    pub(crate) fn to_line(self) -> String {
        format!("{} {} {} {} {}", self.requests, self.nanos, self.p50, self.p99, self.bytes)
    }
}

impl FromStr for LoadOutcome {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [requests, nanos, p50, p99, bytes] => Ok(Self { requests, nanos, p50, p99, bytes }),
            _ => Err(io::Error::other(format!("the load generator said: {line}"))),
        }
    }
}
