//! A reactor inside another event loop, its *host*: the reactor's own descriptor is readable exactly while the reactor
//! has work. The reactor with its pool is the *guest*.

use async_epoll::{Handle, Reactor, Source, Spawner, Timer};
use async_timeout::sleep;
use futures::channel::oneshot;
use futures::executor::LocalPool;
use futures::{AsyncReadExt, AsyncWriteExt};
use rustix::event::{PollFd, PollFlags, epoll, poll};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::common::pool_and_reactor;
use tests::{TIME, watchdog};
use tokio::io::unix::AsyncFd;

fn guest() -> (Reactor, LocalPool, Spawner) {
    let (reactor, pool) = (Reactor::builder().embedded().build().unwrap(), LocalPool::new());
    let spawner = reactor.spawner(&pool);
    (reactor, pool, spawner)
}

/// Returns whether the reactor's descriptor becomes readable within `limit`.
fn is_readable(reactor: &Reactor, limit: Duration) -> bool {
    let limit = limit.try_into().unwrap();
    poll(&mut [PollFd::new(reactor, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

/// One turn of the guest: the host calls this when the descriptor is readable.
fn turn(reactor: &mut Reactor, pool: &mut LocalPool) {
    reactor.wait(Some(Duration::ZERO)).unwrap();
    pool.run_until_stalled();
}

const NOW: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(20);
const A_WHILE: Duration = Duration::from_millis(30);

/// Each kind of work makes the descriptor readable, and in between it is not readable.
#[test]
fn readable_when_there_is_something_to_do() {
    let _watchdog = watchdog(TIME);
    let (mut reactor, mut pool, spawner) = guest();
    let handle = reactor.handle();
    assert_eq!(reactor.as_raw_fd(), reactor.as_fd().as_raw_fd());
    assert!(!is_readable(&reactor, A_WHILE), "nothing to do yet");

    // A task spawned from the host's code.
    let (sender, receiver) = oneshot::channel();
    spawner.spawn_local(async { receiver.await.unwrap() }).unwrap();
    assert!(is_readable(&reactor, NOW), "a task is to be polled");
    turn(&mut reactor, &mut pool);
    assert!(!is_readable(&reactor, A_WHILE));

    // A wake from another thread.
    thread::spawn(move || sender.send(()).unwrap()).join().unwrap();
    assert!(is_readable(&reactor, SOON), "a task was woken");
    turn(&mut reactor, &mut pool);
    assert_eq!(spawner.live_tasks(), 0);
    assert!(!is_readable(&reactor, A_WHILE));

    // A notification.
    handle.notify();
    handle.notify();
    assert!(is_readable(&reactor, NOW), "notified");
    turn(&mut reactor, &mut pool);
    assert!(!is_readable(&reactor, A_WHILE));

    // A socket that becomes readable.
    let (left, right) = UnixStream::pair().unwrap();
    let source = Source::with_handle(right, &handle).unwrap();
    spawner.spawn_local(async move { (&source).read_exact(&mut [0; 2]).await.unwrap() }).unwrap();
    while is_readable(&reactor, A_WHILE) {
        turn(&mut reactor, &mut pool);
    }
    for _ in 0..2 {
        std::io::Write::write_all(&mut &left, b"x").unwrap();
        assert!(is_readable(&reactor, SOON), "a byte has come");
        turn(&mut reactor, &mut pool);
        while is_readable(&reactor, A_WHILE) {
            turn(&mut reactor, &mut pool);
        }
    }
    assert_eq!(spawner.live_tasks(), 0);

    // Timers: a late one, an earlier one from another thread, and the late one moved.
    let begin = Instant::now();
    let mut late = Box::pin(Timer::after(Duration::from_secs(3600), &handle));
    assert!(futures::FutureExt::now_or_never(&mut late).is_none());
    assert!(!is_readable(&reactor, A_WHILE));
    let earlier = handle.clone();
    let early = thread::spawn(move || {
        let mut early = Box::pin(Timer::after(Duration::from_millis(20), &earlier));
        assert!(futures::FutureExt::now_or_never(&mut early).is_none());
        early
    });
    let early = early.join().unwrap();
    assert!(is_readable(&reactor, SOON) && begin.elapsed() >= A_WHILE + Duration::from_millis(20));
    turn(&mut reactor, &mut pool);
    assert!(!is_readable(&reactor, A_WHILE));
    drop(early);
    late.reset(Instant::now() + Duration::from_millis(20));
    assert!(is_readable(&reactor, SOON));
    turn(&mut reactor, &mut pool);
    assert!(futures::FutureExt::now_or_never(&mut late).is_some());
    assert!(!is_readable(&reactor, A_WHILE));
}

/// Tasks left over for the next turn keep the descriptor readable.
#[test]
fn parked_tasks_keep_it_readable() {
    let _watchdog = watchdog(TIME);
    let (mut reactor, mut pool) = (Reactor::builder().embedded().poll_budget(4).build().unwrap(), LocalPool::new());
    let spawner = reactor.spawner(&pool);
    spawner
        .spawn_local(async {
            for _ in 0..100 {
                tests::yield_now().await;
            }
        })
        .unwrap();
    let mut turns = 0;
    while is_readable(&reactor, A_WHILE) {
        turn(&mut reactor, &mut pool);
        turns += 1;
    }
    assert_eq!(spawner.live_tasks(), 0);
    assert!((20..=30).contains(&turns), "{turns} turns for 100 polls, 4 or 5 at a time");
}

/// The work of the guest in both hosts below: sockets, timers and wakes from other threads at the same time.
async fn everything(spawner: Spawner, done: Rc<std::cell::Cell<usize>>) {
    let handle = Handle::current().unwrap();
    for _ in 0..20 {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut left, mut right) =
            (Source::with_handle(left, &handle).unwrap(), Source::with_handle(right, &handle).unwrap());
        spawner
            .spawn_local(async move {
                for byte in 0..50 {
                    left.write_all(&[byte]).await.unwrap();
                    sleep(Duration::from_micros(300)).await;
                }
            })
            .unwrap();
        let done = Rc::clone(&done);
        spawner
            .spawn_local(async move {
                for expected in 0..50 {
                    let mut byte = [0];
                    right.read_exact(&mut byte).await.unwrap();
                    assert_eq!(byte, [expected]);
                }
                let (sender, receiver) = oneshot::channel();
                thread::spawn(move || sender.send(()).unwrap());
                receiver.await.unwrap();
                done.set(done.get() + 1);
            })
            .unwrap();
    }
}

/// The host is a hand-written epoll loop, level-triggered.
#[test]
fn in_an_epoll_loop() {
    let _watchdog = watchdog(TIME);
    let (mut reactor, mut pool, spawner) = guest();
    let done = Rc::default();
    spawner.spawn_local(everything(spawner.clone(), Rc::clone(&done))).unwrap();
    let host: OwnedFd = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&host, &reactor, epoll::EventData::new_u64(7), epoll::EventFlags::IN).unwrap();
    let (mut calls, mut events) = (0, Vec::with_capacity(4));
    while spawner.live_tasks() > 0 {
        events.clear();
        epoll::wait(&host, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        assert_eq!(events.len(), 1);
        turn(&mut reactor, &mut pool);
        calls += 1;
    }
    assert_eq!(done.get(), 20);
    let stats = reactor.handle().stats();
    // Each call had a reason: an event, a timer, or a wake.
    let reasons = stats.events + stats.timers_fired + stats.eventfd_writes;
    assert!(calls <= reasons + 10, "{calls} calls for {reasons} reasons: {stats:?}");
}

/// The host is tokio: its reactor waits for the descriptor. No thread is added.
#[test]
fn in_tokio() {
    let _watchdog = watchdog(TIME);
    let (mut reactor, mut pool, spawner) = guest();
    let done = Rc::default();
    spawner.spawn_local(everything(spawner.clone(), Rc::clone(&done))).unwrap();
    let ticks = AtomicUsize::new(0);
    let host = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    host.block_on(async {
        #[allow(deprecated, reason = "for those whose descriptor changes, which an OwnedFd's cannot")]
        let descriptor = AsyncFd::new(reactor.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let guest = async {
            while spawner.live_tasks() > 0 {
                let mut ready = descriptor.readable().await.unwrap();
                // Cleared before the turn: an event that arrives during the turn is a new edge.
                ready.clear_ready();
                turn(&mut reactor, &mut pool);
            }
        };
        let own = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticks.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::select! {
            () = guest => {}
            () = own => {}
        }
    });
    assert_eq!(done.get(), 20);
    assert!(ticks.load(Ordering::Relaxed) > 5, "the host's own tasks run as well");
}

/// A host that waits with a timeout uses `next_deadline`, and needs no timerfd.
#[test]
fn next_deadline_for_hosts_with_a_timeout() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    spawner.spawn_local(async { sleep(Duration::from_millis(15)).await }).unwrap();
    let begin = Instant::now();
    let mut turns = 0;
    while spawner.live_tasks() > 0 {
        turn(&mut reactor, &mut pool);
        if let Some(deadline) = reactor.next_deadline() {
            thread::sleep(deadline.saturating_duration_since(Instant::now()));
        }
        turns += 1;
    }
    assert!(begin.elapsed() >= Duration::from_millis(15) && turns <= 5, "{turns} turns");
}

/// An embedded reactor can also run by itself.
#[test]
fn run_works_too() {
    let _watchdog = watchdog(TIME);
    let (mut reactor, mut pool, spawner) = guest();
    let done = Rc::default();
    spawner.spawn_local(everything(spawner.clone(), Rc::clone(&done))).unwrap();
    reactor.run(&mut pool).unwrap();
    assert_eq!(done.get(), 20);
    assert_eq!(reactor.run_until(&mut pool, async { 5 }).unwrap(), 5);
}

/// A reactor with `precise_timers`: many timers, each moved to an earlier time.
#[test]
fn precise_timers() {
    let _watchdog = watchdog(TIME);
    let (mut reactor, mut pool) = (Reactor::builder().precise_timers().build().unwrap(), LocalPool::new());
    let spawner = reactor.spawner(&pool);
    let handle = reactor.handle();
    for delay in [1, 1, 3, 7, 20] {
        let handle = handle.clone();
        spawner
            .spawn_local(async move {
                for _ in 0..5 {
                    let begin = Instant::now();
                    let mut timer = Timer::after(Duration::from_secs(3600), &handle);
                    assert!(futures::FutureExt::now_or_never(&mut timer).is_none());
                    timer.reset(begin + Duration::from_millis(delay));
                    timer.await.unwrap();
                    let taken = begin.elapsed();
                    assert!(taken >= Duration::from_millis(delay) && taken < Duration::from_secs(10), "{taken:?}");
                }
            })
            .unwrap();
    }
    reactor.run(&mut pool).unwrap();
    let stats = handle.stats();
    assert!(stats.turns < 200, "{stats:?}");
}
