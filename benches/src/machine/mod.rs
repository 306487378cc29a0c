//! The machine: the kernel calls of the suite, and what the kernel and the allocator report.
//!
//! The ground floor of the suite. `sys` holds every line of `unsafe`; `cores` decides which process runs where;
//! `process` and `heap` read the counters from which most cases take their figures. Nothing here knows what is
//! measured.
//!
//! ```text
//!   cores ──▶ sys ──▶ heap        process
//!   (pin)     epoll, prctl, …     (/proc)
//! ```

pub(crate) mod heap;
pub(crate) mod sys;
pub(crate) mod cores;
pub(crate) mod process;
