//! Waits for a reactor that no thread runs: reported with the remedy, and nothing else is.
//!
//! | polled by | the reactor is run | it is not |
//! |---|---|---|
//! | tasks and main futures | silence | `LocalPool::run`: a hint at level `DEBUG`, and a warning a second later |
//! | another future in an executor of futures-rs, on the reactor's thread | silence, until `run` leaves it: a warning | the same |
//! | another thread, another executor, a single poll | silence | silence |
//!
//! The subscriber belongs to the process, and keeps the lines of each thread apart.

use async_epoll::{Handle, Interest, LocalRuntime, Reactor, Source, Timer};
use async_timeout::Timeout;
use futures::channel::oneshot;
use futures::executor::{LocalPool, block_on};
use futures::future::{Either, FutureExt, pending, select};
use futures::task::LocalSpawnExt;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Once;
use std::task::Poll;
use std::time::{Duration, Instant};
use tests::common::{pool_and_reactor, sources};
use tests::{HOUR, TIME, later, watchdog, yield_now};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    /// The events on this thread that are above `TRACE`.
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Records the events in [`LINES`].
struct Recorder;

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "async_epoll" && *metadata.level() < Level::TRACE
    }
    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        LINES.with_borrow_mut(|lines| lines.push((*event.metadata().level(), message.0)));
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The message of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Runs `test` on a thread of its own, and returns the events on this thread.
fn events(test: impl FnOnce() + Send) -> Vec<(Level, String)> {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| tracing::subscriber::set_global_default(Recorder).unwrap());
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let _watchdog = watchdog(TIME);
                test();
                LINES.take()
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Checks that the events are one warning, which names the remedies.
fn assert_warning(events: &[(Level, String)], case: &str) {
    match events {
        [(Level::WARN, message)] if message.contains("into_background") && message.contains("run_until") => {}
        other => panic!("{case}: {other:?}"),
    }
}

/// Returns the output of `future` of an executor that does not run the reactor, if it is ready before another thread
/// ends the executor.
fn for_a_while<T>(future: impl Future<Output = T>) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = later(move || sender.send(()));
    let output = match block_on(select(std::pin::pin!(future), receiver)) {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    };
    thread.join().unwrap().unwrap();
    output
}

/// A source or a timer that waits in the `block_on` of futures-rs, on the thread of its reactor: a hint at once, and one
/// warning when it is polled again after more than a second, whether the reactor was never run or a `run` method has ended.
#[test]
fn another_executor_on_the_reactors_thread() {
    type Wait = (&'static str, fn(&Handle));
    let waits: [Wait; 5] = [
        ("readable", |handle| assert!(for_a_while(sources::with_peer(handle).1.readable()).is_none())),
        ("read", |handle| {
            let (_peer, source) = sources::with_peer(handle);
            assert!(for_a_while(source.read_with(|mut stream| std::io::Read::read(&mut stream, &mut [0]))).is_none());
        }),
        ("timer", |handle| assert!(for_a_while(Timer::after(HOUR, handle)).is_none())),
        ("timeout of the current reactor", |handle| {
            let _current = handle.enter();
            assert!(for_a_while(Timeout::new(pending::<()>(), HOUR)).is_none());
        }),
        ("a task of the pool's own", |handle| {
            let (mut pool, timer) = (LocalPool::new(), Timer::after(HOUR, handle));
            pool.spawner().spawn_local(timer.map(drop)).unwrap();
            let (sender, receiver) = oneshot::channel();
            let thread = later(move || sender.send(()));
            pool.run_until(receiver).unwrap();
            thread.join().unwrap().unwrap();
        }),
    ];
    let play = |case, wait: fn(&Handle), has_run| {
        let found = events(|| {
            let mut runtime = LocalRuntime::new().unwrap();
            if has_run {
                runtime.run_until(async { yield_now().await }).unwrap();
                runtime.run().unwrap();
            }
            // Once for a reactor.
            wait(&runtime.handle());
            wait(&runtime.handle());
            assert!(LINES.with_borrow(|lines| lines.len() == 1), "{case}: a hint and nothing else");
            std::thread::sleep(Duration::from_millis(1050));
            wait(&runtime.handle());
            wait(&runtime.handle());
        });
        let [(Level::DEBUG, hint), warning] = &found[..] else { panic!("{case}: {found:?}") };
        assert!(hint.contains("block_on") && hint.contains("hand-written loop"), "{hint}");
        assert_warning(std::slice::from_ref(warning), case);
    };
    std::thread::scope(|scope| {
        for (case, wait) in waits {
            scope.spawn(move || [false, true].map(|has_run| play(case, wait, has_run)));
        }
    });
}

/// Tasks in `LocalPool::run`: a hint at once, and a warning when they are polled again after more than a second.
#[test]
fn tasks_in_a_pool_that_runs_itself() {
    for has_run in [false, true] {
        let found = events(|| {
            let (mut pool, mut reactor, spawner) = pool_and_reactor();
            if has_run {
                spawner.spawn_local(async {}).unwrap();
                reactor.run(&mut pool).unwrap();
            }
            let timer = Timer::after(Duration::from_millis(1), &reactor.handle());
            let (sender, receiver) = oneshot::channel();
            let first = spawner.spawn_local_with_handle(select(timer, receiver).map(drop)).unwrap();
            let (end, ended) = oneshot::channel();
            let last = spawner.spawn_local_with_handle(ended).unwrap();
            // Another task is left, so that the driver stays.
            spawner.spawn_local(pending()).unwrap();
            let thread = std::thread::spawn(move || {
                // The first wake is within the second, the next is not.
                for (millis, wake) in [(20, sender), (1100, end)] {
                    std::thread::sleep(Duration::from_millis(millis));
                    wake.send(()).unwrap();
                }
            });
            let begin = Instant::now();
            pool.run_until(first);
            assert!(LINES.with_borrow(|lines| lines.len() == 1), "within the second, a hint and nothing else");
            pool.run_until(last).unwrap();
            assert!(begin.elapsed() > Duration::from_secs(1));
            thread.join().unwrap();
        });
        let [(Level::DEBUG, hint), warning] = &found[..] else { panic!("{found:?}") };
        assert!(hint.contains("LocalPool::run") && hint.contains("hand-written loop"), "{hint}");
        assert_warning(std::slice::from_ref(warning), "the warning");
    }
}

/// A task of the pool's own spawner that waits for the reactor is polled while `run` runs. A warning, once, if `run`
/// leaves it waiting; none if it ends before.
#[test]
fn a_task_that_run_leaves_behind() {
    for (leaves, is_source) in [(true, true), (true, false), (false, true), (false, false)] {
        let found = events(|| {
            let (mut pool, mut reactor, spawner) = pool_and_reactor();
            let handle = reactor.handle();
            let own_handle = handle.clone();
            let stranger = async move {
                if is_source {
                    let (mut peer, source) = sources::with_peer(&own_handle);
                    if !leaves {
                        peer.write_all(b"x").unwrap();
                    }
                    source.readable().await.unwrap();
                } else {
                    Timer::after(if leaves { HOUR } else { Duration::from_millis(1) }, &own_handle).await.unwrap();
                }
            };
            pool.spawner().spawn_local(stranger).unwrap();
            for _ in 0..2 {
                let own = Timer::after(Duration::from_millis(20), &handle);
                spawner.spawn_local(own.map(|end| end.unwrap())).unwrap();
                reactor.run(&mut pool).unwrap();
            }
        });
        match &found[..] {
            [(Level::WARN, message)] if leaves && message.contains("Reactor::spawner") => {}
            [] if !leaves => {}
            other => panic!("{leaves} {is_source}: {other:?}"),
        }
    }
}

/// A reactor that is run, or may be, causes no warning: in `run` methods, in a hand-written loop from its first pass on,
/// in the background, embedded, for a reactor on another thread, and for single polls.
#[test]
fn all_is_well() {
    async fn wait(handle: Handle) {
        let (mut peer, source) = sources::with_peer(&handle);
        assert!(futures::poll!(Timer::after(HOUR, &handle)).is_pending());
        Timer::after(Duration::from_millis(1), &handle).await.unwrap();
        assert!(source.readable().now_or_never().is_none());
        peer.write_all(b"x").unwrap();
        source.readable().await.unwrap();
    }
    type Case = (&'static str, fn());
    let cases: [Case; 9] = [
        ("main futures", || {
            async_epoll::block_on(async { wait(Handle::current().unwrap()).await }).unwrap();
        }),
        ("run", || {
            let (mut pool, mut reactor, spawner) = pool_and_reactor();
            for _ in 0..2 {
                spawner.spawn_local(wait(reactor.handle())).unwrap();
                reactor.run(&mut pool).unwrap();
            }
        }),
        ("a source and a timer that outlive their task", || {
            let (mut pool, mut reactor, spawner) = pool_and_reactor();
            let (_peer, source) = sources::with_peer(&reactor.handle());
            let both = Rc::new(RefCell::new((source, Timer::after(HOUR, &reactor.handle()))));
            let task = Rc::clone(&both);
            let wait = poll_fn(move |cx| {
                let (source, timer) = &mut *task.borrow_mut();
                assert!(timer.poll_unpin(cx).is_pending() && source.poll_readable(cx).is_pending());
                Poll::Ready(())
            });
            spawner.spawn_local(wait).unwrap();
            reactor.run(&mut pool).unwrap();
            assert!(both.borrow().1.is_armed());
        }),
        ("the future of run_until, and a task after it", || {
            let (mut pool, mut reactor, spawner) = pool_and_reactor();
            let handle = reactor.handle();
            spawner.spawn_local(wait(reactor.handle())).unwrap();
            reactor.run_until(&mut pool, wait(handle)).unwrap();
            reactor.run(&mut pool).unwrap();
        }),
        ("a hand-written loop, also with a task of the pool's own", || {
            let (mut pool, mut reactor, spawner) = pool_and_reactor();
            reactor.wait(Some(Duration::ZERO)).unwrap();
            spawner.spawn_local(wait(reactor.handle())).unwrap();
            pool.spawner().spawn_local(wait(reactor.handle())).unwrap();
            while spawner.live_tasks() != 0 {
                pool.run_until_stalled();
                reactor.wait(Some(Duration::from_millis(1))).unwrap();
            }
        }),
        ("in the background", || {
            let reactor = Reactor::new().unwrap().into_background().unwrap();
            block_on(wait(reactor.handle()));
            LocalPool::new().run_until(wait(reactor.handle()));
        }),
        ("embedded", || {
            let (mut reactor, mut pool) = (Reactor::builder().embedded().build().unwrap(), LocalPool::new());
            let spawner = reactor.spawner(&pool);
            spawner.spawn_local(wait(reactor.handle())).unwrap();
            let mut host = Reactor::new().unwrap();
            let descriptor = reactor.as_fd().try_clone_to_owned().unwrap();
            let _watched = Source::with_interest(descriptor, Interest::READABLE, &host.handle()).unwrap();
            pool.run_until_stalled();
            while spawner.live_tasks() != 0 {
                host.wait(Some(Duration::from_millis(1))).unwrap();
                reactor.wait(Some(Duration::ZERO)).unwrap();
                pool.run_until_stalled();
            }
        }),
        ("on another thread", || {
            let (sender, receiver) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                let mut runtime = LocalRuntime::new().unwrap();
                let (end, ended) = oneshot::channel::<()>();
                sender.send((runtime.handle(), end)).unwrap();
                // Not run at first.
                std::thread::sleep(Duration::from_millis(20));
                runtime.run_until(ended).unwrap().unwrap();
            });
            let (handle, end) = receiver.recv().unwrap();
            block_on(wait(handle));
            end.send(()).unwrap();
            thread.join().unwrap();
        }),
        ("a single poll", || {
            let reactor = Reactor::new().unwrap();
            let source = Source::lazy(UnixStream::pair().unwrap().0, &reactor.handle());
            assert!(source.readable().now_or_never().is_none());
            assert!(Timer::after(HOUR, &reactor.handle()).now_or_never().is_none());
        }),
    ];
    for (case, run) in cases {
        assert_eq!(events(run), [], "{case}");
    }
    // The first pass of a hand-written loop looks like `LocalPool::run`: a hint, and no warning.
    let found = events(|| {
        let (mut pool, mut reactor, spawner) = pool_and_reactor();
        spawner.spawn_local(wait(reactor.handle())).unwrap();
        while spawner.live_tasks() != 0 {
            pool.run_until_stalled();
            reactor.wait(Some(Duration::from_millis(1))).unwrap();
        }
    });
    assert!(matches!(&found[..], [(Level::DEBUG, _)]), "{found:?}");
}

/// A loop written by hand, which ends with the flag.
fn loop_by_hand(reactor: &mut Reactor, pool: &mut LocalPool, has_ended: &Cell<bool>) {
    while !has_ended.get() {
        pool.run_until_stalled();
        if !has_ended.get() {
            reactor.wait(None).unwrap();
        }
    }
}

/// Correct programs that poll before the reactor is run, or leave something idle: hints at most, and no warning.
#[test]
fn correct_programs_see_no_warning() {
    /// A task of the pool's own spawner that waits, and then sets the flag.
    fn own_task(reactor: &Reactor, pool: &LocalPool) -> Rc<Cell<bool>> {
        let has_ended = Rc::new(Cell::new(false));
        let (flag, timer) = (Rc::clone(&has_ended), Timer::after(Duration::from_millis(2), &reactor.handle()));
        pool.spawner().spawn_local(timer.map(move |end| flag.set(end.is_ok()))).unwrap();
        has_ended
    }
    type Case = (&'static str, usize, fn());
    let cases: [Case; 7] = [
        ("a hand-written loop with a task of the pool's own", 1, || {
            let (mut pool, mut reactor, _spawner) = pool_and_reactor();
            let has_ended = own_task(&reactor, &pool);
            loop_by_hand(&mut reactor, &mut pool, &has_ended);
        }),
        ("the same after a run method", 1, || {
            let (mut pool, mut reactor, _spawner) = pool_and_reactor();
            for _ in 0..3 {
                reactor.run_until(&mut pool, async {}).unwrap();
                let has_ended = own_task(&reactor, &pool);
                loop_by_hand(&mut reactor, &mut pool, &has_ended);
            }
        }),
        ("the same, a second later", 1, || {
            let (mut pool, mut reactor, _spawner) = pool_and_reactor();
            for _ in 0..2 {
                let has_ended = own_task(&reactor, &pool);
                loop_by_hand(&mut reactor, &mut pool, &has_ended);
                reactor.run_until(&mut pool, async {}).unwrap();
                std::thread::sleep(Duration::from_millis(1050));
            }
        }),
        ("a single poll in another executor", 1, || {
            let mut runtime = LocalRuntime::new().unwrap();
            let timer = Timer::after(Duration::from_millis(1), &runtime.handle());
            block_on(async { assert!(Timer::after(HOUR, &runtime.handle()).now_or_never().is_none()) });
            runtime.run_until(timer).unwrap().unwrap();
        }),
        ("a task of the pool's own has ended, and a source is idle", 0, || {
            let (mut pool, mut reactor, spawner) = pool_and_reactor();
            let (_peer, _idle) = sources::with_peer(&reactor.handle());
            let has_ended = own_task(&reactor, &pool);
            let own = Timer::after(Duration::from_millis(20), &reactor.handle());
            spawner.spawn_local(own.map(|end| end.unwrap())).unwrap();
            reactor.run(&mut pool).unwrap();
            assert!(has_ended.get());
        }),
        ("one has ended in an earlier run, and now a timer is left", 0, || {
            let (mut pool, mut reactor, spawner) = pool_and_reactor();
            let _has_ended = own_task(&reactor, &pool);
            let own = Timer::after(Duration::from_millis(20), &reactor.handle());
            spawner.spawn_local(own.map(|end| end.unwrap())).unwrap();
            reactor.run(&mut pool).unwrap();
            let mut left = Timer::after(HOUR, &reactor.handle());
            spawner.spawn_local(async {}).unwrap();
            assert!((&mut left).now_or_never().is_none());
            reactor.run(&mut pool).unwrap();
        }),
        ("one has ended in a hand-written loop, and now a timer is left", 1, || {
            let (mut pool, mut reactor, spawner) = pool_and_reactor();
            let has_ended = own_task(&reactor, &pool);
            loop_by_hand(&mut reactor, &mut pool, &has_ended);
            let mut left = Timer::after(HOUR, &reactor.handle());
            assert!((&mut left).now_or_never().is_none());
            spawner.spawn_local(async {}).unwrap();
            reactor.run(&mut pool).unwrap();
        }),
    ];
    for (case, hints, run) in cases {
        let found = events(run);
        assert!(found.iter().all(|(level, _)| *level == Level::DEBUG) && found.len() <= hints, "{case}: {found:?}");
    }
}
