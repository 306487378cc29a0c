//! Orders: the plain data that the conductor (`run`) and its child processes exchange.
//!
//! An order travels as command line arguments (`to_args`) or as a line of text (`to_line`), and comes back to life in
//! the child. Results travel back as a line of figures. The types here hold values and know their own text; they start
//! nothing and measure nothing, so every other room may use them.
//!
//! ```text
//!   conductor ──── to_args ───▶ `serve` `load` `timers` `reads` `wakes` `tasks` `proxy`   (child process)
//!       │ ▲ ◀──── figures ────────────┘
//!       ▼ │
//!   LoadOrder, LoadOutcome        lines on the pipes of the load generator
//! ```

pub(crate) mod peer;
pub(crate) mod service;
pub(crate) mod load;
pub(crate) mod timers;
pub(crate) mod reads;
pub(crate) mod wakes;
pub(crate) mod tasks;
pub(crate) mod proxy;
