//! A reactor inside tokio: the tasks of both share one thread.
//!
//! ```sh
//! cargo run --example embedded_tokio  # ends by itself
//! ```
//!
//! The idea is the same as in `embedded_epoll`: a reactor that is built with `embedded` has a descriptor that is
//! readable whenever the reactor has work. For tokio this is one more descriptor, and an `AsyncFd` watches it. When the
//! descriptor is readable, a future on tokio runs a turn of the reactor, the *guest*. No thread is added, and neither
//! side needs to know the tasks of the other.
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

/// How many clients there are, and so how many connections.
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
        spawner.spawn(client.map(report))?;
    }

    let host = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    host.block_on(async {
        let guest = async {
            #[allow(deprecated, reason = "it warns of types that change their descriptor; an OwnedFd does not")]
            let descriptor = AsyncFd::new(reactor.as_fd().try_clone_to_owned()?)?;
            while spawner.live_tasks() > 0 {
                // Cleared before the turn: work that arrives during the turn makes the descriptor ready again.
                descriptor.readable().await?.clear_ready();
                reactor.wait(Some(Duration::ZERO))?;
                pool.run_until_stalled();
            }
            io::Result::Ok(())
        };
        // The server never ends; the guest ends with its last task.
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

/// Accepts connections in tokio's reactor, and serves each in a task of the guest.
async fn accept_all(listener: net::TcpListener, spawner: &Spawner, handle: &Handle) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let stream = TcpStream::from_std(stream.into_std()?, handle)?;
        // The new task makes the guest's descriptor readable, so a turn of the guest follows.
        spawner.spawn(echo::serve(stream).map(report))?;
    }
}
