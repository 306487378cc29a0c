//! A token for everything that happens inside a future.

use super::cancel_token::CancelToken;
use super::cancelled::Cancelled;
use super::until::Until;
use futures::future::FusedFuture;
use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    /// The token of the innermost scope that is being polled on this thread; `None` outside any scope. Only [`Scope`]
    /// writes it: when a poll inside a scope begins, and when that poll ends.
    static CURRENT: RefCell<Option<CancelToken>> = const { RefCell::new(None) };
}

/// Returns the token of the innermost scope around this call, or `None` outside any scope.
///
/// # Examples
///
/// ```
/// use async_timeout::{CancelToken, token, with_token};
///
/// let server = CancelToken::new();
/// let inside = with_token(async { token::current().unwrap().child() }, &server);
/// let child = futures::executor::block_on(inside).unwrap();
/// server.cancel();
/// assert!(child.is_cancelled() && token::current().is_none());
/// ```
pub fn current() -> Option<CancelToken> {
    // No scope is entered once the thread destroys its thread-locals.
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Ends `future` by the token that is [`current`] in this call, wherever `future` is polled later.
///
/// A spawned task does not inherit the token without this function. Outside any scope, no token ends `future`.
///
/// # Examples
///
/// ```
/// use async_timeout::{CancelToken, token, with_token};
/// use futures::{executor::LocalPool, task::LocalSpawnExt};
/// use std::future::pending;
///
/// let mut pool = LocalPool::new();
/// let (spawner, server) = (pool.spawner(), CancelToken::new());
/// let parent = async { spawner.spawn_local_with_handle(token::inherit(pending::<()>())).unwrap() };
/// let child = pool.run_until(with_token(parent, &server)).unwrap();
/// server.cancel();
/// assert!(pool.run_until(child).is_err(), "the child has been cancelled");
/// ```
pub fn inherit<F: Future>(future: F) -> WithToken<F> {
    WithToken::new(future, current())
}

/// Ends everything inside `future` when `token` is cancelled.
///
/// If `future` is still pending then, it is dropped and the output is `Err(Cancelled)`. While `future` is polled,
/// [`token::current`](current) returns `token`, so code inside can hand it on, or make a child of it. Spawned tasks are not
/// inside; see [`inherit`].
///
/// The innermost scope is the current one. An outer scope drops its future, inner scopes included, whatever their tokens.
/// But only a child of the outer token is cancelled with it, so a scope inside is usually given such a child.
///
/// The order of the polls is that of [`Until`].
///
/// # Cancel safety
///
/// `future` must be cancel safe, because the cancel may drop `future` at any of its await points.
///
/// # Examples
///
/// ```
/// use async_timeout::{CancelToken, sleep, with_token};
/// use std::time::Duration;
///
/// let stop = CancelToken::new();
/// let work = async {
///     loop {
///         sleep(Duration::from_millis(1)).await;
///     }
/// };
/// let work = with_token(work, &stop);
/// std::thread::spawn(move || stop.cancel());
/// let ended: Result<(), _> = futures::executor::block_on(work);
/// assert!(ended.is_err());
/// ```
pub fn with_token<F: Future>(future: F, token: &CancelToken) -> WithToken<F> {
    WithToken::new(future, Some(token.clone()))
}

pin_project! {
    /// A future with a token for everything inside, from [`with_token`] and [`inherit`].
    ///
    /// # Cancel safety
    ///
    /// Dropping this future drops the inner future.
    #[must_use = "futures do nothing unless polled or awaited"]
    pub struct WithToken<F> {
        // The inner future, which enters the scope, and the wait for the token, which does not.
        #[pin]
        until: Until<Inside<F>>,
        // The token; `None` if no token ends the future.
        token: Option<CancelToken>,
    }
}

impl<F> WithToken<F> {
    fn new(future: F, token: Option<CancelToken>) -> Self {
        let cancellation = token.as_ref().map(CancelToken::cancelled);
        Self { until: Until::new(Inside { future, token: token.clone() }, cancellation), token }
    }

    /// Returns the token, or `None` if the future has inherited no token.
    pub fn token(&self) -> Option<&CancelToken> {
        self.token.as_ref()
    }
}

impl<F: Future> Future for WithToken<F> {
    type Output = Result<F::Output, Cancelled>;

    /// Polls the inner future, then the token. After `Err`, further polls return `Err` again; after `Ok`, `Pending`.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().until.poll(cx)
    }
}

impl<F: Future> FusedFuture for WithToken<F> {
    fn is_terminated(&self) -> bool {
        self.until.is_terminated()
    }
}

impl<F: fmt::Debug> fmt::Debug for WithToken<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let future = self.until.get_ref().map(|inside| &inside.future);
        f.debug_struct("WithToken").field("future", &future).field("token", &self.token).finish()
    }
}

pin_project! {
    /// A future that is polled inside a scope. It is dropped outside.
    struct Inside<F> {
        // The inner future.
        #[pin]
        future: F,
        // The token of the scope; `None` leaves the current token as it is.
        token: Option<CancelToken>,
    }
}

impl<F: Future> Future for Inside<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _scope = this.token.as_ref().map(Scope::enter);
        this.future.poll(cx)
    }
}

/// One poll inside a scope. Its drop restores the previous token, also when the poll panics.
struct Scope {
    /// The value of `CURRENT` before this poll.
    before: Option<CancelToken>,
}

impl Scope {
    /// Makes `token` current.
    fn enter(token: &CancelToken) -> Self {
        Self { before: CURRENT.try_with(|current| current.replace(Some(token.clone()))).ok().flatten() }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let before = self.before.take();
        let replaced = CURRENT.try_with(|current| current.replace(before));
        drop(replaced);
    }
}
