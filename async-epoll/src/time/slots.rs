//! The slots of the [wheel](super::wheel): 512 lists of timers, each in order of insertion.
//!
//! The plain form is a doubly linked list of timers per slot. With a million timers it has two weaknesses: a removal
//! fetches two neighbours from memory, and a walk cannot fetch a timer before it has fetched the previous timer. So a
//! slot is a linked list of *chunks*. A chunk is one cache line with the numbers of up to 13 timers, and the processor
//! can fetch all these timers at the same time:
//!
//! ```text
//!   slot    ┌──────────────────────────┐     ┌──────────────────────────┐
//!   ──────► │ 4 │ 803 │ ─ │ 17 │ … │ 9 │ ──► │ 61 │ ─ │ 62 │            │
//!           └──────────────────────────┘     └──────────────────────────┘
//!                         a hole                           ▲ the next timer goes here
//! ```
//!
//! The wheel remembers the *position* of each timer: its chunk, and the cell in the chunk. A removal leaves a hole,
//! because the timers behind it must keep their positions and their order. A chunk without timers is freed at once, so
//! whatever is removed, a slot never has more than thirteen cells per timer. When all slots are empty, all chunks are
//! freed.

use super::arena::Arena;

/// The value that is no number of a timer or a chunk, and no position.
pub(crate) const NONE: u32 = u32::MAX;
/// The number of positions, the highest below [`NONE`], that are not in the slots. The wheel uses them for its
/// arrivals.
pub(crate) const RESERVED_POSITIONS: u32 = 64;
/// The number of cells in a chunk: as many as fit into a cache line.
const CELLS: usize = 13;
/// The number of bits of a position that say the cell. The other bits say the chunk.
const CELL_BITS: u32 = 4;

/// Up to thirteen timers of a slot.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Chunk {
    /// The numbers of the timers; [`NONE`] is a hole.
    cells: [u32; CELLS],
    /// The number of the previous chunk in the slot, or [`NONE`].
    previous: u32,
    /// The number of the next chunk in the slot, or [`NONE`].
    next: u32,
    /// The slot.
    slot: u16,
    /// How many cells were ever used. A new timer goes into the next cell.
    used: u8,
    /// How many cells have a timer.
    live: u8,
}

/// The chunks of a slot.
#[derive(Clone, Copy, Debug)]
struct List {
    /// The number of the first chunk, or [`NONE`].
    head: u32,
    /// The number of the last chunk, or [`NONE`].
    tail: u32,
}

/// A slot without timers.
const EMPTY: List = List { head: NONE, tail: NONE };

/// All slots.
#[derive(Debug)]
pub(crate) struct Slots {
    /// The list of each slot. Allocated with the first timer.
    lists: Vec<List>,
    /// The chunks of all slots.
    chunks: Arena<Chunk>,
}

impl Slots {
    /// Returns empty slots, without memory.
    pub(crate) const fn new() -> Self {
        Self { lists: Vec::new(), chunks: Arena::new() }
    }

    /// Appends a timer to `slot`, one of `count` slots. Returns the timer's position.
    #[inline]
    pub(crate) fn push(&mut self, slot: usize, count: usize, timer: u32) -> u32 {
        let tail = self.lists.get(slot).map_or(NONE, |list| list.tail);
        if tail != NONE {
            let chunk = &mut self.chunks[tail];
            if let Some(cell) = chunk.cells.get_mut(usize::from(chunk.used)) {
                *cell = timer;
                let position = tail << CELL_BITS | u32::from(chunk.used);
                chunk.used += 1;
                chunk.live += 1;
                return position;
            }
        }
        self.push_chunk(slot, count, timer)
    }

    /// Appends a chunk with one timer to `slot`. Returns the timer's position.
    #[inline(never)]
    fn push_chunk(&mut self, slot: usize, count: usize, timer: u32) -> u32 {
        if self.lists.is_empty() {
            self.lists = vec![EMPTY; count];
        }
        let number = self.chunks.take();
        assert!(
            number < (NONE - RESERVED_POSITIONS) >> CELL_BITS,
            "more than 268 435 450 chunks of timers in one reactor"
        );
        let list = &mut self.lists[slot];
        let previous = std::mem::replace(&mut list.tail, number);
        match previous {
            NONE => list.head = number,
            _ => self.chunks[previous].next = number,
        }
        let chunk = &mut self.chunks[number];
        // The other cells are written when they are used.
        chunk.cells[0] = timer;
        (chunk.previous, chunk.next, chunk.slot, chunk.used, chunk.live) = (previous, NONE, slot as u16, 1, 1);
        number << CELL_BITS
    }

    /// Removes the timer at `position`. Returns the slot if it is empty now.
    pub(crate) fn remove(&mut self, position: u32) -> Option<usize> {
        let number = position >> CELL_BITS;
        let chunk = &mut self.chunks[number];
        chunk.cells[position as usize % (1 << CELL_BITS)] = NONE;
        chunk.live -= 1;
        if chunk.live == 0 { self.remove_chunk(number) } else { None }
    }

    /// Removes a chunk without timers. Returns the slot if it is empty now.
    fn remove_chunk(&mut self, number: u32) -> Option<usize> {
        let Chunk { previous, next, slot, .. } = self.chunks[number];
        self.free(number);
        let slot = usize::from(slot);
        let list = &mut self.lists[slot];
        match previous {
            NONE => list.head = next,
            _ => self.chunks[previous].next = next,
        }
        match next {
            NONE => list.tail = previous,
            _ => self.chunks[next].previous = previous,
        }
        (previous == NONE && next == NONE).then_some(slot)
    }

    /// Frees a chunk. If it was the last chunk in use and the arena is large, frees the arena's memory.
    fn free(&mut self, number: u32) {
        self.chunks.free(number);
        if self.chunks.is_large() && self.chunks.len() == 0 {
            self.chunks = Arena::new();
        }
    }

    /// Empties a slot, and returns its chunks for [`next_chunk`](Self::next_chunk).
    pub(crate) fn take(&mut self, slot: usize) -> Taken {
        Taken(std::mem::replace(&mut self.lists[slot], EMPTY).head)
    }

    /// Returns the timers of the next chunk in `taken`, and frees the chunk. Between two calls the slots may be
    /// changed.
    pub(crate) fn next_chunk(&mut self, taken: &mut Taken) -> Option<impl Iterator<Item = u32> + use<>> {
        let number = taken.0;
        if number == NONE {
            return None;
        }
        let Chunk { cells, used, next, .. } = self.chunks[number];
        self.free(number);
        taken.0 = next;
        Some(cells.into_iter().take(usize::from(used)).filter(|&timer| timer != NONE))
    }

    /// Returns whether the chunks hold more memory than is kept without use.
    #[cfg(test)]
    pub(crate) fn is_large(&self) -> bool {
        self.chunks.is_large()
    }

    /// Returns whether a slot has more than `limit` timers.
    pub(crate) fn has_more_than(&self, slot: usize, limit: usize) -> bool {
        let (mut number, mut seen) = (self.lists[slot].head, 0);
        while number != NONE && seen <= limit {
            let chunk = &self.chunks[number];
            seen += usize::from(chunk.live);
            number = chunk.next;
        }
        seen > limit
    }

    /// Returns the timers of a slot, in order of insertion.
    pub(crate) fn iter(&self, slot: usize) -> impl Iterator<Item = u32> {
        let chunk = |number: u32| (number != NONE).then(|| &self.chunks[number]);
        let chunks = std::iter::successors(chunk(self.lists[slot].head), move |last| chunk(last.next));
        chunks.flat_map(|chunk| &chunk.cells[..usize::from(chunk.used)]).copied().filter(|&timer| timer != NONE)
    }
}

/// The chunks that were taken from a slot: the number of the first, or [`NONE`].
#[derive(Debug)]
pub(crate) struct Taken(u32);

#[cfg(test)]
mod tests {
    use super::*;

    /// A slot is empty when its last chunk is gone, whichever chunk that is.
    #[test]
    fn the_last_chunk_empties_a_slot() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut slots = Slots::new();
            let positions: Vec<_> = (0..3 * CELLS as u32).map(|timer| slots.push(5, 8, timer)).collect();
            let mut left = positions.len();
            for chunk in order {
                for position in &positions[chunk * CELLS..][..CELLS] {
                    left -= 1;
                    assert_eq!(slots.remove(*position), (left == 0).then_some(5), "{order:?}, {left} left");
                }
                assert_eq!(slots.iter(5).count(), left);
            }
        }
    }

    #[test]
    fn a_slot_with_more_than_a_limit() {
        for timers in [0, 1, CELLS, CELLS + 1, 2 * CELLS, 3 * CELLS] {
            let mut slots = Slots::new();
            for timer in 0..timers {
                slots.push(2, 8, timer as u32);
            }
            if timers == 0 {
                slots.push(3, 8, 0);
            }
            for limit in 0..4 * CELLS {
                assert_eq!(slots.has_more_than(2, limit), timers > limit, "{timers} timers, limit {limit}");
            }
        }
    }
}
