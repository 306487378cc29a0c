//! A timerfd that fires with the reactor's first timer.
//!
//! Usually the first timer is the timeout of the wait. Two reactors need something else: an
//! [embedded](crate::ReactorBuilder::embedded) one, whose descriptor has to become readable although nobody waits in it, and one
//! with [precise timers](crate::ReactorBuilder::precise_timers), since the kernel may end a wait with a timeout somewhat late
//! (the *timer slack*), but not a timerfd.
//!
//! Like the eventfd it is never read: it is registered edge-triggered, and each time it fires makes a new edge.

use super::clock::Clock;
use super::nanos::NEVER;
use crate::sys;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The timerfd, and what it is set to.
#[derive(Debug)]
pub(crate) struct TimerFd {
    /// The timerfd.
    fd: OwnedFd,
    /// When it fires, or fired. Changed under the timers' lock only.
    time: AtomicU64,
}

impl TimerFd {
    /// Not set.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { fd: sys::timerfd()?, time: AtomicU64::new(NEVER) })
    }

    /// The timerfd's number, to be registered edge-triggered for reading.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Has it fire at `time`; a system call only if that is another time than before. To be called under the timers' lock.
    pub(crate) fn set(&self, time: u64, clock: &Clock) {
        if self.time.swap(time, Ordering::Relaxed) == time {
            return;
        }
        let after = (time != NEVER).then(|| Duration::from_nanos(time.saturating_sub(clock.now())));
        // The kernel refuses only what is no timerfd, and times that are no times.
        let set = sys::set_timerfd(self.fd.as_fd(), after);
        debug_assert!(set.is_ok(), "{set:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Epoll, epoll_event};

    fn fires(epoll: &Epoll, within: Duration) -> bool {
        epoll.wait(&mut [epoll_event { events: 0, u64: 0 }], Some(within)).unwrap() == 1
    }

    #[test]
    fn fires_once_each_time_it_is_set() {
        let (timerfd, clock, epoll) = (TimerFd::new().unwrap(), Clock::new(), Epoll::new().unwrap());
        epoll.add(timerfd.fd(), (libc::EPOLLIN | libc::EPOLLET) as u32, 7).unwrap();
        for _ in 0..3 {
            timerfd.set(clock.now() + 2_000_000, &clock);
            assert!(fires(&epoll, Duration::from_secs(10)));
            assert!(!fires(&epoll, Duration::from_millis(5)), "never read, but the edge is over");
        }
        timerfd.set(0, &clock);
        assert!(fires(&epoll, Duration::from_secs(10)), "in the past: at once");
        timerfd.set(clock.now() + 20_000_000, &clock);
        timerfd.set(NEVER, &clock);
        assert!(!fires(&epoll, Duration::from_millis(40)), "stopped");
        timerfd.set(NEVER - 1, &clock);
    }
}
