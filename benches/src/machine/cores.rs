//! The cores of the child processes: measured code on one core, load on another.
//!
//! Every child calls one of the two functions first. Without pinning, the scheduler would move both sides between cores
//! and the figures would say more about the scheduler than about the code.

use super::sys;
use std::io;

/// Keeps the calling thread on the core for measured code: the first core that this process may use.
pub(crate) fn pin_to_server_core() -> io::Result<()> {
    sys::pin(nth(0)?)
}

/// Keeps the calling thread on the core for load: the second core, or the first if there is no other.
pub(crate) fn pin_to_load_core() -> io::Result<()> {
    sys::pin(nth(1)?)
}

/// Returns the allowed core number `number`, or the first if there are fewer.
fn nth(number: usize) -> io::Result<usize> {
    let cores = sys::allowed_cores()?;
    cores.get(number).or(cores.first()).copied().ok_or_else(|| io::Error::other("no core to run on"))
}
