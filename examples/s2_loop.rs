//! Lesson 2: the loop, written by hand.
//!
//! ```sh
//! cargo run --example s2_loop             # ends by itself
//! cargo run --example s2_loop -- --trace  # also shows when the reactor sleeps
//! ```
//!
//! The idea: two parts alternate on one thread. The *pool* polls tasks until no task is ready. The *reactor* sleeps
//! until the kernel, a timer or another thread wakes a task. Each of the three tasks below waits for one of these
//! causes, and a single sleep serves them all.

use async_epoll::{Handle, Reactor, Source, Timer};
use examples::{Usage, exit_code, say};
use futures::AsyncReadExt;
use futures::channel::oneshot;
use futures::executor::LocalPool;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let Some([]) = (Usage { about: "The loop, written by hand.", words: [], trace: true }).from_env()? else {
        return Ok(());
    };
    let mut reactor = Reactor::new()?;
    let mut pool = LocalPool::new();
    let spawner = reactor.spawner(&pool);
    let handle = reactor.handle();

    // Another thread sends through a channel, and writes to a socket.
    let (sender, receiver) = oneshot::channel();
    let (mut far, near) = UnixStream::pair()?;
    let helper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        let _ = sender.send("a message");
        thread::sleep(Duration::from_millis(20));
        far.write_all(b"a line\n")
    });

    // Waits for the clock.
    spawner.spawn(report("timer", after(Duration::from_millis(10), handle.clone())))?;
    // Waits for a waker that is called on another thread: an eventfd ends the reactor's sleep.
    let message = async { receiver.await.map(String::from).map_err(io::Error::other) };
    spawner.spawn(report("channel", message))?;
    // Waits for the kernel: epoll says when the socket is readable.
    let near = Source::with_handle(near, &handle)?;
    spawner.spawn(report("socket", read_all(near)))?;

    // The loop.
    loop {
        // 1. Poll the tasks that were woken, until no task is ready.
        pool.run_until_stalled();
        if spawner.live_tasks() == 0 {
            break;
        }
        // 2. Sleep until a task is woken. The reactor does not sleep while a task is ready.
        reactor.wait(None)?;
    }
    helper.join().expect("the helper does not panic")
}

/// Waits for `task`, and prints its result.
async fn report(name: &str, task: impl Future<Output = io::Result<String>>) {
    match task.await {
        Ok(text) => say(&format!("{name}: {}", text.trim_end())),
        Err(error) => say(&format!("{name} failed: {error}")),
    }
}

/// Waits for the reactor's timer.
async fn after(duration: Duration, handle: Handle) -> io::Result<String> {
    Timer::after(duration, &handle).await?;
    Ok(format!("{duration:?} have passed"))
}

/// Reads from `socket` until the end of file.
async fn read_all(mut socket: Source<UnixStream>) -> io::Result<String> {
    let mut text = String::new();
    socket.read_to_string(&mut text).await?;
    Ok(text)
}
