//! Which errors of `accept(2)` concern whom, and how long to pause for those that pass.

use async_epoll::{Handle, Timer};
use futures::future::FutureExt;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// Connections that the kernel queues for us, unless told otherwise; cut to `/proc/sys/net/core/somaxconn` by the kernel.
pub(crate) const BACKLOG: i32 = 1024;
/// Operations that an accept counts as: each of them means more work than a read.
pub(crate) const ACCEPT_WEIGHT: u32 = async_epoll::OPERATIONS_PER_POLL / 16;
/// The first pause after running out of descriptors or memory.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Errors of single connections in a row, without a connection or an empty queue in between. A queue is never that
/// long; something forbids `accept(2)` altogether, or the socket is none that accepts.
const MOST_STRIKES: u32 = 10_000;

/// The kernel reports these for the connection it was about to return: `accept(2)`, "Error handling".
pub(crate) fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

/// Something has run out. It will be there again once something else has been freed.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Counts errors in a row that were taken for those of single connections.
#[derive(Debug, Default)]
pub(crate) struct Strikes(AtomicU32);

impl Strikes {
    /// Notes how an attempt went: a connection and an empty queue both end the row.
    pub(crate) fn note<T>(&self, accepted: &io::Result<T>) {
        if accepted.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true) {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    /// One more; `false` if there were so many in a row that it is not the connections' fault.
    pub(crate) fn strike(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < MOST_STRIKES
    }
}

/// The pauses of a stream of connections.
#[derive(Debug)]
pub(crate) struct Pause {
    /// How long the next one will be.
    next: Duration,
    /// The one that is on.
    timer: Option<Timer>,
}

impl Pause {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self { next: FIRST_PAUSE, timer: None }
    }

    /// Begins one, twice as long as the one before.
    pub(crate) fn begin(&mut self, handle: &Handle) {
        self.timer = Some(Timer::after(self.next, handle));
        self.next = (self.next * 2).min(LONGEST_PAUSE);
    }

    /// All is well again.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST_PAUSE;
    }

    /// Waits until none is on.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.timer {
            // If the reactor is gone, so is the listener, and the next attempt to accept says so.
            std::task::ready!(timer.poll_unpin(cx)).ok();
            self.timer = None;
        }
        Poll::Ready(())
    }
}
