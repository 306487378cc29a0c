//! What every socket of this crate has inside, whatever its addresses are.
//!
//! A [`Socket`](socket::Socket) is a source of the reactor that announces, once its descriptor is closed, that a descriptor is free.
//! Listeners that have paused for want of a descriptor are in the list of [`paused`] and hear of it. The traits of
//! futures-io are implemented once for all streams, in [`stream_io`], and the conversions from and to std once for all
//! types, in [`conversions`]. Nothing here knows an address or a protocol.
//!
//! ```text
//!   tcp  udp  unix                  stream_io: AsyncRead, AsyncWrite      conversions: std ◄──► ours
//!       │                               │ slices: what one call takes
//!       ▼                               ▼
//!   Socket<std's type> ──────────► async_epoll::Source
//!       │ closed
//!       ▼
//!   paused: the listeners that wait for a descriptor
//! ```

pub(crate) mod paused;

pub(crate) mod options;
pub(crate) mod slices;

#[allow(clippy::module_inception, reason = "the room has the name of what it is about")]
pub(crate) mod socket;

pub(crate) mod conversions;
pub(crate) mod stream_io;
