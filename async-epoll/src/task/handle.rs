//! The handle of a task: await it, abort it, ask it.
//!
//! A [`TaskHandle`] stays on the pool's thread and holds a place in the set's table of [watched](super::watched) tasks,
//! which has the output and the waker of what awaits it. An [`AbortHandle`] goes to any thread and holds what the wakers of
//! the task refer to. An abort is a wake that leaves a mark; the page of the watched tasks has the races.

use super::error::{Reason, TaskError};
use super::label::Label;
use super::set::TaskSet;
use super::waker::TaskWaker;
use super::watched::Outcome;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// A task that can be awaited, aborted and asked; from [`Spawner::spawn_task`](crate::Spawner::spawn_task).
///
/// Awaiting the handle returns the output of the task's future, or a [`TaskError`] if the task was aborted or has panicked.
/// The task runs whether the handle is awaited or not.
///
/// Dropping the handle leaves the task running; [`detach`](Self::detach) says so. [`abort_on_drop`](Self::abort_on_drop)
/// makes dropping the handle abort the task. (The `RemoteHandle` of
/// [`spawn_local_with_handle`](crate::Spawner::spawn_local_with_handle) is another type with the other default.)
///
/// A handle stays on the thread of its task (`!Send`). Other threads abort by an [`AbortHandle`].
///
/// # Panics of the task
///
/// The payload goes to the awaited handle. If the handle is dropped before it was ready, or does not exist any more when
/// the task panics, the payload goes to [`on_task_panic`](crate::ReactorBuilder::on_task_panic) instead, so each panic is
/// seen once. A panic of the future's destructor counts as a panic of the task. So does a panic of an output that is dropped
/// with its handle.
///
/// # Cancel safety
///
/// Awaiting `&mut handle` may be given up and begun again; nothing is lost. Once the handle has been ready, awaiting it
/// again returns an error that says so. In a forked child of the process that runs the task, awaiting it is an error.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{LocalRuntime, Timer};
/// use std::time::Duration;
///
/// let mut runtime = LocalRuntime::new()?;
/// let (spawner, handle) = (runtime.spawner(), runtime.handle());
/// runtime.try_run_until(async {
///     let timer = Timer::after(Duration::from_millis(1), &handle);
///     let task = spawner.spawn_task(async move { timer.await.map(|()| "done") })?;
///     assert!(!task.is_finished());
///     assert_eq!(task.await??, "done");
///     Ok(())
/// })
/// # }
/// ```
#[must_use = "a task without its handle runs on; call `detach` to say so"]
pub struct TaskHandle<T: 'static> {
    /// The tasks.
    tasks: Rc<TaskSet>,
    /// The number of the task in the table, whose entry stays until the handle has been ready. `None` from then on.
    number: Option<u32>,
    /// Whether dropping the handle aborts the task.
    aborts_on_drop: bool,
    /// The number of the task in the reactor.
    id: u64,
    /// The name and the place of the task.
    label: Label,
    /// The type of the output, which the table does not know. A function, so that the handle is always `Unpin`.
    output: PhantomData<fn() -> T>,
}

impl<T: 'static> TaskHandle<T> {
    /// Returns the handle of the task in the entry `number`. The type `T` is that of the output.
    pub(crate) const fn new(tasks: Rc<TaskSet>, number: u32, id: u64, label: Label) -> Self {
        Self { tasks, number: Some(number), aborts_on_drop: false, id, label, output: PhantomData }
    }

    /// Aborts the task: its future is dropped before the reactor sleeps again, on the pool's thread, without another poll.
    ///
    /// The future is not dropped inside of this call, so the call may come from anywhere, also from the task itself, and
    /// with a `RefCell` borrowed that the future's destructor borrows, too. Wait for the drop by awaiting the handle.
    ///
    /// A task in another pool than the one that is run is dropped when its own pool is run or dropped.
    ///
    /// Does nothing if the task has ended. If the task is being polled and that poll is ready, the task ends with its
    /// output: the abort came too late.
    pub fn abort(&self) {
        // Taken out first, since the abort calls the pool's waker.
        if let Some(waker) = self.waker() {
            waker.abort();
        }
    }

    /// Returns a handle by which any thread can abort the task.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let task = runtime.spawner().spawn_task(std::future::pending::<()>())?;
    /// let abort = task.abort_handle();
    /// let thread = std::thread::spawn(move || abort.abort());
    /// assert!(runtime.run_until(task)?.unwrap_err().is_aborted());
    /// thread.join().unwrap();
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { task: self.waker(), id: self.id, label: self.label.clone() }
    }

    /// Returns whether the task has ended: its future has been dropped, and awaiting the handle does not wait.
    pub fn is_finished(&self) -> bool {
        self.number.is_none_or(|number| self.tasks.watched().borrow_mut().has_ended(number))
    }

    /// Returns the number of the task. No other task of the reactor has this number, now or later. `TaskInfo::id` of the
    /// feature `inspect` is the same.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns the name of the task, if it was [spawned with one](crate::Spawner::task).
    pub fn name(&self) -> Option<&str> {
        self.label.name()
    }

    /// Drops the handle and leaves the task running, also after [`abort_on_drop`](Self::abort_on_drop).
    pub fn detach(mut self) {
        self.aborts_on_drop = false;
    }

    /// Makes dropping the handle [abort](Self::abort) the task.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let mut runtime = async_epoll::LocalRuntime::new()?;
    /// let task = runtime.spawner().spawn_task(std::future::pending::<()>())?.abort_on_drop();
    /// drop(task);
    /// runtime.run() // Returns: no task is left.
    /// # }
    /// ```
    pub fn abort_on_drop(mut self) -> Self {
        self.aborts_on_drop = true;
        self
    }

    /// Returns what the wakers of the task refer to; `None` if the task has ended.
    fn waker(&self) -> Option<Arc<TaskWaker>> {
        self.tasks.watched().borrow_mut().waker(self.number?)
    }

    /// Asks for the outcome, and leaves the waker if there is none yet.
    fn poll_outcome(&mut self, waker: &Waker) -> Poll<Outcome> {
        let Some(number) = self.number else { return Poll::Ready(Outcome::Taken) };
        let watched = self.tasks.watched();
        {
            let mut watched = watched.borrow_mut();
            if let Some(outcome) = watched.take_outcome(number) {
                self.number = None;
                return Poll::Ready(outcome);
            }
            if watched.will_wake(number, waker) {
                return Poll::Pending;
            }
        }
        // The clone may run user code, so the task is asked anew after it.
        let joiner = waker.clone();
        let (outcome, replaced) = watched.borrow_mut().join(number, joiner);
        if outcome.is_some() {
            self.number = None;
        }
        replaced.into_iter().for_each(|waker| self.tasks.turn.shared.drop_waker(waker));
        outcome.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T: 'static> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(outcome) = self.poll_outcome(cx.waker()) else {
            // Nothing would end the wait in a forked child.
            if self.tasks.turn.shared.is_child() {
                return Poll::Ready(Err(TaskError::new(self.label.clone(), Reason::InChild)));
            }
            return Poll::Pending;
        };
        let reason = match outcome {
            Outcome::Done(job) => {
                let mut output = None::<T>;
                job.into_iter().for_each(|mut job| job.as_mut().take(&mut output));
                match output {
                    Some(output) => return Poll::Ready(Ok(output)),
                    None => Reason::Taken,
                }
            }
            Outcome::Aborted => Reason::Aborted,
            Outcome::PoolDropped => Reason::PoolDropped,
            Outcome::Panicked(payload) => Reason::Panicked(Mutex::new(payload)),
            Outcome::Taken => Reason::Taken,
        };
        Poll::Ready(Err(TaskError::new(self.label.clone(), reason)))
    }
}

impl<T: 'static> FusedFuture for TaskHandle<T> {
    fn is_terminated(&self) -> bool {
        self.number.is_none()
    }
}

impl<T: 'static> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        if self.aborts_on_drop {
            self.abort();
        }
        if let Some(number) = self.number {
            self.tasks.release(number);
        }
    }
}

impl<T: 'static> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "TaskHandle", self.id, &self.label, self.is_finished())
    }
}

/// Aborts a task from any thread; from [`TaskHandle::abort_handle`].
///
/// Cheap to clone. An abort handle keeps the memory of one waker, not the task's future or output.
#[derive(Clone)]
pub struct AbortHandle {
    /// What the wakers of the task refer to. `None` if the task had ended when the handle was made.
    task: Option<Arc<TaskWaker>>,
    /// The number of the task in the reactor.
    id: u64,
    /// The name and the place of the task.
    label: Label,
}

impl AbortHandle {
    /// Returns the abort handle of a new task, to whose wakers `task` belongs.
    pub(crate) const fn new(task: Option<Arc<TaskWaker>>, id: u64, label: Label) -> Self {
        Self { task, id, label }
    }

    /// Aborts the task, as [`TaskHandle::abort`] does: the pool's thread drops the task's future, before its reactor sleeps
    /// again. Does nothing if the task has ended.
    ///
    /// What this thread did before is visible to the future's destructor.
    pub fn abort(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }

    /// Returns whether the task has ended. What the future's destructor did is visible then.
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(|task| task.scheduled.is_done())
    }

    /// Returns the number of the task, as [`TaskHandle::id`].
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns the name of the task, if it was [spawned with one](crate::Spawner::task).
    pub fn name(&self) -> Option<&str> {
        self.label.name()
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "AbortHandle", self.id, &self.label, self.is_finished())
    }
}

/// Writes the debug form of a handle.
fn debug(f: &mut fmt::Formatter<'_>, what: &str, id: u64, label: &Label, is_finished: bool) -> fmt::Result {
    let mut debug = f.debug_struct(what);
    debug.field("id", &id);
    if let Some(name) = label.name() {
        debug.field("name", &name);
    }
    debug.field("spawned_at", &format_args!("{}", label.spawned_at)).field("is_finished", &is_finished);
    debug.finish()
}
