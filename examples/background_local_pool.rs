//! A reactor on a thread of its own, for a `LocalPool` in code that you cannot change.
//!
//! ```sh
//! cargo run --example background_local_pool  # ends by itself
//! ```
//!
//! The idea: deep in a program, perhaps in a dependency, there is a `LocalPool` and a call of its plain `run`. The call
//! parks the thread when no task is ready, and asks neither the kernel nor the clock. A reactor on another thread asks
//! them instead, and wakes the tasks. The tasks are spawned through the pool's own spawner, need not be `Send`, and
//! stay on this thread.
//!
//! If you can change the loop, `http_hello` shows the better way: pool and reactor on one thread.

use async_epoll::Reactor;
use async_net_lite::TcpListener;
use examples::{Args, echo, exit_code, say};
use futures::StreamExt;
use futures::executor::{LocalPool, LocalSpawner};
use futures::future::try_join_all;
use futures::task::LocalSpawnExt;
use std::cell::Cell;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

/// How many clients there are, and so how many connections.
const CLIENTS: usize = 10;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let about = "A server and its clients in a plain LocalPool, with the reactor on a thread of its own.";
    let Some(listener) = Args::listen(about)? else {
        return Ok(());
    };
    let reactor = Reactor::new()?.into_background()?;
    let _current = reactor.handle().enter();
    let listener = TcpListener::from_std(listener, &reactor.handle())?;
    let address = listener.local_addr()?;

    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let served = Rc::new(Cell::new(0));
    spawner.spawn_local(serve_all(listener, spawner.clone(), Rc::clone(&served))).map_err(io::Error::other)?;
    let clients = (0..CLIENTS).map(|_| spawner.spawn_local_with_handle(echo::ask(address)));
    let clients = clients.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    pool.run_until(try_join_all(clients))?;
    // The clients have ended. Wait for the tasks of their connections too.
    pool.run();

    say(&format!("{CLIENTS} clients had {} echoes each, in a plain LocalPool", echo::LINES));
    say(&format!("the server counted {} connections, without a lock", served.get()));
    reactor.shutdown()
}

/// Accepts [`CLIENTS`] connections, and serves each in a task of its own.
async fn serve_all(listener: TcpListener, spawner: LocalSpawner, served: Rc<Cell<usize>>) {
    let mut incoming = listener.incoming().take(CLIENTS);
    while let Some(stream) = incoming.next().await {
        let served = Rc::clone(&served);
        let connection = async move {
            match async { echo::serve(stream?).await }.await {
                Ok(()) => served.set(served.get() + 1),
                Err(error) => say(&format!("a connection failed: {error}")),
            }
        };
        // An error means that the pool is gone, and then this task is gone too.
        let _ = spawner.spawn_local(connection);
    }
}
