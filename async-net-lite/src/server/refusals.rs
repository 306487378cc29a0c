//! Refused connections that get an answer before they are closed.
//!
//! A refusal must not cost much, and must not keep a client that has sent its request from reading the answer: a close with
//! unread bytes is a reset. So the answer is written once, as far as the kernel takes it, the server's direction is closed, and
//! what the client sends is thrown away for a moment. Only so many refusals go on at a time; the server polls them itself, so
//! they end with it.

use super::address::Address;
use super::event::Refusal;
use super::io::Stream;
use super::settings::{LINGER_BYTES, MAX_REFUSALS, REFUSAL_TIMEOUT};
use crate::foreign::contain;
use async_timeout::sleep;
use futures::future::{FutureExt, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use std::future::poll_fn;
use std::net::Shutdown;
use std::task::{Context, Poll};

/// The closure of a user, which returns the answer.
pub(super) type Answer = Box<dyn FnMut(Refusal, &Address) -> Vec<u8>>;

/// The refused connections that are being answered.
pub(super) struct Refusals {
    /// Makes the answers. `None` if connections are not refused when the server is full.
    answer: Option<Answer>,
    /// The connections. At most [`MAX_REFUSALS`].
    open: FuturesUnordered<LocalBoxFuture<'static, ()>>,
}

impl Refusals {
    /// Returns no refusals.
    pub(super) fn new(answer: Option<Answer>) -> Self {
        Self { answer, open: FuturesUnordered::new() }
    }

    /// Returns whether a full server refuses one more connection.
    pub(super) fn has_room(&self) -> bool {
        self.answer.is_some() && self.open.len() < MAX_REFUSALS
    }

    /// Answers a connection and closes it. Without an answer, or if too many are open, closes it at once.
    pub(super) fn add(&mut self, stream: Stream, peer: &Address, reason: Refusal) {
        if reason == Refusal::Stopping || !self.has_room() {
            return;
        }
        let bytes = self.answer.as_mut().and_then(|answer| contain(|| answer(reason, peer)));
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return };
        // A new socket has room for an answer; one that has none is gone.
        if stream.try_write(&bytes).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
            self.open.push(discard(stream).boxed_local());
        }
    }

    /// Polls the refusals.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = self.open.poll_next_unpin(cx) {}
    }
}

/// Reads on until the client has closed its direction, but not for long.
async fn discard(stream: Stream) {
    let (mut timer, mut left) = (sleep(REFUSAL_TIMEOUT), LINGER_BYTES);
    poll_fn(|cx| {
        while left > 0 {
            match stream.poll_discard(cx) {
                Poll::Ready(Ok(0) | Err(_)) => break,
                Poll::Ready(Ok(len)) => left = left.saturating_sub(len),
                Poll::Pending => return timer.poll_unpin(cx),
            }
        }
        Poll::Ready(())
    })
    .await;
}
