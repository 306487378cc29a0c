//! A hand-written, edge-triggered epoll loop without futures: the limit for an epoll server.
//!
//! The loop avoids every avoidable system call. A read shorter than the buffer means that the socket is drained (the
//! *short-read rule*), unless the event announced more than data: urgent data, an end of file, an error. A descriptor
//! is registered once and deregistered by closing it. With `TCP_DEFER_ACCEPT` the first bytes have arrived when a
//! connection is accepted, so the connection is served once before its registration; it may end without one.

use crate::machine::sys::{EPOLLET, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, Epoll, NO_EVENT};
use crate::orders::service::{BUFFER, Service};
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

/// Events taken from the kernel at a time, as many as the reactor takes.
const EVENTS: usize = 1024;
/// The token of the listener; the token of a connection is its descriptor.
const LISTENER: u64 = u64::MAX;
/// The events for which connections are registered.
const CONNECTION: i32 = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
/// The events after which the short-read rule holds.
const DATA_ONLY: u32 = (EPOLLIN | EPOLLOUT) as u32;

/// A connection.
struct Connection {
    stream: TcpStream,
    /// The part of the buffer that was read but not yet written back.
    unsent: std::ops::Range<usize>,
    buffer: [u8; BUFFER],
}

impl Connection {
    /// Echoes until the socket would block. Returns whether the connection stays open. `data_only` allows the
    /// short-read rule.
    fn progress(&mut self, data_only: bool, close_first: bool) -> io::Result<bool> {
        loop {
            while !self.unsent.is_empty() {
                match self.stream.write(&self.buffer[self.unsent.clone()]) {
                    Ok(written) => self.unsent.start += written,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(error) => return Err(error),
                }
                if self.unsent.is_empty() {
                    if close_first {
                        return Ok(false);
                    }
                    if self.unsent.end < BUFFER && data_only {
                        return Ok(true);
                    }
                }
            }
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => self.unsent = 0..length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The state of the server.
struct Server {
    epoll: Epoll,
    /// By descriptor.
    connections: Vec<Option<Box<Connection>>>,
    /// Registered connections.
    open: u64,
    /// Connections still to be accepted.
    wanted: u64,
    defer_accept: bool,
    close_first: bool,
}

impl Server {
    /// Accepts until the queue of the listener is empty.
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        while self.wanted > 0 {
            let stream = match SockRef::from(listener).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
                Ok((socket, _)) => TcpStream::from(socket),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.wanted -= 1;
            let mut connection = Box::new(Connection { stream, unsent: 0..0, buffer: [0; BUFFER] });
            if self.defer_accept && !matches!(connection.progress(true, self.close_first), Ok(true)) {
                continue;
            }
            let slot = connection.stream.as_raw_fd() as usize;
            self.epoll.add(connection.stream.as_fd(), CONNECTION, slot as u64)?;
            if self.connections.len() <= slot {
                self.connections.resize_with(slot + 1, || None);
            }
            self.connections[slot] = Some(connection);
            self.open += 1;
        }
        Ok(())
    }

    /// Serves the connection with this token. An error closes the connection.
    fn serve(&mut self, token: u64, events: u32) {
        let Some(slot) = usize::try_from(token).ok().and_then(|slot| self.connections.get_mut(slot)) else { return };
        let Some(connection) = slot else { return };
        if events == EPOLLOUT as u32 && connection.unsent.is_empty() {
            return; // The socket is writable, but there is nothing to write.
        }
        if !matches!(connection.progress(events & !DATA_ONLY == 0, self.close_first), Ok(true)) {
            *slot = None;
            self.open -= 1;
        }
    }
}

/// Runs until the ordered number of connections has come and gone.
pub(super) fn serve(listener: TcpListener, service: &Service) -> io::Result<()> {
    let mut server = Server {
        epoll: Epoll::new()?,
        connections: Vec::new(),
        open: 0,
        wanted: service.connections.unwrap_or(u64::MAX),
        defer_accept: service.defer_accept,
        close_first: service.close_first,
    };
    server.epoll.add(listener.as_fd(), EPOLLIN | EPOLLET, LISTENER)?;
    let mut events = [NO_EVENT; EVENTS];
    while server.wanted > 0 || server.open > 0 {
        let count = server.epoll.wait(&mut events, None)?;
        for event in &events[..count] {
            match event.u64 {
                LISTENER => server.accept(&listener)?,
                token => server.serve(token, event.events),
            }
        }
    }
    Ok(())
}
