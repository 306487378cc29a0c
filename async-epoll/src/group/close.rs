//! The end of a group in three steps: ask, wait, abort.

use super::core::Core;
use crate::engine::handle::Handle;
use crate::engine::timer::Timer;
use crate::task::error::TaskError;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// What became of the children of a group; from [`TaskGroup::close_within`](crate::TaskGroup::close_within).
///
/// `ended`, `aborted` and `panicked` count the children that were running when the group was asked to end. Each child is in
/// one of the three.
#[non_exhaustive]
pub struct CloseReport<T> {
    /// The number of children that have ended by themselves, with whatever output.
    pub ended: usize,
    /// The number of children that were aborted: after the grace, by an [`AbortHandle`](crate::AbortHandle), or with the pool.
    pub aborted: usize,
    /// The number of children that have panicked.
    pub panicked: usize,
    /// The results that were unread when the group was asked to end, or have come since, in the order of the ends. Empty if the
    /// group is [detached](crate::TaskGroup::detached).
    pub results: Vec<Result<T, TaskError>>,
}

impl<T> fmt::Debug for CloseReport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseReport")
            .field("ended", &self.ended)
            .field("aborted", &self.aborted)
            .field("panicked", &self.panicked)
            .field("results", &self.results.len())
            .finish()
    }
}

/// Closes a group, waits at most `grace` for its children, aborts the rest, and waits until all have ended.
pub(crate) async fn close_within<T: 'static>(core: &Core<T>, grace: Duration) -> CloseReport<T> {
    let before = core.counts();
    core.close();
    {
        let shared = &core.tasks().turn.shared;
        let mut timer = pin!(Timer::after(grace, &Handle { shared: Arc::clone(shared) }));
        poll_fn(|cx| match core.poll_idle(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            // An error of the timer ends the grace, too: the reactor is gone, and the children cannot wait for it.
            Poll::Pending => Pin::as_mut(&mut timer).poll(cx).map(drop),
        })
        .await;
    }
    core.abort_all();
    // A child that is being polled ends after that poll.
    poll_fn(|cx| core.poll_idle(cx)).await;
    let now = core.counts();
    CloseReport {
        ended: now.ended - before.ended,
        aborted: now.aborted - before.aborted,
        panicked: now.panicked - before.panicked,
        results: core.take_results(),
    }
}
