//! The error of copying, with the number of bytes copied.

use std::error::Error;
use std::fmt;
use std::io;

/// The payload of an error of [`copy_bidirectional`](crate::copy_bidirectional): the cause, and the number of bytes
/// copied by then.
///
/// It is a payload of an [`io::Error`], so `?` works in functions that return [`io::Result`], and other code can ignore
/// it. The outer error has the same kind and the same message.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{CopyError, TcpListener, TcpStream, copy_bidirectional};
/// use futures::AsyncWriteExt;
/// use std::io::ErrorKind;
/// use std::net::Shutdown;
///
/// async_epoll::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (a, _) = listener.accept().await?;
///     let b = TcpStream::connect(listener.local_addr()?).await?;
///     client.write_all(b"hello").await?;
///     b.shutdown(Shutdown::Write)?; // So nothing can be written to it.
///
///     let error = copy_bidirectional(a, b).await.unwrap_err();
///     assert_eq!(error.kind(), ErrorKind::BrokenPipe);
///     let copied = error.downcast::<CopyError>()?;
///     assert_eq!((copied.a_to_b, copied.b_to_a), (0, 0));
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct CopyError {
    /// The cause.
    pub error: io::Error,
    /// The number of bytes written to `b`. The peer of `b` may not have received all of them.
    pub a_to_b: u64,
    /// The number of bytes written to `a`. The peer of `a` may not have received all of them.
    pub b_to_a: u64,
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for CopyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl From<CopyError> for io::Error {
    fn from(error: CopyError) -> Self {
        Self::new(error.error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_the_source_of_the_cause() {
        #[derive(Debug)]
        struct Cause(fmt::Error);
        impl fmt::Display for Cause {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cause")
            }
        }
        impl Error for Cause {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = CopyError { error: io::Error::other(Cause(fmt::Error)), a_to_b: 1, b_to_a: 2 };
        assert_eq!(error.to_string(), "cause");
        assert!(error.source().is_some_and(|source| source.is::<fmt::Error>()));
        let outer = io::Error::from(error);
        assert_eq!((outer.kind(), outer.to_string()), (io::ErrorKind::Other, "cause".to_owned()));
        assert_eq!(outer.downcast::<CopyError>().unwrap().b_to_a, 2);
    }
}
