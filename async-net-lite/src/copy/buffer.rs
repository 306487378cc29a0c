//! One direction's buffer: read into when empty, written from until empty.

use futures::io::{AsyncRead, AsyncWrite};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of a buffer: as many as the largest record of TLS.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;
/// Bytes of the buffer of one who reads little at a time.
const SMALL_BYTES: usize = 1024;

/// Bytes on their way from a reader to a writer.
///
/// The memory is there only while there is something to hold, or a reader to be asked. That is every time anew, so it
/// had better not be much: as long as reads are small, the buffer is, too.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// What of them has been read and not been written.
    unsent: Range<usize>,
    /// Whether the last read has got as much as would fill the small one.
    is_large: bool,
}

impl Buffer {
    /// With `bytes` to be written.
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self { unsent: 0..bytes.len(), bytes, is_large: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Reads once into the empty buffer. Returns how much, 0 at the end of file.
    pub(super) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty());
        // Zeroes: a reader may look at what it is given.
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

    /// Gives the memory of the empty buffer back.
    pub(super) fn release(&mut self) {
        debug_assert!(self.is_empty());
        self.bytes = Vec::new();
    }

    /// Writes once from the buffer, which holds something. Returns how much.
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

/// The error of a writer that takes nothing: waiting for it would be waiting for ever.
pub(super) fn nothing_written() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the writer takes no more bytes")
}

/// The error of an I/O type that breaks its contract. Believing it would be a panic at best.
fn impossible(done: &str) -> io::Error {
    io::Error::other(format!("the stream says that it has {done} more bytes than it was given room for"))
}
