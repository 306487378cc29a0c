//! A socket of this crate: how each comes about, and how it ends.
//!
//! All of them are made here, whatever their addresses are, and all of them hold a [`Socket`]: a source that tells, once
//! its descriptor is closed, those who wait for one.
//!
//! ```text
//!   socket(2): non-blocking, close-on-exec ──► is the reactor there? ──► bind, connect, … ──► read, write, …
//!                                                                   no epoll_ctl until one has to wait ┘
//! ```

use crate::accept::Freed;
use async_epoll::{Handle, Interest, Source};
use socket2::{Domain, SockRef, Type};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Connections that the kernel queues for a listener, if nothing else is said; cut to `/proc/sys/net/core/somaxconn` by
/// the kernel.
pub(crate) const BACKLOG: u32 = 1024;

/// The kernel counts in `int`; what is too large for that means "as much as there is".
pub(crate) fn saturate(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Sets those sizes that were chosen.
pub(crate) fn set_buffers(options: &SockRef<'_>, receive: Option<usize>, send: Option<usize>) -> io::Result<()> {
    if let Some(bytes) = receive {
        options.set_recv_buffer_size(most(bytes))?;
    }
    if let Some(bytes) = send {
        options.set_send_buffer_size(most(bytes))?;
    }
    Ok(())
}

/// What fits into the kernel's integer: beyond that, a size would come out as a small or a negative one.
fn most(bytes: usize) -> usize {
    bytes.min(i32::MAX as usize)
}

/// Checks how many routers a packet may pass. To the kernel -1 means "as the system has it", which is what the largest number
/// would come out as.
pub(crate) fn check_hops(hops: u32, least: u32) -> io::Result<()> {
    if (least..=255).contains(&hops) {
        return Ok(());
    }
    let message = format!("the time to live of a packet is {least} to 255, not {hops}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// A new socket, non-blocking and close-on-exec.
pub(crate) fn open(domain: Domain, kind: Type) -> io::Result<socket2::Socket> {
    // `Socket::new` adds SOCK_CLOEXEC.
    socket2::Socket::new(domain, kind.nonblocking(), None)
}

/// Fails if the reactor of `handle`, which is to get this socket, has been dropped: better before the work than after it.
pub(crate) fn check_reactor(socket: BorrowedFd<'_>, handle: &Handle) -> io::Result<()> {
    // Nothing is known of a new source, so this does nothing but look whether the reactor is there.
    Source::lazy(socket, handle).try_io(Interest::READABLE, |_| Ok(()))
}

/// Calls again what a signal has interrupted.
pub(crate) fn uninterrupted<R>(mut operation: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// "Would block" as a value.
pub(crate) fn none_if_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

/// A [`Source`] whose end lets paused listeners go on. What every type of this crate has inside.
#[derive(Debug)]
pub(crate) struct Socket<T: AsFd> {
    source: Source<T>,
    /// After `source`, since fields are dropped in this order: it speaks when the descriptor has been closed.
    _freed: Freed,
}

impl<T: AsFd> Socket<T> {
    /// A new one, of a reactor that is there.
    pub(crate) fn open(domain: Domain, kind: Type, handle: &Handle) -> io::Result<Self>
    where
        T: From<socket2::Socket>,
    {
        let socket = Self::lazy(T::from(open(domain, kind)?), handle);
        socket.check_reactor()?;
        Ok(socket)
    }

    /// Two Unix sockets that are connected with each other, of a reactor that is there.
    pub(crate) fn pair(kind: Type, handle: &Handle) -> io::Result<(Self, Self)>
    where
        T: From<socket2::Socket>,
    {
        let (left, right) = socket2::Socket::pair(Domain::UNIX, kind.nonblocking(), None)?;
        let (left, right) = (Self::lazy(left.into(), handle), Self::lazy(right.into(), handle));
        left.check_reactor()?;
        Ok((left, right))
    }

    /// For a socket that was just made, and is non-blocking: registered when it first has to wait. See [`Source::lazy`].
    pub(crate) fn lazy(io: T, handle: &Handle) -> Self {
        Self { source: Source::lazy(io, handle), _freed: Freed }
    }

    /// Fails if the reactor has been dropped.
    pub(crate) fn check_reactor(&self) -> io::Result<()> {
        // Whether it is ready does not matter.
        none_if_blocked(self.source.try_io(Interest::READABLE, |_| Ok(()))).map(drop)
    }

    /// Deregisters and gives the socket of std back.
    pub(crate) fn into_inner(self) -> io::Result<T> {
        // Whoever hears that a descriptor has been freed, though none has, tries once for nothing.
        self.source.into_inner()
    }

    /// The socket of std by another descriptor, for who wants to have it while others go on to use this one.
    pub(crate) fn duplicate(&self) -> io::Result<T>
    where
        T: From<OwnedFd>,
    {
        self.source.note_duplicate();
        self.source.as_fd().try_clone_to_owned().map(T::from)
    }
}

/// For a socket from elsewhere, which is registered from the beginning, since nobody knows who else refers to it.
impl<T: AsFd> From<Source<T>> for Socket<T> {
    fn from(source: Source<T>) -> Self {
        Self { source, _freed: Freed }
    }
}

impl<T: AsFd> Deref for Socket<T> {
    type Target = Source<T>;

    fn deref(&self) -> &Source<T> {
        &self.source
    }
}

impl<T: AsFd> AsFd for Socket<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}
