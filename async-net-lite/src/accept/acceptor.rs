//! A listening socket, and taking one connection from its queue.
//!
//! An error of a single connection is passed over and the next connection is taken. Errors of single connections that
//! never end are not what they look like: after ten thousand in a row the error is returned.

use super::errors::Concern;
use crate::socket::socket::Socket;
use async_epoll::OPERATIONS_PER_POLL;
use socket2::{SockAddr, SockRef};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

/// Operations that an accept counts as, so that a task accepts at most 16 connections in one poll: each connection means
/// more work than a read, and the tasks of the connections that are there already need their polls.
const ACCEPT_WEIGHT: u32 = OPERATIONS_PER_POLL / 16;
/// Errors of single connections in a row, without a connection or an empty queue in between. A queue is never that
/// long; something forbids `accept(2)` altogether, or the socket is none that accepts.
const MAX_STRIKES: u32 = 10_000;

/// A listening socket, whatever its addresses are.
#[derive(Debug)]
pub(crate) struct Acceptor<L: AsFd> {
    pub(crate) socket: Socket<L>,
    /// Errors in a row that were taken for errors of single connections. Counted and reset by each accept.
    strikes: AtomicU32,
}

impl<L: AsFd> Acceptor<L> {
    /// Wraps a socket that listens.
    pub(crate) fn new(socket: Socket<L>) -> Self {
        Self { socket, strikes: AtomicU32::new(0) }
    }

    /// Takes a connection from the queue; it is non-blocking and close-on-exec. Errors of single connections are passed
    /// over.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(socket2::Socket, SockAddr)>> {
        loop {
            let accepted = ready!(self.socket.poll_read_weighted(cx, ACCEPT_WEIGHT, |listener| {
                let accepted = SockRef::from(listener).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
                if accepted.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true) {
                    self.strikes.store(0, Ordering::Relaxed);
                }
                accepted
            }));
            match accepted {
                // Each error spends some of the task's budget, so even a thousand of them do not hold up the reactor.
                Err(error) if Concern::of(&error) == Concern::OneConnection && self.strike() => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Counts an error of a single connection. Returns `false` if there were too many in a row to be believed.
    fn strike(&self) -> bool {
        self.strikes.fetch_add(1, Ordering::Relaxed) < MAX_STRIKES
    }
}
