//! The listeners of this process that have paused because descriptors or memory ran out.
//!
//! A paused listener waits for a timer, and so would often wait too long: the kernel does not report that a descriptor
//! has become free. But the sockets of this crate are closed here, and most descriptors of a server are sockets. So
//! each [`Socket`](super::socket::Socket) owns a [`CloseNotice`], which is dropped after the descriptor is closed and
//! ends all pauses:
//!
//! ```text
//!   accept loop: EMFILE ──► PausedListener::register ──► poll: pending
//!                                                           ▲ wakes
//!   any thread:  a socket is dropped ──► close(2) ──► CloseNotice is dropped
//! ```
//!
//! There is one list per process, since the whole process has run out of descriptors: a listener of one thread
//! continues when a socket of another thread is closed. Usually no listener has paused; then closing a socket costs one
//! load of a number that does not change.
//!
//! # Why no notice is lost
//!
//! A socket may be closed on another thread between the error and the registration. At this time there is no entry to
//! wake. So a listener registers first, then accepts once more. As a result, either `accept(2)` finds the free
//! descriptor, or the thread that closes finds the entry. Both go through the kernel's lock of the descriptor table,
//! one after the other:
//!
//! ```text
//!   listener:  register ──► accept: lock, none is free, unlock
//!   closer:                 close:  lock, free one, unlock ──► load the count
//! ```
//!
//! # Forks
//!
//! A thread of the parent may hold the lock of the list at a fork, and then nothing releases it in the child. So a child
//! never waits for the lock. If it cannot have the lock, a notice is lost, and the pause lasts until its time is over.
//!
//! `accept/` decides when a listener pauses, and for how long.

use crate::foreign::contain;
use async_epoll::ForkMark;
use futures::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll};

/// The registration of a paused listener in the list. Dropping it removes the entry.
#[derive(Debug)]
pub(crate) struct PausedListener {
    /// The entry, shared with the list until a notice empties the list.
    entry: Arc<Entry>,
}

impl PausedListener {
    /// Registers a listener: adds an entry to the list.
    pub(crate) fn register() -> Self {
        let entry = Arc::<Entry>::default();
        if let Some(mut entries) = PAUSED.lock() {
            entries.push(Arc::clone(&entry));
            PAUSED.set_count(&entries);
        }
        Self { entry }
    }

    /// Waits until a descriptor has been closed after the registration.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Register the waker before the flag is loaded: a later notice finds the waker, an earlier one has set the
        // flag.
        self.entry.waker.register(cx.waker());
        if self.entry.is_released.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for PausedListener {
    fn drop(&mut self) {
        let Some(mut entries) = PAUSED.lock() else { return };
        entries.retain(|other| !Arc::ptr_eq(other, &self.entry));
        PAUSED.set_count(&entries);
        // No waker is dropped under the lock: `self.entry` still refers to it, and is dropped afterwards.
    }
}

/// The state of a paused listener, shared by the listener and the list.
#[derive(Debug, Default)]
struct Entry {
    /// Whether a descriptor has been closed since the registration. Set once, by a [`CloseNotice`].
    is_released: AtomicBool,
    /// The waker of the listener's task. Registered by each poll of a pause.
    waker: AtomicWaker,
}

/// A list of paused listeners.
struct Paused {
    /// The length of `entries`. Stored under the lock, loaded without it.
    count: AtomicUsize,
    /// The entries, the oldest first. Added by a registration, removed by its drop; a notice removes all.
    entries: Mutex<Vec<Arc<Entry>>>,
    /// The number of the process that was the first to lock the list; 0 before. Set once.
    process: AtomicU32,
}

/// The list of this process. The top of this file says why there is only one.
static PAUSED: Paused =
    Paused { count: AtomicUsize::new(0), entries: Mutex::new(Vec::new()), process: AtomicU32::new(0) };

impl Paused {
    /// Locks the list. Returns `None` in a forked child that cannot have the lock. A panic cannot leave the list half-changed:
    /// no user code runs under this lock.
    fn lock(&self) -> Option<MutexGuard<'_, Vec<Arc<Entry>>>> {
        let this = ForkMark::new().number().get();
        match self.process.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed) {
            Err(first) if first != this => match self.entries.try_lock() {
                Ok(entries) => Some(entries),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            },
            _ => Some(self.entries.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Stores the current length of the list.
    fn set_count(&self, entries: &MutexGuard<'_, Vec<Arc<Entry>>>) {
        // The kernel's lock orders this store against closing, as explained above; the list's lock orders the stores.
        self.count.store(entries.len(), Ordering::Relaxed);
    }

    /// Ends all pauses, since any of the listeners may have a connection in its queue.
    #[cold]
    fn release(&self) {
        let Some(mut entries) = self.lock() else { return };
        let released = std::mem::take(&mut *entries);
        self.set_count(&entries);
        drop(entries);
        for entry in released {
            entry.is_released.store(true, Ordering::Release);
            // A waker is user code. Its panic must not reach the code that drops a socket, nor keep the other entries
            // waiting.
            contain(|| entry.waker.wake());
        }
    }
}

/// A notice that a descriptor has been closed, given when this value is dropped.
#[derive(Debug)]
pub(crate) struct CloseNotice;

impl Drop for CloseNotice {
    #[inline]
    fn drop(&mut self) {
        if PAUSED.count.load(Ordering::Relaxed) != 0 {
            PAUSED.release();
        }
    }
}

/// Returns the number of paused listeners.
#[cfg(test)]
pub(crate) fn count() -> usize {
    PAUSED.count.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found 12a: a child whose parent held the lock at the fork neither waits nor wakes. With the lock free, it ends the
    /// pauses.
    #[test]
    fn a_list_that_a_child_has_inherited() {
        for is_locked in [false, true] {
            let entry = Arc::<Entry>::default();
            let parent = ForkMark::new().number().get().wrapping_add(1);
            let list = Paused {
                count: AtomicUsize::new(1),
                entries: Mutex::new(vec![Arc::clone(&entry)]),
                process: AtomicU32::new(parent),
            };
            if is_locked {
                std::mem::forget(list.entries.lock());
            }
            list.release();
            assert_eq!(entry.is_released.load(Ordering::SeqCst), !is_locked);
        }
    }

    /// The threads of the first process wait for the lock.
    #[test]
    fn threads_wait_for_each_other() {
        let list = Paused { count: AtomicUsize::new(0), entries: Mutex::default(), process: AtomicU32::new(0) };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| list.lock().expect("the lock").push(Arc::default())));
            }
        });
        assert_eq!(list.lock().unwrap().len(), 4000);
    }
}
