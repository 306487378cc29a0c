//! Connecting: in steps to one address, in a race to several.
//!
//! Connecting to one address without blocking takes several steps, and each can fail:
//!
//! ```text
//!   socket ──► connect: EINPROGRESS ──► wait until writable ──► SO_ERROR? ──► getpeername? ──► connected
//!                 │ refused at once            │ dropped            │ refused      │ not yet:
//!                 ▼                            ▼                    ▼              ▼ wait on
//!               error                      socket closed          error
//! ```
//!
//! A host often has several addresses, and an address that does not answer costs two minutes. So the next attempt
//! begins while the first is still pending: RFC 8305, "Happy Eyeballs". IPv6 and IPv4 addresses alternate, beginning
//! with IPv6, since the addresses that do not answer are usually a whole family. The next attempt begins after the head
//! start of the last, 250 ms, or at once when an attempt fails. The first connection wins, and the other sockets are
//! closed.
//!
//! ```text
//!   0 ms        250 ms       500 ms
//!   [::1] ─── silence ──────────────────────────────────╳ closed
//!               127.0.0.1 ─── refused
//!                              └─► [::2] ─── silence ───╳ closed
//!                                            127.0.0.2 ─┴─► connected
//! ```

use super::connect_options::ConnectOptions;
use super::stream::TcpStream;
use crate::names::addr::no_addresses;
use crate::socket::socket::Socket;
use async_epoll::{Handle, Timer};
use futures::future::FutureExt;
use socket2::{Domain, SockRef, Type};
use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::vec;

/// The head start of an attempt before the next: "Connection Attempt Delay" of RFC 8305, section 8.
const HEAD_START: Duration = Duration::from_millis(250);
/// The largest number of pending attempts. Further addresses wait until an attempt has failed.
const MAX_ATTEMPTS: usize = 8;

/// An attempt to connect to one address. Dropping it closes the socket.
struct Attempt {
    /// The connecting socket.
    socket: Socket<net::TcpStream>,
    /// Whether the kernel has reported a connection at once. Set when the attempt begins.
    is_connected: bool,
}

impl Attempt {
    /// Begins to connect to `address`.
    fn new(address: SocketAddr, options: &ConnectOptions, handle: &Handle) -> io::Result<Self> {
        let socket = Socket::<net::TcpStream>::open(Domain::for_address(address), Type::STREAM, handle)?;
        let socket_options = SockRef::from(socket.get_ref());
        options.apply(&socket_options)?;
        let address = address.into();
        let is_connected = loop {
            match socket_options.connect(&address).map_err(|error| (error.raw_os_error(), error)) {
                // EINTR does not say whether the kernel has begun to connect. The next call does.
                Err((Some(libc::EINTR), _)) => {}
                // Connected. Or the kernel will connect with the first write, by `fastopen`, so there is nothing to
                // wait for.
                Ok(()) | Err((Some(libc::EISCONN), _)) => break true,
                Err((Some(libc::EINPROGRESS | libc::EALREADY), _)) => break false,
                Err((_, error)) => return Err(error),
            }
        };
        Ok(Self { socket, is_connected })
    }

    /// Waits until the socket is connected, or has failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_connected { Poll::Ready(Ok(())) } else { self.socket.poll_write_with(cx, is_connected) }
    }
}

/// Checks a pending connection. Returns `Ok` if it is connected, `WouldBlock` if it is still pending, otherwise the
/// error.
fn is_connected(stream: &net::TcpStream) -> io::Result<()> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        // No error and no peer: a spurious wake.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        result => result.map(drop),
    }
}

/// Connects to the first of `addresses` that answers. The top of this file explains the race.
pub(super) async fn race(
    addresses: Vec<SocketAddr>,
    options: &ConnectOptions,
    handle: &Handle,
) -> io::Result<TcpStream> {
    let to_come = interleave(addresses).into_iter();
    let mut race = Race { options, handle, to_come, running: Vec::new(), head_start: None, error: None };
    poll_fn(|cx| race.poll(cx)).await
}

/// The state of a race.
struct Race<'a> {
    /// The options of every socket.
    options: &'a ConnectOptions,
    /// The reactor of every socket and timer.
    handle: &'a Handle,
    /// The addresses without an attempt yet, in order.
    to_come: vec::IntoIter<SocketAddr>,
    /// The pending attempts, the oldest first. At most [`MAX_ATTEMPTS`].
    running: Vec<Attempt>,
    /// The head start of the last attempt. `None` before the first attempt and after a failure.
    head_start: Option<Timer>,
    /// The error to report if all attempts fail. Written by [`note_failure`](Self::note_failure).
    error: Option<io::Error>,
}

impl Race<'_> {
    /// Waits until an attempt is connected, or all have failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        loop {
            // 1. Poll the pending attempts.
            let mut place = 0;
            while let Some(attempt) = self.running.get_mut(place) {
                match attempt.poll(cx) {
                    Poll::Pending => place += 1,
                    Poll::Ready(Ok(())) => {
                        // Dropping the race closes the other sockets.
                        let winner = self.running.swap_remove(place);
                        return Poll::Ready(Ok(TcpStream::new(winner.socket)));
                    }
                    Poll::Ready(Err(error)) => {
                        drop(self.running.remove(place));
                        self.note_failure(error);
                    }
                }
            }
            // 2. Wait while no attempt may begin: no address is left, too many attempts are pending, or the last
            // attempt still has its head start.
            if self.to_come.as_slice().is_empty() {
                let over = self.running.is_empty().then(|| Err(self.error.take().unwrap_or_else(no_addresses)));
                return over.map_or(Poll::Pending, Poll::Ready);
            }
            if self.running.len() == MAX_ATTEMPTS {
                return Poll::Pending;
            }
            if let Some(head_start) = &mut self.head_start {
                // If the reactor has been dropped, the attempts will fail and report this.
                let _ = ready!(head_start.poll_unpin(cx));
            }
            // 3. Begin the next attempt.
            let Some(address) = self.to_come.next() else { continue };
            match Attempt::new(address, self.options, self.handle) {
                Ok(attempt) => {
                    self.running.push(attempt);
                    self.head_start = Some(Timer::after(HEAD_START, self.handle));
                }
                Err(error) => self.note_failure(error),
            }
        }
    }

    /// Records that an attempt has failed, so the next may begin at once. The answer of a host says more than the lack
    /// of a route, so such an error is kept; otherwise the last error counts.
    fn note_failure(&mut self, error: io::Error) {
        self.head_start = None;
        if self.error.as_ref().is_none_or(|before| !is_no_route(&error) || is_no_route(before)) {
            self.error = Some(error);
        }
    }
}

/// Returns whether `error` says that this machine has no route to the address, for example to an IPv6 address in an
/// IPv4 network.
fn is_no_route(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EADDRNOTAVAIL
                | libc::EAFNOSUPPORT
                | libc::EINVAL
                | libc::EACCES
                | libc::EPERM
        )
    )
}

/// Returns the addresses with IPv6 and IPv4 alternating, beginning with IPv6, and in the given order within each
/// family.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.len() < 2 {
        return addresses;
    }
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let both = six.len().min(four.len());
    let (six_alone, four_alone) = (six[both..].to_vec(), four[both..].to_vec());
    let pairs = six.into_iter().zip(four).flat_map(|(six, four)| [six, four]);
    pairs.chain(six_alone).chain(four_alone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| -> Vec<SocketAddr> { text.split(' ').map(|word| word.parse().unwrap()).collect() };
        let turns = [
            ("1.1.1.1:1 2.2.2.2:2", "1.1.1.1:1 2.2.2.2:2"),
            ("1.1.1.1:1 [::2]:2", "[::2]:2 1.1.1.1:1"),
            ("[::1]:1 [::2]:2 [::3]:3 4.4.4.4:4 5.5.5.5:5", "[::1]:1 4.4.4.4:4 [::2]:2 5.5.5.5:5 [::3]:3"),
            ("1.1.1.1:1 2.2.2.2:2 3.3.3.3:3 [::4]:4", "[::4]:4 1.1.1.1:1 2.2.2.2:2 3.3.3.3:3"),
        ];
        for (given, taken) in turns {
            assert_eq!(interleave(parse(given)), parse(taken), "{given}");
        }
        assert_eq!(interleave(Vec::new()), []);
    }
}
