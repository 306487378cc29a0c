//! The limits of a server, and their defaults.

use crate::sys;
use std::time::Duration;

/// Descriptors that the default of [`Server::max_connections`](super::Server::max_connections) leaves for other purposes,
/// beside half of the rest.
pub const RESERVED_DESCRIPTORS: u64 = 64;
/// The default of [`Server::first_byte_timeout`](super::Server::first_byte_timeout).
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// The default of [`Server::idle_timeout`](super::Server::idle_timeout).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// The default of [`Server::write_stall_timeout`](super::Server::write_stall_timeout).
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The default of the time of [`Server::linger`](super::Server::linger).
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
/// The default of the bytes of [`Server::linger`](super::Server::linger).
pub const LINGER_BYTES: usize = 64 * 1024;
/// The default of [`Server::shutdown_timeout`](super::Server::shutdown_timeout).
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// The greatest number of connections that a stopping server takes from each backlog: the longest backlog of the kernel by
/// default. What comes after so many has come after the stop, and is refused, so a flood does not keep the server open.
pub const MAX_BACKLOG: usize = 4096;

/// The greatest number of refused connections that are answered at a time, if
/// [`Server::refuse_when_full`](super::Server::refuse_when_full) is on.
pub const MAX_REFUSALS: usize = 64;
/// How long a refused connection is read on after its answer, at most.
pub const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The limits. `Duration::MAX` is no limit.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) first_byte_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) write_stall_timeout: Duration,
    /// The bytes, not 0, and the period.
    pub(super) min_rate: Option<(u64, Duration)>,
    pub(super) lifetime: Duration,
    /// The number of connections, and how long a connection has to be idle to be closed for it.
    pub(super) soft_limit: Option<(usize, Duration)>,
    /// The number of connections.
    pub(super) max_per_address: Option<usize>,
    /// The bytes, not 0, and the time.
    pub(super) linger: Option<(usize, Duration)>,
    pub(super) shutdown_timeout: Duration,
    pub(super) drain_delay: Duration,
    pub(super) idle_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            first_byte_timeout: FIRST_BYTE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            write_stall_timeout: WRITE_STALL_TIMEOUT,
            min_rate: None,
            lifetime: Duration::MAX,
            soft_limit: None,
            max_per_address: None,
            linger: Some((LINGER_BYTES, LINGER_TIMEOUT)),
            shutdown_timeout: SHUTDOWN_TIMEOUT,
            drain_delay: Duration::ZERO,
            idle_grace: Duration::ZERO,
        }
    }
}

/// Returns the default of [`Server::max_connections`](super::Server::max_connections).
pub(super) fn default_max_connections() -> usize {
    of_descriptors(sys::descriptor_limit())
}

/// Returns half of `descriptors`, less those that are reserved; at least 1.
fn of_descriptors(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(RESERVED_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of the descriptors, less some, but never none.
    #[test]
    fn connections_by_descriptors() {
        for (descriptors, connections) in [(1024, 480), (20_000, 9968), (66, 1), (64, 1), (0, 1)] {
            assert_eq!(of_descriptors(descriptors), connections, "{descriptors}");
        }
        assert!(default_max_connections() > 0);
    }
}
