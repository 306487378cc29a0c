//! The same as methods of every future.

use crate::timeout::{IoTimeout, Timeout};
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

/// Adds timeouts to every future. Named so that it can be imported beside `futures::FutureExt`.
///
/// # Examples
///
/// ```
/// use async_timeout::TimeoutExt;
/// use futures::FutureExt;
/// use std::time::Duration;
///
/// let future = async { 1 }.map(|n| n + 1).timeout(Duration::from_secs(1));
/// assert_eq!(futures::executor::block_on(future), Ok(2));
/// ```
pub trait TimeoutExt: Future {
    /// [`Timeout::new`] as a method.
    fn timeout(self, duration: Duration) -> Timeout<Self>
    where
        Self: Sized,
    {
        Timeout::new(self, duration)
    }

    /// [`Timeout::at`] as a method.
    fn timeout_at(self, deadline: Instant) -> Timeout<Self>
    where
        Self: Sized,
    {
        Timeout::at(self, deadline)
    }

    /// For futures with an [`io::Result`]: an error of kind `TimedOut` instead of a second layer of `Result`.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::TimeoutExt;
    /// use std::{future::pending, io, time::Duration};
    ///
    /// let result = futures::executor::block_on(pending::<io::Result<()>>().io_timeout(Duration::from_millis(1)));
    /// assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
    /// ```
    fn io_timeout<T>(self, duration: Duration) -> IoTimeout<Self>
    where
        Self: Future<Output = io::Result<T>> + Sized,
    {
        IoTimeout::new(Timeout::new(self, duration))
    }
}

impl<F: Future + ?Sized> TimeoutExt for F {}
