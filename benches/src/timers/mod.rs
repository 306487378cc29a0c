//! The timers that are measured, and what is done with them, in a child process for each measurement.
//!
//! [`exercises`] says what is done, once for all; the other files say how one does it with each peer, through the
//! [`Keeper`] trait, in the way its users write it. So no peer is measured with code of another shape.

mod async_io;
mod exercises;
mod futures_timer;
mod monoio;
mod ours;
mod tokio;

use crate::{child, heap, sys};
use ::async_epoll::Reactor;
pub(crate) use exercises::{LONE_SLEEPS, nanos_each};
use std::fmt;
use std::future::Future;
use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// After so many seconds the kernel ends a child that has not ended by itself: some wake-up was lost.
const PATIENCE: u32 = 60;

/// What keeps the time.
trait Keeper {
    /// Its future that waits for nothing but the time.
    type Sleep: Future;
    /// Runs a future to its end, on the peer's own runtime, as its documentation recommends.
    fn run<F: Future>(self, future: F) -> io::Result<F::Output>;
    /// Waits.
    fn sleep(duration: Duration) -> Self::Sleep;
    /// Limits a future to a span of time.
    fn timeout<F: Future>(future: F, limit: Duration) -> impl Future;
    /// Limits a future to the time before an instant.
    fn timeout_at<F: Future>(future: F, deadline: Instant) -> impl Future;
}

/// Who is measured.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    perform: fn(&Order) -> io::Result<Vec<f64>>,
}

/// All of them. T7 measures all, the other cases those that they name.
pub(crate) const PEERS: &[Peer] = &[
    Peer { name: "ours", perform: |order| exercises::perform(ours::Ours(Reactor::builder()), order) },
    Peer {
        name: "ours-precise",
        perform: |order| exercises::perform(ours::Ours(Reactor::builder().precise_timers()), order),
    },
    Peer { name: "tokio", perform: |order| exercises::perform(tokio::Tokio, order) },
    Peer { name: "monoio", perform: |order| exercises::perform(monoio::Monoio, order) },
    Peer { name: "async-io", perform: |order| exercises::perform(async_io::AsyncIo, order) },
    Peer { name: "futures-timer", perform: |order| exercises::perform(futures_timer::FuturesTimer, order) },
];

/// The peer of this name.
fn find(name: &str) -> Result<&'static Peer, String> {
    PEERS.iter().find(|peer| peer.name == name).ok_or_else(|| format!("there are no timers of {name}"))
}

/// What is done with the timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exercise {
    /// A timeout around a future that is ready.
    Ready,
    /// A timeout that is armed, before all others, and cancelled.
    Earliest,
    /// A timeout that is armed, after all others, and cancelled.
    Latest,
    /// One of many is cancelled, and another armed.
    Churn,
    /// Many fire.
    Storm,
    /// Many are armed, and their bytes are counted.
    Bytes,
    /// One sleeps.
    Lone,
}

/// Their names on the command line.
const EXERCISES: [(Exercise, &str); 7] = [
    (Exercise::Ready, "ready"),
    (Exercise::Earliest, "earliest"),
    (Exercise::Latest, "latest"),
    (Exercise::Churn, "churn"),
    (Exercise::Storm, "storm"),
    (Exercise::Bytes, "bytes"),
    (Exercise::Lone, "lone"),
];

impl fmt::Display for Exercise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = EXERCISES.iter().find(|(exercise, _)| exercise == self).map_or("?", |(_, name)| name);
        f.pad(name)
    }
}

impl FromStr for Exercise {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = EXERCISES.iter().find(|(_, known)| *known == name);
        found.map(|(exercise, _)| *exercise).ok_or_else(|| format!("there is no exercise {name}"))
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// One of [`PEERS`].
    pub(crate) peer: &'static str,
    pub(crate) exercise: Exercise,
    /// How many: timeouts, other timers, timers that fire, or sleeps, as the exercise has it.
    pub(crate) count: usize,
}

impl Order {
    /// With the name of a peer.
    pub(crate) fn new(peer: &str, exercise: Exercise, count: usize) -> Result<Self, String> {
        Ok(Self { peer: find(peer)?.name, exercise, count })
    }

    /// The command line that asks for this.
    pub(crate) fn to_args(self) -> Vec<String> {
        let (exercise, count) = (self.exercise.to_string(), self.count.to_string());
        vec!["timers".into(), self.peer.into(), exercise, "--count".into(), count]
    }
}

/// Has a child process carry out an order, and returns the figures that it found.
pub(crate) fn measure(peer: &str, exercise: Exercise, count: usize) -> io::Result<Vec<f64>> {
    let order = Order::new(peer, exercise, count).map_err(io::Error::other)?;
    child::figures(&order.to_args(), "the process with the timers")
}

/// The whole child process: carries out one order, and prints its figures on one line.
pub(crate) fn exercise(order: &Order) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::end_after(PATIENCE);
    // Threads that a peer starts will stay on this core too.
    sys::pin(child::server_core()?)?;
    if order.exercise == Exercise::Bytes {
        heap::count();
    }
    let figures = (find(order.peer).map_err(io::Error::other)?.perform)(order)?;
    let words: Vec<_> = figures.iter().map(f64::to_string).collect();
    println!("{}", words.join(" "));
    Ok(())
}
