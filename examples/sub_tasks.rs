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
//!   handle.await             waits for the child's output; an error says that it was aborted, or has panicked
//!   handle.abort()           ends the child: its future is dropped, at whatever await it waits
//!   handle.abort_on_drop()   the same when the handle is dropped
//!   drop(handle)             leaves the child running
//! ```
//!
//! A task without a handle, from `spawn_local`, cannot be awaited or aborted, and its panic ends the task alone: the last
//! lines show where the panic is counted.

use async_epoll::{Handle, LocalRuntime, Spawner, TaskError, spawn_local};
use async_timeout::sleep;
use examples::{Usage, exit_code, say};
use std::cell::Cell;
use std::io;
use std::panic;
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
    let ticks = Rc::new(Cell::new(0));
    let clock = runtime.spawner().spawn_task(tick(Rc::clone(&ticks)))?;
    runtime.try_run_until(parent(&ticks))?;
    // The clock never ends, and `run` would wait for it.
    clock.abort();
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
async fn parent(ticks: &Cell<u32>) -> io::Result<()> {
    let spawner = Spawner::current()?;
    // 1. Children with an output. Both begin now, and the parent waits for the first and then for the second.
    let child = |name, answer| spawner.spawn_task(work(name, answer));
    let (one, other) = (child("one", 40)?, child("other", 2)?);
    let sum = one.await? + other.await?;
    say(&format!("parent: {sum}; the clock went on meanwhile: {}", ticks.get() > 0));

    // 2. A child that is aborted. Its future has been dropped when the handle is ready.
    let unwanted = child("unwanted", 0)?;
    sleep(Duration::from_millis(10)).await;
    unwanted.abort();
    report(unwanted.await);

    // 3. A child that panics. The handle has the payload, and with a name the error says which child it was.
    let broken = async { panic!("a child panics, and its parent hears of it") };
    report(spawner.task().name("broken").spawn_task(broken)?.await);

    // 4. A task without a handle.
    spawn_local(async { panic!("a task without a handle panics") })?;
    sleep(Duration::from_millis(10)).await;
    say(&format!("parent: panics that the loop has caught: {}", Handle::current()?.stats().task_panics));
    Ok(())
}

/// Prints the error of a child.
fn report<T>(outcome: Result<T, TaskError>) {
    if let Err(error) = outcome {
        say(&format!("parent: {error}"));
    }
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
        let how = if self.finished.get() { "finished" } else { "aborted" };
        say(&format!("child {}: {how}", self.name));
    }
}
