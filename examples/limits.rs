//! Limits in time, and peers that try to get around them.
//!
//! ```sh
//! cargo run --example limits
//! ```
//!
//! A server gives each connection three limits: so long may it say nothing (*idle*), so long may it take in all
//! (*total*), so long may it leave our answer lying about (*write stall*). It is one timer for each connection, and a
//! read does not touch it. What the server does with a request has a deadline as well, whatever that has to wait for.
//! Four clients come: one is in time, one falls silent, one sends a byte now and then for ever, and one asks for what
//! takes too long.

use async_epoll::{LocalRuntime, Spawner};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{LimitExceeded, guard, interval, now, sleep, with_deadline};
use examples::{Usage, exit_code, say};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::{StreamExt, future::join_all};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

const IDLE: Duration = Duration::from_millis(200);
const TOTAL: Duration = Duration::from_millis(600);
const STALL: Duration = Duration::from_millis(150);
const REQUEST: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let usage = Usage { about: "Limits in time, and peers that try to get around them.", words: [], trace: true };
    let Some([]) = usage.from_env()? else {
        return Ok(());
    };
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    runtime.run_until(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        spawner.spawn_local(accept(listener, spawner.clone())).map_err(io::Error::other)?;
        // Something else that goes on meanwhile.
        spawner.spawn_local(tick()).map_err(io::Error::other)?;
        let clients = ["in time", "silent", "dripping", "slow"].map(|name| client(name, address));
        for done in join_all(clients).await {
            done?;
        }
        Ok(())
    })?
}

async fn accept(listener: TcpListener, spawner: Spawner) {
    let mut incoming = listener.incoming();
    // An item is an error only when the listener itself has failed.
    while let Some(Ok(stream)) = incoming.next().await {
        let _ = spawner.spawn_local(async move {
            if let Err(error) = serve(stream).await {
                let limit = LimitExceeded::of(&error).map_or_else(|| "no limit".into(), |by| format!("{:?}", by.limit));
                say(&format!("server: {error} ({limit})"));
            }
        });
    }
}

/// Reads a line, works on it, answers; until the client has had enough.
async fn serve(stream: TcpStream) -> io::Result<()> {
    let mut stream = guard(stream).idle(IDLE).total(TOTAL).write_stall(STALL);
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match stream.read(&mut byte).await? {
            0 => return Ok(()),
            _ if byte != *b"\n" => line.push(byte[0]),
            _ => {
                // Everything inside, be it a sleep, a connection or a lookup, ends with the deadline.
                let answer = with_deadline(work(&line), now() + REQUEST).await;
                stream.write_all(answer.unwrap_or("too late\n").as_bytes()).await?;
                line.clear();
            }
        }
    }
}

/// As long as the request is wrong.
async fn work(line: &[u8]) -> &'static str {
    if line == b"slow" {
        sleep(10 * REQUEST).await;
    }
    "done\n"
}

async fn client(name: &str, address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut answer = String::new();
    match name {
        "silent" => {}
        "dripping" => {
            // The server closes when it has had enough, and then writing fails, sooner or later.
            while stream.write_all(b".").await.is_ok() {
                sleep(IDLE / 4).await;
            }
        }
        _ => {
            stream.write_all(format!("{name}\n").as_bytes()).await?;
            stream.close().await?;
        }
    }
    // A connection that was cut in the middle may end in an error.
    let _ = stream.read_to_string(&mut answer).await;
    say(&format!("client, {name}: {:?}", answer.trim_end()));
    Ok(())
}

async fn tick() {
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        say("tick");
    }
}
