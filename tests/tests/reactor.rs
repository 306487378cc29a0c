//! The reactor alone: waiting, notifying, dispatching, and its end.

use async_epoll::{Handle, Interest, Reactor, Source, Timer};
use futures::future::FutureExt;
use futures::task::noop_waker;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::common::sources;
use tests::{CountingWaker, TIME, in_child, thread_cpu, waker_fn, watchdog};

/// Behaviour 161, 137: a wait with nothing to do and a timeout of zero returns at once. Each longer timeout lasts as
/// long as the previous one.
#[test]
fn empty_waits() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let begin = Instant::now();
    assert_eq!(reactor.wait(Some(Duration::ZERO)).unwrap(), 0);
    assert!(begin.elapsed() < Duration::from_secs(1));
    for _ in 0..2 {
        let begin = Instant::now();
        assert_eq!(reactor.wait(Some(Duration::from_millis(30))).unwrap(), 0);
        assert!(begin.elapsed() >= Duration::from_millis(30));
    }
}

/// Bug E1, E2; trial 14: extreme durations neither panic, nor return early, nor spin.
#[test]
fn extreme_timeouts() {
    let _watchdog = watchdog(TIME);
    for timeout in [Duration::MAX, Duration::from_nanos(u64::MAX), Duration::from_secs(30 * 24 * 3600)] {
        let mut reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let mut timer = Timer::after(timeout, &handle);
        let waker = noop_waker();
        assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            handle.notify();
        });
        let (begin, cpu) = (Instant::now(), thread_cpu());
        reactor.wait(Some(timeout)).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(90), "{timeout:?}");
        assert!(thread_cpu() - cpu < Duration::from_millis(20), "{timeout:?}");
        assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        thread.join().unwrap();
    }
}

/// Behaviour 183: more events than fit in one turn are all delivered.
#[test]
fn more_events_than_fit() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::builder().events_capacity(2).build().unwrap();
    let handle = reactor.handle();
    let (counter, waker) = CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    let sources: Vec<_> = (0..9).map(|_| sources::with_peer(&handle)).collect();
    // The first event of each source reports "writable".
    while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
    for (_, source) in &sources {
        assert!(source.poll_readable(&mut cx).is_pending());
    }
    sources.iter().for_each(|(peer, _)| {
        let _ = (&mut &*peer).write_all(b"x");
    });
    let mut turns = 0;
    while counter.count() < 9 {
        assert!(reactor.wait(Some(Duration::from_secs(5))).unwrap() <= 2);
        turns += 1;
    }
    assert_eq!(turns, 5);
    assert!(sources.iter().all(|(_, source)| source.poll_readable(&mut cx).is_ready()));
}

/// Bug A1, D1: two sources are ready in one batch. The waker of the first drops the second and registers a third, which
/// gets the same descriptor number. The third is neither woken nor ready.
#[test]
fn a_reused_descriptor_number_gets_no_stale_event() {
    // Another test might take the number first.
    if !in_child("a_reused_descriptor_number_gets_no_stale_event") {
        return;
    }
    let _watchdog = watchdog(TIME);
    type Shelf = Arc<Mutex<Option<(UnixStream, Source<UnixStream>)>>>;
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    for _ in 0..20 {
        let (first, second) = (sources::with_peer(&handle), sources::with_peer(&handle));
        while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
        let number = second.1.as_raw_fd();
        let (shelf, third): (Shelf, Shelf) = (Arc::new(Mutex::new(Some(second))), Arc::default());
        let (counter, counting) = CountingWaker::new();
        {
            let (taken, third, handle) = (Arc::clone(&shelf), Arc::clone(&third), handle.clone());
            let hostile = waker_fn(move || {
                let Some((peer, second)) = taken.lock().unwrap().take() else { return };
                // The pair is made first, so that its lower number cannot take the place of the number to be reused.
                let (new_peer, new) = UnixStream::pair().unwrap();
                drop(second);
                let new = Source::with_handle(new.try_clone().unwrap(), &handle).unwrap();
                assert_eq!(new.as_raw_fd(), number);
                assert!(new.poll_readable(&mut Context::from_waker(&counting)).is_pending());
                *third.lock().unwrap() = Some((new_peer, new));
                drop(peer);
            });
            let mut cx = Context::from_waker(&hostile);
            assert!(first.1.poll_readable(&mut cx).is_pending());
            assert!(shelf.lock().unwrap().as_ref().unwrap().1.poll_readable(&mut cx).is_pending());
        }
        (&first.0).write_all(b"x").unwrap();
        (&shelf.lock().unwrap().as_ref().unwrap().0).write_all(b"x").unwrap();
        assert_eq!(reactor.wait(None).unwrap(), 2);
        let third = third.lock().unwrap().take().expect("the hostile waker ran");
        while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
        assert_eq!(counter.count(), 0, "woken by the event of another source");
        assert!(!third.1.readiness().is_readable());
        (&third.0).write_all(b"x").unwrap();
        reactor.wait(None).unwrap();
        assert_eq!(counter.count(), 1, "its own event arrives");
    }
}

/// Bug D4: the middle one of three wakers panics. The other two are woken, and the reactor still works.
#[test]
fn a_panicking_waker_loses_nobody() {
    let _watchdog = watchdog(TIME);
    let reported = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = std::rc::Rc::clone(&reported);
    let mut reactor = Reactor::builder().on_task_panic(move |_| count.set(count.get() + 1)).build().unwrap();
    let handle = reactor.handle();
    let (counter, counting) = CountingWaker::new();
    let panicking = waker_fn(|| panic!("a waker"));
    let deadline = Instant::now();
    let timers: Vec<_> = [&counting, &panicking, &counting]
        .into_iter()
        .map(|waker| {
            let mut timer = Timer::at(deadline + Duration::from_millis(20), &handle);
            assert!(timer.poll_unpin(&mut Context::from_waker(waker)).is_pending());
            timer
        })
        .collect();
    reactor.wait(None).unwrap();
    assert_eq!((counter.count(), reported.get(), handle.stats().waker_panics), (2, 1, 1));
    drop(timers);
    reactor.wait(Some(Duration::from_millis(1))).unwrap();
}

/// Bug C13, D1, D2: wakers that call the reactor while it wakes them.
#[test]
fn wakers_may_use_the_reactor() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let ran = Arc::new(AtomicUsize::new(0));
    let (count, inner) = (Arc::clone(&ran), handle.clone());
    let kept: Mutex<Vec<(UnixStream, Source<UnixStream>)>> = Mutex::default();
    let waker = waker_fn(move || {
        // Registers, waits, deregisters, sets and drops timers, asks for statistics, notifies.
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let (peer, new) = sources::with_peer(&inner);
        assert!(new.poll_readable(&mut cx).is_pending());
        kept.lock().unwrap().push((peer, new));
        kept.lock().unwrap().truncate(2);
        let mut timer = Timer::after(Duration::from_secs(1), &inner);
        assert!(timer.poll_unpin(&mut cx).is_pending());
        timer.reset(Instant::now());
        inner.notify();
        assert!(inner.stats().sources >= 1);
        count.fetch_add(1, Ordering::SeqCst);
    });
    let (peer, woken) = sources::with_peer(&handle);
    for _ in 0..5 {
        while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
        let mut cx = Context::from_waker(&waker);
        let mut timer = Timer::after(Duration::from_millis(5), &handle);
        assert!(timer.poll_unpin(&mut cx).is_pending());
        let _ = woken.try_io(Interest::READABLE, |mut stream| std::io::Read::read(&mut stream, &mut [0; 9]));
        let _ = woken.try_io(Interest::READABLE, |mut stream| std::io::Read::read(&mut stream, &mut [0; 9]));
        assert!(woken.poll_readable(&mut cx).is_pending());
        (&peer).write_all(b"x").unwrap();
        let before = ran.load(Ordering::SeqCst);
        while ran.load(Ordering::SeqCst) < before + 2 {
            reactor.wait(None).unwrap();
        }
    }
}

/// A timer set while timers fire waits for the next turn, even if it is already due: otherwise a turn might never end.
#[test]
fn timers_set_by_a_firing_timer_wait_for_the_next_turn() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let set = Arc::new(AtomicUsize::new(0));
    let timers: Arc<Mutex<Vec<Timer>>> = Arc::default();
    let own: Arc<Mutex<Option<std::task::Waker>>> = Arc::default();
    let (count, kept, again) = (Arc::clone(&set), Arc::clone(&timers), Arc::clone(&own));
    let inner = handle.clone();
    let waker = waker_fn(move || {
        let waker = again.lock().unwrap().clone().unwrap();
        let mut timer = Timer::after(Duration::from_micros(50), &inner);
        assert!(timer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        // The timer is due before this waker returns.
        std::thread::sleep(Duration::from_micros(100));
        kept.lock().unwrap().push(timer);
        count.fetch_add(1, Ordering::SeqCst);
    });
    *own.lock().unwrap() = Some(waker.clone());
    waker.wake_by_ref();
    for turn in 1..=50 {
        assert_eq!(set.load(Ordering::SeqCst), turn);
        reactor.wait(None).unwrap();
    }
    own.lock().unwrap().take();
}

/// Bug E12; behaviour 130, 131: a timer's waker drops and resets others that are due in the same batch.
#[test]
fn timers_changed_in_their_own_batch() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let others: Arc<Mutex<Vec<Timer>>> = Arc::default();
    let in_waker = Arc::clone(&others);
    let first = waker_fn(move || {
        let mut others = in_waker.lock().unwrap();
        others.truncate(5);
        others.iter_mut().for_each(|timer| timer.reset(Instant::now() + Duration::from_millis(20)));
    });
    let deadline = Instant::now() + Duration::from_millis(20);
    let mut timer = Timer::at(deadline, &handle);
    assert!(timer.poll_unpin(&mut Context::from_waker(&first)).is_pending());
    let (counter, counting) = CountingWaker::new();
    let mut cx = Context::from_waker(&counting);
    for _ in 0..10 {
        let mut other = Timer::at(deadline, &handle);
        assert!(other.poll_unpin(&mut cx).is_pending());
        others.lock().unwrap().push(other);
    }
    reactor.wait(None).unwrap();
    assert_eq!(others.lock().unwrap().len(), 5);
    // The timers were reset after they had fired: they are pending again, and due at the new time.
    let mut others = std::mem::take(&mut *others.lock().unwrap());
    assert!(others.iter_mut().all(|other| other.poll_unpin(&mut cx).is_pending()));
    let woken = counter.count();
    while counter.count() < woken + 5 {
        reactor.wait(None).unwrap();
    }
    assert!(others.iter_mut().all(|other| matches!(other.poll_unpin(&mut cx), Poll::Ready(Ok(())))));
}

/// Behaviour 165, 167, 173: the same descriptor is registered twice, and again after deregistering.
#[test]
fn registering_twice_is_an_error() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (peer, stream) = UnixStream::pair().unwrap();
    let first = Source::with_handle(&stream, &handle).unwrap();
    let error = Source::with_handle(&stream, &handle).unwrap_err();
    assert_eq!(error.error.kind(), std::io::ErrorKind::AlreadyExists);
    (&peer).write_all(b"x").unwrap();
    reactor.wait(None).unwrap();
    assert!(first.readiness().is_readable(), "the first goes on");
    first.into_inner().unwrap();
    let again = Source::with_handle(&stream, &handle).unwrap();
    reactor.wait(None).unwrap();
    assert!(again.readiness().is_readable(), "what is there already makes an event");
}

/// Behaviour 169: another thread registers a source while the reactor waits.
#[test]
fn registering_during_a_wait() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        let (peer, source) = sources::with_peer(&handle);
        (&peer).write_all(b"x").unwrap();
        (peer, source)
    });
    assert_eq!(reactor.wait(None).unwrap(), 1);
    let (_peer, source) = thread.join().unwrap();
    while !source.readiness().is_readable() {
        reactor.wait(None).unwrap();
    }
}

/// A timer set by another thread to an earlier time ends the sleep in time.
#[test]
fn an_earlier_timer_from_another_thread() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (counter, waker) = CountingWaker::new();
    let mut late = Timer::after(Duration::from_secs(50), &handle);
    assert!(late.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        let mut early = Timer::after(Duration::from_millis(20), &handle);
        assert!(early.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        early
    });
    let begin = Instant::now();
    while counter.count() == 0 {
        reactor.wait(None).unwrap();
    }
    assert!(begin.elapsed() >= Duration::from_millis(40) && begin.elapsed() < Duration::from_secs(5));
    drop(thread.join().unwrap());
}

/// Behaviour 162, 186: a dropped source leaves nothing: no entry, and no event, even if the kernel had queued an event.
#[test]
fn no_event_after_the_source_is_gone() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (peer, source) = sources::with_peer(&handle);
    (&peer).write_all(b"x").unwrap();
    assert_eq!(handle.stats().sources, 1);
    drop(source);
    assert_eq!(handle.stats().sources, 0);
    assert_eq!(reactor.wait(Some(Duration::from_millis(20))).unwrap(), 0);
    assert_eq!(handle.stats().events, 0);
}

/// `next_deadline` is for loops that wait by their own means.
#[test]
fn next_deadline_is_the_first_timer() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    assert_eq!(reactor.next_deadline(), None);
    let waker = noop_waker();
    let mut cx = Context::from_waker(&waker);
    let now = Instant::now();
    // Far in the future, so that no timer becomes due however busy the machine is.
    let hours = |hours: u64| now + Duration::from_secs(hours * 3600);
    let mut timers: Vec<_> = [3, 1, 2]
        .map(|after| {
            let mut timer = Timer::at(hours(after), &handle);
            assert!(timer.poll_unpin(&mut cx).is_pending());
            timer
        })
        .into();
    assert_eq!(reactor.next_deadline(), Some(hours(1)));
    timers[1].reset(hours(4));
    assert_eq!(reactor.next_deadline(), Some(hours(2)));
    drop(timers.remove(2));
    assert_eq!(reactor.next_deadline(), Some(hours(3)));
    // A timer that fires, however late the wait begins; the other timer stays.
    let soon = now + Duration::from_millis(10);
    timers[0].reset(soon);
    assert_eq!(reactor.next_deadline(), Some(soon));
    reactor.wait(None).unwrap();
    assert!(timers[0].poll_unpin(&mut cx).is_ready() && Instant::now() >= soon);
    assert_eq!(reactor.next_deadline(), Some(hours(4)));
    drop(timers);
    assert_eq!(reactor.next_deadline(), None);
}

/// Guards of `enter` nest, and each restores the previous current reactor.
#[test]
fn the_current_handle_nests() {
    let (one, two) = (Reactor::new().unwrap(), Reactor::new().unwrap());
    let id = |handle: Handle| format!("{handle:?}");
    let outer = one.handle().enter();
    {
        let _inner = two.handle().enter();
        assert_eq!(id(Handle::current().unwrap()), id(two.handle()));
        let _again = two.handle().enter();
    }
    assert_eq!(id(Handle::current().unwrap()), id(one.handle()));
    drop(outer);
    assert!(Handle::current().is_err());
}

/// Bug B20: one event is for both directions, and the reader's waker drops the source. The writer's waker is still
/// called, and nothing touches the dropped source.
#[test]
fn the_readers_waker_drops_the_source() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let shelf: Arc<Mutex<Option<Source<UnixStream>>>> = Arc::default();
    let (peer, source) = sources::with_peer(&handle);
    while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
    while source.try_io(Interest::WRITABLE, |mut stream| stream.write(&[0; 65536])).is_ok() {}
    let taken = Arc::clone(&shelf);
    let hostile = waker_fn(move || drop(taken.lock().unwrap().take().expect("once")));
    let (writer, counting) = CountingWaker::new();
    assert!(source.poll_readable(&mut Context::from_waker(&hostile)).is_pending());
    assert!(source.poll_writable(&mut Context::from_waker(&counting)).is_pending());
    *shelf.lock().unwrap() = Some(source);
    // Closing the peer makes one event for both directions.
    drop(peer);
    assert_eq!(reactor.wait(None).unwrap(), 1);
    assert!(shelf.lock().unwrap().is_none(), "the hostile waker ran");
    assert_eq!((writer.count(), handle.stats().sources, handle.stats().waker_panics), (1, 0, 0));
    assert_eq!(reactor.wait(Some(Duration::from_millis(5))).unwrap(), 0);
}

/// Behaviour 187: 2,500 sources are ready, and the first waker drops them all. None makes another event, also not in
/// later batches.
#[test]
fn the_first_waker_drops_thousands_of_ready_sources() {
    const SOURCES: usize = 2500;
    let _watchdog = watchdog(TIME);
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.current.map(|current| current.max(SOURCES as u64 + 500));
    setrlimit(Resource::Nofile, limits).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let shelf: Arc<Mutex<Vec<Source<OwnedFd>>>> = Arc::default();
    let taken = Arc::clone(&shelf);
    let hostile = waker_fn(move || drop(std::mem::take(&mut *taken.lock().unwrap())));
    let (counter, counting) = CountingWaker::new();
    let ready = || Source::with_handle(eventfd(1, EventfdFlags::CLOEXEC).unwrap(), &handle).unwrap();
    let first = ready();
    assert!(first.poll_readable(&mut Context::from_waker(&hostile)).is_pending());
    for _ in 0..SOURCES {
        let source = ready();
        assert!(source.poll_readable(&mut Context::from_waker(&counting)).is_pending());
        shelf.lock().unwrap().push(source);
    }
    assert_eq!(handle.stats().sources, SOURCES + 1);
    let batch = reactor.wait(None).unwrap();
    assert!(batch < SOURCES, "the rest is for later batches");
    assert_eq!(handle.stats().sources, 1);
    // The wakers of the same batch had been taken before the first was called.
    assert_eq!(counter.count(), batch - 1);
    assert_eq!(reactor.wait(Some(Duration::from_millis(20))).unwrap(), 0);
    assert_eq!((counter.count(), handle.stats().events), (batch - 1, batch as u64));
}

/// Behaviour 174, 175: one descriptor in two reactors. The kernel allows this, and both reactors get every edge.
#[test]
fn one_descriptor_in_two_reactors() {
    let _watchdog = watchdog(TIME);
    fn take(stream: &&UnixStream) -> std::io::Result<usize> {
        std::io::Read::read(&mut &**stream, &mut [0; 9])
    }
    let mut reactors = [Reactor::new().unwrap(), Reactor::new().unwrap()];
    let (peer, stream) = UnixStream::pair().unwrap();
    let sources = reactors.each_ref().map(|reactor| Source::with_handle(&stream, &reactor.handle()).unwrap());
    let (counter, waker) = CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    for round in 1..=3 {
        for reactor in &mut reactors {
            while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
        }
        for source in &sources {
            let _ = source.try_io(Interest::READABLE, take);
            assert!(source.poll_readable(&mut cx).is_pending());
        }
        (&peer).write_all(b"x").unwrap();
        for reactor in &mut reactors {
            reactor.wait(None).unwrap();
        }
        assert_eq!(counter.count(), 2 * round, "both");
        let read = sources[round % 2].try_io(Interest::READABLE, take);
        assert_eq!(read.unwrap(), 1, "one of them has the byte");
    }
    // Dropping one registration does not affect the other.
    let [one, other] = sources;
    let _ = other.try_io(Interest::READABLE, take);
    assert!(other.poll_readable(&mut cx).is_pending());
    drop(one);
    (&peer).write_all(b"x").unwrap();
    reactors[1].wait(None).unwrap();
    assert!(other.poll_readable(&mut cx).is_ready());
}

/// Bug A12; behaviour 189, 190: dropping the reactor wakes each waiting operation once, and the operation fails.
/// Operations begun later fail as well, even after an operation that has noted "not ready".
#[test]
fn what_waits_learns_that_the_reactor_is_gone() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (_peer, source) = sources::with_peer(&handle);
    while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
    while source.try_io(Interest::WRITABLE, |mut stream| stream.write(&[0; 65536])).is_ok() {}
    let wakers: [_; 4] = std::array::from_fn(|_| CountingWaker::new());
    let mut contexts = wakers.each_ref().map(|(_, waker)| Context::from_waker(waker));
    let mut timer = Timer::after(Duration::from_secs(50), &handle);
    let mut priority = Box::pin(source.priority());
    assert!(source.poll_readable(&mut contexts[0]).is_pending());
    assert!(source.poll_writable(&mut contexts[1]).is_pending());
    assert!(priority.poll_unpin(&mut contexts[2]).is_pending());
    assert!(timer.poll_unpin(&mut contexts[3]).is_pending());
    drop(reactor);
    assert_eq!(wakers.each_ref().map(|(counter, _)| counter.count()), [1; 4]);
    let gone = |error: std::io::Error| assert!(error.to_string().contains("has been dropped"), "{error}");
    for _ in 0..2 {
        let [cx, ..] = &mut contexts;
        gone(source.readable().now_or_never().expect("waits without a reactor").unwrap_err());
        gone(source.writable().now_or_never().expect("waits without a reactor").unwrap_err());
        gone(source.priority().now_or_never().expect("waits without a reactor").unwrap_err());
        assert!(matches!(timer.poll_unpin(cx), Poll::Ready(Err(_))));
        let waits = source.read_with(|_| -> std::io::Result<()> { Err(std::io::ErrorKind::WouldBlock.into()) });
        gone(waits.now_or_never().expect("waits without a reactor").unwrap_err());
    }
    assert!(matches!(priority.poll_unpin(&mut contexts[2]), Poll::Ready(Err(_))));
}

/// Behaviour 217: events arrive while the reactor is dropped. Every waiter is woken, and the descriptors are returned
/// in working order.
#[test]
fn events_while_the_reactor_goes_away() {
    let _watchdog = watchdog(TIME);
    for round in 0..50 {
        let mut reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let (peers, sources): (Vec<_>, Vec<_>) = (0..8).map(|_| sources::with_peer(&handle)).unzip();
        while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
        let stop = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while stopped.load(Ordering::SeqCst) == 0 {
                for mut peer in &peers {
                    peer.set_nonblocking(true).unwrap();
                    let _ = peer.write(b"x");
                }
            }
        });
        for _ in 0..round % 4 {
            reactor.wait(Some(Duration::from_millis(1))).unwrap();
        }
        let waiting: Vec<_> = sources
            .iter()
            .map(|source| {
                let (counter, waker) = CountingWaker::new();
                (source.poll_readable(&mut Context::from_waker(&waker)).is_pending(), counter)
            })
            .collect();
        drop(reactor);
        assert!(waiting.iter().all(|(waits, counter)| !waits || counter.count() > 0), "one was forgotten");
        for source in sources {
            let error = futures::executor::block_on(source.readable()).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
            assert!(source.into_inner().unwrap().peer_addr().is_ok());
        }
        stop.store(1, Ordering::SeqCst);
        thread.join().unwrap();
    }
}

/// Bug D12: a hundred thousand timers due at one instant do not delay a socket that becomes ready meanwhile.
#[test]
fn a_hundred_thousand_timers_at_one_instant() {
    const TIMERS: usize = 100_000;
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (peer, source) = sources::with_peer(&handle);
    while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
    let (timers, timers_waker) = CountingWaker::new();
    let (sockets, sockets_waker) = CountingWaker::new();
    let deadline = Instant::now() + Duration::from_secs(1);
    let armed: Vec<_> = (0..TIMERS)
        .map(|_| {
            let mut timer = Timer::at(deadline, &handle);
            assert!(timer.poll_unpin(&mut Context::from_waker(&timers_waker)).is_pending(), "too slow to set them");
            timer
        })
        .collect();
    assert!(source.poll_readable(&mut Context::from_waker(&sockets_waker)).is_pending());
    std::thread::sleep(deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(5));
    (&peer).write_all(b"x").unwrap();
    let turns = handle.stats().turns;
    reactor.wait(None).unwrap();
    assert_eq!(sockets.count(), 1, "in the very turn of the timers");
    while timers.count() < TIMERS {
        reactor.wait(None).unwrap();
    }
    assert!(handle.stats().turns - turns <= 3, "{} turns", handle.stats().turns - turns);
    assert_eq!((timers.count(), handle.stats().timers_fired), (TIMERS, TIMERS as u64));
    drop(armed);
    assert_eq!(handle.stats().timers, 0);
}
