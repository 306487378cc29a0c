//! A clock that a test stops and moves (feature `test-util`).
//!
//! All time in a reactor comes from its [`Clock`](crate::time::clock::Clock): deadlines are counted on this clock, and
//! timers fire by it. So it is enough to stop one clock:
//!
//! ```text
//!   pause ──► the clock stops: no timer fires, and no sleep ends for a timer; sockets go on
//!
//!   advance ──► nothing is ready, and no socket has an event?   (the reactor would go to sleep now)
//!                 │ yes
//!                 ▼
//!               the clock jumps to the next timer, which fires, and its tasks run;
//!               again, until no timer is left before the end of the advance; then it is over
//!
//!   pause_auto ──► the same, without an advance and without an end, if besides no task can be woken but by a timer
//!
//!   resume ──► the clock runs on from where it stood
//! ```
//!
//! The reactor moves the clock, in [`Engine::turn`](crate::engine::engine::Engine), because only there it is known that
//! all tasks have done what they could. The real time goes on for everything else: the `timeout` of a
//! [`wait`](crate::Reactor::wait), other threads, `Instant::now()`.

use super::handle::Handle;
use super::shared::{Shared, gone, no_automatic_clock};
use crate::foreign::{drop_all, wake_all};
use crate::time::nanos::nanos;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The clock of a reactor, to be stopped and moved by a test; from [`Handle::test_clock`]. Needs the feature
/// `test-util`.
///
/// While the clock is paused, timers fire when the test [advances](Self::advance) the time and at no other moment,
/// however long the test takes in fact. So a timeout of an hour can be tested in no time, and always with the same
/// outcome. Sockets, other threads and [`notify`](Handle::notify) work as ever. Each reactor has a clock of its own, so
/// tests may run at the same time.
///
/// Deadlines have to be made from this clock's [`now`](Self::now), since `Instant::now()` goes on.
///
/// # A clock that stands still
///
/// A paused clock moves when it is advanced. If that is forgotten, [`run`](crate::Reactor::run),
/// [`run_until`](crate::Reactor::run_until) and [`block_on`](crate::block_on) do not hang: after a second of real time in
/// which nothing has happened, they fail with an error of the kind [`Deadlock`](io::ErrorKind::Deadlock), which says what
/// to do. They do so only if timers wait, and certainly nothing else can wake a task: no task waits for a source, there is
/// no [`RemoteSpawner`](crate::RemoteSpawner), and no waker of a task is anywhere but at a timer or at the handle of
/// another task. (A future of `run_until` that has no waker anywhere, such as `pending()`, runs the reactor for other
/// threads, and is no error.) The second is there for a thread that moves the clock. A thread that takes longer has to keep
/// a `RemoteSpawner`, or one side of a channel on which a task waits.
///
/// If a task waits for a source or a channel, too, or if the tasks are not known (in a hand-written loop, in the background),
/// a clock that stands is no error: a peer may be slow. Then a message appears, once for each reactor: an event of the feature
/// `tracing` if a subscriber wants it, otherwise a line on the standard error.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{Handle, Timer};
/// use std::time::{Duration, Instant};
///
/// const HOUR: Duration = Duration::from_secs(3600);
///
/// let begin = Instant::now();
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// let (handle, clock) = (runtime.handle(), runtime.handle().test_clock());
/// clock.pause();
/// let started = clock.now();
/// runtime.spawner().spawn_local(async move { Timer::after(HOUR, &handle).await.unwrap() }).unwrap();
/// let spawner = runtime.spawner();
/// runtime.run_until(async {
///     clock.advance(HOUR - Duration::from_nanos(1)).await?;
///     assert_eq!(spawner.live_tasks(), 1, "not yet");
///     clock.advance(Duration::from_nanos(1)).await?;
///     assert_eq!(spawner.live_tasks(), 0);
///     std::io::Result::Ok(())
/// })??;
/// assert_eq!(clock.now() - started, HOUR);
/// assert!(begin.elapsed() < HOUR);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestClock {
    /// The shared half of the reactor that has the clock.
    shared: Arc<Shared>,
}

impl Handle {
    /// Returns the clock of the reactor's timers, for a test that moves the time.
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn test_clock(&self) -> TestClock {
        TestClock { shared: Arc::clone(&self.shared) }
    }
}

impl TestClock {
    /// Stops the clock. Does nothing if the clock is stopped already, but that a clock that [moves by
    /// itself](Self::pause_auto) stands still from now on.
    ///
    /// Another thread that reads the clock at the same moment may see a time a few nanoseconds after the stop.
    pub fn pause(&self) {
        let advances = self.shared.clock.hands.advances();
        self.stop(false);
        drop(advances);
        self.moved();
    }

    /// Stops the hands, and sets whether they move by themselves. The caller holds the lock of the advances.
    fn stop(&self, by_themselves: bool) {
        let hands = &self.shared.clock.hands;
        if !hands.are_stopped() {
            hands.stop_at(self.shared.clock.now());
        }
        hands.set_by_themselves(by_themselves);
    }

    /// Stops the clock, and makes it move by itself to the next timer whenever nothing but a timer can wake a task. Does
    /// nothing if the clock moves by itself already.
    ///
    /// So a day of timers passes in a moment, without a call of [`advance`](Self::advance) and without a word about the
    /// length of the day. The clock moves if all of this holds:
    ///
    /// | | so the clock does not move |
    /// |---|---|
    /// | No task is ready, and the kernel has no event for a source: it is asked without sleeping. | while tasks or sockets are busy |
    /// | No task waits for a source. The event may be under way, or come from another process. | while a task reads from a silent socket, or waits for a child process or a signal |
    /// | There is no [`RemoteSpawner`](crate::RemoteSpawner) into the pool. | while another thread may spawn |
    /// | No waker of a task is anywhere but at a timer, at the handle of another task, at a [`TaskGroup`](crate::TaskGroup), or at [`Spawner::idle`](crate::Spawner::idle). | while a task waits for a channel, a lock, a token or a helper thread; while a task has an [`AbortHandle`](crate::AbortHandle), or a `RemoteHandle` of futures, which is a channel; while futures wait in a combinator with wakers of its own, such as `FuturesUnordered`, `buffer_unordered`, and `join_all` of more than 30 |
    ///
    /// A source without a waiting task does not keep the clock from moving. Timers that are due at the same instant fire
    /// together; then the tasks run, and the question is asked anew. Where no timer is left, the clock stands, and a
    /// deadlock is [reported](crate::Reactor::run) as without a test clock.
    ///
    /// The rules are strict, so a timeout never wins over input that was only slower. If they are too strict for a test,
    /// because all peers of its sockets and channels are on this thread, say so by an [`advance`](Self::advance) beside the
    /// test: it asks for tasks and for events, and for nothing else. If something keeps the clock for more than a second of real
    /// time, a message [says so](Self#a-clock-that-stands-still).
    ///
    /// [`pause`](Self::pause) stops the clock for good, [`resume`](Self::resume) lets it run; the last call counts, and
    /// calls do not nest. An `advance` may be used as on any paused clock.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the reactor is [embedded](crate::ReactorBuilder::embedded) or in the
    /// [background](crate::Reactor::into_background): the clock moves in [`run`](crate::Reactor::run),
    /// [`run_until`](crate::Reactor::run_until) and [`block_on`](crate::block_on), which know the tasks.
    /// ([`wait`](crate::Reactor::wait) and `into_background` fail in turn while the clock moves by itself.) `NotConnected`
    /// if the reactor has been dropped. Another error in a forked child of the process that made the reactor.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Handle, Timer};
    /// use std::time::{Duration, Instant};
    ///
    /// const DAY: Duration = Duration::from_secs(24 * 3600);
    ///
    /// let begin = Instant::now();
    /// async_epoll::try_block_on(async {
    ///     let handle = Handle::current()?;
    ///     let clock = handle.test_clock();
    ///     clock.pause_auto()?;
    ///     let started = clock.now();
    ///     Timer::after(DAY, &handle).await?;
    ///     assert_eq!(clock.now() - started, DAY);
    ///     std::io::Result::Ok(())
    /// })?;
    /// assert!(begin.elapsed() < DAY);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pause_auto(&self) -> io::Result<()> {
        let shared = &self.shared;
        shared.refuse_child()?;
        if shared.is_gone() {
            return Err(gone());
        }
        if shared.notifier.is_detached() {
            return Err(no_automatic_clock("a reactor in the background"));
        }
        if shared.notifier.is_embedded() {
            return Err(no_automatic_clock("an embedded reactor"));
        }
        let advances = shared.clock.hands.advances();
        self.stop(true);
        drop(advances);
        self.moved();
        Ok(())
    }

    /// Lets the clock run again, from where it stands. Does nothing if the clock runs.
    ///
    /// The clock stays as far ahead of the real time, or behind, as it is now. Advances in progress fail. If the waker of
    /// a task that awaits an [`advance`](Self::advance) panics, the panic is counted in
    /// [`Stats::waker_panics`](crate::Stats::waker_panics), and all other tasks are woken.
    pub fn resume(&self) {
        let clock = &self.shared.clock;
        let mut advances = clock.hands.advances();
        if clock.hands.are_stopped() {
            clock.hands.go_on(clock.real());
        }
        let mut wakers = clock.hands.end(&mut advances, |_| true);
        drop(advances);
        self.moved();
        wake_all(&mut wakers, |panic| self.shared.note_waker_panic(panic));
    }

    /// Returns whether the clock is stopped: it does not follow the real time.
    pub fn is_paused(&self) -> bool {
        self.shared.clock.hands.are_stopped()
    }

    /// Returns the time that the clock shows.
    pub fn now(&self) -> Instant {
        let clock = &self.shared.clock;
        clock.to_instant(clock.now()).unwrap_or_else(Instant::now)
    }

    /// Moves a stopped clock by `duration`, from the first poll of the future on.
    ///
    /// The clock moves timer by timer, in order, and after each timer the tasks run until none can go on. The future is
    /// ready when the clock has arrived and the tasks have run.
    ///
    /// Some thread has to run the reactor meanwhile. Only tasks of this reactor are known to have run. Nothing is known
    /// of tasks in other executors, of tasks beside a [`Background`](crate::Background), or of what other threads are
    /// about to do. Several advances at a time all begin where the clock stands, so they overlap.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the clock is not paused, or is [resumed](Self::resume) meanwhile, or if `duration` leads
    /// further than an `Instant` can; `NotConnected` if the reactor has been dropped. Another error in a forked child of
    /// the process that made the reactor.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the clock stays where it is.
    pub fn advance(&self, duration: Duration) -> Advance {
        Advance { clock: self.clone(), by: nanos(duration), step: None }
    }

    /// Makes the reactor compute the length of its sleep anew.
    fn moved(&self) {
        // The timerfd is set relative to the clock, which has changed.
        self.shared.invalidate_timerfd(&self.shared.wheel());
        self.shared.wake_time();
        self.shared.first_timer_changed();
    }
}

/// An advance in progress; from [`TestClock::advance`].
#[must_use = "the clock does not move unless this is awaited"]
pub struct Advance {
    /// The clock to move.
    clock: TestClock,
    /// How far to move the clock, in nanoseconds.
    by: u64,
    /// The number of the advance and its target, in nanoseconds of the clock. Written by the first poll.
    step: Option<(u64, u64)>,
}

impl Advance {
    /// Adds the advance to the advances in progress.
    fn begin(&mut self, waker: Waker) -> io::Result<()> {
        let shared = &self.clock.shared;
        shared.refuse_child()?;
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text);
        let hands = &shared.clock.hands;
        let mut advances = hands.advances();
        // Checked under the lock: a reactor that is dropped later finds this entry.
        if shared.is_gone() {
            return Err(gone());
        }
        if !hands.are_stopped() {
            return Err(invalid("the clock is not paused: pause it before advancing it"));
        }
        let target = shared.clock.now().saturating_add(self.by);
        if shared.clock.to_instant(target).is_none() {
            return Err(invalid("the clock cannot be advanced so far"));
        }
        let number = hands.begin(&mut advances, target, waker);
        drop(advances);
        self.step = Some((number, target));
        // The reactor may sleep, and has to move the clock now.
        shared.notifier.notify();
        Ok(())
    }

    /// Makes sure that the task of `waker` is woken at the end, or returns how the advance has ended.
    fn check(&self, number: u64, target: u64, waker: Waker) -> Poll<io::Result<()>> {
        let shared = &self.clock.shared;
        shared.refuse_child()?;
        let mut advances = shared.clock.hands.advances();
        if let Some(step) = advances.iter_mut().find(|step| step.number == number) {
            let old = std::mem::replace(&mut step.waker, waker);
            // Dropped with no lock held.
            drop(advances);
            shared.drop_waker(old);
            return Poll::Pending;
        }
        drop(advances);
        Poll::Ready(if shared.clock.hands.are_stopped() && shared.clock.now() >= target {
            Ok(())
        } else if shared.is_gone() {
            Err(gone())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the clock was resumed while it was advanced"))
        })
    }
}

impl Future for Advance {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.step {
            Some((number, target)) => self.check(number, target, cx.waker().clone()),
            None => match self.begin(cx.waker().clone()) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
        }
    }
}

impl Drop for Advance {
    fn drop(&mut self) {
        if let Some((number, _)) = self.step {
            let shared = &self.clock.shared;
            let mut wakers = shared.clock.hands.end_in_child(shared.process, |step| step.number == number);
            // Dropped with no lock held.
            drop_all(&mut wakers, |panic| shared.note_waker_panic(panic));
        }
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClock")
            .field("now", &self.now())
            .field("paused", &self.is_paused())
            .field("moves_by_itself", &self.shared.clock.moves_by_itself())
            .finish()
    }
}

impl fmt::Debug for Advance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advance").field("begun", &self.step.is_some()).finish_non_exhaustive()
    }
}
