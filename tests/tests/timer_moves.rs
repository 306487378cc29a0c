//! A timer that is moved fires at its new time, on every kind of reactor: a table of [`KINDS`] times [`MOVES`].
//!
//! A reactor remembers the time for which the kernel has been told to wake it, and makes no system call for the same
//! time again. Each move of the table leads to a first timer that is earlier than, later than or equal to what the
//! kernel was last told, before or after the kernel has woken the reactor for it.
//!
//! The column of a clock that a test moves is in `test_clock`, which needs a feature.

use async_epoll::{Background, Handle, Reactor, Timer};
use futures::FutureExt;
use rustix::event::{PollFd, PollFlags, poll};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};
use tests::{CountingWaker, HOUR, TIME, millis, thread_cpu, watchdog};

/// Longer than any right wait of these tests, shorter than a hang.
const LOST: Duration = Duration::from_secs(10);

/// A row: how the reactor is made, and where it waits.
#[derive(Clone, Copy, Debug)]
struct Kind {
    precise: bool,
    embedded: bool,
    /// A thread of the reactor's own waits, and the timers are moved by another thread.
    background: bool,
}

const KINDS: [Kind; 6] = [
    Kind { precise: false, embedded: false, background: false },
    Kind { precise: true, embedded: false, background: false },
    Kind { precise: false, embedded: true, background: false },
    Kind { precise: true, embedded: true, background: false },
    Kind { precise: false, embedded: false, background: true },
    Kind { precise: true, embedded: false, background: true },
];

/// A column: brings the timer into its state, and returns the instant at which it has to fire.
struct Move {
    name: &'static str,
    play: fn(&mut Scene) -> Instant,
}

const MOVES: [Move; 13] = [
    Move { name: "armed", play: |s| s.arm(millis(20)) },
    Move {
        name: "fired, and reset to a later time",
        play: |s| {
            s.arm(millis(5));
            s.fire();
            s.reset(Instant::now() + millis(20))
        },
    },
    Move {
        name: "another was cancelled",
        play: |s| {
            let cancelled = s.other(Instant::now() + millis(5));
            drop(cancelled);
            s.arm(millis(20))
        },
    },
    Move {
        name: "the only one was cancelled while the reactor slept for it, and one with the same time is armed",
        play: |s| {
            let at = Instant::now() + millis(25);
            let cancelled = s.other(at);
            s.turn(millis(5));
            drop(cancelled);
            s.turn(millis(5));
            s.arm_at(at)
        },
    },
    Move {
        name: "reset to an earlier time",
        play: |s| {
            s.arm(HOUR);
            s.turn(millis(1));
            s.reset(Instant::now() + millis(20))
        },
    },
    Move {
        name: "reset to a later time",
        play: |s| {
            let at = s.arm(millis(5));
            s.turn(millis(1));
            s.reset(at + millis(20))
        },
    },
    Move {
        name: "reset to a later time and back",
        play: |s| {
            let at = s.arm(millis(30));
            s.turn(millis(1));
            s.reset(at + HOUR);
            s.turn(millis(1));
            s.reset(at)
        },
    },
    Move {
        name: "reset to the time of the last alarm, before the reactor sleeps again",
        play: |s| {
            s.arm(HOUR);
            let at = s.last_alarm();
            s.reset(at)
        },
    },
    Move {
        name: "reset to the time of the last alarm, after the reactor has slept for another",
        play: |s| {
            s.arm(HOUR);
            let at = s.last_alarm();
            s.turn(millis(3));
            s.reset(at)
        },
    },
    Move {
        name: "reset to the time of the last alarm, twice",
        play: |s| {
            s.arm(HOUR);
            let at = s.last_alarm();
            let mut before = s.other(Instant::now() + HOUR);
            before.reset(at);
            s.turn(millis(5));
            s.reset(at)
        },
    },
    Move {
        name: "reset to before the last alarm",
        play: |s| {
            s.arm(HOUR);
            let at = s.last_alarm();
            s.turn(millis(3));
            s.reset(at - millis(3))
        },
    },
    Move {
        name: "reset to before the reactor was made, twice",
        play: |s| {
            s.arm(HOUR);
            let mut before = s.other(Instant::now() + HOUR);
            before.reset(s.made - HOUR);
            s.turn(millis(5));
            s.reset(s.made - HOUR)
        },
    },
    Move {
        name: "reset to a moment ago while the alarm rings",
        play: |s| {
            s.arm(HOUR);
            let at = Instant::now() + millis(10);
            let ringing = s.other(at);
            // The kernel has woken the reactor, or made its descriptor readable, and the reactor has not looked yet.
            while Instant::now() <= at {
                std::hint::spin_loop();
            }
            s.keep(ringing);
            s.reset(at)
        },
    },
];

/// Where the reactor waits.
enum Waits {
    /// On the thread of the test, by `wait` or through the descriptor.
    Here(Reactor),
    /// On a thread of its own, which ends with the scene.
    Elsewhere { _thread: Background },
}

/// A reactor and the timer to be moved.
struct Scene {
    kind: Kind,
    waits: Waits,
    handle: Handle,
    /// Before the reactor was made.
    made: Instant,
    timer: Timer,
    counter: Arc<CountingWaker>,
    /// The number of wakes that the test has answered by a poll.
    answered: usize,
    waker: std::task::Waker,
    /// The time had passed when the timer was polled.
    is_over: bool,
    /// Other timers, which stay armed until the end.
    kept: Vec<Timer>,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let made = Instant::now();
        let mut builder = Reactor::builder();
        if kind.precise {
            builder = builder.precise_timers();
        }
        if kind.embedded {
            builder = builder.embedded();
        }
        let reactor = builder.build().unwrap();
        let handle = reactor.handle();
        let waits = match kind.background {
            true => Waits::Elsewhere { _thread: reactor.into_background().unwrap() },
            false => Waits::Here(reactor),
        };
        let (counter, waker) = CountingWaker::new();
        Self {
            kind,
            waits,
            timer: Timer::never(&handle),
            handle,
            made,
            counter,
            answered: 0,
            waker,
            is_over: false,
            kept: Vec::new(),
        }
    }

    /// Lets the reactor wait for at most `limit`: one turn.
    fn turn(&mut self, limit: Duration) {
        match &mut self.waits {
            Waits::Elsewhere { .. } => thread::sleep(limit.min(millis(1))),
            Waits::Here(reactor) if self.kind.embedded => {
                let limit = limit.try_into().unwrap();
                if poll(&mut [PollFd::new(&*reactor, PollFlags::IN)], Some(&limit)).unwrap() == 1 {
                    reactor.wait(Some(Duration::ZERO)).unwrap();
                }
            }
            Waits::Here(reactor) => drop(reactor.wait(Some(limit)).unwrap()),
        }
    }

    fn arm(&mut self, after: Duration) -> Instant {
        self.arm_at(Instant::now() + after)
    }

    /// Sets the timer, and polls it with the counting waker.
    fn arm_at(&mut self, at: Instant) -> Instant {
        self.timer.reset(at);
        if Pin::new(&mut self.timer).poll(&mut Context::from_waker(&self.waker)).is_ready() {
            // On a busy machine.
            assert!(Instant::now() >= at, "early");
            self.is_over = true;
        }
        at
    }

    /// Moves the armed timer.
    fn reset(&mut self, at: Instant) -> Instant {
        self.timer.reset(at);
        if !self.timer.is_armed() {
            // It had fired: it has to be polled to wait again.
            return self.arm_at(at);
        }
        at
    }

    /// Makes turns until the timer is ready. Polls it once for each wake, as its task would.
    fn fire(&mut self) {
        let begin = Instant::now();
        if std::mem::take(&mut self.is_over) {
            return;
        }
        loop {
            while self.counter.count() == self.answered {
                assert!(begin.elapsed() < LOST, "never woken");
                self.turn(LOST);
            }
            self.answered += 1;
            match Pin::new(&mut self.timer).poll(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(result) => return result.unwrap(),
                // The wake belongs to the time before the last move.
                Poll::Pending => assert!(self.answered < 3, "woken for nothing"),
            }
        }
    }

    /// Returns another timer, armed if its time has not passed.
    fn other(&mut self, at: Instant) -> Timer {
        let mut timer = Timer::at(at, &self.handle);
        let _ = timer.poll_unpin(&mut Context::from_waker(std::task::Waker::noop()));
        timer
    }

    fn keep(&mut self, timer: Timer) {
        self.kept.push(timer);
    }

    /// Waits until another timer has fired, and returns its time: the last for which the kernel was told to wake the
    /// reactor.
    fn last_alarm(&mut self) -> Instant {
        let fired = self.handle.stats().timers_fired;
        let (at, timer) = loop {
            let at = Instant::now() + millis(10);
            let timer = self.other(at);
            if timer.is_armed() {
                break (at, timer);
            }
        };
        let begin = Instant::now();
        while self.handle.stats().timers_fired == fired {
            assert!(begin.elapsed() < LOST, "the first alarm never rang");
            self.turn(LOST);
        }
        self.keep(timer);
        at
    }
}

/// Plays a cell, and returns what was wrong.
fn play(kind: Kind, step: &Move) {
    let mut scene = Scene::new(kind);
    let due = (step.play)(&mut scene);
    let (turns, cpu, begin) = (scene.handle.stats().turns, thread_cpu(), Instant::now());
    scene.fire();
    let late = Instant::now().checked_duration_since(due.max(begin)).expect("early");
    assert!(late < LOST / 2, "late by {late:?}");
    // A timer that fires wakes the reactor once; a few turns belong to other timers and to registrations.
    assert!(scene.handle.stats().turns - turns < 10, "{} turns", scene.handle.stats().turns - turns);
    assert!(thread_cpu() - cpu < millis(20) + late, "the thread spins");
}

/// Found 1: every kind of reactor, and every way to move a timer.
#[test]
fn a_moved_timer_fires_at_its_new_time() {
    let _watchdog = watchdog(2 * TIME);
    let mut failed = Vec::new();
    for kind in KINDS {
        thread::scope(|scope| {
            let cells = MOVES.each_ref().map(|step| {
                let cell = format!("{kind:?}: {}", step.name);
                let thread = thread::Builder::new().name(cell.clone());
                (cell, thread.spawn_scoped(scope, move || play(kind, step)).unwrap())
            });
            failed.extend(cells.into_iter().filter_map(|(cell, thread)| thread.join().is_err().then_some(cell)));
        });
    }
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n"));
}
