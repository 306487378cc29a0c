//! Which signals have listeners in this process, and what each listener has heard.
//!
//! The action of a signal belongs to the process, so the [`Listeners`] are a global, behind a lock that the handler never
//! takes. The first listener of a signal saves the action and installs the handler; the last one puts the saved action
//! back. If other code has installed a handler of its own meanwhile, this one stays.
//!
//! The hard idea is `fork(2)`. A child inherits the handler, and the listeners are copies that nothing will wake: a SIGTERM
//! would be swallowed. So the child gets the old actions back, in the handlers of `pthread_atfork(3)`:
//!
//! ```text
//!   before, in the parent   block all signals on this thread, lock the listeners
//!   fork                    the child has the signal mask, the lock and the handler of its parent
//!   after, in the child     put the old actions back, forget all listeners, unlock, unblock
//!   after, in the parent    unlock, unblock
//! ```
//!
//! A signal that is sent to the child meanwhile stays pending until the old action is there. The lock keeps another
//! thread's change from being copied half-done, and a child from finding the lock held by a thread that it does not have.
//! A child that was made by a bare `clone(2)` runs none of this: there the handler only counts, until the child makes a
//! listener of its own.

use super::number::Signal;
use super::sys::{self, Action, Blocked, NUMBERS};
use crate::sys::{ForkMark, eventfd};
use std::cell::Cell;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The listeners of this process.
static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners {
    process: None,
    subscriptions: 0,
    wake: None,
    entries: [Entry { listeners: 0, before: None }; NUMBERS],
});

/// All listeners of a process.
struct Listeners {
    /// The process that the rest belongs to. `None` until the first subscription.
    process: Option<ForkMark>,
    /// The number of subscriptions. The eventfd is open while there are some.
    subscriptions: usize,
    /// The eventfd that the handler writes to.
    wake: Option<OwnedFd>,
    /// What is known of each signal, by its number.
    entries: [Entry; NUMBERS],
}

/// What is known of a signal.
#[derive(Clone, Copy)]
struct Entry {
    /// The number of subscriptions with this signal. The handler is installed while there are some.
    listeners: usize,
    /// The action that the handler has replaced last. Kept without a listener, because other code may put the handler back.
    before: Option<Action>,
}

impl Listeners {
    /// Counts a subscription. Returns a duplicate of the eventfd.
    fn enter(&mut self) -> io::Result<OwnedFd> {
        if self.process.is_some_and(ForkMark::is_child) {
            self.leave_parent();
        }
        if self.process.is_none() {
            sys::at_fork(before_fork, after_fork_in_parent, after_fork_in_child)?;
            self.process = Some(ForkMark::new());
        }
        let (wake, duplicate) = match &mut self.wake {
            Some(wake) => {
                let duplicate = wake.try_clone()?;
                (wake, duplicate)
            }
            empty => {
                // Kept only with its duplicate: without a subscription, nothing would close it.
                let wake = eventfd()?;
                let duplicate = wake.try_clone()?;
                (empty.insert(wake), duplicate)
            }
        };
        sys::open_wake(wake.as_fd());
        self.subscriptions += 1;
        Ok(duplicate)
    }

    /// Counts the end of a subscription. The last one closes the eventfd.
    fn leave(&mut self) {
        self.subscriptions -= 1;
        // If a handler is still running, the eventfd is kept for the next subscription.
        if self.subscriptions == 0 && sys::close_wake() {
            self.wake = None;
        }
    }

    /// Counts a listener of `signal`. The first one installs the handler.
    fn add(&mut self, signal: Signal) -> io::Result<()> {
        let entry = &mut self.entries[signal.as_raw() as usize];
        if entry.listeners == 0 {
            let present = Action::present(signal.as_raw())?;
            // The handler without a listener was put back by other code. What it has replaced is known.
            let before = entry.before.filter(|_| present.is_handler()).unwrap_or(present);
            sys::set_listened(signal.as_raw(), Some(&before));
            Action::handler().set(signal.as_raw()).inspect_err(|_| sys::set_listened(signal.as_raw(), None))?;
            entry.before = Some(before);
        }
        entry.listeners += 1;
        Ok(())
    }

    /// Counts the end of a listener of `signal`. The last one puts the old action back.
    fn remove(&mut self, signal: Signal) {
        let entry = &mut self.entries[signal.as_raw() as usize];
        entry.listeners -= 1;
        if entry.listeners == 0 {
            entry.restore(signal.as_raw());
        }
    }

    /// Forgets the listeners of the parent, in a forked child, and puts the old actions back.
    fn leave_parent(&mut self) {
        sys::leave_wake();
        for (signal, entry) in (0..).zip(&mut self.entries) {
            entry.listeners = 0;
            entry.restore(signal);
        }
        // Closes the child's descriptor. The parent keeps its own.
        self.wake = None;
        self.subscriptions = 0;
        if self.process.is_some() {
            self.process = Some(ForkMark::new());
        }
    }
}

impl Entry {
    /// Puts the action back that the handler has replaced. Does nothing if there is none, or if other code has replaced
    /// the handler meanwhile.
    fn restore(&self, signal: i32) {
        let Some(before) = self.before else { return };
        sys::set_listened(signal, None);
        if Action::present(signal).is_ok_and(|present| present.is_handler()) {
            // Cannot fail: the signal has had this action before.
            let _ = before.set(signal);
        }
    }
}

/// Locks the listeners. A panic cannot leave them half-changed: no other code runs under this lock.
fn lock() -> MutexGuard<'static, Listeners> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread holds while it forks. The fields are dropped in this order: the actions are in place before signals
/// arrive.
struct Fork {
    /// The lock.
    listeners: MutexGuard<'static, Listeners>,
    /// Holds signals back.
    _blocked: Blocked,
}

thread_local! {
    /// The fork that this thread is in. `ManuallyDrop`, because a thread-local with drop code could not be used any more
    /// at the end of a thread.
    static FORK: Cell<Option<ManuallyDrop<Fork>>> = const { Cell::new(None) };
}

/// Runs before each fork, in the parent.
extern "C" fn before_fork() {
    let blocked = Blocked::all();
    FORK.set(Some(ManuallyDrop::new(Fork { listeners: lock(), _blocked: blocked })));
}

/// Runs after each fork, in the parent.
extern "C" fn after_fork_in_parent() {
    drop(FORK.take().map(ManuallyDrop::into_inner));
}

/// Runs after each fork, in the child, on its only thread.
extern "C" fn after_fork_in_child() {
    if let Some(fork) = FORK.take() {
        let mut fork = ManuallyDrop::into_inner(fork);
        fork.listeners.leave_parent();
    }
}

/// A set of signals that one listener hears, and what it has heard.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The signals, and the count of each when it was heard last.
    heard: Vec<(Signal, u64)>,
    /// The place in `heard` to look at first, so that a frequent signal does not hide another.
    next: usize,
    /// The process that has subscribed. In a forked child, the subscription is a copy that counts nowhere.
    process: ForkMark,
}

impl Subscription {
    /// Returns a subscription without signals, and a duplicate of the eventfd, to be registered edge-triggered for
    /// reading.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let wake = lock().enter()?;
        Ok((Self { heard: Vec::new(), next: 0, process: ForkMark::new() }, wake))
    }

    /// Adds a signal that a process [can](Signal::check_listener) listen for. From now on, each arrival is heard.
    pub(crate) fn add(&mut self, signal: Signal) -> io::Result<()> {
        if self.heard.iter().any(|&(other, _)| other == signal) {
            return Ok(());
        }
        // Read before the handler is there: what it counts is new.
        let count = sys::count(signal.as_raw());
        lock().add(signal)?;
        self.heard.push((signal, count));
        Ok(())
    }

    /// Returns the signals.
    pub(crate) fn signals(&self) -> impl Iterator<Item = Signal> {
        self.heard.iter().map(|&(signal, _)| signal)
    }

    /// Returns a signal that has arrived since it was last returned. `None` in a forked child, which does not hear the
    /// signals of its parent.
    pub(crate) fn take(&mut self) -> Option<Signal> {
        if self.process.is_child() {
            return None;
        }
        let (first, length) = (self.next, self.heard.len());
        for place in (first..length).chain(0..first) {
            let (signal, heard) = &mut self.heard[place];
            let count = sys::count(signal.as_raw());
            if *heard != count {
                *heard = count;
                self.next = place + 1;
                return Some(*signal);
            }
        }
        None
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.process.is_child() {
            return;
        }
        let mut listeners = lock();
        self.heard.iter().for_each(|&(signal, _)| listeners.remove(signal));
        listeners.leave();
    }
}
