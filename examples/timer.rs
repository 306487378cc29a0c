//! Two tasks on one thread, each with a period of its own.
//!
//! ```sh
//! cargo run --example timer             # ends by itself, in half a second
//! cargo run --example timer -- --trace  # also shows how the reactor sleeps from step to step
//! ```
//!
//! The idea: `sleep(…).await` puts the task to sleep, not the thread. Two tasks share the thread, and each step comes
//! when it is due, independent of the other task. Between the steps the thread sleeps too, in an `epoll_wait` that ends
//! with the earlier of the two timers.
//!
//! Replace it by `std::thread::sleep` to see how a blocking call stops all other tasks: the hare walks the whole way
//! before the tortoise makes its first step.

use async_epoll::LocalRuntime;
use async_timeout::sleep;
use examples::{Usage, exit_code, say};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How many steps each task makes.
const STEPS: u32 = 5;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let usage = Usage { about: "Two tasks on one thread, each with a period of its own.", words: [], trace: true };
    let Some([]) = usage.from_env()? else {
        return Ok(());
    };
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    let start = Instant::now();
    for (name, period) in [("hare", 40), ("tortoise", 100)] {
        let walk = walk(name, Duration::from_millis(period), start);
        spawner.spawn(walk)?;
    }
    // The runtime counts its tasks, so `run` returns when both have ended.
    runtime.run()?;

    let stats = runtime.handle().stats();
    say(&format!("{} timers fired on one thread, which slept {} times", stats.timers_fired, stats.sleeps));
    Ok(())
}

/// Makes a step after each `period`.
async fn walk(name: &str, period: Duration, start: Instant) {
    for step in 1..=STEPS {
        // Each sleep ends a little late, and the next begins then, so the delays add up. `interval` would keep the
        // pace.
        sleep(period).await;
        say(&format!("{:>4} ms  {name}: step {step} of {STEPS}", start.elapsed().as_millis()));
    }
}
