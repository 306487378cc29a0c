//! Reads with an idle limit, in a child process for each measurement: what the limit costs beside the same read without.
//!
//! The connection is a piece of memory, so nothing of the kernel is in it. It either has data at once, or keeps each
//! read waiting for one poll, as a request does that follows an answer; such a read is two polls, pending and ready, and
//! what counts is the cost of one poll. All reads are polled by hand, within one poll of
//! the future that the runtime runs, so nothing of an executor is in it either. It counts CPU time.
//!
//! Four ways to limit a read: not at all (*bare*); the `IoGuard` of async-timeout (*ours*); tokio's `timeout` around each
//! read (*tokio-timeout*); and one `Sleep` of tokio's for the connection, set anew by the first poll of a read that has
//! to wait and set back by its end, which is how tokio-io-timeout does it (*tokio-reset*).

use super::cpu_time::nanos_each;
use crate::machine::{cores, sys};
use crate::orders::reads::{ReadLimit, ReadOrder};
use async_timeout::{IoGuard, guard};
use futures::executor::LocalPool;
use futures::io::AsyncRead;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// After so many seconds the kernel ends a child that has not ended by itself.
const TIME_LIMIT: u32 = 60;
/// Never reached.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a read.
const SIZE: usize = 64;

/// Carries out one order, and prints its figures on one line.
pub(crate) fn read(order: &ReadOrder) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::end_after(TIME_LIMIT);
    cores::pin_to_server_core()?;
    let count = order.count;
    let figures = match order.limit {
        ReadLimit::Bare => on_ours(both::<Memory>(count)),
        ReadLimit::Ours => on_ours(both::<IoGuard<Memory>>(count)),
        ReadLimit::TokioTimeout => on_tokio(both::<WithTimeout>(count)),
        ReadLimit::TokioReset => on_tokio(both::<WithReset>(count)),
    }?;
    let words: Vec<_> = figures.iter().map(f64::to_string).collect();
    println!("{}", words.join(" "));
    Ok(())
}

/// On a reactor.
fn on_ours(reads: impl Future<Output = io::Result<Vec<f64>>>) -> io::Result<Vec<f64>> {
    async_epoll::Reactor::new()?.run_until(&mut LocalPool::new(), reads)?
}

/// As the timers of tokio are measured.
fn on_tokio(reads: impl Future<Output = io::Result<Vec<f64>>>) -> io::Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::unconstrained(reads))
}

/// Both kinds of read. The limit is armed beforehand, by a read that waits, as it is on a connection that has been in
/// use.
async fn both<R: Reader>(count: usize) -> io::Result<Vec<f64>> {
    let mut nanos = Vec::new();
    for waits in [false, true] {
        let mut reader = R::new(Memory { waits: true, has_waited: false });
        poll_fn(|cx| Poll::Ready(reader.read(cx))).await;
        reader.memory().waits = waits;
        let polls = if waits { 2.0 } else { 1.0 };
        nanos.push(nanos_each(count, |cx| black_box(&mut reader).read(cx) == SIZE).await? / polls);
    }
    Ok(nanos)
}

/// A connection that has data always, or whenever somebody has waited for it.
struct Memory {
    waits: bool,
    has_waited: bool,
}

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.has_waited = self.waits && !self.has_waited;
        if self.has_waited {
            return Poll::Pending;
        }
        buffer.fill(7);
        Poll::Ready(Ok(buffer.len()))
    }
}

/// A connection whose reads are limited, or not.
trait Reader {
    /// Around the connection.
    fn new(memory: Memory) -> Self;
    /// The connection.
    fn memory(&mut self) -> &mut Memory;
    /// One read, polled until it is ready: the bytes that it has read.
    fn read(&mut self, cx: &mut Context<'_>) -> usize;
}

/// Polls until it is ready.
fn insist(mut poll: impl FnMut() -> Poll<io::Result<usize>>) -> usize {
    loop {
        if let Poll::Ready(read) = black_box(poll()) {
            return read.unwrap_or(0);
        }
    }
}

impl Reader for Memory {
    fn new(memory: Memory) -> Self {
        memory
    }

    fn memory(&mut self) -> &mut Memory {
        self
    }

    fn read(&mut self, cx: &mut Context<'_>) -> usize {
        let mut buffer = black_box([0; SIZE]);
        insist(|| Pin::new(&mut *self).poll_read(cx, &mut buffer))
    }
}

impl Reader for IoGuard<Memory> {
    fn new(memory: Memory) -> Self {
        guard(memory).idle(LIMIT)
    }

    fn memory(&mut self) -> &mut Memory {
        self.get_mut()
    }

    fn read(&mut self, cx: &mut Context<'_>) -> usize {
        let mut buffer = black_box([0; SIZE]);
        insist(|| Pin::new(&mut *self).poll_read(cx, &mut buffer))
    }
}

/// A timeout around each read.
struct WithTimeout(Memory);

impl Reader for WithTimeout {
    fn new(memory: Memory) -> Self {
        Self(memory)
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.0
    }

    fn read(&mut self, cx: &mut Context<'_>) -> usize {
        let mut buffer = black_box([0; SIZE]);
        let read = poll_fn(|cx| Pin::new(&mut self.0).poll_read(cx, &mut buffer));
        let mut read = pin!(timeout(LIMIT, read));
        insist(|| read.as_mut().poll(cx).map(|read| read.unwrap_or(Ok(0))))
    }
}

/// One timer for the connection, set by each read that has to wait.
struct WithReset {
    memory: Memory,
    sleep: Pin<Box<Sleep>>,
    is_set: bool,
}

impl WithReset {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.memory).poll_read(cx, buffer);
        if polled.is_ready() {
            if self.is_set {
                self.is_set = false;
                self.sleep.as_mut().reset(Instant::now());
            }
            return polled;
        }
        if !self.is_set {
            self.is_set = true;
            self.sleep.as_mut().reset(Instant::now() + LIMIT);
        }
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Reader for WithReset {
    fn new(memory: Memory) -> Self {
        Self { memory, sleep: Box::pin(sleep(Duration::ZERO)), is_set: false }
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn read(&mut self, cx: &mut Context<'_>) -> usize {
        let mut buffer = black_box([0; SIZE]);
        insist(|| self.poll_read(cx, &mut buffer))
    }
}
