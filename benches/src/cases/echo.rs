//! E1: echo throughput beside raw and tokio, with the latency and the server's CPU time.

use super::case::{Case, Effort, Report};
use super::method::{ROUNDING, median, ratio, rounds, sample};
use crate::figures::plot::Plot;
use crate::figures::table::{Kind, Table, verdict};
use crate::orders::load::{Target, Traffic};
use crate::orders::peer::Peer;
use crate::orders::service::Service;
use std::io;

/// The case.
pub(super) const E1: Case = Case { id: "E1", title: "echo throughput, latency and CPU", measure };

/// Bytes of a request, and connections.
const SHAPES: [(usize, usize); 6] = [(64, 1), (64, 64), (64, 1000), (64, 8000), (1024, 64), (1024, 1000)];
/// The goal: at least this part of raw's throughput.
const GOAL: f64 = 0.95;

/// Measures every shape.
fn measure(effort: &Effort) -> io::Result<Report> {
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
        let target = |port| Target { size, ..Target::new(Traffic::Echo, port, connections) };
        let rounds = rounds(&Peer::ALL, effort, |peer| sample(&Service::new(peer), target, effort))?;
        let [ours, raw, tokio] = [0, 1, 2];
        let (to_raw, to_tokio) = (ratio(&rounds, |s| s.rate, ours, raw), ratio(&rounds, |s| s.rate, ours, tokio));
        let tokio_to_raw = ratio(&rounds, |s| s.rate, tokio, raw);
        let shape = format!("{size} B × {connections}");
        table.row(vec![
            shape.clone(),
            to_raw.to_string(),
            to_tokio.to_string(),
            tokio_to_raw.to_string(),
            ratio(&rounds, |s| s.cpu, ours, raw).to_string(),
            ratio(&rounds, |s| s.cpu, tokio, raw).to_string(),
            ratio(&rounds, |s| s.p99, ours, raw).to_string(),
            ratio(&rounds, |s| s.p99, tokio, raw).to_string(),
            format!("{:.0} %", median(&rounds, |s| s.busy, ours) * 100.0),
            verdict(to_raw.median > GOAL - ROUNDING && to_tokio.median > 1.0 - ROUNDING),
        ]);
        plot.bar(format!("{shape}, ours"), to_raw.median);
        plot.bar(format!("{shape}, tokio"), tokio_to_raw.median);
    }
    table.note(format!("Goal: at least {GOAL} of raw, and not below tokio. {} pairs each.", effort.pairs));
    if effort.pairs < 25 {
        table.note("With fewer than 25 pairs, noise may exceed the differences in CPU and p99.");
    }
    Ok(Report { table, plot })
}
