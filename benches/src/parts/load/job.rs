//! An order in progress: the requests sent, the requests answered, and the latencies.
//!
//! Every kind of load except the firehose counts with a [`Job`]; the firehose is limited by time only.

use crate::figures::histogram::Histogram;
use crate::orders::load::{LoadOrder, LoadOutcome};
use std::time::{Duration, Instant};

/// A server silent for this long is considered dead.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// An order in progress.
pub(super) struct Job {
    begin: Instant,
    order: LoadOrder,
    /// Requests sent so far.
    issued: u64,
    /// Latencies of the requests answered so far, in nanoseconds.
    latencies: Histogram,
}

impl Job {
    /// Starts the clock of an order.
    pub(super) fn new(order: LoadOrder) -> Self {
        Self { begin: Instant::now(), order, issued: 0, latencies: Histogram::new() }
    }

    /// Returns the nanoseconds since the job began.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns whether the order asks for one more request at `now`. If so, the caller must send it.
    pub(super) fn more(&mut self, now: u64) -> bool {
        let more = match self.order {
            LoadOrder::Count(requests) => self.issued < requests,
            LoadOrder::Time(time) => u128::from(now) < time.as_nanos(),
        };
        self.issued += u64::from(more);
        more
    }

    /// Counts one answer, `latency` nanoseconds after its request.
    pub(super) fn answered(&mut self, latency: u64) {
        self.latencies.add(latency);
    }

    /// Returns the number of requests without an answer so far.
    pub(super) fn outstanding(&self) -> u64 {
        self.issued - self.latencies.count()
    }

    /// Returns the outcome; the last answer has arrived.
    pub(super) fn finish(&self) -> LoadOutcome {
        let (p50, p99) = (self.latencies.percentile(50), self.latencies.percentile(99));
        LoadOutcome { requests: self.latencies.count(), nanos: self.now(), p50, p99, bytes: 0 }
    }
}
