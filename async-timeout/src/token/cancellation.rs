//! A future that waits for the cancel of a token.

use super::cancelled::Cancelled;
use super::node::Node;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A future that is ready once a token is cancelled, from [`CancelToken::cancelled`](crate::CancelToken::cancelled).
///
/// It may be polled again after it was ready, and is ready again.
///
/// # Cancel safety
///
/// Dropping the future removes its waker from the token. No cancel is lost, because a token stays cancelled.
#[must_use = "futures do nothing unless polled or awaited"]
pub struct Cancellation {
    /// The token.
    node: Arc<Node>,
    /// What the token has of this future.
    state: State,
}

/// The states of a [`Cancellation`].
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Nothing: the future has not been polled.
    New,
    /// A waker with this key.
    Waiting(usize),
    /// The future has been ready.
    Ended,
}

impl Cancellation {
    /// Creates a wait for the cancel of `node`.
    pub(super) fn new(node: &Arc<Node>) -> Self {
        Self { node: Arc::clone(node), state: State::New }
    }

    /// Returns whether the token was cancelled before the first poll of this future, which is still to come.
    pub(super) fn is_too_late(&self) -> bool {
        self.state == State::New && self.node.is_cancelled()
    }

    /// Returns the error for the cancel, or `None` if the token is not cancelled.
    pub(super) fn error(&self) -> Option<Cancelled> {
        Cancelled::by(&self.node)
    }
}

impl Future for Cancellation {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.node.is_cancelled() {
            let key = match self.state {
                State::Waiting(key) => Some(key),
                State::New | State::Ended => None,
            };
            if let Some(key) = self.node.wait(key, cx.waker()) {
                self.state = State::Waiting(key);
                return Poll::Pending;
            }
        }
        self.state = State::Ended;
        Poll::Ready(())
    }
}

impl FusedFuture for Cancellation {
    fn is_terminated(&self) -> bool {
        self.state == State::Ended
    }
}

impl Drop for Cancellation {
    fn drop(&mut self) {
        if let State::Waiting(key) = self.state {
            self.node.give_up(key);
        }
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation").field("is_cancelled", &self.node.is_cancelled()).finish()
    }
}
