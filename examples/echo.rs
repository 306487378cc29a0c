//! A connection of an echo server, and a client: the common part of the programs about executors and hosts.
//!
//! Both use sockets and timers of the current reactor. Neither depends on the executor or on the thread.

use async_net_lite::TcpStream;
use async_timeout::{TimeoutExt, sleep};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::thread::{self, ThreadId};
use std::time::Duration;

/// How many lines a client sends.
pub const LINES: usize = 3;
/// How long a client sleeps before each line.
const PAUSE: Duration = Duration::from_millis(5);
/// How long either side waits for the other.
const PEER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a connection: sends back all bytes, until the client closes its side.
///
/// # Errors
///
/// The errors of the socket, and `TimedOut` if the client sends nothing, or does not read, for 10 seconds.
pub async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).io_timeout(PEER_TIMEOUT).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).io_timeout(PEER_TIMEOUT).await?,
        }
    }
}

/// Sends [`LINES`] lines to a server, with a pause before each, and waits for the echoes. Returns the threads on which
/// the client was polled.
///
/// # Errors
///
/// The errors of the socket, `TimedOut` if the server does not answer, and `InvalidData` if an answer is not an echo.
pub async fn ask(address: SocketAddr) -> io::Result<HashSet<ThreadId>> {
    let mut stream = TcpStream::connect(address).await?;
    let mut threads = HashSet::new();
    for number in 0..LINES {
        sleep(PAUSE).await;
        let line = format!("line {number}\n");
        let mut echo = vec![0; line.len()];
        stream.write_all(line.as_bytes()).io_timeout(PEER_TIMEOUT).await?;
        stream.read_exact(&mut echo).io_timeout(PEER_TIMEOUT).await?;
        if echo != line.as_bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not an echo"));
        }
        threads.insert(thread::current().id());
    }
    stream.close().await?;
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_net_lite::TcpListener;

    #[test]
    fn a_client_gets_its_echoes() {
        let threads = async_epoll::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let server = async { serve(listener.accept().await?.0).await };
            futures::try_join!(server, ask(address))
        });
        assert_eq!(threads.unwrap().unwrap().1, HashSet::from([thread::current().id()]));
    }

    #[test]
    fn a_wrong_echo_is_an_error() {
        let error = async_epoll::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let wrong = async { listener.accept().await?.0.write_all(b"line 1\n").await };
            futures::try_join!(wrong, ask(address))
        });
        assert_eq!(error.unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
