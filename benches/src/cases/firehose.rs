//! F1: a connection at full speed (the *firehose*) beside 100 rate-limited clients: how long do the clients wait, and
//! how much slower is the firehose than alone?

use super::case::{Case, Effort, Report};
use super::method::{ROUNDING, median, ratio, rounds};
use crate::children::load::Load;
use crate::children::server::{Server, Under};
use crate::figures::plot::Plot;
use crate::figures::spread::Spread;
use crate::figures::table::{ABSOLUTE_TIMES, Kind, Table, verdict};
use crate::orders::load::{LoadOrder, Target, Traffic};
use crate::orders::peer::Peer;
use crate::orders::service::Service;
use std::io;
use std::time::Duration;

/// The case.
pub(super) const F1: Case = Case { id: "F1", title: "a firehose beside others", measure };

/// The number of rate-limited clients.
const CLIENTS: usize = 100;
/// The time to warm up, in milliseconds.
const WARM_UP: u64 = 200;
/// The measured time of the firehose alone, in milliseconds.
const ALONE: u64 = 600;
/// The measured time of the firehose beside the clients, in milliseconds.
const BESIDE: u64 = 1500;
/// The goal for the clients: at most this part of their p99 with tokio.
const GOAL_WAIT: f64 = 1.0;
/// The goal for the firehose: at least this part of its speed alone.
const GOAL_FLOW: f64 = 0.7;

/// One run of a server.
struct Sample {
    /// Median latency of the clients, in nanoseconds.
    p50: f64,
    /// 99th percentile of the same.
    p99: f64,
    /// Speed of the firehose alone, in bytes per nanosecond.
    alone: f64,
    /// Speed of the firehose beside the clients, in bytes per nanosecond.
    beside: f64,
}

/// Runs a server.
fn sample(peer: Peer, effort: &Effort) -> io::Result<Sample> {
    let server = Server::start(&Service::new(peer), Under::Nothing)?;
    let flow = |connections, millis| {
        let mut load = Load::start(&Target::new(Traffic::Firehose, server.port, connections))?;
        load.order(LoadOrder::Time(Duration::from_millis(effort.scale(WARM_UP))))?;
        let outcome = load.order(LoadOrder::Time(Duration::from_millis(effort.scale(millis))))?;
        load.finish()?;
        io::Result::Ok((outcome, outcome.bytes as f64 / outcome.nanos as f64))
    };
    let (_, alone) = flow(0, ALONE)?;
    let (outcome, beside) = flow(CLIENTS, BESIDE)?;
    Ok(Sample { p50: outcome.p50 as f64, p99: outcome.p99 as f64, alone, beside })
}

/// Measures ours and tokio.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = [
        "server",
        "p99 of the clients, in proportion to tokio's",
        "their p50",
        "for context: p99 in µs",
        "the firehose, in proportion to its speed alone",
        "in proportion to tokio's",
        "goal",
    ];
    let mut table =
        Table::new(format!("F1: a firehose beside {CLIENTS} rate-limited connections"), Kind::Ratios, &head);
    let mut plot = Plot::new("f1", "Firehose beside 100 clients, in proportion to its speed alone (more is better)");
    let peers = [Peer::Ours, Peer::Tokio];
    let rounds = rounds(&peers, effort, |peer| sample(peer, effort))?;
    for (place, peer) in peers.into_iter().enumerate() {
        let to_tokio = |figure: fn(&Sample) -> f64| ratio(&rounds, figure, place, 1);
        let p99 = to_tokio(|s| s.p99);
        let flow = Spread::of(rounds.iter().map(|round| round[place].beside / round[place].alone).collect());
        let reached = p99.median < GOAL_WAIT + ROUNDING && flow.median > GOAL_FLOW - ROUNDING;
        table.row(vec![
            peer.to_string(),
            p99.to_string(),
            to_tokio(|s| s.p50).to_string(),
            format!("{:.0}", median(&rounds, |s| s.p99, place) / 1e3),
            flow.to_string(),
            to_tokio(|s| s.beside).to_string(),
            if peer == Peer::Ours { verdict(reached) } else { String::new() },
        ]);
        plot.bar(peer.to_string(), flow.median);
    }
    table.note(format!("Goal: p99 not above tokio's, and at least {GOAL_FLOW} of the speed alone."));
    table.note(format!("{} pairs each. {ABSOLUTE_TIMES}", effort.pairs));
    Ok(Report { table, plot })
}
