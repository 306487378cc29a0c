//! Closures called later: on another thread after a short time, or when a value is dropped.

use crate::millis;
use std::fmt;
use std::thread::JoinHandle;

/// Calls `act` on a new thread, 20 milliseconds from now: by then the caller's reactor sleeps, as a rule. Join the
/// returned handle for the result.
pub fn later<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(|| {
        std::thread::sleep(millis(20));
        act()
    })
}

/// Calls the closure when dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl<F: FnMut()> fmt::Debug for OnDrop<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDrop").finish_non_exhaustive()
    }
}
