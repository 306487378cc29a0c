//! The part of a socket that does not depend on its kind of address.
//!
//! A [`Socket`](socket::Socket) is a source of the reactor. After its descriptor has been closed, it wakes the
//! listeners in the list of [`paused`], which wait for a free descriptor. The traits of futures-io are implemented once
//! for all streams, in [`stream_io`]. Once for all types are the conversions from and to std, in [`conversions`], and the
//! user's own system calls, in [`own_calls`]. Nothing here knows an address or a protocol.
//!
//! ```text
//!   tcp  udp  unix                  stream_io: AsyncRead, AsyncWrite      conversions: from and to std
//!       │                               │ slices: what one call takes       own_calls: try_io, read_with
//!       ▼                               ▼
//!   Socket<std's type> ──────────► async_epoll::Source
//!       │ closed
//!       ▼
//!   paused: the listeners that wait for a descriptor
//! ```

pub(crate) mod paused;

pub(crate) mod options;
pub(crate) mod slices;

#[allow(clippy::module_inception, reason = "the room is named after its main type")]
pub(crate) mod socket;

pub(crate) mod conversions;
pub(crate) mod own_calls;
pub(crate) mod stream_io;
