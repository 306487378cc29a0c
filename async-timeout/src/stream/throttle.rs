//! A stream whose items do not come too fast.
//!
//! Nothing is kept here: while the time runs, the inner stream is not polled at all. So whoever fills it has to wait,
//! if there is a bound to what it holds.

use crate::delay::Delay;
use crate::now::{now, saturating_add};
use futures::stream::{Fuse, FusedStream, Stream, StreamExt};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pin_project! {
    /// Lets at most one item through per duration.
    /// From [`StreamTimeoutExt::throttle`](crate::StreamTimeoutExt::throttle).
    ///
    /// - The first item comes at once. Each item begins a time in which no other comes, counted from when it was
    ///   returned: who asks for the next one later than that does not wait.
    /// - In that time the inner stream is not polled. Nothing is dropped and nothing is kept here, so a bounded channel
    ///   fills up and its senders wait (back-pressure).
    /// - The end of the stream is passed on. It is found by polling, and so it comes after the time of the last item.
    /// - An error item of a stream of `Result`s is an item like others.
    ///
    /// With `Duration::ZERO` all items come at once; with `Duration::MAX` only the first comes.
    ///
    /// # Cancel safety
    ///
    /// Dropping what `next` returns loses nothing: the time goes on to run, and the next call goes on to wait.
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
        #[pin]
        stream: Fuse<S>,
        // From item to item.
        duration: Duration,
        // Until the next item may come. `None`: it may.
        delay: Option<Delay>,
    }
}

impl<S: Stream> Throttle<S> {
    pub(super) fn new(stream: S, duration: Duration) -> Self {
        Self { stream: stream.fuse(), duration, delay: None }
    }
}

impl<S> Throttle<S> {
    /// The inner stream.
    pub fn get_ref(&self) -> &S {
        self.stream.get_ref()
    }

    /// The inner stream, mutably. Items that are taken from it here are not counted.
    pub fn get_mut(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// The inner stream, pinned. Items that are taken from it here are not counted.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().stream.get_pin_mut()
    }

    /// Gives the inner stream back, without a limit. No item is lost; what is forgotten is when the last one came.
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
