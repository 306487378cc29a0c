//! What the reactor does, told to [`tracing`](https://docs.rs/tracing) where the feature of that name is on.
//!
//! Every other file calls these functions without asking for the feature; without it they are empty and vanish. The
//! messages are the event's only field, at level `TRACE`, target `async_epoll`, in the form `epoll:ctl_add fd:4`.
//!
//! A subscriber is foreign code, so none of this may be called while a lock is held. What happens under a lock is
//! written to a [`Log`] and told afterwards.

use std::os::fd::RawFd;

/// With the feature.
#[cfg(feature = "tracing")]
mod enabled {
    use super::RawFd;
    use std::fmt;
    use std::panic::Location;
    use std::time::Duration;
    use tracing::level_filters::LevelFilter;
    use tracing::{Span, trace, trace_span};

    /// The target of all events and spans.
    const TARGET: &str = "async_epoll";

    /// The names of an event mask's bits, joined by `|`.
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

    /// A reactor is made.
    pub(crate) fn create(epfd: RawFd, eventfd: RawFd) {
        trace!(target: TARGET, "epoll:create epfd:{epfd} eventfd:{eventfd}");
    }

    /// A source has been registered.
    pub(crate) fn add(fd: RawFd) {
        trace!(target: TARGET, "epoll:ctl_add fd:{fd}");
    }

    /// A source is being deregistered.
    pub(crate) fn delete(fd: RawFd) {
        trace!(target: TARGET, "epoll:ctl_del fd:{fd}");
    }

    /// The reactor is about to sleep.
    pub(crate) fn sleep(timeout: Option<Duration>) {
        match timeout {
            None => trace!(target: TARGET, "epoll:wait until an event"),
            Some(timeout) => trace!(target: TARGET, "epoll:wait for {timeout:?}"),
        }
    }

    /// Events of one turn, if anybody listens.
    #[derive(Debug)]
    pub(crate) struct Log(Option<Vec<(RawFd, u32)>>);

    impl Log {
        /// Asks whether anybody listens.
        pub(crate) fn new() -> Self {
            // Not `enabled!`: subscribers may decline a mere question that they would not decline as an event.
            Self((LevelFilter::current() >= LevelFilter::TRACE).then(Vec::new))
        }

        /// Writes an event down.
        pub(crate) fn event(&mut self, fd: RawFd, events: u32) {
            if let Some(log) = &mut self.0 {
                log.push((fd, events));
            }
        }

        /// Tells what was written down.
        pub(crate) fn tell(self) {
            for (fd, events) in self.0.into_iter().flatten() {
                trace!(target: TARGET, "epoll:wait event:{} for fd:{fd}", Events(events));
            }
        }
    }

    /// Another thread, or `notify`, has ended the sleep.
    pub(crate) fn notified() {
        trace!(target: TARGET, "epoll:wait notified");
    }

    /// So many timers were due.
    pub(crate) fn timers(fired: usize) {
        if fired != 0 {
            trace!(target: TARGET, "timers:fire {fired}");
        }
    }

    /// So many wakers are about to be woken.
    pub(crate) fn wake(tasks: usize) {
        if tasks != 0 {
            trace!(target: TARGET, "tasks:wake {tasks}");
        }
    }

    /// The span in which a task is polled and dropped. It names the place where the task was spawned.
    #[derive(Debug)]
    pub(crate) struct TaskSpan(Span);

    impl TaskSpan {
        /// Of a new task. A span of its own, not of whoever spawned it.
        pub(crate) fn new(spawned_at: &Location<'_>) -> Self {
            Self(trace_span!(target: TARGET, parent: None, "task", spawned_at = %spawned_at))
        }

        /// Runs the task's code in the span.
        pub(crate) fn in_scope<T>(&self, code: impl FnOnce() -> T) -> T {
            self.0.in_scope(code)
        }
    }
}

/// Without the feature: the same functions, with nothing in them.
#[cfg(not(feature = "tracing"))]
mod disabled {
    use super::RawFd;
    use std::panic::Location;
    use std::time::Duration;

    pub(crate) const fn create(_: RawFd, _: RawFd) {}
    pub(crate) const fn add(_: RawFd) {}
    pub(crate) const fn delete(_: RawFd) {}
    pub(crate) const fn sleep(_: Option<Duration>) {}

    /// Nobody listens.
    #[derive(Debug)]
    pub(crate) struct Log;

    impl Log {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) const fn event(&mut self, _: RawFd, _: u32) {}

        pub(crate) fn tell(self) {}
    }
    pub(crate) const fn notified() {}
    pub(crate) const fn timers(_: usize) {}
    pub(crate) const fn wake(_: usize) {}

    /// Nobody listens.
    #[derive(Debug)]
    pub(crate) struct TaskSpan;

    impl TaskSpan {
        pub(crate) const fn new(_: &Location<'_>) -> Self {
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
