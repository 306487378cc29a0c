//! M2: the live heap after many connections have come and gone.
//!
//! The bytes of the heap are the sizes requested by the program and not yet freed: they show a leak, but no reserves of
//! the allocator. The resident memory beside them includes these reserves, and has no goal.

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
use std::thread;
use std::time::Duration;

/// The case.
pub(super) const M2: Case = Case { id: "M2", title: "memory given back", measure };

/// Connections that come and go.
const CONNECTIONS: usize = 8000;
/// Runs of each server.
const RUNS: usize = 3;
/// The goal: at most this number of bytes more than at the start.
const GOAL: f64 = 64.0 * 1024.0;
/// The interval between two looks at the heap.
const LOOK: Duration = Duration::from_millis(20);
/// The heap is stable when this number of looks see the same size.
const STABLE: usize = 10;
/// The number of looks after which the size is used even if not stable.
const MAX_LOOKS: usize = 500;

/// One run of a server.
struct Sample {
    /// Bytes of the heap per open connection, beyond its buffer.
    open: f64,
    /// Bytes of the heap after all connections have closed, more than at the start.
    heap: f64,
    /// Bytes of resident memory after all connections have closed, more than at the start.
    resident: f64,
}

/// Returns the bytes of the heap when the server has handled all closed connections.
fn stable_heap(server: &mut Server) -> io::Result<f64> {
    let (mut heap, mut same) = (server.heap()?, 0);
    for _ in 0..MAX_LOOKS {
        thread::sleep(LOOK);
        let now = server.heap()?;
        same = if now == heap { same + 1 } else { 0 };
        heap = now;
        if same == STABLE {
            break;
        }
    }
    Ok(heap as f64)
}

/// Runs a server.
fn sample(peer: Peer) -> io::Result<Sample> {
    let mut server = Server::start(&Service { count_heap: true, ..Service::new(peer) }, Under::Nothing)?;
    let target = Target::new(Traffic::Echo, server.port, 1);
    Load::start(&target)?.finish()?; // Excludes memory that the server allocates only once.
    let (heap, resident) = (stable_heap(&mut server)?, process::resident_bytes(server.process())? as f64);
    let load = Load::start(&Target { connections: CONNECTIONS, ..target })?;
    let open = (stable_heap(&mut server)? - heap) / CONNECTIONS as f64 - BUFFER as f64;
    load.finish()?;
    let heap = stable_heap(&mut server)? - heap;
    Ok(Sample { open, heap, resident: process::resident_bytes(server.process())? as f64 - resident })
}

/// Measures each server.
fn measure(effort: &Effort) -> io::Result<Report> {
    let head = [
        "server",
        "bytes of the heap after, more than before",
        "quartiles",
        "resident KiB after, more than before",
        "heap per open connection beyond its buffer",
        "goal",
    ];
    let title = format!("M2: memory given back, {CONNECTIONS} connections closed");
    let mut table = Table::new(title, Kind::Counts, &head);
    let mut plot =
        Plot::new("m2", "KiB resident after 8000 connections are closed, more than before (fewer is better)");
    let runs = if effort.quick { 1 } else { RUNS };
    for peer in Peer::ALL {
        let samples = (0..runs).map(|_| sample(peer)).collect::<io::Result<Vec<_>>>()?;
        let spread = |figure: fn(&Sample) -> f64| Spread::of(samples.iter().map(figure).collect());
        let (heap, resident) = (spread(|s| s.heap), spread(|s| s.resident).median / 1024.0);
        table.row(vec![
            peer.to_string(),
            format!("{:.0}", heap.median),
            format!("{:.0}–{:.0}", heap.lower_quartile, heap.upper_quartile),
            format!("{resident:.0}"),
            format!("{:.0}", spread(|s| s.open).median),
            if peer == Peer::Ours { verdict(heap.median <= GOAL) } else { String::new() },
        ]);
        plot.bar(peer.to_string(), resident);
    }
    table.note(format!("Goal: at most {GOAL:.0} bytes of the heap. {runs} run(s) each."));
    Ok(Report { table, plot })
}
