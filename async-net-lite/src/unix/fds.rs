//! Descriptors as messages.
//!
//! A process can hand a descriptor of its own to another, in a control message beside some bytes; what arrives is a new
//! descriptor of the same open file. Three things go wrong with it elsewhere, and not here:
//!
//! - *Leaks.* Whatever the kernel has put into our table has an owner before anything else is looked at.
//! - *Floods.* The receiver says how many it takes. With more, none is kept.
//! - *Bytes that are lost with descriptors.* They have arrived, and an error says how many.
//!
//! On a stream, descriptors belong to the first byte of the message that they were sent with, and one read never takes the
//! bytes of two such messages.

use crate::sys::{self, CONTROL_HEAD, MAX_FDS, ReceivedMessage};
use socket2::{MsgHdr, SockRef};
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A message came with descriptors that could not be received: more than were asked for, or this process has no room for
/// more. Those that had arrived have been closed.
///
/// It is inside the [`io::Error`] of [`UnixStream::recv_with_fds`](super::UnixStream::recv_with_fds). The bytes of the
/// message are in the buffer all the same.
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
    /// Bytes of the message.
    length: usize,
}

impl FdsLost {
    /// How many bytes of the message are in the buffer.
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

/// The control message that carries descriptors; empty for none.
#[derive(Debug)]
pub(crate) struct Rights(Vec<u8>);

impl Rights {
    /// Of these. An error for more than the kernel takes.
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

    /// `sendmsg(MSG_NOSIGNAL)`: the bytes, and with the first of them the descriptors.
    pub(crate) fn send(&self, socket: &impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let message = MsgHdr::new().with_buffers(slices).with_control(&self.0);
        SockRef::from(socket).sendmsg(&message, libc::MSG_NOSIGNAL)
    }
}

/// Whether something was lost, or is more than was asked for.
pub(crate) fn is_too_much(received: &ReceivedMessage, max_fds: usize) -> bool {
    received.control_truncated || received.fds.len() > max_fds
}

/// Receives a message with at most so many descriptors.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], max_fds: usize) -> io::Result<ReceivedMessage> {
    let received = sys::receive_message(socket, &mut [IoSliceMut::new(buffer)], max_fds)?;
    if is_too_much(&received, max_fds) {
        // With `received`, all the descriptors are closed.
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
