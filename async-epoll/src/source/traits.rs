//! [`AsyncRead`] and [`AsyncWrite`] for a [`Source`], if `&T` implements [`Read`] or [`Write`].
//!
//! Each method is an [operation](super::operation) with the method of std as its system call. The contract of the
//! traits demands two things. `WouldBlock` and `Interrupted` are never returned. An operation on zero bytes returns
//! `Ok(0)` without a system call, because in the kernel a read of zero bytes may have an effect.

use super::source::Source;
use futures::io::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Types that are read through a shared reference: all types `T` for which `&T` implements [`Read`].
///
/// A [`Source`] of such a type implements [`AsyncRead`](https://docs.rs/futures/0.3/futures/io/trait.AsyncRead.html). The
/// trait exists for the message of the compiler where the type is none: a `ChildStdout` of std, for example, is read through
/// `&mut` only.
#[diagnostic::on_unimplemented(
    message = "a source of `{Self}` cannot be read: `&{Self}` does not implement `std::io::Read`",
    label = "`{Self}` is not read through a shared reference",
    note = "make a source of `File::from(OwnedFd::from(io))` instead, or call `Source::read_with`",
    note = "a child process whose pipes are readers comes from `AsyncCommandExt::spawn_async`, with the feature `process`"
)]
pub trait ReadShared {
    #[doc(hidden)]
    fn read_shared(&self, buffer: &mut [u8]) -> io::Result<usize>;

    #[doc(hidden)]
    fn read_vectored_shared(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
}

#[diagnostic::do_not_recommend]
impl<T> ReadShared for T
where
    for<'a> &'a T: Read,
{
    #[inline]
    fn read_shared(mut self: &Self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }

    #[inline]
    fn read_vectored_shared(mut self: &Self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_vectored(buffers)
    }
}

/// Types that are written through a shared reference: all types `T` for which `&T` implements [`Write`].
///
/// A [`Source`] of such a type implements [`AsyncWrite`](https://docs.rs/futures/0.3/futures/io/trait.AsyncWrite.html). The
/// trait exists for the message of the compiler where the type is none.
#[diagnostic::on_unimplemented(
    message = "a source of `{Self}` cannot be written: `&{Self}` does not implement `std::io::Write`",
    label = "`{Self}` is not written through a shared reference",
    note = "make a source of `File::from(OwnedFd::from(io))` instead, or call `Source::write_with`"
)]
pub trait WriteShared {
    #[doc(hidden)]
    fn write_shared(&self, bytes: &[u8]) -> io::Result<usize>;

    #[doc(hidden)]
    fn write_vectored_shared(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    #[doc(hidden)]
    fn flush_shared(&self) -> io::Result<()>;
}

#[diagnostic::do_not_recommend]
impl<T> WriteShared for T
where
    for<'a> &'a T: Write,
{
    #[inline]
    fn write_shared(mut self: &Self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    #[inline]
    fn write_vectored_shared(mut self: &Self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored(slices)
    }

    #[inline]
    fn flush_shared(mut self: &Self) -> io::Result<()> {
        self.flush()
    }
}

impl<T: AsFd + ReadShared> AsyncRead for Source<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(cx, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read_vectored(cx, buffers)
    }
}

impl<T: AsFd + ReadShared> AsyncRead for &Source<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_read_with(cx, |io| io.read_shared(buffer))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_read_with(cx, |io| io.read_vectored_shared(buffers))
    }
}

impl<T: AsFd + WriteShared> AsyncWrite for Source<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    /// Flushes only: what closing means depends on the kind of descriptor. Dropping the source closes the descriptor.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }
}

impl<T: AsFd + WriteShared> AsyncWrite for &Source<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_with(cx, |io| io.write_shared(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_with(cx, |io| io.write_vectored_shared(slices))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Tried even if the source is known not to be writable: most types have nothing to flush, and then a full pipe
        // is no reason to wait.
        match self.lend().flush_shared() {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                self.poll_write_with(cx, |io| io.flush_shared())
            }
            result => Poll::Ready(result),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
