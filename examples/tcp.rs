//! An echo server and an interactive client: a small `netcat`.
//!
//! ```sh
//! cargo run --example tcp -- server 127.0.0.1:7879          # until Ctrl-C
//! cargo run --example tcp -- client 127.0.0.1:7879          # in another terminal: type lines, Ctrl-D to end
//! cargo run --example tcp -- client 127.0.0.1:7879 <README.md
//! ```
//!
//! The idea: the client waits for the user and for the server at the same time. A blocking program would need two
//! threads; here one task waits for both, by `select`. The server has a task for each connection, and no time limits;
//! `http_hello` has them.
//!
//! Standard input is a descriptor like any other, with two difficulties: other processes share its open file, and it
//! may be a regular file. `async_epoll::stdin` deals with both.

use async_epoll::{spawn_local, stdin, terminate, try_block_on};
use async_net_lite::{TcpListener, TcpStream};
use examples::{Usage, address, because, exit_code, report, say, warn};
use futures::future::{Either, select};
use futures::io::{AllowStdIo, copy};
use futures::{AsyncWriteExt, FutureExt, StreamExt};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let about = "Runs an echo server, or a client for it.";
    let usage = Usage { about, words: ["server|client", "HOST:PORT"], trace: true };
    let Some([role, at]) = usage.from_env()? else {
        return Ok(());
    };
    let address = address(&at.to_string_lossy())?;
    match role.to_str() {
        Some("server") => try_block_on(serve(address)),
        Some("client") => try_block_on(run_client(address)),
        _ => Err(io::Error::other(format!("{role:?} is neither \"server\" nor \"client\""))),
    }
}

/// Accepts connections until Ctrl-C.
async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await.map_err(because(format!("cannot listen on {address}")))?;
    let stop = terminate()?;
    say(&format!("listening on {}", listener.local_addr()?));
    let mut incoming = listener.incoming().on_error(warn).take_until(stop);
    while let Some(stream) = incoming.next().await {
        spawn_local(echo(stream?).map(report))?;
    }
    say("stopped");
    Ok(())
}

/// Sends back all bytes, until the client closes its side. The socket is both the reader and the writer of the copy.
async fn echo(stream: TcpStream) -> io::Result<()> {
    copy(&stream, &mut &stream).await.map(drop)
}

/// Sends standard input to the server, and prints the bytes from the server, until the server closes the connection.
async fn run_client(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await.map_err(because(format!("cannot connect to {address}")))?;
    let stdin = stdin().map_err(because("cannot open standard input"))?;
    let send = async {
        copy(stdin, &mut &stream).await.map_err(because("cannot send standard input"))?;
        // A half-close: ends this direction only. The remaining bytes from the server still arrive.
        (&stream).close().await
    };
    // Standard output is written with blocking calls. While it is full, the client has nothing else to do.
    let mut stdout = AllowStdIo::new(io::stdout());
    let print = copy(&stream, &mut stdout);
    match select(pin!(send), pin!(print)).await {
        Either::Left((sent, print)) => {
            sent?;
            print.await.map(drop)
        }
        // The server has closed the connection: stop reading standard input.
        Either::Right((printed, _)) => printed.map(drop),
    }
}
