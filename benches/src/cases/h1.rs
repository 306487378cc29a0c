//! H1: hyper on our crates beside hyper on tokio: requests/s, and user instructions per request.
//!
//! Both answer "Hello, World!" to 64 connections: as hyper does it unless told otherwise, head and body of an answer in
//! two slices; flattened, by `writev(false)`, which is cheaper for bodies as small as this one; and with a timer, by
//! which hyper limits the time for the head of each request, so that each request arms and cancels a timeout.

use super::{Effort, Report, median, ratio, rounds};
use crate::args::{Service, Target};
use crate::child::{Load, Server, Under};
use crate::load::{Order, Traffic};
use crate::plot::Plot;
use crate::servers::{Peer, Protocol};
use crate::table::{Kind, Table, verdict};
use crate::{callgrind, process};
use std::io;
use std::time::Duration;

/// Who is measured.
const PEERS: [Peer; 2] = [Peer::Ours, Peer::Tokio];
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// The shorter run under callgrind, in requests.
const FEWER: u64 = 10_000;
/// The longer one.
const MORE: u64 = 30_000;
/// At most so many instructions per request, without a timer.
const GOAL: f64 = 5300.0;
/// The goal for requests/s, 1.0 of tokio's, is stated to two decimals.
const ROUNDING: f64 = 0.005;
/// How long each server is measured, in milliseconds.
const MEASURED: u64 = 1000;
/// How long each server is warmed up, in milliseconds.
const WARM_UP: u64 = 200;

/// One run of one server.
#[derive(Debug)]
struct Sample {
    /// Requests per second.
    rate: f64,
    /// Nanoseconds of the server per request.
    cpu: f64,
    /// Share of the time that the server's core was busy with it.
    busy: f64,
}

/// The load on a port.
fn target(port: u16) -> Target {
    Target { traffic: Traffic::Http, port, connections: CONNECTIONS, size: 1, close_first: false }
}

/// Runs one server at full speed.
fn sample(peer: Peer, protocol: Protocol, effort: &Effort) -> io::Result<Sample> {
    let server = Server::start(&Service { protocol, ..Service::new(peer) }, Under::Nothing)?;
    let mut load = Load::start(&target(server.port))?;
    load.order(Order::Time(Duration::from_millis(effort.scale(WARM_UP))))?;
    let before = process::cpu_nanos(server.process())?;
    let outcome = load.order(Order::Time(Duration::from_millis(effort.scale(MEASURED))))?;
    let cpu = (process::cpu_nanos(server.process())? - before) as f64;
    load.finish()?;
    let (requests, nanos) = (outcome.requests.max(1) as f64, outcome.nanos as f64);
    Ok(Sample { rate: requests / nanos * 1e9, cpu: cpu / requests, busy: cpu / nanos })
}

/// User instructions per request of one server.
fn instructions(peer: Peer, protocol: Protocol, effort: &Effort) -> io::Result<f64> {
    let service = Service { protocol, connections: Some(CONNECTIONS as u64), ..Service::new(peer) };
    let count = |requests| {
        callgrind::count(&service, |port| {
            let mut load = Load::start(&target(port))?;
            load.order(Order::Count(requests))?;
            load.finish()
        })
    };
    let (fewer, more) = (effort.scale(FEWER), effort.scale(MORE));
    let fewer_counted = count(fewer)? as f64;
    Ok((count(more)? as f64 - fewer_counted) / (more - fewer) as f64)
}

/// The whole case.
pub(crate) fn measure(effort: &Effort) -> io::Result<Report> {
    let head = [
        "hyper",
        "requests/s, ours/tokio",
        "CPU per request, ours/tokio",
        "server busy",
        "instructions per request, ours",
        "tokio",
        "goal",
    ];
    let mut table = Table::new("H1: hyper, \"Hello, World!\" × 64", Kind::Ratios, &head);
    let mut plot = Plot::new("h1", "hyper, user instructions per request (fewer is better)");
    let rows = [(Protocol::Http, "as it is"), (Protocol::HttpFlat, "flattened"), (Protocol::HttpTimed, "with a timer")];
    for (protocol, name) in rows {
        let rounds = rounds(&PEERS, effort, |peer| sample(peer, protocol, effort))?;
        let [ours, tokio] = [0, 1];
        let rate = ratio(&rounds, |s| s.rate, ours, tokio);
        let counted = [instructions(Peer::Ours, protocol, effort)?, instructions(Peer::Tokio, protocol, effort)?];
        let reached = rate.median > 1.0 - ROUNDING && (counted[ours] <= GOAL || protocol == Protocol::HttpTimed);
        table.row(vec![
            name.into(),
            rate.to_string(),
            ratio(&rounds, |s| s.cpu, ours, tokio).to_string(),
            format!("{:.0} %", median(&rounds, |s| s.busy, ours) * 100.0),
            format!("{:.0}", counted[ours]),
            format!("{:.0}", counted[tokio]),
            verdict(reached),
        ]);
        plot.bar(format!("{name}, ours"), counted[ours]);
        plot.bar(format!("{name}, tokio"), counted[tokio]);
    }
    table.note(format!(
        "Goal: not below tokio's requests/s, and without a timer at most {GOAL:.0} instructions per request. The \
         instructions are counts. {} pairs each.",
        effort.pairs
    ));
    Ok(Report { table, plot })
}
