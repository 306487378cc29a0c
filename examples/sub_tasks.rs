//! A parent task that spawns child tasks, and waits for their results.
//!
//! ```sh
//! cargo run --example sub_tasks  # ends by itself
//! ```
//!
//! The idea: the handle of a child is a future, so the parent waits for the child without blocking the thread. Another
//! task, the clock, ticks all the time. The handle also decides about the life of the child:
//!
//! ```text
//!   handle.await      waits for the child's output; if the child panics, the panic continues in the parent
//!   drop(handle)      cancels the child: it is dropped at its next poll, at whatever await it waits
//!   handle.forget()   detaches the child: it goes on, and its output is dropped
//! ```
//!
//! The spawner is that of async-epoll, the handle that of futures-rs. A task without a handle, from plain
//! `spawn_local`, cannot be awaited or cancelled, and its panic ends the task alone: the last lines show where the
//! panic is counted.

use async_epoll::{Handle, LocalRuntime, Spawner};
use async_timeout::sleep;
use examples::{Usage, exit_code, say};
use futures::FutureExt;
use std::cell::Cell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let usage = Usage { about: "A parent waits for its children, on one thread.", words: [], trace: true };
    let Some([]) = usage.from_env()? else {
        return Ok(());
    };
    // For each panic the standard hook prints several lines to standard error. This hook prints only the message.
    panic::set_hook(Box::new(|panic| {
        say(&format!("  ({})", panic.payload().downcast_ref().copied().unwrap_or("a panic")));
    }));

    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    let ticks = Rc::new(Cell::new(0));
    let clock = spawner.spawn_local_with_handle(tick(Rc::clone(&ticks))).map_err(io::Error::other)?;
    runtime.run_until(parent(&spawner, &ticks))??;
    // The clock never ends, and `run` would wait for it.
    drop(clock);
    runtime.run()?;
    say(&format!("no task is left, after {} ticks", ticks.get()));
    Ok(())
}

/// The clock: shows that no other task blocks the thread.
async fn tick(ticks: Rc<Cell<u32>>) {
    loop {
        sleep(Duration::from_millis(5)).await;
        ticks.set(ticks.get() + 1);
    }
}

/// Spawns children in four ways, and prints what happens to them.
async fn parent(spawner: &Spawner, ticks: &Cell<u32>) -> io::Result<()> {
    // 1. Children with an output. Both begin now, and the parent waits for the first and then for the second.
    let child = |name, answer| spawner.spawn_local_with_handle(work(name, answer)).map_err(io::Error::other);
    let (one, other) = (child("one", 40)?, child("other", 2)?);
    let sum = one.await + other.await;
    say(&format!("parent: {sum}; the clock went on meanwhile: {}", ticks.get() > 0));

    // 2. A child that is cancelled.
    let unwanted = child("unwanted", 0)?;
    sleep(Duration::from_millis(10)).await;
    drop(unwanted);
    // The drop has woken the child, so it is polled, and dropped, during this sleep.
    sleep(Duration::from_millis(10)).await;

    // 3. A child that panics. Its panic continues in the parent, unless the parent catches it at the handle.
    let broken = async { panic!("a child panics, and its parent catches the panic") };
    let broken = spawner.spawn_local_with_handle(broken).map_err(io::Error::other)?;
    let outcome: Result<(), _> = AssertUnwindSafe(broken).catch_unwind().await;
    say(&format!("parent: the child has panicked: {}", outcome.is_err()));

    // 4. A task without a handle.
    spawner.spawn_local(async { panic!("a task without a handle panics") }).map_err(io::Error::other)?;
    sleep(Duration::from_millis(10)).await;
    say(&format!("parent: panics that the loop has caught: {}", Handle::current()?.stats().task_panics));
    Ok(())
}

/// The work of a child: takes some time, and returns `answer`.
async fn work(name: &'static str, answer: u32) -> u32 {
    let on_drop = PrintOnDrop { name, finished: Cell::new(false) };
    sleep(Duration::from_millis(30)).await;
    on_drop.finished.set(true);
    answer
}

/// Prints a line when dropped. A child's values are dropped with the child: its sockets are closed, its timers
/// disarmed, and this line is printed.
struct PrintOnDrop {
    name: &'static str,
    finished: Cell<bool>,
}

impl Drop for PrintOnDrop {
    fn drop(&mut self) {
        let how = if self.finished.get() { "finished" } else { "cancelled" };
        say(&format!("child {}: {how}", self.name));
    }
}
