//! E2: system calls per request, at 64 connections and at one, and `epoll_ctl` calls per connection.

use super::{Effort, Report, echo_count};
use crate::args::Service;
use crate::plot::Plot;
use crate::servers::Peer;
use crate::strace::{self, Calls};
use crate::table::{Kind, Table, verdict};
use std::io;

/// Connections at a time.
const MANY: usize = 64;
/// The shorter run, in requests.
const FEWER: u64 = 20_000;
/// The longer run, in requests.
const MORE: u64 = 60_000;
/// At most so many with 64 connections.
const GOAL_MANY: f64 = 2.10;
/// At most so many with one connection.
const GOAL_ONE: f64 = 3.00;
/// The goals are stated to two decimals.
const ROUNDING: f64 = 0.005;

/// The two counts of one server.
fn counts(peer: Peer, connections: usize, effort: &Effort) -> io::Result<[Calls; 2]> {
    let service = Service { connections: Some(connections as u64), ..Service::new(peer) };
    let count = |requests| strace::count(&service, |port| echo_count(port, connections, requests));
    Ok([count(effort.scale(FEWER))?, count(effort.scale(MORE))?])
}

/// The whole case.
pub(crate) fn measure(effort: &Effort) -> io::Result<Report> {
    let head = ["server", "64 connections", "of which", "1 connection", "of which", "epoll_ctl per connection", "goal"];
    let mut table = Table::new("E2: system calls per request, echo 64 B", Kind::Counts, &head);
    let mut plot = Plot::new("e2", "System calls per request, 64 connections (fewer is better)");
    let more = effort.scale(MORE) - effort.scale(FEWER);
    for peer in Peer::ALL {
        let [many_fewer, many_more] = counts(peer, MANY, effort)?;
        let [one_fewer, one_more] = counts(peer, 1, effort)?;
        let (many, one) = (many_more.slope(&many_fewer, more), one_more.slope(&one_fewer, more));
        let control = (many_fewer.of("epoll_ctl") - one_fewer.of("epoll_ctl")) / (MANY - 1) as f64;
        let reached = many.total() < GOAL_MANY + ROUNDING && one.total() < GOAL_ONE + ROUNDING;
        table.row(vec![
            peer.to_string(),
            format!("{:.3}", many.total()),
            many.breakdown(),
            format!("{:.3}", one.total()),
            one.breakdown(),
            format!("{control:.2}"),
            if peer == Peer::Ours { verdict(reached) } else { String::new() },
        ]);
        plot.bar(peer.to_string(), many.total());
    }
    table.note(format!("Goal: at most {GOAL_MANY:.2} with 64 connections and {GOAL_ONE:.2} with one."));
    Ok(Report { table, plot })
}
