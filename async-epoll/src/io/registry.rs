//! The registered sources, and the table that leads to them.
//!
//! A [`Registration`] is the reactor's half of a [`Source`](crate::Source): the readiness of both directions, and the
//! [`Waiters`]. The [`Registry`] leads from the token of an event to a registration.
//!
//! The kernel reuses descriptor numbers at once, so an event may arrive for a source that is gone, when a new source
//! has the same number. Therefore a token is never a descriptor (nor a pointer). A token is an index into the table and
//! a *generation*, a number that no two registrations share. Dispatch compares the generation.
//!
//! The hard rule is about wakers. Cloning, waking or dropping a waker runs user code, and user code may call back into
//! the reactor. So no waker is cloned, woken or dropped while a lock is held: dispatch moves wakers into a list, and
//! the engine wakes them after it has released all locks.

use super::interest::{Interest, Want};
use super::readiness::{self, Concerned, ReadinessWord, Snapshot};
use super::waiters::{Claim, Waiters};
use crate::sys::{self, ForkMark, epoll_event};
use crate::table::Table;
use crate::trace;
use std::any::Any;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The token of the notifier's eventfd. No registration ever has it.
pub(crate) const NOTIFIER_TOKEN: u64 = u64::MAX;
/// The token of the timerfd. No registration ever has it.
pub(crate) const TIMERFD_TOKEN: u64 = u64::MAX - 1;
/// The value in place of a token in a registration outside the table.
const NO_TOKEN: u64 = u64::MAX - 2;

/// Returns whether an event with this token is the reactor's own, of its eventfd or its timerfd.
pub(crate) const fn is_own_token(token: u64) -> bool {
    token >= TIMERFD_TOKEN
}

/// The reactor's half of a source.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Index and generation, or [`NO_TOKEN`]. Written by the [`Registry`], under its lock.
    token: AtomicU64,
    /// The readiness of reading. Set by dispatch, cleared by operations.
    pub(crate) read: ReadinessWord,
    /// The readiness of writing. Set by dispatch, cleared by operations.
    pub(crate) write: ReadinessWord,
    /// The wakers of the waiting tasks. Locked for a few instructions at a time, never while user code runs.
    waiters: Mutex<Waiters>,
    /// The descriptor's number, for deregistration and for traces. The source keeps the descriptor open.
    pub(crate) fd: RawFd,
    /// The events to ask the kernel for.
    pub(crate) interest: Interest,
    /// The [count of forks](sys::fork_count) when the source was made, if closing the descriptor deregisters it as long
    /// as there is no other descriptor of the open file. [`NOT_BY_CLOSING`] if another descriptor may exist: set by the
    /// source, at the beginning or when it hands out the descriptor, and never taken back.
    sole_since: AtomicU16,
}

/// The value of [`Registration::sole_since`] for a descriptor whose closing may not deregister it.
const NOT_BY_CLOSING: u16 = 0;

impl Registration {
    /// Returns a registration for the descriptor `fd`, which is not in the table and not known to the kernel yet.
    /// `is_sole` says that no other descriptor refers to the same open file, and that dropping the source closes `fd`.
    pub(crate) fn new(fd: RawFd, interest: Interest, is_sole: bool) -> Self {
        Self {
            token: AtomicU64::new(NO_TOKEN),
            read: ReadinessWord::new(),
            write: ReadinessWord::new(),
            waiters: Mutex::default(),
            fd,
            // The kernel reports errors unasked.
            interest: interest | Interest::ERROR,
            sole_since: AtomicU16::new(if is_sole { sys::fork_count() } else { NOT_BY_CLOSING }),
        }
    }

    /// Notes that another descriptor may refer to the same open file, so that closing this one may not deregister it.
    pub(crate) fn note_duplicate(&self) {
        self.sole_since.store(NOT_BY_CLOSING, Ordering::Relaxed);
    }

    /// Returns whether closing the descriptor deregisters it, because no other descriptor can refer to the same open
    /// file: none was noted, and the process has not forked since the source was made.
    pub(crate) fn is_deregistered_by_close(&self) -> bool {
        let (since, forks) = (self.sole_since.load(Ordering::Relaxed), sys::fork_count());
        since == forks && forks != sys::FORKS_UNKNOWN
    }

    /// Returns the readiness of the direction that `want` needs.
    pub(crate) const fn direction(&self, want: Want) -> &ReadinessWord {
        match want {
            Want::Read | Want::Priority | Want::Error => &self.read,
            Want::Write => &self.write,
        }
    }

    /// Returns the token, or `None` if the source is not in the table.
    pub(crate) fn token(&self) -> Option<u64> {
        Some(self.token.load(Ordering::Acquire)).filter(|&token| token != NO_TOKEN)
    }

    /// Adds a clone of `waker` to the waiters for `want`, with the claim of a future or for a poll function. If `is_over`
    /// is true of the current readiness, returns this readiness instead. The payloads of panics of other tasks' wakers go
    /// to `on_panic`.
    ///
    /// No event is missed: dispatch notes the event first and locks the waiters second. So either dispatch finds this
    /// waker in the list, or the snapshot under the lock has the event.
    pub(crate) fn wait(
        &self,
        want: Want,
        waker: &Waker,
        claim: Option<&Claim>,
        on_panic: impl FnMut(Box<dyn Any + Send>),
        is_over: impl Fn(Snapshot) -> bool,
    ) -> Option<Snapshot> {
        // A clone of a waker runs user code, and so does a drop: neither under the lock.
        let waker = waker.clone();
        let mut waiters = self.lock();
        let seen = self.direction(want).snapshot();
        if is_over(seen) {
            drop(waiters);
            drop(waker);
            return Some(seen);
        }
        match waiters.insert(want, waker, claim) {
            None => drop(waiters),
            Some(leftover) => {
                drop(waiters);
                leftover.wake_or_drop(on_panic);
            }
        }
        None
    }

    /// Removes the waker that a future has left with its claim. Returns the waker, unless an event has taken it; the
    /// caller drops the waker. Leaves the waker in a child of `process` that [cannot lock](ForkMark::lock) the waiters.
    pub(crate) fn give_up(&self, want: Want, claim: &Claim, process: ForkMark) -> Option<Waker> {
        process.lock(&self.waiters)?.remove(want, claim)
    }

    /// Notes an event, and moves the wakers concerned to `wakers`.
    fn dispatch(&self, events: u32, wakers: &mut Vec<Waker>) {
        let concerned = readiness::merge(&self.read, &self.write, events);
        self.lock().take(concerned, wakers);
    }

    /// Notes that the kernel has reported an exceptional condition or an error elsewhere than in an event, and moves the
    /// wakers concerned to `wakers` if that is new. Leaves the wakers in a child of `process` that
    /// [cannot lock](ForkMark::lock) the waiters.
    #[cold]
    pub(crate) fn note_reported(&self, priority: bool, error: bool, wakers: &mut Vec<Waker>, process: ForkMark) {
        if let Some(concerned) = readiness::note_reported(&self.read, priority, error) {
            if let Some(mut waiters) = process.lock(&self.waiters) {
                waiters.take(concerned, wakers);
            }
        }
    }

    /// Moves the wakers of all waiters to `wakers`. The caller drops or wakes them when no lock is held. Leaves them in a
    /// child of `process` that [cannot lock](ForkMark::lock) the waiters.
    pub(crate) fn take_all(&self, wakers: &mut Vec<Waker>, process: ForkMark) {
        if let Some(mut waiters) = process.lock(&self.waiters) {
            waiters.take(Concerned::ALL, wakers);
        }
    }

    /// Locks the waiters. No code that can panic half-way runs under this lock.
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table of all registered sources.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The registrations by index, each with its generation.
    sources: Table<(Arc<Registration>, u32)>,
    /// The generation of the next registration.
    generation: u32,
    /// The reactor has been dropped, and nothing can be added any more. Set once, by [`close`](Self::close).
    closed: bool,
}

impl Registry {
    /// Returns an empty table.
    pub(crate) const fn new() -> Self {
        Self { sources: Table::new(), generation: 0, closed: false }
    }

    /// Returns the number of sources in the table.
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Returns whether the reactor has been dropped.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Adds `registration`, and returns its token.
    pub(crate) fn insert(&mut self, registration: &Arc<Registration>) -> u64 {
        let generation = self.generation;
        self.generation = self.generation.wrapping_add(1);
        let index = self.sources.insert_with(|_| (Arc::clone(registration), generation));
        let token = u64::from(generation) << 32 | u64::from(index);
        // The special tokens have indices of about 4·10⁹, more than a process can have descriptors: no source gets
        // them.
        registration.token.store(token, Ordering::Release);
        token
    }

    /// Returns whether a source other than `registration` has the same descriptor. Visits the whole table.
    pub(crate) fn has_another(&self, registration: &Registration) -> bool {
        let same = |source: &Arc<Registration>| source.fd == registration.fd && source.token() != registration.token();
        self.sources.iter().any(|(source, _)| same(source))
    }

    /// Removes `registration`, and returns the table's reference to it, or `None` if it is not in the table. The caller
    /// drops the result after it has released the table's lock.
    pub(crate) fn remove(&mut self, registration: &Registration) -> Option<Arc<Registration>> {
        let token = registration.token.swap(NO_TOKEN, Ordering::AcqRel);
        let (index, generation) = split(token);
        if token == NO_TOKEN || self.sources.get(index).is_none_or(|entry| entry.1 != generation) {
            return None;
        }
        Some(self.sources.remove(index).0)
    }

    /// Notes each event at its source, and moves the wakers concerned to `wakers`. Adds the events to `log`. Returns
    /// the number of events that reached a source.
    pub(crate) fn dispatch(&self, events: &[epoll_event], wakers: &mut Vec<Waker>, log: &mut trace::Log) -> usize {
        let mut found = 0;
        for event in events {
            let (token, events) = (event.u64, event.events);
            let (index, generation) = split(token);
            // An unknown token belongs to a source that was removed meanwhile.
            if let Some((source, _)) = self.sources.get(index).filter(|entry| entry.1 == generation) {
                log.event(source.fd, events);
                source.dispatch(events, wakers);
                found += 1;
            }
        }
        found
    }

    /// Returns whether a task waits for any source.
    pub(crate) fn has_waiters(&self, process: ForkMark) -> bool {
        self.sources.iter().any(|(source, _)| process.lock(&source.waiters).is_some_and(|waiters| !waiters.is_empty()))
    }

    /// Calls `visit` for every waker of every source. `visit` must not run user code: the table is locked.
    #[cfg(any(feature = "inspect", feature = "test-util"))]
    pub(crate) fn visit_waiters(&self, process: ForkMark, mut visit: impl FnMut(RawFd, Want, &Waker)) {
        for (source, _) in self.sources.iter() {
            if let Some(waiters) = process.lock(&source.waiters) {
                waiters.visit(|want, waker| visit(source.fd, want, waker));
            }
        }
    }

    /// Empties the table because the reactor is dropped: marks every source as gone, and moves all wakers to `wakers`.
    /// Returns the sources; the caller drops them after it has released the table's lock.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>, process: ForkMark) -> Vec<Arc<Registration>> {
        self.closed = true;
        let sources: Vec<_> = self.sources.take_all().into_iter().map(|(source, _)| source).collect();
        for source in &sources {
            source.token.store(NO_TOKEN, Ordering::Release);
            source.read.set_gone();
            source.write.set_gone();
            source.take_all(wakers, process);
        }
        sources
    }
}

/// Returns a token's index and generation.
const fn split(token: u64) -> (u32, u32) {
    (token as u32, (token >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(fd: RawFd) -> Registration {
        Registration::new(fd, Interest::ALL, true)
    }

    fn event(token: u64, events: i32) -> epoll_event {
        epoll_event { events: events as u32, u64: token }
    }

    /// Found 4: a wait for errors needs no interest of its own, since the kernel reports errors unasked.
    #[test]
    fn every_registration_includes_errors() {
        let all = [Want::Read, Want::Write, Want::Priority, Want::Error];
        for (interest, included) in [
            (Interest::READABLE, [true, false, false, true]),
            (Interest::WRITABLE, [false, true, false, true]),
            (Interest::PRIORITY, [false, false, true, true]),
            (Interest::ERROR, [false, false, false, true]),
            (Interest::ALL, [true; 4]),
        ] {
            let registration = Registration::new(3, interest, true);
            assert_eq!(all.map(|want| registration.interest.includes(want)), included, "{interest:?}");
        }
    }

    /// Bug A1, A11: the token of a removed source never reaches the source that has taken its index.
    #[test]
    fn stale_tokens_reach_nobody() {
        let mut registry = Registry::new();
        let mut wakers = Vec::new();
        let first = Arc::new(registration(3));
        let stale = registry.insert(&first);
        assert!(registry.remove(&first).is_some());
        assert!(registry.remove(&first).is_none(), "twice");
        let second = Arc::new(registration(3));
        let token = registry.insert(&second);
        assert_eq!(split(token).0, split(stale).0, "the index is reused");
        second.read.set_registered();
        second.read.clear_ready(second.read.snapshot());
        assert_eq!(registry.dispatch(&[event(stale, libc::EPOLLIN)], &mut wakers, &mut trace::Log::new()), 0);
        assert!(!second.read.snapshot().is_ready());
        assert_eq!(
            registry.dispatch(
                &[event(token, libc::EPOLLIN), event(NOTIFIER_TOKEN, 1)],
                &mut wakers,
                &mut trace::Log::new()
            ),
            1
        );
        assert!(second.read.snapshot().is_ready());
    }

    /// Bug D7: of several tasks on one direction each is added once, and all are woken.
    #[test]
    fn every_waiter_is_kept_once() {
        struct Nothing;
        impl std::task::Wake for Nothing {
            fn wake(self: Arc<Self>) {}
        }
        let source = registration(3);
        source.read.set_registered();
        source.read.clear_ready(source.read.snapshot());
        let tasks: Vec<Waker> = (0..5).map(|_| Arc::new(Nothing).into()).collect();
        for waker in tasks.iter().chain(&tasks) {
            assert_eq!(source.wait(Want::Read, waker, None, drop, Snapshot::is_ready), None);
        }
        assert_eq!(source.wait(Want::Priority, &tasks[0], None, drop, Snapshot::ends_priority), None);
        let mut wakers = Vec::new();
        source.dispatch(libc::EPOLLOUT as u32, &mut wakers);
        assert!(wakers.is_empty(), "no task waits to write");
        source.dispatch(libc::EPOLLIN as u32, &mut wakers);
        assert_eq!(wakers.len(), 5, "all readers, but not the waiter for priority");
        source.take_all(&mut wakers, ForkMark::new());
        assert_eq!(wakers.len(), 6);
    }
}
