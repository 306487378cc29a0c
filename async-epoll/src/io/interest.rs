//! What a [`Source`](crate::Source) asks the kernel to report.
//!
//! An [`Interest`] is a set of three independent wishes. Errors and hang-ups need no wish: the kernel always reports
//! them. The only place that knows how a wish is spelled for epoll is [`Interest::events`].

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of events to wait for: readable, writable, priority.
///
/// The names in brackets below are those of [`epoll_ctl(2)`](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html).
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

/// What a task waits for: one of the three, never a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// To read.
    Read,
    /// To write.
    Write,
    /// For the exceptional condition.
    Priority,
}

impl Interest {
    /// Data can be read, a connection accepted, or the other side has closed (`EPOLLIN | EPOLLRDHUP`).
    pub const READABLE: Self = Self(1);
    /// Data can be written (`EPOLLOUT`).
    pub const WRITABLE: Self = Self(2);
    /// An exceptional condition: urgent TCP data, a changed GPIO line, … (`EPOLLPRI`).
    pub const PRIORITY: Self = Self(4);

    /// All three: what a source asks for unless told otherwise.
    pub(crate) const ALL: Self = Self(7);

    /// Whether [`READABLE`](Self::READABLE) is in the set.
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE.0 != 0
    }

    /// Whether [`WRITABLE`](Self::WRITABLE) is in the set.
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE.0 != 0
    }

    /// Whether [`PRIORITY`](Self::PRIORITY) is in the set.
    pub const fn is_priority(self) -> bool {
        self.0 & Self::PRIORITY.0 != 0
    }

    /// Whether it makes sense to wait for `want`.
    pub(crate) const fn includes(self, want: Want) -> bool {
        match want {
            Want::Read => self.is_readable(),
            Want::Write => self.is_writable(),
            Want::Priority => self.is_priority(),
        }
    }

    /// The set in the kernel's spelling, edge-triggered.
    ///
    /// `EPOLLRDHUP` goes with reading: without it, an end of file that arrives together with data makes no event of
    /// its own, and a reader that trusts a short read would wait for ever.
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
        let names =
            [(self.is_readable(), "READABLE"), (self.is_writable(), "WRITABLE"), (self.is_priority(), "PRIORITY")];
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
    }

    #[test]
    fn reading_includes_the_peers_half_close() {
        let events = Interest::READABLE.events();
        assert_ne!(events & libc::EPOLLRDHUP as u32, 0);
        assert_eq!(events & libc::EPOLLOUT as u32, 0);
    }
}
