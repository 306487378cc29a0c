//! The constructors of [`Timeout`] as methods of every future.
//!
//! This file adds no behaviour of its own.

use crate::timeout::{IoTimeout, Timeout};
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

/// Adds timeouts to every future.
///
/// The name lets code import this trait beside `futures::FutureExt`.
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
    /// Limits the future to `duration`, counted from the first poll that finds the future pending.
    ///
    /// See [`Timeout::new`].
    fn timeout(self, duration: Duration) -> Timeout<Self>
    where
        Self: Sized,
    {
        Timeout::new(self, duration)
    }

    /// Limits the future to the time until `deadline`.
    ///
    /// See [`Timeout::at`].
    fn timeout_at(self, deadline: Instant) -> Timeout<Self>
    where
        Self: Sized,
    {
        Timeout::at(self, deadline)
    }

    /// Limits a future with an [`io::Result`] to `duration`, without a second layer of `Result`.
    ///
    /// The output is an error of kind `TimedOut` if the time is up first.
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
