//! Which sources the reactor knows, and who waits for them.
//!
//! A [`Registration`] is the private half of a [`Source`](crate::Source): the readiness of its two directions and the
//! tasks that wait. The [`Registry`] is the table that leads from the token of an event to a registration.
//!
//! The kernel reuses descriptor numbers at once, so an event may come for a source that is gone while a new one has
//! its number. Therefore tokens are never descriptors (nor pointers): they are an index into the table and a
//! generation that no two registrations share, checked when an event is dispatched.
//!
//! The hard rule is about wakers. Cloning, waking and dropping one runs foreign code, which may come back here. So no
//! waker is cloned, woken or dropped while a lock is held: dispatch moves them into a list and the reactor wakes them
//! after it has released everything. Who waits for what is written down in [`Waiters`].

use super::interest::{Interest, Want};
use super::readiness::{self, ReadinessWord, Snapshot};
use super::waiters::Waiters;
use crate::sys::epoll_event;
use crate::table::Table;
use crate::trace;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The token of the notifier's eventfd, which no registration ever has.
pub(crate) const NOTIFIER_TOKEN: u64 = u64::MAX;
/// The token of the timerfd, which no registration ever has.
pub(crate) const TIMERFD_TOKEN: u64 = u64::MAX - 1;
/// The token of a source that is not registered.
const NO_TOKEN: u64 = u64::MAX - 2;

/// Returns whether an event with this token is the reactor's own, of its eventfd or its timerfd.
pub(crate) const fn is_own_token(token: u64) -> bool {
    token >= TIMERFD_TOKEN
}

/// The reactor's half of a source.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Index and generation, or [`NO_TOKEN`].
    token: AtomicU64,
    /// What is known of reading.
    pub(crate) read: ReadinessWord,
    /// What is known of writing.
    pub(crate) write: ReadinessWord,
    /// Who waits. Locked for a few instructions at a time, never across foreign code.
    waiters: Mutex<Waiters>,
    /// The descriptor's number, for deregistering and for traces. The source keeps it open.
    pub(crate) fd: RawFd,
    /// What to ask the kernel for.
    pub(crate) interest: Interest,
    /// Closing the descriptor deregisters it, since no other descriptor refers to the same open file.
    pub(crate) close_deregisters: AtomicBool,
}

impl Registration {
    /// For the descriptor `fd`, which the kernel has not been told of yet.
    pub(crate) fn new(fd: RawFd, interest: Interest, close_deregisters: bool) -> Self {
        Self {
            token: AtomicU64::new(NO_TOKEN),
            read: ReadinessWord::new(),
            write: ReadinessWord::new(),
            waiters: Mutex::default(),
            fd,
            interest,
            close_deregisters: AtomicBool::new(close_deregisters),
        }
    }

    /// The direction that matters for `want`.
    pub(crate) const fn direction(&self, want: Want) -> &ReadinessWord {
        match want {
            Want::Read | Want::Priority => &self.read,
            Want::Write => &self.write,
        }
    }

    /// The token, if registered.
    pub(crate) fn token(&self) -> Option<u64> {
        Some(self.token.load(Ordering::Acquire)).filter(|&token| token != NO_TOKEN)
    }

    /// Adds `waker` to those that wait for `want`, unless an event has just come; returns what it saw then.
    ///
    /// Dispatch notes the event first and locks the waiters second. So either it finds this waker in the list, or the
    /// look under the lock finds the event.
    pub(crate) fn wait(&self, want: Want, waker: &Waker, is_over: impl Fn(Snapshot) -> bool) -> Option<Snapshot> {
        // Cloning runs foreign code, and so does dropping: neither under the lock.
        let waker = waker.clone();
        let mut waiters = self.lock();
        let seen = self.direction(want).snapshot();
        if is_over(seen) {
            drop(waiters);
            drop(waker);
            return Some(seen);
        }
        let displaced = waiters.insert(want, waker);
        drop(waiters);
        if let Some(displaced) = displaced {
            displaced.settle();
        }
        None
    }

    /// Notes an event and takes those whom it concerns.
    fn dispatch(&self, events: u32, wakers: &mut Vec<Waker>) {
        let concerned = readiness::merge(&self.read, &self.write, events);
        self.lock().take(concerned, wakers);
    }

    /// Takes all who wait, whatever for. The caller drops or wakes them, holding no lock.
    pub(crate) fn take_all(&self, wakers: &mut Vec<Waker>) {
        let everybody = readiness::Concerned { readers: true, writers: true, priority: true };
        self.lock().take(everybody, wakers);
    }

    /// The waiters. Nothing under this lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table of all registered sources.
#[derive(Debug)]
pub(crate) struct Registry {
    /// By index; each entry with its generation.
    sources: Table<(Arc<Registration>, u32)>,
    /// The generation of the next registration.
    generation: u32,
    /// The reactor is gone, nothing can be added any more.
    closed: bool,
}

impl Registry {
    /// Empty.
    pub(crate) const fn new() -> Self {
        Self { sources: Table::new(), generation: 0, closed: false }
    }

    /// Sources in the table.
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether the reactor is gone.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Enters `registration` and returns its token.
    pub(crate) fn insert(&mut self, registration: &Arc<Registration>) -> u64 {
        let generation = self.generation;
        self.generation = self.generation.wrapping_add(1);
        let index = self.sources.insert_with(|_| (Arc::clone(registration), generation));
        let token = u64::from(generation) << 32 | u64::from(index);
        // Their indices would need 4·10⁹ open descriptors, so the special tokens are never hit.
        registration.token.store(token, Ordering::Release);
        token
    }

    /// Whether some source other than `registration` has the same descriptor. Looks at the whole table.
    pub(crate) fn has_another(&self, registration: &Registration) -> bool {
        let same = |source: &Arc<Registration>| source.fd == registration.fd && source.token() != registration.token();
        self.sources.iter().any(|(source, _)| same(source))
    }

    /// Strikes `registration` out, if it is in. The caller drops the result after it has released the table's lock.
    pub(crate) fn remove(&mut self, registration: &Registration) -> Option<Arc<Registration>> {
        let token = registration.token.swap(NO_TOKEN, Ordering::AcqRel);
        let (index, generation) = split(token);
        if token == NO_TOKEN || self.sources.get(index).is_none_or(|entry| entry.1 != generation) {
            return None;
        }
        Some(self.sources.remove(index).0)
    }

    /// Notes each event at its source and takes the wakers of those concerned. Returns how many sources it found, and
    /// writes them down in `log`, if that is wanted.
    pub(crate) fn dispatch(&self, events: &[epoll_event], wakers: &mut Vec<Waker>, log: &mut trace::Log) -> usize {
        let mut found = 0;
        for event in events {
            let (token, events) = (event.u64, event.events);
            let (index, generation) = split(token);
            // An unknown token is that of a source that was removed meanwhile.
            if let Some((source, _)) = self.sources.get(index).filter(|entry| entry.1 == generation) {
                log.event(source.fd, events);
                source.dispatch(events, wakers);
                found += 1;
            }
        }
        found
    }

    /// Shows everybody who waits for a source. The visitor must not run foreign code: the table is locked.
    #[cfg(feature = "inspect")]
    pub(crate) fn visit_waiters(&self, mut visit: impl FnMut(RawFd, Want, &Waker)) {
        for (source, _) in self.sources.iter() {
            source.lock().visit(|want, waker| visit(source.fd, want, waker));
        }
    }

    /// The reactor goes away: empties the table, tells every source, takes every waker.
    pub(crate) fn close(&mut self, wakers: &mut Vec<Waker>) -> Vec<Arc<Registration>> {
        self.closed = true;
        let sources: Vec<_> = self.sources.take_all().into_iter().map(|(source, _)| source).collect();
        for source in &sources {
            source.token.store(NO_TOKEN, Ordering::Release);
            source.read.set_gone();
            source.write.set_gone();
            source.take_all(wakers);
        }
        sources
    }
}

/// A token's index and generation.
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

    /// Bug A1, A11: a token of a removed source never reaches the one that has taken its place.
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

    /// Bug D7: several tasks on one direction; each is entered once, all are taken.
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
            assert_eq!(source.wait(Want::Read, waker, Snapshot::is_ready), None);
        }
        assert_eq!(source.wait(Want::Priority, &tasks[0], Snapshot::is_priority), None);
        let mut wakers = Vec::new();
        source.dispatch(libc::EPOLLOUT as u32, &mut wakers);
        assert!(wakers.is_empty(), "nobody waits to write");
        source.dispatch(libc::EPOLLIN as u32, &mut wakers);
        assert_eq!(wakers.len(), 5, "all readers, not the one that waits for priority");
        source.take_all(&mut wakers);
        assert_eq!(wakers.len(), 6);
    }
}
