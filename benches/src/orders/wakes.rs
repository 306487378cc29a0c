//! The order for a process that measures wakes from another thread, and its outcome.

use super::peer::Peer;
use std::io;

/// The order for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WakeOrder {
    /// Ours or tokio; raw has no tasks.
    pub(crate) peer: Peer,
    /// Tasks woken in each round.
    pub(crate) tasks: usize,
    pub(crate) rounds: usize,
}

impl WakeOrder {
    /// Returns the command line arguments for this order.
    pub(crate) fn to_args(self) -> Vec<String> {
        let mut args = vec!["wakes".into(), self.peer.to_string()];
        args.extend(["--connections".into(), self.tasks.to_string(), "--count".into(), self.rounds.to_string()]);
        args
    }
}

/// The result of a [`WakeOrder`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct WakeOutcome {
    /// Rounds per second.
    pub(crate) rate: f64,
    /// Calls of `write(2)` per wake, as the kernel counts them.
    pub(crate) writes: f64,
    /// Eventfd writes minus sleeps, as our reactor counts them; 0 for tokio.
    pub(crate) beyond_sleeps: f64,
}

impl WakeOutcome {
    /// Returns the line for the standard output.
    pub(crate) fn to_line(self) -> String {
        format!("{} {} {}", self.rate, self.writes, self.beyond_sleeps)
    }

    /// Returns the outcome with these figures, in the order of the line.
    pub(crate) fn from_figures(figures: &[f64]) -> io::Result<Self> {
        match *figures {
            [rate, writes, beyond_sleeps] => Ok(Self { rate, writes, beyond_sleeps }),
            _ => Err(io::Error::other("the process that is woken does not say how often")),
        }
    }
}
