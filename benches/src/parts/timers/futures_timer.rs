//! futures-timer, with a helper thread for the time and the `block_on` of futures. futures-timer has no timeout, so its
//! delay races against the future.

use super::timekeeper::Timekeeper;
use futures::executor::block_on;
use futures::future::select;
use futures_timer::Delay;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

/// The peer, with default settings.
pub(super) struct FuturesTimer;

impl Timekeeper for FuturesTimer {
    type Sleep = Delay;

    fn run<F: Future>(self, future: F) -> io::Result<F::Output> {
        Ok(block_on(future))
    }

    fn sleep(duration: Duration) -> Delay {
        Delay::new(duration)
    }

    fn timeout<F: Future>(future: F, limit: Duration) -> impl Future {
        async move {
            select(pin!(future), Delay::new(limit)).await;
        }
    }

    fn timeout_at<F: Future>(future: F, deadline: Instant) -> impl Future {
        async move {
            let left = deadline.saturating_duration_since(Instant::now());
            select(pin!(future), Delay::new(left)).await;
        }
    }
}
