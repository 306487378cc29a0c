//! A daemon without a socket: signals tell it what to do.
//!
//! ```sh
//! cargo run --example signals            # prints its process ID, then in another terminal:
//! kill -HUP PID                          # reads its configuration again
//! kill -USR1 PID                         # prints what it has done
//! kill PID                               # or Ctrl-C: ends when its present step is done
//! ```
//!
//! The idea: a signal is an event like any other, a value of a stream, next to timers and sockets in one `select`. The
//! listener is made before the work begins, so a signal that comes early is kept. Signals coalesce: three times SIGHUP
//! while the program is busy is one SIGHUP afterwards.
//!
//! `terminate` is a future of the first SIGINT or SIGTERM. Once it is ready, it does not listen any more: a second Ctrl-C
//! ends the program at once.

use async_epoll::{Signal, Signals, terminate, try_block_on};
use async_timeout::sleep;
use examples::{Usage, exit_code, say};
use futures::{FutureExt, StreamExt};
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

/// How long a step of the work takes.
const STEP: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let usage = Usage { about: "A daemon that signals tell what to do.", words: [], trace: true };
    let Some([]) = usage.from_env()? else {
        return Ok(());
    };
    try_block_on(work())
}

/// Works in steps until SIGINT or SIGTERM.
async fn work() -> io::Result<()> {
    let mut signals = Signals::new([Signal::HUP, Signal::USR1])?;
    let mut stop = terminate()?;
    say(&format!("process {} works until Ctrl-C; SIGHUP and SIGUSR1 are for it", std::process::id()));
    let (mut steps, mut configurations) = (0_u64, 1_u64);
    loop {
        let mut step = pin!(sleep(STEP).fuse());
        loop {
            futures::select! {
                () = step => break,
                signal = signals.select_next_some() => match signal {
                    Signal::HUP => {
                        configurations += 1;
                        say(&format!("configuration {configurations} is in use"));
                    }
                    _ => say(&format!("{steps} steps done")),
                },
            }
        }
        steps += 1;
        if let Some(signal) = (&mut stop).now_or_never() {
            say(&format!("stopped by {}", signal?));
            return Ok(());
        }
    }
}
