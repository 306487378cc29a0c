//! What a message calls a task: its name, if it has one, and the place where it was spawned.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// The name of a task, cheap to clone: a handle, the task's entry and the records of the feature `inspect` have one each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskName {
    /// A name from the program's text. Costs no allocation.
    Static(&'static str),
    /// A name made while the program runs.
    Shared(Arc<str>),
}

impl TaskName {
    /// Returns the name as text.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl From<Cow<'static, str>> for TaskName {
    fn from(name: Cow<'static, str>) -> Self {
        match name {
            Cow::Borrowed(name) => Self::Static(name),
            Cow::Owned(name) => Self::Shared(name.into()),
        }
    }
}

/// The name and the place of a task. Shown as `src/main.rs:7:5` or `src/main.rs:7:5 "name"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    /// The place of the call that spawned the task.
    pub(crate) spawned_at: &'static Location<'static>,
    /// The name of the task, if it has one.
    pub(crate) name: Option<TaskName>,
}

impl Label {
    /// Returns the name as text.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_ref().map(TaskName::as_str)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.spawned_at)?;
        self.name().map_or(Ok(()), |name| write!(f, " {name:?}"))
    }
}
