//! Reads with an idle limit: the cost of the limit beside the same read without a limit.
//!
//! The connection is a buffer in memory, so the figures contain no kernel time. A read is either ready at once, or
//! pending for one poll, like the read of a request that follows an answer. A pending read takes two polls (pending,
//! ready); the figure is the CPU time per poll. All reads are polled by hand within a single poll of the main future,
//! so the figures contain no executor either.
//!
//! There are four kinds of limit: none (*bare*); the `IoGuard` of async-timeout (*ours*); tokio's `timeout` around each
//! read (*tokio-timeout*); and a `Sleep` of tokio per connection (*tokio-reset*), as in tokio-io-timeout: the first
//! pending poll of a read resets the sleep to the limit, and the end of the read resets it to now.

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

/// The kernel ends the process after this number of seconds.
const TIME_LIMIT: u32 = 60;
/// The idle limit; no read waits this long.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a read.
const SIZE: usize = 64;

/// Carries out an order, and prints its figures on a line.
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

/// Runs the reads on a reactor.
fn on_ours(reads: impl Future<Output = io::Result<Vec<f64>>>) -> io::Result<Vec<f64>> {
    async_epoll::Reactor::new()?.run_until(&mut LocalPool::new(), reads)?
}

/// Runs the reads on tokio, with the same settings as for the timers of tokio.
fn on_tokio(reads: impl Future<Output = io::Result<Vec<f64>>>) -> io::Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::unconstrained(reads))
}

/// Returns the nanoseconds per poll, of ready reads and of pending reads. A pending read arms the limit beforehand, as
/// on any connection in use.
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

/// A connection that always has data, or has data at every second poll.
struct Memory {
    /// Whether each read is pending once.
    waits: bool,
    /// Whether the current read has been pending. Toggled by each poll if `waits`.
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

/// A connection with a kind of limit on its reads.
trait Reader {
    /// Wraps the connection.
    fn new(memory: Memory) -> Self;
    /// Returns the wrapped connection.
    fn memory(&mut self) -> &mut Memory;
    /// Polls a read until it is ready, and returns the bytes read.
    fn read(&mut self, cx: &mut Context<'_>) -> usize;
}

/// Polls until ready, and returns the bytes read; 0 after an error.
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

/// A connection with a timeout of tokio around each read.
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

/// A connection with a `Sleep` of tokio, reset by each pending read.
struct WithReset {
    memory: Memory,
    sleep: Pin<Box<Sleep>>,
    /// Whether `sleep` holds the limit of a pending read.
    is_set: bool,
}

impl WithReset {
    /// Polls the connection, then the limit.
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
