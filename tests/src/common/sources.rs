//! Unix socket pairs as sources.

use async_epoll::{Handle, Source};
use std::os::unix::net::UnixStream;

/// Returns two connected sockets, both sources of the current reactor.
pub fn pair() -> (Source<UnixStream>, Source<UnixStream>) {
    let (one, other) = UnixStream::pair().expect("two sockets");
    (Source::new(one).expect("a source"), Source::new(other).expect("a source"))
}

/// Returns a blocking socket of std, and the other end of its pair as a source of the reactor of `handle`.
pub fn with_peer(handle: &Handle) -> (UnixStream, Source<UnixStream>) {
    let (peer, stream) = UnixStream::pair().expect("two sockets");
    (peer, Source::with_handle(stream, handle).expect("a source"))
}
