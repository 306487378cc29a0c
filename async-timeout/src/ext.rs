//! The constructors of [`Timeout`] and [`Until`] as methods of every future.
//!
//! This file adds no behaviour of its own.

use crate::timeout::{IoTimeout, Timeout};
use crate::token::{CancelToken, Until};
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

/// Adds timeouts, and an end by a token, to every future.
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

    /// Ends the future when `token` is cancelled.
    ///
    /// If the token is cancelled before the first poll, the future is not polled at all. After that the future is polled
    /// first. See [`Until`].
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the token is cancelled, in whatever state it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::{CancelToken, TimeoutExt};
    /// use std::future::{pending, ready};
    ///
    /// futures::executor::block_on(async {
    ///     let token = CancelToken::new();
    ///     assert_eq!(ready(1).until(&token).await, Ok(1));
    ///     token.cancel();
    ///     assert!(pending::<()>().until(&token).await.is_err());
    /// });
    /// ```
    fn until(self, token: &CancelToken) -> Until<Self>
    where
        Self: Sized,
    {
        Until::new(self, Some(token.cancelled()))
    }
}

impl<F: Future + ?Sized> TimeoutExt for F {}
