//! Wakes from outside end a blocked wait: by channels, by futures-timer, and by any waker called on another thread.
//!
//! No timer of the reactor is armed in these tests: a timer would end the wait and hide a lost wake.

use async_epoll::{LocalRuntime, Reactor};
use futures::channel::mpsc;
use futures::executor::LocalPool;
use futures::future::poll_fn;
use futures::task::{AtomicWaker, LocalSpawnExt};
use futures::{SinkExt, StreamExt};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tests::common::pool_and_reactor;
use tests::{TIME, p99, strict_timing, thread_cpu, watchdog};

const WAKES: usize = 1000;
const LIMIT: Duration = Duration::from_millis(5);

/// Checks that all wakes have arrived, and in time.
fn check(name: &str, mut latencies: Vec<Duration>) {
    assert_eq!(latencies.len(), WAKES);
    let p99 = p99(&mut latencies);
    let slow = latencies.iter().filter(|latency| **latency > LIMIT).count();
    println!("{name}: p50 {:?}, p99 {p99:?}, max {:?}, over 5 ms: {slow}", latencies[WAKES / 2], latencies[WAKES - 1]);
    // Other load on the machine may take the CPU away for a while.
    assert!(p99 <= 10 * LIMIT, "p99 {p99:?}");
    assert!(slow == 0 || !strict_timing(), "{slow} of {WAKES} took longer than {LIMIT:?}");
}

/// Bug C1: a message from another thread, sent while the loop sleeps.
#[test]
fn channel_messages_end_the_wait() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (mut sender, mut receiver) = mpsc::channel::<Instant>(1);
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&latencies);
    let task = async move {
        while let Some(sent) = receiver.next().await {
            into.lock().unwrap().push(sent.elapsed());
        }
    };
    runtime.spawner().spawn_local(task).unwrap();
    let thread = std::thread::spawn(move || {
        for _ in 0..WAKES {
            // Long enough for the loop to go to sleep.
            std::thread::sleep(Duration::from_micros(500));
            futures::executor::block_on(sender.send(Instant::now())).unwrap();
        }
    });
    runtime.run().unwrap();
    thread.join().unwrap();
    let stats = runtime.handle().stats();
    assert!(stats.eventfd_writes <= stats.sleeps + 1, "{stats:?}");
    check("channel", std::mem::take(&mut latencies.lock().unwrap()));
}

/// A timer independent of the reactor wakes from its own helper thread.
#[test]
fn futures_timer_ends_the_wait() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let latencies = runtime.run_until(async {
        let mut latencies = Vec::new();
        for _ in 0..WAKES {
            let deadline = Instant::now() + Duration::from_micros(500);
            futures_timer::Delay::new(Duration::from_micros(500)).await;
            latencies.push(deadline.elapsed());
        }
        latencies
    });
    assert_eq!(runtime.handle().stats().timers_fired, 0, "none of ours");
    check("futures-timer", latencies.unwrap());
}

/// A hand-written loop, a plain waker, and a thread that calls the waker while the loop sleeps.
#[test]
fn plain_wakers_end_the_wait_of_a_hand_written_loop() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let slot: Arc<Mutex<Option<(Waker, Instant)>>> = Arc::default();
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let (for_task, into, arrived) = (Arc::clone(&slot), Arc::clone(&latencies), Arc::clone(&latencies));
    let task = poll_fn(move |cx| {
        let mut into = into.lock().unwrap();
        if let Some((_, woken)) = for_task.lock().unwrap().replace((cx.waker().clone(), Instant::now())) {
            into.push(woken.elapsed());
        }
        if into.len() == WAKES { Poll::Ready(()) } else { Poll::Pending }
    });
    spawner.spawn_local(task).unwrap();
    let thread = std::thread::spawn(move || {
        for number in 0..WAKES {
            // The loop has seen the previous wake and sleeps again: two concurrent wakes would count as one.
            std::thread::sleep(Duration::from_micros(500));
            while arrived.lock().unwrap().len() < number {
                std::thread::sleep(Duration::from_micros(50));
            }
            let waker = {
                let mut slot = slot.lock().unwrap();
                let (waker, woken) = slot.as_mut().expect("the task has been polled");
                *woken = Instant::now();
                waker.clone()
            };
            waker.wake();
        }
    });
    loop {
        pool.run_until_stalled();
        if spawner.live_tasks() == 0 {
            break;
        }
        reactor.wait(None).unwrap();
    }
    thread.join().unwrap();
    check("waker", std::mem::take(&mut latencies.lock().unwrap()));
}

/// The reason to spawn through our spawner: with the pool's own spawner, the same wake does **not** end the wait. This
/// expected failure of the naive loop shows that our own wakers are needed, and the test fails if futures-rs changes.
#[test]
fn the_naive_loop_misses_the_wake() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor) = (LocalPool::new(), Reactor::new().unwrap());
    let (mut sender, mut receiver) = mpsc::channel::<()>(1);
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    pool.spawner()
        .spawn_local(async move {
            receiver.next().await;
            count.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        futures::executor::block_on(sender.send(())).unwrap();
    });
    pool.run_until_stalled();
    let begin = Instant::now();
    reactor.wait(Some(Duration::from_millis(300))).unwrap();
    assert!(
        begin.elapsed() >= Duration::from_millis(300),
        "the naive loop noticed the wake: has futures-rs got a hook?"
    );
    assert_eq!(received.load(Ordering::SeqCst), 0);
    thread.join().unwrap();
    pool.run_until_stalled();
    assert_eq!(received.load(Ordering::SeqCst), 1, "only now");
}

/// The number of threads that wake at the same time.
const THREADS: usize = 4;

/// Returns the number of wakes by each thread. `.ci/full wakes` sets `WAKES` to a million in total.
fn wakes_by_each(unless_set: usize) -> usize {
    std::env::var("WAKES").ok().and_then(|text| text.parse().ok()).unwrap_or(unless_set) / THREADS
}

/// Bug C2: very many wakes at random moments, and none is lost. The test would hang after a lost wake, since nothing
/// else ends the wait.
#[test]
fn many_wakes_from_four_threads_are_all_seen() {
    let _watchdog = watchdog(Duration::from_secs(300));
    let each = wakes_by_each(100_000);
    let mut runtime = LocalRuntime::new().unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (sender, mut receiver) = mpsc::unbounded::<usize>();
            let (acknowledge, acknowledged) = std::sync::mpsc::channel();
            let task = async move {
                let mut next = 0;
                while let Some(number) = receiver.next().await {
                    assert_eq!(number, next);
                    next += 1;
                    acknowledge.send(()).unwrap();
                }
                assert_eq!(next, each);
            };
            runtime.spawner().spawn_local(task).unwrap();
            std::thread::spawn(move || {
                for number in 0..each {
                    sender.unbounded_send(number).unwrap();
                    // One wake at a time finds the task idle, and the loop asleep or about to sleep.
                    acknowledged.recv().unwrap();
                }
            })
        })
        .collect();
    runtime.run().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = runtime.handle().stats();
    assert_eq!(stats.task_panics, 0);
    assert!(stats.eventfd_writes <= stats.sleeps + 1, "{stats:?}");
}

/// Bug C2: wakes without acknowledgement, so that they coincide: with each other, with a poll, and with the way to
/// sleep. The task sees the value written before the last wake. Now and then a thread stops to check this.
#[test]
fn the_last_value_before_a_wake_is_seen() {
    #[derive(Default)]
    struct Mailbox {
        written: AtomicUsize,
        seen: AtomicUsize,
        waker: AtomicWaker,
    }
    let _watchdog = watchdog(Duration::from_secs(300));
    let each = wakes_by_each(100_000);
    let mut runtime = LocalRuntime::new().unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let mailbox = Arc::new(Mailbox::default());
            let of_task = Arc::clone(&mailbox);
            let task = poll_fn(move |cx| {
                of_task.waker.register(cx.waker());
                let written = of_task.written.load(Ordering::SeqCst);
                assert!(of_task.seen.swap(written, Ordering::SeqCst) <= written);
                if written == each { Poll::Ready(()) } else { Poll::Pending }
            });
            runtime.spawner().spawn_local(task).unwrap();
            std::thread::spawn(move || {
                let mut random = 0x9E37_79B9_7F4A_7C15 ^ number as u64;
                let mut stops = 0;
                for value in 1..=each {
                    mailbox.written.store(value, Ordering::SeqCst);
                    mailbox.waker.wake();
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    if value == each || random >> 58 == 0 {
                        stops += 1;
                        // After a lost wake this loop would not end, and the watchdog would report it.
                        while mailbox.seen.load(Ordering::SeqCst) != value {
                            std::thread::yield_now();
                        }
                    }
                    // Up to a few microseconds.
                    (0..random % 64).for_each(|_| std::hint::spin_loop());
                }
                stops
            })
        })
        .collect();
    runtime.run().unwrap();
    let stops: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let stats = runtime.handle().stats();
    println!("{} wakes, {stops} stops, {stats:?}", THREADS * each);
    assert_eq!((stats.task_panics, stats.timers_fired, stats.live_tasks, stats.ready_tasks), (0, 0, 0, 0));
    assert!(stats.eventfd_writes <= stats.sleeps + 1, "{stats:?}");
}

/// Behaviour 178, 179, 181: notifications before a wait count as one. They end the next wait at once, and are then
/// consumed.
#[test]
fn notify_ends_the_next_wait_once() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    (0..10).for_each(|_| handle.notify());
    assert_eq!(reactor.wait(None).unwrap(), 0);
    let begin = Instant::now();
    reactor.wait(Some(Duration::from_millis(50))).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(50), "used up");
    assert_eq!(handle.stats().eventfd_writes, 0, "the reactor did not sleep, so no write");
}

/// Bug C6: the eventfd is never read. After a remote wake the next wait still sleeps, without spinning.
#[test]
fn a_used_wake_does_not_spin() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    for _ in 0..3 {
        let handle = reactor.handle();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            handle.notify();
        });
        reactor.wait(None).unwrap();
        thread.join().unwrap();
        let (begin, cpu) = (Instant::now(), thread_cpu());
        reactor.wait(Some(Duration::from_millis(200))).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(200));
        assert!(thread_cpu() - cpu < Duration::from_millis(20));
    }
    assert_eq!(reactor.handle().stats().eventfd_writes, 3);
}

/// Bug C5, D11: wakers outlive the task, the pool and the reactor, and may still be called from any thread.
#[test]
fn wakers_outlive_everything() {
    let _watchdog = watchdog(TIME);
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let keep = Arc::clone(&slot);
    let mut runtime = LocalRuntime::new().unwrap();
    let task = poll_fn(move |cx| {
        *keep.lock().unwrap() = Some(cx.waker().clone());
        Poll::<()>::Pending
    });
    runtime.spawner().spawn_local(task).unwrap();
    // The main future is polled first. Before its second poll, the task has been polled once.
    runtime.run_until(tests::yield_now()).unwrap();
    let waker = slot.lock().unwrap().clone().expect("the task was polled");
    drop(runtime);
    std::thread::spawn(move || {
        waker.wake_by_ref();
        waker.wake();
    })
    .join()
    .unwrap();
}
