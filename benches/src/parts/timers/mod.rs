//! The timers under measurement, and what is done with them, in a child process for each measurement.
//!
//! [`exercises`] does the same with every peer, through the [`Timekeeper`](timekeeper::Timekeeper) trait. The peers'
//! files implement the trait as the documentation of each crate recommends, so every peer is measured with code of the
//! same shape.
//!
//! ```text
//!               perform                        the order's peer and exercise
//!       ┌──────────┴─────────────┐
//!   exercises     ours, tokio, monoio, async_io, futures_timer
//!       └──────────┬─────────────┘
//!             timekeeper                       run, sleep, timeout, timeout_at
//! ```

mod timekeeper;
mod ours;
mod tokio;
mod monoio;
mod async_io;
mod futures_timer;
mod exercises;
mod perform;

pub(crate) use perform::perform;
