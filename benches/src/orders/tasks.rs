//! The order for a process that spawns tasks and waits for them: an implementation, an exercise, and a count.
//!
//! The process answers with one figure: allocations per task.

use super::peer::Peer;
use std::fmt;
use std::str::FromStr;

/// What is done with the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskExercise {
    /// Spawn tasks with a handle, and await the handles.
    Handle,
    /// Spawn tasks with a handle, let them wait, abort them, and await the handles.
    Abort,
    /// Spawn tasks into a group, and read their results as they end.
    Group,
    /// Spawn tasks into a group, let them wait, and drop the group.
    Drop,
}

impl TaskExercise {
    /// All exercises, in the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Handle, Self::Abort, Self::Group, Self::Drop];
}

impl fmt::Display for TaskExercise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Handle => "handle",
            Self::Abort => "abort",
            Self::Group => "group",
            Self::Drop => "drop",
        })
    }
}

impl FromStr for TaskExercise {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|exercise| exercise.to_string() == name);
        found.ok_or_else(|| format!("there is no exercise {name}"))
    }
}

/// The order for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskOrder {
    /// Ours or tokio; raw has no tasks.
    pub(crate) peer: Peer,
    pub(crate) exercise: TaskExercise,
    /// Tasks in all.
    pub(crate) count: usize,
}

impl TaskOrder {
    /// Returns the command line arguments for this order.
    pub(crate) fn to_args(self) -> Vec<String> {
        let Self { peer, exercise, count } = self;
        vec!["tasks".into(), peer.to_string(), exercise.to_string(), "--count".into(), count.to_string()]
    }
}
