//! The parts: what a child process does, once its command line has been read.
//!
//! Servers and load generators work in pairs over loopback. The other parts are complete measurements: each carries out
//! one order in a process of its own and prints its figures on one line. The parts do not know how they were started,
//! so each can be run by hand.
//!
//! ```text
//!   servers ◀──── loopback ────▶ load          E, C, M, F, H, U
//!   timers    reads                            T   (CPU time per operation: cpu_time)
//!   wakes                                      W
//!   tasks                                      G
//!   proxies                                    P
//! ```

mod cpu_time;
pub(crate) mod servers;
pub(crate) mod load;
pub(crate) mod timers;
pub(crate) mod reads;
pub(crate) mod wakes;
pub(crate) mod tasks;
pub(crate) mod proxies;
