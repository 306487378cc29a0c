//! Buffers and slices, limited to the number that one system call takes.
//!
//! The vectored operations of stream sockets call this. More buffers than the kernel takes at once (`IOV_MAX`) are not
//! an error: the rest is for the next call. Empty buffers at the front are skipped, since they would use up a part of
//! the limit, or all of it.

use std::io::{IoSlice, IoSliceMut};

/// The largest number of slices in one system call: `IOV_MAX`.
const MAX_SLICES: usize = 1024;

/// Returns how many bytes one system call could move. (The kernel moves at most 2 GiB, but no socket's buffer holds
/// more. So a call that moves fewer bytes has found no more bytes, or no more room.)
fn total(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.take(MAX_SLICES).fold(0, usize::saturating_add)
}

/// Returns the index of the first slice that is not empty, or the number of slices.
fn first_nonempty(mut lengths: impl ExactSizeIterator<Item = usize>) -> usize {
    let all = lengths.len();
    lengths.position(|length| length != 0).unwrap_or(all)
}

/// Returns the buffers for one system call of std, and their number of bytes. std limits the number of buffers itself.
pub(crate) fn fill<'a, 'b>(buffers: &'a mut [IoSliceMut<'b>]) -> (&'a mut [IoSliceMut<'b>], usize) {
    let first = first_nonempty(buffers.iter().map(|buffer| buffer.len()));
    let buffers = &mut buffers[first..];
    let wanted = total(buffers.iter().map(|buffer| buffer.len()));
    (buffers, wanted)
}

/// Returns the slices for one system call, and their number of bytes.
pub(crate) fn drain<'a, 'b>(slices: &'a [IoSlice<'b>]) -> (&'a [IoSlice<'b>], usize) {
    let slices = &slices[first_nonempty(slices.iter().map(|slice| slice.len()))..];
    let slices = &slices[..slices.len().min(MAX_SLICES)];
    (slices, total(slices.iter().map(|slice| slice.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_slices_use_up_no_call() {
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
