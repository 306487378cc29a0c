//! What a handler gets: the guarded stream, and what the server has to say.
//!
//! A stream of bytes does not show whether its connection is idle, so the handler says so: it waits for the next request by
//! [`Connection::idle`]. Only then may the server end a connection that works well.
//!
//! # Races of the end of an idle connection
//!
//! | a byte comes | what happens |
//! |---|---|
//! | before the stop, and no event has told of it | the connection is looked at before it ends: the byte is found, and `idle` returns `Data` |
//! | while `idle_grace` runs | an event tells of it: `Data` |
//! | after the look | the request is lost: the server reads and discards it while it lingers. The client sees the end of the connection without an answer, and without a reset |
//!
//! A new connection on which no byte has come is idle whether its handler calls `idle` or reads at once. Then the read returns
//! an end of file.

use super::address::Address;
use super::hub::Slot;
use super::io::{Io, Stream, Unread};
use super::report::TimeLimit;
use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use async_timeout::{CancelToken, IoGuard, Limit, Sleep, guard, now, sleep};
use futures::future::FutureExt;
use futures::io::{AsyncBufRead, AsyncRead, AsyncWrite, IoSlice, IoSliceMut};
use std::fmt;
use std::future::poll_fn;
use std::io;
#[cfg(feature = "hyper")]
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What comes next on a connection; from [`Connection::idle`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Next {
    /// A byte has come: read the request.
    Data,
    /// The peer sends nothing more.
    End,
    /// No byte has come, and the server wants the connection to end: it stops, or there are too many connections. Return.
    Stopping,
}

/// A connection of a [`Server`](super::Server): a stream with the server's limits of time.
///
/// Reads and writes use the traits of futures-io. If a limit is exceeded, all operations fail with an error of kind `TimedOut`
/// (its payload is a [`LimitExceeded`](async_timeout::LimitExceeded)), and the connection counts as
/// [timed out](super::Outcome::TimedOut), whatever its handler returns. If the server has aborted the connection, operations
/// fail with `ConnectionAborted`.
///
/// The connection is open until it is dropped, or the server aborts it. Dropping it closes the server's direction at once. The
/// server then [lingers](super::Server::linger) after the handler has returned, so that the peer gets all that was written.
///
/// # Cancel safety
///
/// As the streams of this crate: a single read or write is cancel safe, and so is [`idle`](Self::idle).
///
/// # Examples
///
/// Answers each line, and stops between two of them.
///
/// ```
/// use async_net_lite::server::{Connection, Next};
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// async fn serve(mut connection: Connection) -> std::io::Result<()> {
///     let mut buffer = [0; 1024];
///     while connection.idle().await? == Next::Data {
///         let len = connection.read(&mut buffer).await?;
///         let answer = if connection.is_stopping() { &b"bye\n"[..] } else { &buffer[..len] };
///         connection.write_all(answer).await?;
///     }
///     Ok(())
/// }
/// ```
pub struct Connection {
    /// Boxed: a connection is moved into several futures, one inside of the other, and each has room for it.
    inner: Box<Inner>,
}

/// The content of a [`Connection`].
struct Inner {
    /// The stream with its limits.
    io: IoGuard<Io>,
    /// What the server knows of the connection.
    slot: Rc<Slot>,
    /// Whether the limit for the first byte has been set.
    awaits_first_byte: bool,
    /// The rest of [`idle_grace`](super::Server::idle_grace). Made when the server stops while the connection is idle.
    grace: Option<Box<Sleep>>,
}

impl Connection {
    /// Returns the connection of a slot.
    pub(super) fn new(stream: Stream, slot: &Rc<Slot>) -> Self {
        let settings = &slot.hub.settings;
        let mut io = guard(Io::new(stream)).idle(settings.idle_timeout).write_stall(settings.write_stall_timeout);
        if settings.lifetime != Duration::MAX {
            io = io.total(settings.lifetime);
        }
        if let Some((bytes, period)) = settings.min_rate {
            io = io.min_read_rate(bytes, period);
        }
        Self { inner: Box::new(Inner { io, slot: Rc::clone(slot), awaits_first_byte: false, grace: None }) }
    }

    /// Returns the number of the connection: the server counts its connections from 0, in the order of the accepts.
    pub fn id(&self) -> u64 {
        self.inner.slot.id
    }

    /// Returns the number of the listener, in the order of the calls of [`Server::listen`](super::Server::listen), from 0.
    pub fn listener(&self) -> usize {
        self.inner.slot.listener
    }

    /// Returns the address of the peer.
    pub fn peer(&self) -> &Address {
        &self.inner.slot.peer
    }

    /// Returns the local address.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.inner.io.get_ref().stream.local_addr()
    }

    /// Returns the TCP stream, for its options; `None` for a Unix stream.
    ///
    /// What is read or written through the stream itself counts for no limit, and the server does not see it: it may take the
    /// connection for an idle one. A clone keeps the connection open after the server has counted it.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.inner.io.get_ref().stream {
            Stream::Tcp(stream) => Some(stream),
            Stream::Unix(_) => None,
        }
    }

    /// Returns the Unix stream, for its options and the credentials of the peer; `None` for a TCP stream. See
    /// [`tcp`](Self::tcp).
    pub fn unix(&self) -> Option<&UnixStream> {
        match &self.inner.io.get_ref().stream {
            Stream::Tcp(_) => None,
            Stream::Unix(stream) => Some(stream),
        }
    }

    /// Waits for the next request: for a byte, which is not taken.
    ///
    /// While a handler waits here, the connection is idle: the server may end it, which returns [`Next::Stopping`]. A byte that
    /// is there is always found first. Call this only if all that was read has been answered: an idle connection has no
    /// request in a buffer of the handler.
    ///
    /// The limits of the first byte and of idleness count, a [`min_rate`](super::Server::min_rate) does not.
    ///
    /// # Errors
    ///
    /// As reading.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no byte is taken.
    pub async fn idle(&mut self) -> io::Result<Next> {
        let idle = Idle::begin(&mut self.inner);
        poll_fn(|cx| idle.inner.poll_idle(cx, idle.is_idle)).await
    }

    /// Returns a token that is cancelled when the server begins to stop, after its
    /// [`drain_delay`](super::Server::drain_delay): so that the last answer says that the connection closes, and long waits
    /// end.
    ///
    /// Each call returns a token of its own, below that of the server.
    pub fn stopping(&self) -> CancelToken {
        self.inner.slot.hub.token.child()
    }

    /// Returns whether the server has begun to stop, as [`stopping`](Self::stopping) tells.
    pub fn is_stopping(&self) -> bool {
        self.inner.slot.hub.token.is_cancelled()
    }

    /// Changes the limit of idleness of this connection: an upload may differ from other requests. `Duration::MAX` removes it.
    pub fn set_idle_timeout(&mut self, limit: Duration) {
        self.inner.io.set_idle(limit);
    }

    /// Makes this a connection without requests, such as a WebSocket, which lives longer than its handler runs: the limits of
    /// the first byte, of idleness and of the rate do not count any more, and the server does not take it for an idle one.
    ///
    /// The connection may go to another task of the thread. It counts, against the limit of connections too, until it is
    /// dropped, and it hears of a stop by [`stopping`](Self::stopping). The deadline of the stop aborts it. (So it is with each
    /// connection that its handler gives away; but its limits still count.)
    pub fn detach(&mut self) {
        self.inner.begin();
        self.inner.io.set_idle(Duration::MAX);
        self.inner.io.set_min_read_rate(0, Duration::MAX);
    }

    /// Reads by the system call `op`, which has room for `wanted` bytes, more than none.
    #[cfg(feature = "hyper")]
    pub(crate) fn poll_read_by(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_receive(cx, true, |guard, cx| {
            guard.poll_read_with(cx, |io, cx| io.get_mut().poll_read_by(cx, wanted, op))
        })
    }
}

impl Inner {
    /// Fails if the server has aborted the connection.
    fn check(&self) -> io::Result<()> {
        if self.slot.is_cut() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server has aborted the connection"));
        }
        Ok(())
    }

    /// Sets the limit for the first byte, by the time that is left since the accept.
    fn await_first_byte(&mut self) {
        let limit = self.slot.hub.settings.first_byte_timeout;
        if self.slot.has_begun.get() || std::mem::replace(&mut self.awaits_first_byte, true) || limit == Duration::MAX {
            return;
        }
        let spent = now().saturating_duration_since(self.slot.accepted_at);
        self.io.set_read_idle(limit.saturating_sub(spent));
    }

    /// Notes that the connection is not new any more.
    fn begin(&mut self) {
        if !self.slot.has_begun.replace(true) {
            self.slot.is_shed.set(false);
            self.io.set_read_idle(Duration::MAX);
        }
    }

    /// Notes an error, which may be that of a limit.
    fn fail(&self) {
        if let Some(exceeded) = self.io.exceeded() {
            let limit = match exceeded.limit {
                Limit::ReadIdle => TimeLimit::FirstByte,
                Limit::Idle => TimeLimit::Idle,
                Limit::WriteStall => TimeLimit::WriteStall,
                Limit::Total => TimeLimit::Lifetime,
                _ => TimeLimit::MinRate,
            };
            self.slot.exceeded.set(self.slot.exceeded.get().or(Some(limit)));
        }
    }

    /// Reads by `read`. The buffer `has_room`.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        has_room: bool,
        read: impl FnOnce(Pin<&mut IoGuard<Io>>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        self.await_first_byte();
        let polled = read(Pin::new(&mut self.io), cx);
        match &polled {
            Poll::Ready(Ok(0)) if has_room => self.slot.peer_has_ended.set(true),
            Poll::Ready(Ok(0)) => {}
            Poll::Ready(Ok(_)) => {
                self.slot.peer_has_ended.set(false);
                self.begin();
            }
            Poll::Ready(Err(_)) => self.fail(),
            Poll::Pending if self.slot.has_begun.get() => {}
            Poll::Pending => {
                ready!(self.poll_to_end(cx));
                // If a byte is there, an event that tells of it is on its way.
                if self.slot.look()? == Unread::Data {
                    return Poll::Pending;
                }
                self.slot.was_told_to_end.set(true);
                return Poll::Ready(Ok(0));
            }
        }
        polled
    }

    /// Waits until the server wants this idle connection to end.
    fn poll_to_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let hub = &self.slot.hub;
        if self.slot.is_shed.get() {
            return Poll::Ready(());
        }
        if !hub.is_draining() {
            self.slot.idle_waker.register(cx.waker());
            return Poll::Pending;
        }
        if hub.settings.idle_grace.is_zero() {
            return Poll::Ready(());
        }
        self.grace.get_or_insert_with(|| Box::new(sleep(hub.settings.idle_grace))).poll_unpin(cx)
    }

    /// See [`Connection::idle`]. `is_idle` is that of [`Idle`].
    fn poll_idle(&mut self, cx: &mut Context<'_>, is_idle: bool) -> Poll<io::Result<Next>> {
        self.check()?;
        self.await_first_byte();
        let unread = match Pin::new(&mut self.io).poll_fill_buf(cx) {
            Poll::Ready(Ok([])) => Ok(Unread::End),
            Poll::Ready(Ok(_)) => Ok(Unread::Data),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => {
                self.slot.wait();
                ready!(self.poll_to_end(cx));
                self.slot.look()
            }
        };
        Poll::Ready(match unread {
            Ok(Unread::Data) => {
                self.begin();
                // It is not idle any more.
                self.slot.is_shed.set(false);
                self.slot.was_told_to_end.set(false);
                Ok(Next::Data)
            }
            Ok(Unread::End) => {
                self.slot.peer_has_ended.set(true);
                Ok(Next::End)
            }
            Ok(Unread::Nothing) => {
                let was_told = self.slot.was_told_to_end.get();
                self.slot.was_told_to_end.set(was_told || is_idle || self.slot.is_shed.get());
                Ok(Next::Stopping)
            }
            Err(error) => {
                self.fail();
                Err(error)
            }
        })
    }

    /// Writes by `write`.
    fn poll_send<R>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut IoGuard<Io>>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        self.check()?;
        let polled = write(Pin::new(&mut self.io), cx);
        if let Poll::Ready(Err(_)) = polled {
            self.fail();
        }
        polled
    }
}

/// A wait for a request.
struct Idle<'a> {
    inner: &'a mut Inner,
    /// Whether the connection counts as idle if the server ends it: it was idle before the stop, or no request has ever come.
    /// Otherwise the handler was at work when the stop began, and has answered.
    is_idle: bool,
}

impl<'a> Idle<'a> {
    /// Begins the wait. The minimum rate does not count meanwhile.
    fn begin(inner: &'a mut Inner) -> Self {
        inner.io.get_mut().forget_look();
        if inner.slot.hub.settings.min_rate.is_some() {
            inner.io.set_min_read_rate(0, Duration::MAX);
        }
        let is_idle = !(inner.slot.hub.is_draining() && inner.slot.has_begun.get());
        Self { inner, is_idle }
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        let Inner { io, slot, grace, .. } = &mut *self.inner;
        *grace = None;
        slot.end_wait();
        if let Some((bytes, period)) = slot.hub.settings.min_rate {
            io.set_min_read_rate(bytes, period);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.inner.poll_receive(cx, !buffer.is_empty(), |io, cx| io.poll_read(cx, buffer))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let has_room = buffers.iter().any(|buffer| !buffer.is_empty());
        self.inner.poll_receive(cx, has_room, |io, cx| io.poll_read_vectored(cx, buffers))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner.poll_send(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_send(cx, |io, cx| io.poll_write_vectored(cx, slices))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_send(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_send(cx, |io, cx| io.poll_close(cx))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.inner.slot.let_go();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Connection");
        debug.field("id", &self.id()).field("peer", self.peer()).field("listener", &self.listener());
        debug.field("io", &self.inner.io).finish_non_exhaustive()
    }
}
