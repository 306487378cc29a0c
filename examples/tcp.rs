//! An echo server, and the client to talk to it: a little `netcat`.
//!
//! ```sh
//! cargo run --example tcp -- server 127.0.0.1:7879          # until Ctrl-C
//! cargo run --example tcp -- client 127.0.0.1:7879          # in another terminal: type lines, Ctrl-D to end
//! cargo run --example tcp -- client 127.0.0.1:7879 <README.md
//! ```
//!
//! The idea: a client waits for two things at once, the user and the server, and neither may keep it from the other.
//! With threads that takes two; here it is one `select` of two futures. The server has a task for each connection, and
//! no limits; for those, see `http_hello`.
//!
//! Standard input is a descriptor like any other, but for what `examples/stdin.rs` tells: it belongs to others as well,
//! and may be a regular file.

use async_epoll::{Handle, LocalRuntime, Spawner};
use async_net_lite::{TcpListener, TcpStream};
use examples::{Interrupt, Stdin, Usage, address, because, exit_code, report, say};
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
    let about = "Sends lines to a server that sends them back.";
    let usage = Usage { about, words: ["server|client", "HOST:PORT"], trace: true };
    let Some([role, at]) = usage.from_env()? else {
        return Ok(());
    };
    let address = address(&at.to_string_lossy())?;
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    match role.to_str() {
        Some("server") => runtime.run_until(serve(address, &spawner))?,
        Some("client") => runtime.run_until(talk(address))?,
        _ => Err(io::Error::other(format!("{role:?} is neither \"server\" nor \"client\""))),
    }
}

/// Accepts connections until Ctrl-C.
async fn serve(address: SocketAddr, spawner: &Spawner) -> io::Result<()> {
    let listener = TcpListener::bind(address).await.map_err(because(format!("cannot listen on {address}")))?;
    let interrupt = Interrupt::new(&Handle::current()?)?;
    say(&format!("listening on {}", listener.local_addr()?));
    let stop = pin!(interrupt.received());
    let mut incoming = listener.incoming().take_until(stop);
    while let Some(stream) = incoming.next().await {
        spawner.spawn_local(echo(stream?).map(report)).map_err(io::Error::other)?;
    }
    say("stopped");
    Ok(())
}

/// Sends back what comes, until the client has had enough: the reading end and the writing end are the same socket.
async fn echo(stream: TcpStream) -> io::Result<()> {
    copy(&stream, &mut &stream).await.map(drop)
}

/// Sends what the user says, and prints what the server says, until the server has had enough.
async fn talk(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await.map_err(because(format!("cannot connect to {address}")))?;
    let stdin = Stdin::open(&Handle::current()?)?;
    let send = async {
        copy(stdin, &mut &stream).await.map_err(because("cannot send standard input"))?;
        // Says goodbye, in one direction only. What the server has yet to say still arrives.
        (&stream).close().await
    };
    // Standard output is written the blocking way. While nobody takes it, there is nothing else for us to do.
    let mut stdout = AllowStdIo::new(io::stdout());
    let print = copy(&stream, &mut stdout);
    match select(pin!(send), pin!(print)).await {
        Either::Left((sent, print)) => {
            sent?;
            print.await.map(drop)
        }
        // The server has closed. No point in waiting for the user.
        Either::Right((printed, _)) => printed.map(drop),
    }
}
