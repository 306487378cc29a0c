//! A parent that spawns children and waits for what they bring.
//!
//! ```sh
//! cargo run --example sub_tasks  # ends by itself
//! ```
//!
//! The idea: awaiting a child's handle is like awaiting anything else, so the parent waits and the thread does not. The
//! clock of this program, one more task, ticks through it all. And the handle is the child's life line:
//!
//! ```text
//!   handle.await      what the child returns; or its panic, which goes on in the parent
//!   drop(handle)      cancels: the child is dropped at its next turn, wherever it waits
//!   handle.forget()   lets it go: the child lives on, and nobody will learn how it went
//! ```
//!
//! The spawner is ours, the handle is that of futures-rs. A task without a handle, from plain `spawn_local`, cannot be
//! awaited or cancelled, and its panic ends only itself: the last lines show where such a panic is counted.

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
    // Of a panic the standard hook prints several lines, to standard error. Here one will do.
    panic::set_hook(Box::new(|panic| {
        say(&format!("  ({})", panic.payload().downcast_ref().copied().unwrap_or("a panic")));
    }));

    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    let ticks = Rc::new(Cell::new(0));
    let clock = spawner.spawn_local_with_handle(tick(Rc::clone(&ticks))).map_err(io::Error::other)?;
    runtime.run_until(parent(&spawner, &ticks))??;
    // The clock would tick for ever, and `run` wait for it.
    drop(clock);
    runtime.run()?;
    say(&format!("no task is left, after {} ticks", ticks.get()));
    Ok(())
}

/// The clock: shows that nobody blocks the thread.
async fn tick(ticks: Rc<Cell<u32>>) {
    loop {
        sleep(Duration::from_millis(5)).await;
        ticks.set(ticks.get() + 1);
    }
}

async fn parent(spawner: &Spawner, ticks: &Cell<u32>) -> io::Result<()> {
    // 1. A child that brings something. Both begin now, and the parent waits for one after the other.
    let child = |name, answer| spawner.spawn_local_with_handle(work(name, answer)).map_err(io::Error::other);
    let (one, other) = (child("one", 40)?, child("other", 2)?);
    let sum = one.await + other.await;
    say(&format!("parent: {sum}; the clock went on meanwhile: {}", ticks.get() > 0));

    // 2. A child that is not wanted any more.
    let unwanted = child("unwanted", 0)?;
    sleep(Duration::from_millis(10)).await;
    drop(unwanted);
    // The child is dropped at its next turn, so that is not later than this.
    sleep(Duration::from_millis(10)).await;

    // 3. A child that panics. Its parent would panic too, unless it catches what comes out of the handle.
    let broken = async { panic!("a child panics, and its parent hears of it") };
    let broken = spawner.spawn_local_with_handle(broken).map_err(io::Error::other)?;
    let outcome: Result<(), _> = AssertUnwindSafe(broken).catch_unwind().await;
    say(&format!("parent: the child has panicked: {}", outcome.is_err()));

    // 4. A task that nobody waits for.
    spawner.spawn_local(async { panic!("a task panics, and nobody waits for it") }).map_err(io::Error::other)?;
    sleep(Duration::from_millis(10)).await;
    say(&format!("parent: panics that the loop has caught: {}", Handle::current()?.stats().task_panics));
    Ok(())
}

/// A child's work: some time, and then a number.
async fn work(name: &'static str, answer: u32) -> u32 {
    let last_words = LastWords { name, finished: Cell::new(false) };
    sleep(Duration::from_millis(30)).await;
    last_words.finished.set(true);
    answer
}

/// What a child owns is dropped with it: its sockets are closed, its timers gone, and this is printed.
struct LastWords {
    name: &'static str,
    finished: Cell<bool>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        let how = if self.finished.get() { "finished" } else { "cancelled" };
        say(&format!("child {}: {how}", self.name));
    }
}
