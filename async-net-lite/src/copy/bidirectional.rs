//! Copying in both directions until both are over: what a proxy does.
//!
//! Each [`Direction`] knows nothing of the other:
//!
//! ```text
//!            ┌──────── the reader would block: flush the writer, wait ────────┐
//!            ▼                                                                │
//!   write until nothing is held ──► read once ──► end of file ──► close the writer ──► done
//!            ▲                        │   │
//!            └────────────────────────┘   └── enough for one poll: let others go first
//! ```
//!
//! There are two ways to read and write. [`Buffer`] works for everything. [`Splice`] moves data between two of our own
//! sockets without it ever being copied to this process, but costs more system calls a turn. So a direction begins with
//! the buffer, changes to splicing when a read has filled all of its 16 KiB, and changes back when the kernel had less
//! than that.
//! It changes only while it holds nothing, so the bytes stay in order. Requests and responses never pay for a pipe, and
//! an end of file is always what a read has said: see `splice.rs` for why `splice(2)` is not believed.
//!
//! What is held at most is one buffer or one pipe a direction. A direction that waits for its reader has neither: the
//! copies of thousands of idle connections hold nothing but their own state.

use super::buffer::{BUFFER_BYTES, Buffer};
use super::error::CopyError;
use super::splice::{Splice, is_refusal, socket};
use futures::io::{AsyncRead, AsyncWrite};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What one direction may move in one poll, roughly, before others go first. A small read counts as a buffer's fill: it
/// is the calls that take time.
const BYTES_PER_POLL: usize = 16 * BUFFER_BYTES;

/// Copies from `a` to `b` and from `b` to `a`, at the same time, until both have ended. Returns the bytes that went
/// from `a` to `b`, and those that went from `b` to `a`.
///
/// When one side has said all it has to say (its end of file is read), the other side is closed for writing as soon as
/// everything has been written to it; the opposite direction goes on. So a client that closes its writing side after
/// its request still gets the response.
///
/// The arguments are anything that reads and writes, by value or by reference. What is passed by value is dropped at
/// the end, which closes a socket; to go on using it, pass a reference.
///
/// # How it works
///
/// If `a` and `b` are each a [`TcpStream`](crate::TcpStream) or a [`UnixStream`](crate::unix::UnixStream), or a reference
/// to one, bulk data is moved inside the kernel by [`splice(2)`](https://man7.org/linux/man-pages/man2/splice.2.html), through a pipe, without being copied
/// to this process. Small messages, and everything else (a stream behind TLS, a `BufReader`, a `Box<dyn …>`), go
/// through one buffer a direction, of 16 KiB at most. Where pipes cannot be had or `splice(2)` is forbidden, all goes
/// through the buffers; nobody has to choose. A direction that waits for data holds neither a buffer nor a pipe, and
/// (each thread keeps a few empty pipes for the next), and
/// one whose writer is slow holds one of them and reads no further: memory stays bounded, and the kernel's flow control
/// reaches the sender. A writer that has a buffer of its own is flushed whenever its direction runs out of data.
///
/// A direction with very much to do lets the other direction, and other tasks, go first every now and then.
///
/// There is no time limit inside. Sides that fall silent, or stop reading, are waited for until the end of the
/// connection: wrap the call or the sides in a timeout.
///
/// Urgent data of TCP is not passed on; what follows it is.
///
/// # Errors
///
/// The first error of either direction ends both. It does not reset the connections: dropped as they are, the other peer
/// reads an end of file, as if all had been sent. To have it know better, pass the streams by reference, and set a linger
/// of zero on both ([`set_linger`](crate::TcpStream::set_linger)) before they are dropped.
///
/// It has the [`kind`](io::Error::kind) and the words of its cause, and
/// its payload is a [`CopyError`], which says how much had been copied. What was read and could not be written is lost.
///
/// # Cancel safety
///
/// Not cancel safe: bytes that were read and not written yet are lost when the future is dropped. Nothing else is: no
/// descriptor, and what was passed by reference can be used further.
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
///         stream.read_to_string(&mut request).await?; // To the end of file, which the proxy passes on.
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
        // In turns, since the first one may spend the operations that a task has for one poll.
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

/// What is left to do in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The reader has not ended.
    Moving,
    /// It has, and all is written.
    Closing,
    Done,
}

/// From one reader to one writer, which are passed to each poll.
///
/// At most one of `buffer` and `splice` holds bytes.
#[derive(Debug)]
struct Direction {
    stage: Stage,
    buffer: Buffer,
    /// `None` if this is not possible: an end is no socket of ours, or the kernel has refused.
    splice: Option<Splice>,
    /// Whether the last read got all that it could take, so that more is likely to be there.
    is_bulk: bool,
    /// Whether something was written since the last flush.
    is_unflushed: bool,
    /// Bytes written.
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

    /// Goes on until the writer is closed.
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

    /// Writes what is held, all of it.
    fn poll_write_all<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>> {
        if let (Some(splice), Some(socket)) = (&mut self.splice, socket(writer)) {
            match ready!(splice.poll_drain(cx, socket, &mut self.copied)) {
                // What is in the pipe has to get out by another way.
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

    /// Reads once; nothing must be held. Returns how much, `None` at the end of file.
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
                    // Nothing, which may be the end or may not: a read will tell.
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
