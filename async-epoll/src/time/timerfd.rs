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
//!
//! The hard idea is when to save the system call. A timerfd need not be set to the same time twice, but only as long as it
//! has not fired: the kernel never reports a time again. So the engine notes each event here, and the next setting makes
//! the system call even for the same time.
//!
//! ```text
//!   event taken by the engine ─► invalidate() ─┐
//!                                              ├─► set(T): system call, also if T was the last time
//!   clock moved by a test ─────► invalidate() ─┘
//!   otherwise                                      set(T): system call only if T is another time
//! ```
//!
//! Both run under the wheel's lock. A timer that another thread arms before the engine has noted the event is in the
//! wheel when the engine fires the due timers, under the same lock.

use super::clock::Clock;
use super::nanos::NEVER;
use crate::sys;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// In place of a time: the kernel's setting is not known to be right. A timer may have this deadline, too; then each
/// setting makes a system call.
const UNKNOWN: u64 = 0;

/// A timerfd, and the time at which it fires.
#[derive(Debug)]
pub(crate) struct TimerFd {
    /// The descriptor.
    fd: OwnedFd,
    /// The time at which the timerfd will fire, in nanoseconds of the clock; [`NEVER`] if it is not set; [`UNKNOWN`]
    /// after [`invalidate`](Self::invalidate). Written under the wheel's lock.
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

    /// Notes that the timerfd has fired, or that the clock was moved: the next [`set`](Self::set) makes a system call,
    /// also for the same time. The caller holds the wheel's lock.
    pub(crate) fn invalidate(&self) {
        self.time.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Sets the timerfd to fire at `time`; [`NEVER`] stops it. Makes a system call only if the timerfd is not known to
    /// be set to `time` already. The caller holds the wheel's lock.
    pub(crate) fn set(&self, time: u64, clock: &Clock) {
        if self.time.swap(time, Ordering::Relaxed) == time && time != UNKNOWN {
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

    /// Found 1: after the timerfd has fired, the same time makes a new edge. Before, it makes no system call.
    #[test]
    fn fires_again_at_the_time_of_its_last_edge() {
        let (timerfd, clock, epoll) = (TimerFd::new().unwrap(), Clock::new(), Epoll::new().unwrap());
        epoll.add(timerfd.fd(), (libc::EPOLLIN | libc::EPOLLET) as u32, 7).unwrap();
        let late = clock.now() + 2_000_000;
        for time in [late, late, 1, 1, UNKNOWN, UNKNOWN] {
            timerfd.set(time, &clock);
            assert!(fires(&epoll, Duration::from_secs(10)), "{time}");
            timerfd.invalidate();
        }
        // Set to a future time twice: one setting, one edge.
        let later = clock.now() + 5_000_000;
        timerfd.set(later, &clock);
        timerfd.set(later, &clock);
        assert!(fires(&epoll, Duration::from_secs(10)));
        assert!(!fires(&epoll, Duration::from_millis(10)));
    }
}
