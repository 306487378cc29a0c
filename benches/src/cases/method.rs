//! How the cases measure: interleaved rounds for ratios, runs of two lengths for counts.
//!
//! Absolute speed drifts by 10 to 30 % within minutes. So ratios come from [`rounds`], which run every peer once, one
//! right after the other, and give one [`ratio`] per round; a table shows their median and quartiles. Counts come from
//! two runs of different length: the difference divided by the additional requests (the *slope*) leaves the set-up out.

use super::case::Effort;
use crate::children::load::Load;
use crate::children::server::{Server, Under};
use crate::figures::spread::Spread;
use crate::machine::process;
use crate::orders::load::{LoadOrder, Target};
use crate::orders::service::Service;
use std::io;
use std::time::Duration;

/// Goals are stated to two decimals: a figure reaches a goal if it rounds to the goal.
pub(super) const ROUNDING: f64 = 0.005;
/// How long each server is measured, in milliseconds.
const MEASURED: u64 = 1000;
/// How long each server runs under load before it is measured, in milliseconds.
const WARM_UP: u64 = 200;

/// One run of one server at full speed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Requests, connections or datagrams per second.
    pub(super) rate: f64,
    /// 99th percentile of the latency, in nanoseconds.
    pub(super) p99: f64,
    /// CPU time of the server per request, in nanoseconds.
    pub(super) cpu: f64,
    /// CPU time of the server divided by the elapsed time.
    pub(super) busy: f64,
}

/// Runs one server under full load, and returns its speed and cost. `target` gives the load for a port.
pub(super) fn sample(service: &Service, target: impl FnOnce(u16) -> Target, effort: &Effort) -> io::Result<Sample> {
    let server = Server::start(service, Under::Nothing)?;
    let mut load = Load::start(&target(server.port))?;
    load.order(LoadOrder::Time(Duration::from_millis(effort.scale(WARM_UP))))?;
    let before = process::cpu_nanos(server.process())?;
    let outcome = load.order(LoadOrder::Time(Duration::from_millis(effort.scale(MEASURED))))?;
    let cpu = (process::cpu_nanos(server.process())? - before) as f64;
    load.finish()?;
    let (requests, nanos) = (outcome.requests.max(1) as f64, outcome.nanos as f64);
    Ok(Sample { rate: requests / nanos * 1e9, p99: outcome.p99 as f64, cpu: cpu / requests, busy: cpu / nanos })
}

/// Connects, sends this number of requests, and closes: the load of a counted run.
pub(super) fn send_count(target: &Target, requests: u64) -> io::Result<()> {
    let mut load = Load::start(target)?;
    load.order(LoadOrder::Count(requests))?;
    load.finish()
}

/// Samples each of `peers` once per round, and returns the rounds; the samples of a round are in the order of `peers`.
///
/// Each round begins with another peer, so a machine that becomes slower or faster favours no peer.
pub(super) fn rounds<P: Copy, S>(
    peers: &[P],
    effort: &Effort,
    mut sample: impl FnMut(P) -> io::Result<S>,
) -> io::Result<Vec<Vec<S>>> {
    let mut rounds = Vec::new();
    for number in 0..effort.pairs {
        let mut samples: Vec<_> = peers.iter().map(|_| None).collect();
        for step in 0..peers.len() {
            let place = (number + step) % peers.len();
            samples[place] = Some(sample(peers[place])?);
        }
        rounds.push(samples.into_iter().flatten().collect());
    }
    Ok(rounds)
}

/// Returns the spread over all rounds of the figure of peer number `a` divided by the figure of peer number `b`.
pub(super) fn ratio<S>(rounds: &[Vec<S>], figure: impl Fn(&S) -> f64, a: usize, b: usize) -> Spread {
    Spread::of(rounds.iter().map(|samples| figure(&samples[a]) / figure(&samples[b])).collect())
}

/// Returns the median over all rounds of the figure of peer number `place`: a count, or a value for context.
pub(super) fn median<S>(rounds: &[Vec<S>], figure: impl Fn(&S) -> f64, place: usize) -> f64 {
    Spread::of(rounds.iter().map(|samples| figure(&samples[place])).collect()).median
}
