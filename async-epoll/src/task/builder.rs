//! A task with a name.

use super::handle::TaskHandle;
use super::job::job;
use super::label::{Label, TaskName};
use super::set::TaskSet;
use super::watched::Owner;
use futures::task::LocalFutureObj;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::rc::Rc;

/// The settings of a new task; from [`Spawner::task`](crate::Spawner::task).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{LocalRuntime, Spawner};
///
/// LocalRuntime::new()?.try_run_until(async {
///     let number = 7;
///     let task = Spawner::current()?.task().name(format!("worker {number}")).spawn_task(async move { number })?;
///     assert_eq!(task.name(), Some("worker 7"));
///     assert_eq!(task.await?, 7);
///     Ok(())
/// })
/// # }
/// ```
#[must_use = "a task is spawned by `spawn` or `spawn_task`"]
pub struct TaskBuilder {
    /// The tasks.
    tasks: Rc<TaskSet>,
    /// The name of the new task.
    name: Option<TaskName>,
}

impl TaskBuilder {
    /// Returns the settings of a task without a name.
    pub(crate) const fn new(tasks: Rc<TaskSet>) -> Self {
        Self { tasks, name: None }
    }

    /// Sets the name of the task. A name from the program's text is not copied.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into().into());
        self
    }

    /// Spawns the task without a handle.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the pool has been dropped; `future` is dropped then.
    #[track_caller]
    pub fn spawn(self, future: impl Future<Output = ()> + 'static) -> io::Result<()> {
        let Self { tasks, name } = self;
        let spawned_at = Location::caller();
        let spawned = match name {
            None => tasks.spawn(LocalFutureObj::new(Box::new(future)), spawned_at),
            Some(_) => {
                tasks.spawn_watched(job(future), &Label { spawned_at, name }, |_, _, _| Owner::Nothing).map(drop)
            }
        };
        spawned.map_err(TaskSet::pool_dropped)
    }

    /// Spawns the task, and returns its handle. See [`Spawner::spawn_task`](crate::Spawner::spawn_task).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the pool has been dropped; `future` is dropped then.
    #[track_caller]
    pub fn spawn_task<F>(self, future: F) -> io::Result<TaskHandle<F::Output>>
    where
        F: Future<Output: 'static> + 'static,
    {
        let Self { tasks, name } = self;
        let label = Label { spawned_at: Location::caller(), name };
        let spawned = tasks.spawn_watched(job(future), &label, |_, _, _| Owner::Handle(None));
        let (number, id) = spawned.map_err(TaskSet::pool_dropped)?;
        Ok(TaskHandle::new(tasks, number, id, label))
    }
}

impl fmt::Debug for TaskBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder").field("name", &self.name.as_ref().map(TaskName::as_str)).finish_non_exhaustive()
    }
}
