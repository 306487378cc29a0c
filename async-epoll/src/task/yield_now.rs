//! A future that lets all other ready tasks go first.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets all other ready tasks go first, once.
///
/// A task that awaits this goes to the end of the queue. A loop of such tasks does not starve sockets and timers: after the
/// [budget](crate::ReactorBuilder::poll_budget) of a turn the reactor looks for events. Works in every executor.
///
/// # Cancel safety
///
/// Nothing is lost when the future is dropped.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{spawn_local, yield_now};
/// use std::{cell::Cell, rc::Rc};
///
/// async_epoll::try_block_on(async {
///     let done = Rc::new(Cell::new(false));
///     let flag = Rc::clone(&done);
///     spawn_local(async move { flag.set(true) })?;
///     while !done.get() {
///         yield_now().await;
///     }
///     Ok(())
/// })
/// # }
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { has_yielded: false }
}

/// Lets all other ready tasks go first; from [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled or awaited"]
pub struct YieldNow {
    /// The future has been polled.
    has_yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
