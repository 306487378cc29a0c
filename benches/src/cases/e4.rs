//! E4: echo of large requests, beside raw and tokio: 256 KiB over 8 connections.

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

/// Bytes of a request.
const SIZE: usize = 256 << 10;
/// Connections.
const CONNECTIONS: usize = 8;
/// What is reached at least, of raw's throughput.
const GOAL: f64 = 0.97;
/// The goal is stated to two decimals.
const ROUNDING: f64 = 0.005;
/// How long each server is measured, in milliseconds.
const MEASURED: u64 = 1000;
/// How long each server is warmed up, in milliseconds.
const WARM_UP: u64 = 200;

/// One run of one server.
struct Sample {
    /// Requests per second.
    rate: f64,
    /// Nanoseconds of the server per request.
    cpu: f64,
}

/// Runs one server.
fn sample(peer: Peer, effort: &Effort) -> io::Result<Sample> {
    let server = Server::start(&Service::new(peer), Under::Nothing)?;
    let target =
        Target { traffic: Traffic::Bulk, port: server.port, connections: CONNECTIONS, size: SIZE, close_first: false };
    let mut load = Load::start(&target)?;
    load.order(Order::Time(Duration::from_millis(effort.scale(WARM_UP))))?;
    let before = process::cpu_nanos(server.process())?;
    let outcome = load.order(Order::Time(Duration::from_millis(effort.scale(MEASURED))))?;
    let cpu = (process::cpu_nanos(server.process())? - before) as f64;
    load.finish()?;
    let (requests, nanos) = (outcome.requests.max(1) as f64, outcome.nanos as f64);
    Ok(Sample { rate: requests / nanos * 1e9, cpu: cpu / requests })
}

/// The whole case.
pub(crate) fn measure(effort: &Effort) -> io::Result<Report> {
    let head = ["server", "requests/s, in proportion to raw", "to tokio", "CPU per request, to raw", "goal"];
    let title = format!("E4: echo of {} KiB over {CONNECTIONS} connections", SIZE >> 10);
    let mut table = Table::new(title, Kind::Ratios, &head);
    let mut plot = Plot::new("e4", "Echo of 256 KiB, requests/s in proportion to raw epoll (more is better)");
    let rounds = rounds(&Peer::ALL, effort, |peer| sample(peer, effort))?;
    let [ours, raw, tokio] = [0, 1, 2];
    for place in [ours, tokio] {
        let to_raw = ratio(&rounds, |s| s.rate, place, raw);
        table.row(vec![
            Peer::ALL[place].to_string(),
            to_raw.to_string(),
            ratio(&rounds, |s| s.rate, place, tokio).to_string(),
            ratio(&rounds, |s| s.cpu, place, raw).to_string(),
            if place == ours { verdict(to_raw.median > GOAL - ROUNDING) } else { String::new() },
        ]);
        plot.bar(Peer::ALL[place].to_string(), to_raw.median);
    }
    table.note(format!("Goal: at least {GOAL} of raw. {} pairs.", effort.pairs));
    Ok(Report { table, plot })
}
