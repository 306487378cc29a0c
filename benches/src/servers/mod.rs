//! The echo servers that are measured, all of the same shape: one task (or record) per connection with a buffer of
//! 4 KiB inside, which reads what is there and writes it back.
//!
//! What they have in common is here: the core they run on, and the listening socket. `TCP_NODELAY` is set on that
//! socket; Linux passes it on to accepted connections, so no server spends a system call on it.

mod ours;
mod raw;
mod tokio;

use crate::args::Service;
use crate::{child, heap, sys};
use socket2::{Domain, Socket, Type};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::thread;

/// Bytes of the buffer of each connection.
pub(crate) const BUFFER: usize = 4096;
/// Connections that the kernel queues for us; more than any case has in flight.
const BACKLOG: i32 = 4096;
/// How long the kernel holds back a connection that sends nothing, with `TCP_DEFER_ACCEPT`.
const DEFER_SECONDS: i32 = 5;

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

/// Serves until the wanted number of connections has come and gone, or until killed. Prints its port first.
pub(crate) fn serve(service: &Service) -> io::Result<()> {
    sys::die_with_parent()?; // Which may be strace.
    sys::raise_file_limit()?;
    sys::pin(child::server_core()?)?;
    if service.count_heap {
        heap::count();
        thread::spawn(tell_heap);
    }
    let listener = match service.peer {
        Peer::Ours => ours::listen(service)?,
        Peer::Raw | Peer::Tokio => listen(service)?,
    };
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    match service.peer {
        Peer::Ours => ours::serve(listener, service),
        Peer::Raw => raw::serve(listener, service),
        Peer::Tokio => tokio::serve(listener, service),
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
