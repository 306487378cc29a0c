//! E1: echo throughput beside raw and tokio, with the latency and the server's CPU time.
//!
//! A round measures every server once, one right after the other, and gives one ratio per pair. The order is turned by
//! one from round to round, so that a machine which grows slower or faster favours nobody.

use super::{Effort, Report};
use crate::args::{Service, Target};
use crate::child::{Load, Server, Under};
use crate::load::{Order, Traffic};
use crate::plot::Plot;
use crate::process;
use crate::servers::Peer;
use crate::spread::Spread;
use crate::table::{Kind, Table, verdict};
use std::io;
use std::time::Duration;

/// Bytes and connections.
const SHAPES: [(usize, usize); 6] = [(64, 1), (64, 64), (64, 1000), (64, 8000), (1024, 64), (1024, 1000)];
/// What is reached at least, of raw's throughput.
const GOAL: f64 = 0.95;
/// The goals are stated to two decimals.
const ROUNDING: f64 = 0.005;
/// How long each server is measured, in milliseconds.
const MEASURED: u64 = 1000;
/// How long each server is warmed up, in milliseconds.
const WARM_UP: u64 = 200;

/// One run of one server.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Requests per second.
    rate: f64,
    /// Nanoseconds.
    p99: f64,
    /// Nanoseconds of the server per request.
    cpu: f64,
    /// Share of the time that the server's core was busy with it.
    busy: f64,
}

/// Runs one server.
fn sample(peer: Peer, size: usize, connections: usize, effort: &Effort) -> io::Result<Sample> {
    let server = Server::start(&Service::new(peer), Under::Nothing)?;
    let target = Target { traffic: Traffic::Echo, port: server.port, connections, size, close_first: false };
    let mut load = Load::start(&target)?;
    load.order(Order::Time(Duration::from_millis(effort.scale(WARM_UP))))?;
    let before = process::cpu_nanos(server.process())?;
    let outcome = load.order(Order::Time(Duration::from_millis(effort.scale(MEASURED))))?;
    let cpu = (process::cpu_nanos(server.process())? - before) as f64;
    load.finish()?;
    let (requests, nanos) = (outcome.requests.max(1) as f64, outcome.nanos as f64);
    Ok(Sample { rate: requests / nanos * 1e9, p99: outcome.p99 as f64, cpu: cpu / requests, busy: cpu / nanos })
}

/// Measures every server once, beginning with another one in each round.
fn round(number: usize, size: usize, connections: usize, effort: &Effort) -> io::Result<[Sample; Peer::ALL.len()]> {
    let mut samples = [Sample::default(); Peer::ALL.len()];
    for step in 0..Peer::ALL.len() {
        let place = (number + step) % Peer::ALL.len();
        samples[place] = sample(Peer::ALL[place], size, connections, effort)?;
    }
    Ok(samples)
}

/// The whole case.
pub(crate) fn measure(effort: &Effort) -> io::Result<Report> {
    let head = [
        "echo",
        "requests/s, ours/raw",
        "ours/tokio",
        "tokio/raw",
        "CPU per request, ours/raw",
        "tokio/raw",
        "p99, ours/raw",
        "tokio/raw",
        "server busy",
        "goal",
    ];
    let mut table = Table::new("E1: echo throughput, latency and CPU", Kind::Ratios, &head);
    let mut plot = Plot::new("e1", "Echo, requests/s in proportion to raw epoll (more is better)");
    for (size, connections) in SHAPES {
        let rounds = (0..effort.pairs).map(|number| round(number, size, connections, effort));
        let rounds = rounds.collect::<io::Result<Vec<_>>>()?;
        let ratio = |figure: fn(&Sample) -> f64, a: usize, b: usize| {
            Spread::of(rounds.iter().map(|samples| figure(&samples[a]) / figure(&samples[b])).collect())
        };
        let [ours, raw, tokio] = [0, 1, 2];
        let (to_raw, to_tokio) = (ratio(|s| s.rate, ours, raw), ratio(|s| s.rate, ours, tokio));
        let tokio_to_raw = ratio(|s| s.rate, tokio, raw);
        let busy = Spread::of(rounds.iter().map(|samples| samples[ours].busy).collect());
        let shape = format!("{size} B × {connections}");
        table.row(vec![
            shape.clone(),
            to_raw.to_string(),
            to_tokio.to_string(),
            tokio_to_raw.to_string(),
            ratio(|s| s.cpu, ours, raw).to_string(),
            ratio(|s| s.cpu, tokio, raw).to_string(),
            ratio(|s| s.p99, ours, raw).to_string(),
            ratio(|s| s.p99, tokio, raw).to_string(),
            format!("{:.0} %", busy.median * 100.0),
            verdict(to_raw.median > GOAL - ROUNDING && to_tokio.median > 1.0 - ROUNDING),
        ]);
        plot.bar(format!("{shape}, ours"), to_raw.median);
        plot.bar(format!("{shape}, tokio"), tokio_to_raw.median);
    }
    table.note(format!("Goal: at least {GOAL} of raw, and not below tokio. {} pairs each.", effort.pairs));
    if effort.pairs < 25 {
        table.note("Fewer than 25 pairs: CPU and p99 may drown in noise.");
    }
    Ok(Report { table, plot })
}
