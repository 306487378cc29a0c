//! Classification of the errors of `accept(2)`.
//!
//! `accept(2)` also reports errors of the *connection* at the head of the queue: the client has reset it, or a firewall
//! forbids it. Such an error says nothing about the listener, and must not end a server. When descriptors or memory run
//! out, every call fails with the same error until something is freed. The kernel reports `EMFILE` even if the queue is
//! empty. Every other error is an error of the listener, and final.
//!
//! The acceptor and the accept loop call this, and decide what to do about an error.

use std::io;

/// What an error of `accept(2)` concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Concern {
    /// The connection at the head of the queue; see "Error handling" in `accept(2)`. The next connection may be fine.
    OneConnection,
    /// Descriptors or memory have run out. Accepting succeeds again after something else has been freed.
    Shortage,
    /// The listener: no further connection will come.
    Listener,
}

impl Concern {
    /// Returns what `error` concerns.
    pub(super) fn of(error: &io::Error) -> Self {
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
                | libc::EPERM,
            ) => Self::OneConnection,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Self::Shortage,
            _ => Self::Listener,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_each_kind() {
        let concern = |number| Concern::of(&io::Error::from_raw_os_error(number));
        assert_eq!(concern(libc::ECONNABORTED), Concern::OneConnection);
        assert_eq!(concern(libc::EMFILE), Concern::Shortage);
        assert_eq!(concern(libc::EBADF), Concern::Listener);
        assert_eq!(Concern::of(&io::ErrorKind::NotConnected.into()), Concern::Listener);
    }
}
