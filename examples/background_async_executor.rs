//! A reactor on a thread of its own, for a work-stealing executor: async-executor, on several threads.
//!
//! ```sh
//! cargo run --example background_async_executor  # ends by itself
//! ```
//!
//! The idea: in a work-stealing executor each thread has a queue of its own, and an idle thread takes tasks from the
//! other queues. So a task may be polled on different threads, and its waker has to find the task. A waker of
//! async-executor does so from any thread, and the reactor needs nothing else: the reactor's thread calls the waker,
//! and the executor does the rest.

use async_epoll::Reactor;
use async_executor::Executor;
use async_net_lite::TcpListener;
use examples::{Args, echo, exit_code, say};
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{FutureExt, try_join, try_join_all};
use futures::stream::StreamExt;
use std::collections::HashSet;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

/// How many clients there are, and so how many connections.
const CLIENTS: usize = 10;
/// How many threads run the executor.
const THREADS: usize = 3;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let about = "A server and its clients on a work-stealing executor, with the reactor on a thread of its own.";
    let Some(listener) = Args::listen(about)? else {
        return Ok(());
    };
    let reactor = Reactor::new()?.into_background()?;
    let listener = TcpListener::from_std(listener, &reactor.handle())?;
    let address = listener.local_addr()?;
    let executor = Arc::new(Executor::new());

    // Each thread runs the executor until the sender is dropped.
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.shared();
    let threads = (0..THREADS).map(|_| {
        let (executor, handle, stopped) = (Arc::clone(&executor), reactor.handle(), stopped.clone());
        thread::spawn(move || {
            let _current = handle.enter();
            // The result is always `Canceled`, because nothing is ever sent.
            let _ = block_on(executor.run(stopped));
        })
    });
    let threads: Vec<_> = threads.collect();

    let server = executor.spawn(serve_all(listener, Arc::clone(&executor)));
    let clients: Vec<_> = (0..CLIENTS).map(|_| executor.spawn(echo::ask(address))).collect();
    let ((), polled_by) = block_on(try_join(server, try_join_all(clients)))?;
    drop(stop);
    threads.into_iter().for_each(|thread| thread.join().expect("the executor does not panic"));

    let most = polled_by.iter().map(HashSet::len).max().unwrap_or_default();
    say(&format!("{CLIENTS} clients had {} echoes each, on a work-stealing executor", echo::LINES));
    say(&format!("the client that moved most was polled by {most} of {THREADS} threads"));
    reactor.shutdown()
}

/// Accepts [`CLIENTS`] connections, serves each in a task of its own, and waits for all tasks.
async fn serve_all(listener: TcpListener, executor: Arc<Executor<'static>>) -> io::Result<()> {
    let mut incoming = listener.incoming().take(CLIENTS);
    let mut connections = Vec::new();
    while let Some(stream) = incoming.next().await {
        connections.push(executor.spawn(echo::serve(stream?)));
    }
    try_join_all(connections).await.map(drop)
}
