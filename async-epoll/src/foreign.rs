//! Runs user code in wakers and panic payloads, without losing a wake to a panic.
//!
//! A waker may panic when it is woken or dropped, and the payload of a panic may panic when it is dropped. All may call
//! back into the reactor, so callers of these functions hold no lock and no `RefCell` borrow. The callers are the code
//! that wakes (the engine, the waiters of a source, the test clock), the code that gives up a wait (sources, timers,
//! advances of the test clock), and the code that catches the panics of tasks.
//!
//! A waker that a task has left in the reactor is a stranger to the code that wakes or drops it: that code may be another
//! task, or may be unwinding already, and a second panic would end the process. So these panics are caught here and
//! counted. Only a clone is made by the task itself, in its own poll, and may panic there.

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

/// Drops a waker that a task has left in the reactor. A panic of the drop is passed to `on_panic`.
pub(crate) fn drop_waker(waker: Waker, on_panic: impl FnOnce(Box<dyn Any + Send>)) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(waker))) {
        on_panic(panic);
    }
}

/// Drops all `wakers` in order, and empties the list. If a drop panics, the payload is passed to `on_panic` and the rest
/// are dropped all the same.
pub(crate) fn drop_all(wakers: &mut Vec<Waker>, mut on_panic: impl FnMut(Box<dyn Any + Send>)) {
    let mut wakers = wakers.drain(..);
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| wakers.by_ref().for_each(drop))) {
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
