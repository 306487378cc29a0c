//! U1: echo of datagrams: ours with and without batches, beside tokio without batches.

use super::case::{Case, Effort, Report};
use super::method::{ROUNDING, median, ratio, rounds, sample};
use crate::figures::plot::Plot;
use crate::figures::table::{Kind, Table, verdict};
use crate::orders::load::{Target, Traffic};
use crate::orders::peer::Peer;
use crate::orders::service::Service;
use std::io;

/// The case.
pub(super) const U1: Case = Case { id: "U1", title: "echo of datagrams", measure };

/// Bytes of a datagram.
const SIZE: usize = 64;
/// Datagrams in flight.
const WINDOWS: [usize; 4] = [1, 16, 64, 256];
/// The goal does not apply to fewer datagrams in flight, since a batch would then hold only a few.
const WORTHWHILE: usize = 64;
/// The capacity of our batches.
const BATCH: usize = 64;
/// The goal: tokio uses at least this factor more CPU time per datagram.
const GOAL: f64 = 1.15;

/// Measures every number in flight.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = [
        "datagrams in flight",
        "CPU per datagram, tokio/ours in batches",
        "tokio/ours one by one",
        "datagrams/s, ours in batches/tokio",
        "ours one by one/tokio",
        "p99, ours in batches/tokio",
        "server busy",
        "goal",
    ];
    let mut table = Table::new("U1: echo of datagrams", Kind::Ratios, &head);
    let mut plot = Plot::new("u1", "Echo of datagrams, CPU time of tokio in proportion to ours (more is better)");
    let [batches, single, tokio] = [0, 1, 2];
    for window in WINDOWS {
        let peers = [(Peer::Ours, BATCH), (Peer::Ours, 1), (Peer::Tokio, 1)];
        let target = |port| Target { size: SIZE, ..Target::new(Traffic::Datagrams, port, window) };
        let service = |(peer, batch)| Service { datagrams: Some(batch), ..Service::new(peer) };
        let rounds = rounds(&peers, effort, |peer| sample(&service(peer), target, effort))?;
        let cpu = ratio(&rounds, |sample| sample.cpu, tokio, batches);
        let cpu_single = ratio(&rounds, |sample| sample.cpu, tokio, single);
        let goal = if window < WORTHWHILE { "–".into() } else { verdict(cpu.median > GOAL - ROUNDING) };
        table.row(vec![
            window.to_string(),
            cpu.to_string(),
            cpu_single.to_string(),
            ratio(&rounds, |sample| sample.rate, batches, tokio).to_string(),
            ratio(&rounds, |sample| sample.rate, single, tokio).to_string(),
            ratio(&rounds, |sample| sample.p99, batches, tokio).to_string(),
            format!("{:.0} %", median(&rounds, |sample| sample.busy, batches) * 100.0),
            goal,
        ]);
        plot.bar(format!("{window} in flight, in batches"), cpu.median);
        plot.bar(format!("{window} in flight, one by one"), cpu_single.median);
    }
    table.note(format!(
        "Datagrams of {SIZE} B, batches of at most {BATCH}. Goal: tokio uses at least {GOAL} times as much CPU time \
         per datagram, with {WORTHWHILE} or more in flight. {} pairs each.",
        effort.pairs
    ));
    Ok(Report { table, plot })
}
