//! Operations on a source: try first, and wait only after `WouldBlock`. Also waiting for readiness alone.
//!
//! An operation does not ask the kernel whether the source is ready: it makes the system call. Only if the call meets
//! `WouldBlock`, the task waits for the kernel's next event. *Try first* is the fastest order, because the data is
//! often there already. It is also the only safe order with edge-triggered events. An edge reports that something has
//! *changed*; a task that waits without having met `WouldBlock` may wait for a change that never comes.
//!
//! ```text
//!   poll_read_with ──► known not to be ready? ──yes──► wait: store the waker, return Pending
//!        ▲                      │ no                            │
//!        │                      ▼                               ▼ the reactor dispatches an event
//!        │              try the operation               the task is woken, and polls again
//!        │                      │
//!        └── WouldBlock: note ──┴── anything else ──► Ready
//!            "not ready"
//! ```
//!
//! The callers are the [traits](super::traits) of futures-io, and the sockets of async-net-lite. Deliberately not here:
//! what the kernel has reported ([readiness](crate::io::readiness)), and the list of waiting tasks
//! ([waiters](crate::io::waiters)).

use super::source::Source;
use crate::budget;
use crate::engine::shared::gone;
use crate::io::interest::{Interest, Want};
use crate::io::readiness::{Readiness, Snapshot};
use crate::io::registry::Registration;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

impl<T: AsFd> Source<T> {
    /// Waits until reading is likely to succeed.
    ///
    /// The source stays readable until an operation through this source meets `WouldBlock`. The kernel's next event
    /// makes the source readable again.
    ///
    /// # Errors
    ///
    /// - `NotConnected` if the reactor has been dropped.
    /// - `InvalidInput` if the source was [registered](Self::with_interest) without the interest.
    /// - For a [lazy](Self::lazy) source, the errors of `epoll_ctl(2)`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. The readiness stays until an operation meets `WouldBlock`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Interest, Source};
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    ///
    /// async_epoll::block_on(async {
    ///     let (mut peer, stream) = UnixStream::pair()?;
    ///     let source = Source::new(stream)?;
    ///     peer.write_all(b"x")?;
    ///     source.readable().await?;
    ///     // Read through the source, so that a `WouldBlock` clears its readiness.
    ///     let length = source.try_io(Interest::READABLE, |mut stream| stream.read(&mut [0; 8]))?;
    ///     assert_eq!(length, 1);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn readable(&self) -> io::Result<Readiness> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// Waits until writing is likely to succeed.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. The readiness stays until an operation meets `WouldBlock`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Source;
    /// use std::os::unix::net::UnixStream;
    ///
    /// async_epoll::block_on(async {
    ///     let (stream, _peer) = UnixStream::pair()?;
    ///     let source = Source::new(stream)?;
    ///     assert!(source.writable().await?.is_writable(), "there is room");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn writable(&self) -> io::Result<Readiness> {
        poll_fn(|cx| self.poll_writable(cx)).await
    }

    /// Waits for an exceptional condition: urgent TCP data, a changed GPIO line, … (`EPOLLPRI`).
    ///
    /// The condition stays until a [`try_io`](Self::try_io) with [`Interest::PRIORITY`] meets `WouldBlock`. The wait
    /// also ends when the peer closes its side or the kernel reports an error, because the condition may never come
    /// then. Check [`Readiness::is_priority`].
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. The condition stays until a `try_io` meets `WouldBlock`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Source;
    /// use std::os::unix::net::UnixStream;
    ///
    /// async_epoll::block_on(async {
    ///     let (stream, peer) = UnixStream::pair()?;
    ///     let source = Source::new(stream)?;
    ///     drop(peer);
    ///     let readiness = source.priority().await?;
    ///     assert!(!readiness.is_priority() && readiness.is_read_closed(), "urgent data can no longer come");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn priority(&self) -> io::Result<Readiness> {
        poll_fn(|cx| self.poll_reported(Want::Priority, cx)).await
    }

    /// Polls for readability: the poll form of [`readable`](Self::readable).
    ///
    /// Any number of tasks may wait: an event wakes them all.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Examples
    ///
    /// Waits until one of two sources is readable.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Source;
    /// use std::future::poll_fn;
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    ///
    /// async_epoll::block_on(async {
    ///     let (_quiet, one) = UnixStream::pair()?;
    ///     let (mut talker, other) = UnixStream::pair()?;
    ///     let (one, other) = (Source::new(one)?, Source::new(other)?);
    ///     talker.write_all(b"x")?;
    ///     let first = poll_fn(|cx| {
    ///         if one.poll_readable(cx).is_ready() {
    ///             return std::task::Poll::Ready("one");
    ///         }
    ///         other.poll_readable(cx).map(|_| "other")
    ///     });
    ///     assert_eq!(first.await, "other");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.poll_reported(Want::Read, cx)
    }

    /// Polls for writability: the poll form of [`writable`](Self::writable).
    ///
    /// Any number of tasks may wait: an event wakes them all.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.poll_reported(Want::Write, cx)
    }

    /// Reads with `op`, waiting as long as `op` meets `WouldBlock`. Returns the result of `op`.
    ///
    /// `op` is tried at once, and again after each event. `op` must make a system call on the descriptor that fails
    /// with `WouldBlock` when there is nothing more to read: from this error the source knows that it is not readable.
    ///
    /// # Errors
    ///
    /// The errors of `op` other than `WouldBlock` and `Interrupted`, and the errors of [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe if `op` is: a call of `op` ends within one poll and never spans an await.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Source;
    /// use std::os::unix::net::UnixDatagram;
    ///
    /// async_epoll::block_on(async {
    ///     let (left, right) = UnixDatagram::pair()?;
    ///     let right = Source::new(right)?;
    ///     left.send(b"hello")?;
    ///     let mut buffer = [0; 16];
    ///     let length = right.read_with(|socket| socket.recv(&mut buffer)).await?;
    ///     assert_eq!(&buffer[..length], b"hello");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn read_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|cx| self.poll_read_with(cx, &mut op)).await
    }

    /// Writes with `op`, waiting as long as `op` meets `WouldBlock`. Returns the result of `op`. In all else as
    /// [`read_with`](Self::read_with).
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe if `op` is.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Source;
    /// use std::net::UdpSocket;
    ///
    /// async_epoll::block_on(async {
    ///     let (left, right) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    ///     let address = right.local_addr()?;
    ///     let left = Source::new(left)?;
    ///     left.write_with(|socket| socket.send_to(b"hello", address)).await?;
    ///     assert_eq!(right.recv(&mut [0; 16])?, 5);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn write_with<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|cx| self.poll_write_with(cx, &mut op)).await
    }

    /// Tries to read with `op`: the poll form of [`read_with`](Self::read_with).
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Source;
    /// use std::future::poll_fn;
    /// use std::os::unix::net::UnixDatagram;
    ///
    /// async_epoll::block_on(async {
    ///     let (left, right) = UnixDatagram::pair()?;
    ///     let right = Source::new(right)?;
    ///     left.send(b"hello")?;
    ///     let mut buffer = [0; 16];
    ///     let length = poll_fn(|cx| right.poll_read_with(cx, |socket| socket.recv(&mut buffer))).await?;
    ///     assert_eq!(&buffer[..length], b"hello");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn poll_read_with<R>(&self, cx: &mut Context<'_>, op: impl FnMut(&T) -> io::Result<R>) -> Poll<io::Result<R>> {
        self.poll_op(Want::Read, cx, op, |_, _| false)
    }

    /// Tries to write with `op`: the poll form of [`write_with`](Self::write_with).
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    pub fn poll_write_with<R>(&self, cx: &mut Context<'_>, op: impl FnMut(&T) -> io::Result<R>) -> Poll<io::Result<R>> {
        self.poll_op(Want::Write, cx, op, |_, _| false)
    }

    /// Tries to read with `op`, as [`poll_read_with`](Self::poll_read_with), and counts `op` as `weight` operations (at
    /// least 1). For an `op` that does more work than moving some bytes.
    ///
    /// For example, a listener accepts with weight 2, so a task accepts at most 16 connections in one poll and then
    /// yields to the other tasks.
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Source;
    /// use std::future::poll_fn;
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// async_epoll::block_on(async {
    ///     let listener = Source::new(TcpListener::bind("127.0.0.1:0")?)?;
    ///     let client = TcpStream::connect(listener.get_ref().local_addr()?)?;
    ///     let (_, peer) = poll_fn(|cx| listener.poll_read_weighted(cx, 2, TcpListener::accept)).await?;
    ///     assert_eq!(peer, client.local_addr()?);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn poll_read_weighted<R>(
        &self,
        cx: &mut Context<'_>,
        weight: u32,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let result = ready!(self.poll_read_with(cx, op));
        budget::spend_several(weight.saturating_sub(1));
        Poll::Ready(result)
    }

    /// Tries to write with `op`, as [`poll_write_with`](Self::poll_write_with), and counts `op` as `weight` operations
    /// (at least 1). For an `op` that sends a whole batch of datagrams, for example.
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{OPERATIONS_PER_POLL, Source};
    /// use futures::FutureExt;
    /// use std::future::poll_fn;
    /// use std::os::unix::net::UnixDatagram;
    ///
    /// async_epoll::block_on(async {
    ///     let (left, right) = UnixDatagram::pair()?;
    ///     let (left, right) = (Source::new(left)?, Source::new(right)?);
    ///     let mut send_both = |socket: &UnixDatagram| Ok(socket.send(b"one")? + socket.send(b"two")?);
    ///     let sent = poll_fn(|cx| left.poll_write_weighted(cx, OPERATIONS_PER_POLL, &mut send_both)).await?;
    ///     assert_eq!(sent, 6);
    ///     // This poll's budget is spent, so the next operation has to wait for another poll.
    ///     assert!(right.read_with(|socket| socket.recv(&mut [0; 8])).now_or_never().is_none());
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn poll_write_weighted<R>(
        &self,
        cx: &mut Context<'_>,
        weight: u32,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let result = ready!(self.poll_write_with(cx, op));
        budget::spend_several(weight.saturating_sub(1));
        Poll::Ready(result)
    }

    /// Tries to read with `op`, as [`poll_read_with`](Self::poll_read_with), for **TCP only**: a count below `wanted`
    /// means that the socket is drained.
    ///
    /// This saves the next read, which would only meet `WouldBlock`. For all other descriptors the conclusion is wrong:
    /// a read from a Unix stream stops at a message that carries descriptors, a packet pipe at the end of a packet, a
    /// terminal at the end of a line. While the kernel has reported urgent data, an end of file or an error, a short
    /// count proves nothing, and the source stays readable.
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Source;
    /// use std::future::poll_fn;
    /// use std::io::{Read, Write};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// async_epoll::block_on(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let mut client = TcpStream::connect(listener.local_addr()?)?;
    ///     let source = Source::new(listener.accept()?.0)?;
    ///     client.write_all(b"hello")?;
    ///     let mut buffer = [0; 16];
    ///     let mut read = |mut stream: &TcpStream| stream.read(&mut buffer);
    ///     let length = poll_fn(|cx| source.poll_read_tcp(cx, 16, &mut read)).await?;
    ///     assert_eq!(&buffer[..length], b"hello");
    ///     // Five of sixteen bytes: the socket is drained, so the source is not readable until more arrive.
    ///     assert!(!source.readiness().is_readable());
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn poll_read_tcp(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        // Zero bytes are the end of file, and a socket at its end stays readable.
        self.poll_op(Want::Read, cx, op, |seen, &count| count < wanted && count != 0 && seen.trusts_short_counts())
    }

    /// Tries to write with `op`, as [`poll_write_with`](Self::poll_write_with), for **TCP only**: a count below
    /// `wanted` means that the socket's send buffer is full.
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    pub fn poll_write_tcp(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_op(Want::Write, cx, op, |seen, &count| count < wanted && seen.trusts_short_counts())
    }

    /// Tries `op` without waiting. Returns its result, or `WouldBlock` if the source is known not to be ready for
    /// `interest`.
    ///
    /// If `op` meets `WouldBlock`, the readiness is cleared, so a later wait waits for a new event. With several
    /// interests, `op` is tried if the source is ready for at least one of them, and `WouldBlock` clears the readiness
    /// for all.
    ///
    /// # Errors
    ///
    /// - The errors of `op` other than `Interrupted`, which is retried.
    /// - `WouldBlock` if the source is known not to be ready.
    /// - `NotConnected` if the reactor has been dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Interest, Reactor, Source};
    /// use std::io::{ErrorKind, Read, Write};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let reactor = Reactor::new()?;
    /// let (mut peer, stream) = UnixStream::pair()?;
    /// let source = Source::with_handle(stream, &reactor.handle())?;
    /// let read = |mut stream: &UnixStream| stream.read(&mut [0; 8]);
    /// peer.write_all(b"x")?;
    /// // The kernel has reported nothing yet, so the read is tried.
    /// assert_eq!(source.try_io(Interest::READABLE, read)?, 1);
    /// assert_eq!(source.try_io(Interest::READABLE, read).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_io<R>(&self, interest: Interest, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let Registration { read, write, .. } = &*self.link.registration;
        let (reading, writing) = (read.snapshot(), write.snapshot());
        if reading.is_gone() || reading.is_unregistered() && self.link.shared.is_gone() {
            return Err(gone());
        }
        // The kernel reports nothing about a source that is not registered, so the operation has to be tried.
        let ready = reading.is_unregistered()
            || interest.is_readable() && reading.may_be_ready()
            || interest.is_writable() && writing.may_be_ready()
            || interest.is_priority() && reading.is_priority();
        if !ready {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match op(&self.io) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if interest.is_priority() {
                        read.clear_priority(reading, interest.is_readable());
                    } else if interest.is_readable() {
                        read.clear_ready(reading);
                    }
                    if interest.is_writable() {
                        write.clear_ready(writing);
                    }
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    /// Tries `op` until it succeeds or fails otherwise than by `WouldBlock` or `Interrupted`. `is_drained` returns
    /// whether the next operation after this result would meet `WouldBlock`.
    #[inline]
    fn poll_op<R>(
        &self,
        want: Want,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
        is_drained: impl Fn(Snapshot, &R) -> bool,
    ) -> Poll<io::Result<R>> {
        ready!(budget::poll_proceed(cx));
        let direction = self.link.registration.direction(want);
        loop {
            let mut seen = direction.snapshot();
            if !seen.is_surely_ready() {
                seen = ready!(self.poll_may_be_ready(want, cx, seen))?;
            }
            match op(&self.io) {
                Ok(result) => {
                    if is_drained(seen, &result) {
                        direction.clear_ready(seen);
                    }
                    budget::spend();
                    return Poll::Ready(Ok(result));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => direction.clear_ready(seen),
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        budget::spend();
                        return Poll::Ready(Err(error));
                    }
                },
            }
        }
    }

    /// Waits until an operation may succeed: the kernel has reported the source ready, or has not reported anything
    /// yet.
    #[inline(never)]
    fn poll_may_be_ready(&self, want: Want, cx: &Context<'_>, seen: Snapshot) -> Poll<io::Result<Snapshot>> {
        if seen.is_unregistered() && self.link.shared.is_gone() {
            return Poll::Ready(Err(gone()));
        }
        if seen.may_be_ready() {
            return Poll::Ready(Ok(seen));
        }
        self.poll_wait(want, cx, seen, Snapshot::may_be_ready)
    }

    /// Waits until the kernel has reported the source ready for `want`.
    fn poll_reported(&self, want: Want, cx: &Context<'_>) -> Poll<io::Result<Readiness>> {
        ready!(budget::poll_proceed(cx));
        let seen = self.link.registration.direction(want).snapshot();
        let is_over = if want == Want::Priority { Snapshot::ends_priority } else { Snapshot::is_ready };
        ready!(self.poll_wait(want, cx, seen, is_over))?;
        budget::spend();
        Poll::Ready(Ok(self.readiness()))
    }

    /// Waits until `is_over`, with the task's waker in the registration. Registers the source first if necessary.
    fn poll_wait(
        &self,
        want: Want,
        cx: &Context<'_>,
        seen: Snapshot,
        is_over: impl Fn(Snapshot) -> bool,
    ) -> Poll<io::Result<Snapshot>> {
        if seen.is_unregistered() {
            self.register()?;
        }
        if !self.link.registration.interest.includes(want) {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the source was not registered for this: name it in the interest of Source::with_interest",
            )));
        }
        match self.link.registration.wait(want, cx.waker(), |seen| seen.is_gone() || is_over(seen)) {
            None => Poll::Pending,
            Some(seen) if seen.is_gone() => Poll::Ready(Err(gone())),
            Some(seen) => Poll::Ready(Ok(seen)),
        }
    }
}
