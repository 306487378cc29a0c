//! Tasks: the seam between our reactor and an unmodified `LocalPool`.
//!
//! A [`Spawner`](spawner::Spawner), or from another thread a [`RemoteSpawner`](remote::RemoteSpawner), puts futures
//! into a [`TaskSet`](set::TaskSet). The pool polls the set's *driver*, the only future we put into it, and the driver
//! polls the tasks in the queue, each with a [`TaskWaker`](waker::TaskWaker) of ours. The [`Turn`](turn::Turn) says how
//! many polls are left before the reactor has to look for events, and reports panics. With the feature `inspect` a
//! [`Record`](record::Record) of each task is kept.
//!
//! A task that has a handle, a group or a name is a [watched] task; that page has the races of abort. The
//! [current] spawner is the one that [`spawn_local`](crate::spawn_local) uses.
//!
//! ```text
//!   Spawner ──► TaskSet ◄── Driver ◄── LocalPool::run_until_stalled
//!   TaskHandle ─┘ │  ▲        │ admit one more poll?
//!   RemoteSpawner─┘  │        ▼
//!              PoolQueue    Turn { budget, number, panic hook, parked drivers }
//!                 ▲
//!             TaskWaker, on any thread: wakers, AbortHandle
//! ```

pub(crate) mod yield_now;
pub(crate) mod arrival;
pub(crate) mod label;
pub(crate) mod record;
pub(crate) mod waker;
pub(crate) mod current;
pub(crate) mod running;
pub(crate) mod turn;
pub(crate) mod waiting;
pub(crate) mod job;
pub(crate) mod watched;
pub(crate) mod set;
pub(crate) mod error;
pub(crate) mod handle;
pub(crate) mod idle;
pub(crate) mod remote;
pub(crate) mod builder;
pub(crate) mod spawner;
#[cfg(feature = "inspect")]
pub(crate) mod inspect;
