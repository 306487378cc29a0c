//! The buffer of one direction: filled only when empty, then written until empty.

use futures::io::{AsyncRead, AsyncWrite};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The size of a large buffer, in bytes: the largest record of TLS.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;
/// The size of a small buffer, in bytes. A direction starts with a small buffer, and returns to it after a small read.
const SMALL_BYTES: usize = 1024;

/// Bytes on their way from a reader to a writer.
///
/// The memory is allocated only while the buffer holds bytes or a reader is polled. So every poll of an idle reader
/// allocates and zeroes memory. To make this cheap, the buffer is small as long as reads are small.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// The memory; empty after a [`release`](Self::release).
    bytes: Vec<u8>,
    /// The part of `bytes` that has been read and not been written.
    unsent: Range<usize>,
    /// Whether the last read returned enough bytes to fill a small buffer.
    is_large: bool,
}

impl Buffer {
    /// Returns a buffer that holds `bytes`.
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self { unsent: 0..bytes.len(), bytes, is_large: true }
    }

    /// Returns whether all bytes have been written.
    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Reads once into the empty buffer. Returns the number of bytes, 0 at the end of file.
    pub(super) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty());
        // Zeroed, since a reader may look at the buffer.
        self.bytes.resize(if self.is_large { BUFFER_BYTES } else { SMALL_BYTES }, 0);
        let polled = Pin::new(reader).poll_read(cx, &mut self.bytes);
        if !matches!(polled, Poll::Ready(Ok(1..))) {
            self.release();
        }
        let length = ready!(polled)?;
        if length > self.bytes.len() {
            return Poll::Ready(Err(impossible("read")));
        }
        self.unsent = 0..length;
        self.is_large = length >= SMALL_BYTES;
        Poll::Ready(Ok(length))
    }

    /// Frees the memory of the empty buffer.
    pub(super) fn release(&mut self) {
        debug_assert!(self.is_empty());
        self.bytes = Vec::new();
    }

    /// Writes once from the buffer, which must hold bytes. Returns the number of bytes written.
    pub(super) fn poll_drain<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(writer).poll_write(cx, &self.bytes[self.unsent.clone()]))?;
        if length == 0 {
            return Poll::Ready(Err(nothing_written()));
        }
        if length > self.unsent.len() {
            return Poll::Ready(Err(impossible("written")));
        }
        self.unsent.start += length;
        Poll::Ready(Ok(length))
    }
}

/// Returns the error for a writer that takes no bytes. Waiting for it could last for ever.
pub(super) fn nothing_written() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the writer takes no more bytes")
}

/// Returns the error for an I/O type that breaks its contract. Trusting the number would panic at best.
fn impossible(done: &str) -> io::Error {
    io::Error::other(format!("the stream says that it has {done} more bytes than it was given room for"))
}
