//! Groups of tasks. The first test is a table: a child in each of its states meets each operation on it and on its group. The
//! second has what a child may do to its own group, from its poll and from its destructor. The others look at one promise each.

use async_epoll::{AbortHandle, GroupSpawner, LocalRuntime, Reactor, TaskError, TaskGroup, Timer, yield_now};
use futures::channel::oneshot;
use futures::executor::LocalPool;
use futures::future::{FutureExt, pending, poll_fn};
use futures::stream::{FusedStream, Stream, StreamExt};
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tests::common::pool_and_reactor;
use tests::{
    CountingAllocator, CountingWaker, HOUR, OnDrop, TIME, WakerAct, WakerCall, allocations, alone, hostile_waker,
    in_child, later, live_heap, millis, thread_cpu, watchdog,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

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
            Self::Spawn => {
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

const ACTS: [Act; 8] = [
    Act::AbortItself,
    Act::AbortSibling,
    Act::AbortAll,
    Act::Cancel,
    Act::DropTheGroup,
    Act::Poll,
    Act::Spawn,
    Act::CancelAndSpawn,
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
                    let siblings_end =
                        matches!(act, Act::AbortAll | Act::Cancel | Act::DropTheGroup | Act::CancelAndSpawn);
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
                            let ends = matches!(act, Act::AbortAll | Act::Cancel);
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
                let lives_on = act == Act::Spawn && operation == Operation::AbortAll;
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
    assert!(many < 100_000 * 2 + 200, "{many} allocations");
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
