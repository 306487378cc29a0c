//! `Sleep` and `Timeout` of async-timeout, on the timers of a reactor.

use super::timekeeper::Timekeeper;
use async_epoll::ReactorBuilder;
use async_timeout::{Sleep, Timeout, sleep};
use futures::executor::LocalPool;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

/// The peer, with the settings of its reactor.
pub(super) struct Ours(pub(super) ReactorBuilder);

impl Timekeeper for Ours {
    type Sleep = Sleep;

    fn run<F: Future>(self, future: F) -> io::Result<F::Output> {
        self.0.build()?.run_until(&mut LocalPool::new(), future)
    }

    fn sleep(duration: Duration) -> Sleep {
        sleep(duration)
    }

    fn timeout<F: Future>(future: F, limit: Duration) -> impl Future {
        Timeout::new(future, limit)
    }

    fn timeout_at<F: Future>(future: F, deadline: Instant) -> impl Future {
        Timeout::at(future, deadline)
    }
}
