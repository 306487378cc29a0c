//! Child processes on one thread: a filter, several at once, and one that takes too long.
//!
//! ```sh
//! cargo run --example child_process             # ends by itself
//! cargo run --example child_process -- --trace  # shows that each child is a descriptor in epoll
//! ```
//!
//! The idea: a child is a descriptor. The kernel has *process descriptors*, which become readable when the process ends, so
//! the loop waits for children as for sockets: no thread blocks in `wait`, and no handler for SIGCHLD is needed. The child's
//! pipes are sources, too.
//!
//! The filter shows the one trap: a pipe holds 64 KiB. A program that writes all its input before it reads any output would
//! wait for `sort`, and `sort` for the program. So one task does both at the same time, by `join`.

use async_epoll::AsyncCommandExt;
use examples::{Usage, because, exit_code, say};
use futures::future::{join, try_join_all};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::fmt::Write;
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// How many numbers are sorted: more than a pipe holds.
const NUMBERS: u32 = 100_000;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let usage = Usage { about: "Child processes on one thread.", words: [], trace: true };
    let Some([]) = usage.from_env()? else {
        return Ok(());
    };
    async_epoll::try_block_on(async {
        filter().await?;
        several().await?;
        slow().await
    })
}

/// Sorts numbers by the program `sort`.
async fn filter() -> io::Result<()> {
    let mut numbers = String::new();
    for number in (0..NUMBERS).rev() {
        writeln!(numbers, "{number}").map_err(io::Error::other)?;
    }
    let mut sort = Command::new("sort")
        .arg("-n")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn_async()
        .map_err(because("cannot start sort"))?;
    let (Some(mut stdin), Some(mut stdout)) = (sort.stdin.take(), sort.stdout.take()) else {
        return Err(io::Error::other("the pipes of a child are missing"));
    };
    let write = async move {
        stdin.write_all(numbers.as_bytes()).await?;
        // `sort` begins its output when its input ends.
        stdin.close().await
    };
    let mut sorted = String::new();
    let (written, read) = join(write, stdout.read_to_string(&mut sorted)).await;
    written.and(read)?;
    let status = sort.wait().await?;
    say(&format!("sort: {status}, the last of {} lines is {:?}", sorted.lines().count(), sorted.lines().last()));
    Ok(())
}

/// Runs ten children at the same time: together they take as long as one.
async fn several() -> io::Result<()> {
    let start = |number: u32| Command::new("sh").args(["-c", &format!("sleep 0.2; exit {number}")]).status_async();
    let ended = try_join_all((0..10).map(start)).await?;
    let codes: Vec<_> = ended.iter().filter_map(|status| status.code()).collect();
    say(&format!("ten at once: {codes:?}"));
    Ok(())
}

/// Ends a child that takes too long: politely at first, by force after a second.
async fn slow() -> io::Result<()> {
    // If an error ended this program earlier, the child would not be left behind.
    let mut child = Command::new("sleep").arg("1000").spawn_async()?.kill_on_drop(true);
    let status = child.terminate_within(Duration::from_secs(1)).await?;
    say(&format!("slow: {status}"));
    Ok(())
}
