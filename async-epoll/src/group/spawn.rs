//! How a child comes into a group: a spawner that children and other tasks may hold, and the future that waits for a place.

use super::core::Core;
use crate::task::handle::AbortHandle;
use crate::task::job::job;
use crate::task::label::{Label, TaskName};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Spawns children into a [`TaskGroup`](crate::TaskGroup); from [`TaskGroup::spawner`](crate::TaskGroup::spawner).
///
/// For children that spawn siblings, and for tasks that feed a group while another reads its results. Cheap to clone. A
/// spawner does not keep the group alive: after the group has ended, a spawn is an error that says so.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{GroupSpawner, TaskGroup};
/// use std::io;
///
/// /// Halves a number until it is 1, each step in a task of its own.
/// async fn halve(number: u32, spawner: GroupSpawner<io::Result<u32>>) -> io::Result<u32> {
///     if number > 1 {
///         spawner.spawn(Box::pin(halve(number / 2, spawner.clone()))).await?;
///     }
///     Ok(number)
/// }
///
/// async_epoll::try_block_on(async {
///     let group = TaskGroup::new()?;
///     let spawner = group.spawner();
///     group.spawn(halve(8, spawner.clone())).await?;
///     assert_eq!(group.try_join().await?, [8, 4, 2, 1]);
///     assert!(spawner.is_closed());
///     Ok(())
/// })
/// # }
/// ```
pub struct GroupSpawner<T: 'static> {
    /// The group.
    core: Rc<Core<T>>,
}

impl<T: 'static> GroupSpawner<T> {
    /// Returns a spawner into `core`.
    pub(crate) const fn new(core: Rc<Core<T>>) -> Self {
        Self { core }
    }

    /// Returns a future that spawns a child as soon as the group has a place, as
    /// [`TaskGroup::spawn`](crate::TaskGroup::spawn).
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> SpawnChild<T, F>
    where
        F: Future<Output = T> + 'static,
    {
        self.waiting(None, future)
    }

    /// Returns a future that spawns a child with a name, as [`TaskGroup::spawn_named`](crate::TaskGroup::spawn_named).
    #[track_caller]
    pub fn spawn_named<F>(&self, name: impl Into<Cow<'static, str>>, future: F) -> SpawnChild<T, F>
    where
        F: Future<Output = T> + 'static,
    {
        self.waiting(Some(name.into().into()), future)
    }

    /// Returns a future that spawns a child.
    #[track_caller]
    fn waiting<F>(&self, name: Option<TaskName>, future: F) -> SpawnChild<T, F> {
        let label = Label { spawned_at: Location::caller(), name };
        SpawnChild { core: Rc::clone(&self.core), child: Some((future, label)), ticket: None }
    }

    /// Spawns a child now, as [`TaskGroup::try_spawn`](crate::TaskGroup::try_spawn).
    ///
    /// # Errors
    ///
    /// As [`TaskGroup::try_spawn`](crate::TaskGroup::try_spawn).
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + 'static,
    {
        self.core.try_spawn(job(future), Label { spawned_at: Location::caller(), name: None })
    }

    /// Returns whether [`try_spawn`](Self::try_spawn) would find a place: fewer children run than the limit allows, fewer
    /// results are unread than the backlog allows, and no other spawn waits.
    pub fn has_place(&self) -> bool {
        self.core.has_place()
    }

    /// Returns whether the group takes no child any more: it was closed, joined or dropped.
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Returns the number of children that have not ended.
    pub fn running(&self) -> usize {
        self.core.running()
    }

    /// Aborts the children of the group, as [`TaskGroup::abort_all`](crate::TaskGroup::abort_all). If a child calls this, it
    /// is one of them, and ends after its poll.
    pub fn abort_all(&self) {
        self.core.abort_all();
    }

    /// Closes the group and aborts its children, as [`TaskGroup::cancel`](crate::TaskGroup::cancel).
    pub fn cancel(&self) {
        self.core.close();
        self.core.abort_all();
    }
}

impl<T: 'static> Clone for GroupSpawner<T> {
    fn clone(&self) -> Self {
        Self { core: Rc::clone(&self.core) }
    }
}

impl<T: 'static> fmt::Debug for GroupSpawner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("GroupSpawner");
        debug.field("running", &self.running()).field("is_closed", &self.is_closed()).finish()
    }
}

/// Spawns a child as soon as the group has a place; from [`TaskGroup::spawn`](crate::TaskGroup::spawn).
///
/// # Cancel safety
///
/// Dropping the future before it is ready drops the child's future, which has not been polled, and passes a place that was
/// granted to the next spawn that waits. Once it has been ready, awaiting it again is an error that says so.
#[must_use = "the child is spawned when this is awaited"]
pub struct SpawnChild<T: 'static, F> {
    /// The group.
    core: Rc<Core<T>>,
    /// The future, the name and the place of the child. Taken when it is spawned.
    child: Option<(F, Label)>,
    /// The ticket of this spawn, once it has waited for a place.
    ticket: Option<u64>,
}

/// The child's future is not polled here, so it need not stay where it is.
impl<T, F> Unpin for SpawnChild<T, F> {}

impl<T, F> Future for SpawnChild<T, F>
where
    F: Future<Output = T> + 'static,
{
    type Output = io::Result<AbortHandle>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { core, child, ticket } = &mut *self;
        // Asked first: a spawn without a child must not wait for a place.
        if child.is_some() {
            ready!(core.poll_place(ticket, cx))?;
        }
        let Some((future, label)) = child.take() else {
            return Poll::Ready(Err(io::Error::other("this child has been spawned before: the future is ready once")));
        };
        Poll::Ready(core.spawn_granted(ticket, job(future), label))
    }
}

impl<T: 'static, F> Drop for SpawnChild<T, F> {
    fn drop(&mut self) {
        // Most spawns have never waited.
        if self.ticket.is_some() {
            self.core.leave(&mut self.ticket);
        }
    }
}

impl<T: 'static, F> fmt::Debug for SpawnChild<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnChild").field("waits", &self.ticket.is_some()).finish_non_exhaustive()
    }
}
