//! A process forks while its other threads use the reactor: they hold its locks now and then, also at the fork. The child
//! does not have these threads, so a lock that is held stays held. The child waits for none of them: it drops, resets and
//! asks for what it likes, and never hangs (Found 7).
//!
//! The program has no test harness, whose threads would be busy as well. Each act of [`ACTS`] is played by many children.
//! All kinds of locks are busy: those of the tables of sources and timers, of one source's waiters, of a pool's queue, of
//! the counters, and those of the helper reactor of async-timeout.

use async_epoll::{Background, Handle, LocalRuntime, Reactor, RemoteSpawner, Source, Spawner, Timer};
use async_timeout::sleep;
use futures::executor::block_on;
use futures::future::{FutureExt, LocalBoxFuture, pending};
use std::fs::File;
use std::future::poll_fn;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use tests::{HOUR, TIME, watchdog};

/// The time after which a child counts as hanging.
const LIMIT: Duration = Duration::from_secs(10);
/// The number of children for each act.
const CHILDREN: usize = 40;
/// What a child sees of a part that works.
const WORKS: &str = "works";
/// Begins the error of everything that would wait for the parent's reactor.
const REFUSED: &str = "this reactor belongs to the parent process; a forked child needs its own";

/// Found 7: no act of a child hangs, whichever lock another thread held at the fork. Nor does a sleep without a reactor.
fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--cell").skip(1);
    match arguments.next().as_deref() {
        Some("acts") => acts(),
        Some("helper") => helper(),
        _ => {
            for cell in ["acts", "helper"] {
                let status = Command::new(std::env::current_exe().unwrap()).args(["--cell", cell]).status().unwrap();
                assert!(status.success(), "{cell}: {status}");
                println!("test fork_busy: {cell} ... ok");
            }
        }
    }
}

/// What the parent has, and the child a copy of.
struct Parent {
    background: Background,
    runtime: LocalRuntime,
    spawner: Spawner,
    remote: RemoteSpawner,
    /// Wakes a task of `runtime`.
    waker: Waker,
    /// Has an entry in the wheel of `background`, and is in the table of its sources.
    timer: Timer,
    source: Source<UnixStream>,
    /// Waits for a source for which another thread waits, too.
    wait: LocalBoxFuture<'static, ()>,
}

/// Returns what a result says.
fn told<T, E: ToString>(result: Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |_| WORKS.into())
}

/// Returns that an act without a result has ended.
fn did((): ()) -> String {
    WORKS.into()
}

/// An act of a child: its name, what the child sees, and the act.
type Act = (&'static str, &'static str, fn(Parent) -> String);

const ACTS: &[Act] = &[
    ("a timer: drop", WORKS, |parent| did(drop(parent.timer))),
    ("a timer: reset, poll", REFUSED, |mut parent| {
        parent.timer.reset(Instant::now() + HOUR);
        told(block_on(&mut parent.timer))
    }),
    ("a timer: poll", REFUSED, |mut parent| told(block_on(&mut parent.timer))),
    ("a source: drop", WORKS, |parent| did(drop(parent.source))),
    ("a source: into_inner", WORKS, |parent| told(parent.source.into_inner())),
    ("a source: wait", REFUSED, |parent| told(block_on(parent.source.readable()))),
    ("a future of a source: drop", WORKS, |parent| did(drop(parent.wait))),
    ("Background::shutdown", REFUSED, |parent| told(parent.background.shutdown())),
    ("Background: drop", WORKS, |parent| did(drop(parent.background))),
    ("a handle", WORKS, |parent| {
        for handle in [parent.background.handle(), parent.runtime.handle()] {
            handle.notify();
            handle.stats();
            handle.count("name", 1);
        }
        WORKS.into()
    }),
    ("a wake of a task", WORKS, |parent| did(parent.waker.wake())),
    ("a spawner", WORKS, |parent| told(parent.spawner.spawn_local(async {}))),
    ("LocalRuntime::run", REFUSED, |mut parent| told(parent.runtime.run())),
    ("LocalRuntime::run_until", REFUSED, |mut parent| told(parent.runtime.run_until(pending::<()>()))),
    ("LocalRuntime: drop", WORKS, |parent| did(drop(parent.runtime))),
    ("RemoteSpawner: drop", WORKS, |parent| did(drop(parent.remote))),
];

/// Calls `act` on a thread of its own until `stop` is set.
fn busy(stop: &Arc<AtomicBool>, mut act: impl FnMut() + Send + 'static) -> thread::JoinHandle<()> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            act();
        }
    })
}

/// Uses a reactor in each way that takes a lock.
fn use_reactor(handle: &Handle, source: &Source<UnixStream>) {
    for _ in 0..10 {
        let mut timer = Timer::after(HOUR, handle);
        assert!((&mut timer).now_or_never().is_none());
        timer.reset(Instant::now() + 2 * HOUR);
        let _ = source.readable().now_or_never();
    }
    drop(Source::with_handle(UnixStream::pair().unwrap().0, handle).unwrap());
}

/// Plays each act in many children of a process with busy threads.
fn acts() {
    let _watchdog = watchdog(4 * TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let background = Reactor::new().unwrap().into_background().unwrap();
    let (handle, own) = (background.handle(), runtime.handle());
    let (stream, shared_stream) = UnixStream::pair().unwrap();
    let source = Source::with_handle(stream, &handle).unwrap();
    let shared = Arc::new(Source::with_handle(shared_stream, &handle).unwrap());
    let spawner = runtime.spawner();
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    spawner
        .spawn_local(poll_fn(move |cx| {
            *keep.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }))
        .unwrap();
    runtime.run_until(async { tests::yield_now().await }).unwrap();
    let waker = kept.lock().unwrap().clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // The reactor's thread dispatches events.
    let events: Vec<_> = (0..50).map(|_| File::from(tests::eventfd().unwrap())).collect();
    let writers: Vec<File> = events.iter().map(|file| file.try_clone().unwrap()).collect();
    let watched: Vec<_> = events.into_iter().map(|file| Source::with_handle(file, &handle).unwrap()).collect();
    let threads = [
        busy(&stop, move || writers.iter().for_each(|mut file| file.write_all(&1_u64.to_ne_bytes()).unwrap())),
        busy(&stop, {
            let (handle, own, source) = (handle.clone(), own.clone(), Arc::clone(&shared));
            move || {
                use_reactor(&handle, &source);
                use_reactor(&own, &source);
            }
        }),
        busy(&stop, {
            let (handle, own) = (handle.clone(), own.clone());
            move || {
                for handle in [&handle, &own] {
                    // Among others, the locks of the pools and of their queues.
                    handle.stats();
                    handle.count("name", 1);
                }
            }
        }),
    ];
    let remote = spawner.remote();
    let mut timer = Timer::after(HOUR, &handle);
    assert!((&mut timer).now_or_never().is_none());
    let mut wait = async move { drop(shared.readable().await) }.boxed_local();
    assert!((&mut wait).now_or_never().is_none());
    let mut parent = Some(Parent { background, runtime, spawner, remote, waker, timer, source, wait });
    let mut hung = Vec::new();
    for (name, expected, act) in ACTS {
        for child in 0..CHILDREN {
            // At another point of the other threads' work each time.
            thread::sleep(Duration::from_micros(37 * child as u64));
            match tests::fork_within(LIMIT, || act(parent.take().unwrap())) {
                Ok(saw) => assert_eq!(saw, *expected, "{name}"),
                Err(error) => {
                    hung.push(format!("{name}: {error}"));
                    break;
                }
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(watched);
    assert!(hung.is_empty(), "{hung:#?}");
    // The parent goes on.
    let Parent { background, runtime, mut timer, .. } = parent.unwrap();
    timer.reset(Instant::now());
    block_on(timer).unwrap();
    drop(runtime);
    background.shutdown().unwrap();
}

/// A child has the helper reactor of async-timeout, because it has lost the helper thread of futures-timer; its threads
/// sleep. It forks: its children sleep, too, by a new helper, also on in a sleep that they have inherited.
fn helper() {
    let _watchdog = watchdog(4 * TIME);
    let nap = || block_on(sleep(Duration::from_millis(1)));
    nap();
    let saw = tests::fork_within(2 * TIME, || {
        nap();
        let stop = Arc::new(AtomicBool::new(false));
        let threads = [(); 2].map(|()| {
            busy(&stop, || {
                let mut sleep = pin!(sleep(Duration::from_micros(100)));
                for _ in 0..50 {
                    let _ = sleep.as_mut().now_or_never();
                    sleep.as_mut().get_mut().reset(Instant::now() + Duration::from_micros(70));
                }
            })
        });
        for child in 0..3 * CHILDREN {
            let mut inherited = Box::pin(sleep(Duration::from_millis(3)));
            let inherits = child % 2 == 0;
            if inherits {
                let _ = (&mut inherited).now_or_never();
            }
            let saw = tests::fork_within(LIMIT, || {
                if inherits {
                    block_on(&mut inherited);
                }
                nap();
                drop(inherited);
                WORKS.into()
            });
            assert_eq!(saw.as_deref(), Ok(WORKS), "inherits: {inherits}");
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        WORKS.into()
    });
    assert_eq!(saw.as_deref(), Ok(WORKS));
}
