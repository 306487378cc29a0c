//! How many bytes of this process are allocated and not freed.
//!
//! The allocator itself is in `sys.rs`, since it cannot be written without `unsafe`; it reports here. Counting is off
//! until somebody [asks for it](count), so that the cases which measure speed pay one load per allocation, and no more.
//! What counts is what was asked for: neither the allocator's own book-keeping nor what it keeps for later is in it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Whether to count.
static COUNTING: AtomicBool = AtomicBool::new(false);
/// Bytes allocated minus bytes freed, since counting began. Below zero if what was allocated before is freed.
static LIVE: AtomicI64 = AtomicI64::new(0);

/// Counts from now on.
pub(crate) fn count() {
    COUNTING.store(true, Ordering::Relaxed);
}

/// Bytes that are allocated now, more than when counting began.
pub(crate) fn live() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

/// Called by the allocator. A block that could not be had is counted all the same: the process is about to end then.
#[inline]
pub(crate) fn grows(size: usize) {
    add(size as i64);
}

/// Called by the allocator.
#[inline]
pub(crate) fn shrinks(size: usize) {
    add(-(size as i64));
}

#[inline]
fn add(bytes: i64) {
    if COUNTING.load(Ordering::Relaxed) {
        LIVE.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests allocate meanwhile, but nothing of this size.
    #[test]
    fn what_is_allocated_is_counted_until_it_is_freed() {
        const SIZE: i64 = 1 << 28;
        count();
        let before = live();
        let mut block: Vec<u8> = Vec::with_capacity(SIZE as usize / 2);
        block.reserve_exact(SIZE as usize);
        assert!((live() - before - SIZE).abs() < SIZE / 4);
        drop(block);
        assert!((live() - before).abs() < SIZE / 4);
    }
}
