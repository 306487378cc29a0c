//! T8: the cost of an idle limit per poll of a read, for reads ready at once and for reads pending once.
//!
//! The goal is in nanoseconds, since a ratio to a read from memory would be meaningless: the cost of a limit is the
//! difference to the bare read of the same round.

use super::case::{Case, Effort, Report};
use super::method::{ratio, rounds};
use crate::children::figures;
use crate::figures::plot::Plot;
use crate::figures::spread::Spread;
use crate::figures::table::{ABSOLUTE_TIMES, Kind, Table, verdict};
use crate::orders::reads::{ReadLimit, ReadOrder};
use std::io;

/// The case.
pub(super) const T8: Case = Case { id: "T8", title: "an idle limit, per poll of a read", measure };

/// Reads of a run.
const READS: u64 = 3_000_000;
/// The goal: at most this number of nanoseconds beyond the bare read.
const GOAL: f64 = 30.0;
/// The place of the bare read in [`ReadLimit::ALL`].
const BARE: usize = 0;
/// The place of our limit.
const OURS: usize = 1;
/// The place of tokio's timeout.
const TOKIO: usize = 2;

/// Measures all limits.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = ["read", "limit", "CPU, in proportion to tokio's timeout", "ns of CPU beyond the bare read", "goal"];
    let mut table = Table::new("T8: an idle limit, per poll of a read", Kind::Ratios, &head);
    let mut plot =
        Plot::new("t8", "An idle limit, per poll of a read, in proportion to tokio's timeout (less is better)");
    let count = effort.scale(READS) as usize;
    let rounds = rounds(&ReadLimit::ALL, effort, |limit| figures::reads(ReadOrder { limit, count }))?;
    for (figure, read) in ["ready each time", "pending and ready in turn"].into_iter().enumerate() {
        for (place, limit) in ReadLimit::ALL.into_iter().enumerate() {
            let to_tokio = ratio(&rounds, |sample| sample[figure], place, TOKIO);
            let beyond =
                Spread::of(rounds.iter().map(|samples| samples[place][figure] - samples[BARE][figure]).collect());
            table.row(vec![
                read.into(),
                limit.to_string(),
                to_tokio.to_string(),
                if place == BARE { "–".into() } else { format!("{:.1}", beyond.median) },
                if place == OURS { verdict(beyond.median <= GOAL) } else { String::new() },
            ]);
            plot.bar(format!("{read}, {limit}"), to_tokio.median);
        }
    }
    table.note(format!("A pending read takes two polls. Goal: at most {GOAL} ns of CPU beyond the bare read."));
    table.note(format!("{} pairs each. {ABSOLUTE_TIMES}", effort.pairs));
    Ok(Report { table, plot })
}
