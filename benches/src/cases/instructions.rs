//! E3: user instructions per request at 64 connections.

use super::case::{Case, Effort, Report};
use super::method::send_count;
use crate::children::callgrind;
use crate::figures::plot::Plot;
use crate::figures::table::{Kind, Table, verdict};
use crate::orders::load::{Target, Traffic};
use crate::orders::peer::Peer;
use crate::orders::service::Service;
use std::io;

/// The case.
pub(super) const E3: Case = Case { id: "E3", title: "user instructions per request", measure };

/// Connections at a time.
const CONNECTIONS: usize = 64;
/// The shorter run, in requests.
const FEWER: u64 = 10_000;
/// The longer run, in requests.
const MORE: u64 = 30_000;
/// The goal, at most.
const GOAL: f64 = 500.0;

/// Counts for each server.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = ["server", "instructions per request", "goal"];
    let mut table = Table::new("E3: user instructions per request, echo 64 B × 64", Kind::Counts, &head);
    let mut plot = Plot::new("e3", "User instructions per request, 64 connections (fewer is better)");
    let more = effort.scale(MORE) - effort.scale(FEWER);
    for peer in Peer::ALL {
        let service = Service { connections: Some(CONNECTIONS as u64), ..Service::new(peer) };
        let count = |requests| {
            callgrind::count(&service, |port| send_count(&Target::new(Traffic::Echo, port, CONNECTIONS), requests))
        };
        let fewer = count(effort.scale(FEWER))? as f64;
        let instructions = (count(effort.scale(MORE))? as f64 - fewer) / more as f64;
        let goal = if peer == Peer::Ours { verdict(instructions <= GOAL) } else { String::new() };
        table.row(vec![peer.to_string(), format!("{instructions:.0}"), goal]);
        plot.bar(peer.to_string(), instructions);
    }
    table.note(format!("Goal: at most {GOAL:.0}."));
    Ok(Report { table, plot })
}
