//! One direction of a copy: from a reader to a writer, until the reader's end of file is passed on.
//!
//! ```text
//!            ┌──────── the reader would block: flush the writer, wait ────────┐
//!            ▼                                                                │
//!   write until no byte is held ──► read once ──► end of file ──► close the writer ──► done
//!            ▲                        │   │
//!            └────────────────────────┘   └── enough for one poll: yield
//! ```
//!
//! There are two ways to move bytes. A [`Buffer`] works for all readers and writers. A [`Splice`] moves bytes between
//! two sockets of this crate without a copy to this process, but needs more system calls per turn of the loop. So a
//! direction begins with the buffer, changes to splicing when a read has filled all 16 KiB of the buffer, and changes
//! back when the kernel had less. A direction changes only while it holds no bytes, so the bytes stay in order.
//! Requests and responses never pay for a pipe. Only a read decides that the file has ended: see `splice.rs` for why
//! `splice(2)` cannot.
//!
//! A direction holds at most one buffer or one pipe. While it waits for its reader, it holds neither: the copies of
//! thousands of idle connections hold only their own state.
//!
//! A direction that does not read, because its writer takes no bytes or because it is done, meets no error of its
//! reader. So it [watches](Direction::poll_watch) its reader instead, if that is a socket of this crate. What follows
//! from an error is decided in `bidirectional.rs`, which sees both directions.

use super::buffer::{BUFFER_BYTES, Buffer};
use super::splice::{Splice, is_refusal, socket};
use async_epoll::refused_operations;
use futures::io::{AsyncRead, AsyncWrite};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The approximate number of bytes that one direction may move in one poll before it yields. A small read counts as a
/// full buffer, since the system calls take the time.
const BYTES_PER_POLL: usize = 16 * BUFFER_BYTES;

/// The remaining work of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The reader has neither reached its end of file nor failed.
    Moving,
    /// No more bytes come, and all are written, but the writer is not closed.
    Closing,
    /// The writer is closed.
    Done,
}

/// What a pending direction waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// Bytes of the reader, which reports its errors to this wait. The direction holds no bytes.
    Reader,
    /// Room in the writer. The reader is not read meanwhile.
    Writer,
    /// Its turn: the direction has yielded, or an operation was refused for want of budget. Nothing is known of the reader
    /// and the writer, and the task is woken.
    Turn,
}

/// The error of a direction.
#[derive(Debug)]
pub(super) enum Failure {
    /// The reader has failed.
    Reader(io::Error),
    /// The writer has failed.
    Writer(io::Error),
}

impl Failure {
    /// Returns the failure of a write. A write to a Unix socket reports each death as a broken pipe, and the cause, a
    /// reset, is left to be asked for.
    fn of_writer<W>(writer: &W, error: io::Error) -> Self {
        let is_vague = error.raw_os_error() == Some(libc::EPIPE);
        let cause = socket(writer).filter(|_| is_vague).and_then(|socket| socket.take_error().ok().flatten());
        Self::Writer(cause.unwrap_or(error))
    }
}

/// How a reader has died that the direction was not reading.
#[derive(Debug)]
pub(super) enum Death {
    /// No byte can be written to this side any more. The bytes that it has sent can still be read, to the end of file.
    Closed,
    /// The side has failed. More of its bytes may be readable, but not all.
    Failed(io::Error),
    /// The side has failed after its end of file: all its bytes can still be read.
    FailedAfterEnd(io::Error),
}

/// A copy from one reader to one writer, which are passed to each poll.
///
/// At most one of `buffer` and `splice` holds bytes.
#[derive(Debug)]
pub(super) struct Direction {
    /// The remaining work. Only moves forward.
    stage: Stage,
    /// What the last poll has ended with. Set by each poll.
    wait: Wait,
    /// Whether the death of the reader has been reported by [`poll_watch`](Self::poll_watch), which sets it.
    is_reader_dead: bool,
    /// The bytes that a read has returned and no write has taken.
    buffer: Buffer,
    /// The bytes that are spliced. `None` from the start if the reader or the writer is not a socket of this crate, and
    /// after the kernel has refused or reported urgent data.
    splice: Option<Splice>,
    /// Whether the last read got the maximum, so more data is likely. Set by each read.
    is_bulk: bool,
    /// Whether bytes were written since the last flush.
    is_unflushed: bool,
    /// The number of bytes written.
    pub(super) copied: u64,
}

impl Direction {
    /// Returns a direction that has copied nothing yet.
    pub(super) fn new<R, W>(reader: &R, writer: &W) -> Self {
        let can_splice = socket(reader).is_some() && socket(writer).is_some();
        Self {
            stage: Stage::Moving,
            wait: Wait::Turn,
            is_reader_dead: false,
            buffer: Buffer::default(),
            splice: can_splice.then(Splice::default),
            is_bulk: false,
            is_unflushed: false,
            copied: 0,
        }
    }

    /// Returns whether the writer is closed.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Returns whether the direction holds no bytes and waits for its reader.
    pub(super) fn waits_for_reader(&self) -> bool {
        self.wait == Wait::Reader && self.stage == Stage::Moving
    }

    /// Returns whether the writer may hold bytes that it has not passed on.
    pub(super) fn is_unflushed(&self) -> bool {
        self.is_unflushed
    }

    /// Returns whether the last poll has yielded, so the next poll may move more bytes at once.
    pub(super) fn has_yielded(&self) -> bool {
        self.wait == Wait::Turn
    }

    /// Returns whether all bytes of the reader are copied, and no byte can be written to it.
    pub(super) fn is_reader_spent(&self) -> bool {
        self.is_done() && self.is_reader_dead
    }

    /// Copies until the writer is closed, or one side has to wait.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<Result<(), Failure>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        ready!(self.poll_move(cx, reader, writer))?;
        if self.stage == Stage::Closing {
            ready!(Pin::new(writer).poll_close(cx)).map_err(Failure::Writer)?;
            self.stage = Stage::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// Copies until the reader's end of file has been reached, or one side has to wait. Does not close the writer.
    pub(super) fn poll_move<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<Result<(), Failure>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        self.note_refusals(|direction| direction.poll_steps(cx, reader, writer))
    }

    /// Copies the last bytes of a reader that has failed, as far as the writer takes them, and flushes the writer. Does not
    /// close it.
    pub(super) fn poll_last<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        self.note_refusals(|direction| match ready!(direction.poll_steps(cx, reader, writer)) {
            Err(Failure::Writer(_)) => Poll::Ready(()),
            Ok(()) | Err(Failure::Reader(_)) => direction.poll_flush(cx, writer).map(drop),
        })
    }

    /// Polls by `poll`, and notes whether the result is pending because an operation was refused.
    fn note_refusals<R>(&mut self, poll: impl FnOnce(&mut Self) -> Poll<R>) -> Poll<R> {
        let refused = refused_operations();
        let polled = poll(self);
        // A stream around a socket may use many operations, so the number of refusals is compared, and not the budget.
        if polled.is_pending() && refused_operations() != refused {
            self.wait = Wait::Turn;
        }
        polled
    }

    /// The loop of a direction, at the top of this file. Takes each `Pending` for a side that has to wait.
    fn poll_steps<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W) -> Poll<Result<(), Failure>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut left = BYTES_PER_POLL;
        self.wait = Wait::Writer;
        while self.stage == Stage::Moving {
            ready!(self.poll_write_all(cx, writer)).map_err(|error| Failure::of_writer(writer, error))?;
            if left == 0 {
                self.wait = Wait::Turn;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_read(cx, reader) {
                Poll::Ready(Ok(Some(length))) => left = left.saturating_sub(length.max(BUFFER_BYTES)),
                Poll::Ready(Ok(None)) => self.stage = Stage::Closing,
                Poll::Ready(Err(error)) => {
                    self.stage = Stage::Closing;
                    return Poll::Ready(Err(Failure::Reader(error)));
                }
                Poll::Pending => {
                    self.wait = Wait::Reader;
                    ready!(self.poll_flush(cx, writer)).map_err(Failure::Writer)?;
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the death of the reader while the direction does not read. To be called after each poll of the
    /// direction. Reports a death once. Never ready if the reader is not a socket of this crate.
    ///
    /// Neither a half-close of the peer nor data that is not read ends the wait. The wait makes no system call, except
    /// to register a socket that has not had to wait before, and to ask for the error after a death.
    pub(super) fn poll_watch<R>(&mut self, cx: &mut Context<'_>, reader: &R) -> Poll<io::Result<Death>> {
        if self.is_reader_dead || self.wait != Wait::Writer && !self.is_done() {
            return Poll::Pending;
        }
        let Some(socket) = socket(reader) else { return Poll::Pending };
        ready!(socket.poll_write_closed(cx))?;
        self.is_reader_dead = true;
        Poll::Ready(Ok(match socket.take_error()? {
            // The kernel reports a reset as a broken pipe if the end of file has arrived before.
            Some(error) if error.raw_os_error() == Some(libc::EPIPE) => Death::FailedAfterEnd(error),
            Some(error) => Death::Failed(error),
            None if !self.is_done() && socket.has_stopped_reading() => {
                Death::Failed(io::Error::from_raw_os_error(libc::EPIPE))
            }
            None => Death::Closed,
        }))
    }

    /// Flushes the writer, if bytes were written since the last flush.
    fn poll_flush<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>> {
        if self.is_unflushed {
            ready!(Pin::new(writer).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all held bytes.
    fn poll_write_all<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>> {
        if let (Some(splice), Some(socket)) = (&mut self.splice, socket(writer)) {
            match ready!(splice.poll_drain(cx, socket, &mut self.copied)) {
                // The kernel refuses to splice into this writer, so the bytes in the pipe must go through the buffer.
                Err(error) if is_refusal(&error) => {
                    self.buffer = Buffer::holding(splice.rescue()?);
                    self.splice = None;
                }
                result => result?,
            }
        }
        while !self.buffer.is_empty() {
            self.copied += ready!(self.buffer.poll_drain(cx, writer))? as u64;
            self.is_unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once. The direction must hold no bytes. Returns the number of bytes, or `None` at the end of file.
    fn poll_read<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
    ) -> Poll<io::Result<Option<usize>>> {
        if let (true, Some(splice), Some(socket)) = (self.is_bulk, &mut self.splice, socket(reader)) {
            if socket.is_urgent() {
                self.splice = None;
            } else {
                match ready!(splice.poll_fill(cx, socket)) {
                    // End of file or urgent data: a read will tell.
                    Ok(0) => self.is_bulk = false,
                    Ok(length) => {
                        self.buffer.release();
                        self.is_bulk = length >= BUFFER_BYTES;
                        return Poll::Ready(Ok(Some(length)));
                    }
                    Err(error) if is_refusal(&error) => self.splice = None,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
        if let Some(splice) = &mut self.splice {
            splice.release();
        }
        let length = ready!(self.buffer.poll_fill(cx, reader))?;
        self.is_bulk = length == BUFFER_BYTES;
        Poll::Ready(Ok((length > 0).then_some(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unix::UnixStream;
    use futures::io::AsyncReadExt;
    use std::future::poll_fn;

    /// Fills a Unix socket, so that its peer has bulk data. Returns their number.
    fn fill(stream: &UnixStream) -> usize {
        std::iter::from_fn(|| stream.try_write(&[7; 1 << 12]).ok()).sum()
    }

    /// Bulk data goes through a pipe and not through a buffer, and the first read of a direction does not.
    #[test]
    fn bulk_data_waits_in_a_pipe() {
        async_epoll::block_on(async {
            let ((near, mut a), (mut b, _far)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
            fill(&near);
            fill(&b);
            let mut direction = Direction::new(&a, &b);
            assert!(poll_fn(|cx| Poll::Ready(direction.poll(cx, &mut a, &mut b))).await.is_pending());
            assert!(!direction.buffer.is_empty() && !direction.splice.as_ref().unwrap().holds_bytes());

            let ((near, mut a), (mut b, _far)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
            // Room for the two reads that go through the buffer, and not for the rest.
            socket2::SockRef::from(&b).set_send_buffer_size(40 * 1024).unwrap();
            fill(&near);
            let mut direction = Direction::new(&a, &b);
            assert!(poll_fn(|cx| Poll::Ready(direction.poll(cx, &mut a, &mut b))).await.is_pending());
            assert!(direction.splice.as_ref().unwrap().holds_bytes(), "{direction:?}");
            assert!(direction.buffer.is_empty());
        })
        .unwrap();
    }

    /// When the kernel refuses to splice into the writer, the bytes in the pipe reach it through a buffer.
    #[test]
    fn bytes_of_a_pipe_are_rescued() {
        async_epoll::block_on(async {
            let ((near, a), (mut b, mut far)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
            let length = fill(&near);
            let mut splice = Splice::default();
            let spliced = poll_fn(|cx| splice.poll_fill(cx, socket(&a).unwrap())).await.unwrap();
            assert!(spliced > BUFFER_BYTES && spliced <= length);
            let mut buffer = Buffer::holding(splice.rescue().unwrap());
            assert!(!splice.holds_bytes());
            assert_eq!(poll_fn(|cx| buffer.poll_drain(cx, &mut b)).await.unwrap(), spliced);
            assert!(buffer.is_empty());
            let mut received = vec![0; spliced];
            far.read_exact(&mut received).await.unwrap();
            assert_eq!(received, vec![7; spliced]);
        })
        .unwrap();
    }
}
