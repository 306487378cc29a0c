//! The deadlock report: `run` returns an error instead of sleeping for ever, when it is certain that no event will
//! come.
//!
//! The report is sound but not complete: `run` never reports a deadlock while something can still wake a task, and may
//! miss one. In each test of the second half something can still happen, and `run` waits.

use async_epoll::{Handle, LocalRuntime, Reactor, Source, Timer};
use futures::channel::oneshot;
use futures::future::{pending, poll_fn};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;
use tests::{TIME, watchdog};

/// Bug C19: nothing can ever wake these tasks. The error names the places where they were spawned.
#[test]
fn stuck_tasks_are_named() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let first = line!() + 1;
    spawner.spawn_local(pending()).unwrap();
    let second = line!() + 2;
    for _ in 0..3 {
        spawner.spawn_local(async { poll_fn(|_| Poll::<()>::Pending).await }).unwrap();
    }
    spawner.spawn_local(async { tests::yield_now().await }).unwrap();
    let error = runtime.run().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Deadlock);
    let text = error.to_string();
    assert!(text.contains(&format!("{}:{first}:", file!())), "{text}");
    assert!(text.contains(&format!("{}:{second}:", file!())) && text.contains("(3 tasks)"), "{text}");
    // The tasks still exist, and the runtime can be used again.
    assert_eq!(spawner.live_tasks(), 4);
    assert_eq!(runtime.run_until(async { 7 }).unwrap(), 7);
}

/// `run_until` makes no such report: its future may be pending for ever while the reactor serves other threads.
#[test]
fn a_reactor_for_other_threads() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    runtime.spawner().spawn_local(pending()).unwrap();
    let handle = runtime.handle();
    let (sender, receiver) = oneshot::channel();
    let helper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        futures::executor::block_on(Timer::after(Duration::from_millis(5), &handle)).unwrap();
        sender.send(()).unwrap();
    });
    runtime.run_until(receiver).unwrap().unwrap();
    helper.join().unwrap();
}

/// Many tasks from the same place are one line of the report.
#[test]
fn a_thousand_places() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    for _ in 0..1000 {
        runtime.spawner().spawn_local(pending()).unwrap();
    }
    let text = runtime.run().unwrap_err().to_string();
    assert!(text.contains("(1000 tasks)") && text.len() < 500, "{text}");
}

/// Runs `task`, which something may still wake, and checks that `run` waits for it.
fn check_that_it_waits(task: impl Future<Output = ()> + 'static, runtime: &mut LocalRuntime) {
    let _watchdog = watchdog(TIME);
    runtime.spawner().spawn_local(task).unwrap();
    runtime.spawner().spawn_local(pending()).unwrap();
    // The second task is stuck from the beginning. `run` reports it only after the first task has ended.
    let error = runtime.run().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Deadlock);
    assert_eq!(runtime.spawner().live_tasks(), 1);
}

#[test]
fn a_timer_may_fire() {
    let mut runtime = LocalRuntime::new().unwrap();
    let timer = Timer::after(Duration::from_millis(20), &runtime.handle());
    check_that_it_waits(async { timer.await.unwrap() }, &mut runtime);
}

#[test]
fn a_source_may_become_ready() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (left, right) = UnixStream::pair().unwrap();
    let source = Source::with_handle(right, &runtime.handle()).unwrap();
    let helper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        drop(left);
    });
    check_that_it_waits(
        async move {
            let _ = source.readable().await.unwrap();
        },
        &mut runtime,
    );
    helper.join().unwrap();
}

#[test]
fn another_thread_has_a_waker() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (sender, receiver) = oneshot::channel();
    let helper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        sender.send(()).unwrap();
    });
    check_that_it_waits(async { receiver.await.unwrap() }, &mut runtime);
    helper.join().unwrap();
}

/// No report while another thread may spawn: a task that it spawns runs first, although all other tasks are stuck from the
/// beginning.
#[test]
fn another_thread_may_spawn() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    runtime.spawner().spawn_local(pending()).unwrap();
    let remote = runtime.spawner().remote();
    let has_run = Arc::new(AtomicBool::new(false));
    let runs = Arc::clone(&has_run);
    let helper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        remote.spawn_with(move || async move { runs.store(true, Ordering::SeqCst) }).unwrap();
    });
    assert_eq!(runtime.run().unwrap_err().kind(), io::ErrorKind::Deadlock);
    assert!(has_run.load(Ordering::SeqCst), "reported while a task could still come");
    helper.join().unwrap();
}

/// The last of several remote spawners is dropped, on another thread, without having spawned: from then on nothing can
/// happen, and the report ends the sleep.
#[test]
fn the_last_remote_spawner_goes() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    runtime.spawner().spawn_local(pending()).unwrap();
    let remotes: Vec<_> = (0..3).map(|_| runtime.spawner().remote()).collect();
    let gone = Arc::new(AtomicUsize::new(0));
    let going = Arc::clone(&gone);
    let helper = thread::spawn(move || {
        for remote in remotes {
            thread::sleep(Duration::from_millis(20));
            going.fetch_add(1, Ordering::SeqCst);
            drop(remote);
        }
    });
    assert_eq!(runtime.run().unwrap_err().kind(), io::ErrorKind::Deadlock);
    assert_eq!(gone.load(Ordering::SeqCst), 3, "reported while a task could still come");
    helper.join().unwrap();
}

/// Dropping the last waker of a task leaves the task stuck. The loop notices on its next turn, not at once.
#[test]
fn a_waker_that_is_dropped() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let slot = Arc::new(Mutex::new(None::<Waker>));
    let kept = Arc::clone(&slot);
    let task = poll_fn(move |cx| {
        *kept.lock().unwrap() = Some(cx.waker().clone());
        Poll::<()>::Pending
    });
    runtime.spawner().spawn_local(task).unwrap();
    let handle = runtime.handle();
    let helper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        drop(slot.lock().unwrap().take());
        handle.notify();
    });
    assert_eq!(runtime.run().unwrap_err().kind(), io::ErrorKind::Deadlock);
    helper.join().unwrap();
}

/// Bug C19: `wait`, in a loop by hand, makes no report. With nothing registered it waits, because other code may call
/// `notify`.
#[test]
fn a_mere_wait_waits() {
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle: Handle = reactor.handle();
    let helper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        handle.notify();
    });
    reactor.wait(None).unwrap();
    helper.join().unwrap();
}
