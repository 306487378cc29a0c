//! M2: what is left in the heap after many connections have come and gone.
//!
//! The bytes of the heap are those that the program has asked for and not given back: a leak shows in them, the
//! allocator's own habits do not. Those show in the resident memory beside it, which has no goal.

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
/// At most so many bytes more than at the start.
const GOAL: f64 = 64.0 * 1024.0;
/// How often to look whether the heap still changes.
const LOOK: Duration = Duration::from_millis(20);
/// It has settled when so many looks see the same.
const SETTLED: usize = 10;
/// Looks before we take what there is.
const PATIENCE: usize = 500;

/// What one run of one server has left.
struct Sample {
    /// Bytes of the heap per open connection, beyond its buffer.
    open: f64,
    /// Bytes of the heap after all have closed, more than at the start.
    heap: f64,
    /// The same, of the resident memory.
    resident: f64,
}

/// The heap once the server has dealt with all that was closed.
fn settled(server: &mut Server) -> io::Result<f64> {
    let (mut heap, mut same) = (server.heap()?, 0);
    for _ in 0..PATIENCE {
        thread::sleep(LOOK);
        let now = server.heap()?;
        same = if now == heap { same + 1 } else { 0 };
        heap = now;
        if same == SETTLED {
            break;
        }
    }
    Ok(heap as f64)
}

/// Runs one server.
fn sample(peer: Peer) -> io::Result<Sample> {
    let mut server = Server::start(&Service { count_heap: true, ..Service::new(peer) }, Under::Nothing)?;
    let target = Target::new(Traffic::Echo, server.port, 1);
    Load::start(&target)?.finish()?; // Whatever is set up only once has been by now.
    let (heap, resident) = (settled(&mut server)?, process::resident_bytes(server.process())? as f64);
    let load = Load::start(&Target { connections: CONNECTIONS, ..target })?;
    let open = (settled(&mut server)? - heap) / CONNECTIONS as f64 - BUFFER as f64;
    load.finish()?;
    let heap = settled(&mut server)? - heap;
    Ok(Sample { open, heap, resident: process::resident_bytes(server.process())? as f64 - resident })
}

/// The whole case.
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
