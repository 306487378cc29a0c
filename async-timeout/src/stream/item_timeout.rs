//! A stream with a time limit for each item.
//!
//! Each item is a race of the inner stream and a timer, as in a [`Timeout`](crate::Timeout):
//!
//! ```text
//!   poll:   inner? ──item──► Ok(item), and the timer is reset to "not begun"
//!             │ Pending
//!             ▼
//!           timer? ──due───► Err(Elapsed), and the timer is reset to "not begun"
//!             │ Pending
//!             ▼
//!           Pending (both hold the task's waker)
//! ```

use crate::delay::Delay;
use crate::elapsed::Elapsed;
use futures::stream::{Fuse, FusedStream, Stream, StreamExt};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pin_project! {
    /// Limits the time for each item of a stream: `Ok` with the item, or `Err(Elapsed)` if the time is up first.
    /// From [`StreamTimeoutExt::item_timeout`](crate::StreamTimeoutExt::item_timeout).
    ///
    /// - The time for an item begins with the poll that finds the inner stream pending. The time that the consumer takes
    ///   between items does not count.
    /// - The inner stream is always polled first: an item that is ready is `Ok`, however late it is. Whenever the inner
    ///   stream is pending, the timer is polled as well, even if the stream wakes itself for ever.
    /// - After `Err(Elapsed)` the stream goes on, and the next item has its own time. The consumer decides when to give
    ///   up. No item is lost; a late item comes next.
    /// - When the inner stream ends, this stream ends and the timer is disarmed.
    /// - An error item of a stream of `Result`s is an item like others. If in time, it is `Ok(Err(…))`.
    ///
    /// With `Duration::MAX` there is no limit. With `Duration::ZERO`, each poll that finds the inner stream pending yields
    /// `Err(Elapsed)`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future of `next` loses no item. The time continues to run, and the next call continues the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::StreamTimeoutExt;
    /// use futures::{StreamExt, channel::mpsc};
    /// use std::time::Duration;
    ///
    /// futures::executor::block_on(async {
    ///     let (sender, receiver) = mpsc::unbounded();
    ///     let mut items = receiver.item_timeout(Duration::from_millis(2));
    ///     sender.unbounded_send(1).unwrap();
    ///     assert_eq!(items.next().await, Some(Ok(1)));
    ///     assert!(items.next().await.unwrap().is_err(), "nothing was sent in time");
    ///
    ///     sender.unbounded_send(2).unwrap();
    ///     assert_eq!(items.next().await, Some(Ok(2)));
    ///     drop(sender);
    ///     assert_eq!(items.next().await, None);
    /// });
    /// ```
    #[must_use = "streams do nothing unless polled"]
    pub struct ItemTimeout<S> {
        // The inner stream, which is not polled after its end.
        #[pin]
        stream: Fuse<S>,
        // The limit for each item.
        duration: Duration,
        // Waits for the limit of the next item. Begins with the first poll that finds the stream pending.
        delay: Delay,
    }
}

impl<S: Stream> ItemTimeout<S> {
    /// Limits each item of `stream` to `duration`.
    pub(super) fn new(stream: S, duration: Duration) -> Self {
        Self { stream: stream.fuse(), duration, delay: Delay::After(duration) }
    }
}

impl<S> ItemTimeout<S> {
    /// Returns a reference to the inner stream.
    pub fn get_ref(&self) -> &S {
        self.stream.get_ref()
    }

    /// Returns a mutable reference to the inner stream.
    ///
    /// The limit does not apply to items taken directly from the inner stream.
    pub fn get_mut(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Returns a pinned mutable reference to the inner stream.
    ///
    /// The limit does not apply to items taken directly from the inner stream.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().stream.get_pin_mut()
    }

    /// Returns the inner stream, without a limit. No item is lost.
    pub fn into_inner(self) -> S {
        self.stream.into_inner()
    }
}

impl<S: Stream> Stream for ItemTimeout<S> {
    type Item = Result<S::Item, Elapsed>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let item = match this.stream.poll_next(cx) {
            Poll::Ready(item) => item.map(Ok),
            Poll::Pending => {
                ready!(this.delay.poll_fair(cx));
                Some(Err(Elapsed::new()))
            }
        };
        *this.delay = Delay::After(*this.duration);
        Poll::Ready(item)
    }

    /// Returns the lower bound of the inner stream. Any number of errors may come between the items, so there is no
    /// upper bound before the end.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let upper = self.stream.is_done().then_some(0);
        (self.stream.size_hint().0, upper)
    }
}

impl<S: Stream> FusedStream for ItemTimeout<S> {
    fn is_terminated(&self) -> bool {
        self.stream.is_terminated()
    }
}

impl<S: fmt::Debug> fmt::Debug for ItemTimeout<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemTimeout")
            .field("stream", self.get_ref())
            .field("duration", &self.duration)
            .field("deadline", &self.delay.deadline())
            .finish()
    }
}
