//! Many requests over each connection, at most one in flight per connection; plain bytes or HTTP.

use super::client::{BUFFER, Client, reset_on_close};
use super::closed_loop::ClosedLoop;
use super::job::{Job, SILENCE};
use crate::machine::sys::{EPOLLET, EPOLLIN, EPOLLRDHUP, Epoll};
use crate::orders::load::{Target, Traffic};
use crate::orders::service::HELLO;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;

/// All connections.
pub(super) struct Echo {
    epoll: Epoll,
    /// By token.
    clients: Vec<Client>,
    request: Vec<u8>,
    /// Bytes of an answer, measured when connecting. All HTTP answers have the same length, since dates have.
    answer: usize,
}

impl Echo {
    /// Connects all clients in sequence. Each makes a round trip, so the server has accepted all of them.
    pub(super) fn new(target: &Target) -> io::Result<Self> {
        let (request, is_whole): (_, fn(&[u8], usize) -> bool) = match target.traffic {
            Traffic::Http => {
                let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", target.port);
                (request.into(), |answer, _| answer.ends_with(HELLO.as_bytes()))
            }
            _ => (vec![b'x'; target.size], |answer, size| answer.len() == size),
        };
        let mut echo = Self { epoll: Epoll::new()?, clients: Vec::new(), request, answer: 0 };
        for token in 0..target.connections {
            let mut client = Client::new(target)?;
            reset_on_close(&client.stream)?;
            client.stream.set_read_timeout(Some(SILENCE))?;
            client.send(&echo.request, 0)?;
            let mut answer = Vec::new();
            while !is_whole(&answer, target.size) {
                let mut buffer = [0; BUFFER];
                match client.stream.read(&mut buffer)? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    length => answer.extend(&buffer[..length]),
                }
            }
            echo.answer = answer.len();
            client.stream.set_nonblocking(true)?;
            echo.epoll.add(client.stream.as_fd(), EPOLLIN | EPOLLRDHUP | EPOLLET, token as u64)?;
            echo.clients.push(client);
        }
        Ok(echo)
    }
}

impl ClosedLoop for Echo {
    fn begin(&mut self, job: &mut Job) -> io::Result<()> {
        for client in &mut self.clients {
            let now = job.now();
            if job.more(now) {
                client.send(&self.request, now)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, token: usize, job: &mut Job) -> io::Result<()> {
        let client = &mut self.clients[token];
        client.received += match client.stream.read(&mut [0; BUFFER]) {
            Ok(0) => return Err(io::Error::other("the server has closed a connection")),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if client.received == self.answer {
            let now = job.now();
            job.answered(now - client.sent);
            if job.more(now) {
                client.send(&self.request, now)?;
            }
        }
        Ok(())
    }

    fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}
