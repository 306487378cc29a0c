//! Many datagrams by one system call.
//!
//! For a small datagram, the system call costs more than the datagram itself. `recvmmsg(2)` and `sendmmsg(2)` move many
//! datagrams at a time. Their memory belongs to a *batch*, which is allocated once and reused:
//!
//! ```text
//!                 one allocation, `capacity` × `size` bytes
//!   RecvBatch     │ datagram │ datagram │ datagram │ … free … │     one slot each, filled from the front by each call
//!   SendBatch     │datagram│datagram│datagram│ … free …       │     packed; sent datagrams leave at the front
//! ```
//!
//! Both have a fixed number of datagrams and of bytes, and never grow. The headers for the kernel are in
//! [`sys`](crate::sys). Each call writes them anew, a few nanoseconds per slot. With little traffic most slots would be
//! prepared in vain, so a receive asks for twice as many datagrams as the last call found, instead of all slots.

use std::io;

/// The largest capacity of a batch, in datagrams: the limit of one system call (`UIO_MAXIOV`).
pub const MAX_DATAGRAMS: usize = 1024;
/// The largest slot of a batch, in bytes. No datagram is longer.
const MAX_BYTES: usize = 65_535;
/// The number of batched datagrams that count as one operation in the [budget](async_epoll::OPERATIONS_PER_POLL) of a
/// task.
///
/// A batched datagram costs less than an operation of its own, but not nothing. So a task moves about 256 batched
/// datagrams per poll, or one batch.
const DATAGRAMS_PER_OPERATION: usize = 8;

/// Returns the number of operations that `datagrams` count as.
pub(super) fn weight(datagrams: usize) -> u32 {
    u32::try_from(datagrams.div_ceil(DATAGRAMS_PER_OPERATION)).unwrap_or(u32::MAX)
}

/// Checks the dimensions of a batch.
pub(super) fn check(capacity: usize, size: usize) -> io::Result<()> {
    let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if !(1..=MAX_DATAGRAMS).contains(&capacity) {
        return invalid(format!("a batch has room for 1 to {MAX_DATAGRAMS} datagrams, not for {capacity}"));
    }
    if !(1..=MAX_BYTES).contains(&size) {
        return invalid(format!("a datagram of a batch has room for 1 to {MAX_BYTES} bytes, not for {size}"));
    }
    Ok(())
}
