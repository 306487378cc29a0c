//! Children: how the conductor starts, asks and ends the processes that do the work.
//!
//! Each running child is held by a guard that kills this child when dropped. If the conductor itself is killed, the
//! kernel ends the children ([`tie_to_us`](crate::machine::sys::tie_to_us)). A server may run under a counting tool,
//! strace or valgrind. The work of the children is described in [`parts`](crate::parts).
//!
//! ```text
//!   strace, callgrind            one server under a tool, run to its end, and the counts of the tool
//!        │
//!        ▼
//!   server    load    figures    a server, a load generator, a process for one order
//!        └──────┼───────┘
//!               ▼
//!             child              the process and its guard
//! ```

mod child;
pub(crate) mod server;
pub(crate) mod load;
pub(crate) mod figures;
mod scratch;
pub(crate) mod strace;
pub(crate) mod callgrind;
