//! Whether a thread runs the reactor, for errors and warnings about waits that nothing will end.
//!
//! A reactor *is run* while a `run` method is active, after a call of [`wait`](crate::Reactor::wait), in the background,
//! and embedded. Otherwise its sources, timers and tasks wait for ever, and usually the thread is parked by another
//! executor then: no code of this crate runs that could fail. The last moment to say anything is the poll that returns
//! `Pending`. What is known at this moment depends on the polling code:
//!
//! ```text
//!   polled by                           the reactor is run      it is not
//!   ──────────────────────────────────  ──────────────────────  ───────────────────────────────────────────────────
//!   a task or a main future of ours     all is well             the driver looks: a hint at once, a warning if
//!                                                               tasks are polled again a second later
//!   another future in an executor of    a task of the pool's    the same: the executor blocks the only thread that
//!   futures-rs, on the reactor's thread own spawner: a warning  could run the reactor, or a hand-written loop is about
//!                                       if `run` leaves it      to
//!   any code on another thread          nothing is known: the reactor's thread may run the reactor at any time
//! ```
//!
//! Why only a hint at once? A hand-written loop polls its pool before it first calls `wait`, and again after each `run`
//! method; nothing tells such a poll from `LocalPool::run` or `block_on`. And a program may poll a future once. So a
//! correct program sees hints, of level `DEBUG`. It sees a warning only if it polls twice what waits, with more than
//! [`PATIENCE`] in between and no turn of the reactor. A reactor reports each case once. The reports are events of the
//! feature `tracing`; without it, all of this is dead code.
//!
//! A driver of another reactor in the pool that is run is not a warning but an error: the `run` method is there to
//! return it.
//!
//! The cost: a poll that returns `Pending` outside of our tasks reads a few thread-local words. Everything that is
//! ready costs nothing.

use crate::trace;
use futures::executor;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// A `run` method is active.
const METHOD: u16 = 1;
/// A hand-written loop has called `wait`, since a `run` method was last active.
const LOOP: u16 = 2;
/// A thread of its own or a host's loop runs the reactor, from now on.
const ALWAYS: u16 = 4;
/// A driver of *another* reactor was polled by the present `run` method, or a task has forked and this is the child.
/// Cleared when a `run` method begins.
const STRAY_DRIVER: u16 = 8;
/// A task of the pool's own spawner has waited for the reactor while it was run. Cleared when a `run` method begins.
const STRANGER: u16 = 16;
/// The cases that were reported: see the table above.
const REPORTED_BLOCKED: u16 = 32;
const REPORTED_LEFT: u16 = 64;
const REPORTED_HINT: u16 = 128;
const REPORTED_IDLE: u16 = 256;
const REPORTED_BLOCKED_HINT: u16 = 512;

/// How long tasks and other futures may be polled without a turn of their reactor before this is reported, in
/// nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// What is known about the running of a reactor.
#[derive(Debug)]
pub(crate) struct Runner {
    /// The bits above. Written mostly by the reactor's thread.
    state: AtomicU16,
    /// The thread that has made the reactor, as [`this_thread`] names it. Until the reactor is in the background, no
    /// other thread can run it.
    home: usize,
    /// The time of the first poll of a driver, or of another future, that has left something waiting since the reactor was
    /// last run, in nanoseconds of the reactor's clock; 0 for none. Written by the reactor's thread.
    idle_since: AtomicU64,
}

/// Returns a number of the calling thread, different from those of all other live threads: the address of a
/// thread-local.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl Runner {
    /// Returns the state of a reactor that this thread has just made, and that is not run.
    pub(crate) fn new() -> Self {
        Self { state: AtomicU16::new(0), home: this_thread(), idle_since: AtomicU64::new(0) }
    }

    /// Marks a `run` method as active until the guard is dropped.
    pub(crate) fn begin(&self) -> RunGuard<'_> {
        self.state.fetch_and(!(STRAY_DRIVER | STRANGER), Ordering::Relaxed);
        self.state.fetch_or(METHOD, Ordering::Relaxed);
        RunGuard(self)
    }

    /// Marks the reactor as run by a hand-written loop, until a `run` method ends.
    pub(crate) fn begin_loop(&self) {
        // Most calls of `wait` change nothing.
        if self.state.load(Ordering::Relaxed) & LOOP == 0 {
            self.state.fetch_or(LOOP, Ordering::Relaxed);
        }
    }

    /// Marks the reactor as run from now on: it is embedded, or moves to a thread of its own.
    pub(crate) fn keep(&self) {
        self.state.fetch_or(ALWAYS, Ordering::Relaxed);
    }

    /// Returns whether the reactor is run.
    pub(crate) fn is_run(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (METHOD | LOOP | ALWAYS) != 0
    }

    /// Returns whether a `run` method is active. Then that method polls the pool, by `run_until_stalled`: no executor of
    /// futures-rs begins inside of another.
    pub(crate) fn is_in_method(&self) -> bool {
        self.state.load(Ordering::Relaxed) & METHOD != 0
    }

    /// Notes that a driver of another reactor was polled while this reactor was current. That matters to a `run` method
    /// on the same thread only: any thread may enter the reactor and poll what it likes.
    #[cold]
    pub(crate) fn note_stray_driver(&self) {
        if self.state.load(Ordering::Relaxed) & METHOD != 0 && self.home == this_thread() {
            self.state.fetch_or(STRAY_DRIVER, Ordering::Relaxed);
        }
    }

    /// Notes that a driver was polled in a forked child, where the present `run` method has to end.
    #[cold]
    pub(crate) fn note_child(&self) {
        self.state.fetch_or(STRAY_DRIVER, Ordering::Relaxed);
    }

    /// Returns whether the present `run` method has polled a driver of another reactor, or is in a forked child.
    pub(crate) fn has_stray_driver(&self) -> bool {
        self.state.load(Ordering::Relaxed) & STRAY_DRIVER != 0
    }

    /// Notes that a future which is neither a task nor a main future waits for the reactor, at the time that `now` returns.
    /// Reports the wait if nothing can run the reactor meanwhile.
    #[cold]
    pub(crate) fn note_stranger(&self, now: impl FnOnce() -> u64) {
        let state = self.state.load(Ordering::Relaxed);
        // Inside an executor of futures-rs, no other one can begin.
        if state & ALWAYS != 0 || self.home != this_thread() || executor::enter().is_ok() {
            return;
        }
        if state & (METHOD | LOOP) != 0 {
            self.state.fetch_or(STRANGER, Ordering::Relaxed);
            return;
        }
        if self.is_first(REPORTED_BLOCKED_HINT) {
            trace::blocked_yet();
        }
        if self.is_impatient(now()) && self.is_first(REPORTED_BLOCKED) {
            trace::blocked();
        }
    }

    /// Notes that the driver leaves tasks waiting at the time `now`, though the reactor is not run.
    #[cold]
    pub(crate) fn note_idle_driver(&self, now: u64) {
        if self.is_first(REPORTED_HINT) {
            trace::not_run_yet();
        }
        if self.is_impatient(now) && self.is_first(REPORTED_IDLE) {
            trace::not_run();
        }
    }

    /// Returns whether something has waited since a poll long before `now`, while the reactor was not run.
    fn is_impatient(&self, now: u64) -> bool {
        match self.idle_since.load(Ordering::Relaxed) {
            0 => {
                self.idle_since.store(now.max(1), Ordering::Relaxed);
                false
            }
            since => now.saturating_sub(since) >= PATIENCE,
        }
    }

    /// Reports that `run` returns and leaves a task of the pool's own spawner, if such a task has waited during this `run`
    /// and `is_waiting`: a source or a timer still has a waker.
    pub(crate) fn note_end_of_run(&self, is_waiting: impl FnOnce() -> bool) {
        if self.state.load(Ordering::Relaxed) & STRANGER != 0 && is_waiting() && self.is_first(REPORTED_LEFT) {
            trace::left_behind();
        }
    }

    /// Returns whether the case `report` has not been reported yet. From now on it has.
    fn is_first(&self, report: u16) -> bool {
        self.state.fetch_or(report, Ordering::Relaxed) & report == 0
    }
}

/// The mark of an active `run` method; from [`Runner::begin`].
#[must_use = "the reactor is marked as run while the guard lives"]
pub(crate) struct RunGuard<'a>(&'a Runner);

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!(METHOD | LOOP), Ordering::Relaxed);
        self.0.idle_since.store(0, Ordering::Relaxed);
    }
}
