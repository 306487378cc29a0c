//! `Handle::tasks`: what each task waits for, as far as the reactor knows.

use async_epoll::{LocalRuntime, Source, TaskInfo, Timer, WaitsFor, spawn_local};
use async_net_lite::{TcpListener, TcpStream};
use futures::channel::oneshot;
use futures::future::{join, pending};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};
use tests::{HOUR, TIME, watchdog, yield_now};

/// Spawns `task`, polls it, and returns what it waits for.
fn waits_for(task: impl Future<Output = ()> + 'static, runtime: &mut LocalRuntime) -> Vec<WaitsFor> {
    runtime.spawner().spawn_local(task).unwrap();
    settle(runtime).pop().unwrap().waits_for
}

/// Runs the tasks for ten turns, then returns all of them.
fn settle(runtime: &mut LocalRuntime) -> Vec<TaskInfo> {
    let handle = runtime.handle();
    runtime
        .run_until(async {
            for _ in 0..10 {
                yield_now().await;
            }
            handle.tasks()
        })
        .unwrap()
}

#[test]
fn descriptors_with_their_peers() {
    let _watchdog = watchdog(TIME);
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let mut runtime = LocalRuntime::new().unwrap();
        let Ok(listener) = runtime.run_until(TcpListener::bind(host)).unwrap() else {
            assert!(host.starts_with('['), "no IPv4");
            continue;
        };
        let (client, server) = runtime
            .run_until(async {
                let address = listener.local_addr().unwrap();
                let (client, server) = join(TcpStream::connect(address), listener.accept()).await;
                (client.unwrap(), server.unwrap().0)
            })
            .unwrap();
        let (fd, peer) = (client.as_raw_fd(), Some(server.local_addr().unwrap()));
        let reader = client.clone();
        let waits = waits_for(async move { drop((&reader).read(&mut [0]).await) }, &mut runtime);
        assert_eq!(waits, [WaitsFor::Readable { fd, peer }]);
        let waits = waits_for(
            async move {
                // Writes until the buffers of both ends are full.
                while (&client).write_all(&[0; 65_536]).await.is_ok() {}
            },
            &mut runtime,
        );
        assert_eq!(waits, [WaitsFor::Writable { fd, peer }]);
        let (listening, fd) = (listener.local_addr().unwrap(), listener.as_raw_fd());
        let waits = waits_for(async move { drop(listener.accept().await) }, &mut runtime);
        assert_eq!(waits, [WaitsFor::Readable { fd, peer: None }], "{listening}");
        drop(server);
    }
}

#[test]
fn everything_else() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();

    let (one, _other) = UnixStream::pair().unwrap();
    let fd = one.as_raw_fd();
    let source = Source::with_handle(one, &handle).unwrap();
    let waits = waits_for(
        async move {
            let _ = join(source.priority(), async { (&source).read(&mut [0]).await }).await;
        },
        &mut runtime,
    );
    let (readable, priority) = (WaitsFor::Readable { fd, peer: None }, WaitsFor::Priority { fd, peer: None });
    assert!(waits.len() == 2 && waits.contains(&readable) && waits.contains(&priority), "{waits:?}");

    let deadline = Instant::now() + HOUR;
    let timer = Timer::at(deadline, &handle);
    let waits = waits_for(async { timer.await.unwrap() }, &mut runtime);
    assert_eq!(waits, [WaitsFor::Timer { deadline: Some(deadline) }]);
    let never = Timer::never(&handle);
    let waits = waits_for(async { never.await.unwrap() }, &mut runtime);
    assert_eq!(waits, [WaitsFor::Timer { deadline: None }]);

    let (_sender, receiver) = oneshot::channel::<()>();
    assert_eq!(
        waits_for(
            async {
                let _ = receiver.await;
            },
            &mut runtime
        ),
        [WaitsFor::Foreign]
    );
    // The timer has the waker of the set, and the set has the waker of the task.
    let timer = Timer::after(HOUR, &handle);
    let mut set: FuturesUnordered<_> = [timer].into_iter().collect();
    let waits = waits_for(async move { drop(set.next().await) }, &mut runtime);
    assert_eq!(waits, [WaitsFor::Foreign]);
    assert_eq!(waits_for(pending(), &mut runtime), []);

    // `TaskInfo` as a line of text.
    let lines: Vec<String> = handle.tasks().iter().map(ToString::to_string).collect();
    assert!(lines[0].contains(&format!("descriptor {fd} to become readable")), "{lines:?}");
    assert!(lines[1].contains(", waits for a timer in "), "{lines:?}");
    assert!(
        lines[3].ends_with(", waits for a waker held elsewhere (a channel, a thread, a set of futures)"),
        "{lines:?}"
    );
    assert!(lines[5].ends_with(", stuck: nobody can wake it"), "{lines:?}");
}

/// The number of a task, its place, its polls and their duration. Tasks that have ended are not listed.
#[test]
fn polls_are_measured() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    runtime.spawner().spawn_local(async {}).unwrap();
    let line = line!() + 3;
    runtime
        .spawner()
        .spawn_local(async {
            yield_now().await;
            thread::sleep(Duration::from_millis(20));
            yield_now().await;
            pending().await
        })
        .unwrap();
    runtime.spawner().spawn_local(async { panic!("a task's own business") }).unwrap();
    let before = handle.tasks();
    assert_eq!(
        before.iter().map(|task| (task.id, task.polls, task.is_ready)).collect::<Vec<_>>(),
        [(0, 0, true), (1, 0, true), (2, 0, true)]
    );
    let after = settle(&mut runtime);
    let [task] = &after[..] else { panic!("{after:?}") };
    assert_eq!((task.id, task.polls, task.is_ready), (1, 3, false));
    assert_eq!((task.spawned_at.file(), task.spawned_at.line()), (file!(), line));
    assert!(task.longest_poll >= Duration::from_millis(20) && task.longest_poll < Duration::from_secs(10));
    // Numbers are not reused.
    runtime.spawner().spawn_local(pending()).unwrap();
    assert_eq!(settle(&mut runtime)[1].id, 3);
}

/// Tasks with a name or a handle are listed, with the name, as all others are. What waits for the end of a task, and an
/// abort handle, count as holders of wakers elsewhere; the handle itself does not.
#[test]
fn tasks_with_names_and_handles() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (handle, spawner) = (runtime.handle(), runtime.spawner());
    let own = handle.clone();
    let reader = spawner.task().name("reader").spawn_task(pending::<()>()).unwrap();
    let timer = Timer::after(HOUR, &handle);
    spawner.task().name(format!("worker {}", 1)).spawn(async { timer.await.unwrap() }).unwrap();
    let waits = spawner.spawn_task(async { reader.await.unwrap() }).unwrap();
    let watched = spawner.spawn_task(async move {
        let task = own.tasks().pop().unwrap();
        (task.polled_for.is_some(), task.waits_for)
    });
    assert_eq!(runtime.run_until(watched.unwrap()).unwrap().unwrap(), (true, vec![]));
    let tasks = settle(&mut runtime);
    let names: Vec<_> = tasks.iter().map(|task| task.name.as_deref()).collect();
    assert_eq!(names, [Some("reader"), Some("worker 1"), None]);
    assert_eq!((tasks[2].id, tasks[0].polls), (waits.id(), 1));
    assert_eq!(tasks[0].waits_for, []);
    assert!(matches!(tasks[1].waits_for[..], [WaitsFor::Timer { .. }]));
    assert_eq!(tasks[2].waits_for, [WaitsFor::Foreign]);
    assert!(tasks[0].to_string().starts_with("task 0 \"reader\", spawned at "), "{}", tasks[0]);
    let abort = waits.abort_handle();
    waits.abort();
    assert_eq!(settle(&mut runtime).len(), 2);
    assert!(abort.is_finished());
}

/// Another thread sees that a task blocks the loop, and a task sees that it is being polled.
#[test]
fn a_task_that_blocks() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (handle, own) = (runtime.handle(), runtime.handle());
    let (release, released) = std::sync::mpsc::channel();
    runtime
        .spawner()
        .spawn_local(async move {
            assert!(own.tasks()[0].polled_for.is_some());
            // Made here, so that it cannot have been polled.
            spawn_local(pending()).unwrap();
            released.recv().unwrap();
            panic!("a task's own business");
        })
        .unwrap();
    let observer = thread::spawn(move || {
        while handle.tasks()[0].polled_for.is_none_or(|time| time < Duration::from_millis(20)) {
            thread::yield_now();
        }
        let [blocking, other] = &handle.tasks()[..] else { panic!("two tasks") };
        assert!(blocking.to_string().contains(", 1 poll, ") && blocking.to_string().contains(", being polled for "));
        assert!(blocking.longest_poll >= Duration::from_millis(20));
        assert!(other.polled_for.is_none() && other.to_string().ends_with(", ready"), "{other}");
        release.send(()).unwrap();
    });
    let after = settle(&mut runtime);
    observer.join().unwrap();
    assert!(after.len() == 1 && after[0].polled_for.is_none(), "{after:?}");
}

/// Another thread asks again and again while tasks are spawned, polled and dropped.
#[test]
fn from_another_thread() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (handle, spawner) = (runtime.handle(), runtime.spawner());
    let (stop, mut stopped) = oneshot::channel::<()>();
    let observer = thread::spawn(move || {
        let mut most = 0;
        while stopped.try_recv().unwrap().is_none() {
            let tasks = handle.tasks();
            assert!(tasks.is_sorted_by_key(|task| task.id));
            most = most.max(tasks.len());
        }
        most
    });
    let handle = runtime.handle();
    runtime
        .run_until(async {
            for _ in 0..200 {
                for _ in 0..20 {
                    let timer = Timer::after(Duration::from_micros(200), &handle);
                    spawner.spawn_local(async { timer.await.unwrap() }).unwrap();
                }
                Timer::after(Duration::from_micros(100), &handle).await.unwrap();
            }
        })
        .unwrap();
    runtime.run().unwrap();
    stop.send(()).unwrap();
    assert!(observer.join().unwrap() > 0);
    assert!(runtime.handle().tasks().is_empty());
}
