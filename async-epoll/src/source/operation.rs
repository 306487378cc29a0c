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

use super::source::{Link, Source};
use crate::budget;
use crate::engine::shared::gone;
use crate::foreign::wake_all;
use crate::io::interest::{Interest, Want};
use crate::io::readiness::{Readiness, Snapshot};
use crate::io::registry::Registration;
use crate::io::waiters::Claim;
use crate::sys;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

impl<T: AsFd> Source<T> {
    /// Waits until reading is likely to succeed.
    ///
    /// The source stays readable until an operation through this source meets `WouldBlock`. The kernel's next event
    /// makes the source readable again. So make your own system calls by [`try_io`](Self::try_io) or
    /// [`read_with`](Self::read_with), or tell the source by [`clear_ready`](Self::clear_ready): a `WouldBlock` that the
    /// source does not see leaves it readable, and a loop around this method spins.
    ///
    /// # Errors
    ///
    /// - `NotConnected` if the reactor has been dropped.
    /// - An error in a forked child of the process that made the reactor, if the source would have to wait.
    /// - `InvalidInput` if the source was [registered](Self::with_interest) without the interest, and would have to wait.
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
    pub fn readable(&self) -> impl Future<Output = io::Result<Readiness>> {
        self.reported(Want::Read)
    }

    /// Waits until writing is likely to succeed.
    ///
    /// The source stays writable until an operation through this source meets `WouldBlock`: for your own system calls,
    /// see [`readable`](Self::readable).
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
    pub fn writable(&self) -> impl Future<Output = io::Result<Readiness>> {
        self.reported(Want::Write)
    }

    /// Waits for an exceptional condition: urgent TCP data, a changed GPIO line, … (`EPOLLPRI`).
    ///
    /// The condition stays until a [`try_io`](Self::try_io) with [`Interest::PRIORITY`] meets `WouldBlock`. The wait
    /// also ends when the peer closes its side or the kernel reports an error, because the condition may never come
    /// then: check [`Readiness::is_priority`] and [`Readiness::is_read_closed`]. An error ends waits until the same
    /// `WouldBlock`. So a file that reports an error beside each condition (`/proc/self/mounts`, sysfs, cgroups) ends one
    /// wait per change. Reads of such a file never meet `WouldBlock`: after reading, let `try_io` call a closure that
    /// returns this error.
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
    pub fn priority(&self) -> impl Future<Output = io::Result<Readiness>> {
        self.reported(Want::Priority)
    }

    /// Waits for an error: a pending error of the socket, a message in its error queue, or the closed reading end of a
    /// pipe (`EPOLLERR`).
    ///
    /// The error queue has the timestamps of sent packets (`SO_TIMESTAMPING`) and the ICMP messages that refer to them
    /// (`IP_RECVERR`). Read the queue by [`try_io`](Self::try_io) with [`Interest::ERROR`] and `recvmsg(MSG_ERRQUEUE)`,
    /// until it meets `WouldBlock`. The error stays until then, or until the kernel reports an event without an error,
    /// because another task has collected the error. One task may wait for errors while another reads data from the same
    /// source: neither ends the wait of the other, and an operation that reads data does not hide a message in the queue.
    ///
    /// A closed connection is not an error by itself: wait for [`readable`](Self::readable) as well.
    ///
    /// # Errors
    ///
    /// - `NotConnected` if the reactor has been dropped.
    /// - For a [lazy](Self::lazy) source, the errors of `epoll_ctl(2)`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. The error stays until a `try_io` meets `WouldBlock`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Interest, Source};
    /// use std::io::ErrorKind;
    /// use std::net::UdpSocket;
    ///
    /// async_epoll::block_on(async {
    ///     let closed = UdpSocket::bind("127.0.0.1:0")?.local_addr()?; // Dropped at once.
    ///     let socket = UdpSocket::bind("127.0.0.1:0")?;
    ///     socket.connect(closed)?;
    ///     let source = Source::new(socket)?;
    ///     source.get_ref().send(b"x")?;
    ///     assert!(source.errors().await?.is_error());
    ///     let take = |socket: &UdpSocket| socket.take_error()?.ok_or(ErrorKind::WouldBlock.into());
    ///     assert_eq!(source.try_io(Interest::ERROR, take)?.kind(), ErrorKind::ConnectionRefused);
    ///     // Nothing is left, and the source notes it.
    ///     assert_eq!(source.try_io(Interest::ERROR, take).unwrap_err().kind(), ErrorKind::WouldBlock);
    ///     assert!(!source.readiness().is_error());
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn errors(&self) -> impl Future<Output = io::Result<Readiness>> {
        self.reported(Want::Error)
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
        self.poll_reported(Want::Read, cx, None)
    }

    /// Polls for writability: the poll form of [`writable`](Self::writable).
    ///
    /// Any number of tasks may wait: an event wakes them all.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.poll_reported(Want::Write, cx, None)
    }

    /// Polls for an error: the poll form of [`errors`](Self::errors).
    ///
    /// Any number of tasks may wait: an event wakes them all.
    ///
    /// # Errors
    ///
    /// As [`errors`](Self::errors).
    pub fn poll_errors(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.poll_reported(Want::Error, cx, None)
    }

    /// Polls for the end of writing: waits until nothing can be sent any more (`EPOLLHUP`).
    ///
    /// A socket is closed for writing after a reset, a time-out of the kernel, or a shutdown of both directions, on
    /// either side. A half-close of the peer does not count. The readiness of reading and writing does not change, so a
    /// task that does not read, because it has no room for more data, can wait for the end of the connection beside
    /// any other operation. The task is also woken, without a result, when the source becomes writable.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::Source;
    /// use futures::FutureExt;
    /// use std::future::poll_fn;
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    ///
    /// async_epoll::block_on(async {
    ///     let (mut peer, stream) = UnixStream::pair()?;
    ///     let source = Source::new(stream)?;
    ///     peer.write_all(b"unread")?;
    ///     assert!(poll_fn(|cx| source.poll_write_closed(cx)).now_or_never().is_none());
    ///     drop(peer);
    ///     assert!(poll_fn(|cx| source.poll_write_closed(cx)).await?.is_write_closed());
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn poll_write_closed(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        // An event notes a hang-up in both words. A word without it has refuted it, as in `Readiness::of`.
        let read = &self.link.registration.read;
        self.poll_state(Want::Write, cx, None, |write| write.is_hung_up() && read.snapshot().is_hung_up())
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
    pub fn read_with<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> impl Future<Output = io::Result<R>> {
        self.operate(Want::Read, op)
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
    pub fn write_with<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> impl Future<Output = io::Result<R>> {
        self.operate(Want::Write, op)
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
        self.poll_op(Want::Read, cx, None, op, |_, _| false)
    }

    /// Tries to write with `op`: the poll form of [`write_with`](Self::write_with).
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
    pub fn poll_write_with<R>(&self, cx: &mut Context<'_>, op: impl FnMut(&T) -> io::Result<R>) -> Poll<io::Result<R>> {
        self.poll_op(Want::Write, cx, None, op, |_, _| false)
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
        self.poll_op(Want::Read, cx, None, op, |seen, &count| {
            count < wanted && count != 0 && seen.trusts_short_counts()
        })
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
        self.poll_op(Want::Write, cx, None, op, |seen, &count| count < wanted && seen.trusts_short_counts())
    }

    /// Tries `op` without waiting. Returns its result, or `WouldBlock` if the source is known not to be ready for
    /// `interest`. What is not known is tried: in a forked child, which gets no events of its parent's reactor, and outside
    /// of the interest of [`with_interest`](Self::with_interest), `op` is always tried.
    ///
    /// If `op` meets `WouldBlock`, the readiness is cleared, so a later wait waits for a new event. With several
    /// interests, `op` is tried if the source is ready for at least one of them, and `WouldBlock` clears the readiness
    /// for all: what ended [`readable`](Self::readable), [`writable`](Self::writable), [`priority`](Self::priority) or
    /// [`errors`](Self::errors). An event that arrives while `op` runs stays. `op` is tried wherever the wait for its
    /// interest returns: with [`Interest::PRIORITY`] also after an error, and once the peer has closed its side.
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
        // The kernel reports nothing about a source that is not registered, or outside of its interest, so the operation
        // has to be tried. Neither does a forked child hear of events, which go to its parent.
        let ready = reading.is_unregistered()
            || interest.exceeds(self.link.registration.interest)
            || interest.is_readable() && reading.may_be_ready()
            || interest.is_writable() && writing.may_be_ready()
            || interest.is_priority() && reading.ends_priority()
            || interest.is_error() && reading.is_error()
            || self.link.shared.is_child();
        if !ready {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match op(&self.io) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    read.clear_attempt(reading, interest);
                    if interest.is_writable() {
                        write.clear_ready(writing);
                    }
                    if interest.exceeds(self.link.registration.interest) {
                        self.guess_outside_of_interest();
                    }
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    /// Notes that system calls made without the source have met `WouldBlock`: after them, [`readable`](Self::readable) and
    /// the other waits wait for a new event.
    ///
    /// A source learns from its own operations that it is not ready any more. Code that uses the descriptor directly,
    /// such as a C library, has to say so; otherwise `readable` returns at once, again and again. Where you can, make
    /// the call by [`try_io`](Self::try_io) or [`read_with`](Self::read_with), which need no such notice.
    ///
    /// Asks the kernel about each interest, by `poll(2)` without waiting, and leaves the source ready for what the kernel
    /// reports. So no event is lost that arrives between your call and this notice, not even with a reactor in the
    /// background. While an error is pending, or a message is in the error queue, the source stays readable and writable.
    /// The exceptional condition and errors are noted if the kernel reports them, even if `interest` does not have them: a
    /// file such as `/proc/self/mounts` reports each change once, to the first that asks.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Interest, Source};
    /// use futures::FutureExt;
    /// use std::io::{ErrorKind, Read, Write};
    /// use std::os::unix::net::UnixStream;
    ///
    /// async_epoll::block_on(async {
    ///     let (mut peer, stream) = UnixStream::pair()?;
    ///     let source = Source::new(stream)?;
    ///     peer.write_all(b"x")?;
    ///     source.readable().await?;
    ///     // Past the source, so it does not see the `WouldBlock`.
    ///     assert_eq!(source.get_ref().read(&mut [0; 8])?, 1);
    ///     assert_eq!(source.get_ref().read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    ///     source.clear_ready(Interest::READABLE);
    ///     assert!(source.readable().now_or_never().is_none(), "waits for the next byte");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn clear_ready(&self, interest: Interest) {
        let Link { registration, shared } = &self.link;
        // Read before the kernel is asked, so an event that is dispatched in between is not cleared.
        let (reading, writing) = (registration.read.snapshot(), registration.write.snapshot());
        if reading.is_gone() || reading.is_unregistered() && shared.is_gone() {
            return;
        }
        // One question for all kinds: some files tell of a change only once, whatever they are asked for. If the kernel
        // cannot be asked, the source stays ready: too often is better than never.
        let asked = libc::POLLIN | libc::POLLRDHUP | libc::POLLOUT | libc::POLLPRI;
        let Ok(events) = sys::present_events(self.io.as_fd(), asked) else { return };
        for (one, ready) in [
            // Errors and hang-ups, which the kernel reports unasked, make the source readable and writable.
            (Interest::READABLE, !(libc::POLLOUT | libc::POLLPRI)),
            (Interest::WRITABLE, !(libc::POLLIN | libc::POLLRDHUP | libc::POLLPRI)),
            // Errors and hang-ups are not the exceptional condition.
            (Interest::PRIORITY, libc::POLLPRI),
            (Interest::ERROR, libc::POLLERR),
        ] {
            if interest.intersects(one) && events & ready == 0 {
                registration.read.clear_attempt(reading, one);
                if one.is_writable() {
                    registration.write.clear_ready(writing);
                }
            }
        }
        if interest.exceeds(registration.interest) {
            self.guess_outside_of_interest();
        }
        if events & (libc::POLLPRI | libc::POLLERR) != 0 {
            let mut wakers = Vec::new();
            registration.note_reported(
                events & libc::POLLPRI != 0,
                events & libc::POLLERR != 0,
                &mut wakers,
                shared.process,
            );
            wake_all(&mut wakers, |panic| shared.note_waker_panic(panic));
        }
    }

    /// Notes that nothing is known about the directions outside of the interest: the kernel reports nothing about them, so
    /// the next operation has to try.
    #[cold]
    fn guess_outside_of_interest(&self) {
        let registration = &self.link.registration;
        for want in [Want::Read, Want::Write] {
            if !registration.interest.includes(want) {
                registration.direction(want).set_guess();
            }
        }
    }

    /// Returns the future of [`readable`](Self::readable) and its siblings.
    fn reported(&self, want: Want) -> impl Future<Output = io::Result<Readiness>> {
        let wait = Wait::new(&self.link, want);
        poll_fn(move |cx| self.poll_reported(wait.want, cx, Some(&wait.claim)))
    }

    /// Returns the future of [`read_with`](Self::read_with) and [`write_with`](Self::write_with).
    fn operate<R>(&self, want: Want, mut op: impl FnMut(&T) -> io::Result<R>) -> impl Future<Output = io::Result<R>> {
        let wait = Wait::new(&self.link, want);
        poll_fn(move |cx| self.poll_op(wait.want, cx, Some(&wait.claim), &mut op, |_, _| false))
    }

    /// Tries `op` until it succeeds or fails otherwise than by `WouldBlock` or `Interrupted`. `is_drained` returns
    /// whether the next operation after this result would meet `WouldBlock`. A future passes its `claim`.
    #[inline]
    fn poll_op<R>(
        &self,
        want: Want,
        cx: &mut Context<'_>,
        claim: Option<&Claim>,
        mut op: impl FnMut(&T) -> io::Result<R>,
        is_drained: impl Fn(Snapshot, &R) -> bool,
    ) -> Poll<io::Result<R>> {
        ready!(budget::poll_proceed(cx));
        let direction = self.link.registration.direction(want);
        let mut seen = direction.snapshot();
        if !seen.is_surely_ready() {
            seen = ready!(self.poll_may_be_ready(want, cx, claim, seen))?;
        }
        match op(&self.io) {
            Ok(result) => {
                if is_drained(seen, &result) {
                    direction.clear_ready(seen);
                }
                budget::spend();
                Poll::Ready(Ok(result))
            }
            Err(error) => self.poll_op_again(want, cx, claim, op, is_drained, seen, error),
        }
    }

    /// Goes on with an operation whose attempt at `seen` has met `error`. Out of line, so that the way of an operation that
    /// succeeds at once has no loop.
    #[inline(never)]
    #[allow(clippy::too_many_arguments, reason = "the arguments of poll_op, and its two variables")]
    fn poll_op_again<R>(
        &self,
        want: Want,
        cx: &Context<'_>,
        claim: Option<&Claim>,
        mut op: impl FnMut(&T) -> io::Result<R>,
        is_drained: impl Fn(Snapshot, &R) -> bool,
        mut seen: Snapshot,
        mut error: io::Error,
    ) -> Poll<io::Result<R>> {
        let direction = self.link.registration.direction(want);
        let result = loop {
            match error.kind() {
                io::ErrorKind::WouldBlock => direction.clear_ready(seen),
                io::ErrorKind::Interrupted => {}
                _ => break Err(error),
            }
            seen = ready!(self.poll_may_be_ready(want, cx, claim, direction.snapshot()))?;
            match op(&self.io) {
                Err(next) => error = next,
                Ok(result) => {
                    if is_drained(seen, &result) {
                        direction.clear_ready(seen);
                    }
                    break Ok(result);
                }
            }
        };
        budget::spend();
        Poll::Ready(result)
    }

    /// Waits until an operation may succeed: the kernel has reported the source ready, or has not reported anything
    /// yet.
    #[inline(never)]
    fn poll_may_be_ready(
        &self,
        want: Want,
        cx: &Context<'_>,
        claim: Option<&Claim>,
        seen: Snapshot,
    ) -> Poll<io::Result<Snapshot>> {
        if seen.is_unregistered() && self.link.shared.is_gone() {
            return Poll::Ready(Err(gone()));
        }
        if seen.may_be_ready() {
            return Poll::Ready(Ok(seen));
        }
        self.poll_wait(want, cx, claim, seen, Snapshot::may_be_ready)
    }

    /// Waits until the kernel has reported the source ready for `want`.
    fn poll_reported(&self, want: Want, cx: &Context<'_>, claim: Option<&Claim>) -> Poll<io::Result<Readiness>> {
        let is_over = match want {
            Want::Read | Want::Write => Snapshot::is_ready,
            Want::Priority => Snapshot::ends_priority,
            Want::Error => Snapshot::is_error,
        };
        self.poll_state(want, cx, claim, is_over)
    }

    /// Waits until the kernel has reported a state for which `is_over` is true, in the word of `want`.
    fn poll_state(
        &self,
        want: Want,
        cx: &Context<'_>,
        claim: Option<&Claim>,
        is_over: impl Fn(Snapshot) -> bool,
    ) -> Poll<io::Result<Readiness>> {
        ready!(budget::poll_proceed(cx));
        let seen = self.link.registration.direction(want).snapshot();
        // If the state is there already, nothing can fail, not even in a forked child.
        if seen.is_unregistered() || seen.is_gone() || !is_over(seen) {
            ready!(self.poll_wait(want, cx, claim, seen, is_over))?;
        }
        budget::spend();
        Poll::Ready(Ok(self.readiness()))
    }

    /// Waits until `is_over`, with the task's waker in the registration. Registers the source first if necessary.
    fn poll_wait(
        &self,
        want: Want,
        cx: &Context<'_>,
        claim: Option<&Claim>,
        seen: Snapshot,
        is_over: impl Fn(Snapshot) -> bool,
    ) -> Poll<io::Result<Snapshot>> {
        if seen.is_unregistered() {
            self.register()?;
        } else {
            // No thread of a forked child waits for events, so nothing would end the wait.
            self.link.shared.refuse_child()?;
        }
        if !self.link.registration.interest.includes(want) {
            self.guess_outside_of_interest();
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the source was not registered for this: name it in the interest of Source::with_interest",
            )));
        }
        let Link { registration, shared } = &self.link;
        let on_panic = |panic| shared.note_waker_panic(panic);
        match registration.wait(want, cx.waker(), claim, on_panic, |seen| seen.is_gone() || is_over(seen)) {
            None => {
                shared.note_wait();
                Poll::Pending
            }
            Some(seen) if seen.is_gone() => Poll::Ready(Err(gone())),
            Some(seen) => Poll::Ready(Ok(seen)),
        }
    }
}

/// The wait of a future. Takes the future's waker along when the future is dropped, so that no event wakes a task for a
/// wait that it has given up, and a source that is idle for long collects no wakers.
struct Wait<'a> {
    /// The registration, and the reactor.
    link: &'a Link,
    /// The waker in the registration, if any.
    claim: Claim,
    /// What the future waits for.
    want: Want,
}

impl<'a> Wait<'a> {
    /// Returns a wait that has not begun.
    fn new(link: &'a Link, want: Want) -> Self {
        Self { link, claim: Claim::default(), want }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.claim.is_empty() {
            if let Some(waker) = self.link.registration.give_up(self.want, &self.claim, self.link.shared.process) {
                self.link.shared.drop_waker(waker);
            }
        }
    }
}
