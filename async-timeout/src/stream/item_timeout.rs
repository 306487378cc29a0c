//! A stream with a limit for each item.
//!
//! The same race as that of a [`Timeout`](crate::Timeout), again and again:
//!
//! ```text
//!   poll:   inner? ──item──► Ok(item), and the timer has not begun
//!             │ Pending
//!             ▼
//!           timer? ──due───► Err(Elapsed), and the timer has not begun
//!             │ Pending
//!             ▼
//!           Pending (both hold our waker)
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
    /// Limits the time that a stream takes for each item: `Ok` with the item, or `Err(Elapsed)` if the time is up
    /// first. From [`StreamTimeoutExt::item_timeout`](crate::StreamTimeoutExt::item_timeout).
    ///
    /// - The time of an item begins when the stream is polled for it and found pending. How long the consumer takes
    ///   between items does not count.
    /// - The stream is polled first, always: an item that is ready is `Ok`, however late it is. The timer is looked at
    ///   whenever the stream is pending, even if that wakes itself for ever.
    /// - After `Err(Elapsed)` the stream goes on, and the next item has its own time: it is for the consumer to decide
    ///   when to give up. No item is lost; one that was late comes next.
    /// - When the stream ends, this ends, and the timer is gone.
    /// - An error item of a stream of `Result`s is an item like others: it comes in time as `Ok(Err(…))`.
    ///
    /// With `Duration::MAX` there is no limit. With `Duration::ZERO`, there is an `Err(Elapsed)` for each poll that
    /// finds the stream pending.
    ///
    /// # Cancel safety
    ///
    /// Dropping what `next` returns loses nothing: the time goes on to run, and the next call goes on to wait.
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
        #[pin]
        stream: Fuse<S>,
        // Of each item.
        duration: Duration,
        // Begins with the first poll that finds the stream pending.
        delay: Delay,
    }
}

impl<S: Stream> ItemTimeout<S> {
    pub(super) fn new(stream: S, duration: Duration) -> Self {
        Self { stream: stream.fuse(), duration, delay: Delay::After(duration) }
    }
}

impl<S> ItemTimeout<S> {
    /// The inner stream.
    pub fn get_ref(&self) -> &S {
        self.stream.get_ref()
    }

    /// The inner stream, mutably. The limit does not apply to items that are taken from it here.
    pub fn get_mut(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// The inner stream, pinned. The limit does not apply to items that are taken from it here.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().stream.get_pin_mut()
    }

    /// Gives the inner stream back, without a limit. No item is lost.
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

    /// Each item of the stream is one, and any number of errors may come between them.
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
