//! A reactor on a thread of its own, for the `ThreadPool` of futures.
//!
//! ```sh
//! cargo run --example background_thread_pool  # ends by itself
//! ```
//!
//! The idea: `ThreadPool` runs each task on whichever of its threads is free. One reactor serves them all, and only one
//! thing has to be said on each thread: which reactor sockets and timers belong to, if nobody passes a handle. That is
//! what `after_start` does here.
//!
//! Tasks have to be `Send` now. Our sockets and timers are.

use async_epoll::Reactor;
use async_net_lite::TcpListener;
use examples::{Args, echo, exit_code, say};
use futures::StreamExt;
use futures::executor::{ThreadPool, block_on};
use futures::future::{try_join, try_join_all};
use futures::task::SpawnExt;
use std::collections::HashSet;
use std::io;
use std::process::ExitCode;

/// Clients, and so connections.
const CLIENTS: usize = 10;
/// Threads of the pool.
const THREADS: usize = 3;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let about = "A server and its clients on a ThreadPool, with the reactor on a thread of its own.";
    let Some(listener) = Args::listen(about)? else {
        return Ok(());
    };
    let reactor = Reactor::new()?.into_background()?;
    let handle = reactor.handle();
    let listener = TcpListener::from_std(listener, &handle)?;
    let address = listener.local_addr()?;

    // The guard would put back what was there before. Nothing was: it is to last as long as the thread.
    let enter = move |_| std::mem::forget(handle.enter());
    let pool = ThreadPool::builder().pool_size(THREADS).name_prefix("pool-").after_start(enter).create()?;

    let server = spawn(&pool, serve_all(listener, pool.clone()))?;
    let clients = (0..CLIENTS).map(|_| spawn(&pool, echo::ask(address))).collect::<io::Result<Vec<_>>>()?;
    let ((), threads) = block_on(try_join(server, try_join_all(clients)))?;

    let threads: HashSet<_> = threads.into_iter().flatten().collect();
    say(&format!("{CLIENTS} clients had {} echoes each, on a ThreadPool", echo::LINES));
    say(&format!("{} of the pool's {THREADS} threads have polled a client", threads.len()));
    reactor.shutdown()
}

/// A task for each connection. Done when all are.
async fn serve_all(listener: TcpListener, pool: ThreadPool) -> io::Result<()> {
    let mut incoming = listener.incoming().take(CLIENTS);
    let mut connections = Vec::new();
    while let Some(stream) = incoming.next().await {
        connections.push(spawn(&pool, echo::serve(stream?))?);
    }
    try_join_all(connections).await.map(drop)
}

/// Spawns a task whose result is awaited.
fn spawn<T: Send + 'static>(
    pool: &ThreadPool,
    task: impl Future<Output = io::Result<T>> + Send + 'static,
) -> io::Result<impl Future<Output = io::Result<T>> + Send> {
    pool.spawn_with_handle(task).map_err(io::Error::other)
}
