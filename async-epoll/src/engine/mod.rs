//! One turn of the loop: sleep, dispatch, fire, wake.
//!
//! [`Shared`](shared::Shared) is the half of a reactor that any thread may use: the epoll instance, the notifier, the table
//! of sources and the timers, each of the latter two behind a lock. A [`Handle`](handle::Handle) is a reference to it,
//! and a [`Timer`](timer::Timer) one entry in its wheel. The [`Engine`](engine::Engine) is the other half, owned by the one
//! thread that waits. Nothing here knows tasks or pools: a pool is a [`Pool`](shared::Pool) with a count and an end.
//!
//! ```text
//!   any thread:   Handle, Timer ──► Shared { epoll, notifier, registry, wheel, clock, counters }
//!                                      ▲
//!   one thread:   Engine::turn ────────┘  3 sleep, 4 dispatch and fire, 5 wake
//! ```

#[cfg(feature = "inspect")]
pub(crate) mod directory;
pub(crate) mod shared;
pub(crate) mod handle;
pub(crate) mod timer;
#[cfg(feature = "test-util")]
pub(crate) mod test_clock;
#[expect(clippy::module_inception, reason = "the engine is the file that gives this room its name")]
pub(crate) mod engine;
