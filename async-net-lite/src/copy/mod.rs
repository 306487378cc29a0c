//! Copying between two streams in both directions: what a proxy does.
//!
//! [`copy_bidirectional`] runs two [`direction`]s. A direction moves bytes through a [`buffer`]. Bulk data between two
//! sockets of this crate moves inside the kernel, by [`splice`]. The first error ends both directions, as a
//! [`CopyError`] with the number of bytes copied by then; a direction that does not read watches its reader for errors.
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

mod direction;

mod bidirectional;

pub use bidirectional::copy_bidirectional;
pub use error::CopyError;
