//! The listeners of this process that have paused because descriptors or memory ran out.
//!
//! A paused listener waits for time to pass, and would sleep longer than it must: the kernel does not report when a
//! descriptor becomes free. But the sockets of this crate are closed here, and in a server these are most descriptors.
//! So each [`Socket`](super::socket::Socket) owns a [`CloseNotice`], which is dropped after the descriptor is closed and
//! ends all pauses:
//!
//! ```text
//!   accept loop: EMFILE ──► PausedListener::register ──► poll: pending
//!                                                           ▲ wakes
//!   any thread:  a socket is dropped ──► close(2) ──► CloseNotice is dropped
//! ```
//!
//! The list belongs to the process, since the process has run out of descriptors: the listener of one thread goes on when
//! a socket of another thread is closed. While no listener has paused, which is nearly always, closing a socket costs one
//! load of a number that does not change.
//!
//! # Why no notice is lost
//!
//! A socket may be closed on another thread between the error and the registration, and then there is no entry to wake.
//! So a listener registers first, then accepts once more. Then one of two things is true: `accept(2)` finds the free
//! descriptor, or the thread that frees one finds the entry. Both go through the kernel's lock of the descriptor table,
//! one after the other:
//!
//! ```text
//!   listener:  register ──► accept: lock, none is free, unlock
//!   closer:                 close:  lock, free one, unlock ──► load the count
//! ```
//!
//! How long a pause is, and when to pause, is decided in `accept/`.

use futures::task::AtomicWaker;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// A paused listener's place in the list; dropping it removes the entry.
#[derive(Debug)]
pub(crate) struct PausedListener {
    entry: Arc<Entry>,
}

impl PausedListener {
    /// Adds an entry to the list.
    pub(crate) fn register() -> Self {
        let entry = Arc::<Entry>::default();
        let mut entries = PAUSED.lock();
        entries.push(Arc::clone(&entry));
        PAUSED.set_count(&entries);
        Self { entry }
    }

    /// Waits until a descriptor has been closed after the registration.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The waker first: a notice that comes later finds the waker, and one that came before has set the flag.
        self.entry.waker.register(cx.waker());
        if self.entry.is_released.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for PausedListener {
    fn drop(&mut self) {
        let mut entries = PAUSED.lock();
        entries.retain(|other| !Arc::ptr_eq(other, &self.entry));
        PAUSED.set_count(&entries);
        // The entry here is the last reference to the waker, and is dropped after the lock.
    }
}

/// What the list knows of a paused listener.
#[derive(Debug, Default)]
struct Entry {
    /// Whether a descriptor has been closed since the registration. Set once, by a [`CloseNotice`].
    is_released: AtomicBool,
    /// The task of the listener. Registered by each poll of a pause.
    waker: AtomicWaker,
}

/// The list.
struct Paused {
    /// The length of `entries`. Stored under the lock, loaded without it.
    count: AtomicUsize,
    entries: Mutex<Vec<Arc<Entry>>>,
}

/// The list of this process: see the top of this file.
static PAUSED: Paused = Paused { count: AtomicUsize::new(0), entries: Mutex::new(Vec::new()) };

impl Paused {
    /// Locks the list. A panic cannot leave it half-changed: no foreign code runs under its lock.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the present length of the list.
    fn set_count(&self, entries: &MutexGuard<'_, Vec<Arc<Entry>>>) {
        // The kernel's lock orders this against closing, see above; the list's lock orders the stores.
        self.count.store(entries.len(), Ordering::Relaxed);
    }

    /// Ends all pauses: each listener may be the one whose queue is not empty.
    #[cold]
    fn release(&self) {
        let mut entries = self.lock();
        let released = std::mem::take(&mut *entries);
        self.set_count(&entries);
        drop(entries);
        for entry in released {
            entry.is_released.store(true, Ordering::Release);
            // A waker is foreign code. This runs where a socket is dropped, and the other entries must be woken as well.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| entry.waker.wake())) {
                // The payload may panic when it is dropped; the payload of that panic is worth less than a leak.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(panic))).map_err(std::mem::forget);
            }
        }
    }
}

/// Announces, when it is dropped, that a descriptor has been closed.
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

/// Returns how many listeners have paused.
#[cfg(test)]
pub(crate) fn count() -> usize {
    PAUSED.count.load(Ordering::SeqCst)
}
