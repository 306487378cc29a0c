//! A table that hands out small numbers, and gives memory back.
//!
//! There are two: the [registry](crate::io::registry) of sources, and the [tasks](crate::task::set) of a pool. A small number
//! fits into the token of an event and into a queue, and leads to its entry by one addition.
//!
//! [`Slab`] does that. It never shrinks by itself, though, and a server that once had eight thousand connections
//! should not remember all of them for ever.

use slab::Slab;
use std::ops::{Index, IndexMut};

/// Entries that may be kept for nobody.
const SPARE_ENTRIES: usize = 256;

/// Entries by number. A number is reused once its entry has been removed.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// The entries, and the free places in between.
    entries: Slab<T>,
    /// Removals since memory was last given back.
    removals: usize,
}

impl<T> Table<T> {
    /// Empty, without memory.
    pub(crate) const fn new() -> Self {
        Self { entries: Slab::new(), removals: 0 }
    }

    /// Entries in the table.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Makes an entry of what `make` returns for its number.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(u32) -> T) -> u32 {
        let place = self.entries.vacant_entry();
        let number = u32::try_from(place.key()).expect("more than 4 294 967 295 entries");
        place.insert(make(number));
        number
    }

    /// The entry of this number, if there is one.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.entries.get(number as usize)
    }

    /// Strikes an entry out.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub(crate) fn remove(&mut self, number: u32) -> T {
        let removed = self.entries.remove(number as usize);
        self.give_back_memory();
        removed
    }

    /// All entries, in order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Takes everything out.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.entries).into_iter().map(|(_, entry)| entry).collect()
    }

    /// Frees the table's tail once three quarters of it serve nobody.
    ///
    /// An attempt that finds the last entry in use costs next to nothing; one that succeeds looks at the whole table, so
    /// it has to be earned by a number of removals.
    fn give_back_memory(&mut self) {
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

/// Adds to a list of those who may go away by themselves, and forgets those who have, now and then.
pub(crate) fn push_pruned<W>(list: &mut Vec<W>, new: W, is_alive: impl FnMut(&W) -> bool) {
    if list.len() == list.capacity() {
        list.retain(is_alive);
        // Room for as many again, so that the next look at all is a while off.
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

    /// Ten thousand living ones are looked at a few times, and dead ones do not pile up.
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
