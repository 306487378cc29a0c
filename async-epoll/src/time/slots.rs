//! The slots of the [wheel](crate::time::wheel): 512 lists of timers, in order of insertion.
//!
//! A list of timers where each knows its neighbours has two weaknesses when there are a million: to take one out, two
//! others have to be fetched from memory, and a walk can only fetch the next one once it has the one before. So a slot
//! is a list of *chunks*, each a cache line with up to 13 numbers of timers, which can be fetched all at the same time:
//!
//! ```text
//!   slot    ┌──────────────────────────┐     ┌──────────────────────────┐
//!   ──────► │ 4 │ 803 │ ─ │ 17 │ … │ 9 │ ──► │ 61 │ ─ │ 62 │            │
//!           └──────────────────────────┘     └──────────────────────────┘
//!                         a hole                           ▲ the next one goes here
//! ```
//!
//! A timer knows its *position*, the chunk and the cell in it. Taken out, it leaves a hole, since what is behind it must
//! neither move nor change its order. A chunk whose last timer has gone is freed at once, so no slot holds more than
//! thirteen cells for each timer, whatever is taken out; and once the last timer has gone, all memory is given back.

use super::arena::Arena;

/// No number, and no position.
pub(crate) const NONE: u32 = u32::MAX;
/// So many positions, the highest below [`NONE`], are not of slots.
pub(crate) const POSITIONS_OF_OTHERS: u32 = 64;
/// Cells of a chunk: as many as make it one cache line.
const CELLS: usize = 13;
/// log2 of the positions that a chunk may have.
const CELL_BITS: u32 = 4;

/// Up to thirteen timers of a slot.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Chunk {
    /// The timers; [`NONE`] is a hole.
    cells: [u32; CELLS],
    /// The chunk before in the slot's list.
    previous: u32,
    /// The chunk behind in the slot's list.
    next: u32,
    /// The slot.
    slot: u16,
    /// Cells that were used: a new timer goes behind them.
    used: u8,
    /// Cells with a timer.
    live: u8,
}

/// The chunks of a slot.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

const EMPTY: List = List { head: NONE, tail: NONE };

/// All slots.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Their lists. Allocated with the first timer.
    lists: Vec<List>,
    /// The chunks of all of them.
    chunks: Arena<Chunk>,
}

impl Slots {
    /// Empty, without memory.
    pub(crate) const fn new() -> Self {
        Self { lists: Vec::new(), chunks: Arena::new() }
    }

    /// Appends a timer to one of `count` slots, and returns its position.
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

    /// Appends a chunk with one timer.
    #[inline(never)]
    fn push_chunk(&mut self, slot: usize, count: usize, timer: u32) -> u32 {
        if self.lists.is_empty() {
            self.lists = vec![EMPTY; count];
        }
        let number = self.chunks.take();
        assert!(
            number < (NONE - POSITIONS_OF_OTHERS) >> CELL_BITS,
            "more than 268 435 450 chunks of timers in one reactor"
        );
        let list = &mut self.lists[slot];
        let previous = std::mem::replace(&mut list.tail, number);
        match previous {
            NONE => list.head = number,
            _ => self.chunks[previous].next = number,
        }
        let chunk = &mut self.chunks[number];
        // The other cells are set when they are used.
        chunk.cells[0] = timer;
        (chunk.previous, chunk.next, chunk.slot, chunk.used, chunk.live) = (previous, NONE, slot as u16, 1, 1);
        number << CELL_BITS
    }

    /// Takes out the timer at `position`. If it was the last one of its slot, returns that.
    pub(crate) fn remove(&mut self, position: u32) -> Option<usize> {
        let number = position >> CELL_BITS;
        let chunk = &mut self.chunks[number];
        chunk.cells[position as usize % (1 << CELL_BITS)] = NONE;
        chunk.live -= 1;
        if chunk.live == 0 { self.remove_chunk(number) } else { None }
    }

    /// Takes an empty chunk out of its slot. If it was the last one there, returns the slot.
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

    /// Frees a chunk; and once a crowd has left, the memory of all of them.
    fn free(&mut self, number: u32) {
        self.chunks.free(number);
        if self.chunks.is_large() && self.chunks.len() == 0 {
            self.chunks = Arena::new();
        }
    }

    /// Empties a slot. What is in it comes out of [`next_chunk`](Self::next_chunk).
    pub(crate) fn take(&mut self, slot: usize) -> Taken {
        Taken(std::mem::replace(&mut self.lists[slot], EMPTY).head)
    }

    /// The next few timers of a slot that was emptied, while slots are changed meanwhile.
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

    /// Whether there is more memory than may be kept for nobody.
    #[cfg(test)]
    pub(crate) fn is_large(&self) -> bool {
        self.chunks.is_large()
    }

    /// Whether a slot has more timers than `crowd`.
    pub(crate) fn is_crowded(&self, slot: usize, crowd: usize) -> bool {
        let (mut number, mut seen) = (self.lists[slot].head, 0);
        while number != NONE && seen <= crowd {
            let chunk = &self.chunks[number];
            seen += usize::from(chunk.live);
            number = chunk.next;
        }
        seen > crowd
    }

    /// The timers of a slot.
    pub(crate) fn iter(&self, slot: usize) -> impl Iterator<Item = u32> {
        let chunk = |number: u32| (number != NONE).then(|| &self.chunks[number]);
        let chunks = std::iter::successors(chunk(self.lists[slot].head), move |last| chunk(last.next));
        chunks.flat_map(|chunk| &chunk.cells[..usize::from(chunk.used)]).copied().filter(|&timer| timer != NONE)
    }
}

/// The chunks of a slot that was emptied.
#[derive(Debug)]
pub(crate) struct Taken(u32);
