//! Copying in both directions until both have ended: what a proxy does.
//!
//! The two [`Direction`]s are independent as long as both sides live. This file decides what follows when a side dies:
//!
//! ```text
//!   a read fails ──────────────► the writer of this direction is flushed ───► the copy ends with the error
//!
//!   a write fails, or a side ──► last bytes: the direction from this side ──► the copy ends with the error
//!   that is not read fails       goes on as long as it makes progress
//!
//!   a side is closed, all its bytes are copied, and ────────────────────────► the copy ends
//!   no bytes are there for it
//! ```
//!
//! The hard part is that a side may die while no direction reads from it: the direction from this side is done, or its
//! writer takes no bytes. Then only the other direction could meet the error, and only if it had bytes to write. So the
//! direction from this side watches it (see `direction.rs`). Without the watch, a copy would hold both sockets until
//! the other peer acts, which may be never.
//!
//! The last bytes matter, too. A server that refuses a large request answers, closes, and so resets the connection:
//! then a write fails while the answer waits to be read. Two threads that copy one direction each would deliver it.

use super::direction::{Death, Direction, Failure};
use super::error::CopyError;
use futures::io::{AsyncRead, AsyncWrite};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

/// The largest number of bytes that a direction may move after its reader has failed: more than the kernel holds for a
/// socket. A stream may refuse all writes and be readable for ever.
const MAX_LAST_BYTES: u64 = 16 * 1024 * 1024;

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
/// # When a side dies
///
/// A reset, a time-out of the kernel, and every other error of a socket of this crate ends the copy at once, whatever
/// the two directions are doing. Bytes that this side has received before are still copied, as far as the other side
/// takes them at once; all of them, if the end of file is among them.
///
/// A half-close is no death. A side that is closed in both directions has been shut down here, through a clone, or is a
/// Unix socket with a closed peer. When all bytes of such a side are copied, the copy ends successfully, unless there
/// are bytes for this side: then the error is `BrokenPipe`. The error of a TCP socket that is shut down here while the other
/// side takes no bytes is `BrokenPipe`, too.
///
/// Some deaths cannot be known:
///
/// - A stream of any other type reports its death to a read or a write only. It is not read while the other side takes
///   no bytes, and after its end of file. So the copy may go on until there are bytes for the dead side.
/// - The kernel learns of a peer that vanishes without a word only by its own attempts to send: see
///   [`set_keepalive`](crate::TcpStream::set_keepalive). A TCP peer that closes its socket after it has half-closed the
///   connection is not distinguishable from one that waits for an answer.
/// - A Unix socket that is shut down here looks like a socket with a closed peer, so its bytes wait until the other
///   side takes them. If it is shut down for writing only while it is full, the kernel reports nothing.
///
/// # Errors
///
/// The first error of either direction ends both. It does not reset the connections. If the streams are then dropped,
/// the other peer reads an end of file, as if all bytes had been sent, or a reset, if it has sent bytes that were not
/// read. To report the failure to this peer, pass the streams by reference, and set a linger of zero on both
/// ([`set_linger`](crate::TcpStream::set_linger)) before dropping them.
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
    let mut pair =
        Pair { there: Direction::new(&a, &b), back: Direction::new(&b, &a), is_back_first: false, ending: None };
    let result = poll_fn(|cx| pair.poll(cx, &mut a, &mut b)).await;
    let (a_to_b, b_to_a) = (pair.there.copied, pair.back.copied);
    match result {
        Ok(()) => Ok((a_to_b, b_to_a)),
        Err(error) => Err(CopyError { error, a_to_b, b_to_a }.into()),
    }
}

/// Both directions of a copy.
#[derive(Debug)]
struct Pair {
    /// The direction from `a` to `b`.
    there: Direction,
    /// The direction from `b` to `a`.
    back: Direction,
    /// Whether `back` is polled first. Changed by each poll.
    is_back_first: bool,
    /// The end of the copy after an error. Set once.
    ending: Option<Ending>,
}

/// The end of a copy of which one side has failed: the direction from this side moves its last bytes.
#[derive(Debug)]
struct Ending {
    /// The error of the copy.
    error: io::Error,
    /// Whether the last bytes are those of `there`, and `a` has failed; otherwise those of `back`.
    is_there: bool,
    /// Whether the side had reached its end of file before it failed, so all its bytes arrive.
    is_complete: bool,
    /// The number of bytes at which the direction stops in any case.
    limit: u64,
}

impl Pair {
    /// Copies until both directions have ended, or a side has died.
    fn poll<A, B>(&mut self, cx: &mut Context<'_>, a: &mut A, b: &mut B) -> Poll<io::Result<()>>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        if let Some(ending) = self.ending.take() {
            let polled = match ending.is_there {
                true => ending.poll(cx, &mut self.there, a, b),
                false => ending.poll(cx, &mut self.back, b, a),
            };
            if polled.is_pending() {
                self.ending = Some(ending);
                return Poll::Pending;
            }
            return Poll::Ready(Err(ending.error));
        }
        // Alternate the order, since the first direction may use up the operations that a task has for one poll.
        self.is_back_first = !self.is_back_first;
        for is_there in [!self.is_back_first, self.is_back_first] {
            let polled = if is_there { self.there.poll(cx, a, b) } else { self.back.poll(cx, b, a) };
            match polled {
                // The last bytes are those that the writer holds.
                Poll::Ready(Err(Failure::Reader(error))) if self.direction(is_there).is_unflushed() => {
                    return self.end(cx, error, is_there, false);
                }
                Poll::Ready(Err(Failure::Reader(error))) => return Poll::Ready(Err(error)),
                // The writer has failed: the last bytes are those of the other direction.
                Poll::Ready(Err(Failure::Writer(error))) => return self.end(cx, error, !is_there, false),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        if self.there.is_done() && self.back.is_done() {
            return Poll::Ready(Ok(()));
        }
        // A closed side takes no byte, and has sent all of its own. Bytes for it would fail, but there are none.
        let (there, back) = (&self.there, &self.back);
        if there.is_reader_spent() && back.waits_for_reader() || back.is_reader_spent() && there.waits_for_reader() {
            return Poll::Ready(Ok(()));
        }
        for is_there in [true, false] {
            let polled = if is_there { self.there.poll_watch(cx, a) } else { self.back.poll_watch(cx, b) };
            match polled? {
                Poll::Ready(Death::Failed(error)) => return self.end(cx, error, is_there, false),
                Poll::Ready(Death::FailedAfterEnd(error)) => return self.end(cx, error, is_there, true),
                // The next poll finds out whether there are bytes for this side.
                Poll::Ready(Death::Closed) => cx.waker().wake_by_ref(),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Returns `there`, or else `back`.
    fn direction(&self, is_there: bool) -> &Direction {
        if is_there { &self.there } else { &self.back }
    }

    /// Begins the end of the copy with `error`. The last bytes are those of `there`, or else of `back`.
    fn end(&mut self, cx: &Context<'_>, error: io::Error, is_there: bool, is_complete: bool) -> Poll<io::Result<()>> {
        let direction = self.direction(is_there);
        if direction.is_done() {
            return Poll::Ready(Err(error));
        }
        let limit = direction.copied.saturating_add(MAX_LAST_BYTES);
        self.ending = Some(Ending { error, is_there, is_complete, limit });
        // The next poll moves the last bytes.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Ending {
    /// Moves the last bytes from a reader that has failed. Ready when the copy is to end.
    fn poll<R, W>(&self, cx: &mut Context<'_>, direction: &mut Direction, reader: &mut R, writer: &mut W) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.is_complete {
            return direction.poll(cx, reader, writer).map(drop);
        }
        // An end of file may be wrong, since the error has been taken. So the writer is not closed.
        let before = direction.copied;
        let polled = direction.poll_last(cx, reader, writer);
        // A direction that has yielded may have more bytes, and may not even have asked for them: the other futures of the
        // task may have used up the operations of this poll.
        let goes_on = direction.copied > before || direction.has_yielded();
        if polled.is_pending() && goes_on && direction.copied < self.limit {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}
