//! A future with a time limit.
//!
//! [`Timeout`] is the race of the inner future and a [`Delay`], drawn in the crate's documentation. The order of the two
//! polls is the one hard idea: the inner future first, so a result that is ready is never lost to the deadline.
//! [`IoTimeout`] flattens the two `Result`s of I/O futures.

use crate::delay::Delay;
use crate::elapsed::Elapsed;
use crate::now::{now, saturating_add};
use futures::future::FusedFuture;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

pin_project! {
    /// A future with a time limit: `Ok` with its output, or `Err(Elapsed)` if the time is up first.
    ///
    /// The inner future is always polled first. If the inner future is ready, the result is `Ok`, even after the deadline.
    /// Whenever the inner future is pending, the timer is polled as well, even if the inner future wakes itself for ever.
    /// A socket or a sleep also returns pending when it yields to other tasks, after very many operations in one poll
    /// were ready at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping a timeout drops the inner future. After `Elapsed`, the inner future exists until the timeout is dropped;
    /// [`into_inner`](Self::into_inner) returns it.
    ///
    /// A timeout may move between threads and executors: the task of the last poll is woken. A timeout that is armed on a
    /// reactor fires only while some thread runs the reactor. If the reactor is dropped, futures-timer takes over.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::Timeout;
    /// use futures::channel::oneshot;
    /// use std::time::Duration;
    ///
    /// futures::executor::block_on(async {
    ///     let (sender, receiver) = oneshot::channel::<u32>();
    ///     let mut timeout = Timeout::new(receiver, Duration::from_millis(2));
    ///     assert!((&mut timeout).await.is_err());
    ///
    ///     // The receiver is not lost.
    ///     sender.send(7).unwrap();
    ///     assert_eq!(timeout.into_inner().await, Ok(7));
    /// });
    /// ```
    #[must_use = "futures do nothing unless polled or awaited"]
    pub struct Timeout<F> {
        // The inner future.
        #[pin]
        future: F,
        // Waits for the deadline; `Over` once the inner future has been ready.
        delay: Delay,
    }
}

impl<F> Timeout<F> {
    /// Limits `future` to `duration`, counted from the first poll that finds it pending.
    ///
    /// `Duration::MAX`, and every duration beyond a century, means no limit.
    pub fn new(future: F, duration: Duration) -> Self {
        Self { future, delay: Delay::After(duration) }
    }

    /// Limits `future` to the time until `deadline`.
    pub fn at(future: F, deadline: Instant) -> Self {
        Self { future, delay: Delay::At(deadline) }
    }

    /// Limits `future` to `duration`, as [`new`](Self::new) does, by a timer of the reactor of `handle`, whatever thread
    /// polls.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_timeout::Timeout;
    /// use std::{future::pending, time::Duration};
    ///
    /// // No reactor is current in this executor, so `Timeout::new` would use futures-timer.
    /// let background = async_epoll::Reactor::new()?.into_background()?;
    /// let timeout = Timeout::with_handle(pending::<()>(), Duration::from_millis(2), &background.handle());
    /// assert!(futures::executor::block_on(timeout).is_err());
    /// # background.shutdown()
    /// # }
    /// ```
    #[cfg(all(feature = "reactor", target_os = "linux"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "reactor")))]
    pub fn with_handle(future: F, duration: Duration, handle: &async_epoll::Handle) -> Self {
        Self { future, delay: Delay::Reactor(async_epoll::Timer::after(duration, handle)) }
    }

    /// Sets another deadline.
    ///
    /// A task that waits is woken at the new deadline. After `Elapsed`, the time runs again. After `Ok`, this does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_timeout::Timeout;
    /// use std::{future::pending, pin::{Pin, pin}, time::{Duration, Instant}};
    ///
    /// // An async block cannot move once it is polled, so the timeout is pinned.
    /// let mut timeout = pin!(Timeout::new(async { pending::<()>().await }, Duration::from_secs(3600)));
    /// timeout.as_mut().reset(Instant::now());
    /// assert!(futures::executor::block_on(timeout).is_err());
    ///
    /// // A future that is `Unpin` needs no `pin!`.
    /// let mut timeout = Timeout::new(pending::<()>(), Duration::from_secs(3600));
    /// Pin::new(&mut timeout).reset(Instant::now());
    /// assert!(futures::executor::block_on(timeout).is_err());
    /// ```
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.project().delay.reset(deadline);
    }

    /// Sets the deadline to `duration` from now, by [`reset`](Self::reset).
    ///
    /// If an `Instant` cannot express that time, the deadline is a century from now.
    pub fn reset_after(self: Pin<&mut Self>, duration: Duration) {
        self.reset(saturating_add(now(), duration));
    }

    /// Returns the instant at which the time is up.
    ///
    /// Returns `None` for a duration that has not begun or never ends, and once the inner future has been ready. Inside
    /// [`with_deadline`](crate::with_deadline), the result is at most the deadline of that scope.
    pub fn deadline(&self) -> Option<Instant> {
        self.delay.deadline()
    }

    /// Returns a reference to the inner future.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// Returns a mutable reference to the inner future.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// Returns a pinned mutable reference to the inner future.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut F> {
        self.project().future
    }

    /// Returns the inner future, without a limit.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    /// Polls the inner future, then the timer. After `Elapsed`, further polls do the same, and may return `Ok`. After
    /// `Ok`, further polls return `Pending`.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Delay::Over = this.delay {
            return Poll::Pending;
        }
        if let Poll::Ready(output) = this.future.poll(cx) {
            // Disarm the timer now: the timeout may live on for a long time.
            *this.delay = Delay::Over;
            return Poll::Ready(Ok(output));
        }
        this.delay.poll_elapsed(cx).map(|()| Err(Elapsed::new()))
    }
}

impl<F: Future> FusedFuture for Timeout<F> {
    /// Returns whether the timeout has been ready, with `Ok` or `Elapsed`. An elapsed timeout runs again after
    /// [`reset`](Timeout::reset).
    fn is_terminated(&self) -> bool {
        matches!(self.delay, Delay::Over) || self.delay.is_elapsed()
    }
}

impl<F: fmt::Debug> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("future", &self.future).field("deadline", &self.deadline()).finish()
    }
}

pin_project! {
    /// A [`Timeout`] around a future with an [`io::Result`], without a second layer of `Result`.
    ///
    /// The output is an error of kind `TimedOut` if the time is up first. From
    /// [`TimeoutExt::io_timeout`](crate::TimeoutExt::io_timeout).
    ///
    /// # Cancel safety
    ///
    /// As [`Timeout`].
    #[must_use = "futures do nothing unless polled or awaited"]
    #[derive(Debug)]
    pub struct IoTimeout<F> {
        // Has the future and the timer.
        #[pin]
        timeout: Timeout<F>,
    }
}

impl<F> IoTimeout<F> {
    /// Wraps `timeout`. Its future returns an `io::Result`.
    pub(crate) const fn new(timeout: Timeout<F>) -> Self {
        Self { timeout }
    }

    /// Returns the timeout inside, which still has its deadline.
    pub fn into_inner(self) -> Timeout<F> {
        self.timeout
    }
}

impl<F: Future<Output = io::Result<T>>, T> Future for IoTimeout<F> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        Poll::Ready(ready!(self.project().timeout.poll(cx)).unwrap_or_else(|elapsed| Err(elapsed.into())))
    }
}

impl<F: Future<Output = io::Result<T>>, T> FusedFuture for IoTimeout<F> {
    fn is_terminated(&self) -> bool {
        self.timeout.is_terminated()
    }
}
