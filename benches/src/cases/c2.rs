//! C2: connections per second beside tokio and raw: connect, one round trip of 64 B, close; 32 at a time.

use super::{Effort, Report, ratio, rounds};
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

/// Connections at a time.
const PARALLEL: usize = 32;
/// What is reached at least, of tokio's rate.
const GOAL: f64 = 1.10;
/// The goal is stated to two decimals.
const ROUNDING: f64 = 0.005;
/// How long each server is measured, in milliseconds.
const MEASURED: u64 = 1000;
/// How long each server is warmed up, in milliseconds.
const WARM_UP: u64 = 200;

/// What the listener waits for, and who closes: the same for all servers of a row.
struct Variant {
    name: &'static str,
    defer_accept: bool,
    close_first: bool,
}

/// In the order of the table.
const VARIANTS: [Variant; 3] = [
    Variant { name: "client closes first", defer_accept: false, close_first: false },
    Variant { name: "client closes first, defer-accept", defer_accept: true, close_first: false },
    Variant { name: "server closes first, defer-accept", defer_accept: true, close_first: true },
];

/// One run of one server.
struct Sample {
    /// Connections per second.
    rate: f64,
    /// Nanoseconds of the server per connection.
    cpu: f64,
    /// Share of the time that the server's core was busy with it.
    busy: f64,
}

impl Variant {
    /// Runs one server.
    fn sample(&self, peer: Peer, effort: &Effort) -> io::Result<Sample> {
        let Self { defer_accept, close_first, .. } = *self;
        let server = Server::start(&Service { defer_accept, close_first, ..Service::new(peer) }, Under::Nothing)?;
        let port = server.port;
        let target = Target { traffic: Traffic::Connect, port, connections: PARALLEL, size: 64, close_first };
        let mut load = Load::start(&target)?;
        load.order(Order::Time(Duration::from_millis(effort.scale(WARM_UP))))?;
        let before = process::cpu_nanos(server.process())?;
        let outcome = load.order(Order::Time(Duration::from_millis(effort.scale(MEASURED))))?;
        let cpu = (process::cpu_nanos(server.process())? - before) as f64;
        load.finish()?;
        let (connections, nanos) = (outcome.requests.max(1) as f64, outcome.nanos as f64);
        Ok(Sample { rate: connections / nanos * 1e9, cpu: cpu / connections, busy: cpu / nanos })
    }
}

/// The whole case.
pub(crate) fn measure(effort: &Effort) -> io::Result<Report> {
    let head = [
        "variant",
        "connections/s, ours/tokio",
        "ours/raw",
        "tokio/raw",
        "CPU per connection, ours/tokio",
        "ours/raw",
        "server busy",
        "goal",
    ];
    let mut table = Table::new(format!("C2: connections/s, {PARALLEL} in parallel"), Kind::Ratios, &head);
    let mut plot = Plot::new("c2", "Connections/s in proportion to tokio (more is better)");
    for variant in &VARIANTS {
        let rounds = rounds(&Peer::ALL, effort, |peer| variant.sample(peer, effort))?;
        let [ours, raw, tokio] = [0, 1, 2];
        let to_tokio = ratio(&rounds, |s| s.rate, ours, tokio);
        let busy = Spread::of(rounds.iter().map(|samples| samples[ours].busy).collect());
        table.row(vec![
            variant.name.into(),
            to_tokio.to_string(),
            ratio(&rounds, |s| s.rate, ours, raw).to_string(),
            ratio(&rounds, |s| s.rate, tokio, raw).to_string(),
            ratio(&rounds, |s| s.cpu, ours, tokio).to_string(),
            ratio(&rounds, |s| s.cpu, ours, raw).to_string(),
            format!("{:.0} %", busy.median * 100.0),
            verdict(to_tokio.median > GOAL - ROUNDING),
        ]);
        plot.bar(variant.name, to_tokio.median);
    }
    table.note(format!("Goal: at least {GOAL:.2} of tokio. {} pairs each.", effort.pairs));
    Ok(Report { table, plot })
}
