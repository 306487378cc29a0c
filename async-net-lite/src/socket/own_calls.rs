//! System calls of the user's own on the sockets of this crate, the same for every type.
//!
//! This crate does not offer every system call, and the user need not wait for it: `recvmsg(2)` with control messages,
//! `accept4(2)` with other flags, an `ioctl(2)`. But a source learns from its own operations alone that it is not ready
//! any more. So the call is made *through* the source, as a closure: then a `WouldBlock` is seen, EINTR is retried, and the
//! budget of the task is spent.
//!
//! The file of each public socket type calls `own_calls!` once. A closure gets the socket of std, whatever the source
//! really holds: see [`SocketIo`], which also has what is special about a connection that is not made yet.

use super::socket::Socket;
use async_epoll::Interest;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

/// What a source of this crate holds: a socket of std, perhaps with some state beside it.
pub(crate) trait SocketIo: AsFd {
    /// The socket type of std.
    type Std;

    /// Returns the socket of std.
    fn std(&self) -> &Self::Std;

    /// Begins a handshake that was put off until the first write. For a caller that is about to wait for the peer.
    #[inline]
    fn begin(&self) -> io::Result<()> {
        Ok(())
    }

    /// Returns the error that a reading call has met. Begins a handshake that was put off if the call would block, because
    /// the caller may wait for the peer now.
    #[inline]
    fn read_error(&self, error: io::Error) -> io::Error {
        error
    }

    /// Returns the error that a writing call has met, in the words of a source: `WouldBlock` means "wait".
    fn write_error(error: io::Error) -> io::Error {
        error
    }
}

/// Implements [`SocketIo`] for sockets of std without any state beside them.
macro_rules! plain_sockets {
    ($($std:ty),*) => {
        $(impl SocketIo for $std {
            type Std = Self;

            #[inline]
            fn std(&self) -> &Self {
                self
            }
        })*
    };
}

plain_sockets!(
    std::net::TcpListener,
    std::net::UdpSocket,
    std::os::unix::net::UnixStream,
    std::os::unix::net::UnixListener,
    std::os::unix::net::UnixDatagram
);

/// Calls of the user's own.
impl<T: SocketIo> Socket<T> {
    /// Waits until the reading call `op` does not meet `WouldBlock`.
    pub(crate) async fn read_own<R>(&self, mut op: impl FnMut(&T::Std) -> io::Result<R>) -> io::Result<R> {
        self.read_with(|io| op(io.std()).map_err(|error| io.read_error(error))).await
    }

    /// The poll form of [`read_own`](Self::read_own).
    pub(crate) fn poll_read_own<R>(
        &self,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T::Std) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_read_with(cx, |io| op(io.std()).map_err(|error| io.read_error(error)))
    }

    /// Waits until the writing call `op` does not meet `WouldBlock`.
    pub(crate) async fn write_own<R>(&self, mut op: impl FnMut(&T::Std) -> io::Result<R>) -> io::Result<R> {
        self.write_with(|io| op(io.std()).map_err(T::write_error)).await
    }

    /// The poll form of [`write_own`](Self::write_own).
    pub(crate) fn poll_write_own<R>(
        &self,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T::Std) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_write_with(cx, |io| op(io.std()).map_err(T::write_error))
    }

    /// Notes that calls past the source have met `WouldBlock`. As a read that would block, this begins a handshake that was
    /// put off. If that fails, the socket stays ready, so the next operation returns the error.
    pub(crate) fn clear_own(&self, interest: Interest) {
        if !interest.is_readable() || self.get_ref().begin().is_ok() {
            self.clear_ready(interest);
        }
    }

    /// Tries `op` once, unless the socket is known not to be ready.
    pub(crate) fn try_own<R>(&self, interest: Interest, mut op: impl FnMut(&T::Std) -> io::Result<R>) -> io::Result<R> {
        self.try_io(interest, |io| op(io.std()).map_err(|error| io.read_error(T::write_error(error))))
    }
}

/// Implements the methods for system calls of the user's own, for a socket type with the method `inner`. `$example` is an
/// example of `read_with`. With `both`, there are methods for writing, too.
macro_rules! own_calls {
    ($ours:ident, $std:ty, $example:literal) => {
        /// System calls of your own.
        ///
        /// Each closure gets the socket of std, and makes one non-blocking system call on it: the descriptor is
        /// non-blocking already. Do not change that, and do not duplicate the descriptor in the closure; use
        /// [`AsFd`](std::os::fd::AsFd) for that.
        impl $ours {
            /// Makes a reading system call of your own, and waits as long as the call meets `WouldBlock`. Returns the
            /// result of `op`.
            ///
            /// `op` is called at once, unless the socket is known not to be readable, and then after each event. It must
            /// return the error of the call as it is: by `WouldBlock` the socket knows that it is not readable. An `op` that
            /// never returns this error waits at most once.
            ///
            /// # Errors
            ///
            /// The errors of `op` other than `WouldBlock` and `Interrupted`; those of `epoll_ctl(2)`, and `NotConnected`
            /// if the reactor has been dropped.
            ///
            /// # Cancel safety
            ///
            /// Cancel safe if `op` is: a call of `op` never spans an await.
            ///
            /// # Examples
            ///
            #[doc = $example]
            pub async fn read_with<R>(&self, op: impl FnMut(&$std) -> std::io::Result<R>) -> std::io::Result<R> {
                self.inner().read_own(op).await
            }

            /// The poll form of [`read_with`](Self::read_with). Any number of tasks may wait: all are woken.
            ///
            /// # Errors
            ///
            /// As [`read_with`](Self::read_with).
            pub fn poll_read_with<R>(
                &self,
                cx: &mut std::task::Context<'_>,
                op: impl FnMut(&$std) -> std::io::Result<R>,
            ) -> std::task::Poll<std::io::Result<R>> {
                self.inner().poll_read_own(cx, op)
            }

            /// Makes a system call of your own, without waiting. Returns the result of `op`, or `WouldBlock` without
            /// calling `op` if the socket is known not to be ready for `interest`.
            ///
            /// If `op` meets `WouldBlock`, the socket is not ready from now on: the next wait waits for an event.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if the socket is not ready; the errors of `op` other than `Interrupted`, which is retried;
            /// `NotConnected` if the reactor has been dropped.
            pub fn try_io<R>(
                &self,
                interest: async_epoll::Interest,
                op: impl FnMut(&$std) -> std::io::Result<R>,
            ) -> std::io::Result<R> {
                self.inner().try_own(interest, op)
            }

            /// Notes that system calls that you made past this type, on the bare descriptor, have met `WouldBlock`.
            ///
            /// Without this notice the socket counts as ready, and a wait for it returns at once. No event is lost that
            /// arrives in between: see [`Source::clear_ready`](async_epoll::Source::clear_ready). It costs a system
            /// call, [`try_io`](Self::try_io) and [`read_with`](Self::read_with) do not.
            pub fn clear_ready(&self, interest: async_epoll::Interest) {
                self.inner().clear_own(interest);
            }
        }
    };
    ($ours:ident, $std:ty, $example:literal, both) => {
        $crate::socket::own_calls::own_calls!($ours, $std, $example);

        impl $ours {
            /// Makes a writing system call of your own, and waits as long as the call meets `WouldBlock`. Returns the
            /// result of `op`. In all else as [`read_with`](Self::read_with).
            ///
            /// # Errors
            ///
            /// As [`read_with`](Self::read_with).
            ///
            /// # Cancel safety
            ///
            /// Cancel safe if `op` is.
            pub async fn write_with<R>(&self, op: impl FnMut(&$std) -> std::io::Result<R>) -> std::io::Result<R> {
                self.inner().write_own(op).await
            }

            /// The poll form of [`write_with`](Self::write_with). Any number of tasks may wait: all are woken.
            ///
            /// # Errors
            ///
            /// As [`read_with`](Self::read_with).
            pub fn poll_write_with<R>(
                &self,
                cx: &mut std::task::Context<'_>,
                op: impl FnMut(&$std) -> std::io::Result<R>,
            ) -> std::task::Poll<std::io::Result<R>> {
                self.inner().poll_write_own(cx, op)
            }
        }
    };
}

pub(crate) use own_calls;
