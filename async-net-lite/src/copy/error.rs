//! Why copying has ended before its time.

use std::error::Error;
use std::fmt;
use std::io;

/// The payload of an error of [`copy_bidirectional`](crate::copy_bidirectional): why it has ended, and what it had copied
/// until then.
///
/// A payload inside an [`io::Error`], so that `?` works in functions that return [`io::Result`] and nobody who does not
/// care has to know. The outer error has the same kind and the same words.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{CopyError, TcpListener, TcpStream, copy_bidirectional};
/// use futures::{AsyncReadExt, AsyncWriteExt, future::join};
/// use std::io::ErrorKind;
///
/// async_epoll::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     let broken = futures::io::empty(); // Reads as ended, and …
///     let mut full = [0_u8; 3];
///     let sink = futures::io::Cursor::new(&mut full[..]); // … takes three bytes.
///     client.write_all(b"hello").await?;
///     client.close().await?;
///
///     let error = copy_bidirectional(server, Both(broken, sink)).await.unwrap_err();
///     assert_eq!(error.kind(), ErrorKind::WriteZero);
///     let copied = error.downcast::<CopyError>()?;
///     assert_eq!((copied.a_to_b, copied.b_to_a), (3, 0));
///     Ok(())
/// })?
/// # }
/// # use std::{io, pin::Pin, task::{Context, Poll}};
/// # struct Both<R, W>(R, W);
/// # impl<R: futures::AsyncRead + Unpin, W: Unpin> futures::AsyncRead for Both<R, W> {
/// #     fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, b: &mut [u8]) -> Poll<io::Result<usize>> {
/// #         Pin::new(&mut self.0).poll_read(cx, b)
/// #     }
/// # }
/// # impl<R: Unpin, W: futures::AsyncWrite + Unpin> futures::AsyncWrite for Both<R, W> {
/// #     fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
/// #         Pin::new(&mut self.1).poll_write(cx, b)
/// #     }
/// #     fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
/// #         Pin::new(&mut self.1).poll_flush(cx)
/// #     }
/// #     fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
/// #         Pin::new(&mut self.1).poll_close(cx)
/// #     }
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
