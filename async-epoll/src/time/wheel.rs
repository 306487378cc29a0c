//! The reactor's timers: a hierarchical timer wheel with an exact last step.
//!
//! The plain form is one list of timers, sorted by deadline:
//!
//! ```text
//!   insert(timer)           put the timer behind all timers with the same or an earlier deadline
//!   remove(timer)           take the timer out of the list
//!   reset(timer, deadline)  remove the timer, change its deadline, insert it
//!   next()                  return the deadline of the first timer, or NEVER
//!   fire(now)               while the first deadline <= now: take the first timer out, wake its waker
//! ```
//!
//! The real form has the same functions. It is longer for these reasons:
//!
//! 1. **Levels.** An insertion into a sorted list costs time in proportion to its length. A wheel sorts coarsely, in
//!    O(1). Time is cut into ticks of 2²⁰ ns (1.05 ms). Level 0 has a slot for each of 64 ticks, level 1 a slot for
//!    every 64 ticks, and so on; eight levels cover 64 bits of nanoseconds. A timer's slot is given by the highest
//!    base-64 digit in which the tick of its deadline differs from the present tick. The exact deadline matters only in
//!    the first slot: `next` and `fire` look at each deadline there.
//!
//!    ```text
//!      level 2  │ 4.3 s │ 4.3 s │ 4.3 s │ …      when the present enters a slot above level 0,
//!                   └──────┐                     its timers cascade to the levels below
//!      level 1  │ 67 ms │ 67 ms │ 67 ms │ …
//!                   └──────┐
//!      level 0  │ 1 ms │ 1 ms │ 1 ms │ …         a timer fires when its exact deadline has passed,
//!                                                not at the end of its slot
//!    ```
//!
//! 2. **Arrivals.** Most timeouts are removed in the turn in which they were inserted. A new timer goes into a short
//!    list first, the *arrivals*, and a removal from this list touches no slot.
//!
//! 3. **Departures.** With a million timers, each change of a slot is a fetch from memory, slower than all the rest.
//!    Timers that are removed from a slot go into a second list, the *departures*. Each list is applied to the slots in
//!    one loop, so the processor overlaps the fetches. This happens when the list is full, and before any code reads
//!    the slots.
//!
//!    ```text
//!      insert ──► arrivals ─────────► slots ──► cascade, fire
//!                    ╎                  ╎
//!      remove:    removed at once    departures ─────────► removed from the slots
//!    ```
//!
//! 4. **Coalescing.** A sorted list wakes the loop once per timer. A single timer should be exact, but ten thousand
//!    timers should share wake-ups. So `next` searches the first slot for the exact deadline only if the slot has at
//!    most [`MAX_SEARCHED`] timers. A slot with more is *crowded*: its timers fire at its end, at most a tick late.
//!    Besides, only [`BURST`] wake-ups for timers alone may follow each other closely; after these they are about a
//!    tick apart (see [`Wheel::wake_time`]).
//!
//! 5. **Resets.** A reset to a later deadline changes the deadline and leaves the timer in its slot. When the slot
//!    comes up, the timer moves to the right slot. So a reset for every request costs nearly nothing. (Among equal
//!    deadlines, such a timer may fire earlier than in the plain form.)
//!
//! The *entry* of a timer, with its deadline and waker, stays at one place in an [`Arena`]; the lists and slots have
//! only its number. The entry belongs to the [`Timer`](crate::Timer) that inserted it until the `Timer` removes it,
//! also after the timer has fired. So a number is never reused while a `Timer` has it, and needs no generation.

use super::arena::Arena;
use super::nanos::NEVER;
use super::slots::{NONE, RESERVED_POSITIONS, Slots};
use crate::order::Order;
use std::task::Waker;

/// The binary logarithm of [`TICK`].
const TICK_BITS: u32 = 20;
/// A tick in nanoseconds: about a millisecond.
const TICK: u64 = 1 << TICK_BITS;
/// The binary logarithm of [`SLOTS`].
const SLOT_BITS: u32 = 6;
/// The number of slots in a level: one for each bit of the level's map.
const SLOTS: usize = 1 << SLOT_BITS;
/// The number of levels: 20 + 8 · 6 bits are more than 64.
const LEVELS: usize = 8;
/// The maximum number of arrivals before they are moved to the slots.
const MAX_ARRIVALS: usize = RESERVED_POSITIONS as usize;
/// The position of the first arrival. All lower positions are in the slots.
const FIRST_ARRIVAL: u32 = NONE - RESERVED_POSITIONS;
/// The maximum number of departures before they are removed from the slots.
const MAX_DEPARTURES: usize = 16;
/// The maximum number of timers in a slot that is searched for the exact next deadline. A slot with more is crowded.
const MAX_SEARCHED: usize = 32;
/// The number of wake-ups for timers alone that may follow each other within less than a tick.
const BURST: u64 = 8;
/// With at most this many armed timers, wake-ups are exact however often they come.
const ALWAYS_EXACT: usize = 8;

/// The number of an entry. Only the owner of the entry has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// A timer. Takes half a cache line, aligned so that it never spans two.
#[derive(Debug, Default)]
#[repr(align(32))]
struct Entry {
    /// The exact time to fire at. After a reset it may be later than the end of the timer's slot.
    deadline: u64,
    /// The waker to wake. `None` after the timer has fired.
    waker: Option<Waker>,
    /// The position of the entry's number in the slots or the arrivals; [`NONE`] if the timer has fired or never fires.
    position: u32,
}

/// A slot, and the ticks that it covers.
#[derive(Clone, Copy, Debug)]
struct SlotSpan {
    /// Level · 64 + number of the slot in its level.
    slot: usize,
    /// The first tick.
    start: u64,
    /// The number of ticks.
    ticks: u64,
}

/// All timers of a reactor. Times are nanoseconds of its [`Clock`](super::clock::Clock).
#[derive(Debug)]
pub(crate) struct Wheel {
    /// The entries, by [`Key`].
    entries: Arena<Entry>,
    /// The number of entries that will fire: those with a position.
    armed: usize,
    /// The numbers of the newest entries, at most [`MAX_ARRIVALS`]. A removed entry leaves [`NONE`].
    arrivals: Vec<u32>,
    /// The positions of removed timers in the slots, at most [`MAX_DEPARTURES`]. Applied before any code reads the
    /// slots.
    departures: Vec<u32>,
    /// The numbers of all other armed entries, level by level.
    slots: Slots,
    /// For each level, a map with a bit for each slot that is not empty.
    occupied: [u64; LEVELS],
    /// The present tick: all slots before it are empty. Written by [`fire`](Self::fire).
    present: u64,
    /// A time before which no timer fires. Written when a timer becomes the first, and by
    /// [`find_next`](Self::find_next).
    next: u64,
    /// Set if the first timer was removed or reset: then `next` may be too early.
    next_is_stale: bool,
    /// The last time at which the loop was woken for timers alone. Written by [`note_wake`](Self::note_wake).
    last_wake: u64,
    /// The number of wake-ups for timers alone that may still come at once. Each takes one away and each tick adds one,
    /// up to [`BURST`]. Written by [`note_wake`](Self::note_wake).
    credit: u64,
    /// The order of timers with the same deadline. Written by [`set_order`](Self::set_order).
    order: Order,
}

impl Wheel {
    /// Returns a wheel without timers. Allocates nothing.
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
            order: Order::AS_IT_COMES,
        }
    }

    /// Sets the order in which timers with the same deadline fire.
    pub(crate) fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    /// Returns the number of timers that will fire.
    pub(crate) const fn armed(&self) -> usize {
        self.armed
    }

    /// Inserts a timer. Returns its key, and `true` if it is now the earliest timer; the caller must then wake a
    /// sleeping reactor.
    pub(crate) fn insert(&mut self, deadline: u64, waker: Waker) -> (Key, bool) {
        let number = self.entries.take();
        let (position, first) = self.arm(number, deadline);
        self.entries[number] = Entry { deadline, waker: Some(waker), position };
        (Key(number), first)
    }

    /// Removes a timer and frees its entry, whether it has fired or not. Returns the waker if it has not fired; the
    /// caller drops the waker when no lock is held.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<Waker> {
        let entry = &mut self.entries[key.0];
        let (deadline, waker, position) = (entry.deadline, entry.waker.take(), entry.position);
        self.entries.free(key.0);
        self.disarm(deadline, position);
        if self.armed == 0 {
            self.free_memory();
        }
        waker
    }

    /// Removes a timer if it has fired. Otherwise returns `Err`, with whether the timer's waker wakes the same task as
    /// `waker`.
    pub(crate) fn remove_fired(&mut self, key: Key, waker: &Waker) -> Result<(), bool> {
        match &self.entries[key.0].waker {
            Some(own) => Err(own.will_wake(waker)),
            None => {
                self.remove(key);
                Ok(())
            }
        }
    }

    /// Replaces the waker of a timer. Returns the old waker; the caller drops it when no lock is held.
    ///
    /// # Errors
    ///
    /// Returns `waker` if the timer has fired.
    pub(crate) fn set_waker(&mut self, key: Key, waker: Waker) -> Result<Option<Waker>, Waker> {
        let own = &mut self.entries[key.0].waker;
        if own.is_some() { Ok(own.replace(waker)) } else { Err(waker) }
    }

    /// Changes the deadline of a timer. Returns `true` if it is now the earliest timer (see [`insert`](Self::insert)),
    /// and `None` if the timer has fired.
    pub(crate) fn reset(&mut self, key: Key, deadline: u64) -> Option<bool> {
        let entry = &mut self.entries[key.0];
        entry.waker.as_ref()?;
        let old = std::mem::replace(&mut entry.deadline, deadline);
        if deadline >= old && deadline != NEVER && entry.position != NONE {
            // Later: the timer stays in its slot, and moves to the right slot when this slot comes up.
            self.next_is_stale |= old == self.next;
            return Some(false);
        }
        let position = entry.position;
        self.disarm(old, position);
        let (position, first) = self.arm(key.0, deadline);
        self.entries[key.0].position = position;
        Some(first)
    }

    /// Returns the time from which on [`fire`](Self::fire) has work to do, or [`NEVER`].
    ///
    /// This is the exact deadline of the first timer, unless the first slot is crowded. A crowded slot of level 0
    /// counts with its end, at most a tick late. A crowded slot of a higher level counts with its start, when it
    /// cascades.
    pub(crate) fn next(&mut self) -> u64 {
        if self.next_is_stale {
            self.find_next();
        }
        self.next
    }

    /// Returns what [`next`](Self::next) returns, but the exact deadline in a crowded slot of level 0, too. A test's
    /// clock moves from deadline to deadline with it.
    #[cfg(feature = "test-util")]
    pub(crate) fn exact_next(&mut self) -> u64 {
        self.find_next();
        // A crowded slot of a higher level cascades at its start, before any of its timers is due.
        if let Some(span) = self.first_span().filter(|span| span.ticks == 1) {
            let deadlines = self.slots.iter(span.slot).map(|number| self.entries[number].deadline);
            self.next = deadlines.min().unwrap_or(NEVER).min(self.next);
        }
        self.next
    }

    /// Returns the time at which a sleep of the engine has to end, or [`NEVER`].
    ///
    /// This is [`next`](Self::next). If wake-ups for timers alone have come too often lately (the credit is 0) and
    /// there are more than [`ALWAYS_EXACT`] timers, it is at least a tick after the last of these wake-ups.
    pub(crate) fn wake_time(&mut self) -> u64 {
        let next = self.next();
        if self.credit == 0 && self.armed > ALWAYS_EXACT { next.max(self.last_wake.saturating_add(TICK)) } else { next }
    }

    /// Notes that the loop was woken at `now` for timers alone.
    pub(crate) fn note_wake(&mut self, now: u64) {
        let ticks = now.saturating_sub(self.last_wake) >> TICK_BITS;
        self.credit = self.credit.saturating_add(ticks).min(BURST).saturating_sub(1);
        self.last_wake = now;
    }

    /// Fires the timers that are due at `now`: moves their wakers to `wakers`, in order of deadlines, with equal
    /// deadlines in order of insertion, or in one [drawn from a seed](crate::order). Returns the number of timers that fired.
    pub(crate) fn fire(&mut self, now: u64, wakers: &mut Vec<Waker>) -> usize {
        if now < self.next {
            return 0;
        }
        self.apply_changes();
        let tick = now >> TICK_BITS;
        let mut due = Vec::new();
        while let Some(span) = self.first_span().filter(|span| span.start <= tick) {
            self.present = self.present.max(span.start);
            self.cascade(span, now, &mut due);
            // The slot of the present tick may keep timers that are due later in this tick.
            if span.start == tick && span.ticks == 1 {
                break;
            }
        }
        self.present = self.present.max(tick);
        // The sort is stable, and the slots are in order of insertion.
        self.order.shuffle(&mut due);
        due.sort_by_key(|&(deadline, _)| deadline);
        let fired = due.len();
        wakers.extend(due.into_iter().map(|(_, waker)| waker));
        self.find_next();
        fired
    }

    /// Calls `visit` with the deadline and the waker of every timer that has not fired.
    #[cfg(any(feature = "inspect", feature = "test-util"))]
    pub(crate) fn visit(&mut self, mut visit: impl FnMut(u64, &Waker)) {
        for entry in self.entries.iter_mut() {
            entry.waker.iter().for_each(|waker| visit(entry.deadline, waker));
        }
    }

    /// Disarms all timers because the reactor is dropped, and moves their wakers to `wakers`. The entries stay with
    /// their owners.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.entries.iter_mut().filter_map(|entry| entry.waker.take()));
        self.entries.iter_mut().for_each(|entry| entry.position = NONE);
        (self.arrivals, self.departures, self.slots) = (Vec::new(), Vec::new(), Slots::new());
        self.occupied = [0; LEVELS];
        self.armed = 0;
        (self.next, self.next_is_stale) = (NEVER, false);
    }

    /// Empties a slot: fires the timers that are due at `now` into `due`, and moves the others to the slots where they
    /// belong as seen from the present tick.
    fn cascade(&mut self, span: SlotSpan, now: u64, due: &mut Vec<(u64, Waker)>) {
        let mut taken = self.slots.take(span.slot);
        self.note_empty(span.slot);
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

    /// Adds an entry to the arrivals. Returns its position, and whether it is now the earliest timer.
    fn arm(&mut self, number: u32, deadline: u64) -> (u32, bool) {
        if deadline == NEVER {
            return (NONE, false);
        }
        let first = deadline < self.next;
        if first {
            (self.next, self.next_is_stale) = (deadline, false);
        }
        self.armed += 1;
        if self.arrivals.len() == MAX_ARRIVALS {
            self.apply_changes();
        }
        self.arrivals.push(number);
        (FIRST_ARRIVAL + self.arrivals.len() as u32 - 1, first)
    }

    /// Removes an entry from the arrivals or, by way of the departures, from the slots. Does nothing if it is not
    /// armed.
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
                if self.departures.len() == MAX_DEPARTURES {
                    self.apply_departures();
                }
            }
        }
        self.armed -= 1;
        if self.armed == 0 {
            (self.next, self.next_is_stale) = (NEVER, false);
        }
    }

    /// Removes the departures from their slots.
    #[inline(never)]
    fn apply_departures(&mut self) {
        let mut departures = std::mem::take(&mut self.departures);
        for position in departures.drain(..) {
            if let Some(slot) = self.slots.remove(position) {
                self.note_empty(slot);
            }
        }
        self.departures = departures;
    }

    /// Removes the departures from their slots, and moves the arrivals to theirs.
    fn apply_changes(&mut self) {
        self.apply_departures();
        let mut arrivals = std::mem::take(&mut self.arrivals);
        for number in arrivals.drain(..).filter(|&number| number != NONE) {
            let deadline = self.entries[number].deadline;
            self.entries[number].position = self.push(number, deadline);
        }
        self.arrivals = arrivals;
    }

    /// Appends an entry to the slot where it belongs as seen from the present tick. Returns its position.
    fn push(&mut self, number: u32, deadline: u64) -> u32 {
        let tick = (deadline >> TICK_BITS).max(self.present);
        // The highest base-64 digit in which the ticks differ. Equal ticks count as different in the lowest digit.
        let level = (63 - ((tick ^ self.present) | (SLOTS as u64 - 1)).leading_zeros()) / SLOT_BITS;
        let bit = (tick >> (level * SLOT_BITS)) as usize % SLOTS;
        self.occupied[level as usize] |= 1 << bit;
        self.slots.push(level as usize * SLOTS + bit, LEVELS * SLOTS, number)
    }

    /// Frees the memory of many former timers. Called when no timer is armed.
    #[cold]
    fn free_memory(&mut self) {
        self.apply_departures();
        if self.entries.is_large() && self.entries.len() == 0 {
            self.entries = Arena::new();
        }
    }

    /// Notes that a slot is empty.
    fn note_empty(&mut self, slot: usize) {
        self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
    }

    /// Returns the first slot that is not empty. All slots of a lower level come before all slots of a higher level.
    fn first_span(&self) -> Option<SlotSpan> {
        let level = self.occupied.iter().position(|&map| map != 0)?;
        // The slots before the present are empty, so the lowest bit is the first in time.
        let bit = self.occupied[level].trailing_zeros();
        let shift = level as u32 * SLOT_BITS;
        let ticks = 1_u64 << shift;
        let above = !((ticks << SLOT_BITS).wrapping_sub(1));
        let start = self.present & above | u64::from(bit) << shift;
        Some(SlotSpan { slot: level * SLOTS + bit as usize, start, ticks })
    }

    /// Computes `next` from the slots.
    fn find_next(&mut self) {
        self.apply_changes();
        self.next_is_stale = false;
        self.next = loop {
            let Some(span) = self.first_span() else { break NEVER };
            let (start, end) = (span.start << TICK_BITS, span.start.saturating_add(span.ticks));
            let end = if end > NEVER >> TICK_BITS { NEVER } else { end << TICK_BITS };
            if self.slots.has_more_than(span.slot, MAX_SEARCHED) {
                break if span.ticks == 1 { end } else { start };
            }
            let first = self.slots.iter(span.slot).map(|number| self.entries[number].deadline).min().unwrap_or(NEVER);
            if first < end {
                break first;
            }
            // All timers of this slot were reset to later deadlines: move them to the right slots, and look again. A
            // reset causes at most one such move.
            self.cascade(span, 0, &mut Vec::new());
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

    /// Adds its number to a shared list when woken.
    struct Note(u64, Arc<Mutex<Vec<u64>>>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    /// The wheel beside its plain form: a map ordered by deadline and insertion.
    struct Model {
        timers: Wheel,
        reference: BTreeMap<(u64, u64), Key>,
        /// When each timer was last inserted or reset, by its number.
        changed: BTreeMap<u64, u64>,
        fired: Arc<Mutex<Vec<u64>>>,
        now: u64,
        serial: u64,
    }

    impl Model {
        fn new() -> Self {
            let (reference, changed) = (BTreeMap::new(), BTreeMap::new());
            Self { timers: Wheel::new(), reference, changed, fired: Arc::default(), now: 0, serial: 0 }
        }

        fn insert(&mut self, deadline: u64) {
            self.serial += 1;
            let waker = Arc::new(Note(self.serial, Arc::clone(&self.fired))).into();
            // A sleeping reactor wakes at this time at the latest, and need not be woken for a later deadline.
            let sleep_ends = self.timers.next;
            let (key, first) = self.timers.insert(deadline, waker);
            assert!(first || sleep_ends <= deadline, "the new first was not announced");
            self.reference.insert((deadline, self.serial), key);
            self.changed.insert(self.serial, self.now);
        }

        fn reset(&mut self, (id, key): ((u64, u64), Key), deadline: u64) {
            let sleep_ends = self.timers.next;
            let first = self.timers.reset(key, deadline).expect("has fired");
            assert!(first || sleep_ends <= deadline, "the new first was not announced");
            self.reference.remove(&id);
            self.reference.insert((deadline, id.1), key);
            self.changed.insert(id.1, self.now);
        }

        fn nth(&self, n: usize) -> Option<((u64, u64), Key)> {
            let n = n.checked_rem(self.reference.len())?;
            self.reference.iter().nth(n).map(|(id, key)| (*id, *key))
        }

        fn advance(&mut self, by: u64) {
            self.now = self.now.saturating_add(by).min(NEVER - 1);
            let mut wakers = Vec::new();
            // Crowded slots fire at their end: fire until `next` says that nothing is due.
            while self.timers.next() <= self.now {
                self.timers.fire(self.now, &mut wakers);
            }
            wakers.into_iter().for_each(Waker::wake);
            let late: Vec<_> = self.reference.range(..=(self.now, u64::MAX)).map(|(id, key)| (*id, *key)).collect();
            let fired = std::mem::take(&mut *self.fired.lock().unwrap());
            let still: Vec<_> = late.iter().filter(|((_, serial), _)| !fired.contains(serial)).collect();
            // The timers that are left must be in a crowded slot that has not ended.
            for ((deadline, serial), _) in &still {
                assert!(self.now - deadline.max(&self.changed[serial]) < TICK, "late by more than a tick");
            }
            assert!(still.is_empty() || still.len() + fired.len() > MAX_SEARCHED, "late in a slot that is not crowded");
            for serial in &fired {
                let (id, key) = *late.iter().find(|(id, _)| id.1 == *serial).expect("fired early");
                assert!(self.timers.remove(key).is_none(), "a fired timer has no waker");
                self.reference.remove(&id);
            }
        }
    }

    /// Returns the number of cases: a few hundred usually, very many in `.ci/full properties`.
    fn cases() -> u32 {
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
    }

    fn operations() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
        prop::collection::vec((0_u8..12, any::<u64>(), 0_u64..64), 1..200)
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
                    5 | 6 => if let Some(timer) = model.nth(random as usize) {
                        model.reset(timer, deadline);
                    },
                    // Into the past, by every order of magnitude.
                    7 => if let Some(timer) = model.nth(random as usize) {
                        model.reset(timer, model.now.saturating_sub(span));
                    },
                    8 => model.insert(model.now.saturating_sub(span)),
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

    /// Found 1: a timer that is reset into the past, or inserted there, fires with the next call, also if its old slot
    /// would be before the present and other timers are in later slots of every level.
    #[test]
    fn resets_into_the_past_fire_at_once() {
        for level in 0..LEVELS as u32 {
            let edge = 1_u64 << (TICK_BITS + level * SLOT_BITS).min(63);
            for back in [1, TICK, edge / 2, edge, edge + TICK] {
                let mut model = Model::new();
                // A timer that fires moves the present.
                model.insert(edge);
                model.advance(edge);
                // Timers in later slots, which would hide a slot before the present.
                (0..LEVELS as u32)
                    .for_each(|n| model.insert(edge.saturating_add(3 << (TICK_BITS + n * SLOT_BITS).min(61))));
                model.insert(NEVER - 1);
                let last = model.nth(model.reference.len() - 1).unwrap();
                model.reset(last, edge.saturating_sub(back));
                model.insert(edge.saturating_sub(back));
                // Moves the arrivals to the slots, and computes the next deadline from the slots.
                model.timers.find_next();
                assert!(model.timers.next() <= model.now, "level {level}, back {back}");
                let before = model.reference.len();
                model.advance(0);
                assert_eq!(model.reference.len(), before - 2, "level {level}, back {back}");
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

    /// Whatever timers are removed, and when, the others fire in order; and after very many timers no memory is kept.
    #[test]
    fn arrivals_and_departures_keep_the_order() {
        let mut model = Model::new();
        let count = 20 * MAX_ARRIVALS;
        for turn in 0..3 {
            let from = model.now + TICK;
            // Few different deadlines, so that many are equal, and timers on each level.
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

    /// A single timer is exact however often it fires; many timers share wake-ups, about one per tick.
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

    /// A deadline equal to the earliest is not announced, since the reactor wakes for it anyway.
    #[test]
    fn an_equal_deadline_is_not_the_first() {
        let mut wheel = Wheel::new();
        assert!(wheel.insert(5 * TICK, Waker::noop().clone()).1);
        assert!(!wheel.insert(5 * TICK, Waker::noop().clone()).1);
        assert!(wheel.insert(5 * TICK - 1, Waker::noop().clone()).1);
    }

    /// Timers that are removed soon after their insertion leave nothing, and removals of others are applied together.
    #[test]
    fn changes_are_applied_in_batches() {
        let mut wheel = Wheel::new();
        let insert = |wheel: &mut Wheel| wheel.insert(1_000 * TICK, Waker::noop().clone()).0;
        let kept: Vec<_> = (0..MAX_ARRIVALS).map(|_| insert(&mut wheel)).collect();
        assert_eq!(wheel.arrivals.len(), MAX_ARRIVALS);
        for _ in 0..3 * MAX_ARRIVALS {
            let key = insert(&mut wheel);
            assert_eq!(wheel.arrivals.len(), 1, "the others have gone into the slots");
            wheel.remove(key);
            assert!(wheel.arrivals.is_empty());
        }
        for (removed, key) in kept.into_iter().enumerate().take(2 * MAX_DEPARTURES) {
            assert_eq!(wheel.departures.len(), removed % MAX_DEPARTURES);
            wheel.remove(key);
        }
    }

    /// Sleeps are drawn together only if wakes for timers came too often, and only for more than a few timers.
    #[test]
    fn when_wakes_are_drawn_together() {
        for timers in [1, ALWAYS_EXACT, ALWAYS_EXACT + 1] {
            for credit in [0, 1, BURST] {
                let mut wheel = Wheel::new();
                for _ in 0..timers {
                    wheel.insert(10 * TICK, Waker::noop().clone());
                }
                (wheel.credit, wheel.last_wake) = (credit, 10 * TICK - 1);
                let late = credit == 0 && timers > ALWAYS_EXACT;
                let expected = if late { 11 * TICK - 1 } else { 10 * TICK };
                assert_eq!(wheel.wake_time(), expected, "{timers} timers, credit {credit}");
            }
        }
    }
}
