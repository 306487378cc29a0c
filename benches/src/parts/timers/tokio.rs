//! tokio, on its current_thread runtime with sockets enabled, as in a server: an earlier deadline then wakes the epoll
//! driver.
//!
//! The cooperative budget is off: the budget would make a task yield that polls a million timers in a single poll. No
//! task of a real program does this, so yielding must not be measured.

use super::timekeeper::Timekeeper;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep, timeout, timeout_at};

/// The peer, with default settings.
pub(super) struct Tokio;

impl Timekeeper for Tokio {
    type Sleep = Sleep;

    fn run<F: Future>(self, future: F) -> io::Result<F::Output> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(unconstrained(future)))
    }

    fn sleep(duration: Duration) -> Sleep {
        sleep(duration)
    }

    fn timeout<F: Future>(future: F, limit: Duration) -> impl Future {
        timeout(limit, future)
    }

    fn timeout_at<F: Future>(future: F, deadline: Instant) -> impl Future {
        timeout_at(deadline.into(), future)
    }
}
