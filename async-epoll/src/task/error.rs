//! Why a task has no output.

use super::label::Label;
use super::watched::Payload;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

/// Why a task has no output; from awaiting a [`TaskHandle`](crate::TaskHandle).
///
/// The task was aborted, by a handle or with its pool, or it has panicked. The message has the task's name, the place where
/// the task was spawned, and the message of the panic. Becomes an [`io::Error`] by `?`.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// async_epoll::try_block_on(async {
///     let spawner = async_epoll::Spawner::current()?;
///     let task = spawner.task().name("parser").spawn_task(async { panic!("no header") })?;
///     let error = task.await.unwrap_err();
///     assert!(error.is_panic());
///     assert!(error.to_string().starts_with(r#"task "parser", spawned at "#), "{error}");
///     assert!(error.to_string().ends_with(", has panicked: no header"), "{error}");
///     assert_eq!(error.try_into_panic().unwrap().downcast_ref::<&str>(), Some(&"no header"));
///     Ok(())
/// })
/// # }
/// ```
pub struct TaskError {
    /// The name and the place of the task.
    label: Label,
    /// What has happened.
    reason: Reason,
}

/// Why a task has no output.
pub(crate) enum Reason {
    /// The task was aborted.
    Aborted,
    /// The pool was dropped.
    PoolDropped,
    /// The future has panicked. The lock makes the error `Sync`, which an `io::Error` demands; it is never contended.
    Panicked(Mutex<Payload>),
    /// The outcome has been taken before.
    Taken,
    /// This is a forked child, and the task runs in its parent.
    InChild,
}

impl TaskError {
    /// Returns the error of a task.
    pub(crate) const fn new(label: Label, reason: Reason) -> Self {
        Self { label, reason }
    }

    /// Returns whether the task was aborted, or dropped with its pool.
    pub const fn is_aborted(&self) -> bool {
        matches!(self.reason, Reason::Aborted | Reason::PoolDropped)
    }

    /// Returns whether the task was aborted while its pool went on.
    pub(crate) const fn is_abort_alone(&self) -> bool {
        matches!(self.reason, Reason::Aborted)
    }

    /// Returns whether the task has panicked.
    pub const fn is_panic(&self) -> bool {
        matches!(self.reason, Reason::Panicked(_))
    }

    /// Returns the payload of the panic, for [`std::panic::resume_unwind`] for example.
    ///
    /// # Errors
    ///
    /// This error as it was, if the task has not panicked.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self.reason {
            Reason::Panicked(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            reason => Err(Self { reason, ..self }),
        }
    }

    /// Returns the name of the task, if it was [spawned with one](crate::Spawner::task).
    pub fn name(&self) -> Option<&str> {
        self.label.name()
    }

    /// Returns the place of the call that spawned the task.
    pub const fn spawned_at(&self) -> &'static Location<'static> {
        self.label.spawned_at
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task ")?;
        if let Some(name) = self.name() {
            write!(f, "{name:?}, ")?;
        }
        write!(f, "spawned at {}, ", self.label.spawned_at)?;
        match &self.reason {
            Reason::Aborted => f.write_str("was aborted"),
            Reason::PoolDropped => f.write_str("was dropped with its pool"),
            Reason::Taken => f.write_str("has been awaited before: its handle is ready once"),
            Reason::InChild => f.write_str("belongs to the parent process; a forked child does not run it"),
            Reason::Panicked(payload) => {
                let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                let text = payload.downcast_ref::<&str>().copied();
                match text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)) {
                    Some(text) => write!(f, "has panicked: {text}"),
                    None => f.write_str("has panicked"),
                }
            }
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskError({self})")
    }
}

impl Error for TaskError {}

impl From<TaskError> for io::Error {
    /// Wraps the error, with the kind [`Other`](io::ErrorKind::Other).
    fn from(error: TaskError) -> Self {
        Self::other(error)
    }
}
