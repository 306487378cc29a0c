//! U1: echo of datagrams, ours in batches and one by one beside tokio one by one.

use super::{Effort, Report, ratio, rounds};
use crate::args::{Service, Target};
use crate::child::{Load, Server, Under};
use crate::load::{Order, Traffic};
use crate::plot::Plot;
use crate::process;
use crate::servers::Peer;
use crate::table::{Kind, Table, verdict};
use std::io;
use std::time::Duration;

/// Bytes of a datagram.
const SIZE: usize = 64;
/// Datagrams on their way at any time.
const WINDOWS: [usize; 4] = [1, 16, 64, 256];
/// With fewer than this there is hardly anything to move together, so the goal is not about them.
const WORTHWHILE: usize = 64;
/// Places of a batch of ours.
const BATCH: usize = 64;
/// At least so many times as much CPU time per datagram for tokio.
const GOAL: f64 = 1.15;
/// The goal is stated to two decimals.
const ROUNDING: f64 = 0.005;
/// How long each server is measured, in milliseconds.
const MEASURED: u64 = 1000;
/// How long each server is warmed up, in milliseconds.
const WARM_UP: u64 = 200;

/// One run of one server.
struct Sample {
    /// Datagrams per second.
    rate: f64,
    /// Nanoseconds of the server per datagram.
    cpu: f64,
    /// Nanoseconds.
    p99: f64,
    /// Share of the time that the server's core was busy with it.
    busy: f64,
}

/// Runs one server, with batches of so many datagrams.
fn sample((peer, batch): (Peer, usize), window: usize, effort: &Effort) -> io::Result<Sample> {
    let server = Server::start(&Service { datagrams: Some(batch), ..Service::new(peer) }, Under::Nothing)?;
    let traffic = Traffic::Datagrams;
    let mut load =
        Load::start(&Target { traffic, port: server.port, connections: window, size: SIZE, close_first: false })?;
    load.order(Order::Time(Duration::from_millis(effort.scale(WARM_UP))))?;
    let before = process::cpu_nanos(server.process())?;
    let outcome = load.order(Order::Time(Duration::from_millis(effort.scale(MEASURED))))?;
    let cpu = (process::cpu_nanos(server.process())? - before) as f64;
    load.finish()?;
    let (datagrams, nanos) = (outcome.requests.max(1) as f64, outcome.nanos as f64);
    Ok(Sample { rate: datagrams / nanos * 1e9, cpu: cpu / datagrams, p99: outcome.p99 as f64, busy: cpu / nanos })
}

/// The whole case.
pub(crate) fn measure(effort: &Effort) -> io::Result<Report> {
    let head = [
        "datagrams on their way",
        "CPU per datagram, tokio/ours in batches",
        "tokio/ours one by one",
        "datagrams/s, ours in batches/tokio",
        "ours one by one/tokio",
        "p99, ours in batches/tokio",
        "server busy",
        "goal",
    ];
    let mut table = Table::new("U1: echo of datagrams", Kind::Ratios, &head);
    let mut plot = Plot::new("u1", "Echo of datagrams, CPU time of tokio in proportion to ours (more is better)");
    let [batches, single, tokio] = [0, 1, 2];
    for window in WINDOWS {
        let peers = [(Peer::Ours, BATCH), (Peer::Ours, 1), (Peer::Tokio, 1)];
        let rounds = rounds(&peers, effort, |peer| sample(peer, window, effort))?;
        let cpu = ratio(&rounds, |sample| sample.cpu, tokio, batches);
        let cpu_single = ratio(&rounds, |sample| sample.cpu, tokio, single);
        let goal = if window < WORTHWHILE { "–".into() } else { verdict(cpu.median > GOAL - ROUNDING) };
        table.row(vec![
            window.to_string(),
            cpu.to_string(),
            cpu_single.to_string(),
            ratio(&rounds, |sample| sample.rate, batches, tokio).to_string(),
            ratio(&rounds, |sample| sample.rate, single, tokio).to_string(),
            ratio(&rounds, |sample| sample.p99, batches, tokio).to_string(),
            format!("{:.0} %", super::median(&rounds, |sample| sample.busy, batches) * 100.0),
            goal,
        ]);
        plot.bar(format!("{window} on their way, in batches"), cpu.median);
        plot.bar(format!("{window} on their way, one by one"), cpu_single.median);
    }
    table.note(format!(
        "Datagrams of {SIZE} B, batches of at most {BATCH}. Goal: at least {GOAL} times as much CPU time per datagram for \
         tokio, with {WORTHWHILE} or more on their way. {} pairs each.",
        effort.pairs
    ));
    Ok(Report { table, plot })
}
