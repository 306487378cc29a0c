//! What the kernel has reported about each descriptor, and which tasks wait for a report.
//!
//! An [`Interest`](interest::Interest) says what to ask `epoll_ctl(2)` for. A [`Registration`](registry::Registration)
//! is the reactor's half of a source: the [readiness] of both directions, one atomic word each, and the
//! [`Waiters`](waiters::Waiters). The [`Registry`](registry::Registry) leads from the token of an event to the
//! registration. The room makes no system call. It moves the wakers of ready tasks into a list for the engine, and
//! wakes only [evicted](waiters) wakers itself.
//!
//! ```text
//!   epoll event: token, bits
//!        │
//!        ▼
//!   Registry: token ──► Registration ─┬─ readiness of reading   ◄─┐ merged from the bits, cleared by WouldBlock
//!                                     ├─ readiness of writing   ◄─┘
//!                                     └─ Waiters ──► wakers of the tasks concerned
//! ```

pub(crate) mod interest;
pub(crate) mod readiness;
pub(crate) mod waiters;
pub(crate) mod registry;
