//! Figures: from measured values to text. Pure code: no process is started and no clock is read here.
//!
//! A load generator collects latencies in a [`histogram`]. A case reduces the values of its rounds to a [`spread`]
//! (median and quartiles) and writes them into a [`table`] and a [`plot`].
//!
//! ```text
//!   latencies ──▶ histogram ──▶ percentiles
//!   values of the rounds ──▶ spread ──▶ table (Markdown), plot (SVG)
//! ```

pub(crate) mod histogram;
pub(crate) mod spread;
pub(crate) mod table;
pub(crate) mod plot;
