//! One connection of an echo server, and one client: what the programs about executors and hosts have in common.
//!
//! Both take sockets and timers of the thread's current reactor, and know neither who polls them nor on which thread.

use async_net_lite::TcpStream;
use async_timeout::{TimeoutExt, sleep};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Lines that a client says.
pub const LINES: usize = 3;
/// How long a client rests before each line.
const REST: Duration = Duration::from_millis(5);
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves a connection: sends back what it reads, until the client has had enough.
///
/// # Errors
///
/// Those of the socket, and `TimedOut` for a client that is silent or does not read.
pub async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).io_timeout(PATIENCE).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).io_timeout(PATIENCE).await?,
        }
    }
}

/// Says [`LINES`] lines to a server, with a rest before each, and waits for their echoes. Returns the threads on which
/// it was polled.
///
/// # Errors
///
/// Those of the socket, `TimedOut` for a silent server, and `InvalidData` for one that says something else.
pub async fn ask(address: SocketAddr) -> io::Result<HashSet<ThreadId>> {
    let mut stream = TcpStream::connect(address).await?;
    let mut threads = HashSet::new();
    for number in 0..LINES {
        sleep(REST).await;
        let line = format!("line {number}\n");
        let mut echo = vec![0; line.len()];
        stream.write_all(line.as_bytes()).io_timeout(PATIENCE).await?;
        stream.read_exact(&mut echo).io_timeout(PATIENCE).await?;
        if echo != line.as_bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "that is no echo"));
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
    fn a_client_has_its_echoes() {
        let threads = async_epoll::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let server = async { serve(listener.accept().await?.0).await };
            futures::try_join!(server, ask(address))
        });
        assert_eq!(threads.unwrap().unwrap().1, HashSet::from([thread::current().id()]));
    }

    #[test]
    fn a_liar_is_found_out() {
        let error = async_epoll::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let liar = async { listener.accept().await?.0.write_all(b"line 1\n").await };
            futures::try_join!(liar, ask(address))
        });
        assert_eq!(error.unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
