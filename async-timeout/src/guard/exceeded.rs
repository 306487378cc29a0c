//! The limits by name, and the error of a limit that was exceeded.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// One of the limits of an [`IoGuard`](crate::IoGuard).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Limit {
    /// No byte has moved in either direction. See [`IoGuard::idle`](crate::IoGuard::idle).
    Idle,
    /// The time of the whole connection is up. See [`IoGuard::total`](crate::IoGuard::total).
    Total,
    /// The peer has taken no byte. See [`IoGuard::write_stall`](crate::IoGuard::write_stall).
    WriteStall,
    /// The peer has sent no byte. See [`IoGuard::read_idle`](crate::IoGuard::read_idle).
    ReadIdle,
    /// The peer has sent too few bytes. See [`IoGuard::min_read_rate`](crate::IoGuard::min_read_rate).
    MinReadRate,
    /// The peer has taken too few bytes. See [`IoGuard::min_write_rate`](crate::IoGuard::min_write_rate).
    MinWriteRate,
}

/// The payload of the [`io::Error`]s of an [`IoGuard`](crate::IoGuard) when a limit has been exceeded.
///
/// The errors are of kind `TimedOut`.
///
/// # Examples
///
/// ```
/// use async_timeout::{Limit, LimitExceeded, guard};
/// use futures::{AsyncReadExt, TryStreamExt, stream};
/// use std::{io, time::Duration};
///
/// // A peer that sends nothing.
/// let silent = stream::pending::<io::Result<Vec<u8>>>().into_async_read();
/// let limit = Duration::from_millis(5);
/// let error = futures::executor::block_on(guard(silent).idle(limit).read(&mut [0; 16])).unwrap_err();
///
/// assert_eq!(error.kind(), io::ErrorKind::TimedOut);
/// let exceeded = LimitExceeded::of(&error).unwrap();
/// assert_eq!((exceeded.limit, exceeded.after), (Limit::Idle, limit));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct LimitExceeded {
    /// The limit that was exceeded.
    pub limit: Limit,
    /// The duration of the limit; the period of a minimum rate.
    pub after: Duration,
}

impl LimitExceeded {
    /// Returns the payload of `error`, or `None` if `error` does not come from an [`IoGuard`](crate::IoGuard).
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.after;
        match self.limit {
            Limit::Idle => write!(f, "idle limit exceeded: no byte in either direction for {after:?}"),
            Limit::Total => write!(f, "total limit exceeded: not done after {after:?}"),
            Limit::WriteStall => write!(f, "write stall limit exceeded: the peer has taken no byte for {after:?}"),
            Limit::ReadIdle => write!(f, "read idle limit exceeded: the peer has sent no byte for {after:?}"),
            Limit::MinReadRate => write!(f, "read rate below the minimum: too few bytes in {after:?} of waiting"),
            Limit::MinWriteRate => write!(f, "write rate below the minimum: too few bytes in {after:?} of waiting"),
        }
    }
}

impl Error for LimitExceeded {}

impl From<LimitExceeded> for io::Error {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::new(io::ErrorKind::TimedOut, exceeded)
    }
}
