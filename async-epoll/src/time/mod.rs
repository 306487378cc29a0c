//! What time it is, and which timers are due.
//!
//! The [`Clock`](clock::Clock) counts nanoseconds since the reactor was made; a test may stop and move the clock
//! through its `Hands`. The [`Wheel`](wheel::Wheel) holds the armed timers, fires the due timers and returns
//! the next deadline. A [`TimerFd`](timerfd::TimerFd) carries this deadline to the kernel where the timeout of a wait
//! does not suffice. The room reads the monotonic clock and sets the timerfd. It wakes no task: it hands wakers to the
//! engine.
//!
//! ```text
//!   Instant::now() ──► Clock ──► now ──────┐
//!                        ▲                 ▼
//!                      Hands        Wheel::fire(now) ──► wakers of the due timers
//!                    (test-util)    Wheel::wake_time() ──► timeout of the wait, or TimerFd
//! ```

pub(crate) mod nanos;
#[cfg(feature = "test-util")]
pub(crate) mod hands;
pub(crate) mod clock;
pub(crate) mod arena;
pub(crate) mod slots;
pub(crate) mod wheel;
pub(crate) mod timerfd;
