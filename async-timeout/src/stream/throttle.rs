//! A stream with a limit on its rate.
//!
//! [`Throttle`] buffers no item: while the time runs, it does not poll the inner stream at all. If the inner stream is
//! bounded, such as a bounded channel, its producer has to wait (back-pressure).

use crate::delay::Delay;
use crate::now::{now, saturating_add};
use futures::stream::{Fuse, FusedStream, Stream, StreamExt};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pin_project! {
    /// Yields at most one item of a stream per duration.
    /// From [`StreamTimeoutExt::throttle`](crate::StreamTimeoutExt::throttle).
    ///
    /// - The first item comes at once. Each item starts a time in which no other item comes, counted from the return of
    ///   the item. A consumer that asks for the next item later than that does not wait.
    /// - In that time the inner stream is not polled. No item is dropped and none is buffered, so a bounded channel fills
    ///   up and its senders wait (back-pressure).
    /// - The end of the stream is passed on. Only a poll finds the end, so it comes after the time of the last item.
    /// - An error item of a stream of `Result`s is an item like others.
    ///
    /// With `Duration::ZERO` all items come at once; with `Duration::MAX` only the first comes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future of `next` loses no item. The time continues to run, and the next call continues the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::StreamTimeoutExt;
    /// use futures::{StreamExt, stream};
    /// use std::time::{Duration, Instant};
    ///
    /// futures::executor::block_on(async {
    ///     let period = Duration::from_millis(2);
    ///     let mut items = stream::repeat("ping").throttle(period);
    ///     let begin = Instant::now();
    ///     items.next().await; // At once.
    ///     items.next().await;
    ///     items.next().await;
    ///     assert!(begin.elapsed() >= 2 * period);
    /// });
    /// ```
    #[must_use = "streams do nothing unless polled"]
    pub struct Throttle<S> {
        // The inner stream, which is not polled after its end.
        #[pin]
        stream: Fuse<S>,
        // The least time from item to item.
        duration: Duration,
        // Waits until the next item may come; `None` if it may come now. Each item sets it.
        delay: Option<Delay>,
    }
}

impl<S: Stream> Throttle<S> {
    /// Limits the rate of `stream` to one item per `duration`.
    pub(super) fn new(stream: S, duration: Duration) -> Self {
        Self { stream: stream.fuse(), duration, delay: None }
    }
}

impl<S> Throttle<S> {
    /// Returns a reference to the inner stream.
    pub fn get_ref(&self) -> &S {
        self.stream.get_ref()
    }

    /// Returns a mutable reference to the inner stream.
    ///
    /// Items taken directly from the inner stream do not start a time.
    pub fn get_mut(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Returns a pinned mutable reference to the inner stream.
    ///
    /// Items taken directly from the inner stream do not start a time.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().stream.get_pin_mut()
    }

    /// Returns the inner stream, without a limit.
    ///
    /// No item is lost, but the time of the last item is.
    pub fn into_inner(self) -> S {
        self.stream.into_inner()
    }
}

impl<S: Stream> Stream for Throttle<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if let Some(delay) = this.delay {
            ready!(delay.poll_fair(cx));
            *this.delay = None;
        }
        let item = ready!(this.stream.poll_next(cx));
        if item.is_some() {
            *this.delay = Some(Delay::At(saturating_add(now(), *this.duration)));
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl<S: Stream> FusedStream for Throttle<S> {
    fn is_terminated(&self) -> bool {
        self.stream.is_terminated()
    }
}

impl<S: fmt::Debug> fmt::Debug for Throttle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("stream", self.get_ref())
            .field("duration", &self.duration)
            .field("deadline", &self.delay.as_ref().and_then(Delay::deadline))
            .finish()
    }
}
