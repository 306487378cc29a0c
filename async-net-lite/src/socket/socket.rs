//! A socket of this crate: how each one is opened, and how it ends.
//!
//! All sockets are opened here, whatever their addresses are, and all types hold a [`Socket`]: a source that announces,
//! once its descriptor is closed, that a descriptor is free.
//!
//! ```text
//!   socket(2): non-blocking, close-on-exec ──► is the reactor there? ──► bind, connect, … ──► read, write, …
//!                                                                   no epoll_ctl until one has to wait ┘
//! ```

use super::paused::CloseNotice;
use async_epoll::{Handle, Interest, Source};
use socket2::{Domain, Type};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

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
    /// After `source`, since fields are dropped in this order: the notice goes out when the descriptor has been closed.
    _notice: CloseNotice,
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
        Self { source: Source::lazy(io, handle), _notice: CloseNotice }
    }

    /// Fails if the reactor has been dropped.
    pub(crate) fn check_reactor(&self) -> io::Result<()> {
        // Whether it is ready does not matter.
        none_if_blocked(self.source.try_io(Interest::READABLE, |_| Ok(()))).map(drop)
    }

    /// Returns the socket of std: this one if it is not shared, otherwise by another descriptor.
    pub(crate) fn into_std(self: Arc<Self>) -> io::Result<T>
    where
        T: From<OwnedFd>,
    {
        match Arc::try_unwrap(self) {
            Ok(socket) => socket.into_inner(),
            Err(shared) => shared.duplicate(),
        }
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
        Self { source, _notice: CloseNotice }
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
