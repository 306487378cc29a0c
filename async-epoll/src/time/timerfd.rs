//! A timerfd that fires with the reactor's first timer.
//!
//! Usually the first timer sets the timeout of the wait. Two kinds of reactor need a timerfd instead:
//!
//! - An [embedded](crate::ReactorBuilder::embedded) reactor: its descriptor has to become readable at the deadline,
//!   although no thread waits in `epoll_wait(2)`.
//! - A reactor with [precise timers](crate::ReactorBuilder::precise_timers): the kernel may end a wait later than its
//!   timeout says, by the *timer slack* (50 µs by default, see `prctl(2)`). No timer slack applies to a timerfd.
//!
//! The timerfd is never read, like the eventfd: it is registered edge-triggered, and makes a new edge each time it
//! fires.

use super::clock::Clock;
use super::nanos::NEVER;
use crate::sys;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A timerfd, and the time at which it fires.
#[derive(Debug)]
pub(crate) struct TimerFd {
    /// The descriptor.
    fd: OwnedFd,
    /// The time at which the timerfd fires or last fired, in nanoseconds of the clock; [`NEVER`] if it is not set.
    /// Written by [`set`](Self::set), under the wheel's lock.
    time: AtomicU64,
}

impl TimerFd {
    /// Makes a timerfd that is not set.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { fd: sys::timerfd()?, time: AtomicU64::new(NEVER) })
    }

    /// Returns the descriptor's number, to be registered edge-triggered for reading.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Sets the timerfd to fire at `time`; [`NEVER`] stops it. Makes a system call only if `time` has changed. The
    /// caller holds the wheel's lock.
    pub(crate) fn set(&self, time: u64, clock: &Clock) {
        if self.time.swap(time, Ordering::Relaxed) == time {
            return;
        }
        let after = (time != NEVER).then(|| Duration::from_nanos(time.saturating_sub(clock.now())));
        // The kernel refuses only descriptors other than timerfds, and invalid times.
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
