//! Tasks: the seam between our reactor and an unmodified `LocalPool`.
//!
//! A [`Spawner`](spawner::Spawner), or from another thread a [`RemoteSpawner`](remote::RemoteSpawner), puts futures
//! into a [`TaskSet`](set::TaskSet). The pool polls the set's *driver*, the only future we put into it, and the driver
//! polls the tasks in the queue, each with a [`TaskWaker`](waker::TaskWaker) of ours. The [`Turn`](turn::Turn) says how
//! many polls are left before the reactor has to look for events, and reports panics. With the feature `inspect` a
//! [`Record`](record::Record) of each task is kept.
//!
//! ```text
//!   Spawner ──► TaskSet ◄── Driver ◄── LocalPool::run_until_stalled
//!                 │  ▲        │ admit one more poll?
//!   RemoteSpawner─┘  │        ▼
//!              PoolQueue    Turn { budget, number, panic hook, parked drivers }
//!                 ▲
//!             TaskWaker, on any thread
//! ```

pub(crate) mod arrival;
pub(crate) mod record;
pub(crate) mod waker;
pub(crate) mod running;
pub(crate) mod turn;
pub(crate) mod set;
pub(crate) mod remote;
pub(crate) mod spawner;
#[cfg(feature = "inspect")]
pub(crate) mod inspect;
