//! One timer of the reactor, as a future.
//!
//! The futures of `async-timeout`, which most users want instead, are built on this one. The entry in the
//! [wheel](crate::time::wheel) is made by the first poll that finds the timer pending, so a timer that is never needed
//! costs nothing.

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

/// How far a deadline has to be after the turn's clock, in nanoseconds, to be armed without a clock read. A closer
/// deadline may have passed during the turn, and the timer has to be ready at once then. On a thread of its own, the
/// reactor may sleep for hours in one turn, so there every deadline is compared with the real time.
const SURELY_AHEAD: u64 = 100_000_000;

/// The number of polls of armed timers on a thread, of which one reads the clock.
const POLLS_PER_CLOCK_READ: u32 = 32;

thread_local! {
    /// The number of polls of armed timers on this thread. Wraps.
    static POLLS: Cell<u32> = const { Cell::new(0) };
}

/// A future that completes at an instant, never earlier.
///
/// [`at`](Self::at), [`after`](Self::after) and [`never`](Self::never) take the handle of a reactor;
/// [`try_at`](Self::try_at) and [`try_after`](Self::try_after) use the [current](Handle::current) reactor.
///
/// A completed timer stays completed: further polls return `Ready` until [`reset`](Self::reset). Any number of timers
/// may share an instant; they are woken in the order in which they were armed, unless a test
/// [shuffles](crate::ReactorBuilder#method.shuffle) them.
///
/// The precision is that of [`epoll_pwait2(2)`](https://man7.org/linux/man-pages/man2/epoll_wait.2.html): a lone timer
/// is late by the kernel's timer slack, about 50 µs or a thousandth of the time slept, whichever is more.
/// [`ReactorBuilder::precise_timers`](crate::ReactorBuilder::precise_timers) does better. When timers alone have woken
/// the thread several times in a row, such wake-ups come about once per millisecond. The clock is `CLOCK_MONOTONIC`, so
/// time stands still while the machine is suspended.
///
/// # Errors
///
/// - `NotConnected` if the reactor has been dropped.
/// - An error in a forked child of the process that made the reactor, if the timer would have to wait.
///
/// # Cancel safety
///
/// Dropping a timer removes it from the reactor at once. A timer wakes the task that has polled it last.
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
    /// The reactor's shared half.
    shared: Arc<Shared>,
    /// The deadline, in nanoseconds of the reactor's clock. In the state [`Span`](State::Span), the time from the first
    /// poll to the deadline. Written by the first poll and by [`reset`](Self::reset).
    time: u64,
    /// The progress of the timer.
    state: State,
}

/// The progress of a timer. An enum that contains a timer can keep its own variant in the unused values of this enum's
/// tag.
#[derive(Clone, Copy)]
enum State {
    /// Not polled yet: `time` is a duration.
    Span,
    /// Not armed: no poll has found the deadline ahead since the timer was made or reset.
    Idle,
    /// The timer has an entry in the wheel.
    Armed(Key),
    /// A poll has returned `Ready`.
    Elapsed,
}

impl Timer {
    /// Returns a timer that completes at `deadline`, on the reactor of `handle`; at once if `deadline` has passed.
    pub fn at(deadline: Instant, handle: &Handle) -> Self {
        Self::until(deadline, handle.clone())
    }

    /// Returns a timer that completes `duration` after its first poll, on the reactor of `handle`. `Duration::MAX`
    /// means never.
    pub fn after(duration: Duration, handle: &Handle) -> Self {
        Self::new(nanos(duration), State::Span, handle.clone())
    }

    /// Returns a timer on the reactor of `handle` that does not complete, until it is [`reset`](Self::reset) or the
    /// reactor is dropped.
    pub fn never(handle: &Handle) -> Self {
        Self::new(NEVER, State::Idle, handle.clone())
    }

    /// Returns a timer that completes at `deadline`, on the [current](Handle::current) reactor; at once if `deadline`
    /// has passed.
    ///
    /// Somewhat cheaper than [`at`](Self::at) with [`Handle::current`], which clones the handle once more.
    ///
    /// # Errors
    ///
    /// `NotConnected` if no reactor is current.
    #[inline]
    pub fn try_at(deadline: Instant) -> io::Result<Self> {
        Ok(Self::until(deadline, Handle::current()?))
    }

    /// Returns a timer that completes `duration` after its first poll, on the [current](Handle::current) reactor.
    /// `Duration::MAX` means never.
    ///
    /// Somewhat cheaper than [`after`](Self::after) with [`Handle::current`], which clones the handle once more.
    ///
    /// # Errors
    ///
    /// `NotConnected` if no reactor is current.
    #[inline]
    pub fn try_after(duration: Duration) -> io::Result<Self> {
        Ok(Self::new(nanos(duration), State::Span, Handle::current()?))
    }

    /// Returns a timer with a deadline.
    #[inline]
    fn until(deadline: Instant, handle: Handle) -> Self {
        Self::new(handle.shared.clock.from_instant(deadline), State::Idle, handle)
    }

    /// Returns a timer that has not been polled.
    #[inline]
    fn new(time: u64, state: State, handle: Handle) -> Self {
        Self { shared: handle.shared, time, state }
    }

    /// Sets another deadline, whether the timer has completed or not.
    ///
    /// The task that polled last is woken at the new deadline; after completion, the timer has to be polled again
    /// first. Moving a deadline further away is the cheapest of all operations: one number changes.
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
        let Some(mut wheel) = self.shared.wheel_in_child() else {
            self.state = State::Idle;
            return;
        };
        let is_first = wheel.reset(key, deadline);
        drop(wheel);
        match is_first {
            Some(true) => self.shared.first_timer_changed(),
            Some(false) => {}
            // The timer has fired; the next poll arms it anew.
            None => self.disarm(),
        }
    }

    /// Returns the instant at which the timer completes; `None` for never, and for a timer made by
    /// [`after`](Self::after) or [`try_after`](Self::try_after) before its first poll.
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

    /// Returns whether the timer has completed: a poll since the last reset has found that the deadline has passed.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Elapsed)
    }

    /// Returns whether the timer waits in the reactor: a poll has found the deadline ahead, and no poll has been ready
    /// since.
    pub fn is_armed(&self) -> bool {
        matches!(self.state, State::Armed(_))
    }

    /// Computes the deadline, at the first poll. Returns `None` if the deadline has passed.
    fn begin(&mut self) -> Option<u64> {
        let clock = &self.shared.clock;
        let turn = clock.turn();
        let (deadline, now) = match self.state {
            // A duration counts from now. Counted from the beginning of the turn, it would end early.
            State::Span => {
                let now = clock.now();
                (now.saturating_add(self.time), now)
            }
            // The turn's clock is behind the time, but good enough to see that a deadline has passed, or is far away.
            _ if self.time <= turn || (self.time - turn > SURELY_AHEAD && !self.shared.notifier.is_detached()) => {
                (self.time, turn)
            }
            _ => (self.time, clock.now()),
        };
        (self.time, self.state) = (deadline, State::Idle);
        (deadline > now).then_some(deadline)
    }

    /// Makes the entry in the wheel, with a clone of `waker`.
    fn arm(&mut self, deadline: u64, waker: &Waker) -> Poll<io::Result<()>> {
        self.shared.refuse_child()?;
        let clone = waker.clone();
        let mut timers = self.shared.wheel();
        // Checked under the lock: a reactor that is dropped later finds this entry.
        if self.shared.is_gone() {
            drop(timers);
            drop(clone);
            return Poll::Ready(Err(gone()));
        }
        let (key, is_first) = timers.insert(deadline, clone);
        drop(timers);
        self.state = State::Armed(key);
        if is_first {
            // The reactor may sleep on another thread, until a later deadline.
            self.shared.first_timer_changed();
        }
        self.shared.note_wait();
        Poll::Pending
    }

    /// Checks whether the armed timer has fired. If not, makes sure that the timer wakes `waker`.
    fn poll_armed(&mut self, key: Key, waker: &Waker) -> Poll<io::Result<()>> {
        let state = self.shared.wheel().remove_fired(key, waker);
        // `Ok` may also mean that the reactor has been dropped, since that takes the wakers out of all entries.
        // `complete` tells.
        match state {
            // The deadline has passed: the timer need not wait for the turn that fires it.
            Err(_) if self.time <= self.checked_time() => self.disarm(),
            Err(true) => return Poll::Pending,
            Err(false) => {
                let clone = waker.clone();
                let replaced = self.shared.wheel().set_waker(key, clone);
                match replaced {
                    Ok(old) => {
                        // The waker of the task that polled before.
                        old.into_iter().for_each(|old| self.shared.drop_waker(old));
                        return Poll::Pending;
                    }
                    // The timer has fired, or the reactor has been dropped, meanwhile: complete below.
                    Err(clone) => {
                        self.disarm();
                        drop(clone);
                    }
                }
            }
            Ok(()) => self.state = State::Idle,
        }
        self.complete()
    }

    /// Returns the time with which an armed timer compares its deadline. The turn's clock is good enough, but a task
    /// that polls in a loop and always finds something to do keeps the next turn from beginning. So now and then a poll
    /// reads the clock.
    fn checked_time(&self) -> u64 {
        let polls = POLLS.get().wrapping_add(1);
        POLLS.set(polls);
        let clock = &self.shared.clock;
        if polls % POLLS_PER_CLOCK_READ == 0 { clock.now() } else { clock.turn() }
    }

    /// Completes the timer, unless the reactor has been dropped.
    fn complete(&mut self) -> Poll<io::Result<()>> {
        if self.shared.is_gone() {
            return Poll::Ready(Err(gone()));
        }
        self.state = State::Elapsed;
        Poll::Ready(Ok(()))
    }

    /// Removes the entry from the wheel, if there is one.
    #[inline]
    fn disarm(&mut self) {
        if let State::Armed(key) = self.state {
            self.state = State::Idle;
            let waker = self.shared.wheel_in_child().and_then(|mut wheel| wheel.remove(key));
            // Dropped with no lock held. It belongs to the task that polled last, which may be another one.
            if let Some(waker) = waker {
                self.shared.drop_waker(waker);
            }
        }
    }
}

impl Future for Timer {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Elapsed => Poll::Ready(Ok(())),
            State::Armed(key) if !self.shared.is_child() => self.poll_armed(key, cx.waker()),
            // Armed by the parent, before the fork.
            State::Armed(_) => {
                self.disarm();
                self.poll(cx)
            }
            // A duration begins even if the reactor is gone: a caller that continues with another clock asks for the
            // deadline.
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
