//! The wakers of the tasks that wait for one source.
//!
//! Nearly always at most one task reads and at most one task writes, and each has a slot. But fifty tasks may wait on
//! one listener, and an event has to wake all. So there is a list for the others.
//!
//! ```text
//!   reader  ┌───────┐   writer  ┌───────┐   others ──► ┌──────────────────────────────┐
//!   slot    │ waker │   slot    │ waker │              │ what for, waker, which claim │
//!           └───────┘           └───────┘              │ …                            │
//! ```
//!
//! The hard idea is what becomes of a waker after its wait. Two kinds of code wait:
//!
//! 1. **Futures** such as that of `Source::readable` know when they are dropped. Each has a [`Claim`] to its entry, and
//!    [removes](Waiters::remove) the entry with it. A claim names a slot by the slot's generation, and an entry of the list
//!    by the claim's own address. So an entry that has been taken, or was put there by another waiter of the same task, is
//!    never mistaken for the claim's own.
//! 2. **Poll functions** such as `Source::poll_readable` know nothing about the future around them. Equal wakers of poll
//!    functions share an entry. A future that was polled by a `FuturesUnordered` and then dropped leaves its waker here,
//!    and such a waker looks like the waker of a task still waiting. If the list kept only the newest wakers, waiting tasks
//!    would be lost. If it kept all, an idle connection would collect wakers without end. So the list has a limit for the
//!    wakers of poll functions. Beyond the limit all of them are *evicted*: woken and removed. Tasks still waiting
//!    register again; wakers of dropped futures do not. After [`REREGISTER_TIME`] the new limit is twice the number of
//!    these wakers in the list. So the list has at most twice as many as necessary, besides the wakers added within this
//!    time.
//!
//! An evicted task is polled, and may wait again in more ways than fit. Two rules keep this from becoming a loop that
//! never sleeps. Entries with a claim neither count nor are evicted: their futures remove them. And the time of the last
//! eviction outlives the entries of the list, so evictions of one source are [`REREGISTER_TIME`] apart.
//!
//! Nothing here runs user code under a lock: wakers are compared by address, and returned to the caller, which wakes or
//! drops them when no lock is held.

use super::interest::Want;
use super::readiness::Concerned;
use crate::foreign::{drop_waker, wake_all};
use std::any::Any;
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The number of wakers of poll functions in the list before the first eviction, and the lowest limit afterwards.
const FIRST_LIMIT: usize = 32;
/// How long evicted tasks that are still waiting may take to register again. No eviction of the same source is nearer to
/// the last one.
const REREGISTER_TIME: Duration = Duration::from_millis(100);

/// The bit of a slot's generation that says that the waker in the slot was put there with a claim.
const CLAIMED: u32 = 1;
/// One step of a slot's generation.
const GENERATION: u32 = 2;

/// The wakers of one source.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// The slots: the waker of the first task waiting to read, and of the first task waiting to write.
    slots: [Option<Waker>; 2],
    /// All other wakers. Boxed, to keep the common case small; `None` while there are no others, and no recent eviction.
    others: Option<Box<Others>>,
    /// The generations of the slots: the number of wakers put into each with a claim so far, and [`CLAIMED`]. Wraps. Not beside the
    /// wakers, where they would take twice the room.
    generations: [u32; 2],
}

/// The right of a future to one entry. The future must not move while it has an entry, because an entry of the list is
/// known by the address of its claim; so futures with a claim are `!Unpin`.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// [`NOTHING`](Self::NOTHING), [`LISTED`](Self::LISTED), or the generation of a slot, which is odd. The entry may have
    /// been taken meanwhile.
    entry: Cell<u32>,
    /// Makes the claim `!Unpin`.
    _pinned: PhantomPinned,
}

impl Claim {
    /// The value of a claim without an entry.
    const NOTHING: u32 = 0;
    /// The value of a claim with an entry in the list.
    const LISTED: u32 = 2;

    /// Returns whether no waker was left with this claim since it was made or [released](Waiters::remove).
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entry.get() == Self::NOTHING
    }

    /// Returns what tells this claim from all others that exist.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// An entry of the list.
#[derive(Debug)]
struct Other {
    /// What the task waits for.
    want: Want,
    /// The task's waker.
    waker: Waker,
    /// The address of the [`Claim`]; 0 for a poll function, which has none.
    claim: usize,
}

/// The wakers without a slot.
#[derive(Debug)]
struct Others {
    /// The entries, in order of arrival.
    waiting: Vec<Other>,
    /// The maximum number of entries without a claim. Set anew after an eviction.
    limit: usize,
    /// The time of the last eviction. `None` once the limit has been set anew, [`REREGISTER_TIME`] later.
    evicted_at: Option<Instant>,
}

/// The wakers left over by an insertion. The caller passes them to [`wake_or_drop`](Self::wake_or_drop) when no
/// lock is held.
#[derive(Debug)]
#[must_use]
pub(crate) enum Leftover {
    /// The new waker: an equal waker is there already. To be dropped.
    Duplicate(Waker),
    /// The old waker of a future that another task polls now. To be dropped.
    Replaced(Waker),
    /// The evicted wakers. To be woken.
    Evicted(Vec<Waker>),
}

impl Leftover {
    /// Drops a waker that is not needed, or wakes evicted wakers: all of them, even if a waker panics. The payloads of
    /// panics go to `on_panic`, since these wakers belong to other tasks.
    ///
    /// # Panics
    ///
    /// If a duplicate panics when it is dropped. It is a clone that the caller has just made of its own waker.
    pub(crate) fn wake_or_drop(self, on_panic: impl FnMut(Box<dyn Any + Send>)) {
        match self {
            Self::Duplicate(waker) => drop(waker),
            Self::Replaced(waker) => drop_waker(waker, on_panic),
            Self::Evicted(mut wakers) => wake_all(&mut wakers, on_panic),
        }
    }
}

impl Waiters {
    /// Returns the slot for `want`, with its generation. `None` if waits for it have no slot.
    #[inline]
    fn slot(&mut self, want: Want) -> Option<(&mut Option<Waker>, &mut u32)> {
        let index = want as usize;
        Some((self.slots.get_mut(index)?, &mut self.generations[index]))
    }

    /// Adds the waker of a poll function, unless an equal waker of a poll function waits for the same already; or, with a
    /// claim, the waker of a future, in place of the future's old waker. Returns the wakers left over.
    #[inline]
    pub(crate) fn insert(&mut self, want: Want, waker: Waker, claim: Option<&Claim>) -> Option<Leftover> {
        // Nearly always: a poll function, and no other task waits.
        if claim.is_none() {
            if let Some((slot @ None, generation)) = self.slot(want) {
                *slot = Some(waker);
                // An even generation, which no claim has.
                *generation &= !CLAIMED;
                return None;
            }
        }
        self.insert_rest(want, waker, claim)
    }

    /// As [`insert`](Self::insert), for futures, and for sources on which another task waits.
    #[inline(never)]
    fn insert_rest(&mut self, want: Want, waker: Waker, claim: Option<&Claim>) -> Option<Leftover> {
        if let Some(claim) = claim.filter(|claim| !claim.is_empty()) {
            match self.own(want, claim) {
                Some(own) if own.will_wake(&waker) => return Some(Leftover::Duplicate(waker)),
                Some(own) => return Some(Leftover::Replaced(std::mem::replace(own, waker))),
                // The entry has been taken: the waker is added as for the first time.
                None => {}
            }
        }
        match (claim, self.slot(want)) {
            (Some(claim), Some((slot @ None, generation))) => {
                *slot = Some(waker);
                *generation = (*generation).wrapping_add(GENERATION) | CLAIMED;
                claim.entry.set(*generation);
                return None;
            }
            // A poll function does not share the entry of a future, which the future will remove.
            (None, Some((Some(first), generation))) if *generation & CLAIMED == 0 && first.will_wake(&waker) => {
                return Some(Leftover::Duplicate(waker));
            }
            _ => {}
        }
        self.insert_other(want, waker, claim, Instant::now())
    }

    /// Returns the waker of the entry that belongs to `claim`, unless the entry has been taken.
    fn own(&mut self, want: Want, claim: &Claim) -> Option<&mut Waker> {
        if claim.entry.get() == Claim::LISTED {
            let address = claim.address();
            let others = self.others.as_mut()?;
            return others.waiting.iter_mut().find(|other| other.claim == address).map(|other| &mut other.waker);
        }
        let (slot, generation) = self.slot(want)?;
        if *generation == claim.entry.get() { slot.as_mut() } else { None }
    }

    /// Removes the entry that belongs to `claim`, because its future is dropped. Returns the waker, unless it has been
    /// taken; the caller drops the waker when no lock is held.
    pub(crate) fn remove(&mut self, want: Want, claim: &Claim) -> Option<Waker> {
        let entry = claim.entry.replace(Claim::NOTHING);
        if entry == Claim::LISTED {
            let others = self.others.as_mut()?;
            let index = others.waiting.iter().position(|other| other.claim == claim.address())?;
            let removed = others.waiting.remove(index);
            self.free_list();
            return Some(removed.waker);
        }
        let (slot, generation) = self.slot(want)?;
        if *generation == entry { slot.take() } else { None }
    }

    /// Returns whether no waker is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none) && self.others.as_ref().is_none_or(|others| others.waiting.is_empty())
    }

    /// Calls `visit` with every waker and what it waits for.
    #[cfg(any(feature = "inspect", feature = "test-util"))]
    pub(crate) fn visit(&self, mut visit: impl FnMut(Want, &Waker)) {
        for (want, slot) in [Want::Read, Want::Write].into_iter().zip(&self.slots) {
            slot.iter().for_each(|waker| visit(want, waker));
        }
        self.others.iter().flat_map(|others| &others.waiting).for_each(|other| visit(other.want, &other.waker));
    }

    /// Adds a waker without a slot. Returns the wakers left over.
    #[cold]
    fn insert_other(&mut self, want: Want, waker: Waker, claim: Option<&Claim>, now: Instant) -> Option<Leftover> {
        self.others.get_or_insert_default().insert(want, waker, claim, now)
    }

    /// Moves the wakers that an event concerns to `wakers`.
    #[inline(always)]
    pub(crate) fn take(&mut self, concerned: Concerned, wakers: &mut Vec<Waker>) {
        let [reader, writer] = &mut self.slots;
        if concerned.concerns(Want::Read) {
            if let Some(reader) = reader.take() {
                wakers.push(reader);
            }
        }
        if concerned.concerns(Want::Write) {
            if let Some(writer) = writer.take() {
                wakers.push(writer);
            }
        }
        if self.others.is_some() {
            self.take_others(concerned, wakers);
        }
    }

    /// Moves the wakers of the list that an event concerns to `wakers`. Out of line, so that sources without a list pay one
    /// comparison.
    #[cold]
    #[inline(never)]
    fn take_others(&mut self, concerned: Concerned, wakers: &mut Vec<Waker>) {
        if let Some(others) = &mut self.others {
            others.take(concerned, wakers);
            self.free_list();
        }
    }

    /// Frees the list if it is empty, and was not emptied by a recent eviction.
    fn free_list(&mut self) {
        if self.others.as_ref().is_some_and(|others| others.waiting.is_empty() && !others.is_evicting(Instant::now)) {
            self.others = None;
        }
    }
}

impl Default for Others {
    fn default() -> Self {
        Self { waiting: Vec::new(), limit: FIRST_LIMIT, evicted_at: None }
    }
}

impl Others {
    /// Returns whether evicted tasks may still register again. Asks for the time only after an eviction.
    fn is_evicting(&self, now: impl Fn() -> Instant) -> bool {
        self.evicted_at.is_some_and(|then| now().saturating_duration_since(then) < REREGISTER_TIME)
    }

    /// Adds a waker. Evicts the wakers of poll functions if there are too many. Returns the wakers left over.
    fn insert(&mut self, want: Want, waker: Waker, claim: Option<&Claim>, now: Instant) -> Option<Leftover> {
        if let Some(claim) = claim {
            claim.entry.set(Claim::LISTED);
            self.waiting.push(Other { want, waker, claim: claim.address() });
            return None;
        }
        let mut polled = 0;
        for other in self.waiting.iter().filter(|other| other.claim == 0) {
            if other.want == want && other.waker.will_wake(&waker) {
                return Some(Leftover::Duplicate(waker));
            }
            polled += 1;
        }
        self.waiting.push(Other { want, waker, claim: 0 });
        if self.is_evicting(|| now) {
            return None;
        }
        if self.evicted_at.take().is_some() {
            // The tasks still waiting have registered again.
            self.limit = FIRST_LIMIT.max(2 * polled);
        }
        if polled < self.limit {
            return None;
        }
        self.evicted_at = Some(now);
        let (evicted, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|other| other.claim == 0);
        self.waiting = left;
        Some(Leftover::Evicted(evicted.into_iter().map(|other| other.waker).collect()))
    }

    /// Moves the wakers that an event concerns to `wakers`.
    fn take(&mut self, concerned: Concerned, wakers: &mut Vec<Waker>) {
        let (taken, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|other| concerned.concerns(other.want));
        wakers.extend(taken.into_iter().map(|other| other.waker));
        self.waiting = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::drop_payload;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    /// Counts its wakes.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A list, the time, and tasks that register again whenever they are woken, each with the number of wakes seen.
    struct Scene {
        others: Others,
        now: Instant,
        tasks: Vec<(Arc<Counting>, usize)>,
    }

    impl Scene {
        fn new(tasks: usize) -> Self {
            let mut scene = Self { others: Others::default(), now: Instant::now(), tasks: Vec::new() };
            for _ in 0..tasks {
                let task = Arc::new(Counting::default());
                scene.tasks.push((Arc::clone(&task), 0));
                scene.insert(task);
            }
            scene
        }

        fn insert(&mut self, task: Arc<Counting>) {
            if let Some(leftover) = self.others.insert(Want::Read, task.into(), None, self.now) {
                leftover.wake_or_drop(|_| panic!("no waker panics"));
            }
        }

        /// Polls the tasks that were woken, and returns their number.
        fn poll(&mut self) -> usize {
            let mut polled = 0;
            for index in 0..self.tasks.len() {
                let (task, seen) = &mut self.tasks[index];
                let woken = task.0.load(Ordering::SeqCst);
                if std::mem::replace(seen, woken) != woken {
                    let task = Arc::clone(task);
                    self.insert(task);
                    polled += 1;
                }
            }
            polled
        }

        /// Checks that an event wakes all tasks.
        fn check(mut self) {
            self.poll();
            let mut wakers = Vec::new();
            self.others.take(Concerned::ALL, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
            assert_eq!(self.poll(), self.tasks.len(), "a waiting task was lost");
        }
    }

    /// Wakers of dropped futures do not pile up, and a task still waiting among them is neither lost nor woken often.
    #[test]
    fn wakers_of_dropped_futures_are_bounded() {
        let mut scene = Scene::new(1);
        let mut needless = 0;
        for _ in 0..20_000 {
            scene.insert(Arc::default());
            needless += scene.poll();
            scene.now += Duration::from_millis(10);
            assert!(scene.others.waiting.len() <= FIRST_LIMIT + 1);
        }
        assert!(needless <= 20_000 / FIRST_LIMIT + 1, "{needless}");
        scene.check();
    }

    /// Bug D4: evicted wakers that panic, with a payload that panics when it is dropped, do not keep others from being
    /// woken.
    #[test]
    fn panics_of_the_turned_out() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                if !std::thread::panicking() {
                    panic!("in a payload's drop");
                }
            }
        }
        struct Panicking;
        impl Wake for Panicking {
            fn wake(self: Arc<Self>) {
                std::panic::panic_any(Bomb);
            }
        }
        let counting = Arc::new(Counting::default());
        let waker = |n| if n % 2 == 0 { Arc::new(Panicking).into() } else { Arc::clone(&counting).into() };
        let mut panics = 0;
        Leftover::Evicted((0..10).map(waker).collect()).wake_or_drop(|panic| {
            panics += 1;
            drop_payload(panic);
        });
        assert_eq!(panics, 5);
        assert_eq!(counting.0.load(Ordering::SeqCst), 5);
    }

    /// Found 12c: an eviction that empties the list is remembered, by futures that go or by an event. The
    /// next eviction is a [`REREGISTER_TIME`] later at the earliest, and the list is freed then.
    #[test]
    fn evictions_are_apart() {
        let waker = || Arc::new(Counting::default()).into();
        for by_event in [false, true] {
            let mut waiters = Waiters::default();
            let claim = Claim::default();
            let (mut evictions, begin) = (0, Instant::now());
            for _ in 0..1000 {
                for _ in 0..FIRST_LIMIT + 2 {
                    match waiters.insert(Want::Read, waker(), None) {
                        Some(Leftover::Evicted(_)) => evictions += 1,
                        other => assert!(other.is_none(), "{other:?}"),
                    }
                }
                let mut wakers = Vec::new();
                if by_event {
                    waiters.take(Concerned::ALL, &mut wakers);
                } else {
                    assert!(waiters.insert(Want::Read, waker(), Some(&claim)).is_none());
                    // As after an eviction without poll functions.
                    waiters.others.as_mut().unwrap().waiting.retain(|other| other.claim != 0);
                    assert!(waiters.remove(Want::Read, &claim).is_some());
                }
            }
            let most = 1 + begin.elapsed().as_nanos() / REREGISTER_TIME.as_nanos();
            assert!((1..=most).contains(&evictions), "{evictions} evictions, by event: {by_event}");
            let others = waiters.others.as_mut().unwrap();
            others.evicted_at = others.evicted_at.and_then(|then| then.checked_sub(REREGISTER_TIME));
            waiters.free_list();
            assert!(waiters.others.is_none());
        }
    }

    /// Found 12c: the entries of futures neither count nor are evicted.
    #[test]
    fn claims_have_no_limit() {
        let waker = || Arc::new(Counting::default()).into();
        let mut others = Others::default();
        let claims: Vec<_> = (0..10 * FIRST_LIMIT).map(|_| Claim::default()).collect();
        for claim in &claims {
            assert!(others.insert(Want::Read, waker(), Some(claim), Instant::now()).is_none());
        }
        for n in 0..=FIRST_LIMIT {
            match others.insert(Want::Read, waker(), None, Instant::now()) {
                None => assert!(n < FIRST_LIMIT),
                Some(Leftover::Evicted(evicted)) => assert_eq!((n, evicted.len()), (FIRST_LIMIT, FIRST_LIMIT + 1)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(others.waiting.len(), claims.len());
    }

    /// The limit grows to fit hundreds of waiting tasks, after a few needless wakes.
    #[test]
    fn the_limit_grows_with_the_waiting_tasks() {
        let mut scene = Scene::new(500);
        let mut needless = 0;
        for _ in 0..1000 {
            needless += scene.poll();
            scene.now += Duration::from_millis(1);
            // Meanwhile other futures wait and are dropped.
            scene.insert(Arc::default());
        }
        assert!(needless <= 2 * 500, "{needless}");
        assert!(scene.others.limit >= 500 && scene.others.waiting.len() <= 4 * 500);
        scene.check();
    }

    /// The first future and the first poll function have the slot, without a list; the list is freed with its last entry.
    #[test]
    fn slots_come_first_and_an_empty_list_is_freed() {
        let waker = || Waker::from(Arc::new(Counting::default()));
        let (one, two) = (Claim::default(), Claim::default());
        let mut waiters = Waiters::default();
        assert!(waiters.is_empty());
        assert!(waiters.insert(Want::Read, waker(), Some(&one)).is_none() && waiters.others.is_none());
        assert!(!waiters.is_empty());
        assert!(waiters.insert(Want::Read, waker(), Some(&two)).is_none() && waiters.others.is_some());
        assert!(waiters.remove(Want::Read, &two).is_some());
        assert!(waiters.others.is_none(), "an empty list is kept");
        assert!(waiters.remove(Want::Read, &one).is_some() && waiters.is_empty());
    }

    /// A future that another task polls has one entry, with the waker of this task; in the slot and in the list.
    #[test]
    fn a_future_that_another_task_polls() {
        for in_list in [false, true] {
            let mut waiters = Waiters::default();
            let (before, after) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
            if in_list {
                assert!(waiters.insert(Want::Write, Waker::noop().clone(), None).is_none());
            }
            let claim = Claim::default();
            assert!(waiters.insert(Want::Write, Arc::clone(&before).into(), Some(&claim)).is_none());
            let again = waiters.insert(Want::Write, Arc::clone(&before).into(), Some(&claim));
            assert!(matches!(again, Some(Leftover::Duplicate(_))), "{again:?}");
            let replaced = waiters.insert(Want::Write, Arc::clone(&after).into(), Some(&claim));
            assert!(matches!(replaced, Some(Leftover::Replaced(_))), "{replaced:?}");
            let mut wakers = Vec::new();
            waiters.take(Concerned::ALL, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
            assert_eq!([before, after].map(|task| task.0.load(Ordering::SeqCst)), [0, 1]);
            // A new future on the source does not take the entry of a poll function for its own.
            assert!(waiters.insert(Want::Write, Waker::noop().clone(), None).is_none());
            let fresh = Claim::default();
            assert!(waiters.insert(Want::Write, Waker::noop().clone(), Some(&fresh)).is_none());
            assert!(waiters.remove(Want::Write, &fresh).is_some());
        }
    }

    /// Each claim of a slot has a number of its own, which is odd, whatever was in the slot in between.
    #[test]
    fn claims_of_a_slot_are_told_apart() {
        let mut waiters = Waiters::default();
        let mut entries = Vec::new();
        for round in 0..20 {
            let claim = Claim::default();
            assert!(waiters.insert(Want::Read, Waker::noop().clone(), Some(&claim)).is_none());
            let entry = claim.entry.get();
            assert!(entry & CLAIMED != 0 && !entries.contains(&entry), "{entry} after {entries:?}");
            entries.push(entry);
            waiters.take(Concerned::ALL, &mut Vec::new());
            if round % 3 == 0 {
                assert!(waiters.insert(Want::Read, Waker::noop().clone(), None).is_none());
            }
            assert!(waiters.remove(Want::Read, &claim).is_none(), "its waker has been taken");
            waiters.take(Concerned::ALL, &mut Vec::new());
        }
    }

    /// Whether a waker is left: in a slot, in the list, in both, or in neither.
    #[test]
    fn when_no_waker_is_left() {
        for (in_slot, in_list) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut waiters = Waiters::default();
            for want in [Want::Write, Want::Priority] {
                if if want == Want::Write { in_slot } else { in_list } {
                    assert!(waiters.insert(want, Waker::noop().clone(), None).is_none());
                }
            }
            assert_eq!(waiters.is_empty(), !in_slot && !in_list, "{in_slot} {in_list}");
        }
    }
}
