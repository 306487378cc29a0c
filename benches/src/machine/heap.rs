//! The live bytes of the heap: allocated by this process and not yet freed. And the number of allocations.
//!
//! The allocator itself is in `sys.rs`, since writing an allocator needs `unsafe`; it reports here. Counting is off
//! until [`count`] is called, so the cases that measure speed pay for one atomic load per allocation and no more.
//! The requested sizes are counted. The allocator's own book-keeping and its reserves are not included.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Whether to count. Set once by [`count`].
static COUNTING: AtomicBool = AtomicBool::new(false);
/// Bytes allocated minus bytes freed since counting began. Negative if earlier allocations are freed.
static LIVE: AtomicI64 = AtomicI64::new(0);
/// Allocations since counting began. A block that grows or shrinks is one more.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Starts counting.
pub(crate) fn count() {
    COUNTING.store(true, Ordering::Relaxed);
}

/// Returns the bytes allocated now, minus the bytes allocated when counting began.
pub(crate) fn live() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

/// Returns the number of allocations since counting began.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Counts an allocation. A failed allocation is counted too: the process is about to end then.
#[inline]
pub(crate) fn grows(size: usize) {
    add(size as i64);
    if COUNTING.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a deallocation.
#[inline]
pub(crate) fn shrinks(size: usize) {
    add(-(size as i64));
}

/// Adds to the live bytes, if counting is on.
#[inline]
fn add(bytes: i64) {
    if COUNTING.load(Ordering::Relaxed) {
        LIVE.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests allocate at the same time, but only small blocks.
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
