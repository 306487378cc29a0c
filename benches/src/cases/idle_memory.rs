//! M1: resident memory per idle connection, beyond the server's buffer of 4 KiB for each connection.
//!
//! The kernel counts whole pages. With thousands of connections the error is below one byte per connection.

use super::case::{Case, Effort, Report};
use crate::children::load::Load;
use crate::children::server::{Server, Under};
use crate::figures::plot::Plot;
use crate::figures::spread::Spread;
use crate::figures::table::{Kind, Table, verdict};
use crate::machine::process;
use crate::orders::load::{Target, Traffic};
use crate::orders::peer::Peer;
use crate::orders::service::{BUFFER, Service};
use std::io;

/// The case.
pub(super) const M1: Case = Case { id: "M1", title: "memory per idle connection", measure };

/// Idle connections.
const CONNECTIONS: usize = 8000;
/// Runs of each server.
const RUNS: usize = 3;
/// The goal, in bytes, at most.
const GOAL: f64 = 400.0;

/// Returns the bytes per connection. Each connection has made a round trip, so its buffer has been used.
fn bytes(peer: Peer) -> io::Result<f64> {
    let server = Server::start(&Service::new(peer), Under::Nothing)?;
    let connect = |connections| Load::start(&Target::new(Traffic::Echo, server.port, connections));
    connect(1)?.finish()?; // Excludes memory that the server allocates only once.
    let before = process::resident_bytes(server.process())? as f64;
    let load = connect(CONNECTIONS)?;
    let after = process::resident_bytes(server.process())? as f64;
    load.finish()?;
    Ok((after - before) / CONNECTIONS as f64 - BUFFER as f64)
}

/// Measures each server.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = ["server", "bytes per connection beyond its buffer", "quartiles", "goal"];
    let title = format!("M1: resident memory per idle connection, {CONNECTIONS} connections");
    let mut table = Table::new(title, Kind::Counts, &head);
    let mut plot = Plot::new("m1", "Bytes per idle connection beyond its 4 KiB buffer (fewer is better)");
    let runs = if effort.quick { 1 } else { RUNS };
    for peer in Peer::ALL {
        let spread = Spread::of((0..runs).map(|_| bytes(peer)).collect::<io::Result<_>>()?);
        table.row(vec![
            peer.to_string(),
            format!("{:.0}", spread.median),
            format!("{:.0}–{:.0}", spread.lower_quartile, spread.upper_quartile),
            if peer == Peer::Ours { verdict(spread.median <= GOAL) } else { String::new() },
        ]);
        plot.bar(peer.to_string(), spread.median);
    }
    table.note(format!("Goal: at most {GOAL:.0}. {runs} run(s) each."));
    Ok(Report { table, plot })
}
