//! A clock that moves by itself: `clock::pause_auto` and `TestClock::pause_auto`; and what becomes of a clock that stands
//! still.
//!
//! The clock moves if certainly nothing but a timer can wake a task. In the tables, another thread takes away what holds
//! the clock, after a while of real time. The clock must not have moved before, and moves afterwards.

use async_epoll::{Handle, LocalRuntime, Reactor, Source, TaskGroup, TestClock, Timer};
use async_timeout::{
    CancelToken, Sleep, Timeout, TimeoutExt, clock, guard, interval, sleep, sleep_until, with_deadline,
};
use futures::channel::oneshot;
use futures::executor::{LocalPool, block_on};
use futures::future::{FutureExt, join, pending};
use futures::stream::FuturesUnordered;
use futures::{AsyncReadExt, StreamExt};
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use tests::common::sources;
use tests::{HOUR, OnDrop, TIME, in_child, thread_cpu, watchdog, yield_now};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Runs `test` on a reactor whose clock moves by itself.
fn automatic<T>(test: impl AsyncFnOnce() -> T) -> T {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    runtime.handle().test_clock().pause_auto().unwrap();
    runtime.run_until(test()).unwrap()
}

/// What there is of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sources {
    None,
    /// Registered, silent, and no task waits for it.
    Unused,
    /// A task waits for it, and an event is there.
    Ready,
    /// A task waits for it, and there is no event.
    Silent,
}

/// What there is beside the clock.
#[derive(Clone, Copy, Debug)]
struct Around {
    sources: Sources,
    remote: bool,
    waker: bool,
    ready: bool,
    /// A task sleeps so long.
    timer: Option<Duration>,
}

impl Around {
    /// Returns all combinations.
    fn all(timers: &[Option<Duration>], ready: &[bool]) -> Vec<Self> {
        let mut all = Vec::new();
        for sources in [Sources::None, Sources::Unused, Sources::Ready, Sources::Silent] {
            for remote in [false, true] {
                for waker in [false, true] {
                    for &ready in ready {
                        for &timer in timers {
                            all.push(Self { sources, remote, waker, ready, timer });
                        }
                    }
                }
            }
        }
        all
    }

    /// Returns whether something other than a timer may go on.
    fn is_held(self) -> bool {
        self.sources == Sources::Silent || self.remote || self.waker || self.ready
    }

    /// Prepares the tasks. Returns what ends all that holds the clock, to be called on another thread.
    fn prepare(self, runtime: &LocalRuntime) -> impl FnOnce() + Send + use<> {
        let (handle, spawner) = (runtime.handle(), runtime.spawner());
        let test_clock = handle.test_clock();
        let begin = test_clock.now();
        let (mut peer, stream) = UnixStream::pair().unwrap();
        match self.sources {
            Sources::None => {}
            Sources::Unused => {
                let source = Source::with_handle(stream, &handle).unwrap();
                // Registered, and kept as long as the task of the timer.
                assert!(source.readable().now_or_never().is_none());
                spawner.spawn_local(async move { drop((sleep(MS).await, source)) }).unwrap();
            }
            Sources::Ready | Sources::Silent => {
                if self.sources == Sources::Ready {
                    peer.write_all(b"x").unwrap();
                }
                let mut source = Source::with_handle(stream, &handle).unwrap();
                let (clock, held) = (test_clock.clone(), self.is_held());
                spawner
                    .spawn_local(async move {
                        source.read_exact(&mut [0]).await.unwrap();
                        assert!(clock.now() == begin || held, "the clock has moved before an event that was there");
                    })
                    .unwrap();
            }
        }
        let remote = self.remote.then(|| spawner.remote());
        let (sender, receiver) = oneshot::channel();
        if self.waker {
            spawner.spawn_local(async move { receiver.await.unwrap() }).unwrap();
        }
        let stop = Arc::new(AtomicBool::new(!self.ready));
        if self.ready {
            let stop = Arc::clone(&stop);
            spawner
                .spawn_local(async move {
                    while !stop.load(Ordering::SeqCst) {
                        yield_now().await;
                    }
                })
                .unwrap();
        }
        if let Some(timer) = self.timer {
            spawner.spawn_local(sleep(timer)).unwrap();
        }
        move || {
            _ = peer.write_all(b"y");
            _ = sender.send(());
            stop.store(true, Ordering::SeqCst);
            drop(remote);
        }
    }
}

/// The table of what holds the clock: sources × remote spawner × waker outside × ready task × timer.
#[test]
fn what_holds_the_clock() {
    let _watchdog = watchdog(TIME);
    for cell in Around::all(&[Some(HOUR), None], &[false, true]) {
        let mut runtime = LocalRuntime::new().unwrap();
        let test_clock = runtime.handle().test_clock();
        test_clock.pause_auto().unwrap();
        let (begin, real) = (test_clock.now(), Instant::now());
        let release = cell.prepare(&runtime);
        let other = thread::spawn({
            let test_clock = test_clock.clone();
            move || {
                if !cell.is_held() {
                    return (begin, Some(release));
                }
                thread::sleep(15 * MS);
                let at = test_clock.now();
                release();
                (at, None)
            }
        });
        runtime.run().unwrap_or_else(|error| panic!("{cell:?}: {error}"));
        let (at, _kept) = other.join().unwrap();
        assert_eq!(at, begin, "moved too early: {cell:?}");
        let unused = if cell.sources == Sources::Unused { MS } else { Duration::ZERO };
        assert_eq!(test_clock.now() - begin, cell.timer.unwrap_or(unused), "{cell:?}");
        assert!(cell.is_held() || real.elapsed() < SECOND, "{cell:?}");
        assert_eq!(runtime.handle().stats().task_panics, 0, "{cell:?}");
    }
}

/// The table of reports of a clock that is paused and stands: an error after a second if certainly nothing but a timer can
/// go on, and no error otherwise.
#[test]
fn what_is_reported() {
    let _watchdog = watchdog(TIME);
    let cells = Around::all(&[Some(MS), None], &[false]);
    thread::scope(|scope| {
        for (cell, until) in cells.iter().flat_map(|cell| [(*cell, false), (*cell, true)]) {
            scope.spawn(move || {
                let mut runtime = LocalRuntime::new().unwrap();
                let test_clock = runtime.handle().test_clock();
                test_clock.pause();
                let real = Instant::now();
                let release = cell.prepare(&runtime);
                let has_timer = cell.timer.is_some() || cell.sources == Sources::Unused;
                let other = thread::spawn({
                    let test_clock = test_clock.clone();
                    move || {
                        if !cell.is_held() {
                            return Some(release);
                        }
                        thread::sleep(1500 * MS);
                        release();
                        test_clock.resume();
                        None
                    }
                });
                let idle = runtime.spawner().idle();
                let result = if until { runtime.run_until(idle) } else { runtime.run() };
                let _kept = other.join().unwrap();
                if cell.is_held() {
                    result.unwrap_or_else(|error| panic!("a false alarm: {cell:?}, {until}: {error}"));
                    assert!(real.elapsed() >= 1500 * MS, "{cell:?}, {until}");
                } else if has_timer {
                    let error = result.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Deadlock, "{cell:?}, {until}");
                    let text = error.to_string();
                    assert!(text.contains("advance") && text.contains("pause_auto"), "{text}");
                    assert!(real.elapsed() >= SECOND, "{cell:?}, {until}");
                    // The tasks are still there, and the remedy works.
                    test_clock.pause_auto().unwrap();
                    runtime.run().unwrap();
                } else {
                    result.unwrap();
                }
            });
        }
    });
}

/// A day of timers, and a backoff of a day, take a moment; each timer fires at its own time, and the loop makes a turn for
/// each.
#[test]
fn a_day_takes_a_moment() {
    const SECONDS: u64 = 86_400;
    let real = Instant::now();
    automatic(async || {
        let (begin, handle) = (clock::now(), Handle::current().unwrap());
        for second in 1..=SECONDS {
            sleep(SECOND).await;
            assert_eq!(clock::now() - begin, Duration::from_secs(second));
        }
        assert_eq!(clock::now() - begin, DAY);
        let stats = handle.stats();
        assert_eq!(stats.timers_fired, SECONDS);
        assert!(stats.turns <= SECONDS + 10 && stats.sleeps <= 2 * SECONDS + 10, "{stats:?}");
        sleep(DAY).await;
        assert_eq!(clock::now() - begin, 2 * DAY);
        assert!(handle.stats().turns - stats.turns < 10);
    });
    assert!(real.elapsed() < TIME / 2, "{:?}", real.elapsed());
}

/// Timers fire in order, those of one instant together, none early, and the tasks run in between. More timers than one
/// slot of the wheel holds, within one of its ticks and far apart.
#[test]
fn timers_fire_in_order() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let test_clock = runtime.handle().test_clock();
    test_clock.pause_auto().unwrap();
    let (begin, log) = (test_clock.now(), Rc::new(RefCell::new(Vec::new())));
    let times: Vec<u64> =
        (0..200).map(|n| n * 7919 % 1_000_000 / 3 * 3).chain((0..200).map(|n| n * 104_729_000)).collect();
    for time in times.iter().chain(&times) {
        let (log, time) = (Rc::clone(&log), Duration::from_nanos(time + 1));
        runtime
            .spawner()
            .spawn(async move {
                sleep(time).await;
                assert_eq!(clock::now() - begin, time, "fired at another time than its own");
                for _ in 0..3 {
                    yield_now().await;
                    assert_eq!(clock::now() - begin, time, "not all tasks have run");
                }
                log.borrow_mut().push((time, Handle::current().unwrap().stats().turns));
            })
            .unwrap();
    }
    let real = Instant::now();
    runtime.run().unwrap();
    // The wheel moves timers from slot to slot on the way; none of these steps waits in real time.
    assert!(real.elapsed() < 3 * SECOND, "{:?}", real.elapsed());
    assert_eq!(runtime.handle().stats().task_panics, 0);
    let log = log.take();
    assert!(log.is_sorted());
    assert_eq!(log.len(), 2 * times.len());
    assert!(
        log.chunk_by(|one, other| one.0 == other.0)
            .all(|same| same.len() >= 2 && same.iter().all(|&(_, turn)| turn == same[0].1))
    );
}

/// All of async-timeout that waits for timers alone: timeouts, deadlines, sleeps, intervals, in the main future and in tasks.
#[test]
fn all_of_async_timeout() {
    automatic(async || {
        let begin = clock::now();
        let since = || clock::now() - begin;
        let task = async_epoll::Spawner::current().unwrap().spawn_task(async move {
            let mut ticks = interval(HOUR);
            for tick in 0..30 {
                assert_eq!(ticks.tick().await - begin, tick * HOUR);
            }
            clock::now() - begin
        });
        let ((), (), (), ()) = futures::join!(
            async {
                assert!(Timeout::new(pending::<()>(), HOUR).await.is_err());
                assert_eq!(since(), HOUR);
            },
            async {
                assert!(with_deadline(sleep(DAY), begin + 2 * HOUR).await.is_err());
                assert_eq!(since(), 2 * HOUR);
            },
            async {
                assert!(sleep(3 * HOUR).timeout(4 * HOUR).await.is_ok());
                assert_eq!(since(), 3 * HOUR);
            },
            async {
                sleep_until(begin + 4 * HOUR).await;
                assert_eq!(since(), 4 * HOUR);
            },
        );
        // The main future waits for the end of a task that waits for timers.
        assert_eq!(task.unwrap().await.unwrap(), 29 * HOUR);
        async_epoll::spawn_local(sleep(HOUR)).unwrap();
        async_epoll::Spawner::current().unwrap().idle().await;
        assert_eq!(since(), 30 * HOUR);
        // A timer that was only looked at, by a waker that wakes nothing, does not hold the clock.
        let mut looked_at = sleep(DAY);
        assert!((&mut looked_at).now_or_never().is_none());
        sleep(HOUR).await;
        assert_eq!(since(), 31 * HOUR);
        drop(looked_at);
        Timer::after(DAY, &Handle::current().unwrap()).await.unwrap();
        assert_eq!(since(), 31 * HOUR + DAY);
    });
}

/// What waits for the end of children does not hold the clock: a reader of a group, a spawn that waits for a place, and the
/// grace of a group that closes.
#[test]
fn groups_of_sleepers() {
    automatic(async || {
        let begin = async_timeout::now();
        let mut group = TaskGroup::new().unwrap().with_limit(1);
        for hours in [1, 2] {
            group.spawn(sleep(HOUR * hours)).await.unwrap();
        }
        assert_eq!(begin + HOUR, async_timeout::now(), "the second spawn has waited for the first child");
        while let Some(result) = group.next().await {
            result.unwrap();
        }
        assert_eq!(begin + HOUR * 3, async_timeout::now());
        group.spawn(pending()).await.unwrap();
        assert_eq!(group.close_within(DAY).await.aborted, 1);
        assert_eq!(begin + HOUR * 3 + DAY, async_timeout::now());
    });
}

/// What waits for a peer holds the clock, and an advance beside it moves the time: a guarded connection, a token, futures in
/// a `FuturesUnordered`.
#[test]
fn what_the_clock_cannot_know() {
    automatic(async || {
        let (ours, _theirs) = sources::pair();
        let token = CancelToken::new();
        let held = Cell::new(0);
        let begin = clock::now();
        let read = async {
            let mut guarded = guard(ours).idle(HOUR);
            let error = guarded.read(&mut [0]).await.unwrap_err();
            assert_eq!((error.kind(), clock::now() - begin), (ErrorKind::TimedOut, HOUR));
            held.set(held.get() + 1);
        };
        let until = async {
            assert!(pending::<()>().until(&token).await.is_err());
            assert_eq!(clock::now() - begin, 2 * HOUR);
            held.set(held.get() + 1);
        };
        let unordered = async {
            let mut sleeps: FuturesUnordered<_> = (1..=3).map(|hours| sleep(hours * HOUR)).collect();
            sleeps.next().await.unwrap();
            assert_eq!(clock::now() - begin, HOUR);
            sleeps.next().await.unwrap();
            token.cancel();
            held.set(held.get() + 1);
        };
        let mut all = pin!(async { futures::join!(read, until, unordered) });
        let handle = Handle::current().unwrap();
        let wakes = thread::spawn(move || (0..10).for_each(|_| (thread::sleep(2 * MS), handle.notify()).0));
        for _ in 0..20 {
            assert!(futures::poll!(&mut all).is_pending());
            yield_now().await;
        }
        wakes.join().unwrap();
        assert_eq!((clock::now() - begin, held.get()), (Duration::ZERO, 0));
        let (_, advanced) = join(all, clock::advance(DAY)).await;
        advanced.unwrap();
        assert_eq!((clock::now() - begin, held.get()), (DAY, 3));
    });
}

/// A timer of another reactor is something else than a timer of this one: the clock waits for it, in real time.
#[test]
fn two_reactors() {
    let _watchdog = watchdog(TIME);
    let other = Reactor::new().unwrap().into_background().unwrap();
    automatic(async || {
        let begin = clock::now();
        let timer = Timer::after(20 * MS, &other.handle());
        assert!(timer.timeout(HOUR).await.is_ok(), "a timeout has won over what was under way");
        assert_eq!(clock::now(), begin);
        sleep(HOUR).await;
        assert_eq!(clock::now() - begin, HOUR);
    });
    // Two on one thread: each moves its own clock, while it is run.
    let (mut one, mut two) = (LocalRuntime::new().unwrap(), LocalRuntime::new().unwrap());
    let (first, second) = (one.handle().test_clock(), two.handle().test_clock());
    first.pause_auto().unwrap();
    second.pause_auto().unwrap();
    let begins = (first.now(), second.now());
    one.spawner().spawn(sleep(HOUR)).unwrap();
    two.spawner().spawn(sleep(2 * HOUR)).unwrap();
    one.run().unwrap();
    assert_eq!((first.now() - begins.0, second.now() - begins.1), (HOUR, Duration::ZERO));
    two.run().unwrap();
    assert_eq!((first.now() - begins.0, second.now() - begins.1), (HOUR, 2 * HOUR));
    other.shutdown().unwrap();
}

/// The last of `pause`, `pause_auto` and `resume` counts. An advance works as on any paused clock.
#[test]
fn pause_and_resume() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let test_clock = runtime.handle().test_clock();
    let is_automatic = |clock: &TestClock| format!("{clock:?}").contains("moves_by_itself: true");
    runtime
        .run_until(async {
            clock::pause_auto().unwrap();
            clock::pause_auto().unwrap();
            assert!(test_clock.is_paused() && is_automatic(&test_clock));
            let begin = clock::now();
            sleep(HOUR).await;
            // An advance goes as far as it says, and no further.
            let mut later = sleep(5 * HOUR);
            assert!(futures::poll!(&mut later).is_pending());
            clock::advance(HOUR).await.unwrap();
            assert_eq!(clock::now() - begin, 2 * HOUR);
            later.await;
            assert_eq!(clock::now() - begin, 6 * HOUR);

            clock::pause().unwrap();
            assert!(test_clock.is_paused() && !is_automatic(&test_clock));
            let mut timer = sleep(HOUR);
            assert!(futures::poll!(&mut timer).is_pending());
            for _ in 0..100 {
                yield_now().await;
            }
            assert_eq!(clock::now() - begin, 6 * HOUR);

            clock::resume().unwrap();
            assert!(!test_clock.is_paused() && !is_automatic(&test_clock));
            let real = Instant::now();
            sleep(20 * MS).await;
            assert!(real.elapsed() >= 20 * MS, "early");
            clock::pause_auto().unwrap();
            clock::resume().unwrap();
            clock::pause().unwrap();
            assert!(!is_automatic(&test_clock), "resume has ended it");
            clock::pause_auto().unwrap();
            timer.await;
        })
        .unwrap();

    // From another thread, while the reactor sleeps on a paused clock.
    test_clock.pause();
    runtime.spawner().spawn(sleep(HOUR)).unwrap();
    let other = thread::spawn({
        let test_clock = test_clock.clone();
        move || {
            thread::sleep(20 * MS);
            test_clock.pause_auto().unwrap();
        }
    });
    runtime.run().unwrap();
    other.join().unwrap();
}

/// Panics of a task and of the main future leave the clock as it is.
#[test]
fn panics() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let test_clock = runtime.handle().test_clock();
    test_clock.pause_auto().unwrap();
    let begin = test_clock.now();
    runtime.spawner().spawn(sleep(HOUR).map(|()| panic!("on purpose"))).unwrap();
    runtime.spawner().spawn(sleep(3 * HOUR)).unwrap();
    let main = sleep(2 * HOUR).map(|()| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(|| runtime.run_until(main))).is_err());
    assert_eq!((test_clock.now() - begin, runtime.handle().stats().task_panics), (2 * HOUR, 1));
    runtime.run().unwrap();
    assert_eq!(test_clock.now() - begin, 3 * HOUR);
}

/// Where no `run` method runs the tasks, the clock cannot know them: each such place is refused with an error.
#[test]
fn other_loops_are_refused() {
    let _watchdog = watchdog(TIME);
    let unsupported = |error: io::Error| {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("advance"), "{error}");
    };
    let background = Reactor::new().unwrap().into_background().unwrap();
    unsupported(background.handle().test_clock().pause_auto().unwrap_err());
    assert!(!background.handle().test_clock().is_paused());
    let test_clock = background.handle().test_clock();
    background.shutdown().unwrap();
    assert_eq!(test_clock.pause_auto().unwrap_err().kind(), ErrorKind::NotConnected);
    let embedded = Reactor::builder().embedded().build().unwrap();
    unsupported(embedded.handle().test_clock().pause_auto().unwrap_err());

    let mut reactor = Reactor::new().unwrap();
    let test_clock = reactor.handle().test_clock();
    test_clock.pause_auto().unwrap();
    unsupported(reactor.wait(None).unwrap_err());
    unsupported(reactor.wait(Some(Duration::ZERO)).unwrap_err());
    test_clock.pause();
    reactor.wait(Some(Duration::ZERO)).unwrap();
    // It works in `run_until`, also after a wait.
    test_clock.pause_auto().unwrap();
    reactor.run_until(&mut LocalPool::new(), sleep(HOUR)).unwrap();
    unsupported(reactor.into_background().unwrap_err());
    assert_eq!(clock::pause_auto().unwrap_err().kind(), ErrorKind::NotConnected, "no reactor is current");
}

/// A deadlock without timers is reported at once, as without a test clock. A task that sleeps beside it does not hide it.
#[test]
fn deadlocks() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let test_clock = runtime.handle().test_clock();
    test_clock.pause_auto().unwrap();
    let begin = test_clock.now();
    runtime.spawner().spawn(pending()).unwrap();
    runtime.spawner().spawn(sleep(HOUR)).unwrap();
    let real = Instant::now();
    let error = runtime.run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    assert!(error.to_string().contains(file!()), "{error}");
    assert_eq!(test_clock.now() - begin, HOUR);
    assert!(real.elapsed() < SECOND, "{:?}", real.elapsed());
}

/// A test that forgets to advance fails, in each of the ways to run it; the clock and the tasks stay as they are.
#[test]
fn a_forgotten_advance() {
    let _watchdog = watchdog(TIME);
    let real = Instant::now();
    let error = async_epoll::try_block_on(async {
        clock::pause()?;
        sleep(HOUR).await;
        io::Result::Ok(())
    })
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    assert!(error.to_string().contains("due in 3600s"), "{error}");
    assert!(real.elapsed() >= SECOND && real.elapsed() < TIME);

    let mut runtime = LocalRuntime::new().unwrap();
    let test_clock = runtime.handle().test_clock();
    test_clock.pause();
    runtime.spawner().spawn(pending()).unwrap();
    assert_eq!(runtime.run_for(HOUR).unwrap_err().kind(), ErrorKind::Deadlock);
    let cpu = thread_cpu();
    runtime.spawner().spawn(sleep(HOUR)).unwrap();
    assert_eq!(runtime.run().unwrap_err().kind(), ErrorKind::Deadlock);
    assert!(thread_cpu() - cpu < 100 * MS, "it spins");
    assert_eq!(runtime.spawner().live_tasks(), 2);
    runtime.run_until(test_clock.advance(HOUR)).unwrap().unwrap();
    assert_eq!(runtime.spawner().live_tasks(), 1);
}

/// A timer of another thread's task is no false alarm: that task is not known, and may move the clock at any time. Nor does
/// the clock move by itself meanwhile.
#[test]
fn timers_of_other_threads() {
    let _watchdog = watchdog(TIME);
    for automatic in [false, true] {
        let mut runtime = LocalRuntime::new().unwrap();
        let (handle, test_clock) = (runtime.handle(), runtime.handle().test_clock());
        test_clock.pause();
        if automatic {
            test_clock.pause_auto().unwrap();
        }
        let begin = test_clock.now();
        let mut timer = Timer::after(HOUR, &handle);
        let strange = tests::waker_fn(|| {});
        assert!(timer.poll_unpin(&mut Context::from_waker(&strange)).is_pending());
        runtime.spawner().spawn(sleep(2 * HOUR)).unwrap();
        let other = thread::spawn({
            let test_clock = test_clock.clone();
            move || {
                thread::sleep(1300 * MS);
                let unmoved = test_clock.now();
                block_on(test_clock.advance(HOUR)).unwrap();
                block_on(timer).unwrap();
                // No timer of this thread is left.
                test_clock.pause_auto().unwrap();
                unmoved
            }
        });
        runtime.run().unwrap();
        assert_eq!((other.join().unwrap(), test_clock.now() - begin), (begin, 2 * HOUR), "{automatic}");
    }
}

/// A future of `run_until` that never ends runs the reactor for other threads: no false alarm, however long another thread
/// takes before it moves the clock.
#[test]
fn a_reactor_for_other_threads() {
    let _watchdog = watchdog(TIME);
    let (sender, receiver) = std::sync::mpsc::channel();
    // The thread runs until the process ends.
    let runs = thread::spawn(move || {
        let mut runtime = LocalRuntime::new().unwrap();
        let test_clock = runtime.handle().test_clock();
        test_clock.pause();
        sender.send(test_clock).unwrap();
        runtime.spawner().spawn(sleep(HOUR).map(move |()| sender.send(clock_of_here()).unwrap())).unwrap();
        runtime.run_until(pending::<()>())
    });
    let test_clock = receiver.recv().unwrap();
    let begin = test_clock.now();
    thread::sleep(1300 * MS);
    assert!(!runs.is_finished(), "a false alarm");
    block_on(test_clock.advance(HOUR)).unwrap();
    assert_eq!(receiver.recv().unwrap().now() - begin, HOUR);
}

/// Returns the clock of the current reactor.
fn clock_of_here() -> TestClock {
    Handle::current().unwrap().test_clock()
}

/// A waker outside that is dropped without a wake: the clock finds out within about a second.
#[test]
fn a_waker_that_is_dropped_in_silence() {
    let _watchdog = watchdog(TIME);
    let real = Instant::now();
    let mut runtime = LocalRuntime::new().unwrap();
    runtime.handle().test_clock().pause_auto().unwrap();
    let task = runtime.spawner().spawn_task(sleep(HOUR)).unwrap();
    let abort = task.abort_handle();
    let other = thread::spawn(move || {
        thread::sleep(50 * MS);
        drop(abort);
    });
    runtime.run_until(task).unwrap().unwrap();
    other.join().unwrap();
    assert!(real.elapsed() >= 50 * MS, "the task could have been aborted");
}

/// A timer that is reset to the time at which the clock stands fires, on every paused clock.
#[test]
fn reset_to_the_present() {
    let _watchdog = watchdog(TIME);
    for automatic in [false, true] {
        let mut runtime = LocalRuntime::new().unwrap();
        let (handle, test_clock) = (runtime.handle(), runtime.handle().test_clock());
        test_clock.pause();
        if automatic {
            test_clock.pause_auto().unwrap();
        }
        let (begin, real) = (test_clock.now(), Instant::now());
        let timer = Rc::new(RefCell::new(Timer::after(HOUR, &handle)));
        let waiting = Rc::clone(&timer);
        let waits = std::future::poll_fn(move |cx| waiting.borrow_mut().poll_unpin(cx));
        runtime.spawner().spawn(waits.map(Result::unwrap)).unwrap();
        runtime.spawner().spawn(async move { timer.borrow_mut().reset(begin) }).unwrap();
        runtime.run().unwrap();
        assert_eq!(test_clock.now(), begin);
        assert!(real.elapsed() < SECOND, "late");
    }
}

/// The destructors of tasks see the clock as the tasks did.
#[test]
fn dropped_in_the_middle() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let test_clock = runtime.handle().test_clock();
    test_clock.pause_auto().unwrap();
    let begin = test_clock.now();
    let seen = Rc::new(Cell::new(None));
    let on_drop = OnDrop({
        let (seen, test_clock) = (Rc::clone(&seen), test_clock.clone());
        move || seen.set(Some(test_clock.now() - begin))
    });
    runtime.spawner().spawn(sleep(DAY).map(|()| drop(on_drop))).unwrap();
    runtime.run_until(sleep(HOUR)).unwrap();
    assert_eq!(runtime.run_for(HOUR).unwrap(), 1);
    drop(runtime);
    assert_eq!(seen.get(), Some(2 * HOUR));
    assert_eq!(test_clock.pause_auto().unwrap_err().kind(), ErrorKind::NotConnected);
    test_clock.resume();
}

/// Records the warnings of async-epoll.
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "async_epoll" && *metadata.level() == Level::WARN
    }
    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, "{}={value:?} ", field.name()).unwrap();
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What holds a clock that should move by itself is a warning, once; so is a paused clock on which timers wait, if something
/// else may go on: a peer of a socket or of a channel, or a task that is not known. In a process of its own: what other
/// threads report would keep the subscriber from being asked.
#[test]
fn warnings() {
    if !in_child("warnings") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let messages: Arc<Mutex<Vec<_>>> = Arc::default();
    let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&messages)));
    let take = || std::mem::take(&mut *messages.lock().unwrap());

    let (mut peer, stream) = UnixStream::pair().unwrap();
    let writer = thread::spawn({
        let messages = Arc::clone(&messages);
        move || {
            while messages.lock().unwrap().is_empty() {
                thread::sleep(MS);
            }
            peer.write_all(b"x").unwrap();
            thread::sleep(1300 * MS);
            peer.write_all(b"x").unwrap();
        }
    });
    automatic(async || {
        let mut source = Source::new(stream).unwrap();
        let mut timer = sleep(HOUR);
        assert!(futures::poll!(&mut timer).is_pending());
        for _ in 0..2 {
            source.read_exact(&mut [0]).await.unwrap();
        }
        let stats = Handle::current().unwrap().stats();
        assert!(stats.sleeps < 20, "it spins: {stats:?}");
        timer.await;
    });
    writer.join().unwrap();
    let warned = take();
    let [message] = &warned[..] else { panic!("not one warning: {warned:?}") };
    assert!(message.contains("source=true remote=false waker=false"), "{message}");

    for waits_for_a_source in [false, true] {
        let mut reactor = Reactor::new().unwrap();
        let (_peer, source) = sources::with_peer(&reactor.handle());
        reactor.handle().test_clock().pause();
        let mut context = Context::from_waker(Waker::noop());
        let mut readable = pin!(source.readable());
        if waits_for_a_source {
            assert!(readable.as_mut().poll(&mut context).is_pending());
        }
        let mut timer = Timer::after(HOUR, &reactor.handle());
        let waker = tests::waker_fn(|| {});
        assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        // The socket can be written to.
        reactor.wait(Some(Duration::ZERO)).unwrap();
        for _ in 0..2 {
            let real = Instant::now();
            reactor.wait(Some(1300 * MS)).unwrap();
            assert!(real.elapsed() >= 1300 * MS);
        }
        let messages = take();
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].contains("TestClock::advance"), "{messages:?}");
        assert!(messages[0].contains(&format!("source={waits_for_a_source} remote=false waker=true")), "{messages:?}");
    }

    for has_remote in [false, true] {
        let mut runtime = LocalRuntime::new().unwrap();
        let test_clock = runtime.handle().test_clock();
        test_clock.pause();
        let remote = has_remote.then(|| runtime.spawner().remote());
        let (sender, receiver) = oneshot::channel();
        runtime.spawner().spawn(sleep(HOUR).map(|()| sender.send(()).unwrap())).unwrap();
        let other = thread::spawn(move || {
            thread::sleep(1300 * MS);
            // Ends with the reactor at the latest.
            _ = block_on(test_clock.advance(HOUR));
            drop(remote);
        });
        runtime.run_until(receiver).unwrap().unwrap();
        drop(runtime);
        other.join().unwrap();
        assert_eq!(take().len(), usize::from(!has_remote));
    }
}

/// Without a subscriber, the warning is a line on the standard error.
#[test]
fn a_warning_without_a_subscriber() {
    let test = "a_warning_without_a_subscriber";
    if std::env::var_os("AUTO_CLOCK_HANGS").is_none() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("AUTO_CLOCK_HANGS", "1");
        let output = child.output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        assert_eq!(errors.matches("pause_auto) has not moved").count(), 1, "{errors}");
        return;
    }
    automatic(async || {
        let (sender, receiver) = oneshot::channel();
        async_epoll::spawn_local(sleep(HOUR).map(|()| sender.send(()).unwrap())).unwrap();
        let test_clock = clock_of_here();
        thread::spawn(move || {
            thread::sleep(1300 * MS);
            block_on(test_clock.advance(HOUR))
        });
        receiver.await.unwrap();
    });
}

/// The first task of a pool may be spawned when a `run` method runs it already. It counts as any other: what it waits for
/// holds the clock, and is no deadlock.
#[test]
fn a_pool_whose_first_task_comes_late() {
    let _watchdog = watchdog(TIME);
    for automatic in [false, true] {
        let mut reactor = Reactor::new().unwrap();
        let test_clock = reactor.handle().test_clock();
        test_clock.pause();
        let (begin, (sender, receiver)) = (test_clock.now(), oneshot::channel());
        let other = thread::spawn({
            let test_clock = test_clock.clone();
            move || {
                thread::sleep(if automatic { 50 } else { 1300 } * MS);
                sender.send(()).unwrap();
                test_clock.pause_auto().unwrap();
            }
        });
        let clock = test_clock.clone();
        let main = async {
            yield_now().await;
            if automatic {
                clock.pause_auto().unwrap();
            }
            async_epoll::spawn_local(async move {
                receiver.await.unwrap();
                assert_eq!(clock.now(), begin, "the clock has moved before a message that was under way");
            })
            .unwrap();
            sleep(HOUR).await;
            async_epoll::spawn_local(sleep(HOUR)).unwrap();
            async_epoll::Spawner::current().unwrap().idle().await;
        };
        reactor.run_until(&mut LocalPool::new(), main).unwrap();
        other.join().unwrap();
        assert_eq!((test_clock.now() - begin, reactor.handle().stats().task_panics), (2 * HOUR, 0), "{automatic}");
    }
}

/// Polls a sleep as the present task, and leaves it to others.
fn look_at(sleep: &RefCell<Sleep>) -> impl Future<Output = ()> {
    std::future::poll_fn(|cx| {
        assert!(sleep.borrow_mut().poll_unpin(cx).is_pending());
        Poll::Ready(())
    })
}

/// A waker of a task that has ended wakes nothing, wherever it is: at a timer, at a handle. Nor does the waker of a future
/// that an earlier `run_until` has run.
#[test]
fn wakers_of_what_has_ended() {
    let real = Instant::now();
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let test_clock = runtime.handle().test_clock();
    test_clock.pause_auto().unwrap();
    let begin = test_clock.now();
    for ended_by_abort in [false, true] {
        let begin = test_clock.now();
        let timer = Rc::new(RefCell::new(sleep(DAY)));
        let polled = Rc::clone(&timer);
        let looks = async move {
            look_at(&polled).await;
            if ended_by_abort {
                pending().await
            }
        };
        let task = runtime.spawner().spawn_task(looks).unwrap();
        let unwatched = Rc::new(RefCell::new(sleep(DAY)));
        let polled = Rc::clone(&unwatched);
        let looks = async move { look_at(&polled).await };
        runtime.spawner().spawn(looks).unwrap();
        runtime.run_until(sleep(HOUR)).unwrap();
        task.abort();
        drop(task);
        runtime.run_until(sleep(HOUR)).unwrap();
        assert_eq!(test_clock.now() - begin, 2 * HOUR);
    }
    // The main future has left its waker at a timer, and at the handle of a task.
    let begin_of_main = test_clock.now();
    let mut timer = sleep(DAY);
    let mut task = runtime.spawner().spawn_task(sleep(3 * HOUR)).unwrap();
    runtime
        .run_until(async {
            assert!(futures::poll!(&mut timer).is_pending());
            assert!(futures::poll!(&mut task).is_pending());
        })
        .unwrap();
    runtime.run_until(sleep(HOUR)).unwrap();
    assert_eq!(test_clock.now() - begin_of_main, HOUR);
    runtime.run().unwrap();
    assert_eq!(test_clock.now() - begin_of_main, 3 * HOUR);
    assert!(real.elapsed() < SECOND, "{:?} for {:?}", real.elapsed(), test_clock.now() - begin);
    // A paused clock, too, is reported.
    test_clock.pause();
    assert_eq!(runtime.run_until(sleep(HOUR)).unwrap_err().kind(), ErrorKind::Deadlock);
    drop((timer, task));
}

/// The timerfd of precise timers changes nothing.
#[test]
fn precise_timers() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::from(Reactor::builder().precise_timers().build().unwrap());
    let test_clock = runtime.handle().test_clock();
    test_clock.pause_auto().unwrap();
    let begin = test_clock.now();
    for hours in 1..=3 {
        runtime.spawner().spawn(sleep(hours * HOUR)).unwrap();
    }
    runtime.run_until(sleep(2 * HOUR)).unwrap();
    test_clock.pause();
    assert_eq!(runtime.run().unwrap_err().kind(), ErrorKind::Deadlock);
    test_clock.pause_auto().unwrap();
    runtime.run().unwrap();
    assert_eq!(test_clock.now() - begin, 3 * HOUR);
    test_clock.resume();
    let real = Instant::now();
    runtime.run_until(sleep(5 * MS)).unwrap();
    assert!(real.elapsed() >= 5 * MS && real.elapsed() < SECOND);
}

/// Timers at the ends of time, and advances beside a clock that moves by itself.
#[test]
fn extremes_and_overlaps() {
    automatic(async || {
        let begin = clock::now();
        // Never due: it does not count as a timer.
        let mut never = sleep(Duration::MAX);
        assert!(futures::poll!(&mut never).is_pending());
        sleep(Duration::ZERO).await;
        sleep_until(begin).await;
        assert_eq!(clock::now(), begin);
        sleep(Duration::from_nanos(1)).await;
        assert_eq!(clock::now() - begin, Duration::from_nanos(1));
        // The end of an advance is a point in time like a timer, and both are reached.
        let (early, late) = (clock::advance(2 * HOUR), clock::advance(3 * HOUR));
        let (at_early, at_late, at_sleep) = futures::join!(
            early.map(|advanced| advanced.map(|()| clock::now() - begin)),
            late.map(|advanced| advanced.map(|()| clock::now() - begin)),
            sleep(5 * HOUR).map(|()| clock::now() - begin),
        );
        let hours = |hours| hours * HOUR + Duration::from_nanos(1);
        assert_eq!((at_early.unwrap(), at_late.unwrap(), at_sleep), (hours(2), hours(3), hours(5)));
        // Centuries.
        let century = 100 * 365 * DAY;
        for centuries in 1..=4 {
            sleep(century).await;
            assert_eq!(clock::now() - begin, hours(5) + centuries * century);
        }
        assert!(futures::poll!(&mut never).is_pending());
    });
}

/// A signal, and the end of a child process, are under way from outside: the clock waits for them.
#[test]
fn children_and_signals() {
    use async_epoll::{AsyncCommandExt, Signals};
    if !in_child("children_and_signals") {
        return;
    }
    automatic(async || {
        let begin = clock::now();
        let mut child = std::process::Command::new("sleep").arg("0.05").spawn_async().unwrap();
        assert!(child.wait().timeout(HOUR).await.unwrap().unwrap().success());
        let mut output = std::process::Command::new("sh");
        output.args(["-c", "sleep 0.05; echo done"]);
        assert_eq!(output.output_async().timeout(HOUR).await.unwrap().unwrap().stdout, b"done\n");
        let mut signals = Signals::new([async_epoll::Signal::USR1]).unwrap();
        let mut kill = std::process::Command::new("sh");
        kill.args(["-c", &format!("sleep 0.05; kill -USR1 {}", std::process::id())]);
        let mut killer = kill.spawn().unwrap();
        assert!(signals.next().timeout(HOUR).await.is_ok());
        killer.wait().unwrap();
        assert_eq!(clock::now(), begin);
    });
}
