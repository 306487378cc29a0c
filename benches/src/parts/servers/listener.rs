//! The listening socket of the servers without an options type of their own: raw, tokio, and hyper on tokio.
//!
//! Our own server sets the same options through `ListenOptions`, with the constants from here.

use crate::machine::sys;
use crate::orders::service::Service;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

/// The length of the accept queue; more than any case has in flight.
pub(super) const BACKLOG: i32 = 4096;
/// The argument of `TCP_DEFER_ACCEPT`: how long the kernel holds back a connection that sends nothing.
pub(super) const DEFER_SECONDS: i32 = 5;

/// Returns a non-blocking listening socket with the options of the order.
pub(super) fn listen(service: &Service) -> io::Result<TcpListener> {
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
