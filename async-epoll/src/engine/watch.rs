//! What a `run` method knows of its tasks, and the engine does not.

#[cfg(feature = "test-util")]
use super::shared::Shared;
#[cfg(feature = "test-util")]
use futures::task::noop_waker_ref;
use std::io;
#[cfg(feature = "test-util")]
use std::sync::Arc;
#[cfg(feature = "test-util")]
use std::sync::atomic::{Ordering, fence};
#[cfg(feature = "test-util")]
use std::task::Waker;

/// Asked by the engine before it sleeps for long.
pub(crate) trait Watch {
    /// Fails if certainly nothing can end a sleep without end.
    fn refuse_endless_sleep(&self) -> io::Result<()>;

    /// Adds the tasks, and the wakers that only the end of another task would wake, to `census`.
    #[cfg(feature = "test-util")]
    fn count(&self, census: &mut Census);
}

/// Where the wakers of the tasks are, to find out whether timers alone can wake a task (feature `test-util`).
///
/// Each clone of a task's waker is counted by the task's `Arc`. A clone that is *inside* is at a known place: at a timer, at
/// a source, or where only the end of another task wakes it. Every other clone is *outside*: in a channel, in a
/// combinator, on another thread. Nothing is outside if the clones of each task are as many as its wakers at the known
/// places, and if these places have wakers of the tasks only. (A strange waker at a timer belongs to code that the reactor
/// does not run. A waker of an ended task wakes nothing: it is left out.)
///
/// So two collections of addresses have to be equal: each task's address as often as its waker has clones, and the address
/// of each waker inside. A test may make many thousand jumps over many thousand timers, and sorting the collections for
/// each jump would take most of its time. Instead, the hashes of the addresses are added up. Collections that differ have
/// the same sum once in 2⁶⁴.
#[cfg(feature = "test-util")]
#[derive(Default)]
pub(crate) struct Census {
    /// The sum of the hashes of all clones of the tasks' wakers, less those of the wakers at known places. Wraps.
    outside: u64,
    /// The addresses of ended tasks, sorted.
    ended: Vec<usize>,
    /// Another thread may spawn a task.
    has_remotes: bool,
    /// A `run` method waits for something else than the tasks and timers.
    serves_others: bool,
}

/// What may go on without a timer, as far as it is known. Empty if certainly nothing may.
#[cfg(feature = "test-util")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    /// A waker is left with a source, whose event may come at any time.
    pub(crate) source: bool,
    /// Another thread may spawn a task.
    pub(crate) remote: bool,
    /// There is a waker at an unknown place.
    pub(crate) waker: bool,
}

#[cfg(feature = "test-util")]
impl Outside {
    /// Returns whether certainly nothing but a timer can wake a task.
    pub(crate) const fn is_empty(self) -> bool {
        !self.source && !self.remote && !self.waker
    }
}

#[cfg(feature = "test-util")]
impl Census {
    /// Adds the main future of `run_until`. If it has left no waker anywhere, it will never be ready, and the reactor runs
    /// for other threads alone: what they are about to do is not known.
    pub(crate) fn add_main<T>(&mut self, waker: &Arc<T>) {
        self.add_task(waker, 1);
        self.serves_others |= Arc::strong_count(waker) == 1;
    }

    /// Adds a task, or a main future, by what its wakers refer to. `own` of the references are not wakers.
    pub(crate) fn add_task<T>(&mut self, waker: &Arc<T>, own: usize) {
        let wakers = Arc::strong_count(waker).saturating_sub(own);
        self.outside = self.outside.wrapping_add(hash(Arc::as_ptr(waker).addr()).wrapping_mul(wakers as u64));
    }

    /// Adds a waker at a known place. Returns whether it wakes anything: code that only looks at a timer or a source leaves
    /// a waker that does nothing, and so does a task that has ended.
    pub(crate) fn add_inside(&mut self, waker: &Waker) -> bool {
        let address = waker.data().addr();
        let is_noop = || waker.will_wake(Waker::noop()) || waker.will_wake(noop_waker_ref());
        let wakes = !(address == 0 && is_noop() || self.ended.binary_search(&address).is_ok());
        if wakes {
            self.outside = self.outside.wrapping_sub(hash(address));
        }
        wakes
    }

    /// Notes whether another thread may spawn a task.
    pub(crate) fn note_remotes(&mut self, has_remotes: bool) {
        self.has_remotes |= has_remotes;
    }

    /// Finds out what may go on without a timer while no task is ready; `None` if a task is ready. Without a `watch`, the
    /// tasks are not known, and count as a waker outside.
    pub(crate) fn take(shared: &Shared, watch: Option<&dyn Watch>) -> Option<Outside> {
        // No task ends meanwhile: this is the thread of the tasks.
        let mut census = Self { ended: shared.ended(), ..Self::default() };
        let mut source = false;
        // One lock at a time.
        shared.wheel().visit(|_, waker| _ = census.add_inside(waker));
        shared.registry().visit_waiters(shared.process, |_, _, waker| source |= census.add_inside(waker));
        if let Some(watch) = watch {
            watch.count(&mut census);
        }
        let outside = Outside {
            source,
            remote: census.has_remotes,
            waker: watch.is_none() || census.serves_others || census.outside != 0,
        };
        // A waker on another thread may have woken its task just before the waker was dropped. The fence makes that wake
        // visible to the check of `has_work`.
        fence(Ordering::Acquire);
        (!shared.notifier.has_work()).then_some(outside)
    }
}

/// Returns a number without any pattern that the address may have (the finalizer of splitmix64).
#[cfg(feature = "test-util")]
const fn hash(address: usize) -> u64 {
    let mut hash = (address as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}
