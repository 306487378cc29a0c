//! The group that users own: spawn, read, join, end.

use super::close::{CloseReport, close_within};
use super::core::Core;
use super::error::GroupError;
use super::spawn::{GroupSpawner, SpawnChild};
use crate::task::error::TaskError;
use crate::task::handle::AbortHandle;
use crate::task::spawner::Spawner;
use futures::stream::{FusedStream, Stream, StreamExt};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Tasks that end together: no child outlives its group.
///
/// The children are tasks on the pool: they run whatever the task that owns the group does, also while it awaits something
/// else, and must be `'static`. For children that borrow from their parent there is [`scope`](crate::scope()).
///
/// | to | use |
/// |---|---|
/// | add a child | [`spawn`](Self::spawn), [`spawn_named`](Self::spawn_named), [`try_spawn`](Self::try_spawn); within a child, a [`GroupSpawner`] |
/// | read results as children end | the group as a `Stream` of `Result<T, TaskError>` |
/// | wait for all | [`join`](Self::join), or [`try_join`](Self::try_join) if the output is a `Result` |
/// | end them | [`close_within`](Self::close_within), [`cancel`](Self::cancel), [`abort_all`](Self::abort_all), or drop the group |
///
/// # Dropping
///
/// Dropping the group aborts its children: their futures are dropped before the drop returns, without another poll. The one
/// exception is a child that is being polled while it drops its own group: it ends after that poll. Results that are unread
/// are dropped, too; panics among them go to [`on_task_panic`](crate::ReactorBuilder::on_task_panic), so each panic is seen
/// once.
///
/// In a forked child of the process that runs the tasks, dropping the group leaves them to the parent; reading it returns one
/// error for each of them.
///
/// # The stream
///
/// The stream has one item for each child, in the order in which they end: the output, or a [`TaskError`] if the child has
/// panicked or was aborted. It ends with `None` when neither a child nor an unread result is left, and goes on if a child is
/// spawned after that.
///
/// A child that awaits its own group waits for itself. [`Reactor::run`](crate::Reactor::run) reports this as a deadlock, if
/// nothing else is left to happen; otherwise the child hangs until it is aborted.
///
/// # Memory
///
/// When a child ends, its future is dropped and freed, and its output is kept until it is read. A group whose results are
/// never read keeps one output for each child that has ended: read the results, set a [backlog](Self::with_backlog), or make
/// the group [detached](Self::detached), which keeps none.
///
/// # Cancel safety
///
/// Reading the stream may be given up and begun again; nothing is lost. [`join`](Self::join), [`try_join`](Self::try_join) and
/// [`close_within`](Self::close_within) own the group: dropping one of these futures drops the group.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{TaskGroup, Timer};
/// use futures::StreamExt;
/// use std::time::Duration;
///
/// async_epoll::try_block_on(async {
///     let mut group = TaskGroup::new()?;
///     for milliseconds in [30, 1] {
///         group
///             .spawn(async move {
///                 let timer = Timer::try_after(Duration::from_millis(milliseconds))?;
///                 timer.await.map(|()| milliseconds)
///             })
///             .await?;
///     }
///     let mut ended = Vec::new();
///     while let Some(result) = group.next().await {
///         ended.push(result??);
///     }
///     assert_eq!(ended, [1, 30]);
///     Ok(())
/// })
/// # }
/// ```
#[must_use = "dropping a group aborts its children"]
pub struct TaskGroup<T: 'static> {
    /// The group. The spawner has all methods that spawn, so that there is one of each.
    spawner: GroupSpawner<T>,
    /// The same group.
    core: Rc<Core<T>>,
}

impl<T: 'static> TaskGroup<T> {
    /// Returns an empty group whose children are tasks of the [current](Spawner::current) spawner.
    ///
    /// # Errors
    ///
    /// `NotConnected`, with a message that says what to do, if no spawner is current.
    pub fn new() -> io::Result<Self> {
        Ok(Self::with_spawner(&Spawner::current()?))
    }

    /// Returns an empty group whose children are tasks of `spawner`.
    pub fn with_spawner(spawner: &Spawner) -> Self {
        let core = Core::new(Rc::clone(spawner.tasks()));
        Self { spawner: GroupSpawner::new(Rc::clone(&core)), core }
    }

    /// Limits how many children run at the same time, to at least 1: further [spawns](Self::spawn) wait. A child that has ended
    /// does not count, whether its result was read or not.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{TaskGroup, yield_now};
    ///
    /// async_epoll::try_block_on(async {
    ///     let group = TaskGroup::new()?.with_limit(2);
    ///     for number in 0..100 {
    ///         // Waits while two children run.
    ///         group.spawn(async move { yield_now().await; number }).await?;
    ///         assert!(group.running() <= 2);
    ///     }
    ///     assert_eq!(group.join().await?.len(), 100);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn with_limit(self, running: usize) -> Self {
        self.core.set_limits(|places| places.limit = running.max(1));
        self
    }

    /// Limits how many results may be unread, to at least 1: with that many, further [spawns](Self::spawn) wait until a result
    /// is read. Together with a [limit](Self::with_limit) this bounds the memory of the group: at most the sum of both are
    /// unread.
    ///
    /// A task that spawns and reads by turns must not await `spawn` alone then, since a spawn that waits for a reader waits for
    /// this task. Spawn through a [`GroupSpawner`] in another task, or ask [`has_place`](Self::has_place) first.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{TaskGroup, spawn_local};
    /// use futures::StreamExt;
    ///
    /// async_epoll::try_block_on(async {
    ///     let mut group = TaskGroup::new()?.with_limit(2).with_backlog(3);
    ///     let (spawner, mut sum) = (group.spawner(), 0);
    ///     let mut numbers = 0..100;
    ///     loop {
    ///         while group.has_place() {
    ///             let Some(number) = numbers.next() else { break };
    ///             spawner.try_spawn(async move { number })?;
    ///         }
    ///         assert!(group.len() <= 5);
    ///         match group.next().await {
    ///             Some(result) => sum += result?,
    ///             None => break,
    ///         }
    ///     }
    ///     assert_eq!(sum, 4950);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn with_backlog(self, unread: usize) -> Self {
        self.core.set_limits(|places| places.backlog = unread.max(1));
        self
    }

    /// Makes the group keep no results: outputs are dropped when children end, and panics go to
    /// [`on_task_panic`](crate::ReactorBuilder::on_task_panic), as those of tasks without a handle. Memory does not grow with
    /// the number of children that have ended.
    ///
    /// For servers, whose children end for years and whose results are of no interest. The stream of such a group has no
    /// items; it ends when no child runs. [`join`](Self::join) waits for all children, whatever happens to one.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::TaskGroup;
    ///
    /// async_epoll::try_block_on(async {
    ///     let group = TaskGroup::new()?.detached();
    ///     for number in 0..1000 {
    ///         group.spawn(async move { println!("served {number}") }).await?;
    ///     }
    ///     assert_eq!(group.join().await?, []);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn detached(self) -> Self {
        self.core.detach();
        self
    }

    /// Calls `hook` once when the group is closed: by [`close_within`](Self::close_within), [`close`](Self::close),
    /// [`cancel`](Self::cancel), by a child that fails in [`join`](Self::join), or when the group is dropped. The children are
    /// still there then, so this is how they are asked to end: cancel a token that they look at, or send to a channel.
    ///
    /// There may be several hooks; they are called in order. If the group is closed, `hook` is called now. A panic of a hook
    /// goes to [`on_task_panic`](crate::ReactorBuilder::on_task_panic).
    pub fn on_close(&self, hook: impl FnOnce() + 'static) {
        self.core.on_close(Box::new(hook));
    }

    /// Returns a spawner into this group, for children and other tasks.
    pub fn spawner(&self) -> GroupSpawner<T> {
        self.spawner.clone()
    }

    /// Returns a future that spawns a child as soon as the group has a place: at once, unless the group has a
    /// [limit](Self::with_limit) or a [backlog](Self::with_backlog). Spawns that wait go in the order in which they began to.
    ///
    /// The future is ready with an [`AbortHandle`] of the child. It does not borrow the group.
    ///
    /// # Errors
    ///
    /// From the future: `BrokenPipe` if the group is closed, also while the spawn waits; `NotConnected` if the pool has been
    /// dropped. The child's future is dropped then.
    ///
    /// # Cancel safety
    ///
    /// Nothing is spawned, and no place is lost, if the future is dropped before it is ready.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> SpawnChild<T, F>
    where
        F: Future<Output = T> + 'static,
    {
        self.spawner.spawn(future)
    }

    /// Returns a future that spawns a child with a name, which appears in its [`TaskError`], in deadlock reports and traces.
    /// A name from the program's text is not copied.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::TaskGroup;
    ///
    /// async_epoll::try_block_on(async {
    ///     let group = TaskGroup::new()?;
    ///     group.spawn_named("parser", async { panic!("no header") }).await?;
    ///     let error = group.join().await.unwrap_err();
    ///     assert_eq!(error.first.name(), Some("parser"));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_named<F>(&self, name: impl Into<Cow<'static, str>>, future: F) -> SpawnChild<T, F>
    where
        F: Future<Output = T> + 'static,
    {
        self.spawner.spawn_named(name, future)
    }

    /// Spawns a child now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the group has no [place](Self::has_place), `BrokenPipe` if it is closed, `NotConnected` if the pool has
    /// been dropped. `future` is dropped then.
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + 'static,
    {
        self.spawner.try_spawn(future)
    }

    /// Returns whether [`try_spawn`](Self::try_spawn) would find a place: fewer children run than the limit allows, fewer
    /// results are unread than the backlog allows, and no other spawn waits.
    pub fn has_place(&self) -> bool {
        self.core.has_place()
    }

    /// Returns the number of children that have not ended and of results that are unread: what the stream will return.
    pub fn len(&self) -> usize {
        self.core.running() + self.core.unread()
    }

    /// Returns whether neither a child nor an unread result is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of children that have not ended.
    pub fn running(&self) -> usize {
        self.core.running()
    }

    /// Returns whether the group takes no child any more.
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Aborts the children that the group has now. Their futures are dropped before this returns, without another poll, but
    /// for a child that is being polled, which ends after that poll. The group goes on: the results of the aborted children
    /// are errors, and new children may be spawned.
    ///
    /// The destructors of the futures run inside of this call: hold no `RefCell` borrow that they need.
    pub fn abort_all(&self) {
        self.core.abort_all();
    }

    /// Closes the group: from now on, spawns are errors. Calls what [`on_close`](Self::on_close) has left. The children run on.
    pub fn close(&self) {
        self.core.close();
    }

    /// [Closes](Self::close) the group and [aborts](Self::abort_all) its children. The results can still be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::TaskGroup;
    /// use futures::StreamExt;
    /// use std::future::pending;
    ///
    /// async_epoll::try_block_on(async {
    ///     let mut group = TaskGroup::new()?;
    ///     group.spawn(pending::<()>()).await?;
    ///     group.cancel();
    ///     assert_eq!(group.running(), 0); // Dropped, not just asked.
    ///     assert!(group.next().await.unwrap().unwrap_err().is_aborted());
    ///     let error = group.spawn(pending()).await.unwrap_err();
    ///     assert!(error.to_string().starts_with("the group is closed"));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn cancel(&self) {
        self.spawner.cancel();
    }

    /// Waits for all children, and returns the outputs that are unread, in the order in which the children ended. Any value
    /// counts as success here, also an `Err`: see [`try_join`](Self::try_join).
    ///
    /// Children may spawn siblings meanwhile. Children that were aborted by the program have no output and are no failure;
    /// they are left out.
    ///
    /// # Errors
    ///
    /// When a child has panicked, or was dropped with its pool, the group is [cancelled](Self::cancel) at once. The error is
    /// returned when all children have ended, with those of other children beside it; the outputs are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::TaskGroup;
    /// use std::future::pending;
    ///
    /// async_epoll::try_block_on(async {
    ///     let group = TaskGroup::new()?;
    ///     group.spawn(async { 6 * 7 }).await?;
    ///     assert_eq!(group.join().await?, [42]);
    ///
    ///     let group = TaskGroup::new()?;
    ///     group.spawn(pending::<u32>()).await?;
    ///     group.spawn(async { panic!("on purpose") }).await?;
    ///     assert!(group.join().await.unwrap_err().first.is_panic());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn join(self) -> Result<Vec<T>, GroupError<TaskError>> {
        self.join_by(Ok).await
    }

    /// Waits for all children, judges each result by `judge`, and ends the group when one has failed.
    async fn join_by<U, E>(mut self, judge: impl Fn(T) -> Result<U, E>) -> Result<Vec<U>, GroupError<E>>
    where
        E: From<TaskError>,
    {
        let (mut outputs, mut failed) = (Vec::new(), None::<GroupError<E>>);
        while let Some(result) = self.next().await {
            let judged = match result {
                Ok(output) => judge(output),
                Err(error) if error.is_abort_alone() => continue,
                Err(error) => Err(error.into()),
            };
            match (judged, &mut failed) {
                (Ok(output), None) => outputs.push(output),
                (Ok(_), Some(_)) => {}
                (Err(error), Some(failed)) => failed.others.push(error),
                (Err(first), None) => {
                    failed = Some(GroupError { first, others: Vec::new() });
                    self.cancel();
                }
            }
        }
        failed.map_or(Ok(outputs), Err)
    }

    /// Closes the group, which [asks](Self::on_close) the children to end, waits at most `grace` for them, aborts the rest, and
    /// returns how many have ended in which way. Without a hook the children are not asked, and end by themselves or not.
    ///
    /// A zero `grace` aborts at once; `Duration::MAX` waits for ever. If the reactor is gone, the grace is over.
    ///
    /// # Cancel safety
    ///
    /// The future owns the group: dropping it aborts the children.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::TaskGroup;
    /// use futures::channel::oneshot;
    /// use std::{future::pending, time::Duration};
    ///
    /// async_epoll::try_block_on(async {
    ///     let group = TaskGroup::new()?;
    ///     let (ask, asked) = oneshot::channel();
    ///     group.on_close(|| ask.send(()).unwrap());
    ///     group.spawn(async { asked.await.unwrap() }).await?;
    ///     group.spawn(pending()).await?; // Does not listen.
    ///     let report = group.close_within(Duration::from_millis(5)).await;
    ///     assert_eq!((report.ended, report.aborted, report.panicked), (1, 1, 0));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn close_within(self, grace: Duration) -> CloseReport<T> {
        close_within(&self.core, grace).await
    }
}

impl<U: 'static, E: 'static> TaskGroup<Result<U, E>> {
    /// Waits for all children, as [`join`](Self::join), and counts an `Err` of a child as a failure: the first error or panic
    /// cancels the group.
    ///
    /// # Errors
    ///
    /// The first error of a child, or its [`TaskError`] if it has panicked or was dropped with its pool, with those of other
    /// children beside it.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::TaskGroup;
    /// use std::io;
    ///
    /// async_epoll::try_block_on(async {
    ///     let group = TaskGroup::new()?;
    ///     for number in 1..=3 {
    ///         group.spawn(async move { io::Result::Ok(number) }).await?;
    ///     }
    ///     assert_eq!(group.try_join().await?.iter().sum::<u32>(), 6);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn try_join(self) -> Result<Vec<U>, GroupError<E>>
    where
        E: From<TaskError>,
    {
        self.join_by(|output| output).await
    }
}

impl<T: 'static> Stream for TaskGroup<T> {
    type Item = Result<T, TaskError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.core.poll_result(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.core.unread(), None)
    }
}

impl<T: 'static> FusedStream for TaskGroup<T> {
    /// Returns whether the group [is empty](Self::is_empty): then the stream returns `None`, until a child is spawned.
    fn is_terminated(&self) -> bool {
        self.is_empty()
    }
}

impl<T: 'static> Drop for TaskGroup<T> {
    fn drop(&mut self) {
        self.core.end();
    }
}

impl<T: 'static> fmt::Debug for TaskGroup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("running", &self.running())
            .field("unread", &self.core.unread())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}
