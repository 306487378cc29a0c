//! One timer of the reactor, as a future.
//!
//! It is the raw material of `async-timeout`, which most users want instead. The entry in the [wheel](crate::timers)
//! is made when the timer is first polled and found pending, so a timer that is never needed costs nothing.

use crate::clock::{NEVER, nanos};
use crate::handle::Handle;
use crate::shared::{Shared, gone};
use crate::timers::Key;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A deadline this much after the turn's clock, in nanoseconds, is not checked against the real one when armed. Closer
/// ones may have passed during the turn, and are to be ready at once.
const SURELY_AHEAD: u64 = 100_000_000;

/// Completes at an instant, never before it.
///
/// Completed, it stays so: further polls return `Ready` until [`reset`](Self::reset). Any number of timers may share an
/// instant; they are woken in the order in which they were armed.
///
/// The precision is that of [`epoll_pwait2(2)`](https://man7.org/linux/man-pages/man2/epoll_wait.2.html): a lone timer
/// is late by the kernel's timer slack, about 50 µs or a thousandth of the time slept, whichever is more.
/// [`Builder::precise_timers`](crate::Builder::precise_timers) does better. When timers alone have woken the thread
/// several times in a row, those wake-ups come about once per millisecond. The clock is `CLOCK_MONOTONIC`, so time
/// stands still while the machine is suspended.
///
/// # Errors
///
/// The output is an error if the reactor has been dropped.
///
/// # Cancel safety
///
/// Dropping a timer takes it out of the reactor at once. Polled by another task than before, it wakes that one.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{Handle, Timer};
/// use std::time::{Duration, Instant};
///
/// async_epoll::block_on(async {
///     let begin = Instant::now();
///     Timer::after(Duration::from_millis(2), &Handle::current()?).await?;
///     assert!(begin.elapsed() >= Duration::from_millis(2));
///     Ok(())
/// })?
/// # }
/// ```
#[must_use = "a timer does nothing unless polled or awaited"]
pub struct Timer {
    /// The reactor.
    shared: Arc<Shared>,
    /// When to complete.
    when: When,
    /// The entry in the wheel, while there is one.
    key: Option<Key>,
}

/// A time of the reactor's clock, or a span that begins with the first poll.
#[derive(Clone, Copy)]
enum When {
    /// At this time; [`NEVER`] for never.
    At(u64),
    /// So many nanoseconds after the first poll.
    After(u64),
}

impl Timer {
    /// Completes at `deadline`; at once if that has passed.
    pub fn at(deadline: Instant, handle: &Handle) -> Self {
        Self::new(When::At(handle.shared.clock.from_instant(deadline)), handle)
    }

    /// Completes `duration` after it is first polled. `Duration::MAX` means never.
    pub fn after(duration: Duration, handle: &Handle) -> Self {
        Self::new(When::After(nanos(duration)), handle)
    }

    /// Does not complete, until it is [`reset`](Self::reset) or the reactor is dropped.
    pub fn never(handle: &Handle) -> Self {
        Self::new(When::At(NEVER), handle)
    }

    /// Not armed.
    fn new(when: When, handle: &Handle) -> Self {
        Self { shared: Arc::clone(&handle.shared), when, key: None }
    }

    /// Sets another deadline, completed or not. The task that polled last is woken at the new one; after completion,
    /// the timer has to be polled again first.
    ///
    /// Moving a deadline further away is the cheapest of all operations: one number changes.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Handle, Timer};
    /// use std::time::{Duration, Instant};
    ///
    /// async_epoll::block_on(async {
    ///     let mut timer = Timer::never(&Handle::current()?);
    ///     timer.reset(Instant::now() + Duration::from_millis(1));
    ///     timer.await
    /// })?
    /// # }
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        let deadline = self.shared.clock.from_instant(deadline);
        self.when = When::At(deadline);
        let Some(key) = self.key else { return };
        let is_first = self.shared.timers().reset(key, deadline);
        match is_first {
            Some(true) => self.shared.first_timer_changed(),
            Some(false) => {}
            // It has fired; the next poll arms it anew.
            None => self.disarm(),
        }
    }

    /// When it completes; `None` for never, and for a timer made by [`after`](Self::after) before its first poll.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Reactor, Timer};
    /// use std::time::{Duration, Instant};
    ///
    /// let handle = Reactor::new()?.handle();
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// assert_eq!(Timer::at(deadline, &handle).deadline(), Some(deadline));
    /// assert_eq!(Timer::after(Duration::from_secs(1), &handle).deadline(), None, "it has not begun");
    /// assert_eq!(Timer::never(&handle).deadline(), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        match self.when {
            When::At(deadline) => self.shared.clock.to_instant(deadline),
            When::After(_) => None,
        }
    }

    /// Works out the deadline, at the first poll. `None` if it has passed.
    fn begin(&mut self) -> Option<u64> {
        let clock = &self.shared.clock;
        let turn = clock.turn();
        let (deadline, now) = match self.when {
            // The turn's clock is behind: good enough to see that a deadline has passed, or that it is far away.
            When::At(deadline) if deadline <= turn || deadline - turn > SURELY_AHEAD => (deadline, turn),
            When::At(deadline) => (deadline, clock.now()),
            // A span must begin now, not when the turn began, or it would end early.
            When::After(duration) => {
                let now = clock.now();
                (now.saturating_add(duration), now)
            }
        };
        self.when = When::At(deadline);
        (deadline > now).then_some(deadline)
    }

    /// Makes the entry in the wheel.
    fn arm(&mut self, deadline: u64, waker: &Waker) -> Poll<io::Result<()>> {
        let clone = waker.clone();
        let mut timers = self.shared.timers();
        // Looked at under the lock: a reactor that goes away later finds our entry.
        if self.shared.is_gone() {
            drop(timers);
            drop(clone);
            return Poll::Ready(Err(gone()));
        }
        let (key, is_first) = timers.insert(deadline, clone);
        drop(timers);
        self.key = Some(key);
        if is_first {
            // The reactor may sleep in another thread, until a later deadline.
            self.shared.first_timer_changed();
        }
        Poll::Pending
    }

    /// Looks whether the armed timer has fired, and sees to it that it wakes `waker`.
    fn poll_armed(&mut self, key: Key, waker: &Waker) -> Poll<io::Result<()>> {
        let timers = self.shared.timers();
        let state = if self.shared.is_gone() { Ok(()) } else { timers.has_fired(key, waker) };
        drop(timers);
        match state {
            Err(true) => return Poll::Pending,
            Err(false) => {
                let clone = waker.clone();
                // Fired or gone meanwhile? Then go on below.
                let replaced = self.shared.timers().set_waker(key, clone);
                // The old waker, or ours back, is dropped with no lock held.
                if replaced.is_ok() {
                    return Poll::Pending;
                }
            }
            Ok(()) => {}
        }
        self.disarm();
        Poll::Ready(if self.shared.is_gone() { Err(gone()) } else { Ok(()) })
    }

    /// Gives the entry back.
    fn disarm(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = self.shared.timers().remove(key);
            // Not under the lock.
            drop(waker);
        }
    }
}

impl Future for Timer {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.key {
            Some(key) => self.poll_armed(key, cx.waker()),
            // A span begins even if the reactor is gone: whoever goes on with another clock asks for the deadline.
            None => match self.begin() {
                _ if self.shared.is_gone() => Poll::Ready(Err(gone())),
                Some(deadline) => self.arm(deadline, cx.waker()),
                None => Poll::Ready(Ok(())),
            },
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Timer");
        match self.when {
            When::At(_) => debug.field("deadline", &self.deadline()),
            When::After(duration) => debug.field("after", &Duration::from_nanos(duration)),
        };
        debug.field("armed", &self.key.is_some()).finish()
    }
}
