//! Many datagrams by one system call.
//!
//! A small datagram costs more for the way into the kernel and back than for itself. `recvmmsg(2)` and `sendmmsg(2)` take
//! many at a time. What they work on belongs to a *batch*, which is made once and used again and again:
//!
//! ```text
//!                 one allocation, `capacity` × `size` bytes
//!   RecvBatch     │ datagram │ datagram │ datagram │ … free … │     each at its place, filled from the front by each call
//!   SendBatch     │datagram│datagram│datagram│ … free …       │     packed; those that went leave at the front
//! ```
//!
//! Both are bounded in both dimensions, and never grow. The pointers that the kernel is given are in [`sys`](crate::sys),
//! and are written for each call, which takes a few nanoseconds for each place. Most of the places would be prepared in vain
//! where little comes, so a call asks for twice as many datagrams as the last one found, and not for all that have room.

use std::io;

/// Datagrams that a batch has room for at most: what one system call takes (`UIO_MAXIOV`).
pub const MAX_DATAGRAMS: usize = 1024;
/// Bytes that a place of a batch has at most. No datagram is longer.
const MAX_BYTES: usize = 65_535;
/// Datagrams of a batch that count as one operation, in the [budget](async_epoll::OPERATIONS_PER_POLL) of a task. One of
/// a batch costs less than one by itself, but it does cost something: so a task moves about 256 of them in one poll, or one
/// batch.
const DATAGRAMS_PER_OPERATION: usize = 8;

/// What so many datagrams count as.
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
