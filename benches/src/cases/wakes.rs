//! W1: wakes from another thread, singly and in bursts: round trips per second, and system calls per wake.

use super::case::{Case, Effort, Report};
use super::method::{ROUNDING, median, ratio, rounds};
use crate::children::figures;
use crate::figures::plot::Plot;
use crate::figures::table::{ABSOLUTE_TIMES, Kind, Table, verdict};
use crate::orders::peer::Peer;
use crate::orders::wakes::WakeOrder;
use std::io;

/// The case.
pub(super) const W1: Case = Case { id: "W1", title: "wakes from another thread", measure };

/// Tasks woken in a round, and rounds of a run.
const SHAPES: [(usize, u64); 2] = [(1, 20_000), (64, 5_000)];
/// The goal: at least this part of tokio's rounds per second.
const GOAL: f64 = 1.0;
/// The goal: at most this number of writes more than sleeps.
const BEYOND_SLEEPS: f64 = 1.0;

/// Measures both shapes.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = [
        "tasks woken in a round",
        "rounds/s, ours/tokio",
        "for context: µs per round, ours",
        "tokio",
        "eventfd writes per wake, ours",
        "tokio",
        "writes beyond sleeps, ours",
        "goal",
    ];
    let mut table = Table::new("W1: wakes from another thread", Kind::Ratios, &head);
    let mut plot = Plot::new("w1", "System calls per wake from another thread (fewer is better)");
    for (tasks, count) in SHAPES {
        let count = effort.scale(count) as usize;
        let wakes = |peer| figures::wakes(WakeOrder { peer, tasks, rounds: count });
        let rounds = rounds(&[Peer::Ours, Peer::Tokio], effort, wakes)?;
        let rate = ratio(&rounds, |outcome| outcome.rate, 0, 1);
        let micros = [0, 1].map(|peer| 1e6 / median(&rounds, |outcome| outcome.rate, peer));
        let writes = [0, 1].map(|peer| median(&rounds, |outcome| outcome.writes, peer));
        let beyond = rounds.iter().map(|round| round[0].beyond_sleeps).fold(f64::MIN, f64::max);
        table.row(vec![
            tasks.to_string(),
            rate.to_string(),
            format!("{:.1}", micros[0]),
            format!("{:.1}", micros[1]),
            format!("{:.2}", writes[0]),
            format!("{:.2}", writes[1]),
            format!("{beyond:.0}"),
            verdict(rate.median > GOAL - ROUNDING && beyond <= BEYOND_SLEEPS),
        ]);
        plot.bar(format!("{tasks} at a time, ours"), writes[0]);
        plot.bar(format!("{tasks} at a time, tokio"), writes[1]);
    }
    table.note(format!(
        "Goal: not below tokio, and in no run more than {BEYOND_SLEEPS} eventfd write beyond the sleeps. The writes \
         are counts."
    ));
    table.note(format!("{} pairs each. {ABSOLUTE_TIMES}", effort.pairs));
    Ok(Report { table, plot })
}
