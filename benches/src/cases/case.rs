//! The definition of a case: an id, a title, and a function from the effort to a report.

use crate::figures::plot::Plot;
use crate::figures::table::Table;
use std::io;

/// One measurement.
#[derive(Debug)]
pub(crate) struct Case {
    /// The name on the command line, such as "E1".
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) measure: fn(&Effort) -> io::Result<Report>,
}

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Make each run a tenth as long.
    pub(crate) quick: bool,
    /// The number of interleaved rounds.
    pub(crate) pairs: usize,
}

impl Effort {
    /// Returns `amount`, or a tenth of it in a quick run.
    pub(super) fn scale(self, amount: u64) -> u64 {
        if self.quick { amount / 10 } else { amount }
    }
}

/// The result of a case.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) table: Table,
    pub(crate) plot: Plot,
}
