//! A future that waits until an instant, on either of two kinds of timer.
//!
//! Every public type of this crate that waits for the time holds a [`Delay`]. A `Delay` chooses its timer at the first
//! poll: a timer of the current reactor, or else a [`ThreadTimer`](thread_timer::ThreadTimer) on the helper thread of
//! futures-timer. Nothing outside this room knows which of the two a `Delay` uses.
//!
//! ```text
//!   Sleep  Timeout  Interval  ItemTimeout  Throttle  Debounce  IoGuard  WithDeadline
//!     └───────┴────────┴──────────┬┴──────────┴─────────┴─────────┴─────────┘
//!                               Delay
//!             current reactor ┌───┴────┐ no current reactor
//!                    async_epoll::Timer  ThreadTimer ──► futures-timer
//! ```

mod thread_timer;
#[expect(clippy::module_inception, reason = "the room is named after its main file")]
mod delay;

pub(crate) use delay::Delay;
