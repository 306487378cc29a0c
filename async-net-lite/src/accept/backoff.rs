//! The back-off: pauses of an accept loop while descriptors or memory have run out.
//!
//! Accepting again without a pause would spin, since the error comes again at once. So a [`Backoff`] pauses: 5 ms, and
//! twice as long each time, up to a second. A pause ends early when a socket of this crate is closed.
//!
//! ```text
//!   accept ──EMFILE──► begin: register, then accept once more ──EMFILE──► pause
//!      ▲                            │ a connection,                         │ a socket of ours is closed,
//!      │                            │ or an empty queue                     │ or the time is over
//!      └────────────────────────────┴───────────────────────────────────────┘
//! ```
//!
//! Why "once more", and how a closed socket ends a pause, is told in `socket/paused.rs`.

use crate::socket::paused::PausedListener;
use async_epoll::{Handle, Timer};
use futures::future::FutureExt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The first pause after running out of descriptors or memory.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The pauses of one accept loop.
#[derive(Debug)]
pub(super) struct Backoff {
    /// The length of the next pause. Doubled by each pause, reset by [`succeed`](Self::succeed).
    pub(super) next: Duration,
    /// The pause that has begun.
    pause: Option<Pause>,
}

/// A pause that has begun.
#[derive(Debug)]
struct Pause {
    listener: PausedListener,
    timer: Timer,
    /// Whether accepting has failed after the registration, too. Only then does the pause wait.
    is_confirmed: bool,
}

impl Backoff {
    /// Creates a back-off that has not paused.
    pub(super) fn new() -> Self {
        Self { next: FIRST_PAUSE, pause: None }
    }

    /// Waits until the pause is over, if there is a confirmed one: a descriptor has been closed, or the time is over.
    pub(super) fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pause) = self.pause.as_mut().filter(|pause| pause.is_confirmed) else { return Poll::Ready(()) };
        if pause.listener.poll_closed(cx).is_pending() {
            // If the reactor is gone, so is the listener, and accepting will say so.
            let _ = ready!(pause.timer.poll_unpin(cx));
        }
        self.pause = None;
        Poll::Ready(())
    }

    /// Notes that accepting has failed for a shortage: begins a pause, or confirms the one that has begun.
    pub(super) fn fail(&mut self, handle: impl FnOnce() -> Handle) {
        if let Some(pause) = &mut self.pause {
            pause.is_confirmed = true;
            return;
        }
        let listener = PausedListener::register();
        self.pause = Some(Pause { listener, timer: Timer::after(self.next, &handle()), is_confirmed: false });
        self.next = (self.next * 2).min(MAX_PAUSE);
    }

    /// Ends the pause, if one has begun: a connection was accepted, or the queue is empty.
    pub(super) fn cancel(&mut self) {
        self.pause = None;
    }

    /// Makes the next pause short again.
    pub(super) fn succeed(&mut self) {
        self.next = FIRST_PAUSE;
    }
}
