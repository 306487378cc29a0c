//! A stopped clock, when nothing but the clock's move could go on (feature `test-util`).
//!
//! While a test has stopped the clock, no timer ends a sleep. So the engine asks here how long to sleep, and comes back
//! when it has slept in vain:
//!
//! ```text
//!   no task is ready; the clock is stopped; a timer is armed
//!      │
//!      ├─ the timer is due where the clock stands (it was reset) ──► fire it
//!      │
//!      ├─ the clock moves by itself: ask the kernel for events, without sleeping
//!      │     none, and certainly nothing but a timer can wake a task ──► move to the first timer, and fire it
//!      │
//!      └─ sleep for a second of real time; if nothing has happened, ask again
//!            the clock moves by itself, but something holds it ─────────► a warning, once
//!            it does not, and certainly nothing but a timer can go on ──► an error of the `run` method
//!            it does not, but something else than a timer may go on ────► a warning, once, unless that is a remote spawner
//! ```
//!
//! What is certain is decided as in the [deadlock report](crate::Reactor::run), by a [census](super::watch::Census) of the
//! wakers. Sources count by their waiters: the kernel tells which events are there, not which will come, and a peer may
//! be another process. So a clock that moves by itself never jumps over input that is under way.
//!
//! The census costs a few instructions for each task and each timer, per jump. Without the feature, all of this is dead
//! code.

#[cfg(not(feature = "test-util"))]
pub(crate) use disabled::Standstill;
#[cfg(feature = "test-util")]
pub(crate) use enabled::Standstill;

#[cfg(feature = "test-util")]
mod enabled {
    use super::super::shared::Shared;
    use super::super::watch::{Census, Outside, Watch};
    use crate::time::nanos::NEVER;
    use crate::trace;
    use std::io;
    use std::time::Duration;

    /// The real time after which a stopped clock is reported, in nanoseconds.
    const PATIENCE: u64 = 1_000_000_000;

    /// What one wait of the engine has done about a stopped clock.
    #[derive(Debug)]
    pub(crate) struct Standstill {
        /// The kernel was asked for events since the clock was moved last.
        has_looked: bool,
        /// The real time since which nothing has happened, in nanoseconds. Set when the engine first sleeps.
        since: Option<u64>,
    }

    impl Standstill {
        /// Returns the state at the beginning of a wait, and after a move of the clock.
        pub(crate) const fn new() -> Self {
            Self { has_looked: false, since: None }
        }

        /// Returns how long to sleep at most, in place of `sleep`.
        pub(crate) fn limit(&mut self, shared: &Shared, sleep: Option<Duration>) -> Option<Duration> {
            let clock = &shared.clock;
            if !clock.is_stopped() {
                return sleep;
            }
            let next = shared.wheel().exact_next();
            if next == NEVER {
                return sleep;
            }
            if next <= clock.now() || (clock.hands.move_by_themselves() && !self.has_looked) {
                return Some(Duration::ZERO);
            }
            let real = clock.real();
            let rest = PATIENCE.saturating_sub(real - *self.since.get_or_insert(real));
            let rest = Duration::from_nanos(rest);
            Some(sleep.map_or(rest, |sleep| sleep.min(rest)))
        }

        /// Moves the clock if it moves by itself, or reports that it stands still. Called after a sleep in which nothing has
        /// happened, at the real time `real`. Returns what the clock shows then.
        ///
        /// # Errors
        ///
        /// `Deadlock` if the clock has to be moved, and certainly nothing else can go on.
        pub(crate) fn end(&mut self, shared: &Shared, real: u64, watch: Option<&dyn Watch>) -> io::Result<u64> {
            let (clock, hands) = (&shared.clock, &shared.clock.hands);
            let next = shared.wheel().exact_next();
            if !clock.is_stopped() || next == NEVER || next <= clock.now() {
                return Ok(clock.begin_turn(real));
            }
            let automatic = hands.move_by_themselves();
            let is_late = self.since.is_some_and(|since| real.saturating_sub(since) >= PATIENCE);
            if is_late || (automatic && !self.has_looked) {
                self.has_looked = true;
                match Census::take(shared, watch) {
                    Some(outside) if outside.is_empty() && automatic => {
                        clock.step_by_itself(next);
                        *self = Self::new();
                    }
                    Some(outside) if outside.is_empty() => return Err(stands_still(shared, next)),
                    Some(outside) if is_late => {
                        report(shared, outside, automatic);
                        // Ask again in a second: a waker outside may be dropped without a wake.
                        self.since = None;
                    }
                    _ => {}
                }
            }
            Ok(clock.begin_turn(real))
        }
    }

    /// Reports, once, that the clock stands, though something in `outside` may go on. Most often it will not: a message is to
    /// come from a task that sleeps.
    fn report(shared: &Shared, outside: Outside, automatic: bool) {
        // By a remote spawner, a thread says that it needs longer to move a clock that is paused.
        if !automatic && outside.remote || !shared.clock.hands.is_first_report() {
            return;
        }
        let Outside { source, remote, waker } = outside;
        let found = format!("(source={source} remote={remote} waker={waker})");
        trace::clock_stands(&if automatic {
            format!(
                "a clock that moves by itself (pause_auto) has not moved for more than a second of real time, since \
                 something else than a timer may wake a task {found}: a source for which a task waits, a RemoteSpawner, or a \
                 waker in a channel, in a combinator with wakers of its own, at an AbortHandle or on another thread; if none \
                 of them will before the time moves, move the clock by advance"
            )
        } else {
            format!(
                "timers have waited for more than a second of real time on a clock that is paused, and nothing else has \
                 happened {found}: move the clock by TestClock::advance, or let it run by TestClock::resume"
            )
        });
    }

    /// Returns the error of a `run` method that only a move of the clock would end.
    fn stands_still(shared: &Shared, next: u64) -> io::Error {
        let timers = shared.wheel().armed();
        let first = Duration::from_nanos(next.saturating_sub(shared.clock.now()));
        io::Error::new(
            io::ErrorKind::Deadlock,
            format!(
                "deadlock: the clock is paused, and for a second of real time nothing but a timer could wake a task \
                 (timers: {timers}, the first of them due in {first:?}): move the clock by TestClock::advance, let it \
                 move by itself by TestClock::pause_auto, or let it run by TestClock::resume; in async-timeout, by \
                 clock::advance, clock::pause_auto or clock::resume"
            ),
        )
    }
}

/// Without the feature: the clock never stops.
#[cfg(not(feature = "test-util"))]
mod disabled {
    use super::super::shared::Shared;
    use super::super::watch::Watch;
    use std::io;
    use std::time::Duration;

    /// Nothing.
    #[derive(Debug)]
    pub(crate) struct Standstill;

    impl Standstill {
        /// Returns nothing.
        pub(crate) const fn new() -> Self {
            Self
        }

        /// Returns `sleep`.
        pub(crate) const fn limit(&self, _: &Shared, sleep: Option<Duration>) -> Option<Duration> {
            sleep
        }

        /// Returns the turn's clock.
        pub(crate) fn end(&self, shared: &Shared, _: u64, _: Option<&dyn Watch>) -> io::Result<u64> {
            Ok(shared.clock.turn())
        }
    }
}
