//! A stream that yields an item only after a quiet time.
//!
//! [`Debounce`] holds one item, and the timer of that item runs. The timer is polled before the inner stream. If both
//! are ready, nothing tells whether the newer item came before or after the end of the time. Taking the newer item first
//! would be wrong: if the thread is so busy that every poll finds a new item, no item would ever come out.
//!
//! ```text
//!   poll:   held, and timer due? ──yes──► yields the held item
//!             │ no
//!             ▼
//!           inner? ──item──► holds it instead, restarts the timer; repeats, at most MAX_BATCH times
//!             │    ──end───► yields the held item, and then the end
//!             ▼ Pending
//!           Pending (both hold the task's waker)
//! ```

use crate::delay::Delay;
use crate::now::{now, saturating_add};
use futures::stream::{Fuse, FusedStream, Stream, StreamExt};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The number of items that one poll takes at most, from a stream that always has an item ready. The task then wakes
/// itself and yields.
const MAX_BATCH: usize = 32;

pin_project! {
    /// Yields an item of a stream once no other item has followed for a while.
    /// From [`StreamTimeoutExt::debounce`](crate::StreamTimeoutExt::debounce).
    ///
    /// - An item is held until the inner stream has been quiet for the duration. A newer item replaces the held item,
    ///   which is dropped, and restarts the time.
    /// - A stream that is never quiet yields no item until its end.
    /// - When the inner stream ends, the held item comes at once, and then the end.
    /// - Quiet means that no poll has found an item. If the time is already up when the task is polled, the held item
    ///   comes out, even if a newer item is waiting.
    /// - An error item of a stream of `Result`s is an item like others. An error may replace a value, and a newer value
    ///   may replace an error, which is then lost. If errors must not be lost, handle them before this adapter.
    ///
    /// With `Duration::MAX`, only the last item comes. With `Duration::ZERO`, only the last of several items that are
    /// ready at once comes (or one item per poll, if there are very many).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future of `next` loses no item. The held item stays in this stream, and its time continues to run.
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
        // The inner stream, which is not polled after its end.
        #[pin]
        stream: Fuse<S>,
        // The time for which the stream has to be quiet.
        duration: Duration,
        // The latest item, until it comes out.
        held: Option<S::Item>,
        // Waits until `held` comes out. Each new item resets it. Without meaning while no item is held.
        delay: Delay,
    }
}

impl<S: Stream> Debounce<S> {
    /// Yields the items of `stream` that are followed by a quiet time of `duration`.
    pub(super) fn new(stream: S, duration: Duration) -> Self {
        Self { stream: stream.fuse(), duration, held: None, delay: Delay::After(duration) }
    }

    /// Returns a reference to the inner stream.
    pub fn get_ref(&self) -> &S {
        self.stream.get_ref()
    }

    /// Returns a mutable reference to the inner stream.
    ///
    /// Items taken directly from the inner stream do not replace the held item or restart its time.
    pub fn get_mut(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Returns a pinned mutable reference to the inner stream.
    ///
    /// Items taken directly from the inner stream do not replace the held item or restart its time.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().stream.get_pin_mut()
    }

    /// Returns the inner stream. A held item is lost.
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
        while taken < MAX_BATCH {
            match this.stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => *this.held = Some(item),
                Poll::Ready(None) => {
                    // The end needs no timer: disarm it.
                    *this.delay = Delay::After(*this.duration);
                    return Poll::Ready(this.held.take());
                }
                Poll::Pending => break,
            }
            taken += 1;
        }
        if taken > 0 {
            // One reset for the whole batch: reading the clock costs more than most items.
            this.delay.reset(saturating_add(now(), *this.duration));
            if this.delay.poll_fair(cx).is_ready() {
                return Poll::Ready(this.held.take());
            }
        }
        if taken == MAX_BATCH {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Returns a lower bound of 1 if an item is held or will come, since at least the last item comes out.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let (lower, upper) = self.stream.size_hint();
        let held = usize::from(self.held.is_some());
        ((held + lower.min(1)).min(1), upper.and_then(|upper| upper.checked_add(held)))
    }
}

impl<S: Stream> FusedStream for Debounce<S> {
    fn is_terminated(&self) -> bool {
        // At the end, no item is held: the poll that found the end took the item out.
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
