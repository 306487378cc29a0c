//! T1 to T4: the cost of a single timeout through the public API: `Timeout::new`, `sleep`, and their counterparts.
//!
//! Each run is a process of its own that prints the CPU time of an operation in nanoseconds. The nanoseconds drift with
//! the machine, so they are shown for context only. The result is the ratio to tokio's run of the same round.

use super::case::{Case, Effort, Report};
use super::method::{median, ratio, rounds};
use crate::children::figures;
use crate::figures::plot::Plot;
use crate::figures::table::{ABSOLUTE_TIMES, Kind, Table, verdict};
use crate::orders::timers::{Exercise, TimerOrder, TimerPeer};
use std::io;

/// The timer is never needed.
pub(super) const T1: Case =
    Case { id: "T1", title: "a timeout around a ready future", measure: |effort| measure(&READY, effort) };
/// The timer becomes the earliest.
pub(super) const T2: Case =
    Case { id: "T2", title: "a timeout armed and cancelled, the first", measure: |effort| measure(&EARLIEST, effort) };
/// The timer is the latest of many.
pub(super) const T3: Case =
    Case { id: "T3", title: "a timeout armed and cancelled, the last", measure: |effort| measure(&LATEST, effort) };
/// Random timers among many.
pub(super) const T4: Case =
    Case { id: "T4", title: "one timer of very many replaced", measure: |effort| measure(&CHURN, effort) };

/// The parameters of a case.
struct Shape {
    title: &'static str,
    /// The file name of the plot.
    plot: &'static str,
    exercise: Exercise,
    /// Operations, or other timers, depending on the exercise.
    count: u64,
    /// Ours must be the first, tokio the second.
    peers: &'static [TimerPeer],
    /// The figures of a run, in their order.
    variants: &'static [Variant],
}

/// A figure of a run.
struct Variant {
    name: &'static str,
    /// The goal: at most this part of tokio's CPU time.
    goal: f64,
    /// A second goal: less CPU time than this peer.
    below: Option<TimerPeer>,
}

/// The peers of T3 and T4. Ours must be the first, tokio the second.
const PEERS: [TimerPeer; 4] = [TimerPeer::Ours, TimerPeer::Tokio, TimerPeer::Monoio, TimerPeer::AsyncIo];
/// The peers of T1 and T2, in the same order.
const WITH_FUTURES_TIMER: [TimerPeer; 5] =
    [TimerPeer::Ours, TimerPeer::Tokio, TimerPeer::Monoio, TimerPeer::AsyncIo, TimerPeer::FuturesTimer];

const READY: Shape = Shape {
    title: "T1: a timeout around a ready future",
    plot: "t1",
    exercise: Exercise::Ready,
    count: 1_000_000,
    peers: &WITH_FUTURES_TIMER,
    variants: &[Variant { name: "ready", goal: 0.25, below: None }],
};

const EARLIEST: Shape = Shape {
    title: "T2: a timeout armed and cancelled, the first to be due",
    plot: "t2",
    exercise: Exercise::Earliest,
    count: 500_000,
    peers: &WITH_FUTURES_TIMER,
    variants: &[Variant { name: "first", goal: 0.15, below: Some(TimerPeer::Monoio) }],
};

const LATEST: Shape = Shape {
    title: "T3: a timeout armed and cancelled, the last of 1 000 000",
    plot: "t3",
    exercise: Exercise::Latest,
    count: 1_000_000,
    peers: &PEERS,
    variants: &[
        Variant { name: "last, a duration", goal: 0.75, below: None },
        Variant { name: "last, an instant", goal: 0.5, below: None },
    ],
};

const CHURN: Shape = Shape {
    title: "T4: any of 1 000 000 timers cancelled and another armed",
    plot: "t4",
    exercise: Exercise::Churn,
    count: 1_000_000,
    peers: &PEERS,
    variants: &[Variant { name: "replaced", goal: 0.8, below: None }],
};

/// Measures a case.
fn measure(shape: &Shape, effort: &Effort) -> io::Result<Report> {
    let head = ["timeout", "peer", "CPU, in proportion to tokio's", "for context: ns of CPU", "goal"];
    let mut table = Table::new(shape.title, Kind::Ratios, &head);
    let mut plot = Plot::new(shape.plot, format!("{}, in proportion to tokio (less is better)", shape.title));
    let count = effort.scale(shape.count) as usize;
    let rounds =
        rounds(shape.peers, effort, |peer| figures::timers(TimerOrder { peer, exercise: shape.exercise, count }))?;
    for (figure, variant) in shape.variants.iter().enumerate() {
        for (place, peer) in shape.peers.iter().enumerate() {
            let to_tokio = ratio(&rounds, |sample| sample[figure], place, 1);
            let beats = |other| {
                let other = shape.peers.iter().position(|peer| *peer == other);
                other.is_some_and(|other| ratio(&rounds, |sample| sample[figure], place, other).median < 1.0)
            };
            let reached = to_tokio.median <= variant.goal && variant.below.is_none_or(beats);
            table.row(vec![
                variant.name.into(),
                peer.to_string(),
                to_tokio.to_string(),
                format!("{:.0}", median(&rounds, |sample| sample[figure], place)),
                if place == 0 { verdict(reached) } else { String::new() },
            ]);
            plot.bar(format!("{}, {peer}", variant.name), to_tokio.median);
        }
        let below = variant.below.map_or(String::new(), |below| format!(", and below {below}"));
        table.note(format!("Goal ({}): at most {} of tokio{below}.", variant.name, variant.goal));
    }
    table.note(format!("{} pairs each. {ABSOLUTE_TIMES}", effort.pairs));
    Ok(Report { table, plot })
}
