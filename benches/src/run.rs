//! Runs cases and writes their results: to the terminal, and for `all` also to `RESULTS.md` and `plots/`.

use crate::cases::case::{Case, Effort, Report};
use crate::machine::sys;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

/// The directory of this suite.
const HOME: &str = env!("CARGO_MANIFEST_DIR");
/// The lock file, for the versions of the peers.
const LOCK: &str = include_str!("../Cargo.lock");

/// Cases to measure.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) cases: Vec<&'static Case>,
    pub(crate) effort: Effort,
    /// Every case was asked for, so the results are also written to files.
    pub(crate) all: bool,
}

/// Measures the cases of `run`, one after the other, and prints their tables.
pub(crate) fn run(run: &Run) -> io::Result<()> {
    println!("{}", preface(run));
    let mut reports = Vec::new();
    for case in &run.cases {
        eprintln!("{}: {} …", case.id, case.title);
        let report = (case.measure)(&run.effort)?;
        println!("{}", report.table);
        reports.push(report);
    }
    if run.all { write_files(run, &reports) } else { Ok(()) }
}

/// Returns the text above all tables: peers, kernel, and how to read the figures.
fn preface(run: &Run) -> String {
    let effort = if run.effort.quick {
        "\nThis was a quick run: it shows that the suite works. Do not quote its figures.\n"
    } else {
        ""
    };
    let version = |package| locked_version(package).unwrap_or("?");
    format!(
        "Servers: ours, raw (hand-written epoll, no futures), tokio {} current_thread; Linux {}, {} core(s).\n\
         Timers: ours, those of the same tokio, of monoio {} (epoll), async-io {} and futures-timer {}.\n\
         Counts (system calls, instructions, bytes) can be compared with other runs. Ratios come from interleaved runs\n\
         on this machine and hold for these pairs only. No absolute time is a result.\n{effort}",
        version("tokio"),
        kernel(),
        sys::allowed_cores().map_or(0, |cores| cores.len()),
        version("monoio"),
        version("async-io"),
        version("futures-timer"),
    )
}

/// Returns the version of a package in the lock file.
fn locked_version(package: &str) -> Option<&'static str> {
    let (_, entry) = LOCK.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    entry.split('"').next()
}

/// Returns the first two numbers of the kernel's version.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

/// Writes `RESULTS.md` and the plots.
fn write_files(run: &Run, reports: &[Report]) -> io::Result<()> {
    let home = Path::new(HOME);
    let plots = home.join("plots");
    fs::create_dir_all(&plots)?;
    let mut text =
        format!("# Results\n\nWritten by `benches all`; `README.md` says how to read the tables.\n\n{}", preface(run));
    for report in reports {
        let _ = write!(text, "\n{}", report.table);
        let plot = &report.plot;
        fs::write(plots.join(plot.name).with_extension("svg"), plot.to_string())?;
        let _ = write!(text, "\n![{0}](plots/{0}.svg)\n", plot.name);
    }
    fs::write(home.join("RESULTS.md"), text)?;
    println!("Written to RESULTS.md and plots/ beside the suite's Cargo.toml.");
    Ok(())
}
