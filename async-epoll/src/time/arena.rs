//! Memory for very many small items of one type, each with a number.
//!
//! The [wheel](super::wheel) and its [slots](super::slots) keep their timers here. The arena consists of segments of
//! fixed size and a stack of free numbers:
//!
//! ```text
//!   segments  ┌─► 0 … 127                             free  ┌────┬─────┬───┐
//!             ├─► 128 … 255                                 │ 17 │ 803 │ 4 │ ◄─ the next number
//!             └─► 256 … 383                                 └────┴─────┴───┘
//! ```
//!
//! With a million timers this has three advantages over a vector:
//!
//! - No single insertion pays for all: a segment never moves, while a vector that grows copies all its items at once.
//! - Little memory is unused: growth adds one segment, while a vector may be half empty.
//! - The number that was freed last is reused first, since its memory is most likely in the cache.
//!
//! An arena never shrinks. Its owner replaces an arena that [is large](Arena::is_large) and empty.

use std::ops::{Index, IndexMut};

/// The binary logarithm of [`SEGMENT`].
const SEGMENT_BITS: u32 = 7;
/// The number of items in a segment.
const SEGMENT: usize = 1 << SEGMENT_BITS;

/// Items by number. A number is reused after it has been freed.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    /// All items, in use or free.
    segments: Vec<Box<[T; SEGMENT]>>,
    /// The free numbers. The last is reused first.
    free: Vec<u32>,
}

impl<T: Default> Arena<T> {
    /// Returns an empty arena, without memory.
    pub(crate) const fn new() -> Self {
        Self { segments: Vec::new(), free: Vec::new() }
    }

    /// Returns a free number, which is in use from now on. Its item keeps the value from before it was freed.
    #[inline]
    pub(crate) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| self.grow())
    }

    /// Adds a segment, and returns the first of its numbers. The others become free.
    #[cold]
    fn grow(&mut self) -> u32 {
        let first = self.segments.len() << SEGMENT_BITS;
        let last = u32::try_from(first + SEGMENT - 1).expect("fewer than 4 294 967 296 timers in one reactor");
        let items: Vec<T> = (0..SEGMENT).map(|_| T::default()).collect();
        let Ok(segment) = items.try_into() else { unreachable!("as many as a segment has") };
        self.segments.push(segment);
        self.free.extend((first as u32 + 1..=last).rev());
        first as u32
    }

    /// Frees a number.
    #[inline]
    pub(crate) fn free(&mut self, number: u32) {
        self.free.push(number);
    }

    /// Returns whether the arena has more than one segment: too much memory to keep without use.
    pub(crate) fn is_large(&self) -> bool {
        self.segments.len() > 1
    }

    /// Returns how many numbers are in use.
    pub(crate) fn len(&self) -> usize {
        (self.segments.len() << SEGMENT_BITS) - self.free.len()
    }

    /// Returns all items, in use or free.
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
    fn numbers_are_reused_and_items_stay() {
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

    #[test]
    fn one_segment_is_kept() {
        let mut arena = Arena::<u32>::new();
        assert!(!arena.is_large());
        arena.take();
        assert!(!arena.is_large());
        for _ in 1..=SEGMENT {
            arena.take();
        }
        assert!(arena.is_large());
    }
}
