//! What a [`Source`](crate::Source) asks the kernel to report.
//!
//! An [`Interest`] is a set of up to four kinds of events, and a [`Want`] is what a task waits for: one of the four.
//! Hang-ups are not among them. The kernel always reports hang-ups and errors, so an interest in errors adds nothing to
//! the epoll event mask; it is a kind of its own for the waits and attempts that concern errors. [`Interest::events`] is
//! the only code that translates an interest into an event mask.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of events to wait for: readable, writable, priority, error.
///
/// The names in parentheses below are from [`epoll_ctl(2)`](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html).
///
/// # Examples
///
/// ```
/// use async_epoll::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable() && !both.is_priority());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u8);

/// What a task waits for: one kind of event, never a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// To read.
    Read = 0,
    /// To write.
    Write,
    /// For the exceptional condition.
    Priority,
    /// For an error, pending or in the socket's error queue.
    Error,
}

impl Interest {
    /// Data can be read, a connection can be accepted, or the peer has half-closed (`EPOLLIN | EPOLLRDHUP`).
    pub const READABLE: Self = Self(1);
    /// Data can be written (`EPOLLOUT`).
    pub const WRITABLE: Self = Self(2);
    /// An exceptional condition: urgent TCP data, a changed GPIO line, … (`EPOLLPRI`).
    pub const PRIORITY: Self = Self(4);

    /// An error: a pending error of the socket, a message in its error queue (`MSG_ERRQUEUE`: timestamps of sent
    /// packets, ICMP messages after `IP_RECVERR`), or the closed reading end of a pipe (`EPOLLERR`).
    ///
    /// The kernel reports errors of every registered descriptor, so no source needs to name this interest. It serves
    /// [`Source::try_io`](crate::Source::try_io); and a source of this interest alone gets errors and hang-ups only.
    pub const ERROR: Self = Self(8);

    /// All four: the interest of a source by default.
    pub(crate) const ALL: Self = Self(15);

    /// Returns whether [`READABLE`](Self::READABLE) is in the set.
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE.0 != 0
    }

    /// Returns whether [`WRITABLE`](Self::WRITABLE) is in the set.
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE.0 != 0
    }

    /// Returns whether [`PRIORITY`](Self::PRIORITY) is in the set.
    pub const fn is_priority(self) -> bool {
        self.0 & Self::PRIORITY.0 != 0
    }

    /// Returns whether [`ERROR`](Self::ERROR) is in the set.
    pub const fn is_error(self) -> bool {
        self.0 & Self::ERROR.0 != 0
    }

    /// Returns whether any kind of events is in both sets.
    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns whether this set has a kind of events that `other` lacks.
    pub(crate) const fn exceeds(self, other: Self) -> bool {
        self.0 & !other.0 != 0
    }

    /// Returns whether the kernel reports `want` to a source of this interest, so that a wait for it can end.
    pub(crate) const fn includes(self, want: Want) -> bool {
        self.0 & 1 << want as u8 != 0
    }

    /// Returns the set as an epoll event mask, edge-triggered.
    ///
    /// Reading includes `EPOLLRDHUP`. Without this bit, an end of file that arrives together with data makes no event
    /// of its own, and a reader that takes a short read for "drained" would wait without end.
    pub(crate) const fn events(self) -> u32 {
        let mut events = libc::EPOLLET;
        if self.is_readable() {
            events |= libc::EPOLLIN | libc::EPOLLRDHUP;
        }
        if self.is_writable() {
            events |= libc::EPOLLOUT;
        }
        if self.is_priority() {
            events |= libc::EPOLLPRI;
        }
        events as u32
    }
}

impl BitOr for Interest {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.is_readable(), "READABLE"),
            (self.is_writable(), "WRITABLE"),
            (self.is_priority(), "PRIORITY"),
            (self.is_error(), "ERROR"),
        ];
        let mut rest = false;
        for (_, name) in names.iter().filter(|(set, _)| *set) {
            f.write_str(if rest { " | " } else { "" })?;
            f.write_str(name)?;
            rest = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_names_the_set() {
        assert_eq!(format!("{:?}", Interest::READABLE | Interest::PRIORITY), "READABLE | PRIORITY");
        assert_eq!(format!("{:?}", Interest::ALL), "READABLE | WRITABLE | PRIORITY | ERROR");
    }

    #[test]
    fn sets_of_kinds() {
        let both = Interest::READABLE | Interest::WRITABLE;
        let mut built = Interest::READABLE;
        built |= Interest::WRITABLE;
        assert_eq!(built, both);
        assert!(both.intersects(Interest::WRITABLE) && both.intersects(Interest::ALL));
        assert!(!both.intersects(Interest::PRIORITY | Interest::ERROR));
    }

    /// The kernel reports errors in any case, so an interest in errors asks for nothing.
    #[test]
    fn errors_need_no_bit() {
        assert_eq!(Interest::ERROR.events(), libc::EPOLLET as u32);
    }

    #[test]
    fn reading_includes_the_peers_half_close() {
        let events = Interest::READABLE.events();
        assert_ne!(events & libc::EPOLLRDHUP as u32, 0);
        assert_eq!(events & libc::EPOLLOUT as u32, 0);
    }
}
