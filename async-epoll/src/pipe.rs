//! The two ends of a pipe, as a reader and a writer.
//!
//! A pipe has an open file for each end, so an end can be non-blocking without an effect on the program at the other end.
//! The ends are [lazy](Source::lazy) sources: an operation that need not wait costs no `epoll_ctl(2)`.

use crate::engine::handle::Handle;
use crate::source::source::Source;
use crate::sys;
use futures::io::{AsyncRead, AsyncWrite};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

/// Makes a pipe, with the current reactor: what is written to the second can be read from the first.
///
/// # Errors
///
/// Those of [`pipe_with`], and of [`Handle::current`].
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// async_epoll::block_on(async {
///     let (mut reader, mut writer) = async_epoll::pipe()?;
///     writer.write_all(b"hello").await?;
///     writer.close().await?;
///     let mut text = String::new();
///     reader.read_to_string(&mut text).await?;
///     assert_eq!(text, "hello");
///     Ok(())
/// })?
/// # }
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    pipe_with(&Handle::current()?)
}

/// Makes a pipe, with the reactor of `handle`: see [`pipe`].
///
/// # Errors
///
/// Those of [`pipe(2)`](https://man7.org/linux/man-pages/man2/pipe.2.html).
pub fn pipe_with(handle: &Handle) -> io::Result<(PipeReader, PipeWriter)> {
    let [reader, writer] = sys::pipe()?;
    Ok((PipeReader::new_with(reader, handle)?, PipeWriter::new_with(writer, handle)?))
}

/// The reading end of a pipe: of [`pipe`], of a child's output, or of a FIFO.
///
/// Reads return 0, the end of file, once all bytes are read and no process has the writing end open.
#[derive(Debug)]
pub struct PipeReader {
    /// The descriptor.
    source: Source<File>,
}

/// The writing end of a pipe: of [`pipe`], of a child's input, or of a FIFO.
///
/// A write fails with `BrokenPipe` if no process has the reading end open. Closing or dropping the writer closes the
/// descriptor, and the reader sees the end of file.
#[derive(Debug)]
pub struct PipeWriter {
    /// The descriptor; `None` once the writer is closed.
    source: Option<Source<File>>,
}

/// Makes a lazy source of one end of a pipe.
fn source(end: OwnedFd, handle: &Handle) -> io::Result<Source<File>> {
    sys::set_nonblocking(end.as_fd(), true)?;
    Ok(Source::lazy(File::from(end), handle))
}

/// Returns the descriptor in blocking mode, as other programs expect it.
fn blocking(source: Source<File>) -> io::Result<OwnedFd> {
    let end = source.into_inner()?;
    sys::set_nonblocking(end.as_fd(), false)?;
    Ok(end.into())
}

impl PipeReader {
    /// Makes a reader of the reading end of a pipe or FIFO, with the reactor of `handle`. Sets it to non-blocking.
    ///
    /// # Errors
    ///
    /// Those of [`fcntl(2)`](https://man7.org/linux/man-pages/man2/fcntl.2.html).
    pub fn new_with(end: impl Into<OwnedFd>, handle: &Handle) -> io::Result<Self> {
        Ok(Self { source: source(end.into(), handle)? })
    }

    /// Returns the source, for [`readable`](Source::readable), [`try_io`](Source::try_io) and system calls of your own.
    pub fn source(&self) -> &Source<File> {
        &self.source
    }

    /// Returns the descriptor in blocking mode, for a program that reads from it: `Stdio::from` takes it.
    ///
    /// # Errors
    ///
    /// Those of [`fcntl(2)`](https://man7.org/linux/man-pages/man2/fcntl.2.html).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::AsyncCommandExt;
    /// use std::process::{Command, Stdio};
    ///
    /// async_epoll::block_on(async {
    ///     let mut echo = Command::new("echo").arg("one two").stdout(Stdio::piped()).spawn_async()?;
    ///     let words = echo.stdout.take().unwrap().into_blocking()?;
    ///     let output = Command::new("wc").arg("-w").stdin(words).output_async().await?;
    ///     assert_eq!(output.stdout.trim_ascii(), b"2");
    ///     assert!(echo.wait().await?.success());
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn into_blocking(self) -> io::Result<OwnedFd> {
        blocking(self.source)
    }
}

impl PipeWriter {
    /// Makes a writer of the writing end of a pipe or FIFO, with the reactor of `handle`. Sets it to non-blocking.
    ///
    /// # Errors
    ///
    /// Those of [`fcntl(2)`](https://man7.org/linux/man-pages/man2/fcntl.2.html).
    pub fn new_with(end: impl Into<OwnedFd>, handle: &Handle) -> io::Result<Self> {
        Ok(Self { source: Some(source(end.into(), handle)?) })
    }

    /// Returns the source, for [`writable`](Source::writable), [`try_io`](Source::try_io) and system calls of your own.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the writer is closed.
    pub fn source(&self) -> io::Result<&Source<File>> {
        self.source.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::BrokenPipe, "the pipe was closed"))
    }

    /// Returns the descriptor in blocking mode, for a program that writes to it: `Stdio::from` takes it.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the writer is closed, and the errors of
    /// [`fcntl(2)`](https://man7.org/linux/man-pages/man2/fcntl.2.html).
    pub fn into_blocking(mut self) -> io::Result<OwnedFd> {
        self.source()?;
        self.source.take().map_or_else(|| unreachable!("the source is there"), blocking)
    }
}

impl AsyncRead for PipeReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &self.source).poll_read(cx, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &self.source).poll_read_vectored(cx, buffers)
    }
}

impl AsyncWrite for PipeWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.source()?).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.source()?).poll_write_vectored(cx, slices)
    }

    /// Returns at once: a pipe has nothing to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes the descriptor: the reader sees the end of file.
    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.source = None;
        Poll::Ready(Ok(()))
    }
}

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl AsRawFd for PipeReader {
    fn as_raw_fd(&self) -> RawFd {
        self.source.as_raw_fd()
    }
}

impl TryFrom<PipeReader> for Stdio {
    type Error = io::Error;

    fn try_from(reader: PipeReader) -> io::Result<Self> {
        reader.into_blocking().map(Self::from)
    }
}

impl TryFrom<PipeWriter> for Stdio {
    type Error = io::Error;

    fn try_from(writer: PipeWriter) -> io::Result<Self> {
        writer.into_blocking().map(Self::from)
    }
}
