//! monoio, on its epoll driver.

use super::timekeeper::Timekeeper;
use monoio::time::{Sleep, sleep, timeout, timeout_at};
use monoio::{LegacyDriver, RuntimeBuilder};
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

/// The peer, with default settings.
pub(super) struct Monoio;

impl Timekeeper for Monoio {
    type Sleep = Sleep;

    fn run<F: Future>(self, future: F) -> io::Result<F::Output> {
        Ok(RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?.block_on(future))
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
