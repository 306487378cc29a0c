//! The deadline of the scopes that are being polled, in a thread-local.
//!
//! The future of [`with_deadline`](crate::with_deadline) enters a [`Scope`] for each poll of its inner future. Code
//! inside that poll reads the nearest deadline by [`current`]. The thread-local stands below the timers: a
//! [`Delay`](crate::delay::Delay) reads the deadline, and the future of `with_deadline` waits on a `Delay`.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    /// The nearest deadline of the scopes that are being polled on this thread; `None` outside any scope. Only
    /// [`Scope`] writes it: when a poll inside a scope begins, and when that poll ends.
    static CURRENT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the nearest deadline of the scopes around this call, or `None` outside any scope.
///
/// # Examples
///
/// ```
/// use async_timeout::{deadline, with_deadline};
/// use std::time::{Duration, Instant};
///
/// assert_eq!(deadline::current(), None);
/// let (soon, later) = (Instant::now() + Duration::from_secs(1), Instant::now() + Duration::from_secs(2));
/// let inner = with_deadline(async { deadline::current() }, later);
/// assert_eq!(futures::executor::block_on(with_deadline(inner, soon)), Ok(Ok(Some(soon))));
/// ```
#[inline]
pub fn current() -> Option<Instant> {
    CURRENT.get()
}

/// One poll inside a scope. Its drop restores the previous deadline, also when the poll panics.
pub(crate) struct Scope {
    /// The value of `CURRENT` before this poll.
    before: Option<Instant>,
}

impl Scope {
    /// Makes `deadline` current, unless a scope around this one has a nearer deadline.
    pub(crate) fn enter(deadline: Option<Instant>) -> Self {
        let before = CURRENT.get();
        // `None` means no deadline, but `Option` orders it before every `Some`. So only the `Some` values are compared.
        CURRENT.set(before.into_iter().chain(deadline).min());
        Self { before }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}
