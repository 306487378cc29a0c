//! What a group costs, and its limits: time and memory in proportion, memory without a reader, places in order. The tests are a
//! program of their own, because they count allocations.

use async_epoll::{LocalRuntime, TaskGroup, yield_now};
use futures::future::{FutureExt, pending};
use futures::stream::StreamExt;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;
use tests::{CountingAllocator, CountingWaker, TIME, allocations, in_child, live_heap, thread_cpu, watchdog};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Ten thousand children and a hundred thousand: each is polled once, and costs the same number of allocations. The CPU time is
/// in proportion, within a generous bound.
#[test]
fn spawn_and_join_are_linear() {
    let _watchdog = watchdog(TIME);
    let measure = |children: usize| {
        let mut runtime = LocalRuntime::new().unwrap();
        let handle = runtime.handle();
        let group = TaskGroup::with_spawner(&runtime.spawner());
        let (begin, allocated, polls) = (thread_cpu(), allocations(), handle.stats().polls);
        for number in 0..children {
            group.try_spawn(async move { number }).unwrap();
        }
        let outputs = runtime.run_until(group.join()).unwrap().unwrap();
        assert!(outputs.into_iter().eq(0..children), "in the order of the ends, which is that of the spawns");
        // And a few of the future that joins.
        assert!((0..5).contains(&(handle.stats().polls - polls - children as u64)));
        (thread_cpu() - begin, allocations() - allocated)
    };
    let (short, few) = measure(10_000);
    let (long, many) = measure(100_000);
    println!("{short:?} and {few} allocations, {long:?} and {many}");
    assert!(many < few * 10 + 200, "{few} and {many} allocations");
    // `inspect` keeps a list of the tasks.
    let each = if cfg!(feature = "inspect") { 3 } else { 2 };
    assert!(many < 100_000 * each + 200, "{many} allocations");
    assert!(long < short * 40, "{short:?} and {long:?}");
    // The same for an abort of all, and for a drop.
    let abort = |children: usize| {
        let runtime = LocalRuntime::new().unwrap();
        let group = TaskGroup::with_spawner(&runtime.spawner());
        (0..children).for_each(|_| drop(group.try_spawn(pending::<()>()).unwrap()));
        let begin = thread_cpu();
        drop(group);
        assert_eq!(runtime.spawner().live_tasks(), 0);
        thread_cpu() - begin
    };
    let (short, long) = (abort(10_000), abort(100_000));
    assert!(long < short * 40, "{short:?} and {long:?}");
}

/// A million children end, and no result is read. A detached group keeps nothing; another keeps the outputs alone; with a
/// limit and a backlog, spawns are refused and wait when the bound is reached.
#[test]
fn memory_without_a_reader() {
    const CHILDREN: usize = 1_000_000;
    /// As many as show what a result takes.
    const READ_LATER: usize = 100_000;
    if !in_child("memory_without_a_reader") {
        return;
    }
    let _watchdog = watchdog(Duration::from_secs(240));
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let mut fill = |group: &TaskGroup<u64>, children: usize| {
        let before = live_heap();
        for _ in 0..children / 1000 {
            for _ in 0..1000 {
                // A future that is much larger than its output.
                let ballast = [1_u64; 64];
                let child = async move {
                    yield_now().await;
                    ballast[7]
                };
                group.try_spawn(child).unwrap();
            }
            runtime.run().unwrap();
        }
        live_heap().saturating_sub(before)
    };
    let detached = TaskGroup::with_spawner(&spawner).detached();
    let kept = fill(&detached, CHILDREN);
    println!("{kept} bytes for {CHILDREN} children of a detached group");
    assert!(kept < 512 * 1024, "{kept} bytes");
    let group = TaskGroup::with_spawner(&spawner);
    let kept = fill(&group, READ_LATER);
    println!("{} bytes for each unread result", kept / READ_LATER);
    // An output of 8 bytes and its tag, in a buffer that grows by doubling.
    assert_eq!(group.len(), READ_LATER);
    assert!(kept < READ_LATER * 40, "{kept} bytes");
    drop(group);

    let mut bounded = TaskGroup::with_spawner(&spawner).with_limit(10).with_backlog(20);
    let mut spawned = 0;
    for _ in 0..1000 {
        while bounded.try_spawn(async { 1 }).is_ok() {
            spawned += 1;
        }
        runtime.run().unwrap();
    }
    assert_eq!((spawned, bounded.len(), bounded.running()), (20, 20, 0));
    assert_eq!(bounded.try_spawn(async { 1 }).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // A spawn waits until a result is read.
    let mut spawn = bounded.spawn(async { 2 });
    let (counter, waker) = CountingWaker::new();
    assert!(spawn.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(bounded.next().now_or_never().unwrap().unwrap().unwrap(), 1);
    assert_eq!(counter.count(), 1);
    assert!(spawn.poll_unpin(&mut Context::from_waker(&waker)).is_ready());
}

/// No more children run than the limit allows; spawns that wait go in order, and one that is given up passes its place on.
#[test]
fn places_are_granted_in_order() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let group = TaskGroup::with_spawner(&runtime.spawner()).with_limit(2);
    let running = Rc::new(Cell::new(0));
    let order = Rc::new(RefCell::new(Vec::new()));
    let child = |number: u32| {
        let (running, order) = (Rc::clone(&running), Rc::clone(&order));
        async move {
            order.borrow_mut().push(number);
            running.set(running.get() + 1);
            assert!(running.get() <= 2);
            yield_now().await;
            running.set(running.get() - 1);
        }
    };
    let mut cx = Context::from_waker(Waker::noop());
    let mut spawns: Vec<_> = (0..10).map(|number| group.spawn(child(number))).collect();
    let ready: Vec<_> = spawns.iter_mut().map(|spawn| spawn.poll_unpin(&mut cx).is_ready()).collect();
    assert_eq!(ready, [true, true, false, false, false, false, false, false, false, false]);
    assert!(!group.has_place());
    let mut spawns: Vec<_> = spawns.into_iter().map(Some).collect();
    // One that waits is given up, and one that was granted a place.
    spawns[4] = None;
    runtime.run_for(Duration::ZERO).unwrap();
    assert_eq!(group.try_spawn(child(99)).unwrap_err().kind(), io::ErrorKind::WouldBlock, "granted to others");
    spawns[2] = None;
    // The spawns are polled in another order than that of their places.
    for number in (0..10).rev() {
        if let Some(spawn) = &mut spawns[number] {
            if spawn.poll_unpin(&mut cx).is_ready() {
                spawns[number] = None;
            }
        }
    }
    assert_eq!(group.running(), 2);
    while spawns.iter().any(Option::is_some) {
        runtime.run_for(Duration::ZERO).unwrap();
        for spawn in &mut spawns {
            if spawn.as_mut().is_some_and(|spawn| spawn.poll_unpin(&mut cx).is_ready()) {
                *spawn = None;
            }
        }
        assert!(group.running() <= 2);
    }
    runtime.run().unwrap();
    assert_eq!(*order.borrow(), [0, 1, 5, 3, 6, 7, 8, 9]);
    assert_eq!(group.len(), 8);
    assert_eq!(runtime.handle().stats().task_panics, 0);
}

/// A thousand spawns wait for one place after the other. Closing the group fails those that are left, and ends their waits.
#[test]
fn spawns_that_wait_are_woken_one_by_one() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let group = TaskGroup::with_spawner(&spawner).with_limit(1);
    let (served, refused) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for _ in 0..1000 {
        let (served, refused, spawner_of_group) = (Rc::clone(&served), Rc::clone(&refused), group.spawner());
        let task = async move {
            let child = {
                let spawner = spawner_of_group.clone();
                async move {
                    served.set(served.get() + 1);
                    if served.get() == 700 {
                        spawner.cancel();
                    }
                }
            };
            match spawner_of_group.spawn(child).await {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
                    refused.set(refused.get() + 1);
                }
            }
        };
        spawner.spawn(task).unwrap();
    }
    let before = runtime.handle().stats().polls;
    runtime.run().unwrap();
    assert_eq!((served.get(), refused.get()), (700, 300));
    // Each task is polled twice and each child once.
    let polls = runtime.handle().stats().polls - before;
    assert!(polls <= 2 * 1000 + 700, "{polls} polls");
    assert_eq!(group.len(), 700);
}

/// A limit is raised while a spawn waits, through a spawner that was made before: the spawn gets a place at once.
#[test]
fn a_raised_limit_lets_spawns_go_on() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let group = TaskGroup::<()>::with_spawner(&runtime.spawner()).with_limit(1);
    let (mut first, mut second) = (group.spawn(pending()), group.spawn(pending()));
    assert!(first.poll_unpin(&mut cx).is_ready());
    let (counter, waker) = CountingWaker::new();
    assert!(second.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    let group = group.with_limit(3);
    assert_eq!((counter.count(), group.has_place()), (1, true));
    assert!(second.poll_unpin(&mut cx).is_ready());
    assert_eq!(group.running(), 2);
    group.cancel();
    // The same for a backlog.
    let group = TaskGroup::with_spawner(&runtime.spawner()).with_backlog(1);
    group.try_spawn(async {}).unwrap();
    runtime.run().unwrap();
    let mut third = group.spawn(async {});
    assert!(third.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    let group = group.with_backlog(2);
    assert_eq!((counter.count(), group.has_place()), (2, true));
    assert!(third.poll_unpin(&mut cx).is_ready());
    runtime.run().unwrap();
    assert_eq!(group.len(), 2);
}

/// Groups that have been dropped take no memory, after many at the same time and after many in a row.
#[test]
fn dropped_groups_take_no_memory() {
    const GROUPS: usize = 100_000;
    if !in_child("dropped_groups_take_no_memory") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    drop(TaskGroup::<()>::with_spawner(&spawner));
    let before = live_heap();
    for together in [1, GROUPS] {
        for _ in 0..GROUPS / together {
            drop((0..together).map(|_| TaskGroup::<()>::with_spawner(&spawner)).collect::<Vec<_>>());
        }
        let kept = live_heap().saturating_sub(before);
        println!("{kept} bytes after {GROUPS} groups, {together} at a time");
        assert!(kept < 64 * 1024, "{kept} bytes after {GROUPS} groups, {together} at a time");
    }
}

/// A spawn that has been ready before is an error at once, also if the group is full, and keeps no place from the next.
#[test]
fn a_spawn_that_was_ready_keeps_no_place() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let group = TaskGroup::with_spawner(&runtime.spawner()).with_limit(1);
    let mut spawn = group.spawn(pending());
    let first = (&mut spawn).now_or_never().expect("a place").unwrap();
    let error = (&mut spawn).now_or_never().expect("no wait").unwrap_err();
    assert!(error.to_string().contains("spawned before"), "{error}");
    first.abort();
    runtime.run_for(std::time::Duration::ZERO).unwrap();
    group.spawn(async {}).now_or_never().expect("the place of the first").unwrap();
}
