//! What the reactor does, as events of [`tracing`](https://docs.rs/tracing) with the feature of that name.
//!
//! Every other file calls these functions without asking for the feature. Without the feature they are empty, and the
//! compiler removes the calls. Each event has a message and no other field, at level `TRACE` and target `async_epoll`,
//! in the form `epoll:ctl_add fd:4`. A task is a span. A wait while no thread runs the reactor is reported at level
//! `DEBUG` at once, and at level `WARN` if something that waits is polled again a second later; a task that `run` leaves
//! behind at level `WARN`. Each report names the remedy (see [`runner`](crate::engine::runner)).
//!
//! A subscriber is user code, so no function of this file may be called while a lock is held, except
//! [`Log::event`]. Events that are found under a lock are collected in a [`Log`] and emitted afterwards.

use std::os::fd::RawFd;

/// Whether the feature is enabled. Code that only prepares reports asks first.
pub(crate) const ENABLED: bool = cfg!(feature = "tracing");

/// With the feature.
#[cfg(feature = "tracing")]
mod enabled {
    use super::RawFd;
    use std::fmt;
    use std::panic::Location;
    use std::time::Duration;
    use tracing::level_filters::LevelFilter;
    #[cfg(feature = "test-util")]
    use tracing::{Level, enabled};
    use tracing::{Span, debug, trace, trace_span, warn};

    /// The target of all events and spans.
    const TARGET: &str = "async_epoll";

    /// An event mask, shown as the names of its bits, joined by `|`.
    struct Events(u32);

    impl fmt::Display for Events {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let names = [
                (libc::EPOLLIN, "IN"),
                (libc::EPOLLPRI, "PRI"),
                (libc::EPOLLOUT, "OUT"),
                (libc::EPOLLERR, "ERR"),
                (libc::EPOLLHUP, "HUP"),
                (libc::EPOLLRDHUP, "RDHUP"),
            ];
            let mut separator = "";
            for (_, name) in names.iter().filter(|(bit, _)| self.0 & *bit as u32 != 0) {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
            Ok(())
        }
    }

    /// Reports a new reactor.
    pub(crate) fn create(epfd: RawFd, eventfd: RawFd) {
        trace!(target: TARGET, "epoll:create epfd:{epfd} eventfd:{eventfd}");
    }

    /// Reports the registration of a source.
    pub(crate) fn add(fd: RawFd) {
        trace!(target: TARGET, "epoll:ctl_add fd:{fd}");
    }

    /// Reports the deregistration of a source.
    pub(crate) fn delete(fd: RawFd) {
        trace!(target: TARGET, "epoll:ctl_del fd:{fd}");
    }

    /// Reports the start of a sleep.
    pub(crate) fn sleep(timeout: Option<Duration>) {
        match timeout {
            None => trace!(target: TARGET, "epoll:wait until an event"),
            Some(timeout) => trace!(target: TARGET, "epoll:wait for {timeout:?}"),
        }
    }

    /// The kernel's events of one turn. `None` if no subscriber wants them.
    #[derive(Debug)]
    pub(crate) struct Log(Option<Vec<(RawFd, u32)>>);

    impl Log {
        /// Returns an empty log, which collects events only if a subscriber wants them.
        pub(crate) fn new() -> Self {
            // Not `enabled!`: it asks with metadata of its own, and a subscriber may say no although it takes the
            // event.
            Self((LevelFilter::current() >= LevelFilter::TRACE).then(Vec::new))
        }

        /// Adds an event of the kernel.
        pub(crate) fn event(&mut self, fd: RawFd, events: u32) {
            if let Some(log) = &mut self.0 {
                log.push((fd, events));
            }
        }

        /// Emits the collected events.
        pub(crate) fn emit(self) {
            for (fd, events) in self.0.into_iter().flatten() {
                trace!(target: TARGET, "epoll:wait event:{} for fd:{fd}", Events(events));
            }
        }
    }

    /// Reports that a wake from another thread, or `notify`, has ended the sleep.
    pub(crate) fn notified() {
        trace!(target: TARGET, "epoll:wait notified");
    }

    /// Reports the number of timers that fire, if there are any.
    pub(crate) fn timers(fired: usize) {
        if fired != 0 {
            trace!(target: TARGET, "timers:fire {fired}");
        }
    }

    /// Reports the number of wakers that are about to be woken, if there are any.
    pub(crate) fn wake(tasks: usize) {
        if tasks != 0 {
            trace!(target: TARGET, "tasks:wake {tasks}");
        }
    }

    /// Hints that a source or a timer is polled by an executor of futures-rs before the reactor is run.
    pub(crate) fn blocked_yet() {
        debug!(
            target: TARGET,
            "a source or a timer waits in an executor of futures-rs, and its reactor is not run: that is normal for a \
             single poll, and before the first wait of a hand-written loop; otherwise use async_epoll::block_on, \
             Reactor::run or Reactor::run_until in place of this executor, or move the reactor to a thread of its own by \
             Reactor::into_background"
        );
    }

    /// Reports a wait that an executor of futures-rs blocks: see the first line of the message.
    pub(crate) fn blocked() {
        warn!(
            target: TARGET,
            "sources or timers have waited for more than a second in an executor of futures-rs that does not run their \
             reactor, and no other thread can: use async_epoll::block_on, Reactor::run or Reactor::run_until in its place, or move \
             the reactor to a thread of its own by Reactor::into_background"
        );
    }

    /// Hints that a driver leaves tasks waiting before the reactor is run.
    pub(crate) fn not_run_yet() {
        debug!(
            target: TARGET,
            "tasks wait, and their reactor is not run yet: that is normal before the first wait of a hand-written loop; \
             otherwise call Reactor::run or Reactor::run_until, or Reactor::wait in a loop; LocalPool::run does not run \
             the reactor"
        );
    }

    /// Reports that tasks are polled for long while the reactor is not run.
    pub(crate) fn not_run() {
        warn!(
            target: TARGET,
            "tasks have waited for more than a second while no thread ran their reactor, so no source and no timer can \
             wake them: call Reactor::run or Reactor::run_until in place of LocalPool::run, or move the reactor to a \
             thread of its own by Reactor::into_background"
        );
    }

    /// Reports why a test's clock does not move: to the subscriber or, if none wants to know, on the standard error. A test
    /// that hangs must not do so in silence.
    #[cfg(feature = "test-util")]
    pub(crate) fn clock_stands(report: &str) {
        if enabled!(target: TARGET, Level::WARN) {
            warn!(target: TARGET, "{report}");
        } else {
            eprintln!("async-epoll: {report}");
        }
    }

    /// Reports that `run` leaves a task of the pool's own spawner.
    pub(crate) fn left_behind() {
        warn!(
            target: TARGET,
            "Reactor::run returns, and leaves a task of the pool's own spawner that has waited for a source or a timer: \
             spawn the task through Reactor::spawner, and run waits for its end"
        );
    }

    /// The span in which a task is polled and dropped. Has the name of the task, if the task has one, and the place where
    /// the task was spawned.
    #[derive(Debug)]
    pub(crate) struct TaskSpan(Span);

    impl TaskSpan {
        /// Returns the span of a new task. The span has no parent: the task does not end with the code that spawned it.
        pub(crate) fn new(spawned_at: &Location<'_>, name: Option<&str>) -> Self {
            Self(trace_span!(target: TARGET, parent: None, "task", name, spawned_at = %spawned_at))
        }

        /// Runs the task's code in the span, and returns its value.
        pub(crate) fn in_scope<T>(&self, code: impl FnOnce() -> T) -> T {
            self.0.in_scope(code)
        }
    }
}

/// Without the feature: the same functions, empty.
#[cfg(not(feature = "tracing"))]
mod disabled {
    use super::RawFd;
    use std::panic::Location;
    use std::time::Duration;

    pub(crate) const fn create(_: RawFd, _: RawFd) {}
    pub(crate) const fn add(_: RawFd) {}
    pub(crate) const fn delete(_: RawFd) {}
    pub(crate) const fn sleep(_: Option<Duration>) {}

    /// Collects nothing.
    #[derive(Debug)]
    pub(crate) struct Log;

    impl Log {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) const fn event(&mut self, _: RawFd, _: u32) {}

        pub(crate) fn emit(self) {}
    }
    pub(crate) const fn notified() {}
    pub(crate) const fn timers(_: usize) {}
    pub(crate) const fn wake(_: usize) {}
    pub(crate) const fn blocked_yet() {}
    pub(crate) const fn blocked() {}
    pub(crate) const fn not_run_yet() {}
    pub(crate) const fn not_run() {}
    pub(crate) const fn left_behind() {}
    #[cfg(feature = "test-util")]
    pub(crate) fn clock_stands(report: &str) {
        eprintln!("async-epoll: {report}");
    }

    /// No span.
    #[derive(Debug)]
    pub(crate) struct TaskSpan;

    impl TaskSpan {
        pub(crate) const fn new(_: &Location<'_>, _: Option<&str>) -> Self {
            Self
        }

        pub(crate) fn in_scope<T>(&self, code: impl FnOnce() -> T) -> T {
            code()
        }
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) use disabled::*;
#[cfg(feature = "tracing")]
pub(crate) use enabled::*;
