//! What ends a sleep: an eventfd, or a pipe where eventfd is not available.
//!
//! The eventfd is never read. It is registered edge-triggered, and each write makes a new edge. Its counter would
//! overflow after 2⁶⁴ - 1 writes. A pipe would be full after some thousand writes, and a write to a full pipe makes no
//! edge, so a pipe is emptied after each sleep that it has ended.

use crate::sys;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

/// What ends the reactor's sleep: a [`WakeFd`], or a flag in the models.
pub(crate) trait Signal {
    /// Ends the present sleep, or the next one.
    fn raise(&self);

    /// Prepares for the next sleep, after [`raise`](Self::raise) has ended one.
    fn clear(&self) {}
}

/// A descriptor to be registered, and the means to make an edge on it.
#[derive(Debug)]
pub(crate) struct WakeFd {
    /// Written to end a sleep: the eventfd, or the writing end of the pipe.
    writer: File,
    /// The reading end of a pipe; `None` for an eventfd.
    reader: Option<File>,
}

impl WakeFd {
    /// Makes an eventfd, or a pipe in a sandbox without eventfd.
    pub(crate) fn new() -> io::Result<Self> {
        match sys::eventfd() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Self::pipe(),
            eventfd => Ok(Self { writer: eventfd?.into(), reader: None }),
        }
    }

    /// Makes a pipe.
    fn pipe() -> io::Result<Self> {
        let [reader, writer] = sys::pipe()?;
        Ok(Self { writer: writer.into(), reader: Some(reader.into()) })
    }

    /// Returns the number of the descriptor to register, edge-triggered, for reading.
    pub(crate) fn fd(&self) -> RawFd {
        self.reader.as_ref().unwrap_or(&self.writer).as_raw_fd()
    }
}

impl Signal for WakeFd {
    fn raise(&self) {
        let mut writer = &self.writer;
        loop {
            match writer.write(&1_u64.to_ne_bytes()) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The only other error is a full counter, which epoll reports as readable all the same.
                _ => return,
            }
        }
    }

    fn clear(&self) {
        let Some(mut reader) = self.reader.as_ref() else { return };
        loop {
            match reader.read(&mut [0; 64]) {
                // The pipe is written eight bytes at a time, so a short read means that the pipe is empty.
                Ok(length) if length < 64 => return,
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Epoll, epoll_event};
    use std::time::Duration;

    /// Each `raise` makes an edge, cleared or not, for more writes than a pipe has room for.
    #[test]
    fn edge_after_edge() {
        for wake_fd in [WakeFd::new().unwrap(), WakeFd::pipe().unwrap()] {
            let epoll = Epoll::new().unwrap();
            epoll.add(wake_fd.fd(), (libc::EPOLLIN | libc::EPOLLET) as u32, 7).unwrap();
            let mut events = [epoll_event { events: 0, u64: 0 }];
            for round in 0..20_000 {
                wake_fd.raise();
                assert_eq!(epoll.wait(&mut events, Some(Duration::from_secs(10))).unwrap(), 1, "round {round}");
                if round % 16 == 0 {
                    wake_fd.raise();
                }
                wake_fd.clear();
            }
        }
    }
}
