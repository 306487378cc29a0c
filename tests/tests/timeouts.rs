//! Timeouts and sleeps: in a plain pool, in a plain `block_on`, and on a reactor.

use async_epoll::{Handle, LocalRuntime, Reactor, Timer};
use async_timeout::{Elapsed, Sleep, Timeout, TimeoutExt, sleep, sleep_until};
use futures::StreamExt;
use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{FusedFuture, FutureExt, pending, poll_fn, ready};
use std::cell::Cell;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::common::everywhere;
use tests::{CountingWaker, TIME, in_child, thread_cpu, watchdog};

const SHORT: Duration = Duration::from_millis(10);

/// Returns the number of threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Behaviour 138, 139, 141, 142, 145, 150: a ready inner future gives `Ok`, even after the deadline. A pending inner
/// future gives `Err` at the deadline.
#[test]
fn the_outcomes() {
    everywhere(async || {
        assert_eq!(Timeout::new(ready(1), SHORT).await, Ok(1));
        assert_eq!(Timeout::new(ready(1), Duration::ZERO).await, Ok(1));
        let past = Instant::now();
        assert_eq!(Timeout::at(ready(1), past).await, Ok(1));
        assert!(Timeout::at(pending::<()>(), past).now_or_never().unwrap().is_err(), "at the first poll");
        assert!(Timeout::new(pending::<()>(), Duration::ZERO).now_or_never().unwrap().is_err());
        let begin = Instant::now();
        let elapsed: Result<(), Elapsed> = pending().timeout(SHORT).await;
        assert_eq!(elapsed.unwrap_err().to_string(), "deadline has elapsed");
        assert!(begin.elapsed() >= SHORT, "early");
        let deadline = Instant::now() + SHORT;
        assert!(pending::<()>().timeout_at(deadline).await.is_err());
        assert!(Instant::now() >= deadline, "early");
        // In time, after a wait.
        assert_eq!(sleep(SHORT).timeout(TIME).await, Ok(()));
        let error = pending::<std::io::Result<()>>().io_timeout(SHORT).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(async { Ok(5) }.io_timeout(SHORT).await.unwrap(), 5);
    });
}

/// Bug E1; behaviour 127, 143: extreme durations neither panic nor fire.
#[test]
fn extremes_mean_never() {
    everywhere(async || {
        for long in [Duration::MAX, Duration::MAX - Duration::from_nanos(1), Duration::from_secs(u64::MAX / 10)] {
            assert!(Timeout::new(pending::<()>(), long).now_or_never().is_none());
            assert!(sleep(long).now_or_never().is_none());
            assert_eq!(Timeout::new(ready(()), long).await, Ok(()));
            let mut sleep = sleep(long);
            assert!(futures::poll!(&mut sleep).is_pending());
            // Reset from never to soon: the waiting task is woken.
            sleep.reset(Instant::now() + Duration::from_millis(1));
            sleep.await;
        }
        let far = Instant::now() + Duration::from_secs(10_000 * 365 * 24 * 3600);
        assert!(sleep_until(far).now_or_never().is_none());
    });
}

/// Behaviour 149: of two nested timeouts, the shorter wins.
#[test]
fn nested() {
    everywhere(async || {
        assert_eq!(pending::<()>().timeout(SHORT).timeout(TIME).await.map(|inner| inner.is_err()), Ok(true));
        assert!(pending::<()>().timeout(TIME).timeout(SHORT).await.is_err());
    });
}

/// Behaviour 118, 121, 122, 123, 137: resets to an earlier time, to a later time, and after completion.
#[test]
fn resets() {
    everywhere(async || {
        let mut timer = sleep(TIME);
        assert_eq!(timer.deadline(), None, "not begun");
        assert!(futures::poll!(&mut timer).is_pending());
        assert!(timer.deadline().is_some() && !timer.is_elapsed());
        let soon = Instant::now() + SHORT;
        timer.reset(soon);
        assert_eq!(timer.deadline(), Some(soon));
        (&mut timer).await;
        assert!(Instant::now() >= soon && timer.is_elapsed());
        assert!(futures::poll!(&mut timer).is_ready(), "stays so");

        let later = Instant::now() + SHORT;
        timer.reset(later);
        assert!(!timer.is_elapsed() && futures::poll!(&mut timer).is_pending());
        let latest = later + SHORT;
        timer.reset(latest);
        timer.await;
        assert!(Instant::now() >= latest, "the old deadline counted");

        let mut timeout = Timeout::new(pending::<()>(), SHORT);
        assert!((&mut timeout).await.is_err() && (&mut timeout).await.is_err());
        Pin::new(&mut timeout).reset(Instant::now() + SHORT);
        assert!(futures::poll!(&mut timeout).is_pending());
        assert!((&mut timeout).await.is_err());
        // From now, not from the deadline before.
        let now = Instant::now();
        Pin::new(&mut timeout).reset_after(TIME);
        let deadline = timeout.deadline().unwrap();
        assert!(deadline >= now + TIME && deadline <= Instant::now() + TIME);
        assert!(futures::poll!(&mut timeout).is_pending());
        let shown = format!("{timeout:?}");
        assert!(shown.contains("Pending") && shown.contains(&format!("{deadline:?}")), "{shown}");
    });
}

/// Behaviour 135: a duration begins with the first poll, not with the constructor; also in a plain `block_on`.
#[test]
fn a_duration_begins_when_polled() {
    everywhere(async || {
        let timer = sleep(SHORT);
        std::thread::sleep(2 * SHORT);
        let begin = Instant::now();
        timer.await;
        assert!(begin.elapsed() >= SHORT, "the time before the first poll was counted");
    });
}

/// On a reactor's thread the reactor's timer fires, and no helper thread is started.
#[test]
fn on_a_reactor_there_is_no_helper_thread() {
    // Other tests of this program do start the helper thread.
    if !in_child("on_a_reactor_there_is_no_helper_thread") {
        return;
    }
    let before = threads();
    let mut runtime = LocalRuntime::new().unwrap();
    runtime
        .run_until(async {
            sleep(SHORT).await;
            assert!(Timeout::new(pending::<()>(), SHORT).await.is_err());
        })
        .unwrap();
    assert_eq!(threads(), before);
    assert_eq!(runtime.handle().stats().timers_fired, 2);
    block_on(sleep(SHORT));
    assert_eq!(threads(), before + 1, "elsewhere futures-timer starts its own");
}

/// The first poll decides which kind of timer is used, not the constructor. A handle can decide as well.
#[test]
fn decided_at_the_first_poll() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let made_outside = sleep(SHORT);
    runtime.run_until(made_outside).unwrap();
    assert_eq!(runtime.handle().stats().timers_fired, 1);

    let handle = runtime.handle();
    let thread = std::thread::spawn(move || {
        let timeout = Timeout::with_handle(pending::<()>(), SHORT, &handle);
        block_on(timeout)
    });
    while !thread.is_finished() {
        runtime.run_until(sleep(SHORT)).unwrap();
    }
    assert!(thread.join().unwrap().is_err());
}

/// A `Sleep` continues with futures-timer after its reactor is dropped.
#[test]
fn a_sleep_outlives_its_reactor() {
    let _watchdog = watchdog(TIME);
    let begin = Instant::now();
    let mut runtime = LocalRuntime::new().unwrap();
    let mut timer = sleep(5 * SHORT);
    runtime
        .run_until(poll_fn(|cx| {
            assert!(timer.poll_unpin(cx).is_pending());
            Poll::Ready(())
        }))
        .unwrap();
    drop(runtime);
    block_on(timer);
    assert!(begin.elapsed() >= 5 * SHORT);
}

/// Behaviour 125: a timer wakes the task that polled it last.
#[test]
fn the_last_poller_is_woken() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let _enter = reactor.handle().enter();
    let ((first, one), (second, two)) = (CountingWaker::new(), CountingWaker::new());
    let mut timer: Sleep = sleep(SHORT);
    assert!(timer.poll_unpin(&mut Context::from_waker(&one)).is_pending());
    assert!(timer.poll_unpin(&mut Context::from_waker(&two)).is_pending());
    reactor.wait(None).unwrap();
    assert_eq!((first.count(), second.count()), (0, 1));
    assert!(timer.poll_unpin(&mut Context::from_waker(&one)).is_ready());
}

/// Bug E16: an inner future that wakes itself for ever does not defeat its timeout, on a reactor or in a plain pool.
#[test]
fn a_self_waking_inner_future_times_out() {
    everywhere(async || {
        let spin = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let begin = Instant::now();
        assert!(spin.timeout(SHORT).await.is_err());
        assert!(begin.elapsed() < Duration::from_secs(5));
    });
}

/// Behaviour 146: the inner future can be taken back; otherwise it is dropped promptly.
#[test]
fn the_inner_future_afterwards() {
    everywhere(async || {
        let (sender, receiver) = oneshot::channel();
        let mut timeout = Timeout::new(receiver, SHORT);
        assert!((&mut timeout).await.is_err());
        assert!(!timeout.get_ref().is_terminated() && !Pin::new(&mut timeout).get_pin_mut().is_terminated());
        sender.send(3).unwrap();
        assert_eq!(timeout.get_mut().try_recv().unwrap(), Some(3));
        drop(timeout.into_inner());

        let (sender, receiver) = oneshot::channel::<()>();
        assert!(receiver.timeout(SHORT).await.is_err());
        assert!(sender.is_canceled(), "dropped with the timeout");
    });
}

/// Bug E4: a hundred thousand timers of all lengths together, and none fires early.
#[test]
fn never_early() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let fired = Rc::new(Cell::new(0));
    for number in 0..100_000_u64 {
        let fired = Rc::clone(&fired);
        runtime
            .spawner()
            .spawn_local(async move {
                let duration = Duration::from_nanos(number * 50_123 % 300_000_000);
                let begin = Instant::now();
                sleep(duration).await;
                assert!(begin.elapsed() >= duration, "{duration:?} took {:?}", begin.elapsed());
                fired.set(fired.get() + 1);
            })
            .unwrap();
    }
    runtime.run().unwrap();
    assert_eq!((fired.get(), runtime.handle().stats().task_panics), (100_000, 0));
}

/// Bug E3; behaviour 117, 129: sub-millisecond timers one after the other. None is lost, and the loop is not busy.
#[test]
fn many_short_timers_do_not_spin() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let cpu = thread_cpu();
    runtime
        .run_until(async {
            for _ in 0..500 {
                sleep(Duration::from_micros(900)).await;
            }
        })
        .unwrap();
    let stats = runtime.handle().stats();
    assert!(stats.sleeps <= 2 * 500, "{stats:?}");
    assert!(thread_cpu() - cpu < Duration::from_millis(200));
}

/// Ten thousand timers within a second share wake-ups of the thread.
#[test]
fn many_timers_share_wake_ups() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    for number in 0..10_000 {
        runtime.spawner().spawn_local(sleep(Duration::from_micros(number * 50))).unwrap();
    }
    runtime.run().unwrap();
    let stats = runtime.handle().stats();
    assert_eq!(stats.timers_fired, 9_999, "zero is not armed at all");
    assert!(stats.sleeps < 700, "{stats:?}");
}

/// The reactor's own timer, beyond the methods that `Sleep` uses.
#[test]
fn raw_timers() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let mut never = Timer::never(&handle);
    assert_eq!(never.deadline(), None);
    runtime
        .run_until(async {
            assert!(futures::poll!(&mut never).is_pending());
            let limit = Timeout::new(&mut never, SHORT);
            assert!(limit.await.is_err());
            never.reset(Instant::now());
            (&mut never).await.unwrap();
        })
        .unwrap();
    drop(runtime);
    never.reset(Instant::now() + TIME);
    assert!(block_on(never).is_err(), "the reactor is gone");
}

/// The reactor is dropped before the first poll: a duration still begins then, and ends in time.
#[test]
fn a_reactor_that_is_gone_before_the_first_poll() {
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap();
    let timeout = Timeout::with_handle(pending::<()>(), SHORT, &reactor.handle());
    let _enter = reactor.handle().enter();
    drop(reactor);
    let begin = Instant::now();
    assert!(block_on(timeout).is_err());
    block_on(sleep(SHORT));
    assert!(begin.elapsed() >= 2 * SHORT);
}

/// A single short timer is exact, however often it is set. Only many timers share wake-ups.
#[test]
fn a_lone_timer_is_exact_again_and_again() {
    let _watchdog = watchdog(TIME);
    let duration = Duration::from_micros(200);
    let mut took: Vec<_> = async_epoll::block_on(async {
        let mut took = Vec::new();
        for _ in 0..200 {
            let begin = Instant::now();
            sleep(duration).await;
            took.push(begin.elapsed());
        }
        took
    })
    .unwrap();
    took.sort_unstable();
    assert!(took[0] >= duration);
    assert!(took[100] < Duration::from_micros(900), "half of them took {:?} or more", took[100]);
}

/// Behaviour 115: a timer that is already due is ready at the first poll, and is not armed.
#[test]
fn what_is_due_is_ready_at_once() {
    everywhere(async || {
        let past = Instant::now();
        assert!(sleep(Duration::ZERO).now_or_never().is_some());
        assert!(sleep_until(past).now_or_never().is_some());
        let mut later = sleep(TIME);
        later.reset(past);
        assert!(later.now_or_never().is_some());
    });
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let past = Instant::now();
    assert!(Timer::at(past, &handle).now_or_never().unwrap().is_ok());
    assert!(Timer::after(Duration::ZERO, &handle).now_or_never().unwrap().is_ok());
    // The turn's clock does not move meanwhile, but the real time does.
    let deadline = Instant::now() + SHORT;
    std::thread::sleep(SHORT);
    assert!(Timer::at(deadline, &handle).now_or_never().unwrap().is_ok());
    assert_eq!((reactor.next_deadline(), handle.stats().timers), (None, 0));
    // The difference is larger in the background, where a turn lasts until the next event.
    let background = reactor.into_background().unwrap();
    std::thread::sleep(20 * SHORT);
    assert!(Timer::at(Instant::now(), &handle).now_or_never().unwrap().is_ok());
    background.shutdown().unwrap();
}

/// A timer of the current reactor needs no handle. Every timer knows whether it has elapsed, until it is reset.
#[test]
fn timers_of_the_current_reactor() {
    let _watchdog = watchdog(TIME);
    for made in [Timer::try_after(SHORT), Timer::try_at(Instant::now() + SHORT)] {
        assert_eq!(made.unwrap_err().kind(), ErrorKind::NotConnected);
    }
    let mut runtime = LocalRuntime::new().unwrap();
    let mut over = None;
    let ran = runtime.run_until(async {
        let begin = Instant::now();
        let mut timer = Timer::try_after(SHORT).unwrap();
        assert_eq!(timer.deadline(), None);
        (&mut timer).await.unwrap();
        assert!(begin.elapsed() >= SHORT && timer.is_elapsed());
        timer.reset(begin + 2 * SHORT);
        assert!(!timer.is_elapsed());
        (&mut timer).await.unwrap();
        assert!(begin.elapsed() >= 2 * SHORT);
        Timer::try_at(begin).unwrap().await.unwrap();
        over = Some(timer);
    });
    ran.unwrap();
    drop(runtime);
    let timer = over.as_mut().unwrap();
    assert!(timer.now_or_never().unwrap().is_ok(), "over, it stays so");
    timer.reset(Instant::now());
    assert!(timer.now_or_never().unwrap().is_err() && !timer.is_elapsed(), "the reactor has gone");
}

/// Behaviour 126: one task waits, and another task resets the timer to an earlier or a later time.
#[test]
fn another_task_sets_the_time() {
    everywhere(async || {
        let timer = std::cell::RefCell::new(sleep(TIME));
        let wait = || poll_fn(|cx| timer.borrow_mut().poll_unpin(cx));
        let soon = Instant::now() + SHORT;
        let earlier = async {
            // This future is polled second, so the other one already waits.
            timer.borrow_mut().reset(soon);
        };
        futures::join!(wait(), earlier);
        assert!(Instant::now() >= soon);

        let (soon, late) = (Instant::now() + SHORT, Instant::now() + 3 * SHORT);
        timer.borrow_mut().reset(soon);
        let later = async { timer.borrow_mut().reset(late) };
        futures::join!(wait(), later);
        assert!(Instant::now() >= late, "the time before counted");
    });
}

/// Behaviour 147: after `Ok`, a timeout holds no timer, stays pending and is terminated. After `Elapsed` it can be
/// reset.
#[test]
fn fused() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime
        .run_until(async {
            let (sender, receiver) = oneshot::channel();
            let mut timeout = Timeout::new(receiver, TIME);
            assert!(futures::poll!(&mut timeout).is_pending() && !timeout.is_terminated());
            assert_eq!(handle.stats().timers, 1);
            sender.send(1).unwrap();
            assert_eq!((&mut timeout).await, Ok(Ok(1)));
            assert!(timeout.is_terminated() && timeout.deadline().is_none());
            assert_eq!(handle.stats().timers, 0, "a timer without a use");
            Pin::new(&mut timeout).reset(Instant::now());
            assert!(futures::poll!(&mut timeout).is_pending() && timeout.is_terminated(), "over is over");

            let mut timeout = Timeout::new(pending::<()>(), SHORT);
            assert!((&mut timeout).await.is_err() && timeout.is_terminated());
            Pin::new(&mut timeout).reset(Instant::now() + SHORT);
            assert!(!timeout.is_terminated());
            timeout.await.unwrap_err();

            let mut io = pending::<std::io::Result<()>>().io_timeout(Duration::ZERO);
            assert!(!io.is_terminated() && (&mut io).await.is_err() && io.is_terminated());
            let mut timer = sleep(SHORT);
            // In a loop with `select!`, which asks `is_terminated`.
            let mut fired = 0;
            loop {
                futures::select! {
                    () = timer => fired += 1,
                    complete => break,
                }
            }
            assert_eq!(fired, 1);
            timer.reset(Instant::now());
            assert!(!timer.is_terminated());
        })
        .unwrap();
    // A pinned timeout is reset in place.
    let mut pinned = std::pin::pin!(Timeout::new(async { pending::<()>().await }, TIME));
    block_on(poll_fn(|cx| {
        assert!(pinned.as_mut().poll(cx).is_pending());
        pinned.as_mut().reset(Instant::now() + SHORT);
        Poll::Ready(())
    }));
    block_on(pinned).unwrap_err();
}

/// A timeout moves between executors, and to another thread and back. It wakes the last task that polled it.
#[test]
fn from_place_to_place() {
    let _watchdog = watchdog(TIME);
    let poll_once = |timeout: &mut Timeout<_>| {
        let mut runtime = LocalRuntime::new().unwrap();
        runtime.run_until(async { assert!(futures::poll!(timeout).is_pending()) }).unwrap();
        // Kept alive, because the timer belongs to this reactor.
        runtime
    };
    // Armed without a reactor, awaited on one.
    let mut timeout = Timeout::new(pending::<()>(), 5 * SHORT);
    block_on(async { assert!(futures::poll!(&mut timeout).is_pending()) });
    let begin = Instant::now();
    LocalRuntime::new().unwrap().run_until(timeout).unwrap().unwrap_err();
    assert!(begin.elapsed() < TIME / 2);
    // Armed on a reactor, awaited elsewhere, while another thread runs the reactor or after the reactor was dropped.
    for stays in [true, false] {
        let mut timeout = Timeout::new(pending::<()>(), 5 * SHORT);
        let mut runtime = poll_once(&mut timeout);
        let begin = Instant::now();
        let awaiting = std::thread::spawn(move || block_on(timeout));
        while stays && !awaiting.is_finished() {
            runtime.run_until(sleep(SHORT)).unwrap();
        }
        drop(runtime);
        awaiting.join().unwrap().unwrap_err();
        assert!(begin.elapsed() < TIME / 2);
    }
    // Of two tasks, the last that polled is woken.
    let mut runtime = LocalRuntime::new().unwrap();
    let mut timeout = Timeout::new(pending::<()>(), SHORT);
    let (counter, waker) = CountingWaker::new();
    runtime
        .run_until(async {
            assert!(timeout.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            (&mut timeout).await.unwrap_err();
        })
        .unwrap();
    assert_eq!(counter.count(), 0);
}

/// Sleeps of no time yield to other tasks on a reactor, and a timeout around them still fires.
#[test]
fn sleeps_of_no_time_do_not_hold_the_loop_up() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let stop = Rc::new(Cell::new(false));
    let (zero, past) = (Rc::clone(&stop), Rc::clone(&stop));
    let begin = Instant::now();
    let spawner = runtime.spawner();
    let zero = async move {
        while !zero.get() {
            sleep(Duration::ZERO).await;
        }
    };
    let past = async move {
        while !past.get() {
            sleep_until(begin).await;
        }
    };
    let ticks = Rc::clone(&stop);
    let ticks = async move {
        // This interval is always due, however often it has ticked.
        let mut interval = async_timeout::interval(Duration::from_nanos(1));
        while !ticks.get() {
            interval.tick().await;
        }
    };
    spawner.spawn_local(ticks).unwrap();
    spawner.spawn_local(zero).unwrap();
    spawner.spawn_local(past).unwrap();
    runtime
        .run_until(async {
            sleep(SHORT).await;
            let endless = async {
                loop {
                    sleep(Duration::ZERO).await;
                }
            };
            let result: Result<(), _> = endless.timeout(SHORT).await;
            assert!(result.is_err());
            let endless = async {
                loop {
                    sleep(Duration::ZERO).await;
                }
            };
            let result: Result<(), _> = Timeout::at(endless, begin).await;
            assert!(result.is_err(), "over before it began");
            stop.set(true);
        })
        .unwrap();
    runtime.run().unwrap();
}

/// A sleep that yields has not elapsed yet: `select!`, which asks `is_terminated`, polls it again.
#[test]
fn a_sleep_that_lets_others_go_first_is_not_over() {
    let _watchdog = watchdog(TIME);
    async_epoll::block_on(async {
        for _ in 0..1000 {
            let mut timer = sleep(Duration::ZERO);
            futures::select! { () = timer => {}, complete => panic!("elapsed without being ready") }
        }
        let handle = Handle::current().unwrap();
        let refused = poll_fn(|cx| {
            let mut refused = 0;
            for deadline in [Instant::now(), Instant::now() - SHORT].into_iter().cycle().take(1000) {
                for mut timer in [sleep_until(deadline), sleep(Duration::ZERO), Sleep::with_handle(SHORT, &handle)] {
                    timer.reset(deadline);
                    let ready = Pin::new(&mut timer).poll(cx).is_ready();
                    assert_eq!((timer.is_elapsed(), timer.is_terminated()), (ready, ready));
                    refused += usize::from(!ready);
                    // An elapsed sleep stays elapsed.
                    while Pin::new(&mut timer).poll(cx).is_pending() {
                        assert!(!ready || timer.is_elapsed());
                    }
                    assert!(timer.is_elapsed());
                }
            }
            Poll::Ready(refused)
        });
        assert!(refused.await > 0);
    })
    .unwrap();
}

/// Bug E1, E2, E3; trial 14: extreme durations do not panic, fire early, or keep the loop busy.
#[test]
fn extremes_are_quiet() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let _watchdog = watchdog(TIME);
    let short = [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(999)];
    let long =
        [DAY * 248 / 10, DAY * 497 / 10, Duration::from_nanos(1 << 63), Duration::from_secs(1 << 63), Duration::MAX];
    let mut runtime = LocalRuntime::new().unwrap();
    for duration in short {
        let begin = Instant::now();
        runtime.run_until(sleep(duration)).unwrap();
        runtime.run_until(Timeout::new(pending::<()>(), duration)).unwrap().unwrap_err();
        assert!(begin.elapsed() >= 2 * duration);
    }
    let handle = runtime.handle();
    let second = Duration::from_secs(1);
    for duration in long {
        let far = Instant::now().checked_add(duration);
        let all = async {
            futures::future::select_all([
                sleep(duration).boxed_local(),
                async_timeout::interval(duration).skip(1).into_future().map(drop).boxed_local(),
                Timeout::new(pending::<()>(), duration).map(drop).boxed_local(),
                far.map_or_else(
                    || pending().boxed_local(),
                    |far| Timeout::at(pending::<()>(), far).map(drop).boxed_local(),
                ),
                far.map_or_else(|| pending().boxed_local(), |far| sleep_until(far).boxed_local()),
            ])
            .await;
        };
        let turns = handle.stats().turns;
        let result = runtime.run_until(all.timeout(second / 5)).unwrap();
        assert!(result.is_err(), "{duration:?} has passed");
        assert!(handle.stats().turns - turns <= 3, "{duration:?}: {} turns", handle.stats().turns - turns);
    }
    // The same for the turn's own timeout.
    let mut reactor = Reactor::new().unwrap();
    for duration in long {
        let handle = reactor.handle();
        let waker = std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            handle.notify();
        });
        assert_eq!(reactor.wait(Some(duration)).unwrap(), 0);
        waker.join().unwrap();
    }
    assert!(reactor.handle().stats().turns == long.len() as u64);
}

/// Trial 15: a process is stopped for a while. When it continues, each overdue timer fires once.
#[test]
fn stopped_and_continued() {
    const CHILD: &str = "TEST_STOPPED_CHILD";
    const TIMERS: u32 = 1000;
    let _watchdog = watchdog(TIME);
    if std::env::var_os(CHILD).is_none() {
        use rustix::process::{Pid, Signal, kill_process};
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stopped_and_continued", "--test-threads", "1"])
            .env(CHILD, "1")
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        std::thread::sleep(Duration::from_millis(300));
        kill_process(pid, Signal::STOP).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        kill_process(pid, Signal::CONT).unwrap();
        assert!(child.wait().unwrap().success());
        return;
    }
    let mut runtime = LocalRuntime::new().unwrap();
    let begin = Instant::now();
    let fired = Rc::new(Cell::new(0));
    for number in 0..TIMERS {
        let fired = Rc::clone(&fired);
        let duration = Duration::from_micros(u64::from(number) * 1500);
        let task = async move {
            let begin = Instant::now();
            sleep(duration).await;
            assert!(begin.elapsed() >= duration, "early");
            fired.set(fired.get() + 1);
        };
        runtime.spawner().spawn_local(task).unwrap();
    }
    // And a timer outside of the reactor.
    let outside = std::thread::spawn(|| block_on(sleep(Duration::from_millis(600))));
    runtime.run().unwrap();
    outside.join().unwrap();
    let stats = runtime.handle().stats();
    assert_eq!((fired.get(), stats.task_panics, stats.timers), (TIMERS, 0, 0));
    assert!(begin.elapsed() >= Duration::from_micros(1500 * u64::from(TIMERS - 1)));
}

/// An armed timer fires even within a single poll, for a task that never returns to the loop.
#[test]
fn within_one_poll() {
    let _watchdog = watchdog(TIME);
    let endless = || futures::stream::repeat(1);
    everywhere(async || {
        let begin = Instant::now();
        assert!(endless().take_until(sleep(SHORT)).count().await > 0);
        let mut timer = sleep(SHORT);
        while (&mut timer).now_or_never().is_none() {}
        let mut timeout = Timeout::new(pending::<()>(), SHORT);
        while (&mut timeout).now_or_never().is_none() {}
        assert!(begin.elapsed() >= 3 * SHORT, "early");
    });
}

/// Timers that have waited are ready when polled, however many are polled in one poll of the task.
#[test]
fn what_has_waited_is_ready() {
    let _watchdog = watchdog(TIME);
    let ready = async_epoll::block_on(async {
        let mut timers: Vec<_> = (0..1000).map(|_| sleep(SHORT)).collect();
        assert!(timers.iter_mut().all(|timer| timer.now_or_never().is_none()));
        sleep(2 * SHORT).await;
        timers.iter_mut().filter_map(|timer| timer.now_or_never()).count()
    });
    assert_eq!(ready.unwrap(), 1000);
}
