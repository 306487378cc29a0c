//! Groups of tasks: structured concurrency.
//!
//! There are two kinds. The children of a [`TaskGroup`](tasks::TaskGroup) are tasks on the pool: `'static`, polled by the
//! driver whatever the parent does, and ended with their group. The children of a [`scope`](scope::scope) are futures inside
//! of the parent's own future: they may borrow from the parent, and are polled only while the scope is.
//!
//! A child of a `TaskGroup` is a [watched task](crate::task::watched) whose owner is the group's [`Core`](core::Core) in place
//! of a handle. When a child ends, the task set passes the outcome to the core, which moves it to the end of a list of results:
//! so results come in the order in which the children end, at the same cost for each, and what is kept of a child that has
//! ended is its output alone.
//!
//! ```text
//!   TaskGroup ──────┐                  ┌── Owner::Group ── the entry of a child, in the task set
//!   GroupSpawner ───┼──► Core { running: numbers of children ◄──┐
//!   Spawn (future) ─┘      │    results: in order of the ends   │ child_ended
//!                          ▼    waiting: reader, spawns }     TaskSet
//!                       TaskSet::abort_now: drops the futures, before it returns
//!
//!   scope ── FuturesUnordered: the children, in the parent's future
//! ```

pub(crate) mod error;
pub(crate) mod places;
pub(crate) mod core;
pub(crate) mod spawn;
pub(crate) mod tasks;
pub(crate) mod close;
pub(crate) mod scope;
