//! The whole process of a server: set up, print the port, and serve as ordered.

use super::listener::listen;
use super::{datagrams, hyper, ours, raw, tokio};
use crate::machine::{cores, heap, sys};
use crate::orders::peer::Peer;
use crate::orders::service::{DATAGRAM_QUEUE, Protocol, Service};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

/// Prints the port, then serves until the ordered number of connections has come and gone, or until killed.
pub(crate) fn serve(service: &Service) -> io::Result<()> {
    sys::die_with_parent()?; // The parent may be strace.
    sys::raise_file_limit()?;
    cores::pin_to_server_core()?;
    if service.count_heap {
        heap::count();
        thread::spawn(report_heap);
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

/// Prints the port, then echoes datagrams until killed.
fn serve_datagrams(service: &Service, batch: usize) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, service.port))?;
    SockRef::from(&socket).set_recv_buffer_size(DATAGRAM_QUEUE)?;
    socket.set_nonblocking(true)?;
    println!("{}", socket.local_addr()?.port());
    io::stdout().flush()?;
    match service.peer {
        Peer::Ours => datagrams::ours(socket, batch),
        Peer::Tokio => datagrams::tokio(socket),
        Peer::Raw => Err(io::Error::other("there is no raw server for datagrams")),
    }
}

/// Answers each byte of standard input with a line: the live bytes of the heap. This runs on a thread of its own, so
/// the servers need no code for it.
fn report_heap() {
    let mut input = io::stdin();
    while let Ok(1..) = input.read(&mut [0]) {
        println!("{}", heap::live());
    }
}
