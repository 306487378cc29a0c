//! What users hold: a token, and a guard that cancels it.

use super::cancellation::Cancellation;
use super::cancelled::Cancelled;
use super::node::Node;
use std::fmt;
use std::sync::Arc;

/// Tells any number of tasks, on any threads, to stop.
///
/// All clones are the same token. A [`child`](Self::child) is a token of its own: it is cancelled with its parent, but
/// its own cancel does not reach the parent. A token stays cancelled for ever.
///
/// A token ends nothing by itself. A future ends by a token if it [waits](Self::cancelled) for it, or is wrapped by
/// [`until`](crate::TimeoutExt::until) or [`with_token`](crate::with_token). A [`Stream`] ends by
/// `stream.take_until(token.cancelled())`, where `take_until` is that of futures-rs.
///
/// A cancel after a time is a task of its own, `async { sleep(time).await; token.cancel() }`. A grace period is a limit
/// for what waits: `join_all(tasks).timeout(grace).await`, after the cancel.
///
/// # Costs
///
/// [`is_cancelled`](Self::is_cancelled) is one load. A wait takes the lock of its own token for a few instructions, at each
/// poll and when it is dropped, however many others wait. Making and dropping a child takes the lock of the whole
/// tree, for a few instructions. A cancel takes the lock of the tree once, and that of each token which it reaches. It
/// is a loop, not a recursion.
///
/// Dropping the last clone of a token frees it. The tokens below are then directly below what was above.
///
/// # Examples
///
/// ```
/// use async_timeout::CancelToken;
///
/// let server = CancelToken::new();
/// let (one, other) = (server.child(), server.child());
/// one.cancel();
/// assert!(one.is_cancelled() && !other.is_cancelled() && !server.is_cancelled());
///
/// let waiting = other.cancelled();
/// std::thread::spawn(move || server.cancel_with("time to go"));
/// futures::executor::block_on(waiting);
/// assert_eq!(other.reason(), Some("time to go"));
/// ```
///
/// [`Stream`]: https://docs.rs/futures/0.3/futures/stream/trait.Stream.html
#[derive(Clone)]
pub struct CancelToken {
    /// The state that all clones share.
    node: Arc<Node>,
}

impl CancelToken {
    /// Returns a token without a parent.
    pub fn new() -> Self {
        Self { node: Node::root() }
    }

    /// Returns a token that is cancelled when this one is. If this token is cancelled already, so is the new one.
    pub fn child(&self) -> Self {
        Self { node: self.node.child() }
    }

    /// Cancels this token and all tokens below, and wakes all tasks that wait for one of them.
    ///
    /// When this method returns, all these tokens are cancelled. If this token was cancelled before, nothing happens.
    ///
    /// # Panics
    ///
    /// If a waker of a waiting task panics. All other tasks are woken first. While the thread unwinds from another
    /// panic, the panic of a waker is dropped.
    pub fn cancel(&self) {
        self.node.cancel(None);
    }

    /// Cancels as [`cancel`](Self::cancel) does, for a `reason` that [`reason`](Self::reason) and the errors tell.
    ///
    /// The reason of the first cancel that reaches a token is kept.
    ///
    /// # Panics
    ///
    /// As [`cancel`](Self::cancel).
    ///
    /// # Examples
    ///
    /// ```
    /// let token = async_timeout::CancelToken::new();
    /// token.cancel_with("first");
    /// token.cancel_with(String::from("second"));
    /// assert_eq!(token.child().reason(), Some("first"));
    /// ```
    pub fn cancel_with(&self, reason: impl Into<Box<str>>) {
        self.node.cancel(Some(reason.into()));
    }

    /// Returns whether this token is cancelled, by its own cancel or by one above.
    ///
    /// If so, all tokens below are cancelled, too.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Returns the reason of the cancel, or `None` if the token is not cancelled, or was cancelled without a reason.
    pub fn reason(&self) -> Option<&str> {
        self.node.reason()
    }

    /// Waits until this token is cancelled.
    ///
    /// Any number of tasks may wait. The future keeps the token alive.
    pub fn cancelled(&self) -> Cancellation {
        Cancellation::new(&self.node)
    }

    /// Returns whether `error` comes from a cancel of this token itself.
    ///
    /// Returns `false` for a cancel of a token above, although that cancels this token, too. So code around a scope of
    /// its own can tell whether its own cancel has ended the scope, or whether it has to end as well.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::{CancelToken, TimeoutExt};
    /// use std::future::pending;
    ///
    /// let server = CancelToken::new();
    /// let request = server.child();
    /// server.cancel();
    /// let error = futures::executor::block_on(pending::<()>().until(&request)).unwrap_err();
    /// assert!(server.has_caused(&error) && !request.has_caused(&error));
    /// ```
    pub fn has_caused(&self, error: &Cancelled) -> bool {
        Arc::ptr_eq(&self.node, error.origin())
    }

    /// Returns a guard that cancels this token when it is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// let token = async_timeout::CancelToken::new();
    /// let guard = token.drop_guard();
    /// drop(guard);
    /// assert!(token.is_cancelled());
    ///
    /// let token = async_timeout::CancelToken::new();
    /// token.drop_guard().disarm();
    /// assert!(!token.is_cancelled());
    /// ```
    pub fn drop_guard(&self) -> DropGuard {
        DropGuard { token: self.clone(), is_armed: true }
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

/// Two tokens are equal if one is a clone of the other.
impl PartialEq for CancelToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

impl Eq for CancelToken {}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("CancelToken");
        debug.field("is_cancelled", &self.is_cancelled()).field("reason", &self.reason()).finish()
    }
}

/// Cancels a token when it is dropped, from [`CancelToken::drop_guard`].
#[derive(Debug)]
#[must_use = "dropping the guard cancels the token"]
pub struct DropGuard {
    /// The token.
    token: CancelToken,
    /// Whether the drop cancels the token.
    is_armed: bool,
}

impl DropGuard {
    /// Returns the token, and does not cancel it.
    pub fn disarm(mut self) -> CancelToken {
        self.is_armed = false;
        self.token.clone()
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if self.is_armed {
            self.token.cancel();
        }
    }
}
