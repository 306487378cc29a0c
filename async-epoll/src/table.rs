//! A table that numbers its entries, and frees unused memory.
//!
//! Two parts use it: the [registry](crate::io::registry) of sources, and the [tasks](crate::task::set) of a pool. A small number fits into the token of an event and into a queue, and leads to its entry by one addition.
//!
//! [`Slab`] does most of this. But a `Slab` never shrinks by itself, and a server that once had eight thousand
//! connections would keep the memory for all of them. A [`Table`] frees the unused part after enough removals.
//!
//! [`push_pruned`] does the same for a list of weak references.

use slab::Slab;
use std::ops::{Index, IndexMut};

/// The number of entries that a table may have. The highest bit of an entry's number is left to the table's user: the
/// tasks of a set are in two tables.
const MAX_ENTRIES: usize = 1 << 31;
/// Capacity kept although unused, in entries.
const SPARE_ENTRIES: usize = 256;

/// Entries by number. A number is reused once its entry has been removed.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// The entries, and the free numbers in between.
    entries: Slab<T>,
    /// The number of removals since memory was last freed.
    removals: usize,
}

impl<T> Table<T> {
    /// Returns an empty table, without memory.
    pub(crate) const fn new() -> Self {
        Self { entries: Slab::new(), removals: 0 }
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an entry, made by `make` from the entry's number. Returns the number.
    ///
    /// # Panics
    ///
    /// If there are 2³¹ entries already.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(u32) -> T) -> u32 {
        let vacant = self.entries.vacant_entry();
        assert!(vacant.key() < MAX_ENTRIES, "more than 2 147 483 648 entries");
        let number = vacant.key() as u32;
        vacant.insert(make(number));
        number
    }

    /// Returns the entry with this number, if there is an entry.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.entries.get(number as usize)
    }

    /// Returns the entry with this number, if there is an entry.
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(number as usize)
    }

    /// Removes and returns the entry with this number.
    ///
    /// # Panics
    ///
    /// If no entry has this number.
    pub(crate) fn remove(&mut self, number: u32) -> T {
        let removed = self.entries.remove(number as usize);
        self.free_memory();
        removed
    }

    /// Returns all entries with their numbers, in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.entries.iter_mut().map(|(number, entry)| (number as u32, entry))
    }

    /// Returns all entries, in order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Removes and returns all entries.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.entries).into_iter().map(|(_, entry)| entry).collect()
    }

    /// Frees the unused end of the table when at most a quarter of the capacity is in use.
    ///
    /// An attempt is cheap while the last entry is in use. A successful attempt visits the whole table, so the code
    /// waits for a number of removals in proportion to the capacity.
    fn free_memory(&mut self) {
        self.removals += 1;
        let (len, capacity) = (self.entries.len(), self.entries.capacity());
        if capacity > SPARE_ENTRIES && len <= capacity / 4 && self.removals >= capacity / 8 {
            self.entries.shrink_to_fit();
            if self.entries.capacity() != capacity {
                self.removals = 0;
            }
        }
    }
}

impl<T> Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.entries[number as usize]
    }
}

impl<T> IndexMut<u32> for Table<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.entries[number as usize]
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds `new` to a list of references to targets that may go away. Whenever the list is full, removes the references
/// that are not alive.
pub(crate) fn push_pruned<W>(list: &mut Vec<W>, new: W, is_alive: impl FnMut(&W) -> bool) {
    if list.len() == list.capacity() {
        list.retain(is_alive);
        // Double the room, so that the cost of a visit to all is spread over as many additions.
        list.reserve(list.len().max(4));
    }
    list.push(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back() {
        let mut table = Table::new();
        let numbers: Vec<u32> = (0..10_000).map(|_| table.insert_with(|number| number)).collect();
        numbers.iter().skip(10).for_each(|&number| assert_eq!(table.remove(number), number));
        assert!(table.entries.capacity() <= 1024, "{}", table.entries.capacity());
        assert_eq!((table.len(), table.iter().count()), (10, 10));
        assert_eq!(table.take_all().len(), 10);
        assert_eq!(table.len(), 0);
    }

    /// Ten thousand live references are checked a few times each, and dead references do not pile up.
    #[test]
    fn lists_are_pruned_now_and_then() {
        let (mut list, mut looks) = (Vec::new(), 0);
        (0..10_000).for_each(|n| {
            push_pruned(&mut list, n, |_| {
                looks += 1;
                true
            });
        });
        assert!(list.len() == 10_000 && looks < 40_000, "{looks}");
        let mut list = Vec::new();
        (0..10_000).for_each(|n| push_pruned(&mut list, n, |_| false));
        assert!(list.len() < 16 && list.capacity() < 32);
    }
}
