//! One connection per request: connect, send, receive, close, with a fixed number of connections in flight.

use super::client::{BUFFER, Client};
use super::closed_loop::ClosedLoop;
use super::job::Job;
use crate::machine::sys::{EPOLLET, EPOLLIN, EPOLLRDHUP, Epoll};
use crate::orders::load::Target;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;

/// The connections in flight.
pub(super) struct Connect {
    epoll: Epoll,
    target: Target,
    /// By token. `None` before the first request and after the last.
    clients: Vec<Option<Client>>,
    request: Vec<u8>,
}

impl Connect {
    /// Connects nothing yet; the first order does.
    pub(super) fn new(target: &Target) -> io::Result<Self> {
        let clients = (0..target.connections).map(|_| None).collect();
        Ok(Self { epoll: Epoll::new()?, target: *target, clients, request: vec![b'x'; target.size] })
    }

    /// Opens a new connection with this token and sends its request, if the job asks for another request.
    fn open(&mut self, token: usize, job: &mut Job) -> io::Result<()> {
        let now = job.now();
        if job.more(now) {
            let mut client = Client::new(&self.target)?;
            client.send(&self.request, now)?;
            client.stream.set_nonblocking(true)?;
            self.epoll.add(client.stream.as_fd(), EPOLLIN | EPOLLRDHUP | EPOLLET, token as u64)?;
            self.clients[token] = Some(client);
        }
        Ok(())
    }
}

impl ClosedLoop for Connect {
    fn begin(&mut self, job: &mut Job) -> io::Result<()> {
        (0..self.clients.len()).try_for_each(|token| self.open(token, job))
    }

    fn receive(&mut self, token: usize, job: &mut Job) -> io::Result<()> {
        let Some(client) = &mut self.clients[token] else { return Ok(()) };
        loop {
            if !self.target.close_first && client.received == self.request.len() {
                break;
            }
            match client.stream.read(&mut [0; BUFFER]) {
                Ok(0) if client.received == self.request.len() => break,
                Ok(0) => return Err(io::Error::other("the server has closed a connection too early")),
                Ok(length) => client.received += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        job.answered(job.now() - client.sent);
        self.clients[token] = None;
        self.open(token, job)
    }

    fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}
