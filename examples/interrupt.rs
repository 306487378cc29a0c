//! Ctrl-C as a future.
//!
//! A signal handler may do next to nothing: no allocation, no lock, no waker. The old answer is the self-pipe trick: the
//! handler writes one byte into a socket, and the loop waits for the other end like for any descriptor. `signal-hook`
//! has the handler, async-epoll the waiting.

use async_epoll::{Handle, Source};
use futures::AsyncReadExt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io;
use std::os::unix::net::UnixStream;

/// The polite requests to end: SIGINT, which is Ctrl-C, and SIGTERM, which is `kill`.
///
/// From its creation to the end of the process they no longer end the process by themselves.
#[derive(Debug)]
pub struct Interrupt {
    /// The end of the pair that the handler does not write to.
    received: Source<UnixStream>,
}

impl Interrupt {
    /// Installs the handler, and has the reactor of `handle` wait for it.
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`, `sigaction(2)` and [`Source::with_handle`].
    pub fn new(handle: &Handle) -> io::Result<Self> {
        let (received, sent) = UnixStream::pair()?;
        pipe::register(SIGINT, sent.try_clone()?)?;
        pipe::register(SIGTERM, sent)?;
        Ok(Self { received: Source::with_handle(received, handle)? })
    }

    /// Waits for either signal.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the reactor has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a signal that nobody waits for is kept for the next call.
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
