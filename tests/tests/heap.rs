//! Memory: sources and timers free what they allocate. The test is a program of its own, because it counts every
//! allocation of the process.

use async_epoll::{Reactor, Source, Timer};
use futures::future::FutureExt;
use std::task::Context;
use std::time::Duration;
use tests::{CountingAllocator, CountingWaker, eventfd, limit_open_files, live_heap, open_fds, watchdog};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Bug E14: fifteen thousand sources, each with a waiter, and as many timers are made and dropped twenty times. No
/// round needs more memory than the first, and next to nothing is left after each.
#[test]
fn sources_and_timers_give_their_memory_back() {
    const ROUNDS: usize = 20;
    /// Bytes that the reactor may keep for later.
    const SPARE: usize = 64 * 1024;
    let _watchdog = watchdog(Duration::from_secs(120));
    // Fewer if the limit of descriptors is low.
    let count = 15_000.min(limit_open_files(16_000) - 100);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (counter, waker) = CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    let (mut sources, mut timers) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (fds, before) = (open_fds(), live_heap());
    let mut peaks = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        for _ in 0..count {
            let source = Source::with_handle(eventfd().unwrap(), &handle).unwrap();
            assert!(source.poll_readable(&mut cx).is_pending());
            sources.push(source);
            let mut timer = Timer::after(Duration::from_secs(3600), &handle);
            assert!(timer.poll_unpin(&mut cx).is_pending());
            timers.push(timer);
        }
        // The first event of each source is "writable", and no task waits for that.
        while reactor.wait(Some(Duration::ZERO)).unwrap() > 0 {}
        assert_eq!((handle.stats().sources, handle.stats().timers, counter.count()), (count, count, 0));
        peaks.push(live_heap() - before);
        // Dropped from the front in one round, from the back in the next.
        if round % 2 == 0 {
            sources.drain(..).for_each(drop);
            timers.drain(..).for_each(drop);
        } else {
            while sources.pop().is_some() && timers.pop().is_some() {}
        }
        assert_eq!((handle.stats().sources, handle.stats().timers), (0, 0));
        let left = live_heap().saturating_sub(before);
        assert!(left <= SPARE, "{left} bytes are left after round {round}");
    }
    println!("{count} sources and timers take {} bytes each, later {peaks:?} in all", peaks[0] / count);
    assert!(peaks.iter().all(|peak| peak * 10 <= peaks[0] * 12), "{peaks:?}");
    assert_eq!(open_fds(), fds);
    drop(reactor);
}
