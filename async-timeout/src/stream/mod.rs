//! Time for streams, as methods of every stream.
//!
//! Three ideas, a file each, and each of them is about another gap between items:
//!
//! ```text
//!   item_timeout   too long until the next item: an error in its place      a ─────────── Elapsed ── b
//!   throttle       too short until the next item: the stream has to wait    a · · b · · c
//!   debounce       too short to look at the item: only the last comes out   abc · · c
//! ```

mod item_timeout;
mod throttle;
mod debounce;

pub use debounce::Debounce;
pub use item_timeout::ItemTimeout;
pub use throttle::Throttle;

use futures::Stream;
use std::time::Duration;

/// Adds timeouts and rates to every stream. Named so that it can be imported beside `futures::StreamExt`.
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
    /// Limits how long each item may take: `Err(Elapsed)` comes in its place, and the stream goes on.
    ///
    /// See [`ItemTimeout`].
    fn item_timeout(self, duration: Duration) -> ItemTimeout<Self>
    where
        Self: Sized,
    {
        ItemTimeout::new(self, duration)
    }

    /// Lets at most one item through per `duration`; the stream has to wait, and nothing is lost.
    ///
    /// See [`Throttle`].
    fn throttle(self, duration: Duration) -> Throttle<Self>
    where
        Self: Sized,
    {
        Throttle::new(self, duration)
    }

    /// Waits until the stream has been quiet for `duration`, and then lets its latest item through.
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
