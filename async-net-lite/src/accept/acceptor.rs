//! A listening socket, and taking one connection from its queue.
//!
//! The `accept` methods of the listeners and the accept loop call this. An error of a single connection is skipped, and
//! the next connection is taken. No queue is long enough for ten thousand such errors in a row, so the next error is
//! returned. Every error is counted in the reactor's [`Stats`](async_epoll::Stats). What to do about a shortage is not
//! decided here.

use super::errors::{AcceptError, Concern};
use crate::socket::socket::{Socket, none_if_blocked, uninterrupted};
use async_epoll::OPERATIONS_PER_POLL;
use socket2::{SockAddr, SockRef};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

/// The number of operations that an accept counts as, so a task accepts at most 16 connections in one poll. Each
/// connection means more work than a read, and the tasks of the present connections need their polls, too.
const ACCEPT_WEIGHT: u32 = OPERATIONS_PER_POLL / 16;
/// The largest number of errors of single connections in a row, without a connection or an empty queue in between, that
/// are skipped. No queue is that long: something forbids `accept(2)` altogether, or the socket cannot accept.
const MAX_SKIPPED: u32 = 10_000;

/// An accepted socket, and the address of its peer.
type Accepted = (socket2::Socket, SockAddr);

/// A listening socket, whatever its kind of address.
#[derive(Debug)]
pub(crate) struct Acceptor<L: AsFd> {
    /// The socket.
    pub(crate) socket: Socket<L>,
    /// The number of errors of single connections in a row. Counted up and reset by each accept.
    skipped: AtomicU32,
}

impl<L: AsFd> Acceptor<L> {
    /// Wraps a listening socket.
    pub(crate) fn new(socket: Socket<L>) -> Self {
        Self { socket, skipped: AtomicU32::new(0) }
    }

    /// Takes a connection from the queue, and skips errors of single connections, each of which goes to `on_skip`. The
    /// new socket is non-blocking and close-on-exec.
    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
        mut on_skip: impl FnMut(&io::Error),
    ) -> Poll<Result<Accepted, AcceptError>> {
        loop {
            let tried = ready!(self.socket.poll_read_weighted(cx, ACCEPT_WEIGHT, |listener| self.accept(listener)));
            let error = match tried {
                Ok(Ok(accepted)) => return Poll::Ready(Ok(accepted)),
                Ok(Err(error)) => AcceptError::of_accept(error),
                // If the listener could not be registered, the next call accepts once more before it registers again.
                Err(error) => AcceptError::of_wait(error),
            };
            self.count(&error);
            // Each error spends some of the task's budget, so even a thousand errors do not block the reactor.
            if error.concern != Concern::OneConnection || !self.skip() {
                return Poll::Ready(Err(error));
            }
            on_skip(&error.error);
        }
    }

    /// Calls `accept4(2)`. The outer error is for the source: wait, or try again at once. The inner error is any other.
    fn accept(&self, listener: &L) -> io::Result<io::Result<Accepted>> {
        let accepted = SockRef::from(listener).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
        match accepted.as_ref().map_err(io::Error::kind) {
            Err(io::ErrorKind::Interrupted) => return accepted.map(Ok),
            Err(io::ErrorKind::WouldBlock) => {
                self.skipped.store(0, Ordering::Relaxed);
                return accepted.map(Ok);
            }
            Err(_) => {}
            Ok(_) => self.skipped.store(0, Ordering::Relaxed),
        }
        Ok(accepted)
    }

    /// Takes a connection from the queue, without waiting, and whatever the source knows of its readiness: a connection may
    /// be there of which no event has told yet. Returns `None` if the queue is empty. Errors of single connections are
    /// skipped.
    pub(crate) fn accept_now(&self) -> Result<Option<Accepted>, AcceptError> {
        loop {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            let accepted = uninterrupted(|| SockRef::from(self.socket.get_ref()).accept4(flags));
            match none_if_blocked(accepted).map_err(AcceptError::of_accept) {
                Ok(accepted) => {
                    self.skipped.store(0, Ordering::Relaxed);
                    return Ok(accepted);
                }
                Err(error) => {
                    self.count(&error);
                    if error.concern != Concern::OneConnection || !self.skip() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Counts an error of a single connection. Returns `false` if there were too many in a row.
    fn skip(&self) -> bool {
        self.skipped.fetch_add(1, Ordering::Relaxed) < MAX_SKIPPED
    }

    /// Counts an error in the reactor's stats.
    #[cold]
    fn count(&self, error: &AcceptError) {
        let handle = self.socket.handle();
        handle.count("accept_errors", 1);
        handle.count(error.concern.counter(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_epoll::Reactor;

    /// So many errors of single connections in a row are skipped, and no more.
    #[test]
    fn errors_in_a_row_are_bounded() {
        let reactor = Reactor::new().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let acceptor = Acceptor::new(Socket::lazy(listener, &reactor.handle()));
        assert_eq!((0..2 * MAX_SKIPPED).filter(|_| acceptor.skip()).count(), MAX_SKIPPED as usize);
    }
}
