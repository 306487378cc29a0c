//! Calls code of the user where a panic must not pass: wakers, on a thread of this crate or in the drop of a socket.
//!
//! A waker may panic when it is woken or dropped, and the payload of this panic may panic when it is dropped. Callers hold
//! no lock, since all of these may call back into this crate.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `act`. Returns its result, or `None` if it has panicked.
pub(crate) fn contain<R>(act: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(act)).map_err(drop_payload).ok()
}

/// Drops the payload of a panic. If the drop panics, the second payload is leaked, because dropping that may panic, too.
fn drop_payload(payload: Box<dyn Any + Send>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(mem::forget);
}
