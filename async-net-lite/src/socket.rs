//! A socket of this crate: a source that tells, once its descriptor is closed, those who wait for one.

use crate::accept::Freed;
use async_epoll::{Handle, Interest, Source};
use std::io;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::task::{Context, Poll, Waker};

/// A [`Source`] whose end lets paused listeners go on. What every type of this crate has inside.
#[derive(Debug)]
pub(crate) struct Socket<T: AsFd> {
    source: Source<T>,
    /// After `source`, since fields are dropped in this order: it speaks when the descriptor has been closed.
    _freed: Freed,
}

impl<T: AsFd> Socket<T> {
    /// For a socket that was just made, and is non-blocking: registered when it first has to wait. See [`Source::lazy`].
    pub(crate) fn lazy(io: T, handle: &Handle) -> Self {
        Self { source: Source::lazy(io, handle), _freed: Freed }
    }

    /// Fails if the reactor has been dropped: better before the work than after it.
    pub(crate) fn check_reactor(&self) -> io::Result<()> {
        // Nothing is known of a new source, so this does nothing but look whether the reactor is there.
        self.source.try_io(Interest::READABLE, |_| Ok(()))
    }

    /// As [`Source::try_io`]. After a `WouldBlock`, the next attempt succeeds once the kernel has something new.
    pub(crate) fn try_io<R>(&self, interest: Interest, op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let result = self.source.try_io(interest, op);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            // Only a source that is registered hears of anything new, and nobody may ever wait for this one. So we do,
            // for a moment, with a waker that wakes nobody.
            let mut cx = Context::from_waker(Waker::noop());
            let polled = match interest.is_writable() {
                true => self.source.poll_writable(&mut cx),
                false => self.source.poll_readable(&mut cx),
            };
            if let Poll::Ready(Err(error)) = polled {
                return Err(error);
            }
        }
        result
    }

    /// Deregisters and gives the socket of std back.
    pub(crate) fn into_inner(self) -> io::Result<T> {
        // Whoever hears that a descriptor has been freed, though none has, tries once for nothing.
        self.source.into_inner()
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
