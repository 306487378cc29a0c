//! What ends a sleep: an eventfd, or a pipe where eventfd is not available.
//!
//! The descriptor is registered edge-triggered, and each successful write makes a new edge, whether the descriptor was
//! read or not. So an eventfd is not read: its counter takes 2⁶⁴ - 2 writes. A pipe takes some thousand, and is emptied
//! after each sleep, whatever has ended the sleep: a thread may be preempted between its notification and its write, so
//! the write may come in a later sleep.
//!
//! The hard idea is a write that fails. A full eventfd or pipe refuses the write with `WouldBlock`, and a refused write
//! makes no edge: epoll would report the descriptor as readable to a new registration, but the present sleep would not
//! end. What each result of the write means:
//!
//! ```text
//!   8 bytes       an edge                      done
//!   EINTR         nothing was written          write again
//!   EAGAIN        full: nothing was written    empty it, write again
//!   ENOMEM        no page for the pipe         empty it, which frees pages; yield, write again
//!   other errors  the descriptor is not ours   give up: other code has closed the descriptor
//! ```
//!
//! Emptying cannot lose the edge of another thread: each thread writes after it has emptied, and one edge is enough for
//! all.

use crate::sys::{self, ForkMark};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::thread;

/// What ends the reactor's sleep: a [`WakeFd`], or a flag in the models.
pub(crate) trait Signal {
    /// Ends the present sleep, or the next one.
    fn raise(&self);

    /// Prepares for the next sleep, at the end of each.
    fn clear(&self) {}
}

/// A descriptor to be registered, and the means to make an edge on it.
#[derive(Debug)]
pub(crate) struct WakeFd {
    /// Written to end a sleep: the eventfd, or the writing end of the pipe.
    writer: File,
    /// The reading end of a pipe; `None` for an eventfd.
    reader: Option<File>,
    /// The process whose sleep a write ends. A forked child shares the descriptor, and must not wake its parent.
    process: ForkMark,
}

impl WakeFd {
    /// Makes an eventfd, or a pipe in a sandbox without eventfd.
    pub(crate) fn new() -> io::Result<Self> {
        match sys::eventfd() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Self::pipe(),
            eventfd => Ok(Self { writer: eventfd?.into(), reader: None, process: ForkMark::new() }),
        }
    }

    /// Makes a pipe.
    pub(crate) fn pipe() -> io::Result<Self> {
        let [reader, writer] = sys::pipe()?;
        Ok(Self { writer: writer.into(), reader: Some(reader.into()), process: ForkMark::new() })
    }

    /// Returns the number of the descriptor to register, edge-triggered, for reading.
    pub(crate) fn fd(&self) -> RawFd {
        self.reader.as_ref().unwrap_or(&self.writer).as_raw_fd()
    }
}

impl Signal for WakeFd {
    fn raise(&self) {
        if self.process.is_child() {
            return;
        }
        raise_with(|| (&self.writer).write(&1_u64.to_ne_bytes()), || self.empty());
    }

    #[inline]
    fn clear(&self) {
        if self.reader.is_some() {
            self.empty();
        }
    }
}

impl WakeFd {
    /// Reads until the eventfd or the pipe is empty. Out of line: an eventfd is emptied only if it is full.
    #[cold]
    #[inline(never)]
    fn empty(&self) {
        let mut reader = self.reader.as_ref().unwrap_or(&self.writer);
        loop {
            match reader.read(&mut [0; 64]) {
                // An eventfd gives eight bytes, once. The pipe is written eight bytes at a time, so a short read means
                // that the pipe is empty.
                Ok(length) if length < 64 => return,
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
impl WakeFd {
    /// Returns whether nothing is left to read.
    pub(crate) fn is_empty(&self) -> bool {
        let mut reader = self.reader.as_ref().unwrap_or(&self.writer);
        reader.read(&mut [0; 8]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Calls `write` until it has made an edge. Calls `empty` when there is no room.
#[inline]
fn raise_with(mut write: impl FnMut() -> io::Result<usize>, mut empty: impl FnMut()) {
    while let Err(error) = write() {
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => empty(),
            io::ErrorKind::OutOfMemory => {
                empty();
                thread::yield_now();
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Epoll, epoll_event};
    use std::sync::Barrier;
    use std::time::Duration;

    /// Registers a descriptor as the reactor does.
    fn watch(fd: RawFd) -> Epoll {
        let epoll = Epoll::new().unwrap();
        epoll.add(fd, (libc::EPOLLIN | libc::EPOLLET) as u32, 7).unwrap();
        epoll
    }

    /// Returns whether there is an edge within `limit`, and takes it.
    fn has_edge(epoll: &Epoll, limit: Duration) -> bool {
        epoll.wait(&mut [epoll_event { events: 0, u64: 0 }], Some(limit)).unwrap() == 1
    }

    const LOST: Duration = Duration::from_secs(10);

    impl WakeFd {
        /// Writes until a write is refused.
        fn fill(&self) {
            self.empty();
            if self.reader.is_none() {
                // The most that the counter takes.
                assert_eq!((&self.writer).write(&(u64::MAX - 1).to_ne_bytes()).unwrap(), 8);
            }
            while (&self.writer).write(&1_u64.to_ne_bytes()).is_ok() {}
        }
    }

    /// Each `raise` makes an edge, cleared or not, for more writes than a pipe has room for.
    #[test]
    fn edge_after_edge() {
        for wake_fd in [WakeFd::new().unwrap(), WakeFd::pipe().unwrap()] {
            let epoll = watch(wake_fd.fd());
            for round in 0..20_000 {
                wake_fd.raise();
                assert!(has_edge(&epoll, LOST), "round {round}");
                if round % 16 == 0 {
                    wake_fd.raise();
                }
                wake_fd.clear();
            }
        }
    }

    /// Found 12b: a raise makes an edge on a full eventfd and on a full pipe, also if neither was ever cleared.
    #[test]
    fn an_edge_on_a_full_descriptor() {
        for wake_fd in [WakeFd::new().unwrap(), WakeFd::pipe().unwrap()] {
            let epoll = watch(wake_fd.fd());
            for round in 0..10 {
                wake_fd.fill();
                has_edge(&epoll, Duration::ZERO);
                wake_fd.raise();
                assert!(has_edge(&epoll, LOST), "round {round}: {wake_fd:?}");
                assert!(!has_edge(&epoll, Duration::ZERO), "one edge");
            }
            for round in 0..20_000 {
                wake_fd.raise();
                assert!(has_edge(&epoll, LOST), "round {round} without a clear: {wake_fd:?}");
            }
        }
    }

    /// Found 12b: two threads raise on a full descriptor at the same moment: one empties what the other has written.
    #[test]
    fn two_raises_on_a_full_descriptor() {
        for wake_fd in [WakeFd::new().unwrap(), WakeFd::pipe().unwrap()] {
            let epoll = watch(wake_fd.fd());
            let (begin, end) = (Barrier::new(3), Barrier::new(3));
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for _ in 0..300 {
                            begin.wait();
                            wake_fd.raise();
                            end.wait();
                        }
                    });
                }
                for round in 0..300 {
                    wake_fd.fill();
                    has_edge(&epoll, Duration::ZERO);
                    begin.wait();
                    end.wait();
                    // After both: an edge that the first thread made may have been emptied away by the second.
                    assert!(has_edge(&epoll, LOST), "round {round}: {wake_fd:?}");
                }
            });
        }
    }

    /// Found 12b: every result of the write, in every order of two: the write is repeated until it makes an edge, or until
    /// an error says that it never will.
    #[test]
    fn every_failure_of_the_write() {
        // The error, how often the descriptor is emptied for it, and whether the write is repeated.
        let failures = [
            (libc::EINTR, 0, true),
            (libc::EAGAIN, 1, true),
            (libc::ENOMEM, 1, true),
            (libc::EBADF, 0, false),
            (libc::EPIPE, 0, false),
            (libc::EINVAL, 0, false),
        ];
        for first in failures {
            for second in failures {
                let (mut results, mut written, mut emptied) = (vec![second.0, first.0], false, 0);
                raise_with(
                    || match results.pop() {
                        Some(error) => Err(io::Error::from_raw_os_error(error)),
                        None => {
                            written = true;
                            Ok(8)
                        }
                    },
                    || emptied += 1,
                );
                assert_eq!(written, first.2 && second.2, "{first:?} {second:?}");
                assert_eq!(emptied, first.1 + if first.2 { second.1 } else { 0 }, "{first:?} {second:?}");
            }
        }
    }

    /// One clear takes what any number of raises has written, also more than one read takes.
    #[test]
    fn a_clear_takes_all() {
        for raises in [1, 8, 9, 20] {
            let wake_fd = WakeFd::pipe().unwrap();
            (0..raises).for_each(|_| wake_fd.raise());
            wake_fd.clear();
            assert!(wake_fd.is_empty(), "{raises} raises");
        }
    }
}
