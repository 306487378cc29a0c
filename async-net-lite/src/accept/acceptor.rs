//! A listening socket, and taking one connection from its queue.
//!
//! The `accept` methods of the listeners and the accept loop call this. An error of a single connection is skipped, and
//! the next connection is taken. No queue is long enough for ten thousand such errors in a row, so the next error is
//! returned. What to do about a shortage is not decided here.

use super::errors::Concern;
use crate::socket::socket::Socket;
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

    /// Takes a connection from the queue, and skips errors of single connections. The new socket is non-blocking and
    /// close-on-exec.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(socket2::Socket, SockAddr)>> {
        loop {
            let accepted = ready!(self.socket.poll_read_weighted(cx, ACCEPT_WEIGHT, |listener| {
                let accepted = SockRef::from(listener).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
                if accepted.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true) {
                    self.skipped.store(0, Ordering::Relaxed);
                }
                accepted
            }));
            match accepted {
                // Each error spends some of the task's budget, so even a thousand errors do not block the reactor.
                Err(error) if Concern::of(&error) == Concern::OneConnection && self.skip() => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Counts an error of a single connection. Returns `false` if there were too many in a row.
    fn skip(&self) -> bool {
        self.skipped.fetch_add(1, Ordering::Relaxed) < MAX_SKIPPED
    }
}
