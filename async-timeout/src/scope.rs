//! The deadline of the scope that is being polled, in a thread-local.
//!
//! [`with_deadline`](crate::with_deadline) enters a [`Scope`] for each poll of its future. Whatever that future polls
//! can ask for the nearest deadline by [`current`]. The thread-local stands below the timers, because a `Delay` asks
//! for it, and the future with a deadline is built on a `Delay`.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    /// The nearest deadline of the scopes that are being polled on this thread. `None`: outside any scope. Written by
    /// [`Scope`] alone.
    static CURRENT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The nearest deadline of the scopes in which this is called; `None` outside any.
///
/// # Examples
///
/// ```
/// use async_timeout::{deadline, with_deadline};
/// use std::time::{Duration, Instant};
///
/// assert_eq!(deadline::current(), None);
/// let (soon, later) = (Instant::now() + Duration::from_secs(1), Instant::now() + Duration::from_secs(2));
/// let inner = with_deadline(later, async { deadline::current() });
/// assert_eq!(futures::executor::block_on(with_deadline(soon, inner)), Ok(Ok(Some(soon))));
/// ```
#[inline]
pub fn current() -> Option<Instant> {
    CURRENT.get()
}

/// A poll inside a scope. Puts back what was before, also when the poll panics.
pub(crate) struct Scope {
    before: Option<Instant>,
}

impl Scope {
    pub(crate) fn enter(deadline: Option<Instant>) -> Self {
        let before = CURRENT.get();
        // `None` is later than every deadline, not earlier.
        CURRENT.set(before.into_iter().chain(deadline).min());
        Self { before }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}
