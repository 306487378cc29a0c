//! Wakers and panic payloads are the user's code: how to run it without losing anything.
//!
//! A waker may panic when it is woken, and the payload of a panic may panic when it is dropped. The functions here are
//! for callers that hold no lock and no `RefCell` borrow, since either may call back into the reactor.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Drops of panic payloads in a row, each of which may panic with a further payload, before the last one is leaked.
const MAX_PAYLOADS: usize = 8;

/// Wakes in order and empties the list. A waker that panics does not keep the others from being woken: its payload goes
/// to `on_panic`.
///
/// One guard serves all wakers up to the next panic.
pub(crate) fn wake_all(wakers: &mut Vec<Waker>, mut on_panic: impl FnMut(Box<dyn Any + Send>)) {
    let mut wakers = wakers.drain(..);
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| wakers.by_ref().for_each(Waker::wake))) {
        on_panic(panic);
    }
}

/// Drops the payload of a panic.
///
/// The drop may panic with a payload that panics when it is dropped, and so on: after [`MAX_PAYLOADS`] the last one is
/// leaked.
pub(crate) fn drop_payload(mut payload: Box<dyn Any + Send>) {
    for _ in 0..MAX_PAYLOADS {
        match catch_unwind(AssertUnwindSafe(move || drop(payload))) {
            Ok(()) => return,
            Err(worse) => payload = worse,
        }
    }
    std::mem::forget(payload);
}
