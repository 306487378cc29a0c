//! Groups of tasks. The first test is a table: a child in each of its states meets each operation on it and on its group. The
//! second has what a child may do to its own group, from its poll and from its destructor. The others look at one promise each; results
//! are in `groups_results`, limits and costs in `groups_bounds`.

use async_epoll::{AbortHandle, GroupSpawner, LocalRuntime, Reactor, Spawner, TaskGroup, TaskHandle, Timer, yield_now};
use futures::channel::oneshot;
use futures::executor::LocalPool;
use futures::future::{FutureExt, pending, poll_fn};
use futures::stream::StreamExt;
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;
use tests::common::pool_and_reactor;
use tests::{CountingWaker, HOUR, OnDrop, TIME, WakerAct, WakerCall, hostile_waker, later, waker_fn, watchdog};

/// Where a child is when the operation comes.
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

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    AbortHere,
    AbortFromAThread,
    AbortAll,
    Cancel,
    DropTheGroup,
    DropThePool,
    DropTheReactor,
}

/// What the operations act on.
struct Stage {
    pool: RefCell<Option<LocalPool>>,
    reactor: RefCell<Option<Reactor>>,
    group: RefCell<Option<TaskGroup<u32>>>,
    child: RefCell<Option<AbortHandle>>,
    polls: Cell<usize>,
    drops: RefCell<Vec<ThreadId>>,
    waker: RefCell<Option<Waker>>,
}

impl Stage {
    /// Does an operation.
    fn act(&self, operation: Operation) {
        match operation {
            Operation::AbortHere => self.child.borrow().as_ref().unwrap().abort(),
            Operation::AbortFromAThread => {
                let abort = self.child.borrow().clone().unwrap();
                thread::spawn(move || abort.abort()).join().unwrap();
            }
            Operation::AbortAll => self.group.borrow().as_ref().unwrap().abort_all(),
            Operation::Cancel => self.group.borrow().as_ref().unwrap().cancel(),
            Operation::DropTheGroup => drop(self.group.take()),
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

    /// Returns what the group says, without waiting.
    fn result(&self) -> &'static str {
        let Some(group) = &mut *self.group.borrow_mut() else { return "no group" };
        match group.poll_next_unpin(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => "running",
            Poll::Ready(None) => "nothing",
            Poll::Ready(Some(Ok(7))) => "7",
            Poll::Ready(Some(Ok(_))) => "another output",
            Poll::Ready(Some(Err(error))) => match error.to_string() {
                text if text.ends_with("was aborted") => "aborted",
                text if text.ends_with("was dropped with its pool") => "pool dropped",
                text if text.ends_with("has panicked: on purpose") => "panicked",
                _ => "another error",
            },
        }
    }
}

/// Puts a child into a state, does an operation, polls what is ready once, and checks the outcome: what the group says, how
/// often the future was polled, and how often the hook for panics was called. `at_once` says that the future is dropped when
/// the operation returns. The future is dropped once, on the pool's thread, before the loop would sleep.
fn check(state: State, operation: Operation, at_once: bool, result: &str, polls: usize, hooked: usize) {
    let cell = format!("{state:?}, {operation:?}");
    let hooks = Rc::new(Cell::new(0));
    let counter = Rc::clone(&hooks);
    let reactor = Reactor::builder().on_task_panic(move |_| counter.set(counter.get() + 1)).build().unwrap();
    let pool = LocalPool::new();
    let spawner = reactor.spawner(&pool);
    let stage = Rc::new(Stage {
        pool: RefCell::new(Some(pool)),
        reactor: RefCell::new(Some(reactor)),
        group: RefCell::new(Some(TaskGroup::with_spawner(&spawner))),
        child: RefCell::default(),
        polls: Cell::new(0),
        drops: RefCell::default(),
        waker: RefCell::default(),
    });
    let of_drop = Rc::clone(&stage);
    let dropped = OnDrop(move || of_drop.drops.borrow_mut().push(thread::current().id()));
    let inside = Rc::clone(&stage);
    let future = poll_fn(move |cx| {
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
        assert!(inside.drops.borrow().is_empty(), "dropped inside of its own poll");
        Poll::Pending
    });
    let child = stage.group.borrow().as_ref().unwrap().try_spawn(future).unwrap();
    stage.child.replace(Some(child));
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
        assert_eq!(stage.drops.borrow().len(), usize::from(at_once), "{cell}");
        assert_eq!(stage.child.borrow().as_ref().unwrap().is_finished(), at_once, "{cell}");
        stage.run();
    }
    let ended = stage.drops.borrow().len();
    assert_eq!((stage.result(), stage.polls.get(), hooks.get()), (result, polls, hooked), "{cell}");
    let is_running = result == "running";
    assert_eq!((ended, spawner.live_tasks()), (usize::from(!is_running), usize::from(is_running)), "{cell}");
    // The result is read once.
    if !is_running {
        assert!(["nothing", "no group"].contains(&stage.result()), "{cell}");
    }
    // Late wakes, and the end of everything.
    stage.waker.borrow().iter().for_each(Waker::wake_by_ref);
    stage.run();
    stage.child.borrow().iter().for_each(AbortHandle::abort);
    stage.run();
    drop((stage.pool.take(), stage.group.take(), stage.reactor.take()));
    assert_eq!(*stage.drops.borrow(), [thread::current().id()], "{cell}");
    assert_eq!(spawner.live_tasks(), 0, "{cell}");
    assert!(stage.child.borrow().as_ref().unwrap().is_finished(), "{cell}");
    assert_eq!(hooks.get(), hooked, "{cell}");
    drop(stage.waker.take());
}

/// Each state meets each operation. A pool cannot be dropped while one of its tasks is polled, since the poll borrows it.
#[test]
fn every_state_meets_every_operation() {
    use Operation::*;
    let _watchdog = watchdog(TIME);
    // The state, the operation, whether the future is dropped inside of it, what the group says, the polls, and the calls of
    // the hook for panics.
    let table = [
        (State::NeverPolled, AbortHere, false, "aborted", 0, 0),
        (State::NeverPolled, AbortFromAThread, false, "aborted", 0, 0),
        (State::NeverPolled, AbortAll, true, "aborted", 0, 0),
        (State::NeverPolled, Cancel, true, "aborted", 0, 0),
        (State::NeverPolled, DropTheGroup, true, "no group", 0, 0),
        (State::NeverPolled, DropThePool, true, "pool dropped", 0, 0),
        (State::NeverPolled, DropTheReactor, false, "running", 1, 0),
        (State::Pending, AbortHere, false, "aborted", 1, 0),
        (State::Pending, AbortFromAThread, false, "aborted", 1, 0),
        (State::Pending, AbortAll, true, "aborted", 1, 0),
        (State::Pending, Cancel, true, "aborted", 1, 0),
        (State::Pending, DropTheGroup, true, "no group", 1, 0),
        (State::Pending, DropThePool, true, "pool dropped", 1, 0),
        (State::Pending, DropTheReactor, false, "running", 1, 0),
        (State::Ready, AbortHere, false, "aborted", 1, 0),
        (State::Ready, AbortFromAThread, false, "aborted", 1, 0),
        (State::Ready, AbortAll, true, "aborted", 1, 0),
        (State::Ready, Cancel, true, "aborted", 1, 0),
        (State::Ready, DropTheGroup, true, "no group", 1, 0),
        (State::Ready, DropThePool, true, "pool dropped", 1, 0),
        (State::Ready, DropTheReactor, false, "running", 2, 0),
        (State::BeingPolled, AbortHere, false, "aborted", 1, 0),
        (State::BeingPolled, AbortFromAThread, false, "aborted", 1, 0),
        (State::BeingPolled, AbortAll, false, "aborted", 1, 0),
        (State::BeingPolled, Cancel, false, "aborted", 1, 0),
        (State::BeingPolled, DropTheGroup, false, "no group", 1, 0),
        (State::BeingPolled, DropTheReactor, false, "running", 1, 0),
        (State::BeingPolledForTheLastTime, AbortHere, false, "7", 1, 0),
        (State::BeingPolledForTheLastTime, AbortFromAThread, false, "7", 1, 0),
        (State::BeingPolledForTheLastTime, AbortAll, false, "7", 1, 0),
        (State::BeingPolledForTheLastTime, Cancel, false, "7", 1, 0),
        (State::BeingPolledForTheLastTime, DropTheGroup, false, "no group", 1, 0),
        (State::BeingPolledForTheLastTime, DropTheReactor, false, "7", 1, 0),
        (State::Ended, AbortHere, true, "7", 1, 0),
        (State::Ended, AbortFromAThread, true, "7", 1, 0),
        (State::Ended, AbortAll, true, "7", 1, 0),
        (State::Ended, Cancel, true, "7", 1, 0),
        (State::Ended, DropTheGroup, true, "no group", 1, 0),
        (State::Ended, DropThePool, true, "7", 1, 0),
        (State::Ended, DropTheReactor, true, "7", 1, 0),
        (State::Panicking, AbortHere, false, "panicked", 1, 0),
        (State::Panicking, AbortFromAThread, false, "panicked", 1, 0),
        (State::Panicking, AbortAll, false, "panicked", 1, 0),
        (State::Panicking, Cancel, false, "panicked", 1, 0),
        (State::Panicking, DropTheGroup, false, "no group", 1, 1),
        (State::Panicking, DropTheReactor, false, "panicked", 1, 0),
    ];
    for (state, operation, at_once, result, polls, hooked) in table {
        check(state, operation, at_once, result, polls, hooked);
    }
}

/// A group that its own children can reach.
type Shared<T> = Rc<RefCell<Option<TaskGroup<T>>>>;

/// Drops a shared group with no borrow held.
fn drop_shared<T>(group: &Shared<T>) {
    let taken = group.borrow_mut().take();
    drop(taken);
}

/// What a child's code does to its own group.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    AbortItself,
    AbortSibling,
    AbortAll,
    Cancel,
    DropTheGroup,
    Poll,
    Spawn,
    CancelAndSpawn,
    AbortAllAndSpawn,
}

impl Act {
    fn run(self, group: &Shared<u32>, spawner: &GroupSpawner<u32>, aborts: &RefCell<Vec<AbortHandle>>) {
        match self {
            Self::AbortItself => aborts.borrow()[0].abort(),
            Self::AbortSibling => aborts.borrow()[1].abort(),
            Self::AbortAll => spawner.abort_all(),
            Self::Cancel => spawner.cancel(),
            Self::DropTheGroup => drop_shared(group),
            Self::Poll => {
                if let Some(group) = &mut *group.borrow_mut() {
                    let _ = group.poll_next_unpin(&mut Context::from_waker(Waker::noop()));
                }
            }
            Self::Spawn | Self::AbortAllAndSpawn => {
                if self == Self::AbortAllAndSpawn {
                    spawner.abort_all();
                }
                let is_closed = spawner.is_closed();
                let spawned = spawner.try_spawn(pending());
                assert_eq!(spawned.is_err(), is_closed);
            }
            Self::CancelAndSpawn => {
                spawner.cancel();
                let error = spawner.try_spawn(pending()).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            }
        }
    }
}

const ACTS: [Act; 9] = [
    Act::AbortItself,
    Act::AbortSibling,
    Act::AbortAll,
    Act::Cancel,
    Act::DropTheGroup,
    Act::Poll,
    Act::Spawn,
    Act::CancelAndSpawn,
    Act::AbortAllAndSpawn,
];

/// A child acts on its own group from inside of its poll; then the child waits. Its future is not dropped inside of the poll,
/// and all futures are dropped once.
#[test]
fn a_child_acts_on_its_group_in_its_poll() {
    let _watchdog = watchdog(TIME);
    for act in ACTS {
        let mut runtime = LocalRuntime::new().unwrap();
        let group: Shared<u32> = Rc::new(RefCell::new(Some(TaskGroup::with_spawner(&runtime.spawner()))));
        let spawner = group.borrow().as_ref().unwrap().spawner();
        let (aborts, drops) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new([0; 2])));
        for number in 0..2 {
            let (group, of_child, of_drop) = (Rc::clone(&group), Rc::clone(&aborts), Rc::clone(&drops));
            let spawner_of_child = spawner.clone();
            let counted = Rc::clone(&drops);
            let guard = OnDrop(move || of_drop.borrow_mut()[number] += 1);
            let child = spawner.try_spawn(async move {
                let _guard = guard;
                if number == 0 {
                    // Once the sibling waits.
                    yield_now().await;
                    act.run(&group, &spawner_of_child, &of_child);
                    assert_eq!(counted.borrow()[0], 0, "{act:?}: dropped inside of its poll");
                    let siblings_end = !matches!(act, Act::AbortItself | Act::AbortSibling | Act::Poll | Act::Spawn);
                    assert_eq!(counted.borrow()[1], usize::from(siblings_end), "{act:?}");
                }
                pending().await
            });
            aborts.borrow_mut().push(child.unwrap());
        }
        runtime.run_for(Duration::ZERO).unwrap();
        let (first, second, left) = match act {
            Act::AbortItself => (1, 0, 1),
            Act::AbortSibling => (0, 1, 1),
            Act::Poll => (0, 0, 2),
            Act::Spawn => (0, 0, 3),
            Act::AbortAllAndSpawn => (1, 1, 1),
            _ => (1, 1, 0),
        };
        assert_eq!((*drops.borrow(), spawner.running()), ([first, second], left), "{act:?}");
        drop_shared(&group);
        assert_eq!((*drops.borrow(), runtime.spawner().live_tasks()), ([1, 1], 0), "{act:?}");
        runtime.run().unwrap();
        assert_eq!(runtime.handle().stats().task_panics, 0);
    }
}

/// A child acts on its group from inside of its destructor, while the group is aborted, cancelled, dropped, and dropped with its
/// pool. All children are dropped once, before the operation returns; a sibling that is spawned meanwhile lives on if the group
/// is open.
#[test]
fn a_child_acts_on_its_group_in_its_destructor() {
    let _watchdog = watchdog(TIME);
    for act in ACTS {
        for operation in [Operation::AbortAll, Operation::Cancel, Operation::DropTheGroup, Operation::DropThePool] {
            // The child that acts is the first, or the last.
            for actor in [0, 3] {
                let cell = format!("{act:?} in {operation:?} by {actor}");
                let (mut pool, reactor, tasks) = pool_and_reactor();
                let group: Shared<u32> = Rc::new(RefCell::new(Some(TaskGroup::with_spawner(&tasks))));
                let spawner = group.borrow().as_ref().unwrap().spawner();
                let (aborts, drops) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new([0; 4])));
                for number in 0..4 {
                    let (group, aborts_of_child, drops) = (Rc::clone(&group), Rc::clone(&aborts), Rc::clone(&drops));
                    let spawner_of_child = spawner.clone();
                    let guard = OnDrop(move || {
                        drops.borrow_mut()[number] += 1;
                        if number == actor {
                            act.run(&group, &spawner_of_child, &aborts_of_child);
                            let ends = matches!(act, Act::AbortAll | Act::Cancel | Act::AbortAllAndSpawn);
                            // A group that is being dropped is not there to be dropped once more.
                            if ends || act == Act::DropTheGroup && operation != Operation::DropTheGroup {
                                assert_eq!(*drops.borrow(), [1; 4], "siblings are dropped at once");
                            }
                        }
                    });
                    let child = spawner.try_spawn(async move {
                        let _guard = guard;
                        pending().await
                    });
                    aborts.borrow_mut().push(child.unwrap());
                }
                pool.run_until_stalled();
                match operation {
                    Operation::AbortAll => spawner.abort_all(),
                    Operation::Cancel => spawner.cancel(),
                    Operation::DropTheGroup => drop_shared(&group),
                    _ => drop(std::mem::take(&mut pool)),
                }
                assert_eq!(*drops.borrow(), [1; 4], "{cell}");
                let spawns = matches!(act, Act::Spawn | Act::AbortAllAndSpawn);
                let lives_on = spawns && operation == Operation::AbortAll;
                assert_eq!(tasks.live_tasks(), usize::from(lives_on), "{cell}");
                pool.run_until_stalled();
                drop_shared(&group);
                assert_eq!((*drops.borrow(), tasks.live_tasks()), ([1; 4], 0), "{cell}");
                assert_eq!(reactor.handle().stats().task_panics, 0, "{cell}");
            }
        }
    }
}

/// After the last child of a pool was dropped with its group, the pool's own `run` returns: the driver ends, too.
#[test]
fn the_driver_ends_with_the_last_child() {
    let _watchdog = watchdog(TIME);
    let (mut pool, _reactor, spawner) = pool_and_reactor();
    let group = TaskGroup::with_spawner(&spawner);
    for _ in 0..3 {
        group.try_spawn(pending::<()>()).unwrap();
    }
    pool.run_until_stalled();
    drop(group);
    pool.run();
    assert_eq!(spawner.live_tasks(), 0);
}

/// A group is dropped while its thread unwinds, and a destructor panics then: children are dropped once, the process goes on,
/// and the first panic is what is caught.
#[test]
fn a_group_is_dropped_while_the_thread_unwinds() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let drops = Rc::new(Cell::new(0));
    let group = TaskGroup::with_spawner(&runtime.spawner());
    for number in 0..5 {
        let drops = Rc::clone(&drops);
        let guard = OnDrop(move || {
            assert!(thread::panicking());
            drops.set(drops.get() + 1);
            if number % 2 == 1 {
                resume_unwind(Box::new("second"));
            }
        });
        group
            .try_spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            })
            .unwrap();
    }
    group.on_close(|| resume_unwind(Box::new("of the hook")));
    runtime.run_for(Duration::ZERO).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _group = group;
        resume_unwind(Box::new("first"));
    }));
    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "first");
    assert_eq!((drops.get(), runtime.spawner().live_tasks()), (5, 0));
    assert_eq!(runtime.handle().stats().task_panics, 3);
    runtime.run().unwrap();
}

/// A child that awaits its own group waits for itself: a deadlock, which is reported; the group can still be ended.
#[test]
fn a_child_that_awaits_its_group() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let group: Shared<u32> = Rc::new(RefCell::new(Some(TaskGroup::with_spawner(&runtime.spawner()))));
    let (inside, read) = (Rc::clone(&group), Rc::new(Cell::new(0)));
    let results = Rc::clone(&read);
    let child = async move {
        loop {
            let next = poll_fn(|cx| inside.borrow_mut().as_mut().unwrap().poll_next_unpin(cx)).await;
            results.set(results.get() + next.unwrap().unwrap());
        }
    };
    let line = line!() + 1;
    group.borrow().as_ref().unwrap().try_spawn(child).unwrap();
    group.borrow().as_ref().unwrap().try_spawn(async { 7 }).unwrap();
    let error = runtime.run().unwrap_err();
    assert_eq!((error.kind(), read.get()), (io::ErrorKind::Deadlock, 7));
    assert!(error.to_string().contains(&format!("groups.rs:{line}:")), "{error}");
    drop_shared(&group);
    runtime.run().unwrap();
}

/// A task that reads a group whose children wait for ever is part of the deadlock; so is a spawn that waits for a place.
#[test]
fn readers_and_spawns_are_part_of_a_deadlock() {
    let _watchdog = watchdog(TIME);
    for spawns in [false, true] {
        let mut runtime = LocalRuntime::new().unwrap();
        let mut group = TaskGroup::with_spawner(&runtime.spawner()).with_limit(1);
        group.try_spawn(pending::<()>()).unwrap();
        let waits = runtime.spawner().task().name("waits").spawn(async move {
            if spawns {
                group.spawn(async {}).await.unwrap();
            }
            group.next().await;
        });
        waits.unwrap();
        let error = runtime.run().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Deadlock);
        assert!(error.to_string().contains("\"waits\""), "{error}");
    }
}

/// The waker that reads a group may do anything: panic, and drop the group, in each of its functions.
#[test]
fn hostile_readers() {
    let _watchdog = watchdog(TIME);
    for call in [WakerCall::Clone, WakerCall::Wake, WakerCall::Drop] {
        for panics in [false, true] {
            let mut runtime = LocalRuntime::new().unwrap();
            thread_local! {
                static GROUP: RefCell<Option<TaskGroup<u32>>> = const { RefCell::new(None) };
            }
            GROUP.set(None);
            let act: WakerAct = std::sync::Arc::new(move |now| {
                if now == call {
                    if panics {
                        resume_unwind(Box::new("on purpose"));
                    }
                    // The group is out while it is polled.
                    let group = GROUP.with(|group| group.try_borrow_mut().ok().and_then(|mut group| group.take()));
                    drop(group);
                }
            });
            let waker = std::mem::ManuallyDrop::new(hostile_waker(act));
            let mut group = TaskGroup::with_spawner(&runtime.spawner());
            let (sender, receiver) = oneshot::channel();
            group.try_spawn(receiver.map(Result::unwrap)).unwrap();
            let poll = catch_unwind(AssertUnwindSafe(|| group.poll_next_unpin(&mut Context::from_waker(&waker))));
            assert_eq!(poll.is_err(), panics && call == WakerCall::Clone);
            GROUP.set(Some(group));
            runtime.run_for(Duration::ZERO).unwrap();
            sender.send(7).unwrap();
            runtime.run().unwrap();
            drop(GROUP.take());
            assert_eq!(runtime.spawner().live_tasks(), 0, "{call:?}, {panics}");
        }
    }
    // The last waker counts, and is woken once per batch.
    let mut runtime = LocalRuntime::new().unwrap();
    let mut group = TaskGroup::with_spawner(&runtime.spawner());
    for number in 0..10 {
        group.try_spawn(async move { number }).unwrap();
    }
    let ((one, first), (two, second)) = (CountingWaker::new(), CountingWaker::new());
    for waker in [&first, &second, &second] {
        assert!(group.poll_next_unpin(&mut Context::from_waker(waker)).is_pending());
    }
    runtime.run().unwrap();
    assert_eq!((one.count(), two.count(), group.len()), (0, 1, 10));
}

/// A child that is asked to end closes the group of its own children first.
#[test]
fn groups_nest() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let drops = Rc::new(Cell::new(0));
    let outer = TaskGroup::with_spawner(&spawner);
    for _ in 0..3 {
        let drops = Rc::clone(&drops);
        outer
            .try_spawn(async move {
                let inner = TaskGroup::new().unwrap();
                for _ in 0..3 {
                    let drops = Rc::clone(&drops);
                    let guard = OnDrop(move || drops.set(drops.get() + 1));
                    let child = async move {
                        let _guard = guard;
                        pending::<()>().await;
                    };
                    inner.spawn(child).await.unwrap();
                }
                inner.join().await.unwrap()
            })
            .unwrap();
    }
    runtime.run_for(Duration::ZERO).unwrap();
    assert_eq!((drops.get(), spawner.live_tasks()), (0, 12));
    drop(outer);
    assert_eq!((drops.get(), spawner.live_tasks()), (9, 0));
}

/// A group of another pool's spawner: its children are dropped at once, too, and their spawner is the current one meanwhile.
#[test]
fn a_group_in_another_pool() {
    let _watchdog = watchdog(TIME);
    let (mut here, reactor, spawner) = pool_and_reactor();
    let mut there = LocalPool::new();
    let far = reactor.spawner(&there);
    let found = Rc::new(Cell::new(false));
    let flag = Rc::clone(&found);
    let group = TaskGroup::with_spawner(&far);
    let guard = OnDrop(move || flag.set(async_epoll::spawn_local(async {}).is_ok()));
    group
        .try_spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        })
        .unwrap();
    there.run_until_stalled();
    spawner.spawn(async move { drop(group) }).unwrap();
    here.run_until_stalled();
    // The destructor has spawned into the pool of its task.
    assert!(found.get());
    assert_eq!(spawner.live_tasks(), 1);
    there.run_until_stalled();
    assert_eq!(spawner.live_tasks(), 0);
}

/// Timers and wakes from other threads of children that are gone do nothing.
#[test]
fn nothing_is_left_of_a_child() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let group = TaskGroup::with_spawner(&runtime.spawner());
    let (sender, receiver) = oneshot::channel::<()>();
    group.try_spawn(receiver.map(drop)).unwrap();
    let timer = Timer::after(HOUR, &handle);
    group.try_spawn(timer.map(drop)).unwrap();
    runtime.run_for(Duration::ZERO).unwrap();
    assert_eq!(handle.stats().timers, 1);
    drop(group);
    assert_eq!((handle.stats().timers, runtime.spawner().live_tasks()), (0, 0));
    let helper = later(move || sender.send(()).is_err());
    assert!(helper.join().unwrap());
    runtime.run().unwrap();
}

/// Aborts from four threads against a group that is read, filled and dropped: nothing is lost and nothing ends twice.
#[test]
fn aborts_from_four_threads() {
    const ROUNDS: usize = 200;
    let _watchdog = watchdog(Duration::from_secs(240));
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let dropped = Rc::new(Cell::new(0));
    let (senders, threads): (Vec<_>, Vec<_>) = (0..4)
        .map(|_| {
            let (sender, receiver) = std::sync::mpsc::channel::<AbortHandle>();
            (sender, thread::spawn(move || receiver.iter().for_each(|abort| abort.abort())))
        })
        .unzip();
    let read = runtime.run_until(async {
        let mut read = 0;
        for round in 0..ROUNDS {
            let mut group = TaskGroup::with_spawner(&spawner);
            for number in 0..100 {
                let dropped = Rc::clone(&dropped);
                let guard = OnDrop(move || dropped.set(dropped.get() + 1));
                let child = async move {
                    let _guard = guard;
                    match number % 3 {
                        0 => pending().await,
                        1 => yield_now().await,
                        _ => {}
                    }
                };
                let abort = group.spawn(child).await.unwrap();
                senders[number % 4].send(abort).unwrap();
                if number % 10 == 0 {
                    yield_now().await;
                }
            }
            if round % 2 == 0 {
                while let Some(result) = group.next().await {
                    assert!(result.is_ok_and(|()| true) || read < usize::MAX);
                    read += 1;
                }
            }
            drop(group);
            assert_eq!(dropped.get(), (round + 1) * 100);
        }
        read
    });
    assert_eq!(read.unwrap(), ROUNDS / 2 * 100);
    drop(senders);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    runtime.run().unwrap();
    assert_eq!(runtime.handle().stats().task_panics, 0);
}

/// A waker and an abort handle of a child that has ended reach no later child, though later children use the memory of earlier
/// ones.
#[test]
fn what_is_left_of_a_child_reaches_no_other() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let group = TaskGroup::with_spawner(&runtime.spawner());
    let left = Rc::new(RefCell::new(Vec::new()));
    for keeps in [true, false, true, false] {
        let wakers = Rc::clone(&left);
        let abort = group.try_spawn(poll_fn(move |cx| {
            if keeps {
                wakers.borrow_mut().push(cx.waker().clone());
            }
            Poll::Ready(0)
        }));
        let abort = abort.unwrap();
        runtime.run_for(Duration::ZERO).unwrap();
        assert!(abort.is_finished());
        // Some children leave a waker, others an abort handle, all of which are kept.
        let polls = Rc::new(Cell::new(0));
        for _ in 0..4 {
            let polls = Rc::clone(&polls);
            let later = poll_fn(move |_| {
                polls.set(polls.get() + 1);
                Poll::<i32>::Pending
            });
            group.try_spawn(later).unwrap();
        }
        runtime.run_for(Duration::ZERO).unwrap();
        let running = group.running();
        left.borrow().iter().for_each(Waker::wake_by_ref);
        abort.abort();
        runtime.run_for(Duration::ZERO).unwrap();
        assert_eq!((polls.get(), group.running(), abort.is_finished()), (4, running, true));
        // Many children at a time, which leave nothing: their memory is used again.
        for _ in 0..3 {
            (0..300).for_each(|_| drop(group.try_spawn(async { 0 }).unwrap()));
            runtime.run_for(Duration::ZERO).unwrap();
            assert_eq!((polls.get(), group.running()), (4, running));
        }
    }
}

/// The last task of a pool ends in a `run` method, with its number in the queue again and the budget spent. Nothing stays in the
/// pool: `LocalPool::run`, which has no reactor to wait for, returns.
#[test]
fn a_run_method_leaves_nothing_in_the_pool() {
    let _watchdog = watchdog(TIME);
    for polls in 1..6 {
        let mut reactor = Reactor::builder().poll_budget(1).build().unwrap();
        let mut pool = LocalPool::new();
        let group = TaskGroup::with_spawner(&reactor.spawner(&pool));
        let mut left = polls;
        let child = poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            left -= 1;
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        group.try_spawn(child).unwrap();
        reactor.run(&mut pool).unwrap();
        assert_eq!(group.len(), 1);
        pool.run();
        // The pool goes on with a new task.
        group.try_spawn(async {}).unwrap();
        assert!(pool.try_run_one() && !pool.try_run_one());
        assert_eq!(group.len(), 2);
    }
}

/// What waits for the end of the last task is woken when the child has left its group: the waker may abort, read and drop the
/// group, also if it has spawned a task that has the memory of the child.
#[test]
fn the_last_child_has_left_its_group_before_its_pool_is_idle() {
    thread_local! {
        /// What the waker acts on.
        static GROUP: RefCell<Option<TaskGroup<u32>>> = const { RefCell::new(None) };
        /// What the waker spawns.
        static NEXT: RefCell<Option<TaskHandle<u32>>> = const { RefCell::new(None) };
        /// How often the waker has done all of it.
        static DONE: Cell<usize> = const { Cell::new(0) };
    }
    let _watchdog = watchdog(TIME);
    for spawns in [false, true] {
        let mut runtime = LocalRuntime::new().unwrap();
        let spawner = runtime.spawner();
        let mut idle = spawner.idle();
        let group = TaskGroup::with_spawner(&spawner);
        group.try_spawn(async { 7 }).unwrap();
        let waker = waker_fn(move || {
            if spawns {
                NEXT.set(Some(Spawner::current().unwrap().spawn_task(async { 8 }).unwrap()));
            }
            let mut group = GROUP.take().unwrap();
            group.abort_all();
            assert_eq!(group.running(), 0);
            assert_eq!(group.next().now_or_never().unwrap().unwrap().unwrap(), 7);
            drop(group);
            DONE.set(DONE.get() + 1);
        });
        assert!(idle.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        GROUP.set(Some(group));
        runtime.run().unwrap();
        assert_eq!((DONE.take(), runtime.handle().stats().waker_panics), (1, 0), "spawns: {spawns}");
        if let Some(next) = NEXT.take() {
            assert_eq!(next.now_or_never().unwrap().unwrap(), 8);
        }
    }
}

/// The destructor of a main future runs another pool, whose tasks complete one at a time.
#[test]
fn the_destructor_of_a_main_future_runs_another_pool() {
    let _watchdog = watchdog(TIME);
    let (mut pool, mut reactor, _spawner) = pool_and_reactor();
    let mut other = LocalPool::new();
    let group = TaskGroup::with_spawner(&reactor.spawner(&other));
    let group = Rc::new(group);
    let (running, of_drop) = (Rc::new(RefCell::new(Vec::new())), Rc::clone(&group));
    let log = Rc::clone(&running);
    let guard = OnDrop(move || {
        for _ in 0..3 {
            of_drop.try_spawn(async {}).unwrap();
        }
        while of_drop.running() != 0 {
            // What finds out which tasks are in a pool may be completed in place of a task.
            assert!(other.try_run_one());
            log.borrow_mut().push(of_drop.running());
        }
    });
    // Ready in its first poll; dropped when the method returns.
    let main = poll_fn(move |_| {
        let _ = &guard;
        Poll::Ready(())
    });
    reactor.run_until(&mut pool, main).unwrap();
    let running = running.borrow();
    assert!(running.ends_with(&[2, 1, 0]), "{running:?}");
}
