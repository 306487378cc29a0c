//! T1 to T4: what one timeout costs, as users write it: `Timeout::new`, `sleep`, and what the peers have for them.
//!
//! Each run is a process of its own, which prints the CPU time of one operation in nanoseconds. These drift with the
//! machine, so they are shown for context only. The result is the ratio to tokio's run of the same round.

use super::{Effort, Report, ratio, rounds};
use crate::plot::Plot;
use crate::table::{ABSOLUTE_TIMES, Kind, Table, verdict};
use crate::timers::{self, Exercise};
use std::io;

/// One of the four.
struct Shape {
    title: &'static str,
    /// The name of the plot.
    plot: &'static str,
    exercise: Exercise,
    /// Operations, or timers beside the one measured.
    count: u64,
    /// Ours is the first, tokio the second.
    peers: &'static [&'static str],
    /// The figures that a run prints.
    variants: &'static [Variant],
}

/// One figure of a run.
struct Variant {
    name: &'static str,
    /// At most this part of tokio's CPU time.
    goal: f64,
    /// And less than this peer's.
    below: Option<&'static str>,
}

const T1: Shape = Shape {
    title: "T1: a timeout around a ready future",
    plot: "t1",
    exercise: Exercise::Ready,
    count: 1_000_000,
    peers: &["ours", "tokio", "monoio", "async-io", "futures-timer"],
    variants: &[Variant { name: "ready", goal: 0.25, below: None }],
};

const T2: Shape = Shape {
    title: "T2: a timeout armed and cancelled, the first to be due",
    plot: "t2",
    exercise: Exercise::Earliest,
    count: 500_000,
    peers: &["ours", "tokio", "monoio", "async-io", "futures-timer"],
    variants: &[Variant { name: "first", goal: 0.15, below: Some("monoio") }],
};

const T3: Shape = Shape {
    title: "T3: a timeout armed and cancelled, the last of 1 000 000",
    plot: "t3",
    exercise: Exercise::Latest,
    count: 1_000_000,
    peers: &["ours", "tokio", "monoio", "async-io"],
    variants: &[
        Variant { name: "last, a duration", goal: 0.75, below: None },
        Variant { name: "last, an instant", goal: 0.5, below: None },
    ],
};

const T4: Shape = Shape {
    title: "T4: any of 1 000 000 timers cancelled and another armed",
    plot: "t4",
    exercise: Exercise::Churn,
    count: 1_000_000,
    peers: &["ours", "tokio", "monoio", "async-io"],
    variants: &[Variant { name: "replaced", goal: 0.8, below: None }],
};

/// T1.
pub(crate) fn around_ready(effort: &Effort) -> io::Result<Report> {
    measure(&T1, effort)
}

/// T2.
pub(crate) fn earliest(effort: &Effort) -> io::Result<Report> {
    measure(&T2, effort)
}

/// T3.
pub(crate) fn latest(effort: &Effort) -> io::Result<Report> {
    measure(&T3, effort)
}

/// T4.
pub(crate) fn churn(effort: &Effort) -> io::Result<Report> {
    measure(&T4, effort)
}

/// One of them.
fn measure(shape: &Shape, effort: &Effort) -> io::Result<Report> {
    let head = ["timeout", "peer", "CPU, in proportion to tokio's", "for context: ns of CPU", "goal"];
    let mut table = Table::new(shape.title, Kind::Ratios, &head);
    let mut plot = Plot::new(shape.plot, format!("{}, in proportion to tokio (less is better)", shape.title));
    let count = effort.scale(shape.count) as usize;
    let rounds = rounds(shape.peers, effort, |peer| timers::measure(peer, shape.exercise, count))?;
    for (figure, variant) in shape.variants.iter().enumerate() {
        for (place, peer) in shape.peers.iter().enumerate() {
            let to_tokio = ratio(&rounds, |sample| sample[figure], place, 1);
            let beats = |other: &str| {
                let other = shape.peers.iter().position(|peer| *peer == other);
                other.is_some_and(|other| ratio(&rounds, |sample| sample[figure], place, other).median < 1.0)
            };
            let reached = to_tokio.median <= variant.goal && variant.below.is_none_or(beats);
            table.row(vec![
                variant.name.into(),
                (*peer).into(),
                to_tokio.to_string(),
                format!("{:.0}", super::median(&rounds, |sample| sample[figure], place)),
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
