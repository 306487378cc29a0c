//! One timer of the reactor, as a future.
//!
//! It is the raw material of `async-timeout`, which most users want instead. The entry in the [wheel](crate::time::wheel)
//! is made when the timer is first polled and found pending, so a timer that is never needed costs nothing.

use super::handle::Handle;
use super::shared::{Shared, gone};
use crate::time::nanos::{NEVER, nanos};
use crate::time::wheel::Key;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A deadline this much after the turn's clock, in nanoseconds, is not checked against the real one when armed. Closer
/// ones may have passed during the turn, and are to be ready at once. On a thread of its own, the reactor may sleep for
/// hours in one turn, so there all are checked.
const SURELY_AHEAD: u64 = 100_000_000;

/// Of so many polls of armed timers on a thread, one reads the clock.
const LOOKS: u32 = 32;

thread_local! {
    /// Polls of armed timers on this thread.
    static POLLS: Cell<u32> = const { Cell::new(0) };
}

/// Completes at an instant, never before it.
///
/// Completed, it stays so: further polls return `Ready` until [`reset`](Self::reset). Any number of timers may share an
/// instant; they are woken in the order in which they were armed.
///
/// The precision is that of [`epoll_pwait2(2)`](https://man7.org/linux/man-pages/man2/epoll_wait.2.html): a lone timer
/// is late by the kernel's timer slack, about 50 µs or a thousandth of the time slept, whichever is more.
/// [`ReactorBuilder::precise_timers`](crate::ReactorBuilder::precise_timers) does better. When timers alone have woken the thread
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
    /// When to complete: a time of the reactor's clock. Of a [`Span`](State::Span), how long after the first poll.
    time: u64,
    /// How far it has come.
    state: State,
}

/// How far a timer has come. Whoever puts a timer into an enum of its own finds room for that beside these.
#[derive(Clone, Copy)]
enum State {
    /// Not begun: its time is a duration.
    Span,
    /// Not armed: nobody has polled it yet.
    Idle,
    /// It has an entry in the wheel.
    Armed(Key),
    /// A poll has returned `Ready`.
    Elapsed,
}

impl Timer {
    /// Completes at `deadline`; at once if that has passed.
    pub fn at(deadline: Instant, handle: &Handle) -> Self {
        Self::until(deadline, handle.clone())
    }

    /// Completes `duration` after it is first polled. `Duration::MAX` means never.
    pub fn after(duration: Duration, handle: &Handle) -> Self {
        Self::new(nanos(duration), State::Span, handle.clone())
    }

    /// Does not complete, until it is [`reset`](Self::reset) or the reactor is dropped.
    pub fn never(handle: &Handle) -> Self {
        Self::new(NEVER, State::Idle, handle.clone())
    }

    /// As [`at`](Self::at), on the [current](Handle::current) reactor. Somewhat cheaper than to ask for the handle first.
    ///
    /// # Errors
    ///
    /// `NotConnected` where there is none.
    #[inline]
    pub fn try_at(deadline: Instant) -> io::Result<Self> {
        Ok(Self::until(deadline, Handle::current()?))
    }

    /// As [`after`](Self::after), on the [current](Handle::current) reactor. Somewhat cheaper than to ask for the handle
    /// first.
    ///
    /// # Errors
    ///
    /// `NotConnected` where there is none.
    #[inline]
    pub fn try_after(duration: Duration) -> io::Result<Self> {
        Ok(Self::new(nanos(duration), State::Span, Handle::current()?))
    }

    #[inline]
    fn until(deadline: Instant, handle: Handle) -> Self {
        Self::new(handle.shared.clock.from_instant(deadline), State::Idle, handle)
    }

    #[inline]
    fn new(time: u64, state: State, handle: Handle) -> Self {
        Self { shared: handle.shared, time, state }
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
        self.time = deadline;
        let State::Armed(key) = self.state else {
            self.state = State::Idle;
            return;
        };
        let is_first = self.shared.wheel().reset(key, deadline);
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
        match self.state {
            State::Span => None,
            _ => self.shared.clock.to_instant(self.time),
        }
    }

    /// Whether a poll has found that the time has come, since the last reset.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Elapsed)
    }

    /// Whether it waits in the reactor: a poll has found that its time had not come, and none has been ready since.
    pub fn is_armed(&self) -> bool {
        matches!(self.state, State::Armed(_))
    }

    /// Works out the deadline, at the first poll. `None` if it has passed.
    fn begin(&mut self) -> Option<u64> {
        let clock = &self.shared.clock;
        let turn = clock.turn();
        let (deadline, now) = match self.state {
            // A span must begin now, not when the turn began, or it would end early.
            State::Span => {
                let now = clock.now();
                (now.saturating_add(self.time), now)
            }
            // The turn's clock is behind: good enough to see that a deadline has passed, or that it is far away.
            _ if self.time <= turn || (self.time - turn > SURELY_AHEAD && !self.shared.notifier.is_detached()) => {
                (self.time, turn)
            }
            _ => (self.time, clock.now()),
        };
        (self.time, self.state) = (deadline, State::Idle);
        (deadline > now).then_some(deadline)
    }

    /// Makes the entry in the wheel.
    fn arm(&mut self, deadline: u64, waker: &Waker) -> Poll<io::Result<()>> {
        let clone = waker.clone();
        let mut timers = self.shared.wheel();
        // Looked at under the lock: a reactor that goes away later finds our entry.
        if self.shared.is_gone() {
            drop(timers);
            drop(clone);
            return Poll::Ready(Err(gone()));
        }
        let (key, is_first) = timers.insert(deadline, clone);
        drop(timers);
        self.state = State::Armed(key);
        if is_first {
            // The reactor may sleep in another thread, until a later deadline.
            self.shared.first_timer_changed();
        }
        Poll::Pending
    }

    /// Looks whether the armed timer has fired, and sees to it that it wakes `waker`.
    fn poll_armed(&mut self, key: Key, waker: &Waker) -> Poll<io::Result<()>> {
        let state = self.shared.wheel().remove_fired(key, waker);
        // Its wakers taken, a reactor that has gone looks like one whose timers have all fired.
        match state {
            // Its time has passed: it need not wait for the turn that fires it.
            Err(_) if self.time <= self.look() => self.disarm(),
            Err(true) => return Poll::Pending,
            Err(false) => {
                let clone = waker.clone();
                // Fired or gone meanwhile? Then go on below.
                let replaced = self.shared.wheel().set_waker(key, clone);
                // The old waker, or ours back, is dropped with no lock held.
                if replaced.is_ok() {
                    return Poll::Pending;
                }
                self.disarm();
            }
            Ok(()) => self.state = State::Idle,
        }
        self.complete()
    }

    /// The time, for one that is armed: the turn's is good enough. But a task that polls in a loop and finds something to
    /// do each time does not let the next turn begin, so now and then it is the real one.
    fn look(&self) -> u64 {
        let polls = POLLS.get().wrapping_add(1);
        POLLS.set(polls);
        let clock = &self.shared.clock;
        if polls % LOOKS == 0 { clock.now() } else { clock.turn() }
    }

    /// The time has come, unless the reactor has gone.
    fn complete(&mut self) -> Poll<io::Result<()>> {
        if self.shared.is_gone() {
            return Poll::Ready(Err(gone()));
        }
        self.state = State::Elapsed;
        Poll::Ready(Ok(()))
    }

    /// Gives the entry back.
    #[inline]
    fn disarm(&mut self) {
        if let State::Armed(key) = self.state {
            self.state = State::Idle;
            let waker = self.shared.wheel().remove(key);
            // Not under the lock.
            drop(waker);
        }
    }
}

impl Future for Timer {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Elapsed => Poll::Ready(Ok(())),
            State::Armed(key) => self.poll_armed(key, cx.waker()),
            // A span begins even if the reactor is gone: whoever goes on with another clock asks for the deadline.
            State::Span | State::Idle => match self.begin() {
                Some(deadline) => self.arm(deadline, cx.waker()),
                None => self.complete(),
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
        match self.state {
            State::Span => debug.field("after", &Duration::from_nanos(self.time)),
            _ => debug.field("deadline", &self.deadline()),
        };
        debug.field("armed", &matches!(self.state, State::Armed(_))).finish()
    }
}
