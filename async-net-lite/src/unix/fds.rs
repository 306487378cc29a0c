//! Descriptors in control messages (`SCM_RIGHTS`).
//!
//! A process can send a descriptor to another process, in a control message beside some bytes. The receiver gets a new
//! descriptor of the same open file. Three faults are common in other code, and excluded here:
//!
//! - *Leaks.* Every descriptor that the kernel has installed gets an owner before any check.
//! - *Floods.* The receiver sets the maximum. If a message has more descriptors, all are closed.
//! - *Lost bytes.* If descriptors are lost, the bytes of the message have still arrived, and the error has their
//!   number.
//!
//! On a stream, descriptors belong to the first byte of their message, and one read never takes bytes of two messages
//! with descriptors.

use crate::sys::{self, CONTROL_HEAD, MAX_FDS, ReceivedMessage};
use socket2::{MsgHdr, SockRef};
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The error of a message with descriptors that could not be received: they were more than asked for, or this process
/// can open no more. All descriptors of the message have been closed.
///
/// This is the payload of the [`io::Error`] of [`UnixStream::recv_with_fds`](super::UnixStream::recv_with_fds). The
/// bytes of the message are in the buffer nevertheless.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::unix::{FdsLost, UnixStream};
/// use std::os::fd::AsFd;
///
/// async_epoll::block_on(async {
///     let (sender, receiver) = UnixStream::pair()?;
///     sender.send_with_fds(b"two", &[sender.as_fd(), receiver.as_fd()]).await?;
///     let mut buffer = [0; 16];
///     let error = receiver.recv_with_fds(&mut buffer, 1).await.unwrap_err();
///     let lost = error.get_ref().and_then(|inner| inner.downcast_ref::<FdsLost>()).unwrap();
///     assert_eq!(&buffer[..lost.length()], b"two");
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdsLost {
    /// The number of bytes of the message in the buffer.
    length: usize,
}

impl FdsLost {
    /// Returns the number of bytes of the message in the buffer.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl fmt::Display for FdsLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "descriptors that came with a message were lost: more than asked for, or this process can have no more \
             (RLIMIT_NOFILE)",
        )
    }
}

impl Error for FdsLost {}

/// A control message with descriptors; empty without descriptors.
#[derive(Debug)]
pub(crate) struct Rights(Vec<u8>);

impl Rights {
    /// Returns the control message of `fds`, or an error if the kernel does not take so many.
    pub(crate) fn new(fds: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let mut bytes = Vec::new();
        if fds.len() > MAX_FDS {
            let message = format!("a message carries at most {MAX_FDS} descriptors, not {}", fds.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if !fds.is_empty() {
            let length = CONTROL_HEAD + size_of_val(fds);
            bytes.reserve_exact(length);
            bytes.extend(length.to_ne_bytes());
            bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
            bytes.extend(libc::SCM_RIGHTS.to_ne_bytes());
            bytes.extend(fds.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes()));
        }
        Ok(Self(bytes))
    }

    /// Sends the bytes, and the descriptors with the first byte, by `sendmsg(MSG_NOSIGNAL)`.
    pub(crate) fn send(&self, socket: &impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let message = MsgHdr::new().with_buffers(slices).with_control(&self.0);
        SockRef::from(socket).sendmsg(&message, libc::MSG_NOSIGNAL)
    }
}

/// Returns whether descriptors were lost, or more than `max_fds` were received.
pub(crate) fn is_too_much(received: &ReceivedMessage, max_fds: usize) -> bool {
    received.control_truncated || received.fds.len() > max_fds
}

/// Receives a message with at most `max_fds` descriptors. With more, closes all of them and fails.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], max_fds: usize) -> io::Result<ReceivedMessage> {
    let received = sys::receive_message(socket, &mut [IoSliceMut::new(buffer)], max_fds)?;
    if is_too_much(&received, max_fds) {
        // Dropping `received` closes all the descriptors.
        return Err(io::Error::new(io::ErrorKind::InvalidData, FdsLost { length: received.length }));
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_control_message() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Rights::new(&[]).unwrap().0.is_empty());
        let bytes = Rights::new(&[one.as_fd(), other.as_fd()]).unwrap().0;
        assert_eq!(bytes.len(), CONTROL_HEAD + 2 * size_of::<i32>());
        assert_eq!(bytes[..size_of::<usize>()], bytes.len().to_ne_bytes());
        assert_eq!(bytes[CONTROL_HEAD..CONTROL_HEAD + 4], one.as_raw_fd().to_ne_bytes());
        assert!(Rights::new(&vec![one.as_fd(); MAX_FDS]).is_ok());
        assert_eq!(Rights::new(&vec![one.as_fd(); MAX_FDS + 1]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
