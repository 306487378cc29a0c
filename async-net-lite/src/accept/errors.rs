//! Classification of the errors on the way of an accept.
//!
//! Two calls can fail: `accept4(2)`, and `epoll_ctl(2)`, which registers the listener when it first has to wait. The
//! same number may mean something different in each: `EPERM` of `accept4` says that a firewall forbids one connection,
//! and `EPERM` of `epoll_ctl` that the descriptor cannot be waited for.
//!
//! `accept4(2)` also reports errors of the *connection* at the head of the queue: the client has reset it, or a firewall
//! forbids it. Such an error says nothing about the listener, and must not end a server. When descriptors, memory or
//! places in epoll run out, every call fails with the same error until something is freed. The kernel reports `EMFILE`
//! even if the queue is empty. Every other error is an error of the listener, and final. The table of all numbers is at
//! the foot of this file.
//!
//! The acceptor and the accept loop call this, and decide what to do about an error.

use std::error::Error;
use std::io;

/// What an error on the way of an accept concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Concern {
    /// The connection at the head of the queue; see "Error handling" in `accept(2)`. The next connection may be fine.
    OneConnection,
    /// Something has run out. Accepting succeeds again after something else has been freed.
    Shortage(Resource),
    /// The listener: no further connection will come.
    Listener,
}

/// What has run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resource {
    /// Descriptors, of the process or of the system.
    Descriptors,
    /// Memory of the kernel.
    Memory,
    /// Registrations with epoll: `/proc/sys/fs/epoll/max_user_watches`.
    Watches,
}

impl Concern {
    /// Returns what an error of `accept4(2)` concerns.
    pub(super) fn of_accept(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(
                libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
                // A security module forbids the connection.
                | libc::EACCES
                // "Various Linux kernels can return other errors", says `accept(2)`, of the new connection.
                | libc::ECONNRESET
                | libc::ETIMEDOUT
                | libc::ESOCKTNOSUPPORT
                | libc::EPROTONOSUPPORT,
            ) => Self::OneConnection,
            number => Self::of_shortage(number),
        }
    }

    /// Returns what an error of waiting concerns: an error of `epoll_ctl(2)`, or of a reactor that has been dropped.
    pub(super) fn of_wait(error: &io::Error) -> Self {
        Self::of_shortage(number(error))
    }

    /// Returns what an error concerns that is not about one connection.
    fn of_shortage(number: Option<i32>) -> Self {
        match number {
            Some(libc::EMFILE | libc::ENFILE) => Self::Shortage(Resource::Descriptors),
            Some(libc::ENOBUFS | libc::ENOMEM | libc::ENOSR) => Self::Shortage(Resource::Memory),
            Some(libc::ENOSPC) => Self::Shortage(Resource::Watches),
            _ => Self::Listener,
        }
    }

    /// Returns the name of the counter of such errors.
    pub(super) fn counter(self) -> &'static str {
        match self {
            Self::OneConnection => "accept_errors_connection",
            Self::Shortage(Resource::Descriptors) => "accept_errors_descriptors",
            Self::Shortage(Resource::Memory) => "accept_errors_memory",
            Self::Shortage(Resource::Watches) => "accept_errors_watches",
            Self::Listener => "accept_errors_listener",
        }
    }
}

/// Returns the kernel's number of an error. An error with an explanation has the kernel's error as its source.
pub(super) fn number(error: &io::Error) -> Option<i32> {
    let source = || error.source()?.downcast_ref::<io::Error>()?.raw_os_error();
    error.raw_os_error().or_else(source)
}

/// An error on the way of an accept, classified by the call that has failed.
#[derive(Debug)]
pub(crate) struct AcceptError {
    /// The error.
    pub(crate) error: io::Error,
    /// What it concerns.
    pub(super) concern: Concern,
}

impl AcceptError {
    /// Classifies an error of `accept4(2)`.
    pub(super) fn of_accept(error: io::Error) -> Self {
        Self { concern: Concern::of_accept(&error), error }
    }

    /// Classifies an error of waiting for a connection.
    pub(super) fn of_wait(error: io::Error) -> Self {
        Self { concern: Concern::of_wait(&error), error }
    }

    /// Returns whether accepting may succeed again: something has run out, or single connections fail in a row.
    pub(crate) fn is_temporary(&self) -> bool {
        self.concern != Concern::Listener
    }

    /// Classifies an error of turning an accepted socket into a stream: the listener yields sockets of another kind.
    pub(crate) fn of_conversion(error: io::Error) -> Self {
        Self { concern: Concern::Listener, error }
    }
}

impl From<AcceptError> for io::Error {
    fn from(error: AcceptError) -> Self {
        error.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Concern::{Listener, OneConnection, Shortage};
    use Resource::{Descriptors, Memory, Watches};

    /// Found 12a: every number of each call on the way of an accept. `EAGAIN` and `EINTR` are not here: the source
    /// waits after the one, and tries again at once after the other.
    #[test]
    fn errors_of_each_call() {
        for (number, of_accept, of_wait) in [
            // Of the connection at the head of the queue: skip it.
            (libc::ECONNABORTED, OneConnection, Listener),
            (libc::EPROTO, OneConnection, Listener),
            (libc::ENETDOWN, OneConnection, Listener),
            (libc::ENOPROTOOPT, OneConnection, Listener),
            (libc::EHOSTDOWN, OneConnection, Listener),
            (libc::ENONET, OneConnection, Listener),
            (libc::EHOSTUNREACH, OneConnection, Listener),
            (libc::EOPNOTSUPP, OneConnection, Listener),
            (libc::ENETUNREACH, OneConnection, Listener),
            (libc::EPERM, OneConnection, Listener),
            (libc::EACCES, OneConnection, Listener),
            (libc::ECONNRESET, OneConnection, Listener),
            (libc::ETIMEDOUT, OneConnection, Listener),
            (libc::ESOCKTNOSUPPORT, OneConnection, Listener),
            (libc::EPROTONOSUPPORT, OneConnection, Listener),
            // Something has run out: pause.
            (libc::EMFILE, Shortage(Descriptors), Shortage(Descriptors)),
            (libc::ENFILE, Shortage(Descriptors), Shortage(Descriptors)),
            (libc::ENOBUFS, Shortage(Memory), Shortage(Memory)),
            (libc::ENOMEM, Shortage(Memory), Shortage(Memory)),
            (libc::ENOSR, Shortage(Memory), Shortage(Memory)),
            (libc::ENOSPC, Shortage(Watches), Shortage(Watches)),
            // Final: not a descriptor, not a socket, not listening, no such call, a loop of epoll instances, …
            (libc::EBADF, Listener, Listener),
            (libc::ENOTSOCK, Listener, Listener),
            (libc::EINVAL, Listener, Listener),
            (libc::EFAULT, Listener, Listener),
            (libc::ENOSYS, Listener, Listener),
            (libc::EEXIST, Listener, Listener),
            (libc::ENOENT, Listener, Listener),
            (libc::ELOOP, Listener, Listener),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!((Concern::of_accept(&error), Concern::of_wait(&error)), (of_accept, of_wait), "{error}");
        }
        // Errors without a number: the reactor has been dropped.
        let gone = io::ErrorKind::NotConnected.into();
        assert_eq!((Concern::of_accept(&gone), Concern::of_wait(&gone)), (Listener, Listener));
    }
}
