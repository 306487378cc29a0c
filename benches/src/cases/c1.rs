//! C1: system calls per connection: connect, one round trip of 64 B, close; 32 at a time.

use super::{Effort, Report};
use crate::args::{Service, Target};
use crate::child::Load;
use crate::load::{Order, Traffic};
use crate::plot::Plot;
use crate::servers::Peer;
use crate::strace;
use crate::table::{Kind, Table, verdict};
use std::io;

/// Connections at a time.
const PARALLEL: usize = 32;
/// The shorter run, in connections.
const FEWER: u64 = 2000;
/// The longer run, in connections.
const MORE: u64 = 6000;

/// Who closes, and what the listener waits for.
struct Variant {
    name: &'static str,
    defer_accept: bool,
    close_first: bool,
    /// At most so many system calls.
    goal: f64,
}

/// In the order of the table.
const VARIANTS: [Variant; 3] = [
    Variant { name: "client closes first", defer_accept: false, close_first: false, goal: 7.7 },
    Variant { name: "client closes first, defer-accept", defer_accept: true, close_first: false, goal: 7.1 },
    Variant { name: "server closes first, defer-accept", defer_accept: true, close_first: true, goal: 5.2 },
];

impl Variant {
    /// System calls of the server for one connection.
    fn calls(&self, peer: Peer, effort: &Effort) -> io::Result<strace::Calls> {
        let (fewer, more) = (effort.scale(FEWER), effort.scale(MORE));
        let [fewer_calls, more_calls] = [self.count(peer, fewer)?, self.count(peer, more)?];
        Ok(more_calls.slope(&fewer_calls, more - fewer))
    }

    /// System calls of the server in a whole run.
    fn count(&self, peer: Peer, connections: u64) -> io::Result<strace::Calls> {
        let (defer_accept, close_first) = (self.defer_accept, self.close_first);
        let service = Service { connections: Some(connections), defer_accept, close_first, ..Service::new(peer) };
        strace::count(&service, |port| {
            let target = Target { traffic: Traffic::Connect, port, connections: PARALLEL, size: 64, close_first };
            let mut load = Load::start(&target)?;
            load.order(Order::Count(connections))?;
            load.finish()
        })
    }
}

/// The whole case.
pub(crate) fn measure(effort: &Effort) -> io::Result<Report> {
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
