//! Two tasks that tell the time, each at its own pace.
//!
//! ```sh
//! cargo run --example timer             # ends by itself, in half a second
//! cargo run --example timer -- --trace  # and shows how the reactor sleeps from one step to the next
//! ```
//!
//! The idea: `sleep(…).await` puts a task to sleep, not the thread. Two tasks that do little but sleep take turns on one
//! thread, and each step comes when it is due, whatever the other one does. All the while the thread is asleep, too: in
//! one `epoll_wait` that lasts until the earlier of the two is due.
//!
//! Put `std::thread::sleep` in its place to see what a blocking call does to everybody else: the hare walks the whole
//! way before the tortoise makes its first step.

use async_epoll::LocalRuntime;
use async_timeout::sleep;
use examples::{Usage, exit_code, say};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Steps to the finish.
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
        spawner.spawn_local(walk).map_err(io::Error::other)?;
    }
    // Until both have arrived. The runtime counts its tasks.
    runtime.run()?;

    let stats = runtime.handle().stats();
    say(&format!("{} timers fired on one thread, which slept {} times", stats.timers_fired, stats.sleeps));
    Ok(())
}

/// Makes a step now and then.
async fn walk(name: &str, period: Duration, start: Instant) {
    for step in 1..=STEPS {
        // A little late each time, and the next rest begins from there: these are rests, not the ticks of a clock.
        sleep(period).await;
        say(&format!("{:>4} ms  {name}: step {step} of {STEPS}", start.elapsed().as_millis()));
    }
}
