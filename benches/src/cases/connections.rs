//! C1 and C2: the cost of a connection: connect, one round trip of 64 B, close; 32 in parallel.
//!
//! C1 counts system calls; C2 measures connections per second and CPU time beside tokio and raw.

use super::case::{Case, Effort, Report};
use super::method::{ROUNDING, median, ratio, rounds, sample, send_count};
use crate::children::strace::{self, Calls};
use crate::figures::plot::Plot;
use crate::figures::table::{Kind, Table, verdict};
use crate::orders::load::{Target, Traffic};
use crate::orders::peer::Peer;
use crate::orders::service::Service;
use std::io;

/// System calls.
pub(super) const C1: Case = Case { id: "C1", title: "system calls per connection", measure: count };
/// Speed and CPU time.
pub(super) const C2: Case = Case { id: "C2", title: "connections per second", measure: compare };

/// Connections at a time.
const PARALLEL: usize = 32;
/// The shorter run of C1, in connections.
const FEWER: u64 = 2000;
/// The longer run of C1, in connections.
const MORE: u64 = 6000;
/// The goal of C2: at least this part of tokio's rate.
const GOAL_RATE: f64 = 1.10;

/// Which side closes first, and whether the listener waits for data.
struct Variant {
    name: &'static str,
    defer_accept: bool,
    close_first: bool,
    /// The goal of C1: at most this number of system calls per connection.
    goal: f64,
}

/// All variants, in the order of the tables.
const VARIANTS: [Variant; 3] = [
    Variant { name: "client closes first", defer_accept: false, close_first: false, goal: 7.7 },
    Variant { name: "client closes first, defer-accept", defer_accept: true, close_first: false, goal: 7.1 },
    Variant { name: "server closes first, defer-accept", defer_accept: true, close_first: true, goal: 5.2 },
];

impl Variant {
    /// Returns the order for a server that runs until killed.
    fn service(&self, peer: Peer) -> Service {
        Service { defer_accept: self.defer_accept, close_first: self.close_first, ..Service::new(peer) }
    }

    /// Returns the order for the load.
    fn target(&self, port: u16) -> Target {
        Target { close_first: self.close_first, ..Target::new(Traffic::Connect, port, PARALLEL) }
    }

    /// Returns the server's system calls per connection.
    fn calls(&self, peer: Peer, effort: &Effort) -> io::Result<Calls> {
        let (fewer, more) = (effort.scale(FEWER), effort.scale(MORE));
        let count = |connections| {
            let service = Service { connections: Some(connections), ..self.service(peer) };
            strace::count(&service, |port| send_count(&self.target(port), connections))
        };
        let [fewer_calls, more_calls] = [count(fewer)?, count(more)?];
        Ok(more_calls.slope(&fewer_calls, more - fewer))
    }
}

/// Measures C1.
fn count(effort: &Effort) -> io::Result<Report> {
    let head = ["variant", "server", "system calls per connection", "of which", "goal"];
    let mut table = Table::new("C1: system calls per connection, 32 in parallel", Kind::Counts, &head);
    let mut plot = Plot::new("c1", "System calls per connection (fewer is better)");
    for variant in &VARIANTS {
        for peer in Peer::ALL {
            let calls = variant.calls(peer, effort)?;
            let ours = peer == Peer::Ours;
            table.row(vec![
                variant.name.into(),
                peer.to_string(),
                format!("{:.2}", calls.total()),
                calls.breakdown(),
                if ours {
                    format!("≤ {}: {}", variant.goal, verdict(calls.total() <= variant.goal))
                } else {
                    String::new()
                },
            ]);
            plot.bar(format!("{}, {peer}", variant.name), calls.total());
        }
    }
    Ok(Report { table, plot })
}

/// Measures C2.
fn compare(effort: &Effort) -> io::Result<Report> {
    let head = [
        "variant",
        "connections/s, ours/tokio",
        "ours/raw",
        "tokio/raw",
        "CPU per connection, ours/tokio",
        "ours/raw",
        "server busy",
        "goal",
    ];
    let mut table = Table::new(format!("C2: connections/s, {PARALLEL} in parallel"), Kind::Ratios, &head);
    let mut plot = Plot::new("c2", "Connections/s in proportion to tokio (more is better)");
    for variant in &VARIANTS {
        let sample = |peer| sample(&variant.service(peer), |port| variant.target(port), effort);
        let rounds = rounds(&Peer::ALL, effort, sample)?;
        let [ours, raw, tokio] = [0, 1, 2];
        let to_tokio = ratio(&rounds, |s| s.rate, ours, tokio);
        table.row(vec![
            variant.name.into(),
            to_tokio.to_string(),
            ratio(&rounds, |s| s.rate, ours, raw).to_string(),
            ratio(&rounds, |s| s.rate, tokio, raw).to_string(),
            ratio(&rounds, |s| s.cpu, ours, tokio).to_string(),
            ratio(&rounds, |s| s.cpu, ours, raw).to_string(),
            format!("{:.0} %", median(&rounds, |s| s.busy, ours) * 100.0),
            verdict(to_tokio.median > GOAL_RATE - ROUNDING),
        ]);
        plot.bar(variant.name, to_tokio.median);
    }
    table.note(format!("Goal: at least {GOAL_RATE:.2} of tokio. {} pairs each.", effort.pairs));
    Ok(Report { table, plot })
}
