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
//!
//! What is ready at once without being an operation, as a timer of no time at all, is [counted apart](poll_cooperate):
//! one that is polled beside a busy socket must not be refused because that has used the budget up.

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

/// Steps of loops that never wait, in one poll.
const STEPS_PER_POLL: u32 = 128;

/// Set while the poll of a task whose beginning we know is running.
const BOUNDED: u32 = 1 << 31;
/// One step that is left. The steps are above the operations, in the same word.
const STEP: u32 = 1 << 16;
/// All of them.
const ALL_STEPS: u32 = STEPS_PER_POLL * STEP;
/// The steps that are left.
const STEPS: u32 = BOUNDED - STEP;
/// The operations that are left.
const OPERATIONS: u32 = STEP - 1;

thread_local! {
    /// Operations left, steps left, and [`BOUNDED`]. Plain data without a destructor, so the access is one instruction.
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
    PollBudget { before: LEFT.replace(BOUNDED | ALL_STEPS | OPERATIONS_PER_POLL) }
}

impl PollBudget {
    /// Whether the poll has done all it may.
    pub(crate) fn is_spent(&self) -> bool {
        LEFT.get() & (BOUNDED | OPERATIONS) == BOUNDED
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
    if left & OPERATIONS != 0 {
        return Poll::Ready(());
    }
    refuse(left, cx)
}

/// Puts the operation off.
#[cold]
fn refuse(left: u32, cx: &Context<'_>) -> Poll<()> {
    let refusals = if left & BOUNDED == 0 { PATIENCE } else { REFUSALS.get() + 1 };
    if refusals >= PATIENCE {
        LEFT.set(left & !OPERATIONS | OPERATIONS_PER_POLL);
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
    LEFT.set(left - operations.min(left & OPERATIONS));
}

/// Lets a loop that never waits let others go first, now and then.
///
/// In the poll of a task spawned through [`Spawner`](crate::Spawner), or of the future of a `run` method, 128 calls
/// return `Ready`; the next one returns `Pending` and has woken the task, and then it begins anew. All calls made
/// anywhere else return `Ready`. For a future that may be ready at once again and again, such as one that takes from a
/// queue, or waits for a time that has passed: it calls this when it is ready, and if it gets `Pending` is ready the next
/// time, and until then not terminated in the sense of `FusedFuture`. Operations on sources
/// [count for themselves](OPERATIONS_PER_POLL).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use futures::future::{join, poll_fn};
/// use std::cell::Cell;
///
/// let stop = Cell::new(false);
/// let busy = async {
///     while !stop.get() {
///         // Without this, the other future would never be polled.
///         poll_fn(|cx| async_epoll::poll_cooperate(cx)).await;
///     }
/// };
/// async_epoll::block_on(join(busy, async { stop.set(true) }))?;
/// # Ok(())
/// # }
/// ```
pub fn poll_cooperate(cx: &Context<'_>) -> Poll<()> {
    let left = LEFT.get();
    if left & BOUNDED == 0 {
        return Poll::Ready(());
    }
    if left & STEPS != 0 {
        LEFT.set(left - STEP);
        return Poll::Ready(());
    }
    // Not refused until the next poll: there may be none, if somebody polls in a loop of his own.
    LEFT.set(left | ALL_STEPS);
    cx.waker().wake_by_ref();
    Poll::Pending
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

    /// Steps and operations do not use each other's budget up.
    #[test]
    fn steps_are_counted_apart() {
        let cx = Context::from_waker(Waker::noop());
        let budget = begin_poll();
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
        for _ in 0..3 {
            assert!((0..STEPS_PER_POLL).all(|_| poll_cooperate(&cx).is_ready()));
            assert!(poll_cooperate(&cx).is_pending());
        }
        assert!(budget.is_spent());
        drop(budget);
        assert!((0..1000).all(|_| poll_cooperate(&cx).is_ready()), "outside a poll");
        let _budget = begin_poll();
        assert!((0..STEPS_PER_POLL).all(|_| poll_cooperate(&cx).is_ready()));
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
    }

    #[test]
    fn elsewhere_it_goes_round() {
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
    }
}
