//! H1: hyper on our crates beside hyper on tokio: requests/s, and user instructions per request.
//!
//! Both answer "Hello, World!" to 64 connections, in three variants. By default hyper writes the head and the body of
//! an answer as two slices. Flattened (`writev(false)`), hyper copies them together, which is cheaper for small bodies.
//! With a timer, hyper limits the time for the head of each request, so each request arms and cancels a timeout.

use super::case::{Case, Effort, Report};
use super::method::{ROUNDING, median, ratio, rounds, sample, send_count};
use crate::children::callgrind;
use crate::figures::plot::Plot;
use crate::figures::table::{Kind, Table, verdict};
use crate::orders::load::{Target, Traffic};
use crate::orders::peer::Peer;
use crate::orders::service::{Protocol, Service};
use std::io;

/// The case.
pub(super) const H1: Case = Case { id: "H1", title: "hyper", measure };

/// The peers; raw speaks no HTTP.
const PEERS: [Peer; 2] = [Peer::Ours, Peer::Tokio];
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// The shorter run under callgrind, in requests.
const FEWER: u64 = 10_000;
/// The longer run under callgrind, in requests.
const MORE: u64 = 30_000;
/// The goal: at most this number of instructions per request, without a timer.
const GOAL: f64 = 5300.0;

/// Returns the load for a port.
fn target(port: u16) -> Target {
    Target::new(Traffic::Http, port, CONNECTIONS)
}

/// Returns the user instructions per request of a server.
fn instructions(peer: Peer, protocol: Protocol, effort: &Effort) -> io::Result<f64> {
    let service = Service { protocol, connections: Some(CONNECTIONS as u64), ..Service::new(peer) };
    let count = |requests| callgrind::count(&service, |port| send_count(&target(port), requests));
    let (fewer, more) = (effort.scale(FEWER), effort.scale(MORE));
    let fewer_counted = count(fewer)? as f64;
    Ok((count(more)? as f64 - fewer_counted) / (more - fewer) as f64)
}

/// Measures the three variants.
fn measure(effort: &Effort) -> io::Result<Report> {
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
        let service = |peer| Service { protocol, ..Service::new(peer) };
        let rounds = rounds(&PEERS, effort, |peer| sample(&service(peer), target, effort))?;
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
