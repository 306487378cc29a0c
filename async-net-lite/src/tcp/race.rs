//! Connecting: in steps to one address, in a race to several.
//!
//! Connecting to one address without blocking goes in steps, each of which can fail for reasons of its own:
//!
//! ```text
//!   socket ──► connect: EINPROGRESS ──► wait until writable ──► SO_ERROR? ──► getpeername? ──► connected
//!                 │ refused at once            │ dropped            │ refused      │ not yet:
//!                 ▼                            ▼                    ▼              ▼ wait on
//!               error                      socket closed          error
//! ```
//!
//! A host often has several addresses, and one that does not answer costs two minutes. So the next one gets its chance
//! while the first is still under way: RFC 8305, "Happy Eyeballs". The families take turns, beginning with IPv6, since
//! what does not answer is usually a whole family. Each attempt has a head start of 250 ms before the next begins; one
//! that fails lets the next begin at once. The first to be connected wins, and the others are closed.
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

/// The head start of an attempt: "Connection Attempt Delay" of RFC 8305, section 8.
const HEAD_START: Duration = Duration::from_millis(250);
/// Attempts that may be under way at a time. Further ones wait until one of these has failed.
const MAX_ATTEMPTS: usize = 8;

/// A connection to one address, under way. Dropping it closes the socket.
struct Attempt {
    socket: Socket<net::TcpStream>,
    /// The kernel said so at once.
    is_connected: bool,
}

impl Attempt {
    /// Begins.
    fn new(address: SocketAddr, options: &ConnectOptions, handle: &Handle) -> io::Result<Self> {
        let socket = Socket::<net::TcpStream>::open(Domain::for_address(address), Type::STREAM, handle)?;
        let socket_options = SockRef::from(socket.get_ref());
        options.apply(&socket_options)?;
        let address = address.into();
        let is_connected = loop {
            match socket_options.connect(&address).map_err(|error| (error.raw_os_error(), error)) {
                // Has the kernel begun to connect, or not? Asked again, it says.
                Err((Some(libc::EINTR), _)) => {}
                // Or it will connect with the first write, by `fastopen`, and nothing is to be waited for.
                Ok(()) | Err((Some(libc::EISCONN), _)) => break true,
                Err((Some(libc::EINPROGRESS | libc::EALREADY), _)) => break false,
                Err((_, error)) => return Err(error),
            }
        };
        Ok(Self { socket, is_connected })
    }

    /// Waits until it is connected, or has failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_connected { Poll::Ready(Ok(())) } else { self.socket.poll_write_with(cx, is_connected) }
    }
}

/// Whether a connection that was begun is there: an error if it has failed, `WouldBlock` if it is under way.
fn is_connected(stream: &net::TcpStream) -> io::Result<()> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        // No error and no peer: woken too early.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        result => result.map(drop),
    }
}

/// Connects to whichever of `addresses` is the first to get there, as the top of this file tells.
pub(super) async fn race(
    addresses: Vec<SocketAddr>,
    options: &ConnectOptions,
    handle: &Handle,
) -> io::Result<TcpStream> {
    let to_come = interleave(addresses).into_iter();
    let mut race = Race { options, handle, to_come, running: Vec::new(), head_start: None, error: None };
    poll_fn(|cx| race.poll(cx)).await
}

/// Attempts under way, and what is to follow.
struct Race<'a> {
    options: &'a ConnectOptions,
    handle: &'a Handle,
    /// Addresses whose turn has not come.
    to_come: vec::IntoIter<SocketAddr>,
    /// At most [`MAX_ATTEMPTS`], the oldest first.
    running: Vec<Attempt>,
    /// That of the last attempt.
    head_start: Option<Timer>,
    /// What to report if all fail.
    error: Option<io::Error>,
}

impl Race<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        loop {
            // 1. Who is there, who has failed?
            let mut place = 0;
            while let Some(attempt) = self.running.get_mut(place) {
                match attempt.poll(cx) {
                    Poll::Pending => place += 1,
                    Poll::Ready(Ok(())) => {
                        // The others are closed with the race.
                        let winner = self.running.swap_remove(place);
                        return Poll::Ready(Ok(TcpStream::new(winner.socket)));
                    }
                    Poll::Ready(Err(error)) => {
                        drop(self.running.remove(place));
                        self.note(error);
                    }
                }
            }
            // 2. Whose turn is it? The last attempt's, as long as it has its head start, unless it has failed.
            if self.to_come.as_slice().is_empty() {
                let over = self.running.is_empty().then(|| Err(self.error.take().unwrap_or_else(no_addresses)));
                return over.map_or(Poll::Pending, Poll::Ready);
            }
            if self.running.len() == MAX_ATTEMPTS {
                return Poll::Pending;
            }
            if let Some(head_start) = &mut self.head_start {
                // If the reactor is gone, the attempts say so.
                let _ = ready!(head_start.poll_unpin(cx));
            }
            // 3. The next one.
            let Some(address) = self.to_come.next() else { continue };
            match Attempt::new(address, self.options, self.handle) {
                Ok(attempt) => {
                    self.running.push(attempt);
                    self.head_start = Some(Timer::after(HEAD_START, self.handle));
                }
                Err(error) => self.note(error),
            }
        }
    }

    /// One has failed: the next may begin at once. What the host has answered says more than that there is no way to it;
    /// otherwise the last error counts.
    fn note(&mut self, error: io::Error) {
        self.head_start = None;
        if self.error.as_ref().is_none_or(|before| !no_way(&error) || no_way(before)) {
            self.error = Some(error);
        }
    }
}

/// Whether the error says that this machine has no way to an address, such as an IPv6 one in an IPv4 network.
fn no_way(error: &io::Error) -> bool {
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

/// Takes the families in turn, beginning with IPv6, and keeps the order within each.
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
