//! Counts instructions: the server runs under `valgrind --tool=callgrind`, which simulates its user code.
//!
//! valgrind does not support `epoll_pwait2`; the reactor falls back to `epoll_wait` there.

use super::child::Child;
use super::scratch::Scratch;
use super::server::{Server, Under, missing_tool};
use crate::orders::service::Service;
use std::io;
use std::process::Stdio;

/// Runs the server under callgrind to its end, and returns its user instructions. `drive` opens and closes the
/// connections.
pub(crate) fn count(service: &Service, drive: impl FnOnce(u16) -> io::Result<()>) -> io::Result<u64> {
    let file = Scratch::new("callgrind");
    let server = Server::start(service, Under::Callgrind(file.path()))?;
    drive(server.port)?;
    server.finish()?;
    total(&file.read()?).ok_or_else(|| io::Error::other("callgrind has written no totals"))
}

/// Runs a child that carries out one order under callgrind to its end, and returns its user instructions.
pub(crate) fn count_child(args: Vec<String>, name: &'static str) -> io::Result<u64> {
    let file = Scratch::new("callgrind");
    let mut command = Under::Callgrind(file.path()).command(&std::env::current_exe()?);
    command.args(args);
    let started = Child::start(command, Stdio::null(), name);
    let mut child = started.map_err(|error| missing_tool(error, Under::Callgrind(file.path())))?;
    child.read_line()?;
    child.wait()?;
    total(&file.read()?).ok_or_else(|| io::Error::other("callgrind has written no totals"))
}

/// Returns the figure on the line `totals:` of a profile, or `summary:` in older versions of valgrind.
fn total(profile: &str) -> Option<u64> {
    let figure =
        |line: &str| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:"))?.trim().parse().ok();
    profile.lines().rev().find_map(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_found() {
        assert_eq!(total("version: 1\nevents: Ir\n\nfn=(1) main\n0 12\n\ntotals: 12345\n"), Some(12345));
        assert_eq!(total("version: 1\n"), None);
    }
}
