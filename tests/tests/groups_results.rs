//! What a group says of its children: results, the first error, panics, the report of a close, errors.

use async_epoll::{LocalRuntime, Reactor, TaskError, TaskGroup, yield_now};
use futures::channel::oneshot;
use futures::future::{FutureExt, pending};
use futures::stream::{FusedStream, Stream, StreamExt};
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tests::common::pool_and_reactor;
use tests::{HOUR, OnDrop, TIME, millis, watchdog};

/// Results come in the order of the ends, each once. The stream ends when the group is empty, and goes on with a new child.
#[test]
fn results_come_in_the_order_of_the_ends() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let mut group = TaskGroup::with_spawner(&runtime.spawner());
    assert!(group.is_empty() && group.is_terminated());
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..4).map(|_| oneshot::channel::<u32>()).unzip();
    let aborts: Vec<_> =
        receivers.into_iter().map(|receiver| group.try_spawn(receiver.map(Result::unwrap)).unwrap()).collect();
    runtime.run_for(Duration::ZERO).unwrap();
    assert_eq!((group.len(), group.running(), group.size_hint()), (4, 4, (0, None)));
    let mut senders = senders.into_iter().map(Some).collect::<Vec<_>>();
    for number in [2, 0, 3] {
        if number == 0 {
            aborts[0].abort();
        } else {
            senders[number as usize].take().unwrap().send(number).unwrap();
        }
        runtime.run_for(Duration::ZERO).unwrap();
    }
    assert_eq!((group.len(), group.running(), group.size_hint()), (4, 1, (3, None)));
    senders[1].take().unwrap().send(1).unwrap();
    let results = runtime.run_until(group.by_ref().map(Result::ok).collect::<Vec<_>>()).unwrap();
    assert_eq!(results, [Some(2), None, Some(3), Some(1)]);
    assert!(group.is_empty() && group.is_terminated());
    group.try_spawn(async { 4 }).unwrap();
    assert!(!group.is_terminated());
    assert_eq!(runtime.run_until(group.next()).unwrap().unwrap().unwrap(), 4);
    assert!(runtime.run_until(group.next()).unwrap().is_none());
}

/// Children are tasks on the pool: they run while their parent awaits something else.
#[test]
fn children_run_while_the_parent_awaits_something_else() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let group = TaskGroup::with_spawner(&runtime.spawner());
    let (sender, receiver) = oneshot::channel();
    group
        .try_spawn(async {
            yield_now().await;
            sender.send(()).unwrap();
        })
        .unwrap();
    // The group is not polled meanwhile.
    runtime.run_until(receiver).unwrap().unwrap();
    assert_eq!(group.len(), 1);
}

/// The first error, or panic, ends the siblings at once, and is returned with the others beside it.
#[test]
fn the_first_error_ends_the_group() {
    let _watchdog = watchdog(TIME);
    let hooked = Rc::new(Cell::new(0));
    let counter = Rc::clone(&hooked);
    let reactor = Reactor::builder().on_task_panic(move |_| counter.set(counter.get() + 1)).build().unwrap();
    let mut runtime = LocalRuntime::from(reactor);
    let dropped = Rc::new(Cell::new(0));
    let spawn = |group: &TaskGroup<io::Result<u32>>| {
        for number in 0..5 {
            let dropped = Rc::clone(&dropped);
            let guard = OnDrop(move || {
                dropped.set(dropped.get() + 1);
                if number == 4 {
                    resume_unwind(Box::new("in the destructor"));
                }
            });
            group
                .try_spawn(async move {
                    let guard = guard;
                    match number {
                        0 => std::mem::forget(guard),
                        1 | 2 => std::mem::forget(guard),
                        _ => pending().await,
                    }
                    match number {
                        0 => Ok(7),
                        1 => Err(io::Error::from(io::ErrorKind::InvalidData)),
                        2 => resume_unwind(Box::new("second")),
                        _ => pending().await,
                    }
                })
                .unwrap();
        }
    };
    // All of the first three end in one turn, before the group is read.
    let group = TaskGroup::with_spawner(&runtime.spawner());
    let spawner = group.spawner();
    spawn(&group);
    runtime.run_for(Duration::ZERO).unwrap();
    let error = runtime.run_until(group.try_join()).unwrap().unwrap_err();
    assert_eq!(error.first.kind(), io::ErrorKind::InvalidData);
    let others: Vec<_> = error.others.iter().map(ToString::to_string).collect();
    assert!(
        others.len() == 2 && others[0].ends_with("second") && others[1].ends_with("in the destructor"),
        "{others:?}"
    );
    assert!(error.to_string().ends_with(" (and 2 more)"), "{error}");
    assert_eq!((dropped.get(), spawner.running(), spawner.is_closed()), (2, 0, true));
    // Without `try`, an `Err` is an output: the panic is the first failure.
    let group = TaskGroup::with_spawner(&runtime.spawner());
    spawn(&group);
    let error = runtime.run_until(group.join()).unwrap().unwrap_err();
    assert_eq!(*error.first.try_into_panic().unwrap().downcast::<&str>().unwrap(), "second");
    assert_eq!(error.others.len(), 1);
    // A group without an error returns all that has an output. An abort by the program is no failure.
    let group = TaskGroup::with_spawner(&runtime.spawner());
    group.try_spawn(async { io::Result::Ok(1) }).unwrap();
    group.try_spawn(pending()).unwrap().abort();
    group.try_spawn(async { io::Result::Ok(2) }).unwrap();
    assert_eq!(runtime.run_until(group.try_join()).unwrap().unwrap(), [1, 2]);
    // Each panic was seen once, by the joins.
    assert_eq!((hooked.get(), runtime.handle().stats().task_panics), (0, 4));
}

/// A panic that is unread when the group is dropped goes to the hook, once; so does the panic of a destructor.
#[test]
fn unread_panics_are_reported() {
    let _watchdog = watchdog(TIME);
    let log = Rc::new(RefCell::new(Vec::new()));
    let hooked = Rc::clone(&log);
    let hook = move |panic: Box<dyn std::any::Any + Send>| hooked.borrow_mut().push(*panic.downcast::<u32>().unwrap());
    let mut runtime = LocalRuntime::from(Reactor::builder().on_task_panic(hook).build().unwrap());
    let group = TaskGroup::with_spawner(&runtime.spawner());
    for number in 1..=3 {
        let guard = OnDrop(move || resume_unwind(Box::new(number + 10_u32)));
        group
            .try_spawn(async move {
                if number != 3 {
                    std::mem::forget(guard);
                    resume_unwind(Box::new(number));
                }
                let _guard = guard;
                pending::<()>().await;
            })
            .unwrap();
    }
    // Outputs are the user's, too.
    let outputs = TaskGroup::with_spawner(&runtime.spawner());
    outputs.try_spawn(async { OnDrop(|| resume_unwind(Box::new(20_u32))) }).unwrap();
    runtime.run_for(Duration::ZERO).unwrap();
    assert!(log.borrow().is_empty());
    drop(group);
    assert_eq!(*log.borrow(), [13, 1, 2]);
    drop(outputs);
    assert_eq!(*log.borrow(), [13, 1, 2, 20]);
    // A detached group reports at once.
    let detached = TaskGroup::with_spawner(&runtime.spawner()).detached();
    detached.try_spawn(async { resume_unwind(Box::new(30_u32)) }).unwrap();
    detached.try_spawn(async {}).unwrap();
    assert_eq!(runtime.run_until(detached.join()).unwrap().unwrap(), []);
    assert_eq!(*log.borrow(), [13, 1, 2, 20, 30]);
    assert_eq!(runtime.handle().stats().task_panics, 5);
}

/// A group is closed: children that listen end, those that do not are aborted when the grace is over, and the report has all.
#[test]
fn close_asks_waits_and_aborts() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let close = |group: &TaskGroup<u32>| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| oneshot::channel::<()>()).unzip();
        for (number, asked) in receivers.into_iter().enumerate() {
            let child = async move {
                asked.await.unwrap();
                if number == 2 {
                    resume_unwind(Box::new("on purpose"));
                }
                number as u32
            };
            group.try_spawn(child).unwrap();
        }
        group.on_close(move || senders.into_iter().for_each(|sender| sender.send(()).unwrap()));
    };
    // All children listen: the close ends long before the grace.
    let group = TaskGroup::with_spawner(&spawner);
    group.try_spawn(async { 9 }).unwrap();
    runtime.run_for(Duration::ZERO).unwrap();
    close(&group);
    let report = runtime.run_until(group.close_within(HOUR)).unwrap();
    assert_eq!((report.ended, report.aborted, report.panicked), (2, 0, 1));
    let results: Vec<_> = report.results.iter().map(|result| result.as_ref().ok()).collect();
    assert_eq!(results, [Some(&9), Some(&0), Some(&1), None], "with what was unread");
    // Some do not.
    let group = TaskGroup::with_spawner(&spawner);
    close(&group);
    group.try_spawn(pending()).unwrap();
    let (begin, grace) = (Instant::now(), millis(30));
    let report = runtime.run_until(group.close_within(grace)).unwrap();
    assert!(begin.elapsed() >= grace);
    assert_eq!((report.ended, report.aborted, report.panicked, report.results.len()), (2, 1, 1, 4));
    // No grace; a detached group, which has no results.
    let group = TaskGroup::with_spawner(&spawner).detached();
    close(&group);
    let report = runtime.run_until(group.close_within(Duration::ZERO)).unwrap();
    assert_eq!((report.ended, report.aborted, report.panicked, report.results.len()), (0, 3, 0, 0));
    // A close that is given up drops the children.
    let group = TaskGroup::with_spawner(&spawner);
    group.try_spawn(pending::<()>()).unwrap();
    assert!(group.close_within(Duration::MAX).now_or_never().is_none());
    assert_eq!(spawner.live_tasks(), 0);
    assert_eq!(runtime.handle().stats().timers, 0);
    // The group is closed before the hooks are called; hooks are called once, in order, and at once if it is closed already.
    let group = TaskGroup::<u32>::with_spawner(&spawner);
    let calls = Rc::new(RefCell::new(Vec::new()));
    for number in 0..3 {
        let (calls, spawner) = (Rc::clone(&calls), group.spawner());
        group.on_close(move || {
            assert!(spawner.is_closed());
            calls.borrow_mut().push(number);
        });
    }
    group.close();
    group.close();
    assert_eq!(*calls.borrow(), [0, 1, 2]);
    let late = Rc::clone(&calls);
    group.on_close(move || late.borrow_mut().push(3));
    drop(group);
    assert_eq!(*calls.borrow(), [0, 1, 2, 3]);
}

/// A close without a reactor: the grace cannot be measured, and is over at once.
#[test]
fn a_close_without_a_reactor() {
    let _watchdog = watchdog(TIME);
    let (mut pool, reactor, spawner) = pool_and_reactor();
    let group = TaskGroup::with_spawner(&spawner);
    group.try_spawn(pending::<()>()).unwrap();
    drop(reactor);
    let report = pool.run_until(group.close_within(HOUR));
    assert_eq!((report.ended, report.aborted), (0, 1));
}

/// Without a current spawner there is no group; after the end of the pool there is no spawn. Both say so. Names and places are
/// in the errors.
#[test]
fn errors_say_what_to_do() {
    let _watchdog = watchdog(TIME);
    assert_eq!(TaskGroup::<()>::new().unwrap_err().kind(), io::ErrorKind::NotConnected);
    let mut runtime = LocalRuntime::new().unwrap();
    let mut group = TaskGroup::with_spawner(&runtime.spawner());
    let mut spawn = group.spawn(async { 1 });
    let line = line!() + 1;
    let mut named = group.spawn_named(format!("worker {}", 3), pending());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(spawn.poll_unpin(&mut cx), Poll::Ready(Ok(_))));
    let Poll::Ready(Err(error)) = spawn.poll_unpin(&mut cx) else { panic!("twice") };
    assert!(error.to_string().contains("ready once"), "{error}");
    let Poll::Ready(Ok(abort)) = named.poll_unpin(&mut cx) else { panic!("no place") };
    assert_eq!((abort.name(), abort.id()), (Some("worker 3"), 1));
    runtime.run_for(Duration::ZERO).unwrap();
    assert_eq!(group.next().now_or_never().unwrap().unwrap().unwrap(), 1);
    drop(runtime);
    let error: TaskError = group.next().now_or_never().unwrap().unwrap().unwrap_err();
    assert_eq!((error.name(), error.spawned_at().line()), (Some("worker 3"), line));
    assert!(error.to_string().ends_with("was dropped with its pool"), "{error}");
    assert_eq!(group.try_spawn(async { 1 }).unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(group.spawn(async { 1 }).now_or_never().unwrap().unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert!(group.is_empty() && !group.is_closed());
    let spawner = group.spawner();
    assert!(format!("{group:?} {spawner:?} {spawn:?}").contains("running: 0"));
    drop(group);
    assert_eq!(spawner.try_spawn(async { 1 }).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    // A pool that is dropped fails a join.
    let runtime = LocalRuntime::new().unwrap();
    let group = TaskGroup::with_spawner(&runtime.spawner());
    group.try_spawn(pending::<()>()).unwrap();
    drop(runtime);
    assert!(group.join().now_or_never().unwrap().unwrap_err().first.is_aborted());
}
