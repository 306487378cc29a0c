//! One operation on a source: tried, and waited for. And waiting alone, for readiness.
//!
//! Reading never asks first. An operation is simply tried; only when it meets `WouldBlock` does the task wait for the
//! kernel's next event. That is both the fastest and the only safe way with edge-triggered events: an edge tells that
//! something has *changed*, and whoever does not read until `WouldBlock` may wait for a change that never comes.
//!
//! ```text
//!   poll_read_with ──► known not to be ready? ──yes──► wait: leave the waker, return Pending
//!        ▲                      │ no                            │
//!        │                      ▼                               ▼ the reactor dispatches an event
//!        │              try the operation               the task is woken, and polls again
//!        │                      │
//!        └── WouldBlock: note ──┴── anything else ──► Ready
//!            "not ready"
//! ```

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
    /// Ready as long as no operation through this source has met `WouldBlock` since the kernel's last event.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor has been dropped; those of `epoll_ctl(2)` for a [lazy](Self::lazy) source.
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
    ///     // Through the source, so that it learns of a `WouldBlock`.
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
    /// It stays ready until a [`try_io`](Self::try_io) with [`Interest::PRIORITY`] meets `WouldBlock`. It also returns
    /// when the other side is closed or an error is reported, since then there may be nothing left to wait for: look at
    /// [`Readiness::is_priority`].
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
    ///     assert!(!readiness.is_priority() && readiness.is_read_closed(), "it will never come");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub async fn priority(&self) -> io::Result<Readiness> {
        poll_fn(|cx| self.poll_told(Want::Priority, cx)).await
    }

    /// The poll form of [`readable`](Self::readable). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Examples
    ///
    /// Whichever of two sources is readable first.
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
        self.poll_told(Want::Read, cx)
    }

    /// The poll form of [`writable`](Self::writable). The task is woken however many others wait.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.poll_told(Want::Write, cx)
    }

    /// Reads by `op` as soon as that does not meet `WouldBlock`.
    ///
    /// `op` is tried at once, and again after each event. It must use the descriptor in a way that ends in
    /// `WouldBlock` when there is nothing more: that is what the source notes.
    ///
    /// # Errors
    ///
    /// Those of `op` other than `WouldBlock` and `Interrupted`; and as [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe if `op` is: it runs to its end within one poll, never across an await.
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

    /// Writes by `op` as soon as that does not meet `WouldBlock`; otherwise as [`read_with`](Self::read_with).
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

    /// The poll form of [`read_with`](Self::read_with).
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

    /// The poll form of [`write_with`](Self::write_with).
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    pub fn poll_write_with<R>(&self, cx: &mut Context<'_>, op: impl FnMut(&T) -> io::Result<R>) -> Poll<io::Result<R>> {
        self.poll_op(Want::Write, cx, op, |_, _| false)
    }

    /// As [`poll_read_with`](Self::poll_read_with), for an `op` that counts as `weight` operations (at least 1), since it
    /// makes more work than to move some bytes.
    ///
    /// A listener accepts with weight 2: at most 16 connections in one poll of a task, and then others go first.
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

    /// As [`poll_write_with`](Self::poll_write_with), for an `op` that counts as `weight` operations (at least 1): one that
    /// sends a whole batch of datagrams, say.
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
    ///     // That was all that this poll may do.
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

    /// As [`poll_read_with`](Self::poll_read_with), for **TCP only**: takes a count below `wanted` for "drained".
    ///
    /// That saves the read that would only meet `WouldBlock`. It is wrong for everything but a TCP stream: a Unix
    /// stream stops at a message that carries descriptors, a packet pipe at the end of a packet, a terminal at the end
    /// of a line. And it is not done while the kernel has reported anything unusual: urgent data, an end of file or an
    /// error.
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
    ///     // Five of sixteen: there was no more, so the source is not readable until there is.
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
        // Zero bytes are the end of file, and that stays readable.
        self.poll_op(Want::Read, cx, op, |seen, &count| count < wanted && count != 0 && seen.trusts_short_counts())
    }

    /// As [`poll_write_with`](Self::poll_write_with), for **TCP only**: takes a count below `wanted` for "full".
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

    /// One attempt, without waiting: `WouldBlock` if the source is known not to be ready for `interest`.
    ///
    /// An `op` that meets `WouldBlock` is noted, so that a wait after it waits for something new. With several
    /// interests, one that is ready is enough, and all are noted.
    ///
    /// # Errors
    ///
    /// Those of `op` other than `Interrupted`, which is retried. `WouldBlock` if the source is known not to be ready,
    /// and `NotConnected` if the reactor has been dropped.
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
    /// // Nothing is known yet, so it is tried.
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
        // Nobody tells of the readiness of a source that the kernel has not been told of, so it has to be tried.
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

    /// Tries `op` until it does something other than block; `is_drained` says that the next one would.
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
                seen = ready!(self.poll_worth_a_try(want, cx, seen))?;
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

    /// Waits until an operation is worth a try: the kernel said so, or it has not said anything yet.
    #[inline(never)]
    fn poll_worth_a_try(&self, want: Want, cx: &Context<'_>, seen: Snapshot) -> Poll<io::Result<Snapshot>> {
        if seen.is_unregistered() && self.link.shared.is_gone() {
            return Poll::Ready(Err(gone()));
        }
        if seen.may_be_ready() {
            return Poll::Ready(Ok(seen));
        }
        self.poll_wait(want, cx, seen, Snapshot::may_be_ready)
    }

    /// Waits until the kernel has said so.
    fn poll_told(&self, want: Want, cx: &Context<'_>) -> Poll<io::Result<Readiness>> {
        ready!(budget::poll_proceed(cx));
        let seen = self.link.registration.direction(want).snapshot();
        let is_over = if want == Want::Priority { Snapshot::ends_priority } else { Snapshot::is_ready };
        ready!(self.poll_wait(want, cx, seen, is_over))?;
        budget::spend();
        Poll::Ready(Ok(self.readiness()))
    }

    /// Leaves the task's waker until `is_over`.
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
