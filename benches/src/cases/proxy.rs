//! P1: bulk data through a TCP proxy: CPU time of the proxy per GiB.

use super::case::{Case, Effort, Report};
use super::method::{ROUNDING, median, ratio, rounds};
use crate::children::figures;
use crate::figures::plot::Plot;
use crate::figures::table::{ABSOLUTE_TIMES, Kind, Table, verdict};
use crate::orders::peer::Peer;
use crate::orders::proxy::ProxyOrder;
use std::io;

/// The case.
pub(super) const P1: Case = Case { id: "P1", title: "bulk data through a proxy", measure };

/// Connections at the same time, and MiB through each.
const SHAPES: [(usize, u64); 2] = [(1, 2560), (16, 160)];
/// The goal: at most this part of tokio's CPU time.
const GOAL: f64 = 0.6;

/// Measures both shapes.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = ["connections", "CPU of the proxy per GiB, ours/tokio", "for context: s per GiB, ours", "tokio", "goal"];
    let mut table = Table::new("P1: bulk data through a TCP proxy", Kind::Ratios, &head);
    let mut plot = Plot::new("p1", "CPU of a proxy per GiB, in proportion to tokio (less is better)");
    for (connections, mib) in SHAPES {
        let mib = effort.scale(mib) as usize;
        let proxy = |peer| figures::proxy(ProxyOrder { peer, connections, mib });
        let rounds = rounds(&[Peer::Ours, Peer::Tokio], effort, proxy)?;
        let cpu = ratio(&rounds, |&seconds| seconds, 0, 1);
        let seconds = |place| format!("{:.3}", median(&rounds, |&seconds| seconds, place));
        let reached = verdict(cpu.median < GOAL + ROUNDING);
        table.row(vec![connections.to_string(), cpu.to_string(), seconds(0), seconds(1), reached]);
        plot.bar(format!("{connections} at a time, ours"), cpu.median);
        plot.bar(format!("{connections} at a time, tokio"), 1.0);
    }
    table.note(format!(
        "`copy_bidirectional` of both. Goal: at most {GOAL} of tokio. {} pairs each. {ABSOLUTE_TIMES}",
        effort.pairs
    ));
    Ok(Report { table, plot })
}
