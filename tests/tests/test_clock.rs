//! A clock that a test pauses and advances: `async_timeout::clock` and `async_epoll::TestClock`.

use async_epoll::{Handle, LocalRuntime, Reactor, Timer};
use async_net_lite::unix::UnixStream;
use async_net_lite::{HyperIo, HyperTimer};
use async_timeout::{
    MissedTickBehavior, Sleep, StreamTimeoutExt, Timeout, clock, interval, sleep, sleep_until, with_deadline,
};
use futures::channel::oneshot;
use futures::executor::{LocalPool, block_on};
use futures::future::{FutureExt, join, join_all, pending, poll_fn};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use hyper::body::Incoming;
use hyper::rt::Timer as _;
use hyper::service::service_fn;
use hyper::{Request, Response};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use tests::common::sources;
use tests::{CountingWaker, HOUR, TIME, WakerCall, hostile_waker, thread_cpu, waker_fn, watchdog, yield_now};

const MS: Duration = Duration::from_millis(1);

/// Runs `test` on a reactor with a paused clock.
fn paused<T>(test: impl AsyncFnOnce() -> T) -> T {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    runtime.handle().test_clock().pause();
    runtime.run_until(test()).unwrap()
}

/// Only `advance` moves the time, and by exactly the requested amount.
#[test]
fn time_stands_still() {
    paused(async || {
        let begin = clock::now();
        let mut timer = sleep(MS);
        assert!(futures::poll!(&mut timer).is_pending());
        std::thread::sleep(5 * MS);
        for _ in 0..1000 {
            yield_now().await;
        }
        assert!(futures::poll!(&mut timer).is_pending(), "the real time counts");
        assert_eq!(clock::now(), begin);
        assert_eq!(Handle::current().unwrap().now(), begin);
        clock::advance(MS - Duration::from_nanos(1)).await.unwrap();
        assert!(futures::poll!(&mut timer).is_pending(), "early");
        clock::advance(Duration::from_nanos(1)).await.unwrap();
        assert!(futures::poll!(&mut timer).is_ready());
        assert_eq!(clock::now() - begin, MS);
        clock::advance(Duration::ZERO).await.unwrap();
        assert_eq!(clock::now() - begin, MS);
    });
}

/// Each timer passed by an advance fires at its own time, in order. The tasks that it wakes run before the next timer
/// fires.
#[test]
fn timers_fire_in_order_and_tasks_run_in_between() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let clock = runtime.handle().test_clock();
    clock.pause();
    let (begin, log) = (clock.now(), Rc::new(RefCell::new(Vec::new())));
    // More timers than one exact slot holds, within one tick of the wheel and far apart.
    let times: Vec<u64> = (0..200).map(|n| n * 7919 % 1_000_000).chain((0..200).map(|n| n * 104_729_000)).collect();
    for &time in &times {
        let log = Rc::clone(&log);
        runtime
            .spawner()
            .spawn_local(async move {
                let time = Duration::from_nanos(time + 1);
                sleep(time).await;
                assert_eq!(clock::now() - begin, time, "fired at another time than its own");
                log.borrow_mut().push(time);
                // What the task does next belongs to the same instant.
                for _ in 0..3 {
                    yield_now().await;
                    assert_eq!(clock::now() - begin, time);
                }
                sleep(Duration::from_nanos(1)).await;
                assert_eq!(clock::now() - begin, time + Duration::from_nanos(1));
            })
            .unwrap();
    }
    runtime.run_until(async { clock::advance(HOUR).await.unwrap() }).unwrap();
    assert_eq!(runtime.spawner().live_tasks(), 0);
    assert_eq!(runtime.handle().stats().task_panics, 0);
    let log = log.take();
    assert!(log.is_sorted());
    assert_eq!(log.len(), times.len());
    assert_eq!(clock.now() - begin, HOUR);
}

/// One advance passes as many sleeps of a chain as fit into it.
#[test]
fn a_chain_of_sleeps() {
    let ticks = paused(async || {
        let count = Cell::new(0);
        let chain = async {
            for _ in 0..1_000_000 {
                sleep(Duration::from_secs(1)).await;
                count.set(count.get() + 1);
            }
        };
        let mut chain = std::pin::pin!(chain.fuse());
        let mut advance = std::pin::pin!(clock::advance(HOUR).fuse());
        futures::select! {
            () = chain => unreachable!(),
            result = advance => result.unwrap(),
        }
        count.get()
    });
    assert_eq!(ticks, 3600);
}

/// Sockets work while the clock is paused, and an advance waits until they are quiet.
#[test]
fn sockets_go_on() {
    paused(async || {
        let (mut ours, theirs) = sources::pair();
        let begin = clock::now();
        let echo = async {
            let mut buffer = [0; 1];
            while (&theirs).read(&mut buffer).await.unwrap() != 0 {
                (&theirs).write_all(&buffer).await.unwrap();
            }
        };
        let exchange = async {
            let mut buffer = [0; 1];
            for _ in 0..100 {
                ours.write_all(b"x").await.unwrap();
                ours.read_exact(&mut buffer).await.unwrap();
            }
            let at = clock::now();
            drop(ours);
            at
        };
        let (((), at), advanced) = join(join(echo, exchange), clock::advance(HOUR)).await;
        advanced.unwrap();
        assert_eq!(at, begin, "the clock moved while the sockets were busy");
        assert_eq!(clock::now() - begin, HOUR);
    });
}

/// hyper's timeouts follow the clock: hyper computes a deadline from the time that its timer shows.
#[test]
fn timeouts_of_hyper() {
    const LIMIT: Duration = Duration::from_secs(10);
    paused(async || {
        clock::advance(HOUR).await.unwrap();
        assert_eq!(HyperTimer.now(), clock::now());
        let (client, server) = UnixStream::pair().unwrap();
        let service = service_fn(async |_: Request<Incoming>| Ok::<_, io::Error>(Response::new(String::new())));
        let mut connection = hyper::server::conn::http1::Builder::new()
            .timer(HyperTimer)
            .header_read_timeout(LIMIT)
            .serve_connection(HyperIo::new(server), service);
        assert!(futures::poll!(&mut connection).is_pending());
        clock::advance(LIMIT - MS).await.unwrap();
        assert!(futures::poll!(&mut connection).is_pending(), "early");
        clock::advance(MS).await.unwrap();
        assert!(connection.await.unwrap_err().is_timeout());
        drop(client);
    });
}

/// All of async-timeout uses the same clock.
#[test]
fn all_of_async_timeout() {
    paused(async || {
        let begin = clock::now();
        let at = |time| async move { clock::now() - begin == time };
        let (timeout, scope, until, ok, advanced) = futures::join!(
            async { Timeout::new(pending::<()>(), HOUR).await.is_err() && at(HOUR).await },
            async { with_deadline(pending::<()>(), begin + 2 * HOUR).await.is_err() && at(2 * HOUR).await },
            async {
                sleep_until(begin + 3 * HOUR).await;
                at(3 * HOUR).await
            },
            async { Timeout::new(sleep(HOUR), 2 * HOUR).await.is_ok() && at(HOUR).await },
            clock::advance(3 * HOUR),
        );
        assert!(timeout && scope && until && ok);
        advanced.unwrap();
    });
}

/// Bug E17: ticks every 100 ms, and a consumer that is busy for 250 ms: the time of each tick, to the millisecond.
#[test]
fn missed_ticks() {
    for (behavior, expected) in [
        // (delivered at, nominal time)
        (MissedTickBehavior::Burst, [(0, 0), (100, 100), (350, 200), (350, 300), (400, 400), (500, 500)]),
        (MissedTickBehavior::Delay, [(0, 0), (100, 100), (350, 200), (450, 450), (550, 550), (650, 650)]),
        (MissedTickBehavior::Skip, [(0, 0), (100, 100), (350, 200), (400, 400), (500, 500), (600, 600)]),
    ] {
        let ticks = paused(async || {
            let begin = clock::now();
            let since = |instant: Instant| u64::try_from((instant - begin).as_millis()).unwrap();
            let ticks = async {
                let mut interval = interval(100 * MS);
                interval.set_missed_tick_behavior(behavior);
                let mut ticks = Vec::new();
                for number in 0..6 {
                    let tick = interval.tick().await;
                    ticks.push((since(clock::now()), since(tick)));
                    if number == 1 {
                        sleep(250 * MS).await;
                    }
                }
                ticks
            };
            let (ticks, advanced) = join(ticks, clock::advance(HOUR)).await;
            advanced.unwrap();
            ticks
        });
        assert_eq!(ticks, expected, "{behavior:?}");
    }
}

/// A thousand ticks, each at its nominal time: no drift.
#[test]
fn a_thousand_ticks_do_not_drift() {
    paused(async || {
        let begin = clock::now();
        let period = Duration::from_nanos(1_234_567);
        let ticks = async {
            let mut interval = interval(period);
            for number in 0..1000 {
                let expected = begin + number * period;
                assert_eq!((interval.tick().await, clock::now()), (expected, expected));
            }
        };
        join(ticks, clock::advance(HOUR)).await.1.unwrap();
    });
}

/// Streams: a limit for each item, throttled, and debounced.
#[test]
fn streams() {
    paused(async || {
        let begin = clock::now();
        let at = || u64::try_from((clock::now() - begin).as_millis()).unwrap();
        // Items at 10, 20, 100, 110 and 300.
        let items = || {
            futures::stream::iter([10, 10, 80, 10, 190]).then(|pause| async move {
                sleep(pause * MS).await;
                pause
            })
        };
        let limited = items().item_timeout(50 * MS).map(|item| (at(), item.is_ok())).collect::<Vec<_>>();
        let throttled = items().throttle(30 * MS).map(|_| at()).collect::<Vec<_>>();
        let quiet = items().debounce(50 * MS).map(|_| at()).collect::<Vec<_>>();
        let (limited, throttled, quiet, advanced) =
            futures::join!(Box::pin(limited), Box::pin(throttled), Box::pin(quiet), clock::advance(HOUR));
        advanced.unwrap();
        // Two items in time. 70: too late for the third, which comes at 100. 160, 210, 260: too late, three times.
        let expected = [
            (10, true),
            (20, true),
            (70, false),
            (100, true),
            (110, true),
            (160, false),
            (210, false),
            (260, false),
            (300, true),
        ];
        assert_eq!(limited, expected);
        // The stream is not polled before the throttle's time is over, so its pauses begin later.
        assert_eq!(throttled, [10, 50, 160, 200, 420]);
        assert_eq!(quiet, [70, 160, 300]);
    });
}

/// After `resume` the time runs on from its paused value. The offset to the real time stays.
#[test]
fn resume_keeps_the_offset() {
    let _watchdog = watchdog(TIME);
    async_epoll::block_on(async {
        clock::pause().unwrap();
        let begin = clock::now();
        clock::advance(HOUR).await.unwrap();
        let timer = sleep(20 * MS);
        clock::resume().unwrap();
        clock::resume().unwrap();
        let real = Instant::now();
        timer.await;
        assert!(real.elapsed() >= 20 * MS, "early");
        assert!(clock::now() - begin >= HOUR + 20 * MS);
        assert!(clock::now() - begin < HOUR + TIME);
        // A clock behind the real time works as well.
        clock::pause().unwrap();
        clock::pause().unwrap();
        let stopped = clock::now();
        std::thread::sleep(30 * MS);
        clock::resume().unwrap();
        sleep(MS).await;
        assert!(clock::now() - stopped < 30 * MS + TIME && clock::now() - stopped >= MS);
        // One timer was armed while the clock ran, one while it was paused.
        let mut armed = sleep(20 * MS);
        assert!(futures::poll!(&mut armed).is_pending());
        clock::pause().unwrap();
        let mut standing = sleep(20 * MS);
        assert!(futures::poll!(&mut standing).is_pending());
        clock::resume().unwrap();
        join(armed, standing).await;
    })
    .unwrap();
}

/// A timerfd ends the sleeps of this reactor, and was set by the old value of the clock. After the clock was moved, the
/// timer still fires in time.
#[test]
fn alarms_follow_the_clock() {
    let _watchdog = watchdog(TIME);
    for builder in [Reactor::builder().precise_timers(), Reactor::builder().embedded()] {
        let (mut reactor, mut pool) = (builder.build().unwrap(), LocalPool::new());
        let clock = reactor.handle().test_clock();
        let mut timer = Timer::after(HOUR, &reactor.handle());
        reactor
            .run_until(&mut pool, async {
                assert!(futures::poll!(&mut timer).is_pending());
                // The reactor sleeps meanwhile.
                futures_timer::Delay::new(20 * MS).await;
                clock.pause();
                clock.advance(HOUR - 50 * MS).await.unwrap();
                clock.resume();
                timer.await.unwrap();
            })
            .unwrap();
    }
}

/// Found 1: a timer that is moved while the clock is moved fires in time on every kind of reactor. The clock is moved
/// before, at and after the time for which a timerfd was set last, so the same time comes twice.
#[test]
fn moved_timers_on_a_moved_clock() {
    let _watchdog = watchdog(TIME);
    for (precise, embedded) in [(false, false), (true, false), (false, true), (true, true)] {
        let builder = Reactor::builder();
        let builder = if precise { builder.precise_timers() } else { builder };
        let builder = if embedded { builder.embedded() } else { builder };
        let (mut reactor, mut pool) = (builder.build().unwrap(), LocalPool::new());
        let (handle, clock) = (reactor.handle(), reactor.handle().test_clock());
        reactor
            .run_until(&mut pool, async {
                // The clock stops before the alarm, and later goes on from there: the same time, but later.
                let at = clock.now() + 100 * MS;
                let mut timer = Timer::at(at, &handle);
                assert!(futures::poll!(&mut timer).is_pending());
                yield_now().await;
                clock.pause();
                futures_timer::Delay::new(120 * MS).await;
                assert!(futures::poll!(&mut timer).is_pending(), "the clock stands");
                clock.resume();
                (&mut timer).await.unwrap();
                assert!(clock.now() >= at);

                // A timer is reset to the time of the last alarm, with a running clock and while the clock stands. The
                // task does not look by itself: the timer has to wake the task.
                for stopped in [false, true] {
                    let mut far = Timer::after(HOUR, &handle);
                    assert!(futures::poll!(&mut far).is_pending());
                    if stopped {
                        clock.pause();
                    }
                    far.reset(at);
                    if stopped {
                        clock.resume();
                    }
                    let mut polls = 0;
                    poll_fn(|_| {
                        polls += 1;
                        if polls == 1 { Poll::Pending } else { Poll::Ready(()) }
                    })
                    .await;
                    assert!(futures::poll!(&mut far).is_ready());
                }

                // The clock goes past a timer and stops; the timer is reset to where the clock stands, then to later.
                clock.pause();
                let mut timer = Timer::at(clock.now() + MS, &handle);
                assert!(futures::poll!(&mut timer).is_pending());
                clock.advance(HOUR).await.unwrap();
                (&mut timer).await.unwrap();
                let at = clock.now() + 5 * MS;
                timer.reset(at);
                assert!(futures::poll!(&mut timer).is_pending());
                clock.resume();
                (&mut timer).await.unwrap();
                assert!(clock.now() >= at);
            })
            .unwrap();
    }
}

/// Found 22: a waker panics when the clock is resumed, or when an advance is polled by another task or dropped. The panic
/// is counted, and does not reach the code that resumes or drops; the other wakers are still called.
#[test]
fn wakers_that_panic() {
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let clock = handle.test_clock();
    clock.pause();
    let (woken, counts) = CountingWaker::new();
    let mut advances = [clock.advance(MS), clock.advance(MS)];
    let [bad, good] = &mut advances;
    let panics = waker_fn(|| panic!("on purpose"));
    assert!(bad.poll_unpin(&mut Context::from_waker(&panics)).is_pending());
    assert!(good.poll_unpin(&mut Context::from_waker(&counts)).is_pending());
    clock.resume();
    assert_eq!((woken.count(), handle.stats().waker_panics), (1, 1));
    assert!(!clock.is_paused());
    assert!(advances.iter_mut().all(|advance| advance.now_or_never().unwrap().is_err()));

    // In the waker's drop.
    clock.pause();
    let on = Arc::new(AtomicBool::new(false));
    let bad = hostile_waker({
        let on = Arc::clone(&on);
        Arc::new(move |call| assert!(call != WakerCall::Drop || !on.load(Ordering::SeqCst), "on purpose"))
    });
    let (mut moved, mut dropped) = (clock.advance(MS), clock.advance(MS));
    for advance in [&mut moved, &mut dropped] {
        assert!(advance.poll_unpin(&mut Context::from_waker(&bad)).is_pending());
    }
    on.store(true, Ordering::SeqCst);
    assert!(moved.poll_unpin(&mut Context::from_waker(&counts)).is_pending());
    assert_eq!(handle.stats().waker_panics, 2);
    drop(dropped);
    assert_eq!(handle.stats().waker_panics, 3);
    on.store(false, Ordering::SeqCst);
    clock.resume();
    assert_eq!(woken.count(), 2);
}

/// An advance waits for tasks of a pool that is not being run, and does not spin; nor does a reactor that was made to be
/// embedded, and then got a thread of its own.
#[test]
fn waiting_for_a_pool_is_quiet() {
    let _watchdog = watchdog(TIME);
    for embedded in [false, true] {
        let mut pool = LocalPool::new();
        let builder = Reactor::builder();
        let reactor = if embedded { builder.embedded() } else { builder }.build().unwrap();
        let spawner = reactor.spawner(&pool);
        let reactor = reactor.into_background().unwrap();
        let clock = reactor.handle().test_clock();
        let begin = clock.now();
        clock.pause();
        spawner.spawn_local(async {}).unwrap();
        let advance = std::thread::spawn(move || block_on(clock.advance(HOUR)));
        let before = reactor.handle().stats();
        std::thread::sleep(300 * MS);
        let after = reactor.handle().stats();
        assert!(!advance.is_finished(), "the task has not run");
        assert!(after.sleeps - before.sleeps < 1000 && after.turns - before.turns < 1000, "it spins: {after:?}");
        pool.run();
        advance.join().unwrap().unwrap();
        assert!(reactor.handle().test_clock().now() - begin >= HOUR);
        reactor.shutdown().unwrap();
    }
}

/// Each misuse is an error that says what to do, also without a reactor.
#[test]
fn misuse() {
    for result in [clock::pause(), clock::resume(), block_on(clock::advance(MS))] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().contains("no reactor on this thread"), "{error}");
    }
    let before = Instant::now();
    assert!(clock::now() >= before, "the real time");

    let _watchdog = watchdog(TIME);
    async_epoll::block_on(async {
        let error = clock::advance(MS).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "not paused");
        clock::pause().unwrap();
        for too_far in [Duration::MAX, Duration::from_secs(u64::MAX / 10)] {
            assert_eq!(clock::advance(too_far).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        // Resumed during an advance.
        let (advanced, ()) = join(clock::advance(HOUR), async { clock::resume().unwrap() }).await;
        assert_eq!(advanced.unwrap_err().kind(), ErrorKind::InvalidInput);
        clock::pause().unwrap();
        clock::advance(HOUR).await.unwrap();
    })
    .unwrap();

    // The reactor is dropped.
    let mut runtime = LocalRuntime::new().unwrap();
    let test_clock = runtime.handle().test_clock();
    test_clock.pause();
    let mut advance = test_clock.advance(HOUR);
    let (counter, waker) = CountingWaker::new();
    assert!(advance.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    runtime.run_until(async {}).unwrap();
    drop(runtime);
    assert_eq!(counter.count(), 1);
    assert_eq!(block_on(&mut advance).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(block_on(test_clock.advance(MS)).unwrap_err().kind(), ErrorKind::NotConnected);
    test_clock.resume();
}

/// After an advance is dropped in the middle, the clock stays at the time it has reached. Concurrent advances overlap.
#[test]
fn cancelled_and_concurrent_advances() {
    paused(async || {
        let begin = clock::now();
        let first = async {
            sleep(HOUR).await;
            clock::now()
        };
        // `first` ends in the middle of the advance and cancels it.
        let advance = clock::advance(3 * HOUR);
        let at = futures::select_biased! {
            at = std::pin::pin!(first.fuse()) => at,
            _ = std::pin::pin!(advance.fuse()) => unreachable!(),
        };
        assert_eq!((at - begin, clock::now() - begin), (HOUR, HOUR));
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(clock::now() - begin, HOUR);

        let advances = join_all([2, 1, 3, 1].map(|hours| async move {
            clock::advance(hours * HOUR).await.unwrap();
            (hours, clock::now() - begin)
        }));
        for (hours, at) in advances.await {
            assert_eq!(at, HOUR + hours * HOUR);
        }
    });
}

/// Two reactors have two clocks.
#[test]
fn each_reactor_has_its_own() {
    let _watchdog = watchdog(TIME);
    let (mut one, other) = (LocalRuntime::new().unwrap(), LocalRuntime::new().unwrap());
    one.handle().test_clock().pause();
    assert!(one.handle().test_clock().is_paused() && !other.handle().test_clock().is_paused());
    drop(other);
    let threads: Vec<_> = (1..=4)
        .map(|hours| {
            std::thread::spawn(move || {
                paused(async || {
                    let begin = clock::now();
                    clock::advance(hours * HOUR).await.unwrap();
                    assert_eq!(clock::now() - begin, hours * HOUR);
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    one.run_until(async { clock::advance(MS).await.unwrap() }).unwrap();
}

/// The hand-written loop, with and without waiting; and a reactor in another event loop, its host.
#[test]
fn other_loops() {
    let _watchdog = watchdog(TIME);
    for embedded in [false, true] {
        for wait in [None, Some(Duration::ZERO), Some(MS)] {
            let builder = Reactor::builder();
            let builder = if embedded { builder.embedded() } else { builder };
            let (mut reactor, mut pool) = (builder.build().unwrap(), LocalPool::new());
            let (clock, spawner) = (reactor.handle().test_clock(), reactor.spawner(&pool));
            clock.pause();
            let begin = clock.now();
            let slept = Rc::new(Cell::new(false));
            let flag = Rc::clone(&slept);
            spawner.spawn_local(async move { sleep(HOUR).map(|()| flag.set(true)).await }).unwrap();
            spawner.spawn_local(async { clock::advance(2 * HOUR).await.unwrap() }).unwrap();
            let mut turns = 0;
            while spawner.live_tasks() != 0 {
                pool.run_until_stalled();
                if spawner.live_tasks() == 0 {
                    break;
                }
                if embedded {
                    // The host waits for the descriptor, then turns the reactor.
                    let mut poll = [rustix::event::PollFd::new(&reactor, rustix::event::PollFlags::IN)];
                    let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
                    assert_eq!(rustix::event::poll(&mut poll, Some(&limit)).unwrap(), 1, "the host was not told");
                }
                reactor.wait(wait).unwrap();
                turns += 1;
                assert!(turns < 100, "it does not get on");
            }
            assert!(slept.get() && clock.now() - begin == 2 * HOUR);
            // Afterwards the reactor sleeps.
            let cpu = thread_cpu();
            let real = Instant::now();
            reactor.wait(Some(50 * MS)).unwrap();
            assert!(embedded || real.elapsed() >= 50 * MS, "the end of a wait is a matter of the real time");
            assert!(thread_cpu() - cpu < 20 * MS);
        }
    }
}

/// A background reactor: its timers fire in order, on whichever threads their tasks are.
#[test]
fn in_the_background() {
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap().into_background().unwrap();
    let (handle, clock) = (reactor.handle(), reactor.handle().test_clock());
    clock.pause();
    let timer = Timer::after(HOUR, &handle);
    let (timed, advanced) = block_on(join(timer, clock.advance(2 * HOUR)));
    timed.unwrap();
    advanced.unwrap();
    reactor.shutdown().unwrap();
}

/// Wakes from other threads arrive while the clock is paused, and an advance does not pass them.
#[test]
fn wakes_from_other_threads_arrive() {
    paused(async || {
        for _ in 0..50 {
            let (sender, receiver) = oneshot::channel();
            let thread = std::thread::spawn(move || sender.send(5).unwrap());
            assert_eq!(receiver.await, Ok(5));
            thread.join().unwrap();
        }
    });
}

/// Nothing spins while the clock is paused, however many timers are overdue by the real time.
#[test]
fn standing_still_is_quiet() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    runtime.handle().test_clock().pause();
    for _ in 0..100 {
        runtime.spawner().spawn_local(sleep(MS)).unwrap();
    }
    let (real, cpu) = (Instant::now(), thread_cpu());
    let (mut reactor, mut pool) = (Reactor::new().unwrap(), LocalPool::new());
    drop((reactor.wait(Some(Duration::ZERO)), pool.try_run_one()));
    let wake = std::thread::spawn({
        let handle = runtime.handle();
        move || {
            std::thread::sleep(100 * MS);
            handle.test_clock().resume();
        }
    });
    runtime.run().unwrap();
    wake.join().unwrap();
    assert!(real.elapsed() >= 100 * MS);
    assert!(thread_cpu() - cpu < 50 * MS, "{:?}", thread_cpu() - cpu);
}

/// A waker that appends its number to a shared list.
struct Note(u32, Arc<Mutex<Vec<u32>>>);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

/// An operation on the sleeps. Indices are taken modulo the number of sleeps; times are in nanoseconds.
#[derive(Clone, Debug)]
enum Step {
    Create(u64),
    Reset(usize, u64),
    Cancel(usize),
    Poll(usize),
    Advance(u64),
}

/// Generates times of all magnitudes, some of them equal.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, 0..3_000_000_u64, 0..100_000_000_000_u64, (0..10_u64).prop_map(|n| n * 1_048_576)]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any_time().prop_map(Step::Create),
        3 => (any::<usize>(), any_time()).prop_map(|(n, time)| Step::Reset(n, time)),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => any::<usize>().prop_map(Step::Poll),
        2 => any_time().prop_map(Step::Advance),
    ]
}

/// Sleeps on a reactor beside the simplest correct model: a map ordered by deadline.
struct Model {
    runtime: LocalRuntime,
    begin: Instant,
    sleeps: Vec<(u32, Sleep)>,
    /// The waiting sleeps by deadline and number. The order among equal deadlines is not checked.
    waiting: BTreeMap<(u64, u32), ()>,
    now: u64,
    woken: Arc<Mutex<Vec<u32>>>,
    serial: u32,
}

impl Model {
    fn new() -> Self {
        let mut runtime = LocalRuntime::new().unwrap();
        let clock = runtime.handle().test_clock();
        clock.pause();
        runtime.run_until(clock.advance(Duration::ZERO)).unwrap().unwrap();
        let begin = clock.now();
        let woken = Arc::default();
        Self { runtime, begin, sleeps: Vec::new(), waiting: BTreeMap::new(), now: 0, woken, serial: 0 }
    }

    fn deadline(&self, sleep: &Sleep) -> u64 {
        u64::try_from((sleep.deadline().unwrap() - self.begin).as_nanos()).unwrap()
    }

    /// Polls one sleep, and compares the outcome with its deadline.
    fn poll(&mut self, index: usize) {
        let handle = self.runtime.handle();
        let _enter = handle.enter();
        let (number, sleep) = &mut self.sleeps[index];
        let waker = Waker::from(Arc::new(Note(*number, Arc::clone(&self.woken))));
        let ready = sleep.poll_unpin(&mut Context::from_waker(&waker)).is_ready();
        let number = *number;
        let deadline = self.deadline(&self.sleeps[index].1);
        assert_eq!(ready, deadline <= self.now, "deadline {deadline}, now {}", self.now);
        assert_eq!(self.sleeps[index].1.is_elapsed(), ready);
        if ready {
            self.waiting.remove(&(deadline, number));
        } else {
            self.waiting.insert((deadline, number), ());
        }
    }

    fn step(&mut self, step: Step) {
        let nth = |n: usize| n.checked_rem(self.sleeps.len());
        match step {
            Step::Create(time) => {
                self.serial += 1;
                self.sleeps.push((self.serial, sleep(Duration::from_nanos(time))));
                self.poll(self.sleeps.len() - 1);
            }
            Step::Reset(n, time) => {
                let Some(index) = nth(n) else { return };
                let before = self.deadline(&self.sleeps[index].1);
                let number = self.sleeps[index].0;
                let was_waiting = self.waiting.remove(&(before, number)).is_some();
                // A time around the present, which may be in the past.
                let deadline = (self.now + time).saturating_sub(2);
                self.sleeps[index].1.reset(self.begin + Duration::from_nanos(deadline));
                if was_waiting {
                    self.waiting.insert((deadline, number), ());
                } else {
                    self.poll(index);
                }
            }
            Step::Cancel(n) => {
                let Some(index) = nth(n) else { return };
                let (number, sleep) = self.sleeps.swap_remove(index);
                self.waiting.remove(&(self.deadline(&sleep), number));
            }
            Step::Poll(n) => {
                if let Some(index) = nth(n) {
                    self.poll(index);
                }
            }
            Step::Advance(time) => {
                let clock = self.runtime.handle().test_clock();
                self.runtime.run_until(clock.advance(Duration::from_nanos(time))).unwrap().unwrap();
                self.now += time;
                let later = self.waiting.split_off(&(self.now + 1, 0));
                let due = std::mem::replace(&mut self.waiting, later);
                let mut woken = std::mem::take(&mut *self.woken.lock().unwrap());
                let mut expected: Vec<_> = due.into_keys().collect();
                // In order of the deadlines; the order among equal deadlines is free.
                let deadlines: BTreeMap<u32, u64> = expected.iter().map(|&(deadline, n)| (n, deadline)).collect();
                assert!(woken.is_sorted_by_key(|n| deadlines.get(n).copied()), "{woken:?} of {expected:?}");
                woken.sort_unstable();
                expected.sort_unstable_by_key(|&(_, number)| number);
                assert_eq!(woken, expected.into_iter().map(|(_, number)| number).collect::<Vec<_>>());
            }
        }
        assert_eq!(self.runtime.handle().stats().timers, self.waiting.len());
    }
}

fn check_model(steps: Vec<Step>) {
    let mut model = Model::new();
    steps.into_iter().for_each(|step| model.step(step));
    model.sleeps.clear();
    assert_eq!(model.runtime.handle().stats().timers, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bug E10: after any sequence of resets, cancels and advances, exactly the sleeps with a passed deadline are
    /// woken.
    #[test]
    fn sleeps_behave_like_an_ordered_map(steps in prop::collection::vec(any_step(), 0..300)) {
        let _watchdog = watchdog(TIME);
        check_model(steps);
    }
}

/// The same with ten million steps.
#[test]
#[ignore = "takes minutes; .ci/full runs it"]
fn sleeps_behave_like_an_ordered_map_for_long() {
    const STEPS: usize = 10_000_000;
    const LENGTH: usize = 5_000;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: u32::try_from(STEPS / LENGTH).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 10_000,
        ..ProptestConfig::default()
    });
    let steps = prop::collection::vec(any_step(), LENGTH);
    let check = |steps| {
        check_model(steps);
        Ok(())
    };
    runner.run(&steps, check).unwrap();
}

/// A paused test may return an `io::Result`, as users write it.
#[test]
fn with_question_marks() {
    let result: io::Result<Duration> = paused(async || {
        let begin = clock::now();
        clock::advance(HOUR).await?;
        clock::resume()?;
        clock::pause()?;
        Ok(clock::now() - begin)
    });
    assert!(result.unwrap() >= HOUR);
}
