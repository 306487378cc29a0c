//! The wakers of the tasks that wait for one source.
//!
//! Nearly always at most one task reads and at most one task writes, and each has a slot. But fifty tasks may wait on
//! one listener, and an event has to wake all. So there is a list for the others.
//!
//! The hard idea is how to bound this list. A future that was polled by a `FuturesUnordered` and then dropped leaves
//! its waker here, and such a waker looks like the waker of a task still waiting. If the list kept only the
//! newest wakers, waiting tasks would be lost. If it kept all, an idle connection would collect wakers without end. So
//! the list has a limit. Beyond the limit all its wakers are *evicted*: the whole list is woken and emptied. Tasks
//! still waiting register again; wakers of dropped futures do not. After [`REREGISTER_TIME`] the new limit is twice the
//! number of wakers in the list. So the list has at most twice as many wakers as necessary, besides the wakers
//! added within this time.
//!
//! Nothing here runs user code under a lock: wakers are compared by address, and returned to the caller, which wakes or
//! drops them when no lock is held.

use super::interest::Want;
use super::readiness::Concerned;
use crate::foreign::{drop_payload, wake_all};
use std::panic::resume_unwind;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The number of wakers in the list before the first eviction, and the lowest limit afterwards.
const FIRST_LIMIT: usize = 32;
/// How long evicted tasks that are still waiting may take to register again.
const REREGISTER_TIME: Duration = Duration::from_millis(100);

/// The wakers of one source.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// The waker of the first task waiting to read.
    reader: Option<Waker>,
    /// The waker of the first task waiting to write.
    writer: Option<Waker>,
    /// All other wakers. Boxed, to keep the common case small; `None` while there are no others.
    others: Option<Box<Others>>,
}

/// The wakers without a slot.
#[derive(Debug)]
struct Others {
    /// The wakers and what they wait for, in order of arrival.
    waiting: Vec<(Want, Waker)>,
    /// The maximum length of `waiting`. Set anew after an eviction.
    limit: usize,
    /// The time of the last eviction. `None` once the limit has been set anew.
    evicted_at: Option<Instant>,
}

/// The wakers left over by an insertion. The caller passes them to [`wake_or_drop`](Self::wake_or_drop) when no
/// lock is held.
#[derive(Debug)]
#[must_use]
pub(crate) enum Leftover {
    /// The new waker: an equal waker is there already. To be dropped.
    Duplicate(Waker),
    /// The evicted wakers. To be woken.
    Evicted(Vec<(Want, Waker)>),
}

impl Leftover {
    /// Drops a duplicate, or wakes evicted wakers: all of them, even if a waker panics.
    ///
    /// # Panics
    ///
    /// With the first panic of a waker, after all have been woken.
    pub(crate) fn wake_or_drop(self) {
        let evicted = match self {
            Self::Duplicate(waker) => return drop(waker),
            Self::Evicted(wakers) => wakers,
        };
        let mut first_panic = None;
        let mut wakers = evicted.into_iter().map(|(_, waker)| waker).collect();
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
    /// Adds a waker, unless an equal waker waits for the same already. Returns the wakers left over.
    #[inline]
    pub(crate) fn insert(&mut self, want: Want, waker: Waker) -> Option<Leftover> {
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
            Some(Some(first)) if first.will_wake(&waker) => Some(Leftover::Duplicate(waker)),
            _ => self.insert_other(want, waker, Instant::now()),
        }
    }

    /// Calls `visit` with every waker and what it waits for.
    #[cfg(feature = "inspect")]
    pub(crate) fn visit(&self, mut visit: impl FnMut(Want, &Waker)) {
        self.reader.iter().for_each(|waker| visit(Want::Read, waker));
        self.writer.iter().for_each(|waker| visit(Want::Write, waker));
        self.others.iter().flat_map(|others| &others.waiting).for_each(|(want, waker)| visit(*want, waker));
    }

    /// Adds a waker without a slot. Returns the wakers left over.
    #[cold]
    fn insert_other(&mut self, want: Want, waker: Waker, now: Instant) -> Option<Leftover> {
        self.others.get_or_insert_default().insert(want, waker, now)
    }

    /// Moves the wakers that an event concerns to `wakers`.
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
        Self { waiting: Vec::new(), limit: FIRST_LIMIT, evicted_at: None }
    }
}

impl Others {
    /// Adds a waker, and evicts all if there are too many. Returns the wakers left over.
    fn insert(&mut self, want: Want, waker: Waker, now: Instant) -> Option<Leftover> {
        if self.waiting.iter().any(|(other, waiting)| *other == want && waiting.will_wake(&waker)) {
            return Some(Leftover::Duplicate(waker));
        }
        if self.evicted_at.is_some_and(|then| now.saturating_duration_since(then) >= REREGISTER_TIME) {
            // The tasks still waiting have registered again.
            self.limit = FIRST_LIMIT.max(2 * self.waiting.len());
            self.evicted_at = None;
        }
        self.waiting.push((want, waker));
        if self.waiting.len() <= self.limit || self.evicted_at.is_some() {
            return None;
        }
        self.evicted_at = Some(now);
        Some(Leftover::Evicted(std::mem::take(&mut self.waiting)))
    }

    /// Moves the wakers that an event concerns to `wakers`.
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
            if let Some(leftover) = self.others.insert(Want::Read, task.into(), self.now) {
                leftover.wake_or_drop();
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
            self.others.take(Concerned { readers: true, writers: false, priority: false }, &mut wakers);
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
        let evicted = Leftover::Evicted((0..10).map(|n| (Want::Read, waker(n))).collect());
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| evicted.wake_or_drop())).unwrap_err();
        drop_payload(panic);
        assert_eq!(counting.0.load(Ordering::SeqCst), 5);
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
}
