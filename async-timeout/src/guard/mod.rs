//! A connection with limits in time.
//!
//! A timeout around each read would arm and cancel a timer each time, and still could not tell a peer that sends a byte
//! now and then from one that is done in time. So a guard belongs to the whole connection, and has one timer for it:
//!
//! ```text
//!   read or write:  total limit exceeded? ──yes─► error
//!                     │
//!                   inner ──Ready──► stop counting              (no timer, usually no clock)
//!                     │ Pending
//!                   begin to count, or go on; exceeded? ──yes─► error
//!                     │
//!                   does the timer ring in time? ──no─► set it
//!                     │
//!                   Pending (the inner one and the timer have our waker)
//! ```
//!
//! The timer is not moved when bytes do. It rings, whoever waits looks at the clock, and it is set to where the nearest
//! limit has got to by then: about one timer operation in the time of a limit, however many bytes there are. What counts,
//! and from when, is in [`limits`](crate::limits), what is done about it in [`watch`](crate::watch), and how one timer
//! wakes two tasks in [`alarm`](crate::alarm).

mod limits;
mod timer;
mod tracker;

pub use limits::{Limit, LimitExceeded};

use futures::io::{AsyncBufRead, AsyncRead, AsyncWrite, IoSlice, IoSliceMut};
use limits::{Operation, Outcome};
use pin_project_lite::pin_project;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tracker::Tracker;

/// Puts limits in time on a connection: an [`IoGuard`], which has none until they are set.
///
/// # Examples
///
/// ```
/// use async_timeout::guard;
/// use futures::AsyncReadExt;
/// use std::time::Duration;
///
/// futures::executor::block_on(async {
///     let request: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
///     let mut connection = guard(request).idle(Duration::from_secs(30)).total(Duration::from_secs(300));
///     let mut text = String::new();
///     connection.read_to_string(&mut text).await?;
///     assert!(text.starts_with("GET"));
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn guard<T>(io: T) -> IoGuard<T> {
    IoGuard::new(io)
}

pin_project! {
    /// Limits in time on a connection, or on anything else that is [`AsyncRead`], [`AsyncWrite`] or both (those of
    /// futures-io); from [`guard`].
    ///
    /// | limit | exceeded when |
    /// |---|---|
    /// | [`idle`](Self::idle) | somebody waits, and no byte moves in either direction |
    /// | [`total`](Self::total) | the time is up, whatever happens |
    /// | [`write_stall`](Self::write_stall) | the peer takes no byte that it is sent |
    ///
    /// What is ready is never too late, but for the total limit: the inner operation is tried first, and only one that
    /// has to wait can exceed a limit. A limit is exceeded at 100 % of its time, never before, and then as soon as the
    /// executor polls.
    ///
    /// # Errors
    ///
    /// Once a limit has been exceeded, it stays so: all operations fail with an [`io::Error`] of kind `TimedOut` whose
    /// payload is a [`LimitExceeded`]. Whoever waits in the other direction is woken to learn of it. Only `poll_close`
    /// still reaches the inner connection, so that it can be closed properly, and fails if that would have to wait.
    ///
    /// # Half-closed connections
    ///
    /// After an end of file, which is no progress, only writing counts as waiting. After a `poll_close` that has
    /// succeeded, only reading does. After both, no limit counts any more, and the timer is gone.
    ///
    /// A connection that was cut is closed when it is dropped, but the kernel keeps what the peer has not taken and goes on
    /// to offer it for a while. A linger of zero, where the socket has one, throws that away.
    ///
    /// # Cancel safety
    ///
    /// That of the inner connection. A read or write that is dropped while it waits leaves its count as it is, since
    /// another one may follow at once, as in a loop around `select!`: a peer that has said nothing in between is cut by
    /// that one.
    ///
    /// # How it works
    ///
    /// There is one timer for all limits, made when an operation first has to wait, and not moved by bytes that do. It is
    /// that of a reactor where one runs, as [everywhere in this crate](crate#where-the-time-comes-from). It wakes the two
    /// tasks that last waited to read and to write, so the halves of `futures::io::split` may be in two tasks. Operations
    /// that need not wait cost next to nothing: one with a total limit reads the clock, and so does one that moves bytes
    /// while the other direction waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::{Limit, LimitExceeded, guard};
    /// use futures::{AsyncReadExt, StreamExt, TryStreamExt, stream};
    /// use std::{io, time::Duration};
    ///
    /// // A peer that sends a byte now and then, and never gets done. No limit on a single read stops it.
    /// let drip = stream::repeat(()).then(|()| async {
    ///     async_timeout::sleep(Duration::from_millis(4)).await;
    ///     Ok::<_, io::Error>(*b"a")
    /// });
    /// let drip = std::pin::pin!(drip);
    ///
    /// let mut connection = guard(drip.into_async_read()).idle(Duration::from_secs(5)).total(Duration::from_millis(20));
    /// let error = futures::executor::block_on(connection.read_to_end(&mut Vec::new())).unwrap_err();
    /// assert_eq!(LimitExceeded::of(&error).unwrap().limit, Limit::Total);
    /// ```
    ///
    /// [`AsyncRead`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncRead.html
    /// [`AsyncWrite`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncWrite.html
    #[must_use = "a guard guards what is done through it"]
    pub struct IoGuard<T> {
        #[pin]
        io: T,
        tracker: Tracker,
    }
}

impl<T> IoGuard<T> {
    /// See [`guard`].
    pub fn new(io: T) -> Self {
        Self { io, tracker: Tracker::default() }
    }

    /// At most so long without a byte in either direction, while somebody waits for one.
    ///
    /// It counts from the first operation that has to wait since bytes last moved: while a handler thinks, its peer may be
    /// silent. Bytes count when they are handed over. Those written into a buffer, be it the kernel's, have moved although
    /// the peer may never take them; that is for [`write_stall`](Self::write_stall) to find out.
    ///
    /// `Duration::ZERO`: nothing may wait at all. `Duration::MAX`, and everything beyond a century: no limit.
    pub fn idle(mut self, limit: Duration) -> Self {
        self.tracker.change().set_idle(limit);
        self
    }

    /// At most so long for everything, from the first operation on.
    ///
    /// It stops even a peer that sends without pause. Nobody is woken who does not wait for this connection.
    ///
    /// `Duration::ZERO`: the first operation fails. `Duration::MAX`, and everything beyond a century: no limit.
    pub fn total(mut self, limit: Duration) -> Self {
        self.tracker.change().set_total(limit);
        self
    }

    /// At most so long without a byte that the peer takes, from the first write, flush or close that has to wait for it.
    ///
    /// Bytes go into the buffer of the kernel first, which makes room by and by: on loopback, a peer that takes 500 kB a
    /// second was seen to let none move for three seconds. So the limit has to be much longer than the send buffer takes
    /// at the slowest rate that is to be served; or the buffer made smaller, as by `set_send_buffer`. The same goes for
    /// [`idle`](Self::idle), as which a blocked writer counts, too: a limit that is not the smaller of the two never acts
    /// while nobody reads.
    ///
    /// It stops a peer that sends but does not read. Writers find it out, for they are the ones who try; others are told.
    ///
    /// `Duration::ZERO`: no write may wait. `Duration::MAX`, and everything beyond a century: no limit.
    pub fn write_stall(mut self, limit: Duration) -> Self {
        self.tracker.change().set_write_stall(limit);
        self
    }

    /// The limit that has been exceeded, if one has.
    pub fn exceeded(&self) -> Option<LimitExceeded> {
        self.tracker.exceeded()
    }

    /// The inner connection. What is done with it directly counts for no limit.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// The inner connection, mutably.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.io
    }

    /// The inner connection, pinned.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut T> {
        self.project().io
    }

    /// Gives the inner connection back, without limits.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// Every operation: the inner one is tried, and the limits hear what has come of it.
    fn poll<'a, R>(
        self: Pin<&'a mut Self>,
        cx: &mut Context<'_>,
        operation: Operation,
        poll: impl FnOnce(Pin<&'a mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
        outcome: impl FnOnce(&R) -> Outcome,
    ) -> Poll<io::Result<R>> {
        let this = self.project();
        if let Some(exceeded) = this.tracker.begin(operation) {
            if operation == Operation::Close {
                if let Poll::Ready(closed) = poll(this.io, cx) {
                    return Poll::Ready(closed);
                }
            }
            return Poll::Ready(Err(exceeded.into()));
        }
        let polled = poll(this.io, cx);
        match &polled {
            Poll::Ready(Ok(done)) => this.tracker.complete(operation, outcome(done)),
            Poll::Ready(Err(_)) => this.tracker.complete(operation, Outcome::Failed),
            Poll::Pending => {
                if let Some(exceeded) = this.tracker.wait(operation, cx) {
                    return Poll::Ready(Err(exceeded.into()));
                }
            }
        }
        polled
    }
}

/// What a read of `len` bytes into a buffer comes to.
fn read(len: usize, has_room: bool) -> Outcome {
    match len {
        0 if has_room => Outcome::Ended,
        0 => Outcome::Nothing,
        _ => Outcome::Moved,
    }
}

/// What a write of `len` bytes out of a buffer comes to.
fn written(len: usize, has_bytes: bool) -> Outcome {
    match len {
        0 if has_bytes => Outcome::Failed,
        0 => Outcome::Nothing,
        _ => Outcome::Moved,
    }
}

impl<T: AsyncRead> AsyncRead for IoGuard<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let has_room = !buf.is_empty();
        self.poll(cx, Operation::Read, |io, cx| io.poll_read(cx, buf), |len| read(*len, has_room))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let has_room = bufs.iter().any(|buf| !buf.is_empty());
        self.poll(cx, Operation::Read, |io, cx| io.poll_read_vectored(cx, bufs), |len| read(*len, has_room))
    }
}

impl<T: AsyncBufRead> AsyncBufRead for IoGuard<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.poll(cx, Operation::Read, |io, cx| io.poll_fill_buf(cx), |bytes| read(bytes.len(), true))
    }

    fn consume(self: Pin<&mut Self>, amt: usize) {
        self.project().io.consume(amt);
    }
}

impl<T: AsyncWrite> AsyncWrite for IoGuard<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, Operation::Write, |io, cx| io.poll_write(cx, buf), |len| written(*len, !buf.is_empty()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let has_bytes = bufs.iter().any(|buf| !buf.is_empty());
        self.poll(cx, Operation::Write, |io, cx| io.poll_write_vectored(cx, bufs), |len| written(*len, has_bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, Operation::Flush, |io, cx| io.poll_flush(cx), |()| Outcome::Flushed)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, Operation::Close, |io, cx| io.poll_close(cx), |()| Outcome::Ended)
    }
}

impl<T: fmt::Debug> fmt::Debug for IoGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [idle, total, write_stall] = self.tracker.limits().durations();
        let mut debug = f.debug_struct("IoGuard");
        debug.field("io", &self.io).field("idle", &idle).field("total", &total).field("write_stall", &write_stall);
        debug.field("exceeded", &self.exceeded()).finish()
    }
}
