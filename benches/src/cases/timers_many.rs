//! T5 and T6: very many timers, and many, that all fire within a second: CPU time and memory.
//!
//! The CPU time is that of the whole process, since some peers have a timer thread. It includes every step: create,
//! arm, fire, poll until ready, drop. The memory of a timer is given in two parts, the future and the heap beyond the
//! future: some peers keep everything in the future, others nearly nothing.

use super::case::{Case, Effort, Report};
use super::method::{median, ratio, rounds};
use crate::children::figures;
use crate::figures::plot::Plot;
use crate::figures::table::{ABSOLUTE_TIMES, Kind, Table, verdict};
use crate::orders::timers::{Exercise, TimerOrder, TimerPeer};
use std::io;

/// 1 000 000 timers.
pub(super) const T5: Case = Case { id: "T5", title: "very many timers within a second", measure: very_many };
/// 10 000 timers.
pub(super) const T6: Case = Case { id: "T6", title: "many timers within a second", measure: many };

/// Ours must be the first, tokio the second.
const PEERS: [TimerPeer; 5] =
    [TimerPeer::Ours, TimerPeer::Tokio, TimerPeer::Monoio, TimerPeer::AsyncIo, TimerPeer::FuturesTimer];
/// Timers of T5.
const VERY_MANY: u64 = 1_000_000;
/// The goal of T5: at most this part of tokio's CPU time.
const GOAL_VERY_MANY: f64 = 0.5;
/// The goal of T5: at most this number of bytes per timer, the future and the heap together.
const GOAL_BYTES: f64 = 64.0;
/// Timers of T6.
const MANY: u64 = 10_000;
/// The goal of T6: at most this part of tokio's CPU time.
const GOAL_MANY: f64 = 0.8;

/// Lets `count` timers of a peer fire, and returns the milliseconds of CPU as the only figure.
fn storm(peer: TimerPeer, count: usize) -> io::Result<Vec<f64>> {
    figures::timers(TimerOrder { peer, exercise: Exercise::Storm, count })
}

/// Measures T5.
fn very_many(effort: &Effort) -> io::Result<Report> {
    let head = [
        "peer",
        "CPU, in proportion to tokio's",
        "for context: ms of CPU",
        "bytes per timer",
        "of the future",
        "of the heap beyond",
        "goal for CPU",
        "for bytes",
    ];
    let title = "T5: 1 000 000 timers that fire within a second";
    let mut table = Table::new(title, Kind::Ratios, &head);
    let mut plot = Plot::new("t5", "CPU time of 1 000 000 timers, in proportion to tokio (less is better)");
    let count = effort.scale(VERY_MANY) as usize;
    let rounds = rounds(&PEERS, effort, |peer| storm(peer, count))?;
    for (place, peer) in PEERS.into_iter().enumerate() {
        let cpu = ratio(&rounds, |sample| sample[0], place, 1);
        let bytes = figures::timers(TimerOrder { peer, exercise: Exercise::Bytes, count: VERY_MANY as usize })?;
        let sum: f64 = bytes.iter().sum();
        let verdicts = if place == 0 {
            [cpu.median <= GOAL_VERY_MANY, sum <= GOAL_BYTES].map(verdict)
        } else {
            [const { String::new() }; 2]
        };
        let [cpu_verdict, bytes_verdict] = verdicts;
        table.row(vec![
            peer.to_string(),
            cpu.to_string(),
            format!("{:.0}", median(&rounds, |sample| sample[0], place)),
            format!("{sum:.0}"),
            format!("{:.0}", bytes[0]),
            format!("{:.0}", bytes[1]),
            cpu_verdict,
            bytes_verdict,
        ]);
        plot.bar(peer.to_string(), cpu.median);
    }
    table
        .note(format!("Goal: at most {GOAL_VERY_MANY} of tokio's CPU time, and {GOAL_BYTES} bytes, which are counts."));
    table.note(format!("{} pairs each. {ABSOLUTE_TIMES}", effort.pairs));
    Ok(Report { table, plot })
}

/// Measures T6.
fn many(effort: &Effort) -> io::Result<Report> {
    let head = ["peer", "CPU, in proportion to tokio's", "for context: ms of CPU", "goal"];
    let mut table = Table::new("T6: 10 000 timers that fire within a second", Kind::Ratios, &head);
    let mut plot = Plot::new("t6", "CPU time of 10 000 timers, in proportion to tokio (less is better)");
    let count = effort.scale(MANY) as usize;
    let rounds = rounds(&PEERS, effort, |peer| storm(peer, count))?;
    for (place, peer) in PEERS.into_iter().enumerate() {
        let cpu = ratio(&rounds, |sample| sample[0], place, 1);
        table.row(vec![
            peer.to_string(),
            cpu.to_string(),
            format!("{:.1}", median(&rounds, |sample| sample[0], place)),
            if place == 0 { verdict(cpu.median <= GOAL_MANY) } else { String::new() },
        ]);
        plot.bar(peer.to_string(), cpu.median);
    }
    table.note(format!("Goal: at most {GOAL_MANY} of tokio's CPU time."));
    table.note(format!("{} pairs each. {ABSOLUTE_TIMES}", effort.pairs));
    Ok(Report { table, plot })
}
