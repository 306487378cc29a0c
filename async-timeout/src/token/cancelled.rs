//! The error of a future that was ended by a token.

use super::node::Node;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

/// The error of a future that was ended by a [`CancelToken`](crate::CancelToken).
///
/// Two errors are equal if they come from the same call of [`cancel`](crate::CancelToken::cancel).
/// [`CancelToken::has_caused`](crate::CancelToken::has_caused) tells whether that call was on a certain token.
///
/// This error converts to [`io::Error`], so `?` works in functions that return `io::Result`. The kind is `Other`, and
/// not `Interrupted`: loops such as that of `read_exact` try again after `Interrupted`.
///
/// # Examples
///
/// ```
/// use async_timeout::{CancelToken, Cancelled, TimeoutExt};
/// use std::{future::pending, io};
///
/// async fn answer(stop: &CancelToken) -> io::Result<()> {
///     pending::<()>().until(stop).await?;
///     Ok(())
/// }
/// let stop = CancelToken::new();
/// stop.cancel_with("the server is shutting down");
/// let error = futures::executor::block_on(answer(&stop)).unwrap_err();
/// assert_eq!(error.to_string(), "cancelled: the server is shutting down");
/// assert_eq!(Cancelled::of(&error).unwrap().reason(), Some("the server is shutting down"));
/// ```
#[derive(Clone)]
pub struct Cancelled {
    /// The token whose `cancel` was called.
    origin: Arc<Node>,
}

impl Cancelled {
    /// Creates the error for a token that is cancelled; `None` for one that is not.
    pub(super) fn by(node: &Arc<Node>) -> Option<Self> {
        Some(Self { origin: Arc::clone(node.origin()?) })
    }

    /// Returns the token whose `cancel` was called.
    pub(super) fn origin(&self) -> &Arc<Node> {
        &self.origin
    }

    /// Returns the reason that was given to [`cancel_with`](crate::CancelToken::cancel_with), or `None` if none was.
    pub fn reason(&self) -> Option<&str> {
        self.origin.reason()
    }

    /// Returns the payload of `error`, or `None` if `error` does not come from a token.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl PartialEq for Cancelled {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.origin, &other.origin)
    }
}

impl Eq for Cancelled {}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").field("reason", &self.reason()).finish()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => write!(f, "cancelled: {reason}"),
            None => f.write_str("cancelled"),
        }
    }
}

impl Error for Cancelled {}

impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> Self {
        Self::other(cancelled)
    }
}
