//! A server with limits, exact counts and a graceful stop.
//!
//! ```sh
//! cargo run --example server
//! ```
//!
//! The idea: a `Server` owns what is easily wrong in an accept loop. It accepts only while there is room, catches the panics of
//! handlers, and counts each connection once. A stream of bytes does not show whether a connection is idle, so the handler says
//! it, by `idle`, and hears there that the server stops.
//!
//! Four clients connect, one of them by a Unix socket. When the server is told to stop, one client is idle, and the answer of
//! another one is on its way: the first is closed at once, the second gets its answer. The report adds up.

use async_epoll::LocalRuntime;
use async_net_lite::server::{Connection, Next, Server};
use async_net_lite::unix::{UnixListener, UnixStream};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{TimeoutExt, sleep};
use examples::{Usage, exit_code, say};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::time::Duration;

/// How long a slow answer takes.
const WORK: Duration = Duration::from_millis(100);
/// How long a client waits for the server.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let usage = Usage { about: "A server with limits and a graceful stop.", words: [], trace: true };
    let Some([]) = usage.from_env()? else {
        return Ok(());
    };
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    runtime.try_run_until(async {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let address = tcp.local_addr()?;
        // An unnamed address: the kernel chooses an abstract name.
        let unix = UnixListener::bind_addr(&std::os::unix::net::SocketAddr::from_pathname("")?)?;
        let name = unix.local_addr()?;

        // One server, two kinds of listeners, each with its handler.
        let server = Server::builder()
            .listen(tcp, serve)
            .listen(unix, serve)
            .max_connections(100)
            .first_byte_timeout(Duration::from_secs(10))
            .on_event(|event| say(&format!("server: {event}")));
        let handle = server.handle();
        let clients = async {
            let mut idle = TcpStream::connect(address).await?;
            ask(&mut idle, "a word").await?;
            drop(ask(&mut TcpStream::connect(address).await?, "panic").await);
            ask(&mut UnixStream::connect_addr(&name).await?, "by Unix").await?;

            let stop = async {
                sleep(WORK / 2).await;
                handle.stop();
                Ok(())
            };
            let mut busy = TcpStream::connect(address).await?;
            futures::try_join!(ask(&mut busy, "slow"), stop)?;
            assert_eq!(idle.read(&mut [0]).await?, 0, "the idle connection was closed");
            Ok(())
        };
        let (report, ()) = futures::try_join!(server.serve(&spawner), clients)?;
        say(&format!("report: {report}"));
        Ok(())
    })
}

/// Answers words, until the client or the server has enough.
async fn serve(mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 64];
    while connection.idle().await? == Next::Data {
        let len = connection.read(&mut buffer).await?;
        let word = String::from_utf8_lossy(&buffer[..len]);
        match &*word {
            // As a panic does, but without a message on the standard error.
            "panic" => resume_unwind(Box::new("on purpose")),
            "slow" => sleep(WORK).await,
            _ => {}
        }
        // The last answer says so.
        let end = if connection.is_stopping() { ", and goodbye" } else { "" };
        connection.write_all(format!("you said {word}{end}").as_bytes()).await?;
    }
    Ok(())
}

/// Sends a word, and prints the answer.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), word: &str) -> io::Result<()> {
    stream.write_all(word.as_bytes()).await?;
    let mut buffer = [0; 64];
    let len = stream.read(&mut buffer).io_timeout(PATIENCE).await?;
    say(&format!("client: {}", String::from_utf8_lossy(&buffer[..len])));
    Ok(())
}
