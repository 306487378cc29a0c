//! Spawning tasks onto the loop from another thread.
//!
//! ```sh
//! cargo run --example remote_spawn  # ends by itself
//! ```
//!
//! The idea: a future without `Send` cannot move to another thread, but a closure that makes the future can. So a
//! blocking thread, here in a plain `accept`, sends a closure for each connection. The loop's thread calls the closure,
//! and polls the future it returns. The future may contain an `Rc` and a `Cell`, although another thread has spawned
//! it.

use async_epoll::{Handle, LocalRuntime, RemoteSpawner};
use async_net_lite::TcpStream;
use async_timeout::sleep;
use examples::{Args, echo, exit_code, report, say};
use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::{FutureExt, TryFutureExt};
use std::cell::Cell;
use std::io;
use std::net::{self, TcpListener};
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

/// How many clients there are, and so how many connections.
const CLIENTS: usize = 3;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let Some(listener) = Args::listen("A thread that blocks in accept, and spawns tasks onto the loop.")? else {
        return Ok(());
    };
    let address = listener.local_addr()?;
    let mut runtime = LocalRuntime::new()?;
    let (remote, spawner) = (runtime.spawner().remote(), runtime.spawner());
    for _ in 0..CLIENTS {
        spawner.spawn(echo::ask(address).map_ok(drop).map(report))?;
    }

    // The worker. A `RemoteSpawner` alone does not keep `run` from returning, so the loop waits for the worker's
    // message.
    let (sender, accepted) = oneshot::channel();
    let worker = thread::spawn(move || sender.send(accept_all(&listener, &remote)));
    runtime.run_until(accepted)?.map_err(io::Error::other)??;
    // Then the loop waits for the remaining tasks.
    runtime.run()?;
    drop(worker.join());

    say(&format!("a thread accepted {CLIENTS} connections, and the loop has served them"));
    Ok(())
}

/// Accepts connections with blocking calls, and spawns a task for each. Only for a thread of its own.
fn accept_all(listener: &TcpListener, remote: &RemoteSpawner) -> io::Result<()> {
    for _ in 0..CLIENTS {
        let (stream, _) = listener.accept()?;
        remote.spawn_with(move || serve(stream).map(report))?;
    }
    Ok(())
}

/// Serves a connection, on the loop's thread, and counts how many ticks of 5 milliseconds it lasts.
async fn serve(stream: net::TcpStream) -> io::Result<()> {
    let stream = TcpStream::from_std(stream, &Handle::current()?)?;
    let ticks = Rc::new(Cell::new(0)); // Makes this future `!Send`.
    let clock = async {
        loop {
            sleep(Duration::from_millis(5)).await;
            ticks.set(ticks.get() + 1);
        }
    };
    match select(pin!(echo::serve(stream)), pin!(clock)).await {
        Either::Left((result, _)) => result.map(|()| say(&format!("a connection of {} ticks", ticks.get()))),
        Either::Right((never, _)) => never,
    }
}
