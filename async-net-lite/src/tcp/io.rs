//! A TCP socket of std, and how far its handshake is.
//!
//! Usually a stream is connected when it exists. With TCP fast open
//! ([`ConnectOptions::fastopen`](crate::ConnectOptions::fastopen)) it may not be: if the kernel has a cookie of the server,
//! it *defers* the handshake, so that the first write goes with it:
//!
//! ```text
//!             no cookie: SYN, then wait until the server has answered
//!   connect ──┬──────────────────────────────────────────────────────────► done
//!             │                                                              ▲
//!             │ a cookie: no packet                                          │ the server has answered
//!             └──────► deferred ── the first write, or begin ──► begun ──────┘
//! ```
//!
//! In the two states on the way, four things differ from a connection:
//!
//! 1. The first write may fail with `EINPROGRESS` although nothing is wrong: the cookie was valid when connecting, and is
//!    not any more, so the handshake has begun without the bytes. That is `WouldBlock`: see [`until_connected`].
//! 2. A read waits for ever, since the server knows of no connection. So a read that would block begins the handshake.
//! 3. `shutdown(2)` does not close one direction but ends the connection, and the bytes of the first write are lost. So
//!    closing begins the handshake, and waits until the server has answered.
//! 4. There is no address of a peer. So a socket that may be about to connect to itself begins the handshake at once.
//!
//! The state is beside the descriptor, in bytes that would be padding: a stream is no larger for it. A stream without
//! fast open is done from the beginning, and costs one load where a read would block.

use crate::socket::own_calls::SocketIo;
use crate::socket::stream_io::{send, until_connected};
use crate::sys;
use std::fmt;
use std::io::{self, IoSliceMut, Read};
use std::net;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// The stream is connected, or was. The last state.
const DONE: u8 = 0;
/// The kernel has sent the first packet, or may have: the stream may be connecting.
const BEGUN: u8 = 1;
/// The kernel may have put the handshake off until the first write.
const DEFERRED: u8 = 2;

/// A TCP socket of std, and how far its handshake is.
pub(crate) struct TcpIo {
    /// The socket.
    stream: net::TcpStream,
    /// [`DONE`], [`BEGUN`] or [`DEFERRED`]. Only goes down.
    handshake: AtomicU8,
}

impl TcpIo {
    /// Notes that the kernel may have put the handshake off.
    pub(super) fn set_deferred(&self) {
        self.handshake.store(DEFERRED, Ordering::Relaxed);
    }

    /// Returns the socket of std.
    pub(super) fn into_std(self) -> net::TcpStream {
        self.stream
    }

    /// Returns whether the kernel may have put the handshake off.
    #[inline]
    pub(super) fn is_deferred(&self) -> bool {
        self.handshake.load(Ordering::Relaxed) == DEFERRED
    }

    /// Returns whether the handshake is known to be done.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.handshake.load(Ordering::Relaxed) == DONE
    }

    /// Returns `WouldBlock` as long as the server has not answered. After a failure, the handshake is done, too: the next
    /// read returns the error.
    #[cold]
    pub(super) fn finish(&self) -> io::Result<()> {
        self.begin()?;
        if !self.is_done() && sys::is_connecting(self.as_fd())? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.handshake.store(DONE, Ordering::Relaxed);
        Ok(())
    }

    /// Begins a handshake that was put off, by a write of no bytes.
    ///
    /// If the kernel refuses to begin (fast open was switched off since connecting), the handshake stays deferred, so each
    /// later call gets the error, too. Otherwise a read would wait for a server that does not know of it.
    #[cold]
    fn begin_deferred(&self) -> io::Result<()> {
        // If there was a first write already, or another thread begins as well, this does nothing.
        let result = match send(&self.stream, &[]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result.map(drop),
        };
        if result.is_ok() || !sys::is_connecting(self.as_fd()).unwrap_or(false) {
            // Another thread may know already that the handshake is done.
            self.handshake.fetch_min(BEGUN, Ordering::Relaxed);
        }
        result
    }
}

impl SocketIo for TcpIo {
    type Std = net::TcpStream;

    #[inline]
    fn std(&self) -> &net::TcpStream {
        &self.stream
    }

    #[inline]
    fn begin(&self) -> io::Result<()> {
        if self.is_deferred() { self.begin_deferred() } else { Ok(()) }
    }

    #[cold]
    fn read_error(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::WouldBlock { self.begin().err().unwrap_or(error) } else { error }
    }

    fn write_error(error: io::Error) -> io::Error {
        until_connected(error)
    }
}

impl Deref for TcpIo {
    type Target = net::TcpStream;

    fn deref(&self) -> &net::TcpStream {
        &self.stream
    }
}

impl AsFd for TcpIo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl From<net::TcpStream> for TcpIo {
    fn from(stream: net::TcpStream) -> Self {
        Self { stream, handshake: AtomicU8::new(DONE) }
    }
}

impl From<socket2::Socket> for TcpIo {
    fn from(socket: socket2::Socket) -> Self {
        net::TcpStream::from(socket).into()
    }
}

impl From<OwnedFd> for TcpIo {
    fn from(fd: OwnedFd) -> Self {
        net::TcpStream::from(fd).into()
    }
}

impl Read for &TcpIo {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buffer).map_err(|error| self.read_error(error))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&self.stream).read_vectored(buffers).map_err(|error| self.read_error(error))
    }
}

impl fmt::Debug for TcpIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::socket::Socket;

    /// The state of the handshake takes no memory.
    #[test]
    fn no_larger_than_without() {
        assert_eq!(size_of::<Socket<TcpIo>>(), size_of::<Socket<net::TcpStream>>());
    }
}
