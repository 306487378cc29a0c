//! Children that were dropped while they run: the reactor collects their status.
//!
//! An [`Orphan`] is a waker. It is registered with the child's own source, and owns this source. When the child ends, the
//! reactor wakes the orphan, on whichever thread the reactor runs, and the orphan calls `waitid(2)`, without blocking, and
//! drops the source. No task is involved.
//!
//! The hard idea: the waker is called while the source is in use. The source is taken out of the orphan for each attempt, so
//! that no lock is held meanwhile. An event that comes during an attempt finds no source, and leaves a note; the attempt
//! then begins again.

use super::sys;
use crate::budget;
use crate::source::source::Source;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A child that was dropped, until it ends or the reactor is dropped.
struct Orphan {
    /// What the attempts share.
    state: Mutex<State>,
}

/// The state of an [`Orphan`].
struct State {
    /// The process descriptor. `None` during an attempt, and after the last.
    pidfd: Option<Source<OwnedFd>>,
    /// An event has come during an attempt.
    again: bool,
}

/// Leaves a child to its reactor, which collects the status when the child ends.
pub(crate) fn adopt(pidfd: Source<OwnedFd>) {
    Arc::new(Orphan { state: Mutex::new(State { pidfd: Some(pidfd), again: false }) }).wake();
}

impl Orphan {
    /// Locks the state. No other code runs under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Orphan {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        loop {
            let mut state = self.state();
            state.again = true;
            let Some(pidfd) = state.pidfd.take() else { return };
            state.again = false;
            drop(state);
            // A task may be dropping the child, and its budget is no concern of the child.
            let budget = budget::begin_poll();
            let attempt = pidfd.poll_read_with(&mut Context::from_waker(&waker), |pidfd| {
                sys::try_wait(pidfd.as_fd())?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            drop(budget);
            if let Poll::Ready(result) = attempt {
                if result.is_err() {
                    // The reactor is gone, and this is the last attempt: a child that ends later becomes a zombie, as a child
                    // of std that is dropped.
                    let _ = sys::try_wait(pidfd.lend().as_fd());
                }
                // Dropping the source drops its reference to this orphan.
                return;
            }
            let mut state = self.state();
            if !state.again {
                state.pidfd = Some(pidfd);
                return;
            }
            state.pidfd = Some(pidfd);
        }
    }
}
