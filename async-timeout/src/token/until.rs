//! A future that ends when a token is cancelled: the race of the future and a [`Cancellation`].

use super::cancellation::Cancellation;
use super::cancelled::Cancelled;
use futures::future::FusedFuture;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A future that ends early when a token is cancelled: `Ok` with its output, or `Err(Cancelled)`. From
    /// [`TimeoutExt::until`](crate::TimeoutExt::until).
    ///
    /// If the token is cancelled before the first poll, the inner future is not polled at all. Otherwise a loop over
    /// futures that are always ready, such as reads from a busy peer, would never end by its token. Once the inner
    /// future has begun, it is polled first, as in a [`Timeout`](crate::Timeout): an output that is ready is never lost.
    ///
    /// # Cancel safety
    ///
    /// The inner future is dropped at the first poll after the cancel, in whatever state it is. Dropping this future
    /// drops the inner future.
    #[must_use = "futures do nothing unless polled or awaited"]
    pub struct Until<F> {
        // The inner future; `None` once it has been ready or the token was cancelled.
        #[pin]
        future: Option<F>,
        // Waits for the token; `None` if no token ends the future, or once the inner future has been ready.
        cancellation: Option<Cancellation>,
    }
}

impl<F> Until<F> {
    /// Ends `future` by `cancellation`, if there is one.
    pub(crate) fn new(future: F, cancellation: Option<Cancellation>) -> Self {
        Self { future: Some(future), cancellation }
    }

    /// Returns the inner future, unless it has ended.
    pub(super) fn get_ref(&self) -> Option<&F> {
        self.future.as_ref()
    }
}

impl<F: Future> Future for Until<F> {
    type Output = Result<F::Output, Cancelled>;

    /// Polls the inner future, then the token. After `Err`, further polls return `Err` again; after `Ok`, `Pending`.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let is_too_late = this.cancellation.as_ref().is_some_and(Cancellation::is_too_late);
        if let Some(future) = this.future.as_mut().as_pin_mut().filter(|_| !is_too_late) {
            if let Poll::Ready(output) = future.poll(cx) {
                *this.cancellation = None;
                this.future.set(None);
                return Poll::Ready(Ok(output));
            }
        }
        let Some(cancellation) = this.cancellation else { return Poll::Pending };
        ready!(Pin::new(&mut *cancellation).poll(cx));
        this.future.set(None);
        cancellation.error().map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    }
}

impl<F: Future> FusedFuture for Until<F> {
    fn is_terminated(&self) -> bool {
        self.future.is_none()
    }
}

impl<F: fmt::Debug> fmt::Debug for Until<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Until").field("future", &self.future).field("cancellation", &self.cancellation).finish()
    }
}
