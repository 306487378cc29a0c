//! Memory: sources and timers free what they allocate. The test is a program of its own, because it counts every
//! allocation of the process.

use async_epoll::{LocalRuntime, Reactor, Source, Timer};
use futures::future::{FutureExt, pending};
use std::task::Context;
use std::time::Duration;
use tests::{
    CountingAllocator, CountingWaker, TIME, allocations, eventfd, in_child, limit_open_files, live_heap, open_fds,
    watchdog,
};

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

/// Returns how many allocations `act` makes on this thread, and how many bytes are live after it that were not before.
fn cost(mut act: impl FnMut()) -> (usize, usize) {
    let (made, live) = (allocations(), live_heap());
    act();
    (allocations() - made, live_heap().saturating_sub(live))
}

/// A task is two allocations, with or without a handle or a name; one is saved for some tasks, as the memory of earlier ones is
/// kept. Tasks with a handle leave nothing behind, whether they end,
/// are aborted or are detached.
#[test]
fn a_handle_needs_no_allocation() {
    const TASKS: usize = 10_000;
    if !in_child("a_handle_needs_no_allocation") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    // A future of a size other than zero, which would need no allocation.
    let waits = |number: usize| async move {
        pending::<()>().await;
        std::hint::black_box(number);
    };
    let mut handles = Vec::with_capacity(TASKS);
    // The tables and the queue grow by doubling, which the first round pays for.
    for round in 0..4 {
        let plain = cost(|| (0..TASKS).for_each(|number| spawner.spawn(waits(number)).unwrap()));
        let with_handle =
            cost(|| (0..TASKS).for_each(|number| handles.push(spawner.spawn_task(waits(number)).unwrap())));
        let named = cost(|| (0..TASKS).for_each(|_| spawner.task().name("name").spawn(async {}).unwrap()));
        println!("round {round}, for {TASKS} tasks: plain {plain:?}, with a handle {with_handle:?}, named {named:?}");
        for (allocations, _) in [plain, with_handle, named] {
            assert!((2 * TASKS - 256..=2 * TASKS + 64).contains(&allocations), "{allocations}");
        }
        assert_eq!(runtime.run_for(Duration::ZERO).unwrap(), (round + 2) * TASKS);
        let abort_costs = cost(|| handles.iter().for_each(|handle| handle.abort()));
        assert!(abort_costs.0 <= 64, "{abort_costs:?}");
        assert_eq!(runtime.run_for(Duration::ZERO).unwrap(), (round + 1) * TASKS);
        let join_costs = cost(|| handles.drain(..).for_each(|handle| assert!(handle.now_or_never().unwrap().is_err())));
        assert!(join_costs.0 <= 64, "{join_costs:?}");
    }
    let before = live_heap();
    for _ in 0..20 {
        for number in 0..TASKS {
            let task = spawner.spawn_task(async move { [number; 32] }).unwrap();
            match number % 3 {
                0 => task.detach(),
                1 => handles_kept_until_the_end(task, &mut runtime, number),
                _ => drop(task.abort_on_drop()),
            }
        }
        runtime.run_for(Duration::ZERO).unwrap();
    }
    let left = live_heap().saturating_sub(before);
    assert!(left < 1 << 20, "{left} bytes are left");
    // A pool that is dropped while aborts are in its queue: the handles are the last to hold their places in the table.
    drop(runtime);
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, before) = (runtime.spawner(), live_heap());
    handles.extend((0..TASKS).map(|number| spawner.spawn_task(waits(number)).unwrap()));
    runtime.run_for(Duration::ZERO).unwrap();
    handles.iter().for_each(|handle| handle.abort());
    drop(runtime);
    assert!(handles.iter().all(|handle| handle.is_finished()));
    handles.clear();
    let left = live_heap().saturating_sub(before);
    assert!(left < 64 * 1024, "{left} bytes are left");
}

/// Runs now and then, so that some handles are dropped after the end of their tasks and some before.
fn handles_kept_until_the_end<T>(task: async_epoll::TaskHandle<T>, runtime: &mut LocalRuntime, number: usize) {
    if number % 1000 == 1 {
        runtime.run_for(Duration::ZERO).unwrap();
    }
    drop(task);
}
