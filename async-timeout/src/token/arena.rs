//! A table whose keys stay valid until their values are removed.
//!
//! Vacant entries form a list, so inserting and removing cost a few instructions. A table that was once large does not
//! keep its memory: when three quarters of the entries are vacant, those behind the last occupied entry are freed.

use std::mem;
use std::ops::{Index, IndexMut};

/// The end of the list of vacant entries.
const NONE: usize = usize::MAX;
/// The number of entries whose memory is kept.
const KEPT: usize = 16;

/// A table of values by key.
pub(super) struct Arena<T> {
    /// All entries. The key of a value is the index of its entry.
    entries: Vec<Entry<T>>,
    /// The first vacant entry, or [`NONE`].
    vacant: usize,
    /// The number of occupied entries.
    len: usize,
    /// The value of `len` at which the table is trimmed next. A quarter of the entries; halved by each trim, so a table whose
    /// last entry stays occupied is not searched at each removal.
    trim_at: usize,
}

/// An entry: a value, or the next vacant entry.
enum Entry<T> {
    Occupied(T),
    Vacant(usize),
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), vacant: NONE, len: 0, trim_at: 0 }
    }
}

impl<T> Arena<T> {
    /// Inserts a value, and returns its key.
    pub(super) fn insert(&mut self, value: T) -> usize {
        self.len += 1;
        if let Some(entry) = self.entries.get_mut(self.vacant) {
            let key = self.vacant;
            if let Entry::Vacant(next) = mem::replace(entry, Entry::Occupied(value)) {
                self.vacant = next;
            }
            return key;
        }
        self.entries.push(Entry::Occupied(value));
        self.trim_at = if self.len > KEPT { self.len / 4 } else { 0 };
        self.len - 1
    }

    /// Removes the value of `key`. Returns `None` if there is none.
    pub(super) fn remove(&mut self, key: usize) -> Option<T> {
        let entry = self.entries.get_mut(key).filter(|entry| matches!(entry, Entry::Occupied(_)))?;
        let removed = mem::replace(entry, Entry::Vacant(self.vacant));
        self.vacant = key;
        self.len -= 1;
        if self.len <= self.trim_at {
            self.trim();
        }
        match removed {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant(_) => None,
        }
    }

    /// Returns the number of values.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the value of `key`, or `None` if there is none.
    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        match self.entries.get_mut(key)? {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant(_) => None,
        }
    }

    /// Returns the values in the order of their keys.
    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.entries.into_iter().filter_map(|entry| match entry {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant(_) => None,
        })
    }

    /// Frees the entries behind the last occupied one.
    fn trim(&mut self) {
        let is_occupied = |entry: &Entry<T>| matches!(entry, Entry::Occupied(_));
        let used = self.entries.iter().rposition(is_occupied).map_or(0, |last| last + 1);
        self.entries.truncate(used);
        self.entries.shrink_to(KEPT.max(used));
        self.vacant = NONE;
        for (key, entry) in self.entries.iter_mut().enumerate() {
            if let Entry::Vacant(next) = entry {
                *next = mem::replace(&mut self.vacant, key);
            }
        }
        self.trim_at = self.len / 2;
    }
}

impl<T> Index<usize> for Arena<T> {
    type Output = T;

    /// Returns the value of a key that is in use.
    fn index(&self, key: usize) -> &T {
        match &self.entries[key] {
            Entry::Occupied(value) => value,
            Entry::Vacant(_) => unreachable!("the key of a removed value"),
        }
    }
}

impl<T> IndexMut<usize> for Arena<T> {
    fn index_mut(&mut self, key: usize) -> &mut T {
        match &mut self.entries[key] {
            Entry::Occupied(value) => value,
            Entry::Vacant(_) => unreachable!("the key of a removed value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Behaves like a map through many insertions and removals, and frees the memory of a large table.
    #[test]
    fn behaves_like_a_map() {
        let (mut arena, mut map) = (Arena::default(), BTreeMap::new());
        let (mut state, mut longest) = (1_u64, 0);
        for step in 0..100_000_u64 {
            // A linear congruential generator. The table grows for some time, then shrinks, again and again.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let grows = step / 1000 % 2 == 0;
            if (state >> 33) % 8 < if grows { 6 } else { 1 } {
                let key = arena.insert(step);
                assert_eq!(map.insert(key, step), None, "the key is in use");
            } else {
                // Half of the removals are of a key that may not be in use.
                let key = (state >> 40) as usize % (arena.entries.len() + 2);
                let key = if state >> 63 == 0 { key } else { map.keys().next_back().copied().unwrap_or(0) };
                assert_eq!(arena.remove(key), map.remove(&key));
            }
            longest = longest.max(arena.entries.len());
            assert_eq!(arena.len, map.len());
            if let Some((&key, &value)) = map.iter().next_back() {
                assert_eq!((arena[key], arena.get_mut(key)), (value, Some(&mut { value })));
            }
        }
        assert!(longest > 100, "{longest}");
        let keys: Vec<_> = map.keys().copied().collect();
        for key in keys {
            arena.remove(key);
        }
        assert!(arena.entries.is_empty() && arena.entries.capacity() <= KEPT);
        let values = [5, 6, 7].map(|value| arena.insert(value));
        arena.remove(values[1]);
        assert_eq!(arena.into_values().collect::<Vec<_>>(), [5, 7]);
    }

    /// One value at the end keeps the table long. Removals nevertheless search the table a few times only.
    #[test]
    fn a_value_at_the_end_costs_little() {
        let mut arena = Arena::default();
        let count = 10_000;
        for value in 0..count {
            arena.insert(value);
        }
        let mut trims = 0;
        for key in 0..count - 1 {
            let before = arena.trim_at;
            arena.remove(key);
            trims += usize::from(arena.trim_at != before);
        }
        assert_eq!((arena.len, arena.entries.len()), (1, count));
        assert!(trims <= 20, "{trims}");
        for _ in 0..10 * count {
            let key = arena.insert(0);
            arena.remove(key);
            assert_eq!(arena.entries.len(), count, "not searched, or it would be searched each time");
        }
        arena.remove(count - 1);
        assert!(arena.entries.is_empty() && arena.entries.capacity() <= KEPT);
    }
}
