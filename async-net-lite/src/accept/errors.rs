//! Which errors of `accept(2)` concern what.
//!
//! `accept(2)` also reports errors of the *connection* that it was about to return: the client has reset it, a firewall
//! forbids it. Such an error says nothing about the listener, and must not end a server. When descriptors or memory run
//! out, the same error comes again at once, for as long as nothing is freed. The kernel even says `EMFILE` when the
//! queue is empty. Every other error is the listener's own, and final.
//!
//! The acceptor and the accept loop ask. What to do about an error is decided there.

use std::io;

/// What an error of `accept(2)` concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Concern {
    /// The connection that `accept(2)` was about to return: `accept(2)`, "Error handling". The next one may be fine.
    OneConnection,
    /// Descriptors or memory have run out. Accepting succeeds again once something else has been freed.
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
