//! The tasks that wait for one source.
//!
//! Almost always at most one reads and one writes, and each of them has a slot. But nothing forbids fifty tasks to wait
//! on one listener, and then all are to be woken; so there is a list for the others.
//!
//! The hard idea is how to bound that list. A waiter cannot be told from the remains of one: a future that was polled by
//! a `FuturesUnordered` and then dropped leaves a waker that nobody will ever need. If only the last few were kept,
//! living waiters would be lost; if all are kept, an idle connection collects remains for ever. So, beyond a limit, all
//! are *turned out*: they are woken, and those who live will be polled and come back. A while later, twice their number
//! is the new limit. So the list is at most twice as long as it need be, and what one while leaves behind.
//!
//! Nothing here runs foreign code: wakers are compared by address, and handed to the caller to be woken or dropped when
//! no lock is held.

use super::interest::Want;
use super::readiness::Concerned;
use crate::foreign::{drop_payload, wake_all};
use std::panic::resume_unwind;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Waiters in the list before they are turned out for the first time.
const FIRST_LIMIT: usize = 32;
/// How long those who were turned out may take to come back.
const WHILE: Duration = Duration::from_millis(100);

/// Who waits.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// The first to read.
    reader: Option<Waker>,
    /// The first to write.
    writer: Option<Waker>,
    /// All others. The box keeps the common case small.
    others: Option<Box<Others>>,
}

/// Those for whom there is no slot.
#[derive(Debug)]
struct Others {
    /// In order of arrival.
    waiting: Vec<(Want, Waker)>,
    /// How many there may be.
    limit: usize,
    /// When all were turned out, until the limit has been set anew.
    turned_out: Option<Instant>,
}

/// Wakers that an insertion leaves over. To be settled when no lock is held.
#[derive(Debug)]
#[must_use]
pub(crate) enum Displaced {
    /// In the list already, under the same address.
    Needless(Waker),
    /// To be woken, since they are in the list no more.
    TurnedOut(Vec<(Want, Waker)>),
}

impl Displaced {
    /// Wakes those who are to be woken, all of them even if one panics, and drops the rest.
    pub(crate) fn settle(self) {
        let turned_out = match self {
            Self::Needless(waker) => return drop(waker),
            Self::TurnedOut(wakers) => wakers,
        };
        let mut first_panic = None;
        let mut wakers = turned_out.into_iter().map(|(_, waker)| waker).collect();
        wake_all(&mut wakers, |panic| match first_panic {
            None => first_panic = Some(panic),
            Some(_) => drop_payload(panic),
        });
        if let Some(panic) = first_panic {
            resume_unwind(panic);
        }
    }
}

impl Waiters {
    /// Adds a waiter, once.
    #[inline]
    pub(crate) fn insert(&mut self, want: Want, waker: Waker) -> Option<Displaced> {
        let slot = match want {
            Want::Read => Some(&mut self.reader),
            Want::Write => Some(&mut self.writer),
            Want::Priority => None,
        };
        match slot {
            Some(slot @ None) => {
                *slot = Some(waker);
                None
            }
            Some(Some(first)) if first.will_wake(&waker) => Some(Displaced::Needless(waker)),
            _ => self.insert_further(want, waker, Instant::now()),
        }
    }

    /// Shows everybody who waits.
    #[cfg(feature = "inspect")]
    pub(crate) fn visit(&self, mut visit: impl FnMut(Want, &Waker)) {
        self.reader.iter().for_each(|waker| visit(Want::Read, waker));
        self.writer.iter().for_each(|waker| visit(Want::Write, waker));
        self.others.iter().flat_map(|others| &others.waiting).for_each(|(want, waker)| visit(*want, waker));
    }

    /// Adds a waiter for whom there is no slot.
    #[cold]
    fn insert_further(&mut self, want: Want, waker: Waker, now: Instant) -> Option<Displaced> {
        self.others.get_or_insert_default().insert(want, waker, now)
    }

    /// Moves those whom an event concerns to `wakers`.
    #[inline(always)]
    pub(crate) fn take(&mut self, concerned: Concerned, wakers: &mut Vec<Waker>) {
        if concerned.readers {
            if let Some(reader) = self.reader.take() {
                wakers.push(reader);
            }
        }
        if concerned.writers {
            if let Some(writer) = self.writer.take() {
                wakers.push(writer);
            }
        }
        if let Some(others) = &mut self.others {
            others.take(concerned, wakers);
            if others.waiting.is_empty() {
                self.others = None;
            }
        }
    }
}

impl Default for Others {
    fn default() -> Self {
        Self { waiting: Vec::new(), limit: FIRST_LIMIT, turned_out: None }
    }
}

impl Others {
    /// Adds a waiter, and turns all out if there are too many.
    fn insert(&mut self, want: Want, waker: Waker, now: Instant) -> Option<Displaced> {
        if self.waiting.iter().any(|(other, waiting)| *other == want && waiting.will_wake(&waker)) {
            return Some(Displaced::Needless(waker));
        }
        if self.turned_out.is_some_and(|then| now.saturating_duration_since(then) >= WHILE) {
            // Those who live have come back.
            self.limit = FIRST_LIMIT.max(2 * self.waiting.len());
            self.turned_out = None;
        }
        self.waiting.push((want, waker));
        if self.waiting.len() <= self.limit || self.turned_out.is_some() {
            return None;
        }
        self.turned_out = Some(now);
        Some(Displaced::TurnedOut(std::mem::take(&mut self.waiting)))
    }

    /// Moves those whom an event concerns to `wakers`.
    #[cold]
    fn take(&mut self, concerned: Concerned, wakers: &mut Vec<Waker>) {
        let (taken, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(want, _)| match want {
                Want::Read => concerned.readers,
                Want::Write => concerned.writers,
                Want::Priority => concerned.priority,
            });
        wakers.extend(taken.into_iter().map(|(_, waker)| waker));
        self.waiting = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    /// A list, the time, and tasks that come back whenever they are woken.
    struct Scene {
        others: Others,
        now: Instant,
        living: Vec<(Arc<Counting>, usize)>,
    }

    impl Scene {
        fn new(living: usize) -> Self {
            let mut scene = Self { others: Others::default(), now: Instant::now(), living: Vec::new() };
            for _ in 0..living {
                let task = Arc::new(Counting::default());
                scene.living.push((Arc::clone(&task), 0));
                scene.insert(task);
            }
            scene
        }

        fn insert(&mut self, task: Arc<Counting>) {
            if let Some(displaced) = self.others.insert(Want::Read, task.into(), self.now) {
                displaced.settle();
            }
        }

        /// Polls those who were woken. Returns how many were.
        fn poll(&mut self) -> usize {
            let mut polled = 0;
            for index in 0..self.living.len() {
                let (task, seen) = &mut self.living[index];
                let woken = task.0.load(Ordering::SeqCst);
                if std::mem::replace(seen, woken) != woken {
                    let task = Arc::clone(task);
                    self.insert(task);
                    polled += 1;
                }
            }
            polled
        }

        /// Sees to it that an event wakes all.
        fn check(mut self) {
            self.poll();
            let mut wakers = Vec::new();
            self.others.take(Concerned { readers: true, writers: false, priority: false }, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
            assert_eq!(self.poll(), self.living.len(), "one was lost");
        }
    }

    /// Remains of cancelled waits do not pile up, and a living waiter among them is neither lost nor pestered.
    #[test]
    fn remains_are_bounded() {
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

    /// Bug D4: wakers that panic, with a payload that panics when it is dropped, cost nobody else the wake.
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
        let turned_out = Displaced::TurnedOut((0..10).map(|n| (Want::Read, waker(n))).collect());
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turned_out.settle())).unwrap_err();
        drop_payload(panic);
        assert_eq!(counting.0.load(Ordering::SeqCst), 5);
    }

    /// Hundreds of living waiters find room after a few needless wakes.
    #[test]
    fn the_living_find_room() {
        let mut scene = Scene::new(500);
        let mut needless = 0;
        for _ in 0..1000 {
            needless += scene.poll();
            scene.now += Duration::from_millis(1);
            // Something else comes and goes all the time.
            scene.insert(Arc::default());
        }
        assert!(needless <= 2 * 500, "{needless}");
        assert!(scene.others.limit >= 500 && scene.others.waiting.len() <= 4 * 500);
        scene.check();
    }
}
