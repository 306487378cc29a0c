//! Helpers that use the crates under test, written once for all test programs.
//!
//! A test runs its future with [`block_on`] on a new reactor, or with [`everywhere`] in each place where a timer works.
//! Its sockets come in connected pairs. A test of readiness goes through [`waiting`]: the operation is pending, the
//! reactor sleeps, another thread causes the event, the operation ends.
//!
//! ```text
//!   run        block_on, everywhere, pool_and_reactor        where a test's futures run
//!   tcp udp    pair, std_pair, refused, …                    connected sockets, on the current reactor
//!   servers    serve, Commands                             a server beside its clients; a handler that obeys its client
//!   sources    pair, with_peer                               the same as sources
//!   streams    a_megabyte_both_ways, Stranger                checks for streams of each kind; a stream of unknown type
//!   waiting    idle ──► waits ──► fill                       that a wait uses no CPU, and ends
//! ```

pub mod servers;
pub mod sources;
pub mod streams;
pub mod tcp;
pub mod udp;
pub mod waiting;
mod run;

pub use run::{block_on, everywhere, pool_and_reactor};
