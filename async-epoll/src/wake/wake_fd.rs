//! What ends a sleep: an eventfd, or where there is none a pipe.
//!
//! An eventfd is never read: it is registered edge-triggered, and each write makes a new edge. Its counter would overflow
//! after 2⁶⁴ - 1 sleeps. A pipe would be full after some thousand, and a write to a full pipe makes no edge, so a pipe is
//! emptied after each sleep that it has ended.

use crate::sys;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

/// What a sleeper wakes from. Outside of models it is an eventfd.
pub(crate) trait Signal {
    /// Ends the present sleep, or the next one.
    fn raise(&self);

    /// The sleep is over.
    fn clear(&self) {}
}

/// A descriptor to be registered, and how to make an edge on it.
#[derive(Debug)]
pub(crate) struct WakeFd {
    /// Written to end a sleep.
    writer: File,
    /// The other end, if it is a pipe.
    reader: Option<File>,
}

impl WakeFd {
    /// An eventfd, or a pipe in sandboxes that know no eventfd.
    pub(crate) fn new() -> io::Result<Self> {
        match sys::eventfd() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Self::pipe(),
            eventfd => Ok(Self { writer: eventfd?.into(), reader: None }),
        }
    }

    /// A pipe.
    fn pipe() -> io::Result<Self> {
        let [reader, writer] = sys::pipe()?;
        Ok(Self { writer: writer.into(), reader: Some(reader.into()) })
    }

    /// The number of the descriptor to be registered, edge-triggered, for reading.
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
                // A short read of a pipe that is written eight bytes at a time: it is empty.
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

    /// Each signal makes an edge, heard or not, for more than a pipe has room for.
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
