//! The back-off of an accept loop while descriptors or memory have run out.
//!
//! Without a pause, the loop would spin, since every accept fails at once. So a [`Backoff`] pauses for 5 ms, and for
//! twice as long each time, up to one second. A pause ends early when a socket of this crate is closed.
//!
//! ```text
//!   accept ──EMFILE──► begin: register, then accept once more ──EMFILE──► pause
//!      ▲                            │ a connection,                         │ a socket has been closed,
//!      │                            │ or an empty queue                     │ or the time is over
//!      └────────────────────────────┴───────────────────────────────────────┘
//! ```
//!
//! `socket/paused.rs` explains why the loop accepts once more, and how a closed socket ends a pause.

use crate::socket::paused::PausedListener;
use async_epoll::{Handle, Timer, refused_operations};
use futures::future::FutureExt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The length of the first pause.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The greatest length of a pause.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The pauses of one accept loop.
#[derive(Debug)]
pub(super) struct Backoff {
    /// The length of the next pause. Doubled when a pause begins, reset by [`succeed`](Self::succeed).
    pub(super) next: Duration,
    /// The present pause; `None` outside a pause. Begun and confirmed by [`fail`](Self::fail).
    pause: Option<Pause>,
    /// The length of the last pause that has begun. Written by [`fail`](Self::fail).
    length: Duration,
}

/// A pause that has begun.
#[derive(Debug)]
struct Pause {
    /// Wakes the task when a socket is closed.
    listener: PausedListener,
    /// Wakes the task at the end of the pause.
    timer: Timer,
    /// Whether accepting has failed again after the registration. Only a confirmed pause waits.
    is_confirmed: bool,
    /// The number of operations that this thread had refused before the accept that is to confirm the pause.
    refused: u32,
}

impl Backoff {
    /// Creates a back-off that has not paused.
    pub(super) fn new() -> Self {
        Self { next: FIRST_PAUSE, pause: None, length: Duration::ZERO }
    }

    /// Waits until the confirmed pause is over, if there is one: a socket has been closed, or the timer has fired. Called
    /// before each accept.
    pub(super) fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pause) = &mut self.pause else { return Poll::Ready(()) };
        if !pause.is_confirmed {
            pause.refused = refused_operations();
            return Poll::Ready(());
        }
        if pause.listener.poll_closed(cx).is_pending() {
            // If the reactor has been dropped, accepting will fail and report this.
            let _ = ready!(pause.timer.poll_unpin(cx));
        }
        self.pause = None;
        Poll::Ready(())
    }

    /// Records that accepting has failed for a shortage: begins a pause, or confirms the present one. Returns the length
    /// of the pause that it confirms.
    pub(super) fn fail(&mut self, handle: &Handle) -> Option<Duration> {
        if let Some(pause) = &mut self.pause {
            pause.is_confirmed = true;
            return Some(self.length);
        }
        let listener = PausedListener::register();
        let timer = Timer::after(self.next, handle);
        self.pause = Some(Pause { listener, timer, is_confirmed: false, refused: 0 });
        self.length = self.next;
        self.next = (self.next * 2).min(MAX_PAUSE);
        None
    }

    /// Ends the pause, if there is one, after a pending accept: the queue is empty. But if the accept was refused for want
    /// of budget, the queue has not been looked at, and the next accept confirms the pause. Otherwise a task that has one
    /// operation left for the listener in each poll would begin pauses without end, and spin.
    pub(super) fn find_empty(&mut self) {
        if self.pause.as_ref().is_some_and(|pause| pause.refused == refused_operations()) {
            self.pause = None;
        }
    }

    /// Ends the pause, if there is one: a connection was accepted.
    pub(super) fn cancel(&mut self) {
        self.pause = None;
    }

    /// Resets the length of the next pause to the shortest.
    pub(super) fn succeed(&mut self) {
        self.next = FIRST_PAUSE;
    }
}
