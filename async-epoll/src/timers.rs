//! The reactor's timers: a hierarchical wheel whose last stage is exact.
//!
//! Time is cut into ticks of 2²⁰ ns (1.05 ms). Level 0 has a slot for each of 64 ticks, level 1 a slot for each 64
//! ticks, and so on; eight levels reach further than 64 bits of nanoseconds. A timer lies in the slot of the highest
//! base-64 digit in which its tick differs from the present one, so setting, moving and cancelling one is O(1):
//!
//! ```text
//!   level 2  │ 4.3 s │ 4.3 s │ 4.3 s │ …      when the present enters a slot of level n,
//!                └──────┐                     its timers are dealt out to the levels below
//!   level 1  │ 67 ms │ 67 ms │ 67 ms │ …
//!                └──────┐
//!   level 0  │ 1 ms │ 1 ms │ 1 ms │ …         a timer fires once its exact deadline has passed,
//!                                             not at its slot's edge
//! ```
//!
//! A wheel alone would be late by up to a tick, and a sorted heap would wake the loop once per timer. Both are wanted:
//! a lone timer is to be exact, ten thousand are to share wake-ups. So the wheel looks through the next slot for the
//! exact deadline, but only while the slot is [not crowded](CROWD); and the loop may be woken by timers alone
//! [a few times](BURST) in a row at will, then about once per tick.
//!
//! Moving a deadline *later* changes one number and leaves the timer in its slot: when the slot comes up, the timer is
//! put where it belongs. That makes "reset on every request" nearly free.
//!
//! An entry belongs to the [`Timer`](crate::Timer) that made it until that timer lets go of it, fired or not. So an
//! index is never reused under a living timer, and needs no generation.

use crate::clock::NEVER;
use std::task::Waker;

/// log2 of a tick in nanoseconds.
const TICK_BITS: u32 = 20;
/// A tick in nanoseconds: about a millisecond.
const TICK: u64 = 1 << TICK_BITS;
/// log2 of the slots of a level.
const SLOT_BITS: u32 = 6;
/// Slots of a level: one for each bit of its map.
const SLOTS: usize = 1 << SLOT_BITS;
/// Levels: 20 + 8 · 6 bits are more than 64.
const LEVELS: usize = 8;
/// A slot with more timers than this is not searched for the exact next deadline: its timers fire at its end.
const CROWD: usize = 32;
/// Wake-ups for timers alone that may come closer than a tick to one another.
const BURST: u64 = 8;
/// So few timers are always exact, however often they fire.
const FEW: usize = 8;
/// No entry.
const NIL: u32 = u32::MAX;
/// The `slot` of an entry that lies in none: it has fired, or it never fires.
const NOWHERE: u16 = u16::MAX;
/// Entries that may be kept for nobody.
const SPARE_ENTRIES: usize = 1024;

/// An entry's index. Its owner is the only one to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// One timer.
#[derive(Debug)]
struct Entry {
    /// When to fire, exactly. May be later than the slot says: see the module's text on resets.
    deadline: u64,
    /// Whom to wake.
    waker: Option<Waker>,
    /// The neighbour before in the slot's list; in a free entry, the next free one.
    previous: u32,
    /// The neighbour behind in the slot's list.
    next: u32,
    /// Level · 64 + slot, or [`NOWHERE`].
    slot: u16,
}

/// A doubly linked list through the entries, in order of insertion.
#[derive(Clone, Copy, Debug)]
struct List {
    /// The first entry, or [`NIL`].
    head: u32,
    /// The last entry, or [`NIL`].
    tail: u32,
}

/// A list without entries.
const EMPTY: List = List { head: NIL, tail: NIL };

/// A slot's place in time.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Level · 64 + slot.
    slot: u16,
    /// Its first tick.
    start: u64,
    /// Its length in ticks.
    ticks: u64,
}

/// All timers of a reactor. Times are those of [`Clock`](crate::clock::Clock).
#[derive(Debug)]
pub(crate) struct Timers {
    /// The entries, used and free.
    entries: Vec<Entry>,
    /// The first free entry.
    free: u32,
    /// Entries in use.
    owned: usize,
    /// Entries that lie in a slot, so will fire.
    armed: usize,
    /// The lists, level by level. Allocated with the first timer.
    slots: Vec<List>,
    /// For each level, a bit for each slot that is not empty.
    occupied: [u64; LEVELS],
    /// The present tick: everything before it has been dealt with.
    present: u64,
    /// No timer is due before this.
    next: u64,
    /// `next` may be too early, since the timer that made it has gone.
    next_is_stale: bool,
    /// When the loop was last woken for timers alone.
    last_wake: u64,
    /// Timer-only wake-ups that may still come at will. Grows by one per tick.
    credit: u64,
}

impl Timers {
    /// None. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NIL,
            owned: 0,
            armed: 0,
            slots: Vec::new(),
            occupied: [0; LEVELS],
            present: 0,
            next: NEVER,
            next_is_stale: false,
            last_wake: 0,
            credit: BURST,
        }
    }

    /// Timers that will fire.
    pub(crate) const fn armed(&self) -> usize {
        self.armed
    }

    /// Arms a timer. Says whether it is now the first to fire, so that a sleeper must hear of it.
    pub(crate) fn insert(&mut self, deadline: u64, waker: Waker) -> (Key, bool) {
        let entry = Entry { deadline, waker: Some(waker), previous: NIL, next: NIL, slot: NOWHERE };
        let index = if self.free == NIL {
            let index = u32::try_from(self.entries.len()).ok().filter(|&i| i != NIL);
            self.entries.push(entry);
            index.expect("more than 4 294 967 294 timers in one reactor")
        } else {
            let index = self.free;
            let place = &mut self.entries[index as usize];
            self.free = place.previous;
            *place = entry;
            index
        };
        self.owned += 1;
        let first = self.arm(index);
        (Key(index), first)
    }

    /// Lets go of a timer, fired or not. Returns its waker, to be dropped when no lock is held.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Waker> {
        self.disarm(key.0);
        let entry = &mut self.entries[key.0 as usize];
        entry.previous = self.free;
        let waker = entry.waker.take();
        self.free = key.0;
        self.owned -= 1;
        if self.owned == 0 && self.entries.capacity() > SPARE_ENTRIES {
            self.entries = Vec::new();
            self.free = NIL;
        }
        waker
    }

    /// Whether the timer has fired. If not, `Err` says whether `waker` is the one that it would wake.
    pub(crate) fn has_fired(&self, key: Key, waker: &Waker) -> Result<(), bool> {
        let entry = &self.entries[key.0 as usize];
        if entry.waker.is_none() { Ok(()) } else { Err(entry.waker.as_ref().is_some_and(|w| w.will_wake(waker))) }
    }

    /// Changes whom to wake. Returns the old one, to be dropped when no lock is held; `Err` if it has fired.
    pub(crate) fn set_waker(&mut self, key: Key, waker: Waker) -> Result<Option<Waker>, Waker> {
        let slot = &mut self.entries[key.0 as usize].waker;
        if slot.is_some() { Ok(slot.replace(waker)) } else { Err(waker) }
    }

    /// Moves the deadline of a timer that has not fired; `None` if it has. Says whether it is now the first to fire.
    pub(crate) fn reset(&mut self, key: Key, deadline: u64) -> Option<bool> {
        let entry = &mut self.entries[key.0 as usize];
        entry.waker.as_ref()?;
        let was = std::mem::replace(&mut entry.deadline, deadline);
        if deadline >= was && deadline != NEVER && entry.slot != NOWHERE {
            // Later: it stays in its slot, and is found out when the slot comes up.
            self.next_is_stale |= was == self.next;
            return Some(false);
        }
        entry.deadline = was;
        self.disarm(key.0);
        self.entries[key.0 as usize].deadline = deadline;
        Some(self.arm(key.0))
    }

    /// When the first timer is due: exact, unless its slot is crowded.
    pub(crate) fn next(&mut self) -> u64 {
        if self.next_is_stale {
            self.find_next();
        }
        self.next
    }

    /// Until when the loop may sleep: the first timer, or a little later if timers have woken it too often of late.
    pub(crate) fn sleep_until(&mut self) -> u64 {
        let next = self.next();
        if self.credit == 0 && self.armed > FEW { next.max(self.last_wake.saturating_add(TICK)) } else { next }
    }

    /// The loop was woken at `now` for no other reason than timers.
    pub(crate) fn note_wake(&mut self, now: u64) {
        let ticks = now.saturating_sub(self.last_wake) >> TICK_BITS;
        self.credit = self.credit.saturating_add(ticks).min(BURST).saturating_sub(1);
        self.last_wake = now;
    }

    /// Fires what is due at `now`: takes its wakers, in order of deadline, equal ones in order of insertion.
    ///
    /// Returns how many fired.
    pub(crate) fn fire(&mut self, now: u64, wakers: &mut Vec<Waker>) -> usize {
        if now < self.next {
            return 0;
        }
        let today = now >> TICK_BITS;
        let mut due = Vec::new();
        while let Some(place) = self.first_place().filter(|place| place.start <= today) {
            self.present = self.present.max(place.start);
            self.deal_out(place, now, &mut due);
            if place.start == today && place.ticks == 1 {
                break;
            }
        }
        self.present = self.present.max(today);
        // Stable, and the lists are in order of insertion.
        due.sort_by_key(|&(deadline, _)| deadline);
        let fired = due.len();
        wakers.extend(due.into_iter().map(|(_, waker)| waker));
        self.find_next();
        fired
    }

    /// Shows every timer that has not fired.
    #[cfg(feature = "inspect")]
    pub(crate) fn visit(&self, mut visit: impl FnMut(u64, &Waker)) {
        for entry in &self.entries {
            entry.waker.iter().for_each(|waker| visit(entry.deadline, waker));
        }
    }

    /// The reactor goes away: takes all wakers. The entries stay with their owners.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.entries.iter_mut().filter_map(|entry| entry.waker.take()));
        self.slots = Vec::new();
        self.occupied = [0; LEVELS];
        self.entries.iter_mut().for_each(|entry| entry.slot = NOWHERE);
        self.armed = 0;
        (self.next, self.next_is_stale) = (NEVER, false);
    }

    /// Empties the slot at `place`: the due go to `due`, the others where they belong seen from the present.
    fn deal_out(&mut self, place: Place, now: u64, due: &mut Vec<(u64, Waker)>) {
        let mut index = std::mem::replace(&mut self.slots[usize::from(place.slot)], EMPTY).head;
        let (level, bit) = (usize::from(place.slot) / SLOTS, usize::from(place.slot) % SLOTS);
        self.occupied[level] &= !(1 << bit);
        while index != NIL {
            let entry = &mut self.entries[index as usize];
            let next = entry.next;
            entry.slot = NOWHERE;
            self.armed -= 1;
            if entry.deadline <= now {
                due.extend(entry.waker.take().map(|waker| (entry.deadline, waker)));
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    /// Puts an entry in its slot, and says whether it is now the first to fire.
    fn arm(&mut self, index: u32) -> bool {
        let deadline = self.entries[index as usize].deadline;
        if deadline == NEVER {
            return false;
        }
        self.link(index);
        let first = deadline < self.next;
        if first {
            (self.next, self.next_is_stale) = (deadline, false);
        }
        first
    }

    /// Takes an entry out of its slot, if it is in one.
    fn disarm(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        let (slot, previous, next) = (usize::from(entry.slot), entry.previous, entry.next);
        if entry.slot == NOWHERE {
            return;
        }
        self.next_is_stale |= entry.deadline == self.next;
        match previous {
            NIL => self.slots[slot].head = next,
            _ => self.entries[previous as usize].next = next,
        }
        match next {
            NIL => self.slots[slot].tail = previous,
            _ => self.entries[next as usize].previous = previous,
        }
        if self.slots[slot].head == NIL {
            self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
        }
        self.entries[index as usize].slot = NOWHERE;
        self.armed -= 1;
        if self.armed == 0 {
            (self.next, self.next_is_stale) = (NEVER, false);
        }
    }

    /// Appends an entry to the slot where it belongs, seen from the present.
    fn link(&mut self, index: u32) {
        if self.slots.is_empty() {
            self.slots = vec![EMPTY; LEVELS * SLOTS];
        }
        let tick = (self.entries[index as usize].deadline >> TICK_BITS).max(self.present);
        // The highest base-64 digit in which the ticks differ; equal ticks differ in the lowest.
        let level = (63 - ((tick ^ self.present) | (SLOTS as u64 - 1)).leading_zeros()) / SLOT_BITS;
        let bit = (tick >> (level * SLOT_BITS)) as usize % SLOTS;
        let slot = level as usize * SLOTS + bit;
        let list = &mut self.slots[slot];
        let previous = std::mem::replace(&mut list.tail, index);
        match previous {
            NIL => list.head = index,
            _ => self.entries[previous as usize].next = index,
        }
        let entry = &mut self.entries[index as usize];
        (entry.previous, entry.next, entry.slot) = (previous, NIL, slot as u16);
        self.occupied[level as usize] |= 1 << bit;
        self.armed += 1;
    }

    /// The first slot that is not empty. All of a lower level come before all of a higher one.
    fn first_place(&self) -> Option<Place> {
        let level = self.occupied.iter().position(|&map| map != 0)?;
        // Slots before the present one are empty, so the lowest bit is the first in time.
        let bit = self.occupied[level].trailing_zeros();
        let shift = level as u32 * SLOT_BITS;
        let ticks = 1_u64 << shift;
        let above = !((ticks << SLOT_BITS).wrapping_sub(1));
        let start = self.present & above | u64::from(bit) << shift;
        Some(Place { slot: (level * SLOTS) as u16 + bit as u16, start, ticks })
    }

    /// Works out `next`.
    fn find_next(&mut self) {
        self.next_is_stale = false;
        self.next = loop {
            let Some(place) = self.first_place() else { break NEVER };
            let (start, end) = (place.start << TICK_BITS, place.start.saturating_add(place.ticks));
            let end = if end > NEVER >> TICK_BITS { NEVER } else { end << TICK_BITS };
            let (mut index, mut seen, mut first) = (self.slots[usize::from(place.slot)].head, 0, NEVER);
            while index != NIL && seen <= CROWD {
                let entry = &self.entries[index as usize];
                first = first.min(entry.deadline);
                index = entry.next;
                seen += 1;
            }
            if index != NIL {
                break if place.ticks == 1 { end } else { start };
            }
            if first < end {
                break first;
            }
            // All have been moved later: put them where they belong, and look again. Each move pays for this once.
            self.deal_out(place, 0, &mut Vec::new());
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    /// Writes its number into a shared list when woken.
    struct Note(u64, Arc<Mutex<Vec<u64>>>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    /// The wheel beside the simplest thing that is right: a map ordered by deadline and insertion.
    struct Model {
        timers: Timers,
        reference: BTreeMap<(u64, u64), Key>,
        fired: Arc<Mutex<Vec<u64>>>,
        now: u64,
        serial: u64,
    }

    impl Model {
        fn new() -> Self {
            Self { timers: Timers::new(), reference: BTreeMap::new(), fired: Arc::default(), now: 0, serial: 0 }
        }

        fn insert(&mut self, deadline: u64) {
            self.serial += 1;
            let waker = Arc::new(Note(self.serial, Arc::clone(&self.fired))).into();
            // A sleeper wakes here at the latest, so it need not hear of what comes later.
            let sleeper_wakes = self.timers.next;
            let (key, first) = self.timers.insert(deadline, waker);
            assert!(first || sleeper_wakes <= deadline, "the new first was not announced");
            self.reference.insert((deadline, self.serial), key);
        }

        fn nth(&self, n: usize) -> Option<((u64, u64), Key)> {
            let n = n.checked_rem(self.reference.len())?;
            self.reference.iter().nth(n).map(|(id, key)| (*id, *key))
        }

        fn advance(&mut self, by: u64) {
            self.now = self.now.saturating_add(by).min(NEVER - 1);
            let mut wakers = Vec::new();
            // Crowded slots fire at their end, so go on until nothing is due by the wheel's own word.
            while self.timers.next() <= self.now {
                self.timers.fire(self.now, &mut wakers);
            }
            wakers.into_iter().for_each(Waker::wake);
            let late: Vec<_> = self.reference.range(..=(self.now, u64::MAX)).map(|(id, key)| (*id, *key)).collect();
            let fired = std::mem::take(&mut *self.fired.lock().unwrap());
            let still: Vec<_> = late.iter().filter(|((_, serial), _)| !fired.contains(serial)).collect();
            // What is left must be in a crowded slot that has not ended.
            for ((deadline, _), _) in &still {
                assert!(self.now - deadline < TICK, "late by more than a tick");
            }
            assert!(still.is_empty() || still.len() + fired.len() > CROWD, "late without a crowd");
            for serial in &fired {
                let (id, key) = *late.iter().find(|(id, _)| id.1 == *serial).expect("fired early");
                assert!(self.timers.remove(key).is_none(), "a fired timer has no waker");
                self.reference.remove(&id);
            }
        }
    }

    /// A few in the ordinary test, very many in `.ci/full properties`.
    fn cases() -> u32 {
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
    }

    fn operations() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
        prop::collection::vec((0_u8..10, any::<u64>(), 0_u64..64), 1..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

        /// Bug E10, E14: random inserts, resets, cancels and steps of time, against a map.
        #[test]
        fn behaves_like_an_ordered_map(operations in operations()) {
            let mut model = Model::new();
            for (operation, random, bits) in operations {
                // Spans of every order of magnitude.
                let span = random >> bits;
                let deadline = model.now.saturating_add(span);
                match operation {
                    0..=3 => model.insert(deadline),
                    4 => if let Some((id, key)) = model.nth(random as usize) {
                        prop_assert!(model.timers.remove(key).is_some());
                        model.reference.remove(&id);
                    },
                    5 | 6 => if let Some((id, key)) = model.nth(random as usize) {
                        prop_assert!(model.timers.reset(key, deadline).is_some());
                        model.reference.remove(&id);
                        model.reference.insert((deadline, id.1), key);
                    },
                    _ => model.advance(span),
                }
                let armed = model.reference.keys().filter(|(deadline, _)| *deadline != NEVER).count();
                prop_assert_eq!(model.timers.armed(), armed);
                let first = model.reference.keys().next().map_or(NEVER, |(deadline, _)| *deadline);
                prop_assert!(model.timers.next() <= first.max(model.now) || first == NEVER, "too late");
            }
            let keys: Vec<_> = model.reference.values().copied().collect();
            keys.into_iter().for_each(|key| drop(model.timers.remove(key)));
            prop_assert_eq!((model.timers.armed(), model.timers.owned, model.timers.next()), (0, 0, NEVER));
        }
    }

    /// Behaviour 119: deadlines at and around the edges of slots and levels fire at their time, not before.
    #[test]
    fn edges_of_levels_are_exact() {
        for level in 0..LEVELS as u32 {
            for offset in [-2_i64, -1, 0, 1, 2] {
                let edge = 1_u64.checked_shl(TICK_BITS + level * SLOT_BITS).unwrap_or(NEVER / 2);
                let deadline = edge.saturating_add_signed(offset);
                let mut model = Model::new();
                model.advance(7);
                model.insert(deadline);
                assert_eq!(model.timers.next(), deadline);
                model.advance(deadline - 1 - 7);
                assert_eq!(model.reference.len(), 1);
                model.advance(1);
                assert_eq!(model.reference.len(), 0);
            }
        }
    }

    /// Behaviour 133: equal deadlines fire in order of insertion, across a cascade too.
    #[test]
    fn equal_deadlines_fire_in_order_of_insertion() {
        let mut model = Model::new();
        let deadline = 100 * TICK + 5;
        (0..10).for_each(|_| model.insert(deadline));
        model.advance(90 * TICK);
        (0..10).for_each(|_| model.insert(deadline));
        let mut wakers = Vec::new();
        assert_eq!(model.timers.fire(deadline, &mut wakers), 20);
        wakers.into_iter().for_each(Waker::wake);
        assert_eq!(*model.fired.lock().unwrap(), (1..=20).collect::<Vec<_>>());
    }

    /// A lone timer is exact however often it fires; many share wake-ups, about one a tick.
    #[test]
    fn many_timers_share_wakes() {
        let mut model = Model::new();
        (1..=10_000_u64).for_each(|i| model.insert(i * 100_000));
        let mut wakes = 0;
        while !model.reference.is_empty() {
            let until = model.timers.sleep_until();
            model.advance(until - model.now);
            model.timers.note_wake(until);
            wakes += 1;
        }
        assert!(wakes < 1000 + 2 * BURST, "{wakes} wake-ups for 10 000 timers within 1 s");
    }
}
