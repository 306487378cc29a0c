//! T7: the overshoot of a lone sleep. The exercise also checks that no sleep is early: an early sleep fails the run.

use super::case::{Case, Effort, Report};
use super::method::{median, ratio, rounds};
use crate::children::figures;
use crate::figures::plot::Plot;
use crate::figures::table::{ABSOLUTE_TIMES, Kind, Table, verdict};
use crate::orders::timers::{Exercise, LONE_SLEEPS, TimerOrder, TimerPeer};
use std::io;

/// The case.
pub(super) const T7: Case = Case { id: "T7", title: "overshoot of a lone sleep", measure };

/// Sleeps of each length in a run.
const SLEEPS: u64 = 30;

/// The goal of a peer, for each length of sleep.
struct Goal {
    peer: TimerPeer,
    /// At most this part of tokio's overshoot.
    of_tokio: f64,
    /// And not more than this peer's overshoot, with the tolerance [`NO_WORSE`].
    not_above: Option<TimerPeer>,
}

/// The goals of the default and of the precise mode.
const GOALS: [Goal; 2] = [
    Goal { peer: TimerPeer::Ours, of_tokio: 0.16, not_above: None },
    Goal { peer: TimerPeer::OursPrecise, of_tokio: 0.1, not_above: Some(TimerPeer::AsyncIo) },
];
/// The tolerance of `not_above`: two runs of the same program differ by this factor.
const NO_WORSE: f64 = 1.05;

/// Measures all peers.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = ["sleep", "peer", "overshoot (p50), in proportion to tokio's", "for context: µs", "goal"];
    let mut table = Table::new("T7: overshoot of a lone sleep", Kind::Ratios, &head);
    let mut plot = Plot::new("t7", "Overshoot of a lone sleep, in proportion to tokio (less is better)");
    let peers = TimerPeer::ALL;
    let place = |wanted| peers.iter().position(|&peer| peer == wanted).expect("ALL holds every peer");
    let tokio = place(TimerPeer::Tokio);
    let count = effort.scale(SLEEPS) as usize;
    let sleeps = |peer| figures::timers(TimerOrder { peer, exercise: Exercise::Lone, count });
    let rounds = rounds(&peers, effort, sleeps)?;
    for (figure, sleep) in LONE_SLEEPS.into_iter().enumerate() {
        let against = |peer, other| ratio(&rounds, |sample| sample[figure], peer, other);
        for (number, peer) in peers.into_iter().enumerate() {
            let to_tokio = against(number, tokio);
            let mut goal = String::new();
            if let Some(wanted) = GOALS.iter().find(|goal| goal.peer == peer) {
                let others = wanted.not_above.map(place);
                let no_worse = others.is_none_or(|other| against(number, other).median <= NO_WORSE);
                goal = verdict(to_tokio.median <= wanted.of_tokio && no_worse);
            }
            let context = median(&rounds, |sample| sample[figure], number);
            table.row(vec![
                format!("{sleep:?}"),
                peer.to_string(),
                to_tokio.to_string(),
                format!("{context:.0}"),
                goal,
            ]);
            plot.bar(format!("{sleep:?}, {peer}"), to_tokio.median);
        }
    }
    for Goal { peer, of_tokio, not_above } in &GOALS {
        let above = not_above.map_or(String::new(), |other| format!(", and not above {other} by more than 5 %"));
        table.note(format!("Goal ({peer}): at most {of_tokio} of tokio{above}. No sleep was early."));
    }
    table.note(format!("{} pairs each. {ABSOLUTE_TIMES}", effort.pairs));
    Ok(Report { table, plot })
}
