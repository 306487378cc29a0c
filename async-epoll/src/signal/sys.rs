//! The signal handler, and the system calls to install it: the only file of this room with `unsafe` code.
//!
//! The handler may run at any time, on any thread, between any two instructions. So it makes only calls that
//! [`signal-safety(7)`](https://man7.org/linux/man-pages/man7/signal-safety.7.html) lists, works on atomics, and leaves
//! `errno` as it was. It calls no earlier handler.
//!
//! Three hard ideas:
//!
//! - **Closing the eventfd.** A handler on another thread may have read the descriptor's number and not written yet. If the
//!   number were closed and reused meanwhile, the handler would write to a file of other code. So the handler is counted
//!   while it runs. [`close_wake`] first takes the number away and then waits until no handler runs. Both sides write one
//!   word and then read the other: in the one order of all `SeqCst` operations, either the handler finds no number, or the
//!   closing thread finds the handler. The handler is no longer installed by then, so the wait is short. It is bounded all
//!   the same.
//! - **A forked child** shares the eventfd, and a write would wake the parent. The handler compares the number of the
//!   process ([`process_number`]) with the owner's number, and writes only in the owner.
//! - **A handler without listeners.** Other code may save the handler and put it back after the last listener has gone, as
//!   `system(3)` on another thread does with SIGINT. The signal would do nothing from then on.
//!   So a handler that finds no listener [puts the old action back](give_back) and sends the signal again. Whether there is
//!   a listener is asked once, before anything else, so a signal is either heard or sent again, never both.
#![allow(unsafe_code)]

use crate::sys::process_number;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// One more than the highest signal number.
pub(crate) const NUMBERS: usize = 65;

/// How often [`close_wake`] yields to a handler that runs on another thread.
const PATIENCE: u32 = 10_000;

/// How often each signal has arrived, by its number. Incremented by the handler alone.
static COUNTS: [AtomicU64; NUMBERS] = [const { AtomicU64::new(0) }; NUMBERS];

/// Whether each signal has a listener, by its number. Written by [`set_listened`].
static LISTENED: [AtomicBool; NUMBERS] = [const { AtomicBool::new(false) }; NUMBERS];

/// What the handler has replaced, by the number of the signal: `SIG_DFL`, `SIG_IGN`, or a handler of other code. Written by
/// [`set_listened`].
static REPLACED: [AtomicUsize; NUMBERS] = [const { AtomicUsize::new(libc::SIG_DFL) }; NUMBERS];

/// The number of the eventfd that the handler writes to, or -1. Written by [`open_wake`] and [`close_wake`].
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// The number of the process that has opened the eventfd.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// The number of handlers that run at this moment.
static RUNNING: AtomicU32 = AtomicU32::new(0);

/// The handler: counts the signal, and ends the sleep of the reactors of all listeners.
extern "C" fn handle(signal: libc::c_int) {
    // SAFETY: Returns the address of this thread's `errno`, which is always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: `errno` points to an integer of this thread.
    let before = unsafe { errno.read() };
    if is_listened(signal) || !give_back(signal) {
        hear(signal);
    }
    // SAFETY: As above.
    unsafe { errno.write(before) };
}

/// Counts a signal, and writes to the eventfd.
fn hear(signal: libc::c_int) {
    if let Some(count) = COUNTS.get(signal.unsigned_abs() as usize) {
        // Before the write: a listener that the write wakes has to find the new count.
        count.fetch_add(1, Ordering::SeqCst);
    }
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let fd = WAKE.load(Ordering::SeqCst);
    if fd != -1 && process_number() == OWNER.load(Ordering::Relaxed) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: The kernel reads the 8 bytes of `one`. The descriptor is open while `RUNNING` counts this handler. The
        // write does not block: the eventfd is non-blocking. It fails only after 2⁶⁴ - 2 writes.
        unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
    }
    RUNNING.fetch_sub(1, Ordering::SeqCst);
}

/// Returns whether a signal has a listener.
fn is_listened(signal: libc::c_int) -> bool {
    LISTENED.get(signal.unsigned_abs() as usize).is_some_and(|listened| listened.load(Ordering::SeqCst))
}

/// Puts the old action of a signal without listeners back, and sends the signal to this thread again: it arrives when the
/// handler returns. Returns `false`, and leaves the handler installed, if there is a listener after all.
///
/// Does nothing if a handler of other code is installed, which has called this one, or was there before.
///
/// The race with a new listener on another thread, where "ours" is the handler of this file:
///
/// ```text
///   this handler                                    the new listener
///   no listener; the present action is ours
///                                                   LISTENED = true; install ours
///   install the old action
///   there is a listener: install ours
/// ```
///
/// If the listener comes after the second look, it installs the handler itself, later than this handler the old action.
fn give_back(signal: libc::c_int) -> bool {
    let replaced = REPLACED.get(signal.unsigned_abs() as usize).map(|replaced| replaced.load(Ordering::SeqCst));
    let Some(old @ (libc::SIG_DFL | libc::SIG_IGN)) = replaced else { return true };
    if !Action::present(signal).is_ok_and(|present| present.is_handler()) {
        return true;
    }
    // Neither call can fail: the signal has had both actions.
    let _ = Action::plain(old).set(signal);
    if is_listened(signal) {
        let _ = Action::handler().set(signal);
        return false;
    }
    // SAFETY: Takes an integer. `raise` is safe in a handler.
    unsafe { libc::raise(signal) };
    true
}

/// Notes the first listener of `signal`, before the handler replaces `action`; or with `None` the end of the last one,
/// before the action is put back.
pub(crate) fn set_listened(signal: i32, action: Option<&Action>) {
    let number = signal.unsigned_abs() as usize;
    if let (Some(action), Some(replaced)) = (action, REPLACED.get(number)) {
        replaced.store(action.0.sa_sigaction, Ordering::SeqCst);
    }
    if let Some(listened) = LISTENED.get(number) {
        listened.store(action.is_some(), Ordering::SeqCst);
    }
}

/// Returns how often the handler has counted `signal`.
pub(crate) fn count(signal: i32) -> u64 {
    COUNTS.get(signal.unsigned_abs() as usize).map_or(0, |count| count.load(Ordering::SeqCst))
}

/// Gives the handler an eventfd. The descriptor has to stay open until [`close_wake`] returns `true`.
pub(crate) fn open_wake(eventfd: BorrowedFd<'_>) {
    OWNER.store(process_number(), Ordering::Relaxed);
    WAKE.store(eventfd.as_raw_fd(), Ordering::SeqCst);
}

/// Takes the eventfd away from the handler. Returns whether the descriptor may be closed: not if a handler has not
/// returned for long, because a debugger has stopped its thread, for example.
pub(crate) fn close_wake() -> bool {
    WAKE.store(-1, Ordering::SeqCst);
    for _ in 0..PATIENCE {
        if RUNNING.load(Ordering::SeqCst) == 0 {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// Takes the parent's eventfd away from the handler, in a forked child. The child has one thread, so no handler runs, but
/// the count may be that of the parent's threads.
pub(crate) fn leave_wake() {
    WAKE.store(-1, Ordering::SeqCst);
    RUNNING.store(0, Ordering::SeqCst);
}

/// What the process does on a signal: see [`sigaction(2)`](https://man7.org/linux/man-pages/man2/sigaction.2.html).
#[derive(Clone, Copy)]
pub(crate) struct Action(libc::sigaction);

impl Action {
    /// Returns an action without flags: `SIG_DFL`, `SIG_IGN`, or a handler.
    fn plain(action: libc::sighandler_t) -> Self {
        // SAFETY: All zeroes is a valid `sigaction`: no flags, an empty mask.
        let mut plain: libc::sigaction = unsafe { std::mem::zeroed() };
        plain.sa_sigaction = action;
        Self(plain)
    }

    /// Returns the action that calls the [handler](handle). System calls that a signal interrupts are started again
    /// (`SA_RESTART`) if the kernel can do so. The handler uses the alternate stack of a thread that has one
    /// (`SA_ONSTACK`).
    pub(crate) fn handler() -> Self {
        let mut action = Self::plain(handle as *const () as libc::sighandler_t);
        action.0.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        action
    }

    /// Returns the present action of `signal`.
    pub(crate) fn present(signal: i32) -> io::Result<Self> {
        // SAFETY: All zeroes is a valid `sigaction`.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: The kernel writes one structure to `action`, which is borrowed mutably for the call. The null pointer
        // means that the action stays as it is.
        let result = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
        if result == 0 { Ok(Self(action)) } else { Err(io::Error::last_os_error()) }
    }

    /// Makes this the action of `signal`.
    pub(crate) fn set(&self, signal: i32) -> io::Result<()> {
        // SAFETY: The kernel reads one structure. The action is the handler above, which is safe at any time, or an
        // action that `present` has returned for this signal, which was there before.
        let result = unsafe { libc::sigaction(signal, &self.0, std::ptr::null_mut()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Returns whether this action calls the handler of this file.
    pub(crate) fn is_handler(&self) -> bool {
        self.0.sa_sigaction == handle as *const () as libc::sighandler_t
    }
}

/// All signals are blocked on this thread until this is dropped, on the same thread.
pub(crate) struct Blocked {
    /// The signals that were blocked before.
    before: libc::sigset_t,
}

impl Blocked {
    /// Blocks all signals on this thread, by `pthread_sigmask(3)`.
    pub(crate) fn all() -> Self {
        // SAFETY: All zeroes is a valid `sigset_t`, a structure of integers.
        let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `all` is borrowed mutably for the call, which cannot fail.
        unsafe { libc::sigfillset(&mut all) };
        let mut before = all;
        // SAFETY: The first set is only read, the second is borrowed mutably. The call fails for a wrong first argument
        // only.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before) };
        Self { before }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: The set is only read, and the null pointer means that the old set is not wanted.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

/// Registers handlers for forks, by [`pthread_atfork(3)`](https://man7.org/linux/man-pages/man3/pthread_atfork.3.html):
/// `before` and `parent` run in the parent, `child` in the child, all on the thread that forks.
pub(crate) fn at_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) -> io::Result<()> {
    // SAFETY: The three are functions without captures, so they live as long as the program. A panic in them does not
    // unwind into C: it aborts the process.
    match unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
