//! What the reactor does, told to [`tracing`](https://docs.rs/tracing) where the feature of that name is on.
//!
//! Every other file calls these functions without asking for the feature; without it they are empty and vanish. The
//! messages are the event's only field, at level `TRACE`, target `async_epoll`, in the form `epoll:ctl_add fd:4`.

use std::os::fd::RawFd;

#[cfg(feature = "tracing")]
mod enabled {
    use super::RawFd;
    use std::fmt;
    use std::time::Duration;
    use tracing::trace;

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

    pub(crate) fn create(epfd: RawFd, eventfd: RawFd) {
        trace!(target: TARGET, "epoll:create epfd:{epfd} eventfd:{eventfd}");
    }

    pub(crate) fn add(fd: RawFd) {
        trace!(target: TARGET, "epoll:ctl_add fd:{fd}");
    }

    pub(crate) fn delete(fd: RawFd) {
        trace!(target: TARGET, "epoll:ctl_del fd:{fd}");
    }

    pub(crate) fn sleep(timeout: Option<Duration>) {
        match timeout {
            None => trace!(target: TARGET, "epoll:wait until an event"),
            Some(timeout) => trace!(target: TARGET, "epoll:wait for {timeout:?}"),
        }
    }

    pub(crate) fn event(fd: RawFd, events: u32) {
        trace!(target: TARGET, "epoll:wait event:{} for fd:{fd}", Events(events));
    }

    pub(crate) fn timers(fired: usize) {
        if fired != 0 {
            trace!(target: TARGET, "timers:fire {fired}");
        }
    }

    pub(crate) fn wake(tasks: usize) {
        if tasks != 0 {
            trace!(target: TARGET, "tasks:wake {tasks}");
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod disabled {
    use super::RawFd;
    use std::time::Duration;

    pub(crate) const fn create(_: RawFd, _: RawFd) {}
    pub(crate) const fn add(_: RawFd) {}
    pub(crate) const fn delete(_: RawFd) {}
    pub(crate) const fn sleep(_: Option<Duration>) {}
    pub(crate) const fn event(_: RawFd, _: u32) {}
    pub(crate) const fn timers(_: usize) {}
    pub(crate) const fn wake(_: usize) {}
}

#[cfg(not(feature = "tracing"))]
pub(crate) use disabled::*;
#[cfg(feature = "tracing")]
pub(crate) use enabled::*;
