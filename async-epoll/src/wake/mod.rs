//! Which tasks have work, and how the reactor's sleep ends.
//!
//! A wake may come from any thread. The [`ScheduledFlag`](scheduled::ScheduledFlag) of a task makes the first wake count,
//! the [`Queue`](queue::Queue) of its pool keeps the task until the driver polls it, and the
//! [`Notifier`](notifier::Notifier) keeps in one word whether there is work and whether the reactor sleeps. Only a sleeping
//! reactor costs a system call: a write to the [`WakeFd`](wake_fd::WakeFd). The `models` check every interleaving
//! of these parts under loom.
//!
//! ```text
//!   waker, on any thread
//!     │ ScheduledFlag::schedule(): first wake since the last poll?
//!     ▼
//!   Queue::push(): first task of an idle queue? ──► Notifier::busy(), call the driver
//!                                                       │ the reactor sleeps?
//!                                                       ▼
//!                                                   WakeFd::raise() ──► epoll_wait returns
//! ```

pub(crate) mod wake_fd;
pub(crate) mod notifier;
pub(crate) mod scheduled;
pub(crate) mod queue;
#[cfg(all(test, loom))]
mod models;
