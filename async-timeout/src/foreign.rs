//! Runs wakers, which are code of the user, without losing a wake to a panic.
//!
//! A waker may panic when it is woken or dropped, and may call back into this crate. So callers hold no lock.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;
use std::thread;

/// Wakes all `wakers` in order. If a waker panics, the rest are woken all the same.
///
/// `wakers` may take a lock for each next waker, but must have released it when it returns the waker.
///
/// # Panics
///
/// With the first panic of a waker, once all are woken. A thread that unwinds already does not panic: that would end the
/// process.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for_all(wakers, Waker::wake);
}

/// Drops wakers that are not needed any more. If the drop of a waker panics, the rest are dropped all the same.
///
/// # Panics
///
/// With the first panic, once all are dropped. A thread that unwinds already does not panic.
pub(crate) fn drop_all(wakers: impl IntoIterator<Item = Waker>) {
    for_all(wakers, drop);
}

/// Calls `act` for all wakers, also after a panic, and panics at the end.
fn for_all(wakers: impl IntoIterator<Item = Waker>, act: fn(Waker)) {
    let mut wakers = wakers.into_iter();
    let mut first = None;
    // One `catch_unwind` covers all wakers up to the next panic.
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| wakers.by_ref().for_each(act))) {
        match first {
            None => first = Some(panic),
            Some(_) => drop_payload(panic),
        }
    }
    match first {
        Some(panic) if thread::panicking() => drop_payload(panic),
        Some(panic) => resume_unwind(panic),
        None => {}
    }
}

/// Drops the payload of a panic. If the drop panics, too, the second payload is leaked: its drop could go on like that.
fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(worse) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        mem::forget(worse);
    }
}
