//! A future that is dropped before its event takes its waker along: an idle source collects no wakers, and an event wakes
//! no task for a wait that it has given up.
//!
//! The table has each future that waits for a source ([`WAITS`]), each [`State`] in which it may be, and each [`End`] of
//! it. After each cell the source has exactly the wakers that it must wake; then an event comes, and wakes each once.

use async_epoll::{Interest, LocalRuntime, Reactor, Source, Timer};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tests::common::sources;
use tests::{CountingWaker, TIME, thread_cpu, watchdog};

type Shared = Arc<Source<UnixStream>>;
type Wait = BoxFuture<'static, io::Result<()>>;

/// A future of a source.
struct Row {
    name: &'static str,
    /// Whether the future waits for room to write.
    writes: bool,
    make: fn(Shared) -> Wait,
}

const WAITS: [Row; 5] = [
    Row { name: "readable", writes: false, make: |s| async move { s.readable().await.map(drop) }.boxed() },
    Row { name: "writable", writes: true, make: |s| async move { s.writable().await.map(drop) }.boxed() },
    Row { name: PRIORITY, writes: false, make: |s| async move { s.priority().await.map(drop) }.boxed() },
    Row {
        name: "read_with",
        writes: false,
        make: |s| async move { s.read_with(|mut stream| stream.read(&mut [0])).await.map(drop) }.boxed(),
    },
    Row {
        name: "write_with",
        writes: true,
        make: |s| async move { s.write_with(|mut stream| stream.write(&[0])).await.map(drop) }.boxed(),
    },
];

/// The future that ends with the stream, once, and has no poll function.
const PRIORITY: &str = "priority";

/// What has happened to the future before its end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    NeverPolled,
    PendingAlone,
    /// A future of another task waits, too, and came first.
    PendingBehindAnother,
    /// A future of another task waits, too, and came second.
    PendingBeforeAnother,
    /// Another future of the same task waits, too.
    PendingBesideItsTask,
    /// A poll function of the same task waits, too, and came first.
    PendingBehindItsPoll,
    /// A poll function of the same task waits, too, and came second.
    PendingBeforeItsPoll,
    /// Woken by an event and not polled since; then another future of the same task has begun to wait.
    WokenAndReplaced,
    /// As `WokenAndReplaced`, but in a list behind another task.
    WokenAndReplacedBehind,
    Woken,
    Ready,
}

const STATES: [State; 11] = [
    State::NeverPolled,
    State::PendingAlone,
    State::PendingBehindAnother,
    State::PendingBeforeAnother,
    State::PendingBesideItsTask,
    State::PendingBehindItsPoll,
    State::PendingBeforeItsPoll,
    State::WokenAndReplaced,
    State::WokenAndReplacedBehind,
    State::Woken,
    State::Ready,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Dropped,
    Forgotten,
    /// Polled by another task, and then dropped.
    MovedAndDropped,
    /// Polled by another task, which goes on waiting.
    MovedAndKept,
}

const ENDS: [End; 4] = [End::Dropped, End::Forgotten, End::MovedAndDropped, End::MovedAndKept];

/// A source that is not ready, and its peer.
struct Scene {
    reactor: Reactor,
    source: Shared,
    peer: UnixStream,
    writes: bool,
}

impl Scene {
    fn new(writes: bool) -> Self {
        let mut reactor = Reactor::new().unwrap();
        let (stream, peer) = UnixStream::pair().unwrap();
        let source = Arc::new(Source::with_handle(stream, &reactor.handle()).unwrap());
        peer.set_nonblocking(true).unwrap();
        // The first event of a source is "writable".
        reactor.wait(Some(Duration::ZERO)).unwrap();
        let scene = Self { reactor, source, peer, writes };
        scene.quiet();
        scene
    }

    /// Makes the source not ready.
    fn quiet(&self) {
        if self.writes {
            while self.source.try_io(Interest::WRITABLE, |mut stream| stream.write(&[0; 65536])).is_ok() {}
        } else {
            while self.source.try_io(Interest::READABLE, |mut stream| stream.read(&mut [0; 16])).is_ok_and(|n| n != 0) {
            }
        }
    }

    /// Causes the event for which the futures wait, and lets the reactor dispatch it.
    fn event(&mut self, row: &Row) {
        if row.name == PRIORITY {
            self.peer.shutdown(Shutdown::Write).unwrap();
        } else if self.writes {
            while self.peer.read(&mut [0; 65536]).is_ok() {}
        } else {
            self.peer.write_all(b"x").unwrap();
        }
        self.reactor.wait(Some(Duration::ZERO)).unwrap();
    }
}

/// A task: a counter of its wakes and its waker.
struct Task(Arc<CountingWaker>, Waker);

impl Task {
    fn new() -> Self {
        let (counter, waker) = CountingWaker::new();
        Self(counter, waker)
    }

    fn poll(&self, wait: &mut Wait) -> Poll<io::Result<()>> {
        wait.poll_unpin(&mut Context::from_waker(&self.1))
    }

    /// Returns another future, pending.
    fn waits(&self, row: &Row, scene: &Scene) -> Wait {
        let mut wait = (row.make)(Arc::clone(&scene.source));
        assert!(self.poll(&mut wait).is_pending());
        wait
    }

    /// Waits by a poll function.
    fn polls(&self, scene: &Scene) {
        let mut cx = Context::from_waker(&self.1);
        let (source, writes) = (&scene.source, scene.writes);
        assert!(if writes { source.poll_writable(&mut cx) } else { source.poll_readable(&mut cx) }.is_pending());
    }

    /// Returns the number of clones of the waker that exist: those in the source.
    fn left(&self) -> usize {
        Arc::strong_count(&self.0) - 2
    }

    fn count(&self) -> usize {
        self.0.count()
    }
}

/// Plays a cell, with nothing else waiting or, `crowded`, beside a third task that came first. Returns `false` if there is
/// no such cell.
fn play(row: &Row, state: State, end: End, crowded: bool) -> bool {
    use State::*;
    let needs_more =
        matches!(state, WokenAndReplaced | WokenAndReplacedBehind | PendingBehindItsPoll | PendingBeforeItsPoll);
    let moves = matches!(end, End::MovedAndDropped | End::MovedAndKept);
    if needs_more && row.name == PRIORITY || moves && state == Ready {
        return false;
    }
    let mut scene = Scene::new(row.writes);
    let (task, other, mover, third) = (Task::new(), Task::new(), Task::new(), Task::new());
    let mut first = crowded.then(|| third.waits(row, &scene));
    // The wakers that the source must have of the task and of the other task, apart from the future's own.
    let (mut beside, mut others) = (0, 0);
    let mut kept = Vec::new();

    let mut wait = (row.make)(Arc::clone(&scene.source));
    if matches!(state, PendingBehindAnother | WokenAndReplacedBehind) {
        kept.push(other.waits(row, &scene));
    }
    if state == PendingBehindItsPoll {
        task.polls(&scene);
    }
    if state != NeverPolled {
        assert!(task.poll(&mut wait).is_pending());
    }
    match state {
        NeverPolled | PendingAlone => {}
        PendingBehindAnother => others = 1,
        PendingBeforeAnother => {
            kept.push(other.waits(row, &scene));
            others = 1;
        }
        PendingBesideItsTask => {
            kept.push(task.waits(row, &scene));
            beside = 1;
        }
        PendingBehindItsPoll => beside = 1,
        PendingBeforeItsPoll => {
            task.polls(&scene);
            // A second poll with the same waker is not a second waiter.
            task.polls(&scene);
            beside = 1;
        }
        WokenAndReplaced | WokenAndReplacedBehind => {
            scene.event(row);
            scene.quiet();
            if let Some(first) = &mut first {
                assert!(third.poll(first).is_pending());
            }
            if state == WokenAndReplacedBehind {
                kept.push(other.waits(row, &scene));
                others = 1;
            }
            kept.push(task.waits(row, &scene));
            beside = 1;
        }
        Woken => scene.event(row),
        Ready => {
            scene.event(row);
            assert!(matches!(task.poll(&mut wait), Poll::Ready(Ok(()))));
        }
    }
    let is_ready = matches!(state, Woken | Ready);
    let has_own = !matches!(state, NeverPolled | WokenAndReplaced | WokenAndReplacedBehind) && !is_ready;
    assert_eq!(task.left(), beside + usize::from(has_own));

    // The end.
    let (mut own, mut moved) = (0, 0);
    match end {
        End::Dropped => drop(wait),
        End::Forgotten => {
            std::mem::forget(wait);
            own = usize::from(has_own);
        }
        End::MovedAndDropped => {
            assert_eq!(mover.poll(&mut wait).is_ready(), is_ready);
            drop(wait);
        }
        End::MovedAndKept => {
            assert_eq!(mover.poll(&mut wait).is_ready(), is_ready);
            moved = usize::from(!is_ready);
            kept.push(wait);
        }
    }
    assert_eq!((task.left(), other.left(), mover.left()), (own + beside, others, moved), "wakers left in the source");

    // The event: a wake for each, and none for what was given up.
    if !is_ready || row.name != PRIORITY {
        if let Some(first) = first.as_mut().filter(|_| is_ready) {
            scene.quiet();
            assert!(third.poll(first).is_pending());
        }
        let before = (task.count(), other.count(), third.count());
        scene.quiet();
        scene.event(row);
        let woken = (task.count() - before.0, other.count() - before.1, mover.count());
        assert_eq!(woken, (own + beside, others, moved), "wakes by the event");
        assert_eq!(third.count() - before.2, usize::from(crowded), "the third task");
    }
    assert_eq!((task.left(), other.left(), mover.left()), (0, 0, 0));
    drop(kept);
    true
}

/// Found 12c: the whole table.
#[test]
fn futures_take_their_wakers_along() {
    let _watchdog = watchdog(TIME);
    let (mut played, mut failed) = (0, Vec::new());
    for row in &WAITS {
        for state in STATES {
            for (end, crowded) in ENDS.into_iter().flat_map(|end| [(end, false), (end, true)]) {
                let cell = format!("{}: {state:?}, {end:?}, crowded: {crowded}", row.name);
                let result = std::thread::scope(|scope| {
                    let thread = std::thread::Builder::new().name(cell.clone());
                    thread.spawn_scoped(scope, || play(row, state, end, crowded)).unwrap().join()
                });
                match result {
                    Ok(there_is) => played += usize::from(there_is),
                    Err(_) => failed.push(cell),
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n"));
    assert!(played >= 380, "only {played} cells were played");
}

/// Found 12c: fifty thousand futures of many tasks are polled once and dropped. No waker of theirs is left, no task is
/// woken, and a task that waits among them is woken once by the event. Slot and list, futures and tasks.
#[test]
fn fifty_thousand_cancelled_waits() {
    let _watchdog = watchdog(TIME);
    for row in &WAITS {
        for alone in [true, false] {
            let mut scene = Scene::new(row.writes);
            let waiting = Task::new();
            let kept = (!alone).then(|| waiting.waits(row, &scene));
            let tasks: Vec<_> = (0..100).map(|_| Task::new()).collect();
            for n in 0..50_000 {
                let mut wait = pin!((row.make)(Arc::clone(&scene.source)));
                assert!(tasks[n % tasks.len()].poll(&mut wait).is_pending());
            }
            assert_eq!(tasks.iter().map(Task::left).sum::<usize>(), 0, "{}", row.name);
            assert_eq!(waiting.left(), usize::from(!alone));
            assert_eq!(waiting.count(), 0, "evicted, although the list is short");
            scene.event(row);
            assert_eq!(tasks.iter().map(Task::count).sum::<usize>(), 0);
            assert_eq!(waiting.count(), usize::from(!alone));
            drop(kept);
        }
    }
}

/// Found 12c: of hundreds of futures that wait for one source, some are dropped in any order, and all others are woken.
#[test]
fn some_of_many_are_cancelled() {
    let _watchdog = watchdog(TIME);
    let row = &WAITS[0];
    for keep in [1, 2, 3, 7] {
        let mut scene = Scene::new(row.writes);
        let tasks: Vec<_> = (0..30).map(|_| Task::new()).collect();
        let mut waits: Vec<_> = tasks.iter().map(|task| Some(task.waits(row, &scene))).collect();
        for n in (0..tasks.len()).map(|n| n * 11 % tasks.len()).filter(|n| n % keep != 0) {
            waits[n] = None;
        }
        scene.event(row);
        for (n, task) in tasks.iter().enumerate() {
            assert_eq!((task.count(), task.left()), (usize::from(n % keep == 0), 0), "{n} of every {keep}");
        }
    }
}

/// Found 12c: a poll of a task makes many short-lived futures of one source, beside the task's own poll function or not.
/// The source collects no wakers, and wakes no task again and again: with an idle peer, a task is polled a few times.
#[test]
fn short_lived_futures_do_not_spin() {
    // Tasks; futures that each poll makes at the same time; whether each poll also waits by a poll function.
    let table =
        [(1, 40, false), (1, 40, true), (1, 200, true), (33, 1, true), (40, 2, true), (40, 2, false), (200, 3, true)];
    let _watchdog = watchdog(TIME);
    for (tasks, futures, polls_too) in table {
        let mut runtime = LocalRuntime::new().unwrap();
        let handle = runtime.handle();
        let (_peer, source) = sources::with_peer(&handle);
        let source = Rc::new(source);
        for _ in 0..tasks {
            let source = Rc::clone(&source);
            let wait = poll_fn(move |cx| {
                if polls_too {
                    assert!(source.poll_readable(cx).is_pending());
                }
                let mut all: Vec<_> = (0..futures).map(|_| Box::pin(source.readable())).collect();
                assert!(all.iter_mut().all(|wait| wait.poll_unpin(cx).is_pending()));
                Poll::<()>::Pending
            });
            runtime.spawner().spawn_local(wait).unwrap();
        }
        let (begin, cpu) = (Instant::now(), thread_cpu());
        runtime.run_until(Timer::after(Duration::from_millis(250), &handle)).unwrap().unwrap();
        // An eviction for each 100 milliseconds at most; each polls each task once.
        let most = (tasks + 1) * (4 + begin.elapsed().as_millis() as u64 / 100);
        let polls = handle.stats().polls;
        assert!(
            polls <= most,
            "{tasks} tasks, {futures} futures, {polls_too}: {polls} polls, {:?}",
            thread_cpu() - cpu
        );
    }
}
