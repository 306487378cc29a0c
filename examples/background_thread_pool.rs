//! A reactor on a thread of its own, for the `ThreadPool` of futures.
//!
//! ```sh
//! cargo run --example background_thread_pool  # ends by itself
//! ```
//!
//! The idea: a `ThreadPool` runs each task on any free thread, and one reactor serves all threads. Only the current
//! reactor has to be set on each thread, for sockets and timers that are made without a handle. The hook `after_start`
//! does this here.
//!
//! The tasks have to be `Send` now. The sockets and timers are.

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

/// How many clients there are, and so how many connections.
const CLIENTS: usize = 10;
/// How many threads the pool has.
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

    // Dropping the guard would restore the reactor that was current before. There was none, and the setting is to last
    // as long as the thread, so the guard is forgotten.
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

/// Accepts [`CLIENTS`] connections, serves each in a task of its own, and waits for all tasks.
async fn serve_all(listener: TcpListener, pool: ThreadPool) -> io::Result<()> {
    let mut incoming = listener.incoming().take(CLIENTS);
    let mut connections = Vec::new();
    while let Some(stream) = incoming.next().await {
        connections.push(spawn(&pool, echo::serve(stream?))?);
    }
    try_join_all(connections).await.map(drop)
}

/// Spawns a task, and returns its handle.
fn spawn<T: Send + 'static>(
    pool: &ThreadPool,
    task: impl Future<Output = io::Result<T>> + Send + 'static,
) -> io::Result<impl Future<Output = io::Result<T>> + Send> {
    pool.spawn_with_handle(task).map_err(io::Error::other)
}
