//! Time limits for a connection.
//!
//! An [`IoGuard`] tries each operation on the connection first. Only an operation that is pending touches the limits and
//! the timer, through a [`Tracker`]. One timer serves all limits, and bytes that move do not move the timer: when the
//! timer fires, the woken task looks at the clock and sets the timer to the nearest deadline by then. So a connection
//! costs about one timer operation per limit duration, however many bytes move.
//!
//! ```text
//!   read or write:  total limit exceeded? ──yes─► error
//!                     │
//!                   inner ──Ready──► stop counting              (no timer, usually no clock)
//!                     │ Pending
//!                   start or continue counting; exceeded? ──yes─► error
//!                     │
//!                   does the timer fire in time? ──no─► set it
//!                     │
//!                   Pending (the inner connection and the timer have the task's waker)
//!
//!   IoGuard ──► tracker ──► limits ──► pace    which limit counts, from when; those of one direction
//!                  └──────► timer              one timer that wakes two tasks
//! ```

mod exceeded;
mod limits;
mod operation;
mod pace;
mod timer;
mod tracker;

pub use exceeded::{Limit, LimitExceeded};

use crate::platform::refused_operations;
use futures::io::{AsyncBufRead, AsyncRead, AsyncWrite, IoSlice, IoSliceMut};
use operation::{Operation, Outcome};
use pace::Kind;
use pin_project_lite::pin_project;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tracker::Tracker;

/// Returns an [`IoGuard`] around a connection. The guard has no limits until they are set.
///
/// # Examples
///
/// Sends back what it reads. A guard is not read by a shared reference, as a socket is, so it is split.
///
/// ```
/// # #[cfg(all(feature = "reactor", target_os = "linux"))]
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::Source;
/// use async_timeout::guard;
/// use futures::{AsyncReadExt, io::copy};
/// use std::io::{Read, Write};
/// use std::net::Shutdown;
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// async_epoll::block_on(async {
///     let (mut client, stream) = UnixStream::pair()?;
///     client.write_all(b"hello")?;
///     client.shutdown(Shutdown::Write)?;
///     let connection = guard(Source::new(stream)?).idle(Duration::from_secs(30));
///     let (reader, mut writer) = connection.split();
///     copy(reader, &mut writer).await?;
///     let mut echo = [0; 5];
///     client.read_exact(&mut echo)?;
///     assert_eq!(&echo, b"hello");
///     Ok(())
/// })?
/// # }
/// # #[cfg(not(all(feature = "reactor", target_os = "linux")))]
/// # fn main() {}
/// ```
///
/// Reads a request.
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
    /// A connection with time limits, from [`guard`].
    ///
    /// The connection may be anything that is [`AsyncRead`], [`AsyncWrite`] or both (the traits of futures-io).
    ///
    /// | limit | exceeded when |
    /// |---|---|
    /// | [`idle`](Self::idle) | a task waits, and no byte moves in either direction |
    /// | [`total`](Self::total) | the time is up, whatever happens |
    /// | [`write_stall`](Self::write_stall) | the peer takes no byte that is sent |
    /// | [`read_idle`](Self::read_idle) | a task waits to read, and no byte comes |
    /// | [`min_read_rate`](Self::min_read_rate) | a task waits to read, and too few bytes come |
    /// | [`min_write_rate`](Self::min_write_rate) | a task waits to write, and the peer takes too few bytes |
    ///
    /// A limit for each read would need a timer operation for each read, and could not cut a peer that sends a byte now
    /// and then. So the limits belong to the whole connection.
    ///
    /// What counts as progress, which ends a wait and restarts the idle count of the other direction:
    ///
    /// | operation | progress if it is ready with |
    /// |---|---|
    /// | `poll_read`, vectored, too | at least one byte |
    /// | `poll_fill_buf` | more bytes than were shown before and not consumed |
    /// | `consume` | nothing: its bytes have counted when they were shown |
    /// | `poll_write`, vectored, too | at least one byte |
    /// | `poll_flush` | anything, if the flush had to wait |
    /// | `poll_close` | nothing: it ends the direction |
    ///
    /// A byte counts once. But a `poll_read` of a reader with a buffer, such as `BufReader`, may return bytes that have
    /// been in this buffer for long, and the guard cannot know that. So guard the connection, and not the buffer around
    /// it: `BufReader::new(guard(connection))`.
    ///
    /// Only the total limit can fail an operation that is ready: the inner operation is tried first, and only a pending
    /// operation can exceed another limit. A limit is exceeded after its full time, never before, and the error comes as
    /// soon as the executor polls.
    ///
    /// # Errors
    ///
    /// Once a limit has been exceeded, all operations fail with an [`io::Error`] of kind `TimedOut`. Its payload is a
    /// [`LimitExceeded`]. A task that waits in the other direction is woken and gets the error, too. Only `poll_close`
    /// still reaches the inner connection, so the connection can be closed properly. It fails if it would have to wait.
    ///
    /// # Half-closed connections
    ///
    /// After an end of file, which is not progress, only writing counts as waiting. After a successful `poll_close`, only
    /// reading does. After both, no limit counts, and the timer is dropped.
    ///
    /// A connection that exceeded a limit is closed on drop, but the kernel keeps the bytes that the peer has not taken,
    /// and tries to send them for a while. A linger of zero, on sockets with this option, discards these bytes.
    ///
    /// # Cancel safety
    ///
    /// As the inner connection. Dropping a read or write while it waits does not stop its count, since another operation
    /// may follow at once, as in a loop around `select!`. If no byte has moved in between, the next operation
    /// exceeds the limit.
    ///
    /// # How it works
    ///
    /// One timer serves all limits. It is created when an operation first has to wait, and is not moved by bytes. The
    /// timer is a reactor's if a reactor is current, as [everywhere in this crate](crate#where-the-time-comes-from). It
    /// wakes the two tasks that last waited to read and to write, so the halves of `futures::io::split` may be in two
    /// tasks. An operation that does not have to wait costs next to nothing. It reads the clock in two cases: there
    /// is a total limit, or bytes move while the other direction waits. With a minimum rate, there is a third: a wait ends
    /// with fewer bytes than are still demanded.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::{Limit, LimitExceeded, guard};
    /// use futures::{AsyncReadExt, StreamExt, TryStreamExt, stream};
    /// use std::{io, time::Duration};
    ///
    /// // A peer that sends a byte now and then, without an end. No limit on a single read stops this peer.
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
        // The inner connection.
        #[pin]
        io: T,
        // The limits and the timer.
        tracker: Tracker,
    }
}

impl<T> IoGuard<T> {
    /// Returns a guard around `io`, without limits, as [`guard`] does.
    pub fn new(io: T) -> Self {
        Self { io, tracker: Tracker::default() }
    }

    /// Limits the time without a byte in either direction, while a task waits for one.
    ///
    /// The time counts from the first operation that has to wait since bytes last moved. While a handler works and does
    /// not wait for the connection, its peer may be silent. Bytes count when they are handed over: a byte written into
    /// a buffer, such as the kernel's, has moved although the peer may never take it.
    /// [`write_stall`](Self::write_stall) detects this case.
    ///
    /// With `Duration::ZERO`, no operation may wait at all. `Duration::MAX`, and every duration beyond a century, means
    /// no limit.
    pub fn idle(mut self, limit: Duration) -> Self {
        self.tracker.change().set_idle(limit);
        self
    }

    /// Limits the time of the whole connection, counted from the first operation.
    ///
    /// This limit stops even a peer that sends without a pause. At the deadline, only tasks that wait for this connection
    /// are woken.
    ///
    /// With `Duration::ZERO`, the first operation fails. `Duration::MAX`, and every duration beyond a century, means no
    /// limit.
    pub fn total(mut self, limit: Duration) -> Self {
        self.tracker.change().set_total(limit);
        self
    }

    /// Limits the time without a byte that the peer takes.
    ///
    /// The time counts from the first write, flush or close that has to wait. This limit stops a peer that sends but does
    /// not read. Only writers detect that the limit is exceeded, because only writers try to write; a waiting reader is
    /// woken and gets the error, too.
    ///
    /// Bytes first go into the send buffer of the kernel, which makes room in large steps. On loopback, with a peer that
    /// takes 500 kB a second, a writer was seen to wait for three seconds without a byte. So set the limit much longer
    /// than the send buffer takes at the slowest rate to be served, or make the buffer smaller, for example by
    /// `set_send_buffer`. The same goes for [`idle`](Self::idle), since a blocked writer counts as idle, too. If
    /// `write_stall` is not the shorter of the two, it never acts while no task reads.
    ///
    /// With `Duration::ZERO`, no write may wait. `Duration::MAX`, and every duration beyond a century, means no limit.
    pub fn write_stall(mut self, limit: Duration) -> Self {
        self.tracker.change().set_write_stall(limit);
        self
    }

    /// Limits the time without a byte from the peer, while a task waits to read.
    ///
    /// What is written does not count, in contrast to [`idle`](Self::idle): a peer that only takes bytes, such as a member of
    /// a chat that never says a word, exceeds this limit. The time counts from the first read that has to wait since a byte
    /// was last received. Only readers detect that the limit is exceeded; a waiting writer is woken and gets the error, too.
    ///
    /// A server that reads ahead while it answers waits to read all the while.
    ///
    /// With `Duration::ZERO`, no read may wait. `Duration::MAX`, and every duration beyond a century, means no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::{Limit, LimitExceeded, TimeoutExt, guard};
    /// use futures::{AsyncReadExt, AsyncWriteExt};
    /// use std::time::Duration;
    /// # use futures::io::{AsyncRead, AsyncWrite};
    /// # use std::{io, pin::Pin, task::{Context, Poll}};
    /// # struct Silent;
    /// # impl AsyncRead for Silent {
    /// #     fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> { Poll::Pending }
    /// # }
    /// # impl AsyncWrite for Silent {
    /// #     fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> { Poll::Ready(Ok(buf.len())) }
    /// #     fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Ready(Ok(())) }
    /// #     fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Ready(Ok(())) }
    /// # }
    ///
    /// // A peer that takes everything and sends nothing.
    /// let mut member = guard(Silent).read_idle(Duration::from_millis(20));
    /// futures::executor::block_on(async {
    ///     let error = loop {
    ///         match member.read(&mut [0; 16]).timeout(Duration::from_millis(2)).await {
    ///             Ok(read) => break read.unwrap_err(),
    ///             Err(_) => member.write_all(b"what the others say").await.unwrap(),
    ///         }
    ///     };
    ///     assert_eq!(LimitExceeded::of(&error).unwrap().limit, Limit::ReadIdle);
    /// });
    /// ```
    pub fn read_idle(mut self, limit: Duration) -> Self {
        self.tracker.change().set_pace(Kind::ReadIdle, 1, limit);
        self
    }

    /// Demands that the peer sends at least `bytes` in each `period` of waiting.
    ///
    /// A period is made of the times in which a task waits to read, and ends as soon as `bytes` have come: the next period
    /// begins with the next wait. So a peer that sends without a pause never exceeds this limit, and neither does one whose
    /// bytes wait for a handler that works. What comes beyond `bytes` in one period does not count for the next, so a burst
    /// does not pay for a silence. This limit stops a peer that sends a byte now and then, which resets
    /// [`idle`](Self::idle) each time; in contrast to [`total`](Self::total), it lets a long transfer be long.
    ///
    /// The limit is for connections whose peer has something to send whenever a task reads, such as uploads. A peer that
    /// may be silent between two requests exceeds it. Choose a period of some seconds: data comes in bursts.
    ///
    /// Only readers detect that the limit is exceeded; a waiting writer is woken and gets the error, too. With
    /// `Duration::ZERO`, no read may wait. No bytes, and every period beyond a century, mean no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::{Limit, LimitExceeded, guard, sleep};
    /// use futures::{AsyncReadExt, StreamExt, TryStreamExt, stream};
    /// use std::{io, time::Duration};
    ///
    /// // A peer that sends a byte now and then, without an end.
    /// let drip = stream::repeat(()).then(|()| async {
    ///     sleep(Duration::from_millis(4)).await;
    ///     Ok::<_, io::Error>(*b"a")
    /// });
    /// let drip = std::pin::pin!(drip);
    ///
    /// let mut upload = guard(drip.into_async_read()).min_read_rate(1000, Duration::from_millis(20));
    /// let error = futures::executor::block_on(upload.read_to_end(&mut Vec::new())).unwrap_err();
    /// assert_eq!(LimitExceeded::of(&error).unwrap().limit, Limit::MinReadRate);
    /// ```
    pub fn min_read_rate(mut self, bytes: u64, period: Duration) -> Self {
        self.tracker.change().set_pace(Kind::MinReadRate, bytes, period);
        self
    }

    /// Demands that the peer takes at least `bytes` in each `period` of waiting.
    ///
    /// Counts as [`min_read_rate`](Self::min_read_rate) does, for the waits of writes, flushes and closes. This limit stops a
    /// peer that takes a byte now and then to keep a large answer in memory, which resets
    /// [`write_stall`](Self::write_stall) each time.
    ///
    /// Bytes count when they are handed over, so the send buffer of the kernel hides how fast the peer is, as described at
    /// [`write_stall`](Self::write_stall). A period has to be longer than the pauses in which this buffer makes no room. A
    /// flush that waits must end within a period: how many bytes it moves is not known before.
    ///
    /// Only writers detect that the limit is exceeded; a waiting reader is woken and gets the error, too. With
    /// `Duration::ZERO`, no write may wait. No bytes, and every period beyond a century, mean no limit.
    pub fn min_write_rate(mut self, bytes: u64, period: Duration) -> Self {
        self.tracker.change().set_pace(Kind::MinWriteRate, bytes, period);
        self
    }

    /// Changes the [`idle`](Self::idle) limit while the guard is in use. `Duration::MAX` removes it.
    ///
    /// A wait that goes on counts from its beginning, if there was a limit before. A longer limit costs no timer operation; a
    /// shorter one wakes the tasks that wait for the connection, which then wait for the new deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::guard;
    /// use std::time::Duration;
    ///
    /// let mut connection = guard(futures::io::empty()).idle(Duration::from_secs(75));
    /// // This client is about to send a large file.
    /// connection.set_idle(Duration::from_secs(600));
    /// ```
    pub fn set_idle(&mut self, limit: Duration) {
        let is_longer = self.tracker.limits().durations()[0].is_some_and(|old| old <= limit);
        let limits = if is_longer { self.tracker.extend() } else { self.tracker.change() };
        limits.set_idle(limit);
    }

    /// Changes the [`read_idle`](Self::read_idle) limit while the guard is in use, as [`set_idle`](Self::set_idle) does.
    pub fn set_read_idle(&mut self, limit: Duration) {
        self.set_pace(Kind::ReadIdle, 1, limit);
    }

    /// Changes the [`min_read_rate`](Self::min_read_rate) while the guard is in use. No bytes remove the limit.
    ///
    /// If there was a rate before, the waiting and the bytes of the present period still count.
    pub fn set_min_read_rate(&mut self, bytes: u64, period: Duration) {
        self.set_pace(Kind::MinReadRate, bytes, period);
    }

    /// Changes a limit that counts for one direction alone.
    fn set_pace(&mut self, kind: Kind, bytes: u64, period: Duration) {
        let old = self.tracker.limits().paces().get(kind);
        let is_longer = old.is_some_and(|(old, span)| bytes == 0 || bytes <= old && period >= span);
        // No limit before and none after changes nothing.
        let is_same = old.is_none() && (bytes == 0 || period == Duration::MAX);
        let limits = if is_longer || is_same { self.tracker.extend() } else { self.tracker.change() };
        limits.set_pace(kind, bytes, period);
    }

    /// Returns the limit that has been exceeded, if any.
    pub fn exceeded(&self) -> Option<LimitExceeded> {
        self.tracker.exceeded()
    }

    /// Returns a reference to the inner connection. Direct operations on it count for no limit.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Returns a mutable reference to the inner connection. Direct operations on it count for no limit.
    pub fn get_mut(&mut self) -> &mut T {
        self.tracker.forget_seen();
        &mut self.io
    }

    /// Returns a pinned mutable reference to the inner connection. Direct operations on it count for no limit.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut T> {
        let this = self.project();
        this.tracker.forget_seen();
        this.io
    }

    /// Returns the inner connection, without limits.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// Reads by `read_by`, a read of your own, within the limits. `read_by` returns the number of bytes, and 0 at the end of file.
    ///
    /// For a connection that has more ways to read than [`AsyncRead`], such as into memory that is not
    /// initialised. `read_by` must be a single attempt, as `poll_read` is.
    ///
    /// # Errors
    ///
    /// Those of `read_by`, and those of the limits.
    pub fn poll_read_with<'a>(
        self: Pin<&'a mut Self>,
        cx: &mut Context<'_>,
        read_by: impl FnOnce(Pin<&'a mut T>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, Operation::Read, read_by, |len| read(*len, true))
    }

    /// Runs one operation: tries it on the inner connection, and tells the tracker its outcome.
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
        let refused = refused_operations();
        let polled = poll(this.io, cx);
        match &polled {
            Poll::Ready(Ok(done)) => this.tracker.complete(operation, outcome(done)),
            Poll::Ready(Err(_)) => this.tracker.complete(operation, Outcome::Failed),
            // The task has spent its budget, and is woken. The operation may be ready, so it does not wait, and exceeds no
            // limit.
            Poll::Pending if refused_operations() != refused => {}
            Poll::Pending => {
                if let Some(exceeded) = this.tracker.wait(operation, cx) {
                    return Poll::Ready(Err(exceeded.into()));
                }
            }
        }
        polled
    }
}

/// Returns the outcome of a read of `len` bytes into a buffer.
fn read(len: usize, has_room: bool) -> Outcome {
    if len == 0 && has_room { Outcome::Ended } else { Outcome::Taken(len) }
}

/// Returns the outcome of a look at the `len` bytes of a buffer.
fn shown(len: usize) -> Outcome {
    if len == 0 { Outcome::Ended } else { Outcome::Shown(len) }
}

/// Returns the outcome of a write of `len` bytes out of a buffer.
fn written(len: usize, has_bytes: bool) -> Outcome {
    match len {
        0 if has_bytes => Outcome::Failed,
        0 => Outcome::Nothing,
        _ => Outcome::Written(len),
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
        self.poll(cx, Operation::Read, |io, cx| io.poll_fill_buf(cx), |bytes| shown(bytes.len()))
    }

    fn consume(self: Pin<&mut Self>, amt: usize) {
        let this = self.project();
        this.tracker.take(amt);
        this.io.consume(amt);
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
        for (name, kind) in [
            ("read_idle", Kind::ReadIdle),
            ("min_read_rate", Kind::MinReadRate),
            ("min_write_rate", Kind::MinWriteRate),
        ] {
            if let Some(pace) = self.tracker.limits().paces().get(kind) {
                debug.field(name, &pace);
            }
        }
        debug.field("exceeded", &self.exceeded()).finish()
    }
}
