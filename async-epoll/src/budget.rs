//! How many operations a task may do in one poll.
//!
//! A task that reads from a socket which always has data would never return `Pending`, and everything else on its
//! thread would starve. So successful operations are counted, and after [`OPERATIONS_PER_POLL`] the next one returns
//! `Pending` although it could go on, having woken its task first.
//!
//! The count is per thread. A task spawned through our [`Spawner`](crate::Spawner) starts each poll with a full budget,
//! and once it is spent, all further operations of that poll are put off. Elsewhere (a `ThreadPool`, a plain
//! `block_on`) nobody marks the beginning of a poll, so there the count just goes round: one operation in so many
//! yields.
//!
//! Somebody may run an executor of another kind *inside* a task, which polls again and again within the one poll that
//! we know of. It blocks the thread, which is bad enough; that it should also wait for ever for a new budget would be
//! worse. So after [very many refusals](PATIENCE) it gets one.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Successful operations on sources that one task may do in one poll before it has to let others go first, and before
/// the reactor looks for events again.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{OPERATIONS_PER_POLL, Source};
/// use futures::{AsyncReadExt, FutureExt};
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// async_epoll::block_on(async {
///     let (mut peer, stream) = UnixStream::pair()?;
///     peer.write_all(&[7; 100])?;
///     let source = Source::new(stream)?;
///     let mut operations = 0;
///     // All hundred bytes are there. Read one by one, they take more than one poll.
///     while (&source).read_exact(&mut [0]).now_or_never().is_some() {
///         operations += 1;
///     }
///     assert_eq!(operations, OPERATIONS_PER_POLL);
///     Ok(())
/// })?
/// # }
/// ```
pub const OPERATIONS_PER_POLL: u32 = 32;

/// Refusals in one poll before the budget is filled again: more than any task needs to ask all its sources once.
const PATIENCE: u32 = 10_000;

/// Set while the poll of a task whose beginning we know is running.
const BOUNDED: u32 = 1 << 31;

thread_local! {
    /// Operations left, and [`BOUNDED`]. Plain data without a destructor, so the access is one instruction.
    static LEFT: Cell<u32> = const { Cell::new(OPERATIONS_PER_POLL) };
    /// Refusals since they were last heard.
    static REFUSALS: Cell<u32> = const { Cell::new(0) };
}

/// A full budget for one poll; without bounds again when dropped.
#[derive(Debug)]
pub(crate) struct PollBudget {
    /// What to put back: polls may nest (a `block_on` of another kind inside a task).
    before: u32,
}

/// Begins a task's poll.
pub(crate) fn begin_poll() -> PollBudget {
    PollBudget { before: LEFT.replace(BOUNDED | OPERATIONS_PER_POLL) }
}

impl PollBudget {
    /// Whether the poll has done all it may.
    pub(crate) fn is_spent(&self) -> bool {
        LEFT.get() == BOUNDED
    }
}

impl Drop for PollBudget {
    fn drop(&mut self) {
        LEFT.set(self.before);
    }
}

/// Asks to do one more operation. `Pending`, with the task woken, if it has done enough.
pub(crate) fn poll_proceed(cx: &Context<'_>) -> Poll<()> {
    let left = LEFT.get();
    if left & !BOUNDED != 0 {
        return Poll::Ready(());
    }
    refuse(left, cx)
}

/// Puts the operation off.
#[cold]
fn refuse(left: u32, cx: &Context<'_>) -> Poll<()> {
    let refusals = if left & BOUNDED == 0 { PATIENCE } else { REFUSALS.get() + 1 };
    if refusals >= PATIENCE {
        LEFT.set(left & BOUNDED | OPERATIONS_PER_POLL);
        REFUSALS.set(0);
    } else {
        REFUSALS.set(refusals);
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// An operation succeeded.
pub(crate) fn spend() {
    spend_several(1);
}

/// An operation succeeded that counts as several.
pub(crate) fn spend_several(operations: u32) {
    let left = LEFT.get();
    LEFT.set(left - operations.min(left & !BOUNDED));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn operations_until_pending() -> u32 {
        let cx = Context::from_waker(Waker::noop());
        let mut done = 0;
        while poll_proceed(&cx).is_ready() {
            spend();
            done += 1;
        }
        done
    }

    #[test]
    fn within_a_task_the_budget_is_for_the_whole_poll() {
        let budget = begin_poll();
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
        assert_eq!(operations_until_pending(), 0, "until the next poll");
        drop(budget);
        let _next = begin_poll();
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
    }

    /// Heavier operations use the budget up sooner, and never more than there is.
    #[test]
    fn operations_may_count_as_several() {
        let cx = Context::from_waker(Waker::noop());
        for weight in [2, 3, 100] {
            let _budget = begin_poll();
            let mut done = 0;
            while poll_proceed(&cx).is_ready() {
                spend_several(weight);
                done += 1;
            }
            assert_eq!(done, OPERATIONS_PER_POLL.div_ceil(weight));
        }
    }

    #[test]
    fn elsewhere_it_goes_round() {
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
    }
}
