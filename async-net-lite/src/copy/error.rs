//! Why copying has ended before its time.

use std::error::Error;
use std::fmt;
use std::io;

/// The payload of an error of [`copy_bidirectional`](crate::copy_bidirectional): why it has ended, and what it had
/// copied until then.
///
/// A payload inside an [`io::Error`], so that `?` works in functions that return [`io::Result`] and nobody who does not
/// care has to know. The outer error has the same kind and the same words.
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
    /// Why.
    pub error: io::Error,
    /// Bytes that had been written to `b`. Whether they have arrived, only the other end of `b` knows.
    pub a_to_b: u64,
    /// Bytes that had been written to `a`.
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
