//! An epoll reactor for futures-rs: it lets a [`LocalPool`] wait for sockets, timers and
//! other threads, on the pool's own thread, on Linux.
//!
//! # In one paragraph
//!
//! A future that cannot make progress returns `Pending` and leaves a waker. The kernel knows when a socket becomes
//! readable. A reactor connects the two: with one `epoll_wait` it asks the kernel about every descriptor that a task
//! waits for, and it wakes the tasks concerned. futures-rs has tasks, wakers and an executor, but no reactor. This
//! crate adds one, beside an unmodified `futures` 0.3.
//!
//! # The loop
//!
//! ```text
//!      ┌─────────────────────────── one thread ────────────────────────────┐
//!      │   run_until_stalled            nothing left to poll                │
//!      │  ┌───────────────┐ ─────────────────────────────► ┌─────────────┐  │
//!      │  │ LocalPool     │                                │ Reactor     │  │
//!      │  │ polls tasks   │ ◄───────────────────────────── │ epoll_wait  │  │
//!      │  └──────┬────────┘      wakes tasks by token      └──────▲──────┘  │
//!      │         │ WouldBlock: store the waker                    │         │
//!      │         └──────────────► registry ◄──────────────────────┘         │
//!      └────────────────────────────────────────────────────────────────────┘
//!                        other threads ── Notifier (eventfd) ──► epoll_wait
//! ```
//!
//! The same as code:
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
//!     pool.run_until_stalled(); // Polls tasks until none can make progress.
//!     if spawner.live_tasks() == 0 {
//!         break;
//!     }
//!     reactor.wait(None)?; // Sleeps until something happens, and wakes tasks.
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Reactor::run`] and [`Reactor::run_until`] are this loop with the details filled in. [`LocalRuntime`] is a pool and
//! a reactor in one, and [`block_on`] runs a single future. Everything stays on one thread; no helper thread is started
//! unless you [ask for one](Reactor::into_background).
//!
//! # One byte's journey
//!
//! 1. A task reads from a [`Source`]. No data is there: `read(2)` returns `WouldBlock`. The source notes "not ready"
//!    (`io/readiness.rs`), leaves the task's waker with its registration (`io/registry.rs`, `io/waiters.rs`) and
//!    returns `Pending` (`source/operation.rs`).
//! 2. No task can make progress, so the pool's `run_until_stalled` returns, and [`Reactor::wait`] sleeps in
//!    `epoll_wait(2)` (`engine/engine.rs`, `wake/notifier.rs`, `sys.rs`).
//! 3. A byte arrives. The kernel puts the descriptor on the ready list of the reactor's epoll instance, and
//!    `epoll_wait` returns the token of the registration.
//! 4. The reactor looks the token up (`io/registry.rs`, `table.rs`), notes "ready", takes the waker, releases its
//!    locks, and wakes (`engine/engine.rs`). The waker sets the task's flag (`wake/scheduled.rs`) and puts the task
//!    into the queue. The first task in an idle queue tells the pool that there is something to poll (`wake/queue.rs`).
//! 5. The pool polls the driver, the only future we put into it, and the driver polls the tasks in the queue
//!    (`task/set.rs`). This time `read(2)` returns the byte.
//!
//! # Three questions people ask
//!
//! **Why edge-triggered?** A descriptor is registered once and never changed again. With level-triggered or one-shot
//! events the kernel would have to be informed of each wait, at the cost of a system call.
//!
//! **Why does a wake from another thread need an eventfd?** A thread in `epoll_wait` watches descriptors and nothing
//! else. The pool's own waker calls `Thread::unpark`, and that does not end an `epoll_wait`. Therefore tasks are
//! spawned through [`Reactor::spawner`]: the wakers of these tasks write to an eventfd that the reactor watches.
//!
//! **Why read before waiting?** The data is often there already, and then no wait is needed. Besides, an edge reports a
//! change: an operation has to see `WouldBlock` first, and can then wait for the change.
//!
//! # Other threads, other executors, other loops
//!
//! - **A reactor per thread**, each with a pool of its own, is how a server uses several processors. The reactors share
//!   nothing.
//! - **A reactor on a thread of its own** serves executors that have their own way to wait, on any number of threads:
//!   `ThreadPool`, `async-executor`, a plain `block_on`. See [`Reactor::into_background`].
//! - **Tasks from another thread**: [`Spawner::remote`] sends a closure to the loop's thread, and the closure makes the
//!   task there.
//! - **Inside another event loop**, the reactor is one more descriptor to watch. See [`ReactorBuilder::embedded`].
//!
//! # What is guaranteed
//!
//! - **The reactor never sleeps while a task is ready.** A wake from any thread, by a channel or a timer of another crate,
//!   is seen at once.
//! - **No task starves.** A busy task or socket yields after a [fixed budget](OPERATIONS_PER_POLL), so other tasks, sockets
//!   and timers still run.
//! - **A panic ends its task, not the program.** [`ReactorBuilder::on_task_panic`] gets the payload.
//! - **An aborted task is dropped before the next sleep**, on its own thread, whichever thread has
//!   [aborted](TaskHandle::abort) it.
//! - **No child outlives its [`TaskGroup`]**: dropping the group drops the children before it returns. Children in a
//!   [`scope()`] may borrow from their parent.
//! - **A certain deadlock is an error, not a hang.** When no task is ready and nothing is left that could wake any,
//!   [`Reactor::run`] returns and names the lines where the tasks were spawned.
//! - **No timer fires early**, and a duration that is too long for the clock means never.
//! - **A forked child cannot disturb its parent**, and does not wait in vain: whatever would wait for the parent's reactor
//!   is an error in the child. If a task forks, the child polls no other task of a [`Spawner`]. A reactor that the child
//!   makes works. [`ForkMark`] tells the processes apart. (After a bare `clone(2)`, without the C library, the child's tasks
//!   are polled until the end of the turn.)
//!
//! # Features
//!
//! All are off by default. Each only adds.
//!
//! - `tracing`: reports what the reactor does as events of the crate `tracing` at level `TRACE`, and each task's polls as a
//!   span. If something waits while no thread runs the reactor, this is reported at level `DEBUG` at once (it is normal
//!   before the first wait of a hand-written loop), and at level `WARN` if it is polled again a second later. A task that
//!   [`run`](Reactor::run) leaves behind is reported at level `WARN`.
//! - `inspect`: `Handle::tasks` lists what each task waits for, and how long its polls take.
//! - `process`: `AsyncCommandExt` starts programs by the `Command` of std; `Child` with its pipes, its end and signals to
//!   it; `pipe`, `stdin`. Turns on `signal`, for the names of signals.
//! - `signal`: `Signals`, a stream of the signals that the process receives; `ctrl_c` and `terminate` as futures.
//! - `test-util`: `Handle::test_clock` lets a test stop and move the time of the reactor's timers, or makes the time move by
//!   itself. A stopped time that nothing moves is an error, not a hang. `ReactorBuilder::shuffle` draws the order of tasks,
//!   events and timers from a seed, and `check_orders` runs a test under many seeds.
//!
//! # Trade-offs
//!
//! Linux only. No work stealing of our own. If you want a work-stealing runtime and files in one
//! package, take tokio or smol.
//!
//! # Where to read next
//!
//! The `mod` lines of this file are in reading order. Each folder is a *room* and each file an idea; both begin with a
//! text of their own. `cargo doc --document-private-items --open` shows them all.
//!
//! [`LocalPool`]: https://docs.rs/futures/0.3/futures/executor/struct.LocalPool.html
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!("async-epoll needs epoll(7), so it builds for Linux only");

/// The rooms of the crate, from the ground up: each imports only from earlier entries of this list. One module holds
/// them all, so there is one condition for the platform, and on other platforms the line above is the only error.
#[cfg(target_os = "linux")]
#[path = ""]
mod linux {
    // The ground floor: files that do not import each other.
    pub(crate) mod sys;
    pub(crate) mod stats;
    pub(crate) mod trace;
    pub(crate) mod table;
    pub(crate) mod budget;
    pub(crate) mod foreign;
    pub(crate) mod order;
    // What time it is, what the kernel has reported, and which tasks have work.
    pub(crate) mod time;
    pub(crate) mod io;
    pub(crate) mod wake;
    // One turn of the loop.
    pub(crate) mod engine;
    // Tasks, and descriptors.
    pub(crate) mod task;
    pub(crate) mod source;
    // Tasks that end together.
    pub(crate) mod group;
    // What comes from outside: signals, pipes, standard input, children.
    #[cfg(feature = "signal")]
    pub(crate) mod signal;
    #[cfg(feature = "process")]
    pub(crate) mod pipe;
    #[cfg(feature = "process")]
    pub(crate) mod stdin;
    #[cfg(feature = "process")]
    pub(crate) mod process;
    // What users hold.
    pub(crate) mod reactor;

    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub use self::engine::test_clock::{Advance, TestClock};
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub use self::reactor::orders::check_orders;
    #[cfg(feature = "signal")]
    #[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
    pub use self::signal::{
        number::Signal,
        signals::{FirstSignal, Signals, ctrl_c, ctrl_c_with, terminate, terminate_with},
    };
    #[cfg(feature = "inspect")]
    #[cfg_attr(docsrs, doc(cfg(feature = "inspect")))]
    pub use self::task::inspect::{TaskInfo, WaitsFor};
    pub use self::{
        budget::{OPERATIONS_PER_POLL, poll_cooperate, refused_operations},
        engine::handle::{EnterGuard, Handle},
        engine::timer::Timer,
        group::close::CloseReport,
        group::error::GroupError,
        group::scope::{Scope, ScopedTask, scope},
        group::spawn::{GroupSpawner, SpawnChild},
        group::tasks::TaskGroup,
        io::interest::Interest,
        io::readiness::Readiness,
        reactor::background::Background,
        reactor::reactor::{Reactor, ReactorBuilder},
        reactor::runtime::{LocalRuntime, block_on, try_block_on},
        source::source::{Source, SourceError},
        source::traits::{ReadShared, WriteShared},
        stats::Stats,
        sys::ForkMark,
        task::builder::TaskBuilder,
        task::error::TaskError,
        task::handle::{AbortHandle, TaskHandle},
        task::idle::Idle,
        task::remote::RemoteSpawner,
        task::spawner::{Spawner, SpawnerGuard, spawn_local},
        task::yield_now::{YieldNow, yield_now},
    };
    #[cfg(feature = "process")]
    #[cfg_attr(docsrs, doc(cfg(feature = "process")))]
    pub use self::{
        pipe::{PipeReader, PipeWriter, pipe, pipe_with},
        process::child::{Child, ChildStderr, ChildStdin, ChildStdout},
        process::command::AsyncCommandExt,
        stdin::{Stdin, stdin, stdin_with},
    };
}

#[cfg(target_os = "linux")]
pub use linux::*;

// The example of the README is a test, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
