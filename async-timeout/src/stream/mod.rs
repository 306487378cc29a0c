//! Limits in time for streams, as methods of every stream.
//!
//! The room has three adapters, one in each file, and the trait [`StreamTimeoutExt`] that creates them. Each adapter is
//! about another gap between items. All of them hold one [`Delay`](crate::delay::Delay), and none spawns a task. The
//! files do not depend on each other.
//!
//! ```text
//!   item_timeout   the gap is too long: yields an error in between          a ─────────── Elapsed ── b
//!   throttle       the gap is too short: the stream has to wait             a · · b · · c
//!   debounce       the gap is too short: only the last item comes out       abc · · c
//! ```

mod item_timeout;
mod throttle;
mod debounce;

pub use debounce::Debounce;
pub use item_timeout::ItemTimeout;
pub use throttle::Throttle;

use futures::Stream;
use std::time::Duration;

/// Adds timeouts and rates to every stream.
///
/// The name lets code import this trait beside `futures::StreamExt`.
///
/// # Examples
///
/// ```
/// use async_timeout::StreamTimeoutExt;
/// use futures::{StreamExt, stream};
/// use std::time::{Duration, Instant};
///
/// futures::executor::block_on(async {
///     let begin = Instant::now();
///     let numbers: Vec<_> = stream::iter(1..=3).throttle(Duration::from_millis(2)).collect().await;
///     assert_eq!(numbers, [1, 2, 3]);
///     assert!(begin.elapsed() >= Duration::from_millis(4));
/// });
/// ```
pub trait StreamTimeoutExt: Stream {
    /// Limits the time for each item. If the time is up, the stream yields `Err(Elapsed)` and goes on.
    ///
    /// See [`ItemTimeout`].
    fn item_timeout(self, duration: Duration) -> ItemTimeout<Self>
    where
        Self: Sized,
    {
        ItemTimeout::new(self, duration)
    }

    /// Yields at most one item per `duration`. The inner stream has to wait, and no item is lost.
    ///
    /// See [`Throttle`].
    fn throttle(self, duration: Duration) -> Throttle<Self>
    where
        Self: Sized,
    {
        Throttle::new(self, duration)
    }

    /// Waits until the stream has been quiet for `duration`, then yields its latest item.
    ///
    /// See [`Debounce`].
    fn debounce(self, duration: Duration) -> Debounce<Self>
    where
        Self: Sized,
    {
        Debounce::new(self, duration)
    }
}

impl<S: Stream + ?Sized> StreamTimeoutExt for S {}
