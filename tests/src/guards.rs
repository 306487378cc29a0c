//! A time limit for a test, and a lock for tests that must not run together.
//!
//! After a lost wake a test sleeps for ever, and the test harness has no time limit. [`watchdog`] sets a limit: a second
//! thread aborts the process with a message. [`common::block_on`](crate::common::block_on) starts a watchdog by itself.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Aborts the process, with a message, unless the returned guard is dropped within `limit`.
#[must_use = "the watchdog watches while the guard lives"]
pub fn watchdog(limit: Duration) -> Watchdog {
    let (alive, watched) = channel::<()>();
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::spawn(move || {
        if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            // `eprintln!` would be captured by the test harness, which shows nothing after an abort.
            let _ = writeln!(std::io::stderr(), "{test} hangs: not done after {limit:?}");
            std::process::abort();
        }
    });
    Watchdog { _alive: alive }
}

/// The guard of [`watchdog`].
#[derive(Debug)]
pub struct Watchdog {
    /// Dropping the sender disconnects the channel, which ends the watching thread.
    _alive: Sender<()>,
}

/// Waits until no other test of this program holds the returned guard; then starts a [`watchdog`] with
/// [`TIME`](crate::TIME).
///
/// For programs that count descriptors: the count belongs to the whole process.
#[must_use = "other tests run as soon as the guard is dropped"]
pub fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    Alone {
        // A test that has failed poisons the lock. The others still run.
        _lock: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        _watchdog: watchdog(crate::TIME),
    }
}

/// The guard of [`alone`].
#[derive(Debug)]
pub struct Alone {
    _lock: MutexGuard<'static, ()>,
    _watchdog: Watchdog,
}
