//! The echo servers that are measured, all of the same shape: one task (or record) per connection with a buffer of
//! 4 KiB inside, which reads what is there and writes it back. And the two of them that can have hyper on top.
//!
//! What they have in common is here: the core they run on, and the listening socket. `TCP_NODELAY` is set on that
//! socket; Linux passes it on to accepted connections, so no server spends a system call on it.

mod hyper;
mod datagrams;
mod ours;
mod raw;
mod tokio;

pub(crate) use datagrams::LONGEST as LONGEST_DATAGRAM;
pub(crate) use hyper::HELLO;

use crate::args::Service;
use crate::{child, heap, sys};
use socket2::{Domain, SockRef, Socket, Type};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::thread;

/// Bytes of the buffer of each connection.
pub(crate) const BUFFER: usize = 4096;
/// Connections that the kernel queues for us; more than any case has in flight.
const BACKLOG: i32 = 4096;
/// How long the kernel holds back a connection that sends nothing, with `TCP_DEFER_ACCEPT`.
const DEFER_SECONDS: i32 = 5;
/// Bytes of the queue of a socket for datagrams: more than any case has on its way.
pub(crate) const DATAGRAMS_QUEUE: usize = 1 << 20;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// async-epoll and async-net-lite with a `LocalPool`.
    Ours,
    /// A hand-written epoll loop without futures: the limit for epoll.
    Raw,
    /// tokio's current_thread runtime.
    Tokio,
}

impl Peer {
    /// In the order of the tables.
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Raw, Self::Tokio];
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::Raw => "raw",
            Self::Tokio => "tokio",
        })
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let peer = Self::ALL.into_iter().find(|peer| peer.to_string() == name);
        peer.ok_or_else(|| format!("there is no server {name}"))
    }
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Back comes what was sent.
    Echo,
    /// HTTP/1 by hyper, without a timer.
    Http,
    /// The same with `writev(false)`: hyper copies the body behind the head, instead of sending two slices.
    HttpFlat,
    /// HTTP/1 by hyper with a timer, and so with its usual time limit for the head of each request.
    HttpTimed,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Echo => "echo",
            Self::Http => "http",
            Self::HttpFlat => "http-flat",
            Self::HttpTimed => "http-timed",
        })
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Echo, Self::Http, Self::HttpFlat, Self::HttpTimed];
        let protocol = all.into_iter().find(|protocol| protocol.to_string() == name);
        protocol.ok_or_else(|| format!("there is no protocol {name}"))
    }
}

/// Serves until the wanted number of connections has come and gone, or until killed. Prints its port first.
pub(crate) fn serve(service: &Service) -> io::Result<()> {
    sys::die_with_parent()?; // Which may be strace.
    sys::raise_file_limit()?;
    sys::pin(child::server_core()?)?;
    if service.count_heap {
        heap::count();
        thread::spawn(tell_heap);
    }
    if let Some(batch) = service.datagrams {
        return serve_datagrams(service, batch);
    }
    let listener = match service.peer {
        Peer::Ours => ours::listen(service)?,
        Peer::Raw | Peer::Tokio => listen(service)?,
    };
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    match (service.protocol, service.peer) {
        (Protocol::Echo, Peer::Ours) => ours::serve(listener, service),
        (Protocol::Echo, Peer::Raw) => raw::serve(listener, service),
        (Protocol::Echo, Peer::Tokio) => tokio::serve(listener, service),
        (_, Peer::Ours) => hyper::ours(listener, service),
        (_, Peer::Raw) => Err(io::Error::other("raw speaks no HTTP")),
        (_, Peer::Tokio) => hyper::tokio(listener, service),
    }
}

/// The same for datagrams, without connections: until killed.
fn serve_datagrams(service: &Service, batch: usize) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, service.port))?;
    SockRef::from(&socket).set_recv_buffer_size(DATAGRAMS_QUEUE)?;
    socket.set_nonblocking(true)?;
    println!("{}", socket.local_addr()?.port());
    io::stdout().flush()?;
    match service.peer {
        Peer::Ours => datagrams::ours(socket, batch),
        Peer::Tokio => datagrams::tokio(socket),
        Peer::Raw => Err(io::Error::other("there is no raw server for datagrams")),
    }
}

/// Answers each byte of the input with the bytes of the heap, on a line. A thread of its own, so that the server need
/// not know of it.
fn tell_heap() {
    let mut input = io::stdin();
    while let Ok(1..) = input.read(&mut [0]) {
        println!("{}", heap::live());
    }
}

/// The listening socket of a server that has no way of its own to say all this.
fn listen(service: &Service) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    if service.defer_accept {
        sys::defer_accept(socket.as_fd(), DEFER_SECONDS)?;
    }
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, service.port)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
