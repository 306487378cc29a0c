//! Connecting: in steps to one address, in a race to several.
//!
//! Connecting to one address without blocking takes several steps, and each can fail:
//!
//! ```text
//!   socket ──► connect: EINPROGRESS ──► wait until writable ──► getpeername? ──► getsockname? ──► connected
//!                 │ refused at once            │ dropped            │ no: SO_ERROR    │ the same address
//!                 ▼                            ▼                    ▼                 ▼
//!               error                      socket closed        error, or wait on   refused
//! ```
//!
//! The last step is for a port of this machine on which no program listens. The kernel may choose the very port as the
//! local one. The socket then connects to itself, by the simultaneous open of RFC 9293, section 3.5. If fast open has put
//! the handshake off, there is no peer yet; so a socket with the port of its peer does not wait for the first write.
//!
//! A host often has several addresses, and an address that does not answer costs two minutes. So the next attempt
//! begins while the first is still pending: RFC 8305, "Happy Eyeballs". IPv6 and IPv4 addresses alternate, beginning
//! with IPv6, since the addresses that do not answer are usually a whole family. The next attempt begins after the head
//! start of the last, 250 ms, or at once when an attempt fails. The first connection wins, and the other sockets are
//! closed. At most eight attempts are pending: the next closes the oldest, so that every address has its turn.
//!
//! ```text
//!   0 ms        250 ms       500 ms
//!   [::1] ─── silence ──────────────────────────────────╳ closed
//!               127.0.0.1 ─── refused
//!                              └─► [::2] ─── silence ───╳ closed
//!                                            127.0.0.2 ─┴─► connected
//! ```
//!
//! The addresses of a name may come in parts, those of one family before the others. The race begins with the first part
//! that has an IPv6 address. If an IPv4 address is known first, it begins 50 ms later, or at once if no more will come.
//! Later addresses join the race.

use super::connect_options::ConnectOptions;
use super::io::TcpIo;
use super::stream::TcpStream;
use crate::names::addr::no_addresses;
use crate::socket::own_calls::SocketIo;
use crate::socket::socket::Socket;
use async_epoll::{Handle, Timer};
use futures::future::FutureExt;
use futures::stream::{Stream, StreamExt};
use socket2::{Domain, SockRef, Type};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The head start of an attempt before the next: "Connection Attempt Delay" of RFC 8305, section 8.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long known IPv4 addresses wait for IPv6 addresses: "Resolution Delay" of RFC 8305, section 8.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// The largest number of pending attempts.
const MAX_ATTEMPTS: usize = 8;
/// The kernel chooses no port below this one as the local port: `ip_local_port_range` of
/// [`ip(7)`](https://man7.org/linux/man-pages/man7/ip.7.html) begins above the privileged ports.
const FIRST_FREE_PORT: u16 = 1024;

/// Addresses in parts, as [`Resolver::resolve_stream`](crate::Resolver::resolve_stream) returns them.
pub(super) type Parts<'a> = Pin<&'a mut (dyn Stream<Item = io::Result<Vec<SocketAddr>>> + Send + 'a)>;

/// An attempt to connect to one address. Dropping it closes the socket.
struct Attempt {
    /// The connecting socket.
    socket: Socket<TcpIo>,
    /// Whether the kernel has reported a connection at once. Set when the attempt begins.
    is_connected: bool,
    /// The port to which the socket could connect by connecting to itself. `None` if the kernel cannot have chosen the
    /// peer's port as the local port.
    own_port: Option<u16>,
}

impl Attempt {
    /// Begins to connect to `address`.
    fn new(address: SocketAddr, options: &ConnectOptions, handle: &Handle) -> io::Result<Self> {
        let socket = Socket::<TcpIo>::open(Domain::for_address(address), Type::STREAM, handle)?;
        let socket_options = SockRef::from(socket.get_ref());
        options.apply(&socket_options)?;
        let port = address.port();
        let own_port = (port >= FIRST_FREE_PORT || options.has_local_address()).then_some(port);
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
        if is_connected && options.fastopen {
            socket.get_ref().set_deferred();
        }
        Ok(Self { socket, is_connected, own_port })
    }

    /// Waits until the socket is connected, or has failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_connected {
            ready!(self.socket.poll_write_with(cx, |stream| is_connected(stream)))?;
        }
        let stream = self.socket.get_ref();
        if self.own_port.is_some_and(|port| has_port(stream, port)) {
            ready!(self.poll_not_own_peer(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Fails if the socket is connected to itself. Its local port is the port of the peer, which is seldom so.
    #[cold]
    fn poll_not_own_peer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.socket.get_ref().is_deferred() {
            self.socket.get_ref().begin()?;
            self.is_connected = false;
        }
        if !self.is_connected {
            ready!(self.socket.poll_write_with(cx, |stream| is_connected(stream)))?;
        }
        let stream = self.socket.get_ref();
        if is_own_peer(stream) {
            // Without lingering, closing leaves nothing behind on the port: its server may be about to start.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)));
        }
        Poll::Ready(Ok(()))
    }
}

/// Checks a pending connection. Returns `Ok` if it is connected, `WouldBlock` if it is still pending, otherwise the
/// error.
fn is_connected(stream: &net::TcpStream) -> io::Result<()> {
    match stream.peer_addr() {
        // No peer: the attempt has failed, or this was a spurious wake.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(stream.take_error()?.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
        }
        result => result.map(drop),
    }
}

/// Returns whether the local port of `stream` is `port`.
fn has_port(stream: &net::TcpStream, port: u16) -> bool {
    stream.local_addr().is_ok_and(|local| local.port() == port)
}

/// Returns whether `stream` is connected to itself. The requested address does not tell: 0.0.0.0 means 127.0.0.1.
fn is_own_peer(stream: &net::TcpStream) -> bool {
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return false };
    peer.ip() == local.ip() && peer.port() == local.port()
}

/// Connects to the first address in `parts` that answers. The top of this file explains the race.
pub(super) async fn race(parts: Parts<'_>, options: &ConnectOptions, handle: &Handle) -> io::Result<TcpStream> {
    let mut race = Race {
        options,
        handle,
        parts: Some(parts),
        six: VecDeque::new(),
        four: VecDeque::new(),
        is_turn_of_four: false,
        has_begun: false,
        resolution_delay: None,
        running: Vec::new(),
        head_start: None,
        error: None,
    };
    poll_fn(|cx| race.poll(cx)).await
}

/// The state of a race.
struct Race<'a> {
    /// The options of every socket.
    options: &'a ConnectOptions,
    /// The reactor of every socket and timer.
    handle: &'a Handle,
    /// The addresses that are not known yet. `None` after the last part.
    parts: Option<Parts<'a>>,
    /// The known IPv6 addresses without an attempt yet, in order.
    six: VecDeque<SocketAddr>,
    /// The known IPv4 addresses without an attempt yet, in order.
    four: VecDeque<SocketAddr>,
    /// Whether an IPv4 address is next, if there is one. Set by [`next_address`](Self::next_address).
    is_turn_of_four: bool,
    /// Whether an attempt has begun, or failed to begin.
    has_begun: bool,
    /// The time for which IPv4 addresses wait for IPv6 addresses. `None` until only IPv4 addresses are known.
    resolution_delay: Option<Timer>,
    /// The pending attempts, the oldest first. At most [`MAX_ATTEMPTS`].
    running: Vec<Attempt>,
    /// The head start of the last attempt. `None` when the next attempt may begin: before the first, after a failure, and
    /// at the end of the time.
    head_start: Option<Timer>,
    /// The error to report if all attempts fail, and what it says. Written by [`note_error`](Self::note_error).
    error: Option<(Cause, io::Error)>,
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
            // 2. Add the addresses that have become known.
            self.poll_parts(cx);
            // 3. Wait while no attempt may begin: no address is left, the last attempt still has its head start, or IPv6
            // addresses may still come. If the reactor has been dropped, the timers fail, and so will the attempts, which
            // report this.
            let is_known = !self.six.is_empty() || !self.four.is_empty();
            if !is_known && self.parts.is_none() {
                if !self.running.is_empty() {
                    return Poll::Pending;
                }
                return Poll::Ready(Err(self.error.take().map_or_else(no_addresses, |(_, error)| error)));
            }
            // The time of a timer begins with its first poll, so this comes before any wait for addresses.
            if self.head_start.as_mut().is_some_and(|head_start| head_start.poll_unpin(cx).is_ready()) {
                self.head_start = None;
            }
            if !is_known || self.head_start.is_some() {
                return Poll::Pending;
            }
            if !self.has_begun && self.six.is_empty() && self.parts.is_some() {
                let handle = self.handle;
                let delay = self.resolution_delay.get_or_insert_with(|| Timer::after(RESOLUTION_DELAY, handle));
                let _ = ready!(delay.poll_unpin(cx));
            }
            // 4. Begin the next attempt. If there are too many, the oldest makes room.
            let Some(address) = self.next_address() else { continue };
            if self.running.len() == MAX_ATTEMPTS {
                drop(self.running.remove(0));
                let error = io::Error::new(io::ErrorKind::TimedOut, "an address did not answer before eight others");
                self.note_error(Cause::Silence, error);
            }
            self.has_begun = true;
            match Attempt::new(address, self.options, self.handle) {
                Ok(attempt) => {
                    self.running.push(attempt);
                    self.head_start = Some(Timer::after(HEAD_START, self.handle));
                }
                Err(error) => self.note_failure(error),
            }
        }
    }

    /// Adds the addresses of all parts that are ready.
    fn poll_parts(&mut self, cx: &mut Context<'_>) {
        while let Some(parts) = &mut self.parts {
            match parts.poll_next_unpin(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.parts = None,
                Poll::Ready(Some(Ok(addresses))) => {
                    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
                    self.six.extend(six);
                    self.four.extend(four);
                }
                Poll::Ready(Some(Err(error))) => {
                    let is_unknown = error.kind() == io::ErrorKind::NotFound;
                    self.note_error(if is_unknown { Cause::NoSuchName } else { Cause::Lookup }, error);
                }
            }
        }
    }

    /// Takes the next address: IPv6 and IPv4 alternate, beginning with IPv6, as far as both are known.
    fn next_address(&mut self) -> Option<SocketAddr> {
        let is_four = !self.four.is_empty() && (self.is_turn_of_four || self.six.is_empty());
        self.is_turn_of_four = !is_four;
        if is_four { self.four.pop_front() } else { self.six.pop_front() }
    }

    /// Records that an attempt has failed, so the next may begin at once.
    fn note_failure(&mut self, error: io::Error) {
        self.head_start = None;
        self.note_error(if is_no_route(&error) { Cause::NoRoute } else { Cause::Answer }, error);
    }

    /// Keeps the error with the weightiest cause. Among equals, the last counts.
    fn note_error(&mut self, cause: Cause, error: io::Error) {
        if self.error.as_ref().is_none_or(|(before, _)| cause >= *before) {
            self.error = Some((cause, error));
        }
    }
}

/// What an error of a race says, from the least to the most.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// The name has no address of a family. It may have some of the other.
    NoSuchName,
    /// A lookup has failed.
    Lookup,
    /// This machine cannot send to an address.
    NoRoute,
    /// An address has had no time to answer.
    Silence,
    /// The host has answered, or the kernel has given up.
    Answer,
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
