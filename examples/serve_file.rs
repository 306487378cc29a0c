//! Serves a file to every client that connects.
//!
//! ```sh
//! cargo run --example serve_file -- README.md 127.0.0.1:7880  # until Ctrl-C
//! cargo run --example tcp -- client 127.0.0.1:7880 </dev/null # in another terminal: gets the file
//! ```
//!
//! The idea: a file and a socket in one task. Epoll waits for the socket, and a thread reads the file ahead (see
//! `copy_file`), but the task uses both through `AsyncRead` and `AsyncWrite`. A slow client delays only its own task,
//! and costs the memory of two buffers at most, because the thread reads no further ahead.

use async_epoll::{spawn_local, terminate, try_block_on};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::TimeoutExt;
use blocking::{Unblock, unblock};
use examples::{Usage, address, because, exit_code, open_regular, report, say, warn};
use futures::io::{copy, sink};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How many bytes are read at once, and how many bytes the thread reads ahead.
const BUFFER: usize = 64 * 1024;
/// How long writing a buffer to a client may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server still reads after it has closed its side of a connection.
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes the server still reads then, at most.
const LINGER_BYTES: u64 = 64 * 1024;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let about = "Serves a file to every client that connects.";
    let Some([file, at]) = (Usage { about, words: ["FILE", "HOST:PORT"], trace: true }).from_env()? else {
        return Ok(());
    };
    let (path, address) = (PathBuf::from(file), address(&at.to_string_lossy())?);
    // Each connection opens the file anew. This call only reports an unusable file early.
    open_regular(&path)?;
    try_block_on(serve(&path, address))
}

/// Accepts connections until Ctrl-C.
async fn serve(path: &Path, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await.map_err(because(format!("cannot listen on {address}")))?;
    let stop = terminate()?;
    say(&format!("serving {path:?} on {}", listener.local_addr()?));
    let mut incoming = listener.incoming().on_error(warn).take_until(stop);
    while let Some(stream) = incoming.next().await {
        spawn_local(send(path.to_owned(), stream?).map(report))?;
    }
    say("stopped");
    Ok(())
}

/// Sends the file to one client.
async fn send(path: PathBuf, mut stream: TcpStream) -> io::Result<()> {
    let mut file = Unblock::with_capacity(BUFFER, unblock(move || open_regular(&path)).await?);
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).await? {
            0 => break,
            length => stream.write_all(&buffer[..length]).io_timeout(WRITE_TIMEOUT).await?,
        }
    }
    // A half-close tells the client that the file has ended. Then wait for the client to close its side: closing the
    // socket while bytes from the client are unread would reset the connection, and a reset overtakes data.
    stream.close().await?;
    let _ = copy(stream.take(LINGER_BYTES), &mut sink()).io_timeout(LINGER).await;
    Ok(())
}
