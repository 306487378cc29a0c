//! What users hold: the reactor, and the ways to run it.
//!
//! A [`Reactor`](reactor::Reactor) puts three parts together: the engine, which waits; the turn, which the tasks of
//! this thread share with the loop; and the [`Pools`](pools::Pools), the task sets of its spawners.
//! [`run` and `run_until`](run) are the loop, with a [report of certain deadlocks](deadlock);
//! [`LocalRuntime`](runtime::LocalRuntime) adds a pool, and a [`Background`](background::Background) moves the engine
//! to a thread of its own. [`orders`] runs a test in many orders.
//!
//! ```text
//!   LocalRuntime { pool, reactor }
//!                     │
//!   run, run_until ── Reactor { engine, turn, pools } ── into_background ──► Background (engine only)
//!   1 main future, 2 pool, 3 sleep, 4 dispatch, 5 wake, 6 new budget
//! ```

pub(crate) mod pools;
pub(crate) mod orders;
#[expect(clippy::module_inception, reason = "the reactor is the file that gives this room its name")]
pub(crate) mod reactor;
pub(crate) mod deadlock;
pub(crate) mod run;
pub(crate) mod runtime;
pub(crate) mod background;
