//! One turn of the loop: sleep, dispatch, fire, wake.
//!
//! [`Shared`](shared::Shared) is the half of a reactor that any thread may use: the epoll instance, the notifier, and
//! behind a lock each the table of sources and the timers. A [`Handle`](handle::Handle) is a reference to this half,
//! and a [`Timer`](timer::Timer) an entry in its wheel. The [`Engine`](engine::Engine) is the other half, owned by the
//! one thread that waits. Nothing here knows tasks or pools: the engine knows a [`Pool`](shared::Pool) as something to
//! be counted, and to be told when the reactor is dropped.
//!
//! ```text
//!   any thread:   Handle, Timer ──► Shared { epoll, notifier, registry, wheel, clock, counters }
//!                                      ▲
//!   one thread:   Engine::turn ────────┘  3 sleep, 4 dispatch and fire, 5 wake
//! ```

#[cfg(feature = "inspect")]
pub(crate) mod directory;
pub(crate) mod runner;
pub(crate) mod shared;
pub(crate) mod handle;
pub(crate) mod timer;
#[cfg(feature = "test-util")]
pub(crate) mod test_clock;
pub(crate) mod watch;
pub(crate) mod standstill;
#[expect(clippy::module_inception, reason = "the engine is the file that gives this room its name")]
pub(crate) mod engine;
