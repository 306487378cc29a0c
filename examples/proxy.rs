//! A TCP proxy: whoever connects to one address gets to talk to another.
//!
//! ```sh
//! cargo run --release --example http_hello &
//! cargo run --release --example proxy -- 127.0.0.1:8080 127.0.0.1:7878
//! curl http://127.0.0.1:8080/
//! ```
//!
//! One task for each connection, and in it one call: `copy_bidirectional` carries the bytes both ways, passes on each
//! side's end, and says how many there were. Both sides are sockets of ours, so bulk data is moved inside the kernel
//! and never gets here. It knows no time limit, on purpose: only the user knows how long the silence of a connection
//! may last.

use async_epoll::LocalRuntime;
use async_net_lite::{CopyError, TcpListener, TcpStream, copy_bidirectional};
use async_timeout::TimeoutExt;
use examples::{Interrupt, Usage, because, exit_code, say};
use futures::StreamExt;
use std::io;
use std::net::{self, SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

/// How long the target may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// What this does; the addresses are HOST:PORT, and port 0 of the first means any free one.
const ABOUT: &str = "Carries the connections to one address (HOST:PORT) on to another.";

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let Some([listen, target]) = (Usage { about: ABOUT, words: ["LISTEN", "TARGET"], trace: true }).from_env()? else {
        return Ok(());
    };
    let (listen, target) = (lookup(&listen.to_string_lossy())?, lookup(&target.to_string_lossy())?);
    let listener = net::TcpListener::bind(listen).map_err(because(format!("cannot listen on {listen}")))?;

    let mut runtime = LocalRuntime::new()?;
    let listener = TcpListener::from_std(listener, &runtime.handle())?;
    let interrupt = Interrupt::new(&runtime.handle())?;
    let spawner = runtime.spawner();
    say(&format!("from {} to {target}", listener.local_addr()?));

    runtime.run_until(async {
        let stop = pin!(interrupt.received());
        let mut incoming = listener.incoming().take_until(stop);
        while let Some(client) = incoming.next().await {
            spawner.spawn_local(carry(client?, target)).map_err(io::Error::other)?;
        }
        io::Result::Ok(())
    })??;

    // The tasks that are left go with the pool, and their connections with them.
    say("stopped");
    Ok(())
}

/// The life of a connection, and one line about it.
async fn carry(client: TcpStream, target: SocketAddr) {
    let name = client.peer_addr().map_or_else(|_| String::from("somebody"), |peer| peer.to_string());
    let copied = async {
        let server = TcpStream::connect(target).io_timeout(PATIENCE).await.map_err(because(format!("to {target}")))?;
        // Small messages go at once, as they came.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let copied = copy_bidirectional(&client, &server).await;
        if copied.is_err() {
            // Closed as they are, both would end in order, as if all had been sent. So they are reset.
            for stream in [&client, &server] {
                let _ = stream.set_linger(Some(Duration::ZERO));
            }
        }
        copied
    };
    say(&match copied.await {
        Ok((there, back)) => format!("{name}: {there} bytes there, {back} back"),
        Err(error) => match error.get_ref().and_then(|payload| payload.downcast_ref::<CopyError>()) {
            Some(copied) => format!("{name}: {} bytes there, {} back, then: {error}", copied.a_to_b, copied.b_to_a),
            None => format!("{name}: {error}"),
        },
    });
}

/// The first address of `text`.
fn lookup(text: &str) -> io::Result<SocketAddr> {
    let explain = because(format!("cannot use the address {text:?}"));
    let first = text.to_socket_addrs().and_then(|mut addresses| {
        addresses.next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address"))
    });
    first.map_err(explain)
}
