//! Copies a file, on a loop that goes on with other things.
//!
//! ```sh
//! cargo run --example copy_file -- SRC DST  # ends by itself
//! ```
//!
//! The idea: a disk may take its time, and there is no way to wait for it: to epoll, a regular file is always ready, so it
//! refuses it. What may block goes to a thread that may. `blocking::unblock` runs a closure there, and
//! `blocking::Unblock` makes a file that reads ahead, or writes behind, on such a thread; both wake the task that waits.
//! Through the traits of futures-io a file then looks like a socket, and the same `copy` serves both.
//!
//! Meanwhile another task ticks, each millisecond, and notes the longest pause: nothing blocks the loop.

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

/// Bytes between the loop and either thread. More would be no faster.
const BUFFER: usize = 256 * 1024;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let usage = Usage { about: "Copies a file, without blocking the loop.", words: ["SRC", "DST"], trace: true };
    let Some([from, to]) = usage.from_env()? else {
        return Ok(());
    };
    let (ticks, longest) = (Cell::new(0), Cell::new(Duration::ZERO));
    let bytes = async_epoll::block_on(async {
        match select(pin!(copy_file(from, to)), pin!(tick(&ticks, &longest))).await {
            Either::Left((copied, _)) => copied,
            Either::Right((never, _)) => match never {},
        }
    })??;
    let (ticks, longest) = (ticks.get(), longest.get().as_secs_f64() * 1e3);
    say(&format!("{bytes} bytes copied; meanwhile {ticks} ticks, at most {longest:.1} ms apart"));
    Ok(())
}

/// Ticks, and notes the longest time from tick to tick.
async fn tick(ticks: &Cell<u32>, longest: &Cell<Duration>) -> std::convert::Infallible {
    loop {
        let before = Instant::now();
        sleep(Duration::from_millis(1)).await;
        longest.set(longest.get().max(before.elapsed()));
        ticks.set(ticks.get() + 1);
    }
}

/// Copies, and returns the number of bytes. A copy that fails is not left there.
async fn copy_file(from: OsString, to: OsString) -> io::Result<u64> {
    let path = PathBuf::from(&to);
    // Opening may block as well: the disk may be asleep, or the other end of a network.
    let (source, target) = unblock(move || open(from, to)).await?;
    let (source, mut target) = (Unblock::with_capacity(BUFFER, source), Unblock::with_capacity(BUFFER, target));
    let copied = copy(source, &mut target).await;
    // Closing waits until all is written. If a write has failed, behind our back, it is here that we learn why; `copy`
    // only knows that nothing is taken any more.
    let written = target.close().await.map_err(because(format!("cannot write {path:?}")));
    let result = written.and(copied);
    if result.is_err() {
        unblock(move || fs::remove_file(path)).await?;
    }
    result
}

/// Opens both. The target has to be new: a file copied onto itself would be empty.
fn open(from: OsString, to: OsString) -> io::Result<(File, File)> {
    let source = examples::open_regular(from.as_ref())?;
    let target = File::create_new(&to).map_err(because(format!("cannot create {to:?}")))?;
    Ok((source, target))
}
