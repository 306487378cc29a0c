//! Copying between two streams in both directions: what a proxy does.
//!
//! [`copy_bidirectional`] runs two directions that know nothing of each other. A direction moves bytes through a
//! [`buffer`], or, between two sockets of this crate that have much to say, inside the kernel by [`splice`]. The first
//! error ends both directions, as a [`CopyError`] that says how much had been copied.
//!
//! ```text
//!        ┌── buffer: read, write ──────────┐
//!   a ───┤                                 ├──► b        and the same from b to a
//!        └── splice: socket ► pipe ► socket┘
//! ```

mod sys;

mod buffer;
mod error;
mod splice;

mod bidirectional;

pub use bidirectional::copy_bidirectional;
pub use error::CopyError;
