//! Why a group has failed.

use crate::task::error::TaskError;
use std::error::Error;
use std::fmt;
use std::io;

/// Why a group has failed; from [`TaskGroup::join`](crate::TaskGroup::join) and
/// [`TaskGroup::try_join`](crate::TaskGroup::try_join).
///
/// The first error is not wrapped: it is [`first`](Self::first). The message is that of the first error, with the number of
/// the others. Becomes an [`io::Error`] by `?`: the first error, if it is one.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::TaskGroup;
/// use std::io;
///
/// async_epoll::try_block_on(async {
///     let group = TaskGroup::new()?;
///     group.spawn(async { Err::<(), _>(io::Error::from(io::ErrorKind::InvalidData)) }).await?;
///     group.spawn(std::future::pending()).await?; // Aborted, since the other fails.
///     let error = group.try_join().await.unwrap_err();
///     assert_eq!(error.first.kind(), io::ErrorKind::InvalidData);
///     assert!(error.others.is_empty());
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct GroupError<E> {
    /// The error that has ended the group.
    pub first: E,
    /// The errors of children that failed after the first and before they were dropped, and panics of their destructors.
    pub others: Vec<E>,
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        match self.others.len() {
            0 => Ok(()),
            others => write!(f, " (and {others} more)"),
        }
    }
}

impl<E: Error> Error for GroupError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.first.source()
    }
}

impl From<GroupError<Self>> for io::Error {
    /// Returns the first error; the others are dropped.
    fn from(error: GroupError<Self>) -> Self {
        error.first
    }
}

impl From<GroupError<TaskError>> for io::Error {
    /// Wraps the first error, with the kind [`Other`](io::ErrorKind::Other); the others are dropped.
    fn from(error: GroupError<TaskError>) -> Self {
        error.first.into()
    }
}
