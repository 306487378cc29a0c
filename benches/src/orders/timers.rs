//! The order for a process that measures timers: a peer, an exercise, and a count.
//!
//! The process answers with a line of figures; `parts/timers/exercises.rs` documents the figures of each exercise.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The lengths of sleep in [`Exercise::Lone`]; its figures are in this order.
pub(crate) const LONE_SLEEPS: [Duration; 3] =
    [Duration::from_micros(100), Duration::from_millis(1), Duration::from_millis(10)];

/// A timer implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerPeer {
    /// async-timeout on a reactor with default settings.
    Ours,
    /// async-timeout on a reactor with precise timers.
    OursPrecise,
    /// tokio's current_thread runtime.
    Tokio,
    /// monoio on its epoll driver.
    Monoio,
    /// async-io in its own `block_on`.
    AsyncIo,
    /// futures-timer in the `block_on` of futures.
    FuturesTimer,
}

impl TimerPeer {
    /// All peers, in the order of the tables. T7 measures all; the other cases name a part of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Ours, Self::OursPrecise, Self::Tokio, Self::Monoio, Self::AsyncIo, Self::FuturesTimer];
}

impl fmt::Display for TimerPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::OursPrecise => "ours-precise",
            Self::Tokio => "tokio",
            Self::Monoio => "monoio",
            Self::AsyncIo => "async-io",
            Self::FuturesTimer => "futures-timer",
        })
    }
}

impl FromStr for TimerPeer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let peer = Self::ALL.into_iter().find(|peer| peer.to_string() == name);
        peer.ok_or_else(|| format!("there are no timers of {name}"))
    }
}

/// What is done with the timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exercise {
    /// Put a timeout around a ready future.
    Ready,
    /// Arm a timeout earlier than all other timers, and cancel it.
    Earliest,
    /// Arm a timeout later than all other timers, and cancel it.
    Latest,
    /// Cancel a random timer among many, and arm another.
    Churn,
    /// Let many timers fire.
    Storm,
    /// Arm many timers, and count their bytes.
    Bytes,
    /// Sleep with no other timer.
    Lone,
}

impl Exercise {
    /// All exercises.
    const ALL: [Self; 7] =
        [Self::Ready, Self::Earliest, Self::Latest, Self::Churn, Self::Storm, Self::Bytes, Self::Lone];
}

impl fmt::Display for Exercise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Earliest => "earliest",
            Self::Latest => "latest",
            Self::Churn => "churn",
            Self::Storm => "storm",
            Self::Bytes => "bytes",
            Self::Lone => "lone",
        })
    }
}

impl FromStr for Exercise {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|exercise| exercise.to_string() == name);
        found.ok_or_else(|| format!("there is no exercise {name}"))
    }
}

/// The order for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerOrder {
    pub(crate) peer: TimerPeer,
    pub(crate) exercise: Exercise,
    /// Timeouts, other timers, timers that fire, or sleeps, depending on the exercise.
    pub(crate) count: usize,
}

impl TimerOrder {
    /// Returns the command line arguments for this order.
    pub(crate) fn to_args(self) -> Vec<String> {
        let Self { peer, exercise, count } = self;
        vec!["timers".into(), peer.to_string(), exercise.to_string(), "--count".into(), count.to_string()]
    }
}
