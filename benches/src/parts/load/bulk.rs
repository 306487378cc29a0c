//! Requests larger than the socket buffers: each is sent while its answer arrives.

use super::client::{connect, reset_on_close};
use super::closed_loop::ClosedLoop;
use super::job::Job;
use crate::machine::sys::{EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, Epoll};
use crate::orders::load::Target;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;

/// The largest request, in bytes.
pub(super) const LARGEST: usize = 16 << 20;
/// Bytes received at a time.
const CHUNK: usize = 64 * 1024;

/// One connection.
struct Client {
    stream: TcpStream,
    /// Bytes of the request not yet sent.
    unsent: usize,
    /// Bytes of the answer not yet received; 0 without a request in flight.
    missing: usize,
    /// The start of the request, in nanoseconds of the job.
    begin: u64,
}

/// All connections.
pub(super) struct Bulk {
    epoll: Epoll,
    clients: Vec<Client>,
    request: Vec<u8>,
    chunk: Vec<u8>,
}

impl Bulk {
    /// Connects all clients.
    pub(super) fn new(target: &Target) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let mut clients = Vec::with_capacity(target.connections);
        for token in 0..target.connections {
            let stream = connect(target.port)?;
            stream.set_nonblocking(true)?;
            reset_on_close(&stream)?;
            epoll.add(stream.as_fd(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, token as u64)?;
            clients.push(Client { stream, unsent: 0, missing: 0, begin: 0 });
        }
        Ok(Self { epoll, clients, request: vec![b'x'; target.size], chunk: vec![0; CHUNK] })
    }
}

impl ClosedLoop for Bulk {
    fn begin(&mut self, job: &mut Job) -> io::Result<()> {
        (0..self.clients.len()).try_for_each(|token| {
            self.clients[token].next(self.request.len(), job);
            self.receive(token, job)
        })
    }

    fn receive(&mut self, token: usize, job: &mut Job) -> io::Result<()> {
        let client = &mut self.clients[token];
        while client.missing > 0 {
            let sent = moved(client.stream.write(&self.request[self.request.len() - client.unsent..]))?;
            let received = match client.stream.read(&mut self.chunk) {
                Ok(0) => return Err(io::Error::other("the server has closed a connection")),
                result => moved(result)?,
            };
            if sent + received == 0 {
                return Ok(());
            }
            client.unsent -= sent;
            client.missing -= received;
            if client.missing == 0 {
                job.answered(job.now() - client.begin);
                client.next(self.request.len(), job);
            }
        }
        Ok(())
    }

    fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}

impl Client {
    /// Begins the next request, if the job asks for another.
    fn next(&mut self, size: usize, job: &mut Job) {
        let now = job.now();
        if job.more(now) {
            (self.unsent, self.missing, self.begin) = (size, size, now);
        }
    }
}

/// Returns the bytes read or written; 0 for `WouldBlock`.
fn moved(result: io::Result<usize>) -> io::Result<usize> {
    result.or_else(|error| if error.kind() == ErrorKind::WouldBlock { Ok(0) } else { Err(error) })
}
