//! Ctrl-C as a future.
//!
//! Few operations are safe in a signal handler: an allocation, a lock and a waker are not. The usual solution is the
//! self-pipe trick: the handler writes a byte into a socket, and the loop waits for the other end as for any
//! descriptor. The crate `signal-hook` has
//! the handler, async-epoll waits.

use async_epoll::{Handle, Source};
use futures::AsyncReadExt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io;
use std::os::unix::net::UnixStream;

/// The signals that ask a process to end: SIGINT (Ctrl-C) and SIGTERM (`kill`).
///
/// Once an `Interrupt` has been made, and even after it is dropped, the two signals no longer end the process by
/// themselves.
#[derive(Debug)]
pub struct Interrupt {
    /// The reading end of the socket pair. The handlers own the writing end.
    received: Source<UnixStream>,
}

impl Interrupt {
    /// Installs the handlers, and registers the reading end with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// The errors of `socketpair(2)`, `sigaction(2)` and [`Source::with_handle`].
    pub fn new(handle: &Handle) -> io::Result<Self> {
        let (received, sent) = UnixStream::pair()?;
        pipe::register(SIGINT, sent.try_clone()?)?;
        pipe::register(SIGTERM, sent)?;
        Ok(Self { received: Source::with_handle(received, handle)? })
    }

    /// Waits until one of the two signals arrives.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a signal that arrives meanwhile is kept for the next call.
    pub async fn received(&self) -> io::Result<()> {
        (&self.received).read(&mut [0]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;

    #[test]
    fn both_signals_arrive() {
        async_epoll::block_on(async {
            let interrupt = Interrupt::new(&Handle::current().unwrap()).unwrap();
            for signal in [SIGINT, SIGTERM] {
                raise(signal).unwrap();
                interrupt.received().await.unwrap();
            }
        })
        .unwrap();
    }
}
