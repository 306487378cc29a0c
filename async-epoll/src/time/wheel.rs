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
//! What a timer is, its *entry*, lies in an [`Arena`] and stays there; everything else holds its number only. A new one
//! goes through the *arrivals*, a short list, and a cancelled one through the *departures*:
//!
//! ```text
//!   insert ──► arrivals ─────────► slots ──► dealt out, and fired
//!                 ╎                  ╎
//!   cancel:    leaves at once     departures ─────────► out of the slots
//!
//!   both lists are worked off when they are full, and before anybody looks into the slots
//! ```
//!
//! So a timeout that is over within a turn, as most are, never comes near the wheel. And with a million timers every
//! change of a slot is a fetch from memory, which takes longer than all the rest; of those that are made in one go, one
//! need not wait for the other.
//!
//! An entry belongs to the [`Timer`](crate::Timer) that made it until that timer lets go of it, fired or not. So a number
//! is never given out again under a living timer, and needs no generation.

use super::arena::Arena;
use super::nanos::NEVER;
use super::slots::{NONE, POSITIONS_OF_OTHERS, Slots};
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
/// So many new timers are put into the slots in one go.
const ARRIVALS: usize = POSITIONS_OF_OTHERS as usize;
/// The position of the first arrival. All positions below are in the slots.
const FIRST_ARRIVAL: u32 = NONE - POSITIONS_OF_OTHERS;
/// So many cancelled timers are taken out of the slots in one go.
const DEPARTURES: usize = 16;
/// A slot with more timers than this is not searched for the exact next deadline: its timers fire at its end.
const CROWD: usize = 32;
/// Wake-ups for timers alone that may come closer than a tick to one another.
const BURST: u64 = 8;
/// So few timers are always exact, however often they fire.
const FEW: usize = 8;

/// An entry's number. Its owner is the only one to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// One timer: half a cache line, and not parts of two.
#[derive(Debug, Default)]
#[repr(align(32))]
struct Entry {
    /// When to fire, exactly. May be later than the slot says: see the module's text on resets.
    deadline: u64,
    /// Whom to wake. `None` once it has fired.
    waker: Option<Waker>,
    /// Where its number is, in the slots or among the arrivals; [`NONE`] if it has fired, or never fires.
    position: u32,
}

/// A slot's place in time.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Level · 64 + slot.
    slot: usize,
    /// Its first tick.
    start: u64,
    /// Its length in ticks.
    ticks: u64,
}

/// All timers of a reactor. Times are those of [`Clock`](crate::time::clock::Clock).
#[derive(Debug)]
pub(crate) struct Wheel {
    /// The entries.
    entries: Arena<Entry>,
    /// Entries that have a position, so will fire.
    armed: usize,
    /// The numbers of the newest ones. One that was cancelled has left [`NONE`].
    arrivals: Vec<u32>,
    /// Positions in the slots whose timers were cancelled. Nobody looks into the slots before these are taken out.
    departures: Vec<u32>,
    /// The numbers of all the others, level by level.
    slots: Slots,
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

impl Wheel {
    /// None. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self {
            entries: Arena::new(),
            armed: 0,
            arrivals: Vec::new(),
            departures: Vec::new(),
            slots: Slots::new(),
            occupied: [0; LEVELS],
            present: 0,
            next: NEVER,
            next_is_stale: false,
            last_wake: 0,
            credit: BURST,
        }
    }

    /// Wheel that will fire.
    pub(crate) const fn armed(&self) -> usize {
        self.armed
    }

    /// Arms a timer. Says whether it is now the first to fire, so that a sleeper must hear of it.
    pub(crate) fn insert(&mut self, deadline: u64, waker: Waker) -> (Key, bool) {
        let number = self.entries.take();
        let (position, first) = self.arm(number, deadline);
        self.entries[number] = Entry { deadline, waker: Some(waker), position };
        (Key(number), first)
    }

    /// Lets go of a timer, fired or not. Returns its waker, to be dropped when no lock is held.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<Waker> {
        let entry = &mut self.entries[key.0];
        let (deadline, waker, position) = (entry.deadline, entry.waker.take(), entry.position);
        self.entries.free(key.0);
        self.disarm(deadline, position);
        if self.armed == 0 {
            self.give_back_memory();
        }
        waker
    }

    /// Lets go of a timer if it has fired. If not, `Err` says whether `waker` is the one that it would wake.
    pub(crate) fn remove_fired(&mut self, key: Key, waker: &Waker) -> Result<(), bool> {
        match &self.entries[key.0].waker {
            Some(own) => Err(own.will_wake(waker)),
            None => {
                self.remove(key);
                Ok(())
            }
        }
    }

    /// Changes whom to wake. Returns the old one, to be dropped when no lock is held; `Err` if it has fired.
    pub(crate) fn set_waker(&mut self, key: Key, waker: Waker) -> Result<Option<Waker>, Waker> {
        let own = &mut self.entries[key.0].waker;
        if own.is_some() { Ok(own.replace(waker)) } else { Err(waker) }
    }

    /// Moves the deadline of a timer that has not fired; `None` if it has. Says whether it is now the first to fire.
    pub(crate) fn reset(&mut self, key: Key, deadline: u64) -> Option<bool> {
        let entry = &mut self.entries[key.0];
        entry.waker.as_ref()?;
        let was = std::mem::replace(&mut entry.deadline, deadline);
        if deadline >= was && deadline != NEVER && entry.position != NONE {
            // Later: it stays in its slot, and is found out when the slot comes up.
            self.next_is_stale |= was == self.next;
            return Some(false);
        }
        let position = entry.position;
        self.disarm(was, position);
        let (position, first) = self.arm(key.0, deadline);
        self.entries[key.0].position = position;
        Some(first)
    }

    /// When the first timer is due: exact, unless its slot is crowded.
    pub(crate) fn next(&mut self) -> u64 {
        if self.next_is_stale {
            self.find_next();
        }
        self.next
    }

    /// When the first timer is due, exactly.
    #[cfg(feature = "test-util")]
    pub(crate) fn exact_next(&mut self) -> u64 {
        self.find_next();
        // Short of its last level, a crowd is dealt out before anything of it is due.
        if let Some(place) = self.first_place().filter(|place| place.ticks == 1) {
            let deadlines = self.slots.iter(place.slot).map(|number| self.entries[number].deadline);
            self.next = deadlines.min().unwrap_or(NEVER).min(self.next);
        }
        self.next
    }

    /// Until when the loop may sleep: the first timer, or a little later if timers have woken it too often of late.
    pub(crate) fn wake_time(&mut self) -> u64 {
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
        self.settle();
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
    pub(crate) fn visit(&mut self, mut visit: impl FnMut(u64, &Waker)) {
        for entry in self.entries.iter_mut() {
            entry.waker.iter().for_each(|waker| visit(entry.deadline, waker));
        }
    }

    /// The reactor goes away: takes all wakers. The entries stay with their owners.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.entries.iter_mut().filter_map(|entry| entry.waker.take()));
        self.entries.iter_mut().for_each(|entry| entry.position = NONE);
        (self.arrivals, self.departures, self.slots) = (Vec::new(), Vec::new(), Slots::new());
        self.occupied = [0; LEVELS];
        self.armed = 0;
        (self.next, self.next_is_stale) = (NEVER, false);
    }

    /// Empties the slot at `place`: the due go to `due`, the others where they belong seen from the present.
    fn deal_out(&mut self, place: Place, now: u64, due: &mut Vec<(u64, Waker)>) {
        let mut taken = self.slots.take(place.slot);
        self.note_empty(place.slot);
        while let Some(numbers) = self.slots.next_chunk(&mut taken) {
            for number in numbers {
                let entry = &mut self.entries[number];
                let deadline = entry.deadline;
                if deadline <= now {
                    entry.position = NONE;
                    self.armed -= 1;
                    due.extend(entry.waker.take().map(|waker| (deadline, waker)));
                } else {
                    self.entries[number].position = self.push(number, deadline);
                }
            }
        }
    }

    /// Adds an entry to the arrivals. Returns its position, and whether it is now the first to fire.
    fn arm(&mut self, number: u32, deadline: u64) -> (u32, bool) {
        if deadline == NEVER {
            return (NONE, false);
        }
        let first = deadline < self.next;
        if first {
            (self.next, self.next_is_stale) = (deadline, false);
        }
        self.armed += 1;
        if self.arrivals.len() == ARRIVALS {
            self.settle();
        }
        self.arrivals.push(number);
        (FIRST_ARRIVAL + self.arrivals.len() as u32 - 1, first)
    }

    /// Takes an entry out, if it is armed.
    #[inline]
    fn disarm(&mut self, deadline: u64, position: u32) {
        if position == NONE {
            return;
        }
        self.next_is_stale |= deadline == self.next;
        match position.checked_sub(FIRST_ARRIVAL) {
            Some(last) if last as usize + 1 == self.arrivals.len() => drop(self.arrivals.pop()),
            Some(index) => self.arrivals[index as usize] = NONE,
            None => {
                self.departures.push(position);
                if self.departures.len() == DEPARTURES {
                    self.take_out_departures();
                }
            }
        }
        self.armed -= 1;
        if self.armed == 0 {
            (self.next, self.next_is_stale) = (NEVER, false);
        }
    }

    /// Takes the departures out of their slots.
    #[inline(never)]
    fn take_out_departures(&mut self) {
        let mut departures = std::mem::take(&mut self.departures);
        for position in departures.drain(..) {
            if let Some(slot) = self.slots.remove(position) {
                self.note_empty(slot);
            }
        }
        self.departures = departures;
    }

    /// Takes the departures out of their slots, and puts the arrivals where they belong.
    fn settle(&mut self) {
        self.take_out_departures();
        let mut arrivals = std::mem::take(&mut self.arrivals);
        for number in arrivals.drain(..).filter(|&number| number != NONE) {
            let deadline = self.entries[number].deadline;
            self.entries[number].position = self.push(number, deadline);
        }
        self.arrivals = arrivals;
    }

    /// Appends an entry to the slot where it belongs, seen from the present.
    fn push(&mut self, number: u32, deadline: u64) -> u32 {
        let tick = (deadline >> TICK_BITS).max(self.present);
        // The highest base-64 digit in which the ticks differ; equal ticks differ in the lowest.
        let level = (63 - ((tick ^ self.present) | (SLOTS as u64 - 1)).leading_zeros()) / SLOT_BITS;
        let bit = (tick >> (level * SLOT_BITS)) as usize % SLOTS;
        self.occupied[level as usize] |= 1 << bit;
        self.slots.push(level as usize * SLOTS + bit, LEVELS * SLOTS, number)
    }

    /// Nothing is armed: gives back the memory that a crowd may have left.
    #[cold]
    fn give_back_memory(&mut self) {
        self.take_out_departures();
        if self.entries.is_large() && self.entries.len() == 0 {
            self.entries = Arena::new();
        }
    }

    /// A slot has become empty.
    fn note_empty(&mut self, slot: usize) {
        self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
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
        Some(Place { slot: level * SLOTS + bit as usize, start, ticks })
    }

    /// Works out `next`.
    fn find_next(&mut self) {
        self.settle();
        self.next_is_stale = false;
        self.next = loop {
            let Some(place) = self.first_place() else { break NEVER };
            let (start, end) = (place.start << TICK_BITS, place.start.saturating_add(place.ticks));
            let end = if end > NEVER >> TICK_BITS { NEVER } else { end << TICK_BITS };
            if self.slots.is_crowded(place.slot, CROWD) {
                break if place.ticks == 1 { end } else { start };
            }
            let first = self.slots.iter(place.slot).map(|number| self.entries[number].deadline).min().unwrap_or(NEVER);
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
        timers: Wheel,
        reference: BTreeMap<(u64, u64), Key>,
        fired: Arc<Mutex<Vec<u64>>>,
        now: u64,
        serial: u64,
    }

    impl Model {
        fn new() -> Self {
            Self { timers: Wheel::new(), reference: BTreeMap::new(), fired: Arc::default(), now: 0, serial: 0 }
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
            prop_assert_eq!((model.timers.armed(), model.timers.next()), (0, NEVER));
            prop_assert_eq!(model.timers.entries.len(), 0);
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

    /// Whatever is cancelled when, the others fire in order, and a crowd that has gone leaves nothing.
    #[test]
    fn arrivals_and_departures_keep_the_order() {
        let mut model = Model::new();
        let count = 20 * ARRIVALS;
        for turn in 0..3 {
            let from = model.now + TICK;
            // Few deadlines, so that many are equal; and each level gets some.
            (0..count as u64).for_each(|i| model.insert(from + (i % 7) * (TICK << (turn * SLOT_BITS))));
            for n in (0..count).step_by(2).rev() {
                let (id, key) = model.nth(n).unwrap();
                assert!(model.timers.remove(key).is_some());
                model.reference.remove(&id);
                if n % 5 == 0 {
                    model.insert(from + 3);
                }
            }
            let order: Vec<u64> = model.reference.keys().map(|(_, serial)| *serial).collect();
            model.now = u64::MAX / 4 * u64::from(turn + 1);
            let mut wakers = Vec::new();
            assert_eq!(model.timers.fire(model.now, &mut wakers), order.len());
            wakers.into_iter().for_each(Waker::wake);
            assert_eq!(std::mem::take(&mut *model.fired.lock().unwrap()), order);
            let fired = std::mem::take(&mut model.reference);
            fired.into_values().for_each(|key| assert!(model.timers.remove(key).is_none()));
        }
        (0..100_000).for_each(|i| model.insert(model.now + i * TICK));
        assert!(model.timers.entries.is_large());
        let all = std::mem::take(&mut model.reference);
        all.into_values().for_each(|key| assert!(model.timers.remove(key).is_some()));
        assert!(!model.timers.entries.is_large() && !model.timers.slots.is_large());
        assert_eq!((model.timers.armed(), model.timers.next()), (0, NEVER));
    }

    /// A lone timer is exact however often it fires; many share wake-ups, about one a tick.
    #[test]
    fn many_timers_share_wakes() {
        let mut model = Model::new();
        (1..=10_000_u64).for_each(|i| model.insert(i * 100_000));
        let mut wakes = 0;
        while !model.reference.is_empty() {
            let until = model.timers.wake_time();
            model.advance(until - model.now);
            model.timers.note_wake(until);
            wakes += 1;
        }
        assert!(wakes < 1000 + 2 * BURST, "{wakes} wake-ups for 10 000 timers within 1 s");
    }
}
