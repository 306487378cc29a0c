//! Memory for very many small things of one kind, each with a number.
//!
//! A million timers come and go, and three things are asked of the place where they lie:
//!
//! ```text
//!   segments  ┌─► 0 … 127                             free  ┌────┬─────┬───┐
//!             ├─► 128 … 255                                 │ 17 │ 803 │ 4 │ ◄─ the next number
//!             └─► 256 … 383                                 └────┴─────┴───┘
//! ```
//!
//! - None of them pays for all others: a segment never moves, while a vector that grows would copy everything at once.
//! - Little is wasted: a segment at most, while a vector may be half empty.
//! - The number that was freed last is given out next, since its memory is most likely in the cache.

use std::ops::{Index, IndexMut};

/// log2 of the things in a segment.
const SEGMENT_BITS: u32 = 7;
/// Things in a segment.
const SEGMENT: usize = 1 << SEGMENT_BITS;

/// Things by number. A number is given out again once it has been freed.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    /// All things, in use or not.
    segments: Vec<Box<[T; SEGMENT]>>,
    /// The numbers that are not in use.
    free: Vec<u32>,
}

impl<T: Default> Arena<T> {
    /// Empty, without memory.
    pub(crate) const fn new() -> Self {
        Self { segments: Vec::new(), free: Vec::new() }
    }

    /// A number that is not in use. What has it is as it was left.
    #[inline]
    pub(crate) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| self.grow())
    }

    /// Adds a segment, and takes the first of its numbers.
    #[cold]
    fn grow(&mut self) -> u32 {
        let first = self.segments.len() << SEGMENT_BITS;
        let last = u32::try_from(first + SEGMENT - 1).expect("fewer than 4 294 967 296 timers in one reactor");
        let things: Vec<T> = (0..SEGMENT).map(|_| T::default()).collect();
        let Ok(segment) = things.try_into() else { unreachable!("as many as a segment has") };
        self.segments.push(segment);
        self.free.extend((first as u32 + 1..=last).rev());
        first as u32
    }

    /// Takes a number back.
    #[inline]
    pub(crate) fn free(&mut self, number: u32) {
        self.free.push(number);
    }

    /// Whether there is more memory than may be kept for nobody.
    pub(crate) fn is_large(&self) -> bool {
        self.segments.len() > 1
    }

    /// How many numbers are in use.
    pub(crate) fn len(&self) -> usize {
        (self.segments.len() << SEGMENT_BITS) - self.free.len()
    }

    /// All things, also those whose numbers are not in use.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.segments.iter_mut().flat_map(|segment| segment.iter_mut())
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, number: u32) -> &T {
        let number = number as usize;
        &self.segments[number >> SEGMENT_BITS][number % SEGMENT]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        let number = number as usize;
        &mut self.segments[number >> SEGMENT_BITS][number % SEGMENT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_reused_and_things_stay() {
        let mut arena = Arena::new();
        for number in 0..300 {
            assert_eq!(arena.take(), number);
            arena[number] = number;
        }
        assert_eq!((arena.segments.len(), arena.len()), (3, 300));
        assert!((0..300).all(|number| arena[number] == number));
        arena.free(17);
        arena.free(203);
        assert_eq!((arena.take(), arena.take()), (203, 17), "the last one freed comes first");
        assert_eq!((arena[203], arena.len()), (203, 300));
        assert_eq!(arena.iter_mut().count(), 3 * SEGMENT);
        (0..300).for_each(|number| arena.free(number));
        assert!(arena.len() == 0 && arena.is_large());
    }
}
