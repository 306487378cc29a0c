//! The socket inside every type of this crate: how it is opened, and what happens when it is closed.
//!
//! All sockets are opened here, whatever their kind of address. Every type holds a [`Socket`]: a source of the reactor,
//! and a notice that wakes paused listeners after the descriptor has been closed. A new socket has no duplicate
//! descriptor, so the kernel deregisters it on close, and it is registered with epoll only when an operation has to
//! wait. This crate reaches the descriptor without noting a duplicate ([`Socket::get_ref`], [`Socket::as_fd`]); what
//! goes to the user is [handed out](Socket::hand_out), and then dropping the socket deregisters it by a system call:
//!
//! ```text
//!   socket(2): non-blocking, close-on-exec ──► is the reactor alive? ──► bind, connect, … ──► read, write, …
//!                                                             no epoll_ctl until an operation has to wait ┘
//! ```

use super::paused::CloseNotice;
use async_epoll::{Handle, Interest, Source};
use socket2::{Domain, Type};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Returns a new socket, non-blocking and close-on-exec.
pub(crate) fn open(domain: Domain, kind: Type) -> io::Result<socket2::Socket> {
    // `Socket::new` adds SOCK_CLOEXEC.
    socket2::Socket::new(domain, kind.nonblocking(), None)
}

/// Fails if the reactor of `handle`, which the socket is for, has been dropped. Callers check this before they change
/// anything, such as the file system.
pub(crate) fn check_reactor(socket: BorrowedFd<'_>, handle: &Handle) -> io::Result<()> {
    // An unregistered source may be ready, so the operation runs, and does nothing. Only the check of the reactor
    // remains.
    Source::lazy(socket, handle).try_io(Interest::READABLE, |_| Ok(()))
}

/// Calls `operation` again while it fails with `Interrupted` (EINTR).
pub(crate) fn uninterrupted<R>(mut operation: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Converts the error `WouldBlock` to `None`.
pub(crate) fn none_if_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

/// A [`Source`] that wakes paused listeners when it has been closed. Every type of this crate holds a `Socket`.
#[derive(Debug)]
pub(crate) struct Socket<T: AsFd> {
    /// The descriptor and its registration with the reactor.
    source: Source<T>,
    /// Must follow `source`: fields are dropped in this order, and the descriptor must be closed before the notice is
    /// given.
    _notice: CloseNotice,
}

impl<T: AsFd> Socket<T> {
    /// Opens a socket. Fails if the reactor has been dropped.
    pub(crate) fn open(domain: Domain, kind: Type, handle: &Handle) -> io::Result<Self>
    where
        T: From<socket2::Socket>,
    {
        let socket = Self::lazy(T::from(open(domain, kind)?), handle);
        socket.check_reactor()?;
        Ok(socket)
    }

    /// Opens two Unix sockets that are connected with each other. Fails if the reactor has been dropped.
    pub(crate) fn pair(kind: Type, handle: &Handle) -> io::Result<(Self, Self)>
    where
        T: From<socket2::Socket>,
    {
        let (left, right) = socket2::Socket::pair(Domain::UNIX, kind.nonblocking(), None)?;
        let (left, right) = (Self::lazy(left.into(), handle), Self::lazy(right.into(), handle));
        left.check_reactor()?;
        Ok((left, right))
    }

    /// Wraps a new socket, which must be non-blocking. It is registered when it first has to wait: see
    /// [`Source::lazy`].
    pub(crate) fn lazy(io: T, handle: &Handle) -> Self {
        Self { source: Source::lazy(io, handle), _notice: CloseNotice }
    }

    /// Returns the socket of std, for system calls of this crate.
    pub(crate) fn get_ref(&self) -> &T {
        self.source.lend()
    }

    /// Returns the descriptor for code outside this crate, which may duplicate it or pass it to another process. From
    /// now on the socket is deregistered by `epoll_ctl(2)`, and not by closing it.
    pub(crate) fn hand_out(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    /// Fails if the reactor has been dropped.
    pub(crate) fn check_reactor(&self) -> io::Result<()> {
        // Whether the socket is ready does not matter.
        none_if_blocked(self.source.try_io(Interest::READABLE, |_| Ok(()))).map(drop)
    }

    /// Returns the socket of std: with this descriptor if no clone shares it, otherwise with a duplicate.
    pub(crate) fn into_std(self: Arc<Self>) -> io::Result<T>
    where
        T: From<OwnedFd>,
    {
        match Arc::try_unwrap(self) {
            Ok(socket) => socket.into_inner(),
            Err(shared) => shared.duplicate(),
        }
    }

    /// Deregisters the socket, and returns the socket of std.
    pub(crate) fn into_inner(self) -> io::Result<T> {
        // The notice is given although no descriptor is closed. Paused listeners then accept once in vain.
        self.source.into_inner()
    }

    /// Returns the socket of std with a duplicate of the descriptor. Clones continue to use this socket.
    pub(crate) fn duplicate(&self) -> io::Result<T>
    where
        T: From<OwnedFd>,
    {
        self.hand_out().try_clone_to_owned().map(T::from)
    }
}

/// Wraps the source of a socket from outside this crate. Such a socket is registered from the beginning, since
/// duplicates of its descriptor may exist.
impl<T: AsFd> From<Source<T>> for Socket<T> {
    fn from(source: Source<T>) -> Self {
        Self { source, _notice: CloseNotice }
    }
}

impl<T: AsFd> Deref for Socket<T> {
    type Target = Source<T>;

    fn deref(&self) -> &Source<T> {
        &self.source
    }
}

/// Returns the descriptor, for system calls of this crate.
impl<T: AsFd> AsFd for Socket<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}
