//! G1: user instructions and allocations per task: spawn with a handle, abort, spawn into a group and join.

use super::case::{Case, Effort, Report};
use crate::children::{callgrind, figures};
use crate::figures::plot::Plot;
use crate::figures::table::{Kind, Table, verdict};
use crate::orders::peer::Peer;
use crate::orders::tasks::{TaskExercise, TaskOrder};
use std::io;

/// The case.
pub(super) const G1: Case = Case { id: "G1", title: "instructions and allocations per task", measure };

/// The shorter run, in tasks.
const FEWER: u64 = 20_000;
/// The longer run, in tasks.
const MORE: u64 = 120_000;
/// The goal: at most this part of tokio's instructions.
const GOAL: f64 = 0.6;

/// Counts each exercise on ours and on tokio.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = ["exercise", "instructions, ours", "tokio", "ratio", "allocations, ours", "tokio", "ratio", "goal"];
    let mut table = Table::new("G1: user instructions and allocations per task", Kind::Counts, &head);
    let mut plot = Plot::new("g1", "User instructions per task (fewer is better)");
    let (fewer, more) = (effort.scale(FEWER) as usize, effort.scale(MORE) as usize);
    for exercise in TaskExercise::ALL {
        let (mut instructions, mut allocations) = ([0.0; 2], [0.0; 2]);
        for (place, peer) in [Peer::Ours, Peer::Tokio].into_iter().enumerate() {
            let order = |count| TaskOrder { peer, exercise, count };
            let count = |count| callgrind::count_child(order(count).to_args(), "the process with the tasks");
            instructions[place] = (count(more)? as f64 - count(fewer)? as f64) / (more - fewer) as f64;
            allocations[place] = figures::tasks(order(fewer))?;
            plot.bar(format!("{exercise}, {peer}"), instructions[place]);
        }
        let ratios = [instructions[0] / instructions[1], allocations[0] / allocations[1]];
        table.row(vec![
            exercise.to_string(),
            format!("{:.0}", instructions[0]),
            format!("{:.0}", instructions[1]),
            format!("{:.2}", ratios[0]),
            format!("{:.2}", allocations[0]),
            format!("{:.2}", allocations[1]),
            format!("{:.2}", ratios[1]),
            verdict(ratios[0] <= GOAL && ratios[1] <= GOAL),
        ]);
    }
    table.note(format!("Goal: at most {GOAL} of tokio, both in instructions and in allocations."));
    Ok(Report { table, plot })
}
