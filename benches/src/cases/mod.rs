//! The cases: what is measured, beside what, and the goal. One file for each kind of measurement.
//!
//! A case starts servers, load generators or other children, turns their answers into figures, and returns a table and
//! a plot. Each file holds the ids of its cases as constants ("E1", "T4"); the [`registry`] lists all of them in the
//! order of the results. The [`method`] is common: interleaved rounds, medians of ratios, slopes between two counts.
//!
//! ```text
//!                      registry
//!    ┌──────────┬─────────┴┬─────────────┬───────────┐
//!   echo E1   system_calls  connections  timers_one  …   (18 files)
//!    └──────────┴─────────┬┴─────────────┴───────────┘
//!                      method                    rounds, ratio, sample
//!                         │
//!                       case                     Case, Effort, Report
//! ```

pub(crate) mod case;
mod method;
mod echo;
mod system_calls;
mod instructions;
mod large_echo;
mod connections;
mod idle_memory;
mod returned_memory;
mod timers_one;
mod timers_many;
mod lone_sleep;
mod idle_limit;
mod wakes;
mod tasks;
mod firehose;
mod hyper;
mod datagrams;
mod proxy;
pub(crate) mod registry;
