//! E4: echo of large requests, beside raw and tokio: 256 KiB over 8 connections.

use super::case::{Case, Effort, Report};
use super::method::{ROUNDING, ratio, rounds, sample};
use crate::figures::plot::Plot;
use crate::figures::table::{Kind, Table, verdict};
use crate::orders::load::{Target, Traffic};
use crate::orders::peer::Peer;
use crate::orders::service::Service;
use std::io;

/// The case.
pub(super) const E4: Case = Case { id: "E4", title: "echo of large requests", measure };

/// Bytes of a request.
const SIZE: usize = 256 << 10;
/// Connections, each with one request in flight.
const CONNECTIONS: usize = 8;
/// The goal: at least this part of raw's throughput.
const GOAL: f64 = 0.97;

/// Measures the three servers.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = ["server", "requests/s, in proportion to raw", "to tokio", "CPU per request, to raw", "goal"];
    let title = format!("E4: echo of {} KiB over {CONNECTIONS} connections", SIZE >> 10);
    let mut table = Table::new(title, Kind::Ratios, &head);
    let mut plot = Plot::new("e4", "Echo of 256 KiB, requests/s in proportion to raw epoll (more is better)");
    let target = |port| Target { size: SIZE, ..Target::new(Traffic::Bulk, port, CONNECTIONS) };
    let rounds = rounds(&Peer::ALL, effort, |peer| sample(&Service::new(peer), target, effort))?;
    let [ours, raw, tokio] = [0, 1, 2];
    for place in [ours, tokio] {
        let to_raw = ratio(&rounds, |s| s.rate, place, raw);
        table.row(vec![
            Peer::ALL[place].to_string(),
            to_raw.to_string(),
            ratio(&rounds, |s| s.rate, place, tokio).to_string(),
            ratio(&rounds, |s| s.cpu, place, raw).to_string(),
            if place == ours { verdict(to_raw.median > GOAL - ROUNDING) } else { String::new() },
        ]);
        plot.bar(Peer::ALL[place].to_string(), to_raw.median);
    }
    table.note(format!("Goal: at least {GOAL} of raw. {} pairs.", effort.pairs));
    Ok(Report { table, plot })
}
