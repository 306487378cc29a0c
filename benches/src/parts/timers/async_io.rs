//! async-io, in its own `block_on`. async-io has no timeout, so its timer races against the future.

use super::timekeeper::Timekeeper;
use async_io::{Timer, block_on};
use futures::future::select;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

/// The peer, with default settings.
pub(super) struct AsyncIo;

impl Timekeeper for AsyncIo {
    type Sleep = Timer;

    fn run<F: Future>(self, future: F) -> io::Result<F::Output> {
        Ok(block_on(future))
    }

    fn sleep(duration: Duration) -> Timer {
        Timer::after(duration)
    }

    fn timeout<F: Future>(future: F, limit: Duration) -> impl Future {
        async move {
            select(pin!(future), Timer::after(limit)).await;
        }
    }

    fn timeout_at<F: Future>(future: F, deadline: Instant) -> impl Future {
        async move {
            select(pin!(future), Timer::at(deadline)).await;
        }
    }
}
