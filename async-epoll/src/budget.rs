//! How many operations a task may do in one poll.
//!
//! A task with a socket that always has data would never return `Pending`, and everything else on its thread would
//! starve. So successful operations are counted. After [`OPERATIONS_PER_POLL`] the next operation is *refused*: it
//! wakes its task and returns `Pending`, although it could proceed. In other words, the task yields.
//!
//! The count is per thread. A task spawned through our [`Spawner`](crate::Spawner) starts each poll with a full budget,
//! and once the budget is spent, all further operations of this poll are refused. In other executors (a `ThreadPool`, a
//! plain `block_on`) the beginning of a poll is not known. There a refusal refills the budget: after every 32
//! operations, one is refused.
//!
//! A user may run another executor *inside* a task. It polls again and again within a single poll of the task. This
//! blocks the thread, but must not also wait for a new budget without end. So after [very many refusals](MAX_REFUSALS)
//! the budget is refilled.
//!
//! A refusal is not to be mistaken for a source that is not ready. [`refused_operations`] tells one from the other.
//!
//! A future that is ready without an operation, such as a timer with a deadline in the past, has a
//! [budget of its own](poll_cooperate): a busy socket in the same task must not make the timer wait.

use std::cell::Cell;
use std::task::{Context, Poll};

/// The number of successful operations on sources that a task may do in one poll. Then the task has to yield, so that
/// other tasks run and the reactor looks for events.
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

/// The number of refusals in one poll before the budget is refilled: more than a task needs to try each of its sources.
const MAX_REFUSALS: u32 = 10_000;

/// The number of steps that futures without operations may do in one poll. See [`poll_cooperate`].
const STEPS_PER_POLL: u32 = 128;

/// The bit of [`LEFT`] that says that a poll with a known beginning is running.
const BOUNDED: u32 = 1 << 31;
/// One step in [`LEFT`]. The steps left are above the operations left, in the same word.
const STEP: u32 = 1 << 16;
/// A full budget of steps in [`LEFT`].
const ALL_STEPS: u32 = STEPS_PER_POLL * STEP;
/// The bits of [`LEFT`] with the number of steps left.
const STEPS: u32 = BOUNDED - STEP;
/// The bits of [`LEFT`] with the number of operations left.
const OPERATIONS: u32 = STEP - 1;

thread_local! {
    /// Operations left, steps left, and [`BOUNDED`]. Plain data without a destructor, so the access is one instruction.
    static LEFT: Cell<u32> = const { Cell::new(OPERATIONS_PER_POLL) };
    /// Refusals since [`refuse`] last refilled the budget.
    static REFUSALS: Cell<u32> = const { Cell::new(0) };
    /// All refusals of this thread. Wraps.
    static ALL_REFUSALS: Cell<u32> = const { Cell::new(0) };
}

/// A full budget for one poll. Dropped at the end of the poll.
#[derive(Debug)]
pub(crate) struct PollBudget {
    /// The value of [`LEFT`] to restore at the end: polls may nest (another executor's `block_on` inside a task).
    before: u32,
}

/// Returns whether a poll with a known beginning is running: the poll of a task spawned through our spawner, or of the
/// future of a `run` method.
#[inline]
pub(crate) fn is_bounded() -> bool {
    LEFT.get() & BOUNDED != 0
}

/// Begins a task's poll, and returns its budget.
pub(crate) fn begin_poll() -> PollBudget {
    PollBudget { before: LEFT.replace(BOUNDED | ALL_STEPS | OPERATIONS_PER_POLL) }
}

impl PollBudget {
    /// Returns whether no operation is left in this poll.
    pub(crate) fn is_spent(&self) -> bool {
        LEFT.get() & (BOUNDED | OPERATIONS) == BOUNDED
    }
}

impl Drop for PollBudget {
    fn drop(&mut self) {
        LEFT.set(self.before);
    }
}

/// Returns `Ready` if one more operation is allowed. Otherwise wakes the task and returns `Pending`.
pub(crate) fn poll_proceed(cx: &Context<'_>) -> Poll<()> {
    let left = LEFT.get();
    if left & OPERATIONS != 0 {
        return Poll::Ready(());
    }
    refuse(left, cx)
}

/// Refuses an operation: wakes the task and returns `Pending`. Refills the budget outside a known poll, and after
/// [`MAX_REFUSALS`].
#[cold]
fn refuse(left: u32, cx: &Context<'_>) -> Poll<()> {
    let refusals = if left & BOUNDED == 0 { MAX_REFUSALS } else { REFUSALS.get() + 1 };
    if refusals >= MAX_REFUSALS {
        LEFT.set(left & !OPERATIONS | OPERATIONS_PER_POLL);
        REFUSALS.set(0);
    } else {
        REFUSALS.set(refusals);
    }
    ALL_REFUSALS.set(ALL_REFUSALS.get().wrapping_add(1));
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Takes a successful operation from the budget.
pub(crate) fn spend() {
    spend_several(1);
}

/// Takes a successful operation that counts as several from the budget, at most what is left.
pub(crate) fn spend_several(operations: u32) {
    let left = LEFT.get();
    LEFT.set(left - operations.min(left & OPERATIONS));
}

/// Returns how many operations this thread has refused so far, for want of [budget](OPERATIONS_PER_POLL). The number wraps.
///
/// A `Pending` usually says that a source is not ready. For code that draws a conclusion from this, such as "no more bytes
/// are there", a refusal must not count. The number is the same before and after an operation that was not refused. After a
/// refusal the task is woken already, so the code returns `Pending`, and asks again in the next poll.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{OPERATIONS_PER_POLL, Source, refused_operations};
/// use futures::{AsyncReadExt, FutureExt};
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// async_epoll::block_on(async {
///     let (mut peer, stream) = UnixStream::pair()?;
///     let mut source = Source::new(stream)?;
///     let before = refused_operations();
///     assert!(source.read(&mut [0]).now_or_never().is_none());
///     assert_eq!(refused_operations(), before, "the source has no bytes");
///
///     peer.write_all(&[7; 100])?;
///     source.readable().await?;
///     while source.read(&mut [0]).now_or_never().is_some() {}
///     assert_ne!(refused_operations(), before, "it has more");
///     Ok(())
/// })?
/// # }
/// ```
pub fn refused_operations() -> u32 {
    ALL_REFUSALS.get()
}

/// Yields now and then, for futures that may be ready many times in a row.
///
/// In the poll of a task spawned through [`Spawner`](crate::Spawner), or of the future of a `run` method, 128 calls
/// return `Ready`. The next call wakes the task and returns `Pending`, and the count begins anew. Everywhere else all
/// calls return `Ready`.
///
/// A future that takes from a queue, for example, or waits for a time in the past, calls this function when it is
/// ready. If the result is `Pending`, the future returns `Pending` too, and is ready in the next poll; until then it is
/// not terminated in the sense of `FusedFuture`. Operations on sources need no such call: they have a [budget of their
/// own](OPERATIONS_PER_POLL).
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
    // Refilled at once, not in the next poll: an executor inside the task may poll in a loop, and then there is no next
    // poll.
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

    /// Operations of a higher weight use the budget up sooner, and never take more than is left.
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

    /// Refusals are counted in every kind of poll, and nothing else is.
    #[test]
    fn refusals_are_counted() {
        let before = refused_operations();
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
        assert_eq!(refused_operations(), before.wrapping_add(1), "elsewhere");
        let _budget = begin_poll();
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
        let cx = Context::from_waker(Waker::noop());
        let until_refilled = (0..=MAX_REFUSALS).take_while(|_| poll_proceed(&cx).is_pending()).count() as u32;
        assert_eq!(refused_operations(), before.wrapping_add(2 + until_refilled));
        while poll_cooperate(&cx).is_ready() {}
        assert_eq!(refused_operations(), before.wrapping_add(2 + until_refilled));
    }

    #[test]
    fn elsewhere_it_goes_round() {
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
        assert_eq!(operations_until_pending(), OPERATIONS_PER_POLL);
    }
}
