//! The order for a process that measures reads with an idle limit: a kind of limit, and a count.
//!
//! The process answers with two figures: nanoseconds of CPU per poll, of reads ready at once and of reads pending once.

use std::fmt;
use std::str::FromStr;

/// A way to limit how long a read may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadLimit {
    /// No limit.
    Bare,
    /// The `IoGuard` of async-timeout.
    Ours,
    /// tokio's `timeout` around each read.
    TokioTimeout,
    /// One `Sleep` of tokio per connection, reset by each pending read.
    TokioReset,
}

impl ReadLimit {
    /// All limits, in the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::Ours, Self::TokioTimeout, Self::TokioReset];
}

impl fmt::Display for ReadLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "bare",
            Self::Ours => "ours",
            Self::TokioTimeout => "tokio-timeout",
            Self::TokioReset => "tokio-reset",
        })
    }
}

impl FromStr for ReadLimit {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|limit| limit.to_string() == name);
        found.ok_or_else(|| format!("there is no way to read named {name}"))
    }
}

/// The order for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOrder {
    pub(crate) limit: ReadLimit,
    /// Reads of each kind.
    pub(crate) count: usize,
}

impl ReadOrder {
    /// Returns the command line arguments for this order.
    pub(crate) fn to_args(self) -> Vec<String> {
        vec!["reads".into(), self.limit.to_string(), "--count".into(), self.count.to_string()]
    }
}
