//! Copies a file without blocking the loop.
//!
//! ```sh
//! cargo run --example copy_file -- SRC DST  # ends by itself
//! ```
//!
//! The idea: a disk may be slow, but epoll cannot wait for it: regular files are always ready, so epoll refuses them.
//! Blocking calls go to another thread. `blocking::unblock` runs a closure there, and `blocking::Unblock` makes a file
//! that reads ahead, or writes behind, on such a thread. Both wake the waiting task. With the traits of futures-io a
//! file then looks like a socket, and the same `copy` serves both.
//!
//! Meanwhile another future ticks every millisecond, and measures the longest pause, to show that nothing blocks the
//! loop.

use async_timeout::sleep;
use blocking::{Unblock, unblock};
use examples::{Usage, because, exit_code, say};
use futures::AsyncWriteExt;
use futures::future::{Either, select};
use futures::io::copy;
use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The size of the buffer between the loop and each of the two threads, in bytes. A larger buffer is not faster.
const BUFFER: usize = 256 * 1024;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let usage = Usage { about: "Copies a file without blocking the loop.", words: ["SRC", "DST"], trace: true };
    let Some([from, to]) = usage.from_env()? else {
        return Ok(());
    };
    let (ticks, longest) = (Cell::new(0), Cell::new(Duration::ZERO));
    let bytes = async_epoll::try_block_on(async {
        match select(pin!(copy_file(from, to)), pin!(tick(&ticks, &longest))).await {
            Either::Left((copied, _)) => copied,
            Either::Right((never, _)) => match never {},
        }
    })?;
    let (ticks, longest) = (ticks.get(), longest.get().as_secs_f64() * 1e3);
    say(&format!("{bytes} bytes copied; meanwhile {ticks} ticks, at most {longest:.1} ms apart"));
    Ok(())
}

/// Counts ticks, and measures the longest time from tick to tick.
async fn tick(ticks: &Cell<u32>, longest: &Cell<Duration>) -> std::convert::Infallible {
    loop {
        let before = Instant::now();
        sleep(Duration::from_millis(1)).await;
        longest.set(longest.get().max(before.elapsed()));
        ticks.set(ticks.get() + 1);
    }
}

/// Copies a file, and returns the number of bytes. Removes the target if the copy fails.
async fn copy_file(from: OsString, to: OsString) -> io::Result<u64> {
    let path = PathBuf::from(&to);
    // Opening may block too: the disk may be asleep, or be on the network.
    let (source, target) = unblock(move || open(from, to)).await?;
    let (source, mut target) = (Unblock::with_capacity(BUFFER, source), Unblock::with_capacity(BUFFER, target));
    let copied = copy(source, &mut target).await;
    // Closing waits until the thread has written all bytes. If a write has failed on the thread, `close` returns the
    // reason; `copy` only sees that the file takes no more bytes.
    let written = target.close().await.map_err(because(format!("cannot write {path:?}")));
    let result = written.and(copied);
    if result.is_err() {
        unblock(move || fs::remove_file(path)).await?;
    }
    result
}

/// Opens both files. The target must be new: a file that is copied onto itself would be empty.
fn open(from: OsString, to: OsString) -> io::Result<(File, File)> {
    let source = examples::open_regular(from.as_ref())?;
    let target = File::create_new(&to).map_err(because(format!("cannot create {to:?}")))?;
    Ok((source, target))
}
