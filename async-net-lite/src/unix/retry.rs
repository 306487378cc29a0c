//! Waiting where epoll has nothing to report.
//!
//! A connect that finds the listener's queue full, and a datagram that finds its receiver's, fail with `EAGAIN`, and the
//! socket says nothing when there is room: it is somebody else's queue. What epoll does say is worse than nothing. An
//! unconnected socket counts as writable all the time, and a datagram socket as newly writable after each failure, since
//! the buffer that the failed datagram took has been given back. Whoever waits for that spins. So the only way is to
//! try again after a while:
//!
//! ```text
//!   try ─EAGAIN─► 1 ms ─► try ─EAGAIN─► 2 ms ─► try ─EAGAIN─► 4 ms ─► … the longest, again and again
//! ```

use async_epoll::{Handle, Timer};
use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(1);

/// The pauses between attempts, each twice as long as the one before it, up to a limit.
#[derive(Debug)]
pub(crate) struct Retry {
    /// The next one.
    pause: Duration,
    /// The longest.
    longest: Duration,
}

impl Retry {
    /// For connecting. Up to 32 ms, since a listener whose queue is full may have many who wait.
    pub(crate) const fn connect() -> Self {
        Self { pause: FIRST, longest: Duration::from_millis(32) }
    }

    /// For sending a datagram. Up to 8 ms: a receiver's queue is short, and empties fast.
    pub(crate) const fn send() -> Self {
        Self { pause: FIRST, longest: Duration::from_millis(8) }
    }

    /// The next pause, which begins when it is first polled; an error if the reactor is gone.
    pub(crate) fn pause(&mut self, handle: &Handle) -> Timer {
        let timer = Timer::after(self.pause, handle);
        self.pause = (self.pause * 2).min(self.longest);
        timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As soon as there is room, at most one pause goes by: the limits are promised.
    #[test]
    fn pauses_double_up_to_a_limit() {
        let handle = async_epoll::Reactor::new().unwrap().handle();
        for (mut retry, longest, pauses) in [(Retry::connect(), 32, 6), (Retry::send(), 8, 4)] {
            for _ in 1..pauses {
                drop(retry.pause(&handle));
            }
            for _ in 0..3 {
                assert_eq!(retry.pause, Duration::from_millis(longest));
                drop(retry.pause(&handle));
            }
        }
    }
}
