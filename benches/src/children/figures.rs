//! Children that carry out a single order, print a line of figures, and end: timers, reads, wakes, tasks, proxies.
//!
//! Each measurement is a process of its own, free of the heap, threads and timers of earlier measurements.

use super::child::Child;
use crate::orders::proxy::ProxyOrder;
use crate::orders::reads::ReadOrder;
use crate::orders::tasks::TaskOrder;
use crate::orders::timers::TimerOrder;
use crate::orders::wakes::{WakeOrder, WakeOutcome};
use std::io;
use std::process::{Command, Stdio};

/// Returns the figures of an exercise with timers.
pub(crate) fn timers(order: TimerOrder) -> io::Result<Vec<f64>> {
    run(order.to_args(), "the process with the timers")
}

/// Returns the nanoseconds of CPU per poll, of reads ready at once and of reads pending once.
pub(crate) fn reads(order: ReadOrder) -> io::Result<[f64; 2]> {
    let figures = run(order.to_args(), "the process that reads")?;
    figures.try_into().map_err(|_| io::Error::other("the process that reads does not say how long"))
}

/// Returns the rate of wakes and their cost in system calls.
pub(crate) fn wakes(order: WakeOrder) -> io::Result<WakeOutcome> {
    WakeOutcome::from_figures(&run(order.to_args(), "the process that is woken")?)
}

/// Returns the number of allocations per task.
pub(crate) fn tasks(order: TaskOrder) -> io::Result<f64> {
    match run(order.to_args(), "the process with the tasks")?[..] {
        [allocations] => Ok(allocations),
        _ => Err(io::Error::other("the process with the tasks does not say what it has allocated")),
    }
}

/// Returns the seconds of CPU time of a proxy per GiB.
pub(crate) fn proxy(order: ProxyOrder) -> io::Result<f64> {
    match run(order.to_args(), "the proxy")?[..] {
        [seconds] => Ok(seconds),
        _ => Err(io::Error::other("the proxy does not say what it has cost")),
    }
}

/// Runs a child with these arguments to its end, and returns the figures on its line.
fn run(args: Vec<String>, name: &'static str) -> io::Result<Vec<f64>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args);
    let mut child = Child::start(command, Stdio::null(), name)?;
    let line = child.read_line()?;
    child.wait()?;
    line.split_whitespace().map(|word| word.parse().map_err(io::Error::other)).collect()
}
