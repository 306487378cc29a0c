//! A stream whose items come once it is quiet.
//!
//! One item is held, and its timer runs. The timer is looked at before the stream: if both are ready, nobody can tell
//! whether the newer item came before the time was up. To take the newer one would mean that a stream that has always
//! an item when it is looked at, since the thread is busy, would keep all of them back.
//!
//! ```text
//!   poll:   held, and timer due? ──yes──► the item that is held
//!             │ no
//!             ▼
//!           inner? ──item──► held instead, the timer begins anew; again, up to BATCH times
//!             │    ──end───► the item that is held, and then the end
//!             ▼ Pending
//!           Pending (both hold our waker)
//! ```

use crate::delay::Delay;
use crate::now::{now, saturating_add};
use futures::stream::{Fuse, FusedStream, Stream, StreamExt};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Items that one poll takes from a stream that has always one ready. Then other tasks go first.
const BATCH: usize = 32;

pin_project! {
    /// Lets an item through once no other has followed it for a while.
    /// From [`StreamTimeoutExt::debounce`](crate::StreamTimeoutExt::debounce).
    ///
    /// - An item is held until the stream has been quiet for the duration. A newer item takes its place, the older one
    ///   is dropped, and the time begins anew.
    /// - A stream that is never quiet yields nothing until it ends.
    /// - When the stream ends, the item that is held comes at once, and then the end.
    /// - Quiet is what this sees when it is polled. If it was not polled for so long that the time is up, the item that
    ///   it holds comes out, even if a newer one is waiting.
    /// - An error item of a stream of `Result`s is an item like others: it may take the place of a value, and a newer
    ///   value may take its place, and then nobody hears of the error. Where that matters, handle errors before.
    ///
    /// With `Duration::MAX`, only the last item comes. With `Duration::ZERO`, of several items that are ready at once
    /// only the last comes (or one per poll, if there are very many).
    ///
    /// # Cancel safety
    ///
    /// Dropping what `next` returns loses nothing: the item is held here, its time goes on to run.
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
    ///     let mut changes = receiver.debounce(Duration::from_millis(2));
    ///     for key in ["h", "he", "hello"] {
    ///         sender.unbounded_send(key).unwrap();
    ///     }
    ///     assert_eq!(changes.next().await, Some("hello"));
    ///
    ///     sender.unbounded_send("bye").unwrap();
    ///     drop(sender);
    ///     assert_eq!(changes.next().await, Some("bye"));
    ///     assert_eq!(changes.next().await, None);
    /// });
    /// ```
    #[must_use = "streams do nothing unless polled"]
    pub struct Debounce<S: Stream> {
        #[pin]
        stream: Fuse<S>,
        // How long the stream has to be quiet.
        duration: Duration,
        // The latest item.
        held: Option<S::Item>,
        // Until that comes out. Of no meaning while nothing is held.
        delay: Delay,
    }
}

impl<S: Stream> Debounce<S> {
    pub(super) fn new(stream: S, duration: Duration) -> Self {
        Self { stream: stream.fuse(), duration, held: None, delay: Delay::After(duration) }
    }

    /// The inner stream.
    pub fn get_ref(&self) -> &S {
        self.stream.get_ref()
    }

    /// The inner stream, mutably. Items that are taken from it here are no news to the one that is held.
    pub fn get_mut(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// The inner stream, pinned. Items that are taken from it here are no news to the one that is held.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().stream.get_pin_mut()
    }

    /// Gives the inner stream back. The item that is held, if there is one, is lost.
    pub fn into_inner(self) -> S {
        self.stream.into_inner()
    }
}

impl<S: Stream> Stream for Debounce<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        if this.held.is_some() && this.delay.poll_fair(cx).is_ready() {
            return Poll::Ready(this.held.take());
        }
        let mut taken = 0;
        while taken < BATCH {
            match this.stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => *this.held = Some(item),
                Poll::Ready(None) => {
                    // Whatever timer there was is gone.
                    *this.delay = Delay::After(*this.duration);
                    return Poll::Ready(this.held.take());
                }
                Poll::Pending => break,
            }
            taken += 1;
        }
        if taken > 0 {
            // Once for all of them: the clock costs more than most items.
            this.delay.reset(saturating_add(now(), *this.duration));
            if this.delay.poll_fair(cx).is_ready() {
                return Poll::Ready(this.held.take());
            }
        }
        if taken == BATCH {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// If there is an item, or will be, at least the last one comes out.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let (lower, upper) = self.stream.size_hint();
        let held = usize::from(self.held.is_some());
        ((held + lower.min(1)).min(1), upper.and_then(|upper| upper.checked_add(held)))
    }
}

impl<S: Stream> FusedStream for Debounce<S> {
    fn is_terminated(&self) -> bool {
        // Nothing is held then: the end takes it out.
        self.stream.is_terminated()
    }
}

impl<S: Stream + fmt::Debug> fmt::Debug for Debounce<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debounce")
            .field("stream", self.get_ref())
            .field("duration", &self.duration)
            .field("holds_item", &self.held.is_some())
            .field("deadline", &self.held.as_ref().and_then(|_| self.delay.deadline()))
            .finish()
    }
}
