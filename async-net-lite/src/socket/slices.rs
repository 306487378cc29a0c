//! Buffers and slices, as many as one system call takes.
//!
//! More of them than the kernel takes at once are no error, the rest is for the next call. And none of what the call could
//! take is wasted on empty ones.

use std::io::{IoSlice, IoSliceMut};

/// Slices that one system call takes: `IOV_MAX`.
const MAX_SLICES: usize = 1024;

/// The bytes that one system call could move. (It moves 2 GiB at most, but no socket's buffer holds more, so a count below
/// this always means that there was no more.)
fn total(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.take(MAX_SLICES).fold(0, usize::saturating_add)
}

/// Where the first slice is that is not empty. Empty ones at the front must not use up the slices of one call.
fn first_of_use(mut lengths: impl ExactSizeIterator<Item = usize>) -> usize {
    let all = lengths.len();
    lengths.position(|length| length != 0).unwrap_or(all)
}

/// The buffers for one system call of std, which takes as many of them as the kernel does; and their bytes.
pub(crate) fn fill<'a, 'b>(buffers: &'a mut [IoSliceMut<'b>]) -> (&'a mut [IoSliceMut<'b>], usize) {
    let first = first_of_use(buffers.iter().map(|buffer| buffer.len()));
    let buffers = &mut buffers[first..];
    let wanted = total(buffers.iter().map(|buffer| buffer.len()));
    (buffers, wanted)
}

/// The slices for one system call, and their bytes.
pub(crate) fn drain<'a, 'b>(slices: &'a [IoSlice<'b>]) -> (&'a [IoSlice<'b>], usize) {
    let slices = &slices[first_of_use(slices.iter().map(|slice| slice.len()))..];
    let slices = &slices[..slices.len().min(MAX_SLICES)];
    (slices, total(slices.iter().map(|slice| slice.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_ones_use_up_no_call() {
        let mut slices = vec![IoSlice::new(b""); 5000];
        assert_eq!((drain(&slices).0.len(), drain(&slices).1), (0, 0));
        slices.extend(vec![IoSlice::new(b"ab"); 2000]);
        assert_eq!((drain(&slices).0.len(), drain(&slices).1), (1024, 2048));

        let mut bytes = [0; 3];
        let mut buffers: Vec<_> = (0..3000).map(|_| IoSliceMut::new(&mut [])).collect();
        assert_eq!(fill(&mut buffers).1, 0);
        buffers.push(IoSliceMut::new(&mut bytes));
        assert_eq!((fill(&mut buffers).0.len(), fill(&mut buffers).1), (1, 3));
    }
}
