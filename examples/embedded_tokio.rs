//! A reactor inside tokio: its tasks and tokio's share one thread.
//!
//! ```sh
//! cargo run --example embedded_tokio  # ends by itself
//! ```
//!
//! The idea is that of `embedded_epoll`: a reactor built with `embedded` is a descriptor that becomes readable whenever
//! it has something to do. To tokio it is one more descriptor, which an `AsyncFd` watches; a task of tokio's gives the
//! guest a turn when it is readable. No thread is added, and neither side knows the other's tasks.
//!
//! Here tokio accepts connections, and the guest serves them.

use async_epoll::{Handle, Reactor, Spawner};
use async_net_lite::TcpStream;
use examples::{Args, echo, exit_code, report, say};
use futures::executor::LocalPool;
use futures::{FutureExt, TryFutureExt};
use std::cell::Cell;
use std::io;
use std::net;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Clients, and so connections.
const CLIENTS: usize = 10;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let Some(listener) = Args::listen("A server inside tokio, on one thread.")? else {
        return Ok(());
    };
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;

    // The guest, and its tasks: the clients, and later the connections.
    let (mut reactor, mut pool) = (Reactor::builder().embedded().build()?, LocalPool::new());
    let (spawner, handle) = (reactor.spawner(&pool), reactor.handle());
    let echoes = Rc::new(Cell::new(0));
    for _ in 0..CLIENTS {
        let echoes = Rc::clone(&echoes);
        let client = echo::ask(address).map_ok(move |_| echoes.set(echoes.get() + echo::LINES));
        spawner.spawn_local(client.map(report)).map_err(io::Error::other)?;
    }

    let host = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    host.block_on(async {
        let guest = async {
            #[allow(deprecated, reason = "for those whose descriptor changes, which an OwnedFd's cannot")]
            let descriptor = AsyncFd::new(reactor.as_fd().try_clone_to_owned()?)?;
            while spawner.live_tasks() > 0 {
                // Before the turn: what comes during it is news again.
                descriptor.readable().await?.clear_ready();
                reactor.wait(Some(Duration::ZERO))?;
                pool.run_until_stalled();
            }
            io::Result::Ok(())
        };
        // The server goes on for ever; it is the guest that comes to an end.
        tokio::select! {
            result = accept_all(listener, &spawner, &handle) => result,
            result = guest => result,
        }
    })?;
    let stats = handle.stats();
    say(&format!("{CLIENTS} clients had {} echoes; tokio accepted, its guest served", echoes.get()));
    say(&format!("the guest had {} turns: {} events, {} timers", stats.turns, stats.events, stats.timers_fired));
    Ok(())
}

/// Accepts in tokio's reactor, and hands each connection to ours.
async fn accept_all(listener: net::TcpListener, spawner: &Spawner, handle: &Handle) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let stream = TcpStream::from_std(stream.into_std()?, handle)?;
        // The new task makes the descriptor readable, so the guest gets a turn.
        spawner.spawn_local(echo::serve(stream).map(report)).map_err(io::Error::other)?;
    }
}
