//! Copying in both directions until both have ended: what a proxy does.
//!
//! The two [`Direction`]s are independent. Each works as follows:
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

use super::buffer::{BUFFER_BYTES, Buffer};
use super::error::CopyError;
use super::splice::{Splice, is_refusal, socket};
use futures::io::{AsyncRead, AsyncWrite};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The approximate number of bytes that one direction may move in one poll before it yields. A small read counts as a
/// full buffer, since the system calls take the time.
const BYTES_PER_POLL: usize = 16 * BUFFER_BYTES;

/// Copies from `a` to `b` and from `b` to `a` at the same time, until both directions have ended. Returns the number of
/// bytes copied from `a` to `b`, and from `b` to `a`.
///
/// At the end of file of one side, all remaining bytes are written to the other side, which is then closed for writing.
/// The opposite direction continues. So a client that half-closes after its request still receives the response.
///
/// The arguments may be any readers and writers, by value or by reference. An argument passed by value is dropped at
/// the end, which closes a socket. To use a socket further, pass a reference.
///
/// # How it works
///
/// If `a` and `b` are each a [`TcpStream`](crate::TcpStream), a [`UnixStream`](crate::unix::UnixStream) or a reference
/// to such a stream, bulk data moves inside the kernel, through a pipe, by
/// [`splice(2)`](https://man7.org/linux/man-pages/man2/splice.2.html), without a copy to this process. Small messages,
/// and all other types (a stream behind TLS, a `BufReader`, a `Box<dyn …>`), go through one buffer per direction, of at
/// most 16 KiB. If no pipe can be opened or `splice(2)` is forbidden, all bytes go through the buffers. The choice is
/// automatic.
///
/// A direction that waits for data holds neither a buffer nor a pipe. (Each thread keeps a few empty pipes for reuse.)
/// A direction with a slow writer holds one buffer or one pipe and reads no further: memory stays bounded, and the
/// kernel's flow control reaches the sender. A writer with a buffer of its own is flushed whenever its direction runs
/// out of data.
///
/// A busy direction yields to the other direction and to other tasks after a fixed amount of work.
///
/// There is no built-in time limit. A copy waits for silent peers, and for peers that stop reading, until the
/// connection ends: wrap the call or the sides in a timeout.
///
/// Urgent data of TCP is not copied, but the bytes after it are.
///
/// # Errors
///
/// The first error of either direction ends both. It does not reset the connections. If the streams are then dropped,
/// the other peer reads an end of file, as if all bytes had been sent. To report the failure to this peer, pass the
/// streams by reference, and set a linger of zero on both ([`set_linger`](crate::TcpStream::set_linger)) before
/// dropping them.
///
/// The error has the [`kind`](io::Error::kind) and the message of its cause. Its payload is a [`CopyError`], with the
/// number of bytes copied. Bytes that were read and could not be written are lost.
///
/// # Cancel safety
///
/// Not cancel safe: dropping the future loses the bytes that were read and not written yet. No descriptor leaks, and
/// streams passed by reference can be used further.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{TcpListener, TcpStream, copy_bidirectional};
/// use futures::{AsyncReadExt, AsyncWriteExt, future::try_join3};
///
/// async_epoll::block_on(async {
///     let (front, back) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
///     let (front_address, back_address) = (front.local_addr()?, back.local_addr()?);
///
///     let proxy = async {
///         let (client, _) = front.accept().await?;
///         copy_bidirectional(client, TcpStream::connect(back_address).await?).await
///     };
///     let server = async {
///         let (mut stream, _) = back.accept().await?;
///         let mut request = String::new();
///         stream.read_to_string(&mut request).await?; // To the end of file, which the proxy forwards.
///         stream.write_all(format!("{request} yourself").as_bytes()).await?;
///         stream.close().await
///     };
///     let client = async {
///         let mut stream = TcpStream::connect(front_address).await?;
///         stream.write_all(b"hello").await?;
///         stream.close().await?;
///         let mut response = String::new();
///         stream.read_to_string(&mut response).await?;
///         assert_eq!(response, "hello yourself");
///         Ok(())
///     };
///     let (copied, (), ()) = try_join3(proxy, server, client).await?;
///     assert_eq!(copied, (5, 14));
///     Ok(())
/// })?
/// # }
/// ```
pub async fn copy_bidirectional<A, B>(mut a: A, mut b: B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Direction::new(&a, &b), Direction::new(&b, &a));
    let mut back_first = false;
    let both = poll_fn(|cx| {
        // Alternate the order, since the first direction may use up the operations that a task has for one poll.
        back_first = !back_first;
        let mut done = (false, false);
        if back_first {
            done.1 = back.poll(cx, &mut b, &mut a)?.is_ready();
        }
        done.0 = there.poll(cx, &mut a, &mut b)?.is_ready();
        if !back_first {
            done.1 = back.poll(cx, &mut b, &mut a)?.is_ready();
        }
        if done == (true, true) { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    let result = both.await;
    let (a_to_b, b_to_a) = (there.copied, back.copied);
    match result {
        Ok(()) => Ok((a_to_b, b_to_a)),
        Err(error) => Err(CopyError { error, a_to_b, b_to_a }.into()),
    }
}

/// The remaining work of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The reader has not reached its end of file.
    Moving,
    /// All bytes are written, but the writer is not closed.
    Closing,
    /// The writer is closed.
    Done,
}

/// A copy from one reader to one writer, which are passed to each poll.
///
/// At most one of `buffer` and `splice` holds bytes.
#[derive(Debug)]
struct Direction {
    /// The remaining work. Only moves forward.
    stage: Stage,
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
    copied: u64,
}

impl Direction {
    fn new<R, W>(reader: &R, writer: &W) -> Self {
        let can_splice = socket(reader).is_some() && socket(writer).is_some();
        Self {
            stage: Stage::Moving,
            buffer: Buffer::default(),
            splice: can_splice.then(Splice::default),
            is_bulk: false,
            is_unflushed: false,
            copied: 0,
        }
    }

    /// Copies until the writer is closed, or one side has to wait.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut left = BYTES_PER_POLL;
        while self.stage == Stage::Moving {
            ready!(self.poll_write_all(cx, writer))?;
            if left == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_read(cx, reader)? {
                Poll::Ready(Some(length)) => left = left.saturating_sub(length.max(BUFFER_BYTES)),
                Poll::Ready(None) => self.stage = Stage::Closing,
                Poll::Pending => {
                    if self.is_unflushed {
                        ready!(Pin::new(writer).poll_flush(cx))?;
                        self.is_unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        if self.stage == Stage::Closing {
            ready!(Pin::new(writer).poll_close(cx))?;
            self.stage = Stage::Done;
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
