//! Task handles, names and the current spawner.
//!
//! The first test is a table: a task in each of its states meets each operation on it. The others look at one promise each.

use async_epoll::{
    AbortHandle, Handle, LocalRuntime, Reactor, Spawner, TaskError, TaskHandle, Timer, block_on, spawn_local,
    try_block_on, yield_now,
};
use futures::channel::{mpsc, oneshot};
use futures::executor::LocalPool;
use futures::future::{FusedFuture, FutureExt, join, pending, poll_fn};
use futures::stream::StreamExt;
use futures::task::{LocalSpawnExt, SpawnExt};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tests::common::pool_and_reactor;
use tests::{CountingWaker, HOUR, OnDrop, TIME, later, millis, waker_fn, watchdog};

/// Where a task is when the operation comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    NeverPolled,
    Pending,
    /// Polled once, woken, and not polled again yet.
    Ready,
    /// The operation comes from inside of the poll, which then returns `Pending`.
    BeingPolled,
    /// The operation comes from inside of the poll, which then returns `Ready`.
    BeingPolledForTheLastTime,
    Ended,
    /// The operation comes from inside of the poll, which then panics.
    Panicking,
}

/// What is done to a task.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    AbortHere,
    AbortFromAThread,
    DropTheHandle,
    /// Drops a handle that aborts.
    DropAnAbortingHandle,
    DropThePool,
    DropTheReactor,
}

/// What the operations act on.
struct Stage {
    pool: RefCell<Option<LocalPool>>,
    reactor: RefCell<Option<Reactor>>,
    handle: RefCell<Option<TaskHandle<u32>>>,
    polls: Cell<usize>,
    drops: RefCell<Vec<ThreadId>>,
    waker: RefCell<Option<Waker>>,
}

impl Stage {
    /// Does an operation.
    fn act(&self, operation: Operation) {
        let abort = || self.handle.borrow().as_ref().unwrap().abort_handle();
        match operation {
            Operation::AbortHere => self.handle.borrow().as_ref().unwrap().abort(),
            Operation::AbortFromAThread => {
                let abort = abort();
                thread::spawn(move || abort.abort()).join().unwrap();
            }
            Operation::DropTheHandle => drop(self.handle.take()),
            Operation::DropAnAbortingHandle => {
                let handle = self.handle.take().unwrap().abort_on_drop();
                drop(handle);
            }
            Operation::DropThePool => drop(self.pool.take()),
            Operation::DropTheReactor => drop(self.reactor.take()),
        }
    }

    /// Polls what is ready.
    fn run(&self) {
        if let Some(pool) = &mut *self.pool.borrow_mut() {
            pool.run_until_stalled();
        }
    }

    /// Returns what the handle says, without waiting.
    fn result(&self) -> &'static str {
        let Some(handle) = &mut *self.handle.borrow_mut() else { return "no handle" };
        let finished = handle.is_finished();
        let result = handle.poll_unpin(&mut Context::from_waker(Waker::noop()));
        assert_eq!(result.is_ready(), finished);
        match result {
            Poll::Pending => "running",
            Poll::Ready(Ok(7)) => "7",
            Poll::Ready(Ok(_)) => "another output",
            Poll::Ready(Err(error)) if error.to_string().ends_with("was aborted") => "aborted",
            Poll::Ready(Err(error)) if error.to_string().ends_with("was dropped with its pool") => "pool dropped",
            Poll::Ready(Err(error)) if error.to_string().ends_with("has panicked: on purpose") => "panicked",
            Poll::Ready(Err(_)) => "another error",
        }
    }
}

/// Puts a task into a state, does an operation, polls what is ready once, and checks the outcome: what the handle says, how
/// often the future was polled, and how often the hook for panics was called. The future is dropped once, on the pool's
/// thread, before the loop would sleep.
fn check(state: State, operation: Operation, result: &str, polls: usize, hooked: usize) {
    let cell = format!("{state:?}, {operation:?}");
    let hooks = Rc::new(Cell::new(0));
    let counter = Rc::clone(&hooks);
    let reactor = Reactor::builder().on_task_panic(move |_| counter.set(counter.get() + 1)).build().unwrap();
    let pool = LocalPool::new();
    let spawner = reactor.spawner(&pool);
    let stage = Rc::new(Stage {
        pool: RefCell::new(Some(pool)),
        reactor: RefCell::new(Some(reactor)),
        handle: RefCell::default(),
        polls: Cell::new(0),
        drops: RefCell::default(),
        waker: RefCell::default(),
    });
    let of_drop = Rc::clone(&stage);
    let dropped = OnDrop(move || of_drop.drops.borrow_mut().push(thread::current().id()));
    let inside = Rc::clone(&stage);
    let handle = spawner.spawn_task(poll_fn(move |cx| {
        let _ = &dropped;
        assert!(inside.drops.borrow().is_empty());
        inside.polls.set(inside.polls.get() + 1);
        let first = inside.waker.replace(Some(cx.waker().clone())).is_none();
        match state {
            State::BeingPolled if first => inside.act(operation),
            State::BeingPolledForTheLastTime => {
                inside.act(operation);
                return Poll::Ready(7);
            }
            State::Panicking => {
                inside.act(operation);
                resume_unwind(Box::new("on purpose"));
            }
            State::Ended => return Poll::Ready(7),
            _ => {}
        }
        Poll::Pending
    }));
    stage.handle.replace(Some(handle.unwrap()));
    match state {
        State::NeverPolled => {}
        State::Ready => {
            stage.run();
            stage.waker.borrow().as_ref().unwrap().wake_by_ref();
        }
        _ => stage.run(),
    }
    if matches!(state, State::NeverPolled | State::Pending | State::Ready | State::Ended) {
        let before = stage.polls.get();
        stage.act(operation);
        assert_eq!(stage.polls.get(), before, "{cell}");
        stage.run();
    }
    let ended = stage.drops.borrow().len();
    assert_eq!((stage.result(), stage.polls.get(), hooks.get()), (result, polls, hooked), "{cell}");
    match result {
        "running" => assert_eq!((ended, spawner.live_tasks()), (0, 1), "{cell}"),
        "no handle" => assert_eq!(ended + spawner.live_tasks(), 1, "{cell}"),
        _ => assert_eq!((ended, spawner.live_tasks()), (1, 0), "{cell}"),
    }
    // Late wakes, and the end of everything.
    stage.waker.borrow().iter().for_each(Waker::wake_by_ref);
    stage.run();
    let aborts = stage.handle.borrow().as_ref().map(TaskHandle::abort_handle);
    aborts.iter().for_each(AbortHandle::abort);
    stage.run();
    drop((stage.pool.take(), stage.handle.take(), stage.reactor.take()));
    assert_eq!(*stage.drops.borrow(), [thread::current().id()], "{cell}");
    assert_eq!(spawner.live_tasks(), 0, "{cell}");
    assert!(aborts.is_none_or(|abort| abort.is_finished()), "{cell}");
    assert_eq!(hooks.get(), hooked, "{cell}");
    drop(stage.waker.take());
}

/// Each state meets each operation. A pool cannot be dropped while one of its tasks is polled, since the poll borrows it.
#[test]
fn every_state_meets_every_operation() {
    use Operation::*;
    let _watchdog = watchdog(TIME);
    // The state, the operation, what the handle says, the polls, and the calls of the hook for panics.
    let table = [
        (State::NeverPolled, AbortHere, "aborted", 0, 0),
        (State::NeverPolled, AbortFromAThread, "aborted", 0, 0),
        (State::NeverPolled, DropTheHandle, "no handle", 1, 0),
        (State::NeverPolled, DropAnAbortingHandle, "no handle", 0, 0),
        (State::NeverPolled, DropThePool, "pool dropped", 0, 0),
        (State::NeverPolled, DropTheReactor, "running", 1, 0),
        (State::Pending, AbortHere, "aborted", 1, 0),
        (State::Pending, AbortFromAThread, "aborted", 1, 0),
        (State::Pending, DropTheHandle, "no handle", 1, 0),
        (State::Pending, DropAnAbortingHandle, "no handle", 1, 0),
        (State::Pending, DropThePool, "pool dropped", 1, 0),
        (State::Pending, DropTheReactor, "running", 1, 0),
        (State::Ready, AbortHere, "aborted", 1, 0),
        (State::Ready, AbortFromAThread, "aborted", 1, 0),
        (State::Ready, DropTheHandle, "no handle", 2, 0),
        (State::Ready, DropAnAbortingHandle, "no handle", 1, 0),
        (State::Ready, DropThePool, "pool dropped", 1, 0),
        (State::Ready, DropTheReactor, "running", 2, 0),
        (State::BeingPolled, AbortHere, "aborted", 1, 0),
        (State::BeingPolled, AbortFromAThread, "aborted", 1, 0),
        (State::BeingPolled, DropTheHandle, "no handle", 1, 0),
        (State::BeingPolled, DropAnAbortingHandle, "no handle", 1, 0),
        (State::BeingPolled, DropTheReactor, "running", 1, 0),
        (State::BeingPolledForTheLastTime, AbortHere, "7", 1, 0),
        (State::BeingPolledForTheLastTime, AbortFromAThread, "7", 1, 0),
        (State::BeingPolledForTheLastTime, DropTheHandle, "no handle", 1, 0),
        (State::BeingPolledForTheLastTime, DropAnAbortingHandle, "no handle", 1, 0),
        (State::BeingPolledForTheLastTime, DropTheReactor, "7", 1, 0),
        (State::Ended, AbortHere, "7", 1, 0),
        (State::Ended, AbortFromAThread, "7", 1, 0),
        (State::Ended, DropTheHandle, "no handle", 1, 0),
        (State::Ended, DropAnAbortingHandle, "no handle", 1, 0),
        (State::Ended, DropThePool, "7", 1, 0),
        (State::Ended, DropTheReactor, "7", 1, 0),
        (State::Panicking, AbortHere, "panicked", 1, 0),
        (State::Panicking, AbortFromAThread, "panicked", 1, 0),
        (State::Panicking, DropTheHandle, "no handle", 1, 1),
        (State::Panicking, DropAnAbortingHandle, "no handle", 1, 1),
        (State::Panicking, DropTheReactor, "panicked", 1, 0),
    ];
    for (state, operation, result, polls, hooked) in table {
        check(state, operation, result, polls, hooked);
    }
}

/// An abort from another thread ends the reactor's sleep. The future is dropped before the next sleep, and `run` returns.
#[test]
fn an_abort_from_a_thread_ends_the_sleep() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let timer = Timer::after(HOUR, &runtime.handle());
    let task = runtime.spawner().spawn_task(timer).unwrap();
    let abort = task.abort_handle();
    let clone = abort.clone();
    let helper = later(move || clone.abort());
    runtime.run().unwrap();
    assert!(task.is_finished() && abort.is_finished());
    assert_eq!(runtime.handle().stats().timers, 0);
    helper.join().unwrap();
}

/// After an abort the reactor does not sleep until the future is dropped, in a loop written by hand, too.
#[test]
fn the_reactor_does_not_sleep_on_an_abort() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, spawner) = pool_and_reactor();
    let dropped = Rc::new(Cell::new(false));
    let flag = Rc::clone(&dropped);
    let guard = OnDrop(move || flag.set(true));
    let task = spawner.spawn_task(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    let task = task.unwrap();
    pool.run_until_stalled();
    task.abort();
    assert!(!dropped.get(), "inside of the call");
    let begin = Instant::now();
    reactor.wait(Some(HOUR)).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30));
    pool.run_until_stalled();
    assert!(dropped.get());
    reactor.wait(Some(Duration::ZERO)).unwrap();
}

/// 10⁵ tasks are aborted by four threads, while the loop is busy and the tasks wake themselves, wait, or end by themselves.
/// Each future is dropped once, on its own thread, and each handle tells one of the two ends.
#[test]
fn aborts_from_four_threads_against_a_busy_loop() {
    const TASKS: usize = 100_000;
    const ROUND: usize = 1000;
    let _watchdog = watchdog(Duration::from_secs(240));
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let dropped = Rc::new(Cell::new(0));
    let here = thread::current().id();
    let (senders, threads): (Vec<_>, Vec<_>) = (0..4)
        .map(|_| {
            let (sender, receiver) = std::sync::mpsc::channel::<AbortHandle>();
            (sender, thread::spawn(move || receiver.iter().inspect(AbortHandle::abort).count()))
        })
        .unzip();
    let (mut aborted, mut ended) = (0, 0);
    runtime
        .run_until(async {
            for round in 0..TASKS / ROUND {
                let mut handles = Vec::with_capacity(ROUND);
                for number in 0..ROUND {
                    let dropped = Rc::clone(&dropped);
                    let guard = OnDrop(move || {
                        assert_eq!(thread::current().id(), here);
                        dropped.set(dropped.get() + 1);
                    });
                    let task = spawner.spawn_task(async move {
                        let _guard = guard;
                        match number % 3 {
                            0 => pending().await,
                            1 => loop {
                                yield_now().await;
                            },
                            _ => yield_now().await,
                        }
                        number
                    });
                    handles.push(task.unwrap());
                    senders[number % 4].send(handles[number].abort_handle()).unwrap();
                    if number % 100 == 0 {
                        yield_now().await;
                    }
                }
                for (number, handle) in handles.into_iter().enumerate() {
                    match handle.await {
                        Ok(output) => {
                            assert!(output == number && number % 3 == 2);
                            ended += 1;
                        }
                        Err(error) => {
                            assert!(error.is_aborted(), "{error}");
                            aborted += 1;
                        }
                    }
                }
                assert_eq!(dropped.get(), (round + 1) * ROUND);
            }
        })
        .unwrap();
    drop(senders);
    let aborts: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{aborted} aborted, {ended} ended");
    assert_eq!((aborts, aborted + ended, dropped.get()), (TASKS, TASKS, TASKS));
    assert!(aborted >= TASKS / 3 * 2);
    runtime.run().unwrap();
    assert_eq!(runtime.handle().stats().task_panics, 0);
}

/// A task, the main future and any other waker may wait for a handle. The last waker counts.
#[test]
fn the_end_wakes_what_awaits_the_handle() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let (sender, receiver) = oneshot::channel::<u32>();
    let inner = spawner.spawn_task(async { receiver.await.unwrap() }).unwrap();
    let mut outer = spawner.spawn_task(async { inner.await.unwrap() + 1 }).unwrap();
    let ((one, first), (two, second)) = (CountingWaker::new(), CountingWaker::new());
    for waker in [&first, &first, &second] {
        assert!(outer.poll_unpin(&mut Context::from_waker(waker)).is_pending());
    }
    assert!(!outer.is_terminated());
    runtime.run_for(Duration::ZERO).unwrap();
    sender.send(5).unwrap();
    runtime.run().unwrap();
    assert_eq!((one.count(), two.count()), (0, 1));
    assert_eq!(runtime.run_until(&mut outer).unwrap().unwrap(), 6);
    // Once more is an error, not a panic.
    assert!(outer.is_terminated() && outer.is_finished());
    let error = runtime.run_until(&mut outer).unwrap().unwrap_err();
    assert!(!error.is_aborted() && !error.is_panic() && error.to_string().contains("ready once"), "{error}");
}

/// The waker that awaits a handle is the user's code: it panics when the task ends, and ends or drops things when it is
/// cloned. The loop goes on.
#[test]
fn hostile_wakers_await_a_handle() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let mut task = spawner.spawn_task(async {}).unwrap();
    let waker = waker_fn(|| resume_unwind(Box::new("on purpose")));
    assert!(task.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    runtime.run().unwrap();
    assert_eq!(runtime.handle().stats().waker_panics, 1);
    assert!(runtime.run_until(task).unwrap().is_ok());
}

/// Panics with a number.
fn fail(number: u32) {
    resume_unwind(Box::new(number));
}

/// Panics are seen once: by the handle, or by the hook if the handle is dropped before the panic or without a look at it.
#[test]
fn panics_are_seen_once() {
    let _watchdog = watchdog(TIME);
    let hooked = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&hooked);
    let hook = move |panic: Box<dyn std::any::Any + Send>| log.borrow_mut().push(*panic.downcast::<u32>().unwrap());
    let mut runtime = LocalRuntime::from(Reactor::builder().on_task_panic(hook).build().unwrap());
    let spawner = runtime.spawner();
    let panicking = |number: u32| spawner.spawn_task(async move { fail(number) }).unwrap();
    // Awaited.
    let error = runtime.run_until(panicking(1)).unwrap().unwrap_err();
    assert!(error.is_panic() && !error.is_aborted());
    assert_eq!(error.try_into_panic().unwrap().downcast_ref(), Some(&1_u32));
    assert!(hooked.borrow().is_empty());
    // Dropped before, and dropped afterwards.
    panicking(2).detach();
    let unread = panicking(3);
    runtime.run().unwrap();
    assert_eq!(*hooked.borrow(), [2]);
    drop(unread);
    assert_eq!(*hooked.borrow(), [2, 3]);
    // With a name and no handle.
    spawner.task().name("fourth").spawn(async { resume_unwind(Box::new(4_u32)) }).unwrap();
    runtime.run().unwrap();
    assert_eq!(*hooked.borrow(), [2, 3, 4]);
    // A destructor that panics because of an abort, and one that panics behind a panic.
    let task = |number: u32, payload: Option<u32>| {
        let guard = OnDrop(move || resume_unwind(Box::new(number)));
        spawner.spawn_task(poll_fn(move |_| {
            let _ = &guard;
            payload.map_or(Poll::<()>::Pending, |payload| resume_unwind(Box::new(payload)))
        }))
    };
    let (aborted, panicked) = (task(5, None).unwrap(), task(7, Some(6)).unwrap());
    aborted.abort();
    let (aborted, panicked) = runtime.run_until(join(aborted, panicked)).unwrap();
    assert_eq!(aborted.unwrap_err().try_into_panic().unwrap().downcast_ref(), Some(&5_u32));
    assert_eq!(panicked.unwrap_err().try_into_panic().unwrap().downcast_ref(), Some(&6_u32));
    assert_eq!(*hooked.borrow(), [2, 3, 4, 7]);
    assert_eq!(runtime.handle().stats().task_panics, 7);
}

/// An output that no code takes may panic when it is dropped. The hook gets the panic, whichever ends first, the task or
/// its handle: the code that drops the handle did not make the output, and may be unwinding already.
#[test]
fn outputs_that_panic_when_they_are_dropped() {
    let _watchdog = watchdog(TIME);
    let hooked = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&hooked);
    let hook = move |panic: Box<dyn std::any::Any + Send>| log.borrow_mut().push(*panic.downcast::<u32>().unwrap());
    let mut runtime = LocalRuntime::from(Reactor::builder().on_task_panic(hook).build().unwrap());
    let spawner = runtime.spawner();
    let task = |number: u32| spawner.spawn_task(async move { OnDrop(move || fail(number)) }).unwrap();
    task(1).detach();
    let (dropped, unwound) = (task(2), task(3));
    runtime.run().unwrap();
    assert_eq!(*hooked.borrow(), [1]);
    drop(dropped);
    let unwinding = catch_unwind(AssertUnwindSafe(|| {
        let _unwound = unwound;
        fail(0);
    }));
    assert_eq!(unwinding.unwrap_err().downcast_ref(), Some(&0_u32));
    assert_eq!((&hooked.borrow()[..], runtime.handle().stats().task_panics), (&[1, 2, 3][..], 3));
}

/// A handle may be in its own future, and is dropped with it.
#[test]
fn a_handle_inside_of_its_own_task() {
    let _watchdog = watchdog(TIME);
    for aborts in [false, true] {
        for ends in [false, true] {
            let mut runtime = LocalRuntime::new().unwrap();
            let (sender, receiver) = oneshot::channel::<TaskHandle<OnDrop<Box<dyn FnMut()>>>>();
            let drops = Rc::new(Cell::new(0));
            let counter = Rc::clone(&drops);
            let output = OnDrop(Box::new(move || counter.set(counter.get() + 1)) as Box<dyn FnMut()>);
            let task = runtime.spawner().spawn_task(async move {
                let handle = receiver.await.unwrap();
                assert!(!handle.is_finished());
                if !ends {
                    handle.abort();
                    pending::<()>().await;
                }
                output
            });
            let task = task.unwrap();
            assert!(sender.send(if aborts { task.abort_on_drop() } else { task }).is_ok());
            runtime.run().unwrap();
            assert_eq!((drops.get(), runtime.spawner().live_tasks()), (1, 0));
        }
    }
}

/// A task that awaits its own handle is a deadlock, which is reported; it can be aborted.
#[test]
fn a_task_that_awaits_itself() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (sender, receiver) = oneshot::channel::<TaskHandle<()>>();
    let task = runtime.spawner().spawn_task(async move { receiver.await.unwrap().await.unwrap() }).unwrap();
    let abort = task.abort_handle();
    sender.send(task).unwrap();
    // While another thread may abort, there is no deadlock.
    let helper = later(move || drop(abort));
    assert_eq!(runtime.run_for(millis(60)).unwrap(), 1);
    helper.join().unwrap();
    assert_eq!(runtime.run().unwrap_err().kind(), io::ErrorKind::Deadlock);
}

/// The handle outlives the runtime: an output that was there stays, and a task that was running is reported as dropped.
#[test]
fn handles_outlive_the_runtime() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let (ended, running) = (spawner.spawn_task(async { 1 }).unwrap(), spawner.spawn_task(pending::<()>()).unwrap());
    let aborted = spawner.spawn_task(pending::<()>()).unwrap();
    runtime.run_for(Duration::ZERO).unwrap();
    let (counter, waker) = CountingWaker::new();
    let mut running = pin!(running);
    assert!(running.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    // The abort comes to a closed queue.
    let abort = aborted.abort_handle();
    drop(runtime);
    assert_eq!(counter.count(), 1);
    abort.abort();
    assert!(abort.is_finished());
    assert_eq!(futures::executor::block_on(ended).unwrap(), 1);
    for error in [running.as_mut().now_or_never().unwrap(), aborted.now_or_never().unwrap()] {
        let error = error.unwrap_err();
        assert!(error.is_aborted() && error.to_string().contains("with its pool"), "{error}");
    }
    assert_eq!(spawner.spawn_task(async {}).unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(spawner.spawn(async {}).unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(spawner.task().name("late").spawn(async {}).unwrap_err().kind(), io::ErrorKind::NotConnected);
}

/// An abort may come while a borrow is held that the destructor of the future takes, too: the destructor runs later.
#[test]
fn an_abort_runs_no_destructor_inside_of_the_call() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let names = Rc::new(RefCell::new(vec!["task"]));
    let list = Rc::clone(&names);
    let guard = OnDrop(move || list.borrow_mut().clear());
    let task = runtime.spawner().spawn_task(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    let task = task.unwrap();
    runtime.run_for(Duration::ZERO).unwrap();
    let borrowed = names.borrow_mut();
    task.abort();
    drop(task);
    drop(borrowed);
    runtime.run().unwrap();
    assert!(names.borrow().is_empty());
    assert_eq!(runtime.handle().stats().task_panics, 0);
}

/// Numbers count in the order of spawning, and names are shown by everything that a user prints.
#[test]
fn numbers_and_names() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    spawner.spawn(async {}).unwrap();
    let line = line!() + 1;
    let task = spawner.task().name("reader").spawn_task(pending::<()>()).unwrap();
    let unnamed = spawner.task().spawn_task(pending::<()>()).unwrap();
    spawner.task().spawn(async {}).unwrap();
    let owned = spawner.task().name(format!("worker {}", 3)).spawn_task(async {}).unwrap();
    assert_eq!((task.id(), unnamed.id(), owned.id()), (1, 2, 4));
    assert_eq!((task.name(), unnamed.name(), owned.name()), (Some("reader"), None, Some("worker 3")));
    let abort = task.abort_handle();
    assert_eq!((abort.id(), abort.name()), (1, Some("reader")));
    for text in [format!("{task:?}"), format!("{abort:?}")] {
        let parts = ["id: 1", "name: \"reader\"", "is_finished: false", &format!("{}:{line}:", file!())];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    assert!(!format!("{unnamed:?}").contains("name"));
    assert!(format!("{:?}", spawner.task().name("writer")).contains("writer"));
    abort.abort();
    let error: TaskError = runtime.run_until(task).unwrap().unwrap_err();
    assert_eq!((error.name(), error.spawned_at().line()), (Some("reader"), line));
    let text = io::Error::from(error).to_string();
    assert!(text.starts_with("task \"reader\", spawned at ") && text.ends_with(", was aborted"), "{text}");
}

/// The deadlock report has the names of the tasks. A task that waits for another stuck task is stuck, too.
#[test]
fn a_deadlock_names_its_tasks() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let stuck = spawner.task().name("stuck").spawn_task(pending::<()>()).unwrap();
    for _ in 0..2 {
        spawner.task().name("twin").spawn(pending()).unwrap();
    }
    spawner.spawn(async { stuck.await.unwrap() }).unwrap();
    let idle = spawner.idle();
    spawner.task().name("idle").spawn(idle).unwrap();
    let error = runtime.run().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Deadlock);
    let text = error.to_string();
    assert!(text.contains("\"stuck\"") && text.contains("\"twin\" (2 tasks)") && text.contains("\"idle\""), "{text}");
    assert_eq!(spawner.live_tasks(), 5);
}

/// There is no deadlock while an abort handle exists on another thread.
#[test]
fn an_abort_handle_may_end_a_deadlock() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let task = runtime.spawner().spawn_task(pending::<()>()).unwrap();
    let abort = task.abort_handle();
    let helper = later(move || abort.abort());
    runtime.run().unwrap();
    helper.join().unwrap();
    assert!(task.is_finished());
}

/// Asks for the current spawner and its kind of error.
fn current_error() -> io::Error {
    let error = Spawner::current().unwrap_err();
    assert_eq!(spawn_local(async {}).unwrap_err().to_string(), error.to_string());
    error
}

/// Outside of everything there is no current spawner. The error names what to do.
#[test]
fn no_spawner_is_current_outside() {
    let _watchdog = watchdog(TIME);
    let check = || {
        let error = current_error();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        for remedy in ["run_until", "block_on", "Spawner::enter", "Spawner::remote"] {
            assert!(error.to_string().contains(remedy), "{error}");
        }
    };
    check();
    let mut runtime = LocalRuntime::new().unwrap();
    check();
    // A reactor alone is not a spawner, on this thread and in the background.
    let guard = runtime.handle().enter();
    check();
    drop(guard);
    let background = Reactor::new().unwrap().into_background().unwrap();
    let guard = background.handle().enter();
    check();
    drop(guard);
    background.shutdown().unwrap();
    // Another thread has none, whatever this one does.
    runtime.run_until(async { thread::spawn(move || current_error().kind()).join().unwrap() }).unwrap();
    check();
    // A destructor of a thread-local that runs at the end of its thread.
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {
            drop(current_error());
        }
    }
    thread_local!(static LAST: Cell<Option<Last>> = const { Cell::new(None) });
    thread::spawn(|| {
        LAST.set(Some(Last));
        block_on(async { spawn_local(async {}).unwrap() }).unwrap();
    })
    .join()
    .unwrap();
}

/// In a task, its destructor, a `run` method and `block_on` the spawner of the pool is current.
#[test]
fn a_spawner_is_current_inside() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawned = Rc::new(Cell::new(0));
    let count = |spawned: &Rc<Cell<i32>>| {
        let spawned = Rc::clone(spawned);
        spawn_local(async move { spawned.set(spawned.get() + 1) }).unwrap();
    };
    runtime.run_until(async { count(&spawned) }).unwrap();
    runtime.run().unwrap();
    assert_eq!(spawned.get(), 1);
    let clone = Rc::clone(&spawned);
    let task = async move {
        count(&clone);
        yield_now().await;
        count(&clone);
        let _in_the_destructor = OnDrop(|| count(&clone));
    };
    runtime.spawner().spawn(task).unwrap();
    runtime.run().unwrap();
    assert_eq!(spawned.get(), 4);
    block_on(async {
        let clone = Rc::clone(&spawned);
        Spawner::current().unwrap().spawn_task(async move { clone.set(0) }).unwrap().await.unwrap();
    })
    .unwrap();
    assert_eq!(spawned.get(), 0);
    // While tasks are dropped with their pool, spawning is an error, not a panic.
    let refused = Rc::new(Cell::new(false));
    let clone = Rc::clone(&refused);
    let guard = OnDrop(move || clone.set(spawn_local(async {}).is_err() && Spawner::current().is_ok()));
    runtime.spawner().spawn(async move { drop(guard) }).unwrap();
    drop(runtime);
    assert!(refused.get());
}

/// A pool and a reactor of their own: a spawner is current in the main future although none was made, and its tasks are
/// tasks of the pool. If the pool has a spawner, it is the current one.
#[test]
fn a_pool_without_a_spawner() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor) = (LocalPool::new(), Reactor::new().unwrap());
    let done = Rc::new(Cell::new(0));
    let task = |done: &Rc<Cell<i32>>, handle: &Handle| {
        let (done, timer) = (Rc::clone(done), Timer::after(millis(1), handle));
        async move {
            timer.await.unwrap();
            done.set(done.get() + 1);
        }
    };
    let handle = reactor.handle();
    reactor.run_until(&mut pool, async { spawn_local(task(&done, &handle)).unwrap() }).unwrap();
    assert_eq!((done.get(), handle.stats().live_tasks), (0, 1));
    reactor.run(&mut pool).unwrap();
    assert_eq!(done.get(), 1);
    reactor
        .run_until(&mut pool, async {
            for _ in 0..3 {
                Spawner::current().unwrap().spawn_task(task(&done, &handle)).unwrap().await.unwrap();
                yield_now().await;
            }
        })
        .unwrap();
    assert_eq!(done.get(), 4);
    // A future of the pool's own spawner, in `run`, which waits for the task.
    let (clone, of_reactor) = (Rc::clone(&done), handle.clone());
    LocalSpawnExt::spawn_local(&pool.spawner(), async move { spawn_local(task(&clone, &of_reactor)).unwrap() })
        .unwrap();
    reactor.run(&mut pool).unwrap();
    assert_eq!(done.get(), 5);
    // With a spawner: the same set of tasks, whose idle future waits for the new task.
    let spawner = reactor.spawner(&pool);
    reactor
        .run_until(&mut pool, async {
            yield_now().await;
            spawn_local(task(&done, &handle)).unwrap();
            spawner.idle().await;
            assert_eq!(done.get(), 6);
        })
        .unwrap();
}

/// Guards nest with each other and with `block_on`. Each restores what was there before.
#[test]
fn guards_nest() {
    let _watchdog = watchdog(TIME);
    let (mut one, mut two) = (LocalRuntime::new().unwrap(), LocalRuntime::new().unwrap());
    let counts = |one: &LocalRuntime, two: &LocalRuntime| (one.spawner().live_tasks(), two.spawner().live_tasks());
    let outer = one.spawner().enter();
    spawn_local(async {}).unwrap();
    assert_eq!(counts(&one, &two), (1, 0));
    {
        let _inner = two.spawner().enter();
        spawn_local(async {}).unwrap();
        // A runtime inside of a guard, and a guard of the same spawner.
        block_on(async {
            spawn_local(async {}).unwrap();
            assert_eq!(Spawner::current().unwrap().live_tasks(), 1);
        })
        .unwrap();
        let _again = two.spawner().enter();
        spawn_local(async {}).unwrap();
    }
    assert_eq!(counts(&one, &two), (1, 2));
    spawn_local(async {}).unwrap();
    assert_eq!(counts(&one, &two), (2, 2));
    // Nested runs are errors, and leave the guard as it is.
    one.run_until(async {
        assert!(block_on(async {}).is_err());
        let error: io::Error = try_block_on(async { io::Result::Ok(()) }).unwrap_err();
        assert!(error.to_string().contains("inside a task"), "{error}");
        spawn_local(async {}).unwrap();
    })
    .unwrap();
    assert!(Handle::current().is_ok());
    drop(outer);
    assert!(Handle::current().is_err());
    current_error();
    one.run().unwrap();
    two.run().unwrap();
}

/// A guard that a task or a main future keeps across an await changes nothing for the polls that follow.
#[test]
fn a_guard_across_an_await_affects_no_other_task() {
    let _watchdog = watchdog(TIME);
    let (mut one, two) = (LocalRuntime::new().unwrap(), LocalRuntime::new().unwrap());
    let (mine, other) = (one.spawner(), two.spawner());
    let count = move || (mine.live_tasks(), other.live_tasks());
    let (check, other) = (count.clone(), two.spawner());
    let task = move |keeps: bool| {
        let (count, other) = (check.clone(), other.clone());
        async move {
            for _ in 0..3 {
                let guard = keeps.then(|| (other.enter(), other.enter()));
                let before = count();
                spawn_local(pending()).unwrap();
                let expected = if keeps { (before.0, before.1 + 1) } else { (before.0 + 1, before.1) };
                assert_eq!(count(), expected);
                yield_now().await;
                let before = count();
                spawn_local(pending()).unwrap();
                assert_eq!(count(), (before.0 + 1, before.1), "the guard of an earlier poll");
                drop(guard);
                spawn_local(pending()).unwrap();
                assert_eq!(count(), (before.0 + 2, before.1), "after the guard");
            }
        }
    };
    let spawner = one.spawner();
    let tasks: Vec<_> = (0..6).map(|n| spawner.spawn_task(task(n % 2 == 0)).unwrap()).collect();
    one.run_until(async {
        task(true).await;
        for task in tasks {
            task.await.unwrap();
        }
        let guard = two.spawner().enter();
        yield_now().await;
        let before = count();
        spawn_local(pending()).unwrap();
        assert_eq!(count(), (before.0 + 1, before.1), "the main future");
        std::mem::forget(guard);
    })
    .unwrap();
    current_error();
}

/// `?` is enough, with any error that an `io::Error` becomes.
#[test]
fn results_are_flattened() {
    #[derive(Debug)]
    enum Failure {
        Io(io::Error),
        Own,
    }
    impl From<io::Error> for Failure {
        fn from(error: io::Error) -> Self {
            Self::Io(error)
        }
    }
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    assert_eq!(runtime.try_run_until(async { io::Result::Ok(1) }).unwrap(), 1);
    assert!(matches!(runtime.try_run_until(async { Err::<(), _>(Failure::Own) }), Err(Failure::Own)));
    let (mut pool, mut reactor, _) = pool_and_reactor();
    assert!(matches!(reactor.try_run_until(&mut pool, async { Err::<(), _>(Failure::Own) }), Err(Failure::Own)));
    let nested: Result<(), Failure> = runtime.try_run_until(async {
        let mut inner = LocalRuntime::new()?;
        inner.try_run_until(async { Ok(()) })
    });
    assert!(matches!(nested, Err(Failure::Io(error)) if error.to_string().contains("inside a task")));
    assert_eq!(try_block_on(async { Ok::<_, Failure>(2) }).unwrap(), 2);
}

/// `run_for` returns at once when no task is left, and otherwise after its time, with the number of tasks. Nothing is lost.
#[test]
fn running_for_a_time() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let begin = Instant::now();
    assert_eq!(runtime.run_for(HOUR).unwrap(), 0);
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    let polls = Rc::new(Cell::new(0));
    for number in 0..100 {
        let (polls, timer) = (Rc::clone(&polls), Timer::after(millis(1), &handle));
        let task = async move {
            polls.set(polls.get() + 1);
            if number < 40 { pending().await } else { timer.await.unwrap() }
        };
        spawner.spawn(task).unwrap();
    }
    // Zero: all tasks are polled once, and nothing sleeps.
    assert!(runtime.run_for(Duration::ZERO).unwrap() >= 40);
    assert_eq!(polls.get(), 100);
    assert_eq!(runtime.run_for(millis(100)).unwrap(), 40);
    let remote = spawner.remote();
    spawner.spawn(async move { remote.spawn_with(pending).unwrap() }).unwrap();
    assert_eq!(runtime.run_for(millis(5)).unwrap(), 41);
    assert!(begin.elapsed() < Duration::from_secs(40));
    // Without end, for tasks that end.
    let mut runtime = LocalRuntime::new().unwrap();
    let timer = Timer::after(millis(5), &runtime.handle());
    runtime.spawner().spawn(async { timer.await.unwrap() }).unwrap();
    assert_eq!(runtime.run_for(Duration::MAX).unwrap(), 0);
    // In a task: an error.
    runtime.run_until(async { assert!(LocalRuntime::new().unwrap().run_for(millis(1)).is_err()) }).unwrap();
}

/// `idle` is ready when no task is left: at once, after tasks of this and of another thread, for several that wait, and
/// again after new tasks.
#[test]
fn waiting_for_the_last_task() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    runtime.run_until(spawner.idle()).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    for round in 0..3 {
        for number in 0..10 {
            let (done, timer) = (Arc::clone(&done), Timer::after(millis(number), &handle));
            let task = async move {
                timer.await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            };
            if number % 2 == 0 { spawner.spawn(task) } else { spawner.spawn_task(task).map(TaskHandle::detach) }
                .unwrap();
        }
        let (remote, counter) = (spawner.remote(), Arc::clone(&done));
        let helper = later(move || {
            remote.spawn_with(|| resume_unwind(Box::new("no future")) as futures::future::Ready<()>).unwrap();
            remote.spawn_with(move || async move { _ = counter.fetch_add(1, Ordering::SeqCst) }).unwrap();
        });
        helper.join().unwrap();
        runtime
            .run_until(async {
                // One is given up, while the others wait.
                let (mut idle, given_up) = (spawner.idle(), spawner.idle());
                let mut given_up = Box::pin(given_up);
                assert!((&mut given_up).now_or_never().is_none() && (&mut idle).now_or_never().is_none());
                drop(given_up);
                join(idle, spawner.idle()).await;
            })
            .unwrap();
        assert_eq!(done.load(Ordering::SeqCst), 11 * (round + 1));
    }
    // The last arrival makes no task.
    spawner.remote().spawn_with(|| resume_unwind(Box::new("no future")) as futures::future::Ready<()>).unwrap();
    runtime.run_until(spawner.idle()).unwrap();
    // When the pool is dropped, no task is left.
    spawner.spawn(pending()).unwrap();
    let (counter, waker) = CountingWaker::new();
    let mut idle = spawner.idle();
    assert!(idle.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    let mut given_up = spawner.idle();
    assert!(given_up.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    drop(given_up);
    drop(runtime);
    assert_eq!(counter.count(), 1);
    assert!(idle.now_or_never().is_some());
    drop(waker);
    assert_eq!(Arc::strong_count(&counter), 1);
}

/// A task that yields goes behind all tasks that are ready.
#[test]
fn yielding_lets_others_go_first() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let log = Rc::new(RefCell::new(String::new()));
    for name in ['a', 'b', 'c'] {
        let log = Rc::clone(&log);
        let task = async move {
            for _ in 0..3 {
                log.borrow_mut().push(name);
                yield_now().await;
            }
        };
        runtime.spawner().spawn(task).unwrap();
    }
    runtime.run().unwrap();
    for round in log.borrow().as_bytes().chunks(3) {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 3, "{:?}", log.borrow());
    }
}

/// All ways to spawn go together in one pool, and a spawner's own methods come before the traits of futures-rs.
#[test]
fn every_way_to_spawn() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let (sender, receiver) = mpsc::unbounded();
    let send = |number: u32| {
        let sender = sender.clone();
        async move { sender.unbounded_send(number).unwrap() }
    };
    spawner.spawn(send(0)).unwrap();
    spawner.spawn_local(send(1)).unwrap();
    SpawnExt::spawn(&spawner, send(2)).unwrap();
    LocalSpawnExt::spawn_local(&spawner, send(3)).unwrap();
    spawner.spawn_local_with_handle(send(4)).unwrap().forget();
    spawner.spawn_task(send(5)).unwrap().detach();
    spawner.task().name("six").spawn(send(6)).unwrap();
    let guard = spawner.enter();
    spawn_local(send(7)).unwrap();
    drop((guard, sender));
    assert_eq!(spawner.live_tasks(), 8);
    let numbers: BTreeSet<_> = runtime.run_until(receiver.take(8).collect()).unwrap();
    assert_eq!(numbers, (0..8).collect());
    runtime.run().unwrap();
}

/// Tasks that abort each other, and tasks that others have aborted, in all orders of polls and destructors.
#[test]
fn tasks_that_abort_each_other() {
    let _watchdog = watchdog(TIME);
    const TASKS: usize = 50;
    for step in 1..TASKS {
        let mut runtime = LocalRuntime::new().unwrap();
        let spawner = runtime.spawner();
        let handles: Rc<RefCell<Vec<TaskHandle<()>>>> = Rc::default();
        let drops = Rc::new(Cell::new(0));
        for number in 0..TASKS {
            let (in_poll, in_drop, drops) = (Rc::clone(&handles), Rc::clone(&handles), Rc::clone(&drops));
            let guard = OnDrop(move || {
                drops.set(drops.get() + 1);
                in_drop.borrow()[(number + 1) % TASKS].abort();
            });
            let task = spawner.spawn_task(async move {
                let _guard = guard;
                yield_now().await;
                in_poll.borrow()[(number + step) % TASKS].abort();
                yield_now().await;
            });
            handles.borrow_mut().push(task.unwrap());
        }
        runtime.run().unwrap();
        assert_eq!((drops.get(), spawner.live_tasks()), (TASKS, 0));
        assert!(handles.borrow().iter().all(TaskHandle::is_finished));
        assert_eq!(runtime.handle().stats().task_panics, 0);
        handles.take();
    }
}

/// Tasks that end while their number is in the queue let the driver end all the same: `LocalPool::run` returns.
#[test]
fn the_driver_ends_with_the_last_task() {
    let _watchdog = watchdog(TIME);
    let (mut pool, reactor, spawner) = pool_and_reactor();
    for _ in 0..3 {
        let task = spawner.spawn_task(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        }));
        let aborted = spawner.spawn_task(pending::<()>()).unwrap().abort_on_drop();
        pool.try_run_one();
        drop(aborted);
        pool.run();
        assert!(task.unwrap().is_finished());
        assert_eq!((spawner.live_tasks(), reactor.handle().stats().ready_tasks), (0, 0));
    }
}

/// A handle that has been ready has let go of its task. The next task is in the same place of the table, and nothing that is
/// asked of the old handle concerns it.
#[test]
fn a_handle_that_has_been_ready_touches_no_other_task() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let outcome: io::Result<()> = runtime.try_run_until(async {
        let mut old = spawner.spawn_task(async { 1 })?.abort_on_drop();
        let before = old.abort_handle();
        assert_eq!((&mut old).await?, 1);
        let (sender, receiver) = oneshot::channel();
        let new = spawner.spawn_task(async { receiver.await.unwrap() })?;
        yield_now().await;
        assert!(old.is_terminated() && old.is_finished() && !new.is_finished());
        for abort in [before, old.abort_handle()] {
            abort.abort();
            assert!(abort.is_finished());
            assert_eq!(abort.id(), old.id());
        }
        old.abort();
        let again = (&mut old).await.unwrap_err();
        assert!(again.to_string().contains("awaited before") && !again.is_aborted());
        drop(old);
        sender.send(2).unwrap();
        assert_eq!(new.await?, 2);
        Ok(())
    });
    outcome.unwrap();
}

/// `detach` leaves a task running, also if its handle was to abort it.
#[test]
fn detaching_takes_back_the_abort() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let done = Rc::new(Cell::new(false));
    let flag = Rc::clone(&done);
    runtime.spawner().spawn_task(async move { flag.set(true) }).unwrap().abort_on_drop().detach();
    runtime.run().unwrap();
    assert!(done.get());
}

/// A thread aborts and wakes tasks while they end. Whatever the order, the queue is empty afterwards, so the reactor sleeps.
#[test]
fn aborts_beside_the_end_leave_nothing_in_the_queue() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (spawner, handle) = (runtime.spawner(), runtime.handle());
    for round in 0..2000 {
        let started = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&started);
        let task = spawner.spawn_task(poll_fn(move |cx| {
            if !flag.load(Ordering::Acquire) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            (0..round % 50).for_each(|_| std::hint::spin_loop());
            Poll::Ready(())
        }));
        let task = task.unwrap();
        let abort = task.abort_handle();
        let helper = thread::spawn(move || {
            started.store(true, Ordering::Release);
            abort.abort();
        });
        drop(runtime.run_until(task).unwrap());
        helper.join().unwrap();
        runtime.run_for(Duration::ZERO).unwrap();
        let stats = handle.stats();
        assert_eq!((stats.live_tasks, stats.ready_tasks), (0, 0));
    }
}

/// What a thread did before it aborted is seen by the destructor, and what the destructor did is seen by a thread that
/// sees the end.
#[test]
fn an_abort_orders_what_the_threads_do() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    for _ in 0..200 {
        let (before, after) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (seen, done) = (Arc::clone(&before), Arc::clone(&after));
        let guard = OnDrop(move || {
            assert!(seen.load(Ordering::Relaxed));
            done.store(true, Ordering::Relaxed);
        });
        let task = runtime.spawner().spawn_task(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let task = task.unwrap();
        let abort = task.abort_handle();
        let helper = thread::spawn(move || {
            before.store(true, Ordering::Relaxed);
            abort.abort();
            while !abort.is_finished() {
                thread::yield_now();
            }
            assert!(after.load(Ordering::Relaxed));
        });
        runtime.run().unwrap();
        helper.join().unwrap();
        assert!(task.is_finished());
    }
    assert_eq!(runtime.handle().stats().task_panics, 0);
}
