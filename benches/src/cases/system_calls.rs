//! E2: system calls per request, with 64 connections and with a single connection, and `epoll_ctl` calls per
//! connection.

use super::case::{Case, Effort, Report};
use super::method::{ROUNDING, send_count};
use crate::children::strace::{self, Calls};
use crate::figures::plot::Plot;
use crate::figures::table::{Kind, Table, verdict};
use crate::orders::load::{Target, Traffic};
use crate::orders::peer::Peer;
use crate::orders::service::Service;
use std::io;

/// The case.
pub(super) const E2: Case = Case { id: "E2", title: "system calls per request", measure };

/// Connections of the larger measurement.
const MANY: usize = 64;
/// The shorter run, in requests.
const FEWER: u64 = 20_000;
/// The longer run, in requests.
const MORE: u64 = 60_000;
/// The goal with 64 connections, at most.
const GOAL_MANY: f64 = 2.10;
/// The goal with one connection, at most.
const GOAL_ONE: f64 = 3.00;

/// Returns the system calls of a server in the shorter and in the longer run.
fn counts(peer: Peer, connections: usize, effort: &Effort) -> io::Result<[Calls; 2]> {
    let service = Service { connections: Some(connections as u64), ..Service::new(peer) };
    let count =
        |requests| strace::count(&service, |port| send_count(&Target::new(Traffic::Echo, port, connections), requests));
    Ok([count(effort.scale(FEWER))?, count(effort.scale(MORE))?])
}

/// Counts for each server.
fn measure(effort: &Effort) -> io::Result<Report> {
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
