//! A TCP proxy: forwards the connections to an address to another address.
//!
//! ```sh
//! cargo run --release --example http_hello &
//! cargo run --release --example proxy -- 127.0.0.1:8080 127.0.0.1:7878
//! curl http://127.0.0.1:8080/
//! ```
//!
//! The idea: each connection is a task with a single call. `copy_bidirectional` copies the bytes in both directions,
//! passes on the end of each direction, and returns the numbers of bytes. Both sides are sockets of async-net-lite, so
//! bulk data moves inside the kernel and never enters the process. The call has no time limit of its own: how long a
//! connection may be silent depends on the application.

use async_epoll::{LocalRuntime, terminate_with};
use async_net_lite::{CopyError, TcpListener, TcpStream, copy_bidirectional};
use async_timeout::TimeoutExt;
use examples::{Usage, because, exit_code, say, warn};
use futures::StreamExt;
use std::io;
use std::net::{self, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

/// How long the target may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The first line of the help. Port 0 in the first address means any free port.
const ABOUT: &str = "Forwards the connections to an address (HOST:PORT) to another address.";

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
    let stop = terminate_with(&runtime.handle())?;
    let spawner = runtime.spawner();
    say(&format!("from {} to {target}", listener.local_addr()?));

    runtime.try_run_until(async {
        let mut incoming = listener.incoming().on_error(warn).take_until(stop);
        while let Some(client) = incoming.next().await {
            spawner.spawn(forward(client?, target))?;
        }
        io::Result::Ok(())
    })?;

    // The remaining tasks, and their connections, are dropped with the pool.
    say("stopped");
    Ok(())
}

/// Forwards a connection to `target`, and prints a line about it.
async fn forward(client: TcpStream, target: SocketAddr) {
    let name = client.peer_addr().map_or_else(|_| String::from("unknown client"), |peer| peer.to_string());
    let copied = async {
        let server =
            TcpStream::connect(target).io_timeout(CONNECT_TIMEOUT).await.map_err(because(format!("to {target}")))?;
        // Small messages are forwarded at once, without Nagle's algorithm.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let copied = copy_bidirectional(&client, &server).await;
        if copied.is_err() {
            // A normal close would tell both peers that all bytes have been sent. So both connections are reset.
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

/// Returns the first address of `text`.
fn lookup(text: &str) -> io::Result<SocketAddr> {
    let explain = because(format!("cannot use the address {text:?}"));
    let first = text.to_socket_addrs().and_then(|mut addresses| {
        addresses.next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address"))
    });
    first.map_err(explain)
}
