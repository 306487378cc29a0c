//! Runs user code in wakers and panic payloads, without losing a wake to a panic.
//!
//! A waker may panic when it is woken, and the payload of a panic may panic when it is dropped. Both may call back into
//! the reactor, so callers of these functions hold no lock and no `RefCell` borrow. The callers are the code that wakes
//! (the engine, the waiters of a source, the test clock) and the code that catches the panics of tasks.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// The maximum number of payloads to drop in a row, if each drop panics with a further payload.
const MAX_PAYLOADS: usize = 8;

/// Wakes all `wakers` in order, and empties the list. If a waker panics, the payload is passed to `on_panic` and the
/// rest are woken all the same.
///
/// One `catch_unwind` covers all wakers up to the next panic.
pub(crate) fn wake_all(wakers: &mut Vec<Waker>, mut on_panic: impl FnMut(Box<dyn Any + Send>)) {
    let mut wakers = wakers.drain(..);
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| wakers.by_ref().for_each(Waker::wake))) {
        on_panic(panic);
    }
}

/// Drops the payload of a panic.
///
/// The drop may panic with a further payload, and so may the drop of that payload. After [`MAX_PAYLOADS`] drops, the
/// last payload is leaked.
pub(crate) fn drop_payload(mut payload: Box<dyn Any + Send>) {
    for _ in 0..MAX_PAYLOADS {
        match catch_unwind(AssertUnwindSafe(move || drop(payload))) {
            Ok(()) => return,
            Err(worse) => payload = worse,
        }
    }
    std::mem::forget(payload);
}
