//! What a server tells its operator.

use super::address::Address;
use super::report::Outcome;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// Something that has happened in a server; for [`Server::on_event`](super::Server::on_event).
///
/// Its text is one line for a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A connection was accepted, and its handler will be called.
    #[non_exhaustive]
    Accepted {
        /// The number of the connection.
        id: u64,
        /// The number of the listener, in the order of the calls of [`Server::listen`](super::Server::listen).
        listener: usize,
        /// The address of the peer.
        peer: &'a Address,
    },
    /// A connection has ended.
    #[non_exhaustive]
    Closed {
        /// The number of the connection.
        id: u64,
        /// The number of the listener.
        listener: usize,
        /// The address of the peer.
        peer: &'a Address,
        /// How it has ended.
        outcome: Outcome,
        /// The error of the handler, if it has returned one.
        error: Option<&'a (dyn Error + 'static)>,
    },
    /// A handler has panicked. [`Closed`](Self::Closed) follows.
    #[non_exhaustive]
    HandlerPanicked {
        /// The number of the connection.
        id: u64,
        /// The message of the panic, if it is a string.
        message: &'a str,
    },
    /// The future of [`Server::shutdown`](super::Server::shutdown) has panicked. The server stops.
    #[non_exhaustive]
    ShutdownPanicked {
        /// The message of the panic, if it is a string.
        message: &'a str,
    },
    /// A connection was closed without a handler. At most once a second.
    #[non_exhaustive]
    Refused {
        /// The number of the listener.
        listener: usize,
        /// The address of the peer.
        peer: &'a Address,
        /// The reason.
        reason: Refusal,
        /// The number of refused connections since the last event, without this one.
        suppressed: u64,
    },
    /// Nothing is accepted for the present, and the backlog waits. For [`Pause::Full`], at most once a second.
    #[non_exhaustive]
    Paused {
        /// The reason.
        reason: Pause,
    },
    /// Accepting goes on, after an event [`Paused`](Self::Paused).
    Resumed,
    /// Accepting has failed, and goes on. At most once a second for each listener.
    #[non_exhaustive]
    AcceptFailed {
        /// The number of the listener.
        listener: usize,
        /// The error.
        error: &'a io::Error,
        /// How long the listener pauses, unless a socket of this crate is closed before. `None` if a connection was skipped.
        pause: Option<Duration>,
        /// The number of such errors since the last event.
        suppressed: u64,
    },
    /// A listener has failed for good. The server stops, and [`serve`](super::Server::serve) returns the error.
    #[non_exhaustive]
    ListenerFailed {
        /// The number of the listener.
        listener: usize,
        /// The error.
        error: &'a io::Error,
    },
    /// A stop was asked for. The server accepts for the time of [`Server::drain_delay`](super::Server::drain_delay).
    Stopping,
    /// The server takes what is in the backlog, closes idle connections, and waits for the others.
    Draining,
    /// The server aborts its connections: the deadline of the stop has come, or an abort was asked for.
    #[non_exhaustive]
    Aborting {
        /// The number of connections.
        active: u64,
    },
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The server stops, and could not take the whole backlog before its deadline.
    Stopping,
    /// There are [`max_connections`](super::Server::max_connections), and
    /// [`refuse_when_full`](super::Server::refuse_when_full) is on.
    Full,
    /// The client has [`max_per_address`](super::Server::max_per_address) connections.
    TooManyOfAddress,
}

/// Why nothing is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Pause {
    /// There are [`max_connections`](super::Server::max_connections).
    Full,
    /// [`ServerHandle::pause`](super::ServerHandle::pause) was called.
    Asked,
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { id, listener, peer } => write!(f, "connection {id} from {peer}, listener {listener}"),
            Self::Closed { id, peer, outcome, error, .. } => {
                write!(f, "connection {id} from {peer} has ended: {outcome:?}")?;
                error.map_or(Ok(()), |error| write!(f, ": {error}"))
            }
            Self::HandlerPanicked { id, message } => {
                write!(f, "the handler of connection {id} has panicked: {message}")
            }
            Self::ShutdownPanicked { message } => write!(f, "the shutdown future has panicked: {message}"),
            Self::Refused { listener, peer, reason, suppressed } => {
                write!(f, "connection from {peer} refused, listener {listener}: {reason:?}")?;
                more(f, *suppressed)
            }
            Self::Paused { reason } => write!(f, "accepting pauses: {reason:?}"),
            Self::Resumed => f.write_str("accepting goes on"),
            Self::AcceptFailed { listener, error, pause, suppressed } => {
                match pause {
                    Some(pause) => write!(f, "accepting pauses for {pause:?}, listener {listener}: {error}")?,
                    None => write!(f, "a connection could not be accepted, listener {listener}: {error}")?,
                }
                more(f, *suppressed)
            }
            Self::ListenerFailed { listener, error } => write!(f, "listener {listener} has failed: {error}"),
            Self::Stopping => f.write_str("stopping"),
            Self::Draining => f.write_str("draining"),
            Self::Aborting { active } => write!(f, "aborting {active} connections"),
        }
    }
}

/// Writes how many events were suppressed.
fn more(f: &mut fmt::Formatter<'_>, suppressed: u64) -> fmt::Result {
    if suppressed == 0 { Ok(()) } else { write!(f, " ({suppressed} more since the last event)") }
}

/// The closure of a user.
pub(super) type Hook = Box<dyn FnMut(&Event<'_>)>;

/// Lets one event of a kind through in each second.
#[derive(Default, Debug)]
pub(super) struct Limiter {
    /// The time of the last event.
    last: Option<Instant>,
    /// The number of events since then that were not let through.
    suppressed: u64,
}

impl Limiter {
    /// The shortest time between two events.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Returns the number of suppressed events if an event may be told `now`; otherwise counts it.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < Self::INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One event in a second, and the number of the others with the next.
    #[test]
    fn one_event_in_a_second() {
        let (mut limiter, begin) = (Limiter::default(), Instant::now());
        let told: Vec<_> = [0, 1, 999, 1000, 1001, 2500]
            .map(|millis| limiter.admit(begin + Duration::from_millis(millis)))
            .into_iter()
            .collect();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
