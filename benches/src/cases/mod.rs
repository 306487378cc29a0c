//! The measurements, one file each. A case starts its servers and loads, and returns a table and a plot.

mod c1;
mod c2;
mod e1;
mod e2;
mod e3;
mod e4;
mod f1;
mod h1;
mod m1;
mod m2;
mod p1;
mod t1_t4;
mod t5_t6;
mod t7;
mod t8;
mod u1;
mod w1;

use crate::args::Target;
use crate::child::Load;
use crate::load::{Order, Traffic};
use crate::plot::Plot;
use crate::spread::Spread;
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
pub(crate) const ALL: [Case; 21] = [
    Case { name: "E1", title: "echo throughput, latency and CPU", measure: e1::measure },
    Case { name: "E2", title: "system calls per request", measure: e2::measure },
    Case { name: "E3", title: "user instructions per request", measure: e3::measure },
    Case { name: "E4", title: "echo of large requests", measure: e4::measure },
    Case { name: "C1", title: "system calls per connection", measure: c1::measure },
    Case { name: "C2", title: "connections per second", measure: c2::measure },
    Case { name: "M1", title: "memory per idle connection", measure: m1::measure },
    Case { name: "M2", title: "memory given back", measure: m2::measure },
    Case { name: "T1", title: "a timeout around a ready future", measure: t1_t4::around_ready },
    Case { name: "T2", title: "a timeout armed and cancelled, the first", measure: t1_t4::earliest },
    Case { name: "T3", title: "a timeout armed and cancelled, the last", measure: t1_t4::latest },
    Case { name: "T4", title: "one timer of very many replaced", measure: t1_t4::churn },
    Case { name: "T5", title: "very many timers within a second", measure: t5_t6::very_many },
    Case { name: "T6", title: "many timers within a second", measure: t5_t6::many },
    Case { name: "T7", title: "overshoot of a lone sleep", measure: t7::measure },
    Case { name: "T8", title: "an idle limit, per poll of a read", measure: t8::measure },
    Case { name: "W1", title: "wakes from another thread", measure: w1::measure },
    Case { name: "F1", title: "a firehose beside others", measure: f1::measure },
    Case { name: "H1", title: "hyper", measure: h1::measure },
    Case { name: "U1", title: "echo of datagrams", measure: u1::measure },
    Case { name: "P1", title: "bulk data through a proxy", measure: p1::measure },
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
    let mut load = Load::start(&Target { traffic: Traffic::Echo, port, connections, size: 64, close_first: false })?;
    load.order(Order::Count(requests))?;
    load.finish()
}

/// Measures each of `peers` once in each round, one right after the other. The order is turned by one from round to
/// round, so that a machine which grows slower or faster favours nobody. The samples of a round are in the order of
/// `peers`.
fn rounds<P: Copy, S>(
    peers: &[P],
    effort: &Effort,
    mut sample: impl FnMut(P) -> io::Result<S>,
) -> io::Result<Vec<Vec<S>>> {
    let mut rounds = Vec::new();
    for number in 0..effort.pairs {
        let mut samples: Vec<_> = peers.iter().map(|_| None).collect();
        for step in 0..peers.len() {
            let place = (number + step) % peers.len();
            samples[place] = Some(sample(peers[place])?);
        }
        rounds.push(samples.into_iter().flatten().collect());
    }
    Ok(rounds)
}

/// The quotient of the peers at places `a` and `b`, round by round.
fn ratio<S>(rounds: &[Vec<S>], figure: impl Fn(&S) -> f64, a: usize, b: usize) -> Spread {
    Spread::of(rounds.iter().map(|samples| figure(&samples[a]) / figure(&samples[b])).collect())
}

/// The median of one peer's figure: for context, or a count.
fn median<S>(rounds: &[Vec<S>], figure: impl Fn(&S) -> f64, place: usize) -> f64 {
    Spread::of(rounds.iter().map(|samples| figure(&samples[place])).collect()).median
}
