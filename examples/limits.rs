//! Time limits, and clients that exceed them.
//!
//! ```sh
//! cargo run --example limits
//! ```
//!
//! The idea: a server gives each connection three limits. *Idle* limits a wait without a byte, *total* the whole life
//! of the connection, and *write stall* the time for which the client does not take an answer. One timer for each
//! connection serves all three, and reads do not touch it. The work on a request has a deadline too, which applies to
//! everything that the work waits for.
//!
//! Four clients connect: the first is in time, the second stays silent, the third sends a byte now and then for ever,
//! and the request of the fourth takes too long.

use async_epoll::{spawn_local, try_block_on};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{LimitExceeded, guard, interval, now, sleep, with_deadline};
use examples::{Usage, exit_code, next_line, say};
use futures::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use futures::{StreamExt, future::join_all};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// How long no byte may move while the server waits.
const IDLE: Duration = Duration::from_millis(200);
/// How long a connection may last.
const TOTAL: Duration = Duration::from_millis(600);
/// How long a client may take nothing of an answer.
const STALL: Duration = Duration::from_millis(150);
/// How long the work on a request may take.
const REQUEST: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let usage = Usage { about: "Time limits, and clients that exceed them.", words: [], trace: true };
    let Some([]) = usage.from_env()? else {
        return Ok(());
    };
    try_block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        spawn_local(accept(listener))?;
        // Another task, to show that the thread is not blocked.
        spawn_local(tick())?;
        let clients = ["in time", "silent", "dripping", "slow"].map(|name| client(name, address));
        for done in join_all(clients).await {
            done?;
        }
        Ok(())
    })
}

/// Serves each connection in a task of its own, and prints the limit that ended the connection.
async fn accept(listener: TcpListener) {
    let mut incoming = listener.incoming();
    // An item is an error only when the listener itself has failed.
    while let Some(Ok(stream)) = incoming.next().await {
        let _ = spawn_local(async move {
            if let Err(error) = serve(stream).await {
                let limit = LimitExceeded::of(&error).map_or_else(|| "no limit".into(), |by| format!("{:?}", by.limit));
                say(&format!("server: {error} ({limit})"));
            }
        });
    }
}

/// Reads a line, works on it and answers, until the client closes its side: that is an error, too, of another kind.
async fn serve(stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(guard(stream).idle(IDLE).total(TOTAL).write_stall(STALL));
    loop {
        let line = next_line(&mut stream).await?;
        // The deadline ends everything inside: a sleep, a connection, a lookup.
        let answer = with_deadline(work(&line), now() + REQUEST).await;
        stream.write_all(answer.unwrap_or("too late\n").as_bytes()).await?;
    }
}

/// Works on a request. The work on the request `slow` takes longer than its limit.
async fn work(line: &str) -> &'static str {
    if line == "slow" {
        sleep(10 * REQUEST).await;
    }
    "done\n"
}

/// Runs one of the four clients, and prints the answer of the server.
async fn client(name: &str, address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut answer = String::new();
    match name {
        "silent" => {}
        "dripping" => {
            // Some time after the server has closed the connection, writing fails.
            while stream.write_all(b".").await.is_ok() {
                sleep(IDLE / 4).await;
            }
        }
        _ => {
            stream.write_all(format!("{name}\n").as_bytes()).await?;
            stream.close().await?;
        }
    }
    // A connection that the server has cut may end in an error.
    let _ = stream.read_to_string(&mut answer).await;
    say(&format!("client, {name}: {:?}", answer.trim_end()));
    Ok(())
}

/// Prints a line every 100 milliseconds.
async fn tick() {
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        say("tick");
    }
}
