//! An epoll reactor for futures-rs: it lets a [`LocalPool`] wait for sockets, timers and
//! other threads, on the pool's own thread, on Linux.
//!
//! # In one paragraph
//!
//! A future that cannot go on returns `Pending` and leaves a waker. The kernel knows when a socket has become readable.
//! Something has to connect the two, and that is a reactor: it asks the kernel, with one `epoll_wait`, about everything
//! that any task waits for, and wakes those tasks. futures-rs has tasks, wakers and an executor, but nothing that waits;
//! this crate adds just that, beside an unmodified `futures` 0.3.
//!
//! # The loop
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use async_epoll::Reactor;
//! use futures::executor::LocalPool;
//!
//! let mut reactor = Reactor::new()?;
//! let mut pool = LocalPool::new();
//! let spawner = reactor.spawner(&pool);
//! spawner.spawn_local(async { println!("a task") }).unwrap();
//!
//! loop {
//!     pool.run_until_stalled(); // Polls tasks until none can go on.
//!     if spawner.live_tasks() == 0 {
//!         break;
//!     }
//!     reactor.wait(None)?; // Sleeps until something happens, and wakes tasks.
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Reactor::run`] and [`Reactor::run_until`] are this loop with the corners rounded, [`LocalRuntime`] is pool and
//! reactor in one, and [`block_on`] runs a single future. Everything stays on one thread; no helper thread is started
//! unless you [ask for one](Reactor::into_background).
//!
//! # One byte's journey
//!
//! 1. A task reads from a [`Source`]. Nothing is there: `read(2)` says `WouldBlock`, the source notes "not ready"
//!    (`readiness.rs`), leaves the task's waker with its registration (`registry.rs`, `waiters.rs`) and returns
//!    `Pending` (`operation.rs`).
//! 2. No task can go on, so the pool's `run_until_stalled` returns, and [`Reactor::wait`] sleeps in `epoll_wait(2)`
//!    (`engine.rs`, `notifier.rs`, `sys.rs`).
//! 3. A byte arrives. The kernel puts the descriptor on the ready list of our epoll instance; `epoll_wait` returns the
//!    token of the registration.
//! 4. The reactor looks the token up (`registry.rs`, `table.rs`), notes "ready" and takes the waker, releases its
//!    locks, and wakes (`engine.rs`). The waker marks the task (`mark.rs`) and puts it into the queue; the first to do
//!    so tells the pool that there is something to poll (`queue.rs`).
//! 5. The pool polls the one future that it has of us, and that polls the tasks in the queue (`task.rs`). `read(2)`
//!    gives the byte.
//!
//! # Three questions people ask
//!
//! **Why edge-triggered?** A descriptor is registered once and never touched again. With level-triggered or one-shot
//! events the kernel would have to be told about each wait, a system call each.
//!
//! **Why does a wake from another thread need an eventfd?** A thread in `epoll_wait` looks at nothing but descriptors.
//! `Thread::unpark`, which the pool's own waker calls, does not end it. That is why tasks are spawned through
//! [`Reactor::spawner`]: their wakers do.
//!
//! **Why read before waiting?** Because the data is often there already, and then no wait is needed; and because an
//! edge reports a change, so one has to have seen `WouldBlock` before a change can be waited for.
//!
//! # Other threads, other executors, other loops
//!
//! - **A reactor per thread**, each with a pool of its own, is how a server uses several processors. They share
//!   nothing.
//! - **A reactor on a thread of its own** serves executors that wait in their own way, on any number of threads:
//!   `ThreadPool`, `async-executor`, a plain `block_on`. See [`Reactor::into_background`].
//! - **Tasks from another thread**: [`Spawner::remote`] sends a closure to the loop's thread, which makes the task
//!   there.
//! - **Inside another event loop**, the reactor is one more descriptor to watch. See [`Builder::embedded`].
//!
//! # Features
//!
//! Both are off by default, and only add.
//!
//! - `tracing`: reports what the reactor does as events of the crate `tracing`, and each task's polls as a span.
//! - `inspect`: `Handle::tasks` tells what each task waits for, and how long its polls take.
//!
//! # Trade-offs
//!
//! Linux only. No work stealing of our own. If you want a work-stealing runtime, files, processes and signals in one
//! package, take tokio or smol.
//!
//! # Where to read next
//!
//! The `mod` lines of this file are in reading order, each file begins with a text of its own, and
//! `cargo doc --document-private-items --open` shows them all.
//!
//! [`LocalPool`]: https://docs.rs/futures/0.3/futures/executor/struct.LocalPool.html
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!("async-epoll needs epoll(7), so it builds for Linux only");

// Each line says so again, so that elsewhere the line above is the only error.
#[cfg(target_os = "linux")]
mod interest;
#[cfg(target_os = "linux")]
mod readiness;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod event;
#[cfg(target_os = "linux")]
mod notifier;
#[cfg(target_os = "linux")]
mod mark;
#[cfg(target_os = "linux")]
mod queue;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(all(target_os = "linux", feature = "test-util"))]
mod test_clock;
#[cfg(target_os = "linux")]
mod arena;
#[cfg(target_os = "linux")]
mod slots;
#[cfg(target_os = "linux")]
mod timers;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod waiters;
#[cfg(target_os = "linux")]
mod registry;
#[cfg(target_os = "linux")]
mod stats;
#[cfg(target_os = "linux")]
mod alarm;
#[cfg(target_os = "linux")]
mod shared;
#[cfg(target_os = "linux")]
mod handle;
#[cfg(target_os = "linux")]
mod trace;
#[cfg(target_os = "linux")]
mod inspect;
#[cfg(target_os = "linux")]
mod engine;
#[cfg(target_os = "linux")]
mod reactor;
#[cfg(target_os = "linux")]
mod budget;
#[cfg(target_os = "linux")]
mod source;
#[cfg(target_os = "linux")]
mod operation;
#[cfg(target_os = "linux")]
mod source_io;
#[cfg(target_os = "linux")]
mod timer;
#[cfg(target_os = "linux")]
mod task_waker;
#[cfg(target_os = "linux")]
mod task;
#[cfg(target_os = "linux")]
mod spawner;
#[cfg(target_os = "linux")]
mod remote;
#[cfg(target_os = "linux")]
mod loop_state;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod runtime;
#[cfg(target_os = "linux")]
mod background;
#[cfg(all(test, loom))]
mod models;

#[cfg(all(target_os = "linux", feature = "inspect"))]
#[cfg_attr(docsrs, doc(cfg(feature = "inspect")))]
pub use self::inspect::{TaskInfo, WaitsFor};
#[cfg(all(target_os = "linux", feature = "test-util"))]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub use self::test_clock::{Advance, TestClock};
#[cfg(target_os = "linux")]
pub use self::{
    background::Background,
    budget::{OPERATIONS_PER_POLL, poll_cooperate},
    handle::{Enter, Handle},
    interest::Interest,
    reactor::{Builder, Reactor},
    readiness::Readiness,
    remote::RemoteSpawner,
    runtime::{LocalRuntime, block_on},
    source::{Source, SourceError},
    spawner::Spawner,
    stats::Stats,
    timer::Timer,
};

// The example of the README is a test, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
