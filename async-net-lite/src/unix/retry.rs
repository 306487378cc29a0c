//! Waiting for room in a queue that epoll does not report.
//!
//! A connect to a full backlog, and a datagram to a full queue, fail with `EAGAIN`. The queue belongs to another
//! socket, so no event says that it has room. Write readiness is worse than no event: an unconnected socket always
//! counts as writable, and a datagram socket becomes writable anew after each failure, since the kernel frees the
//! buffer of the failed datagram. A task waiting for write readiness would spin. So the only way is to retry after a
//! pause:
//!
//! ```text
//!   try ─EAGAIN─► 1 ms ─► try ─EAGAIN─► 2 ms ─► try ─EAGAIN─► 4 ms ─► … up to the longest pause, which repeats
//! ```

use async_epoll::{Handle, Timer};
use std::time::Duration;

/// The length of the first pause.
const FIRST: Duration = Duration::from_millis(1);

/// The pauses between attempts. Each is twice as long as the pause before, up to a limit.
#[derive(Debug)]
pub(crate) struct Retry {
    /// The length of the next pause. Doubled by each call of [`pause`](Self::pause).
    pause: Duration,
    /// The length of the longest pause. Constant.
    longest: Duration,
}

impl Retry {
    /// Returns the pauses for connecting: up to 32 ms, since many clients may wait for a listener with a full backlog.
    pub(crate) const fn connect() -> Self {
        Self { pause: FIRST, longest: Duration::from_millis(32) }
    }

    /// Returns the pauses for sending a datagram: up to 8 ms, since the queue of a receiver is short and empties fast.
    pub(crate) const fn send() -> Self {
        Self { pause: FIRST, longest: Duration::from_millis(8) }
    }

    /// Returns the next pause, which begins when first polled. Its output is an error if the reactor has been dropped.
    pub(crate) fn pause(&mut self, handle: &Handle) -> Timer {
        let timer = Timer::after(self.pause, handle);
        self.pause = (self.pause * 2).min(self.longest);
        timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A retry comes at most one pause after the queue has room. The docs promise the longest pauses.
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
