//! The measurements, one file each. A case starts its servers and loads, and returns a table and a plot.

mod c1;
mod e1;
mod e2;
mod e3;
mod m1;

use crate::args::Target;
use crate::child::Load;
use crate::load::Order;
use crate::plot::Plot;
use crate::table::Table;
use std::io;

/// One measurement.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) measure: fn(&Effort) -> io::Result<Report>,
}

/// All of them, in the order of the results.
pub(crate) const ALL: [Case; 5] = [
    Case { name: "E1", title: "echo throughput, latency and CPU", measure: e1::measure },
    Case { name: "E2", title: "system calls per request", measure: e2::measure },
    Case { name: "E3", title: "user instructions per request", measure: e3::measure },
    Case { name: "C1", title: "system calls per connection", measure: c1::measure },
    Case { name: "M1", title: "memory per idle connection", measure: m1::measure },
];

/// The case of this name.
pub(crate) fn find(name: &str) -> Option<&'static Case> {
    ALL.iter().find(|case| case.name.eq_ignore_ascii_case(name))
}

/// How much trouble to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Shorter runs.
    pub(crate) quick: bool,
    /// Interleaved rounds.
    pub(crate) pairs: usize,
}

impl Effort {
    /// The full amount, or a tenth of it.
    fn scale(self, amount: u64) -> u64 {
        if self.quick { amount / 10 } else { amount }
    }
}

/// What a case found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) table: Table,
    pub(crate) plot: Plot,
}

/// Connects, sends so many requests, and closes.
fn echo_count(port: u16, connections: usize, requests: u64) -> io::Result<()> {
    let mut load = Load::start(&Target { connect: false, port, connections, size: 64, close_first: false })?;
    load.order(Order::Count(requests))?;
    load.finish()
}
