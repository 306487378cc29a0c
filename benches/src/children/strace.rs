//! Counts system calls: the server runs under `strace -f -c` from its start.
//!
//! A single run counts the set-up too. Two runs that differ only in the number of requests give the cost of a request:
//! the *slope*.

use super::scratch::Scratch;
use super::server::{Server, Under};
use crate::orders::service::Service;
use std::collections::BTreeMap;
use std::io;

/// The number of calls of each system call: of a run, or per request after [`Calls::slope`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(BTreeMap<String, f64>);

impl Calls {
    /// Parses the table of `strace -c`: share, seconds, microseconds per call, calls, errors if any, name.
    fn parse(table: &str) -> Self {
        let row = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [share, _, _, calls, .., name] = words[..] else { return None };
            let is_row = share.parse::<f64>().is_ok() && name != "total";
            is_row.then(|| Some((name.to_string(), calls.parse().ok()?)))?
        };
        Self(table.lines().filter_map(row).collect())
    }

    /// Returns the sum over all system calls.
    pub(crate) fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// Returns the count for one name.
    pub(crate) fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Returns the cost of one request, when the run of `self` had `more` requests more than the run of `fewer`.
    pub(crate) fn slope(&self, fewer: &Self, more: u64) -> Self {
        let names = self.0.keys().chain(fewer.0.keys());
        Self(names.map(|name| (name.clone(), (self.of(name) - fewer.of(name)) / more as f64)).collect())
    }

    /// Returns the names with their counts, largest first, without names that round to 0.
    pub(crate) fn breakdown(&self) -> String {
        let mut calls: Vec<_> = self.0.iter().filter(|(_, count)| **count >= 0.005).collect();
        calls.sort_by(|a, b| b.1.total_cmp(a.1));
        let words: Vec<_> = calls.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
        words.join(", ")
    }
}

/// Runs the server under strace to its end, and returns its system calls. `drive` opens and closes the connections.
pub(crate) fn count(service: &Service, drive: impl FnOnce(u16) -> io::Result<()>) -> io::Result<Calls> {
    let file = Scratch::new("strace");
    let server = Server::start(service, Under::Strace(file.path()))?;
    drive(server.port)?;
    server.finish()?;
    let calls = Calls::parse(&file.read()?);
    if calls.total() == 0.0 {
        return Err(io::Error::other("strace has counted nothing; may it trace here?"));
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_understood() {
        let calls = Calls::parse(
            "% time     seconds  usecs/call     calls    errors syscall\n\
             ------ ----------- ----------- --------- --------- ----------------\n \
             63.64    0.000200           2       100        10 recvfrom\n \
             36.36    0.000100           1       100           sendto\n\
             ------ ----------- ----------- --------- --------- ----------------\n\
             100.00    0.000300           1       200        10 total\n",
        );
        assert_eq!((calls.of("recvfrom"), calls.total()), (100.0, 200.0));
        let slope = calls.slope(&Calls::default(), 50);
        assert_eq!(slope.breakdown(), "recvfrom 2.00, sendto 2.00");
    }
}
