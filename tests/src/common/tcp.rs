//! Connected TCP streams on the loopback interface, on the current reactor.

use crate::LOCALHOST;
use async_net_lite::{TcpListener, TcpStream};
use socket2::SockRef;
use std::time::Duration;

/// Returns two connected streams: the client and the accepted stream.
pub async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOCALHOST).await.expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    (client, listener.accept().await.expect("a connection").0)
}

/// Returns a blocking client of std, and the accepted stream.
pub async fn std_pair() -> (std::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOCALHOST).await.expect("a free port");
    let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    (client, listener.accept().await.expect("a connection").0)
}

/// Closes the stream with a reset (RST) instead of a FIN.
pub fn reset(stream: std::net::TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
}
