//! The load generator: a closed loop over raw epoll, in a process of its own, so its CPU time is never measured.
//!
//! A *closed loop* sends the next request of a connection when the answer to the last has arrived. [`generate()`]
//! connects, prints an empty line, and then carries out orders from its standard input, one per line: `time
//! MILLISECONDS` or `count REQUESTS`. For each it waits for the last answer and prints requests, nanoseconds, the 50th
//! and 99th percentile of the latency in nanoseconds, and the bytes of the firehose. At the end of its input it closes
//! everything. No wait is unlimited: a server silent for [`SILENCE`](job::SILENCE) is an error.
//!
//! ```text
//!                     generate              orders in, outcomes out
//!    ┌───────┬───────────┼─────────┬───────────┐
//!   echo  connect      bulk     firehose   datagrams
//!    └───┬───┘           │
//!      client          closed_loop          the epoll loop of echo, connect and bulk
//!        └───────┬───────┘
//!               job                         one order: requests sent, answered, latencies
//! ```

mod job;
mod client;
mod closed_loop;
mod echo;
mod connect;
mod bulk;
mod firehose;
mod datagrams;
mod generate;

pub(crate) use generate::generate;
