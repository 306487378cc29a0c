//! A reactor on a thread of its own, for an executor without a reactor: `block_on` of futures.
//!
//! ```sh
//! cargo run --example background_block_on  # ends by itself
//! ```
//!
//! The idea: `futures::executor::block_on` parks its thread, so a reactor cannot wait there. But its waker may be
//! called on any thread, and unparks the thread of `block_on`. So the reactor moves to a thread of its own, waits
//! there, and calls the wakers from there. One call of `into_background` suffices; the code of sockets and timers stays
//! the same.
//!
//! The price: each wake crosses from one thread to another. If you can choose, use `Reactor::run_until`, which does the
//! same on one thread.

use async_epoll::Reactor;
use async_net_lite::TcpListener;
use examples::{Args, echo, exit_code, say};
use futures::executor::block_on;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use std::io;
use std::process::ExitCode;

/// How many clients there are, and so how many connections.
const CLIENTS: usize = 10;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let about = "A server and its clients in futures' block_on, with the reactor on a thread of its own.";
    let Some(listener) = Args::listen(about)? else {
        return Ok(());
    };

    let reactor = Reactor::new()?.into_background()?;
    // From here to the end of `run`, `reactor` is the current reactor: sockets and timers made on this thread belong to
    // it.
    let _current = reactor.handle().enter();

    let listener = TcpListener::from_std(listener, &reactor.handle())?;
    let address = listener.local_addr()?;
    block_on(async {
        let connections = listener.incoming().take(CLIENTS);
        let server = connections.try_for_each_concurrent(None, echo::serve);
        let clients = try_join_all((0..CLIENTS).map(|_| echo::ask(address)));
        futures::try_join!(server, clients)
    })?;

    say(&format!("{CLIENTS} clients had {} echoes each, in one block_on", echo::LINES));
    let stats = reactor.handle().stats();
    say(&format!(
        "the reactor's thread: {} events, {} timers, {} wakes",
        stats.events, stats.timers_fired, stats.wakes
    ));
    // Ends the reactor's thread, and returns its error, if any.
    reactor.shutdown()
}
