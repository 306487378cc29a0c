//! The error of a timeout.
//!
//! [`Timeout`](crate::Timeout), [`ItemTimeout`](crate::ItemTimeout) and [`with_deadline`](crate::with_deadline) return
//! [`Elapsed`]. An [`IoGuard`](crate::IoGuard) has several limits, so its errors carry a
//! [`LimitExceeded`](crate::LimitExceeded) instead.

use std::error::Error;
use std::fmt;
use std::io;

/// The error of a future, or of a stream's next item, that was not ready before its deadline.
///
/// This error converts to [`io::Error`] of kind `TimedOut`, so `?` works in functions that return `io::Result`.
///
/// # Examples
///
/// ```
/// use async_timeout::Timeout;
/// use std::{io, time::Duration};
///
/// async fn answer() -> io::Result<()> {
///     Timeout::new(futures::future::pending::<()>(), Duration::ZERO).await?;
///     Ok(())
/// }
/// let error = futures::executor::block_on(answer()).unwrap_err();
/// assert_eq!(error.kind(), io::ErrorKind::TimedOut);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Elapsed(());

impl Elapsed {
    /// Creates the error. Only a timeout that has passed does so, hence no public constructor.
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}
