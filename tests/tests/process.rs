//! Children.
//!
//! Processes, descriptors and the action of SIGCHLD belong to the whole process, so most tests run in a process of their own.

use async_epoll::{AsyncCommandExt, Child, Interest, LocalRuntime, Reactor, Signal, Source};
use futures::future::{FutureExt, join_all};
use futures::{AsyncReadExt, AsyncWriteExt};
use rustix::process::{WaitOptions, wait};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::{
    HOUR, TIME, fork_within, ignore_signal, in_child, limit_open_files, millis, open_fds, pass_id_on, process_cpu,
    refuse, send_signal, watchdog,
};

/// Runs a future on a reactor of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    async_epoll::block_on(future).unwrap()
}

/// A command of the shell.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A program that runs until it is killed: longer than a test, and not for ever, if a test fails.
fn endless() -> Command {
    let mut command = Command::new("sleep");
    command.arg("100");
    command
}

/// Returns the state of a process: `Z` for a zombie. `None` if there is none.
fn state(id: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits, by asking again and again, until a process is in one of the states.
fn wait_for_state(id: u32, wanted: &[Option<char>]) {
    let begin = Instant::now();
    while !wanted.contains(&state(id)) {
        assert!(begin.elapsed() < TIME, "process {id} is in state {:?}", state(id));
        std::thread::sleep(millis(1));
    }
}

/// Returns the children of this process, zombies included.
fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let text: String = tasks.map(|task| of(task.unwrap())).collect();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// Runs the reactor until a process is gone: a zombie is not gone.
fn run_until_gone(reactor: &mut Reactor, id: u32) {
    wait_for_state(id, &[Some('Z'), None]);
    // The event is there, so a turn does not sleep.
    reactor.wait(Some(Duration::ZERO)).unwrap();
    assert_eq!(state(id), None, "a zombie after one turn");
}

/// Returns whether an error has `ECHILD` as its cause.
fn is_lost(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|error| error.source()?.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.raw_os_error() == Some(libc::ECHILD))
}

/// How a child has ended, before and after it is waited for.
#[test]
fn each_end_has_its_status() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        for (script, code, signal) in [
            ("exit 0", Some(0), None),
            ("exit 7", Some(7), None),
            ("exit 255", Some(255), None),
            ("kill -TERM $$", None, Some(15)),
            ("kill -KILL $$", None, Some(9)),
            ("ulimit -c 0; kill -ABRT $$", None, Some(6)),
        ] {
            let expected = shell(script).status().unwrap();
            assert_eq!((expected.code(), expected.signal()), (code, signal));
            for early in [false, true] {
                let mut child = shell(script).spawn_async().unwrap();
                if early {
                    wait_for_state(child.id(), &[Some('Z')]);
                    assert_eq!(child.try_wait().unwrap(), Some(expected), "{script}");
                }
                assert_eq!(child.wait().await.unwrap(), expected, "{script}");
                assert_eq!(child.wait().await.unwrap(), expected, "{script}, again");
                assert_eq!(child.try_wait().unwrap(), Some(expected));
                assert_eq!(state(child.id()), None);
                // Nothing is left that a signal could reach.
                child.kill().unwrap();
            }
            assert_eq!(shell(script).status_async().await.unwrap(), expected);
        }
    });
}

/// A wait that is cancelled takes nothing along: a hundred are, then one is awaited.
#[test]
fn cancelled_waits_lose_nothing() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let mut child = shell("read line; exit 3").stdin(Stdio::piped()).spawn_async().unwrap();
        let stdin = child.stdin.take().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        for _ in 0..100 {
            assert!(child.wait().now_or_never().is_none());
            async_timeout::sleep(Duration::from_micros(10)).await;
        }
        drop(stdin);
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
    });
}

/// A child that ends while it is being started: before its descriptor is opened, in many rounds.
#[test]
fn children_that_end_at_once() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        for _ in 0..200 {
            assert!(Command::new("true").spawn_async().unwrap().wait().await.unwrap().success());
        }
    });
}

/// A child that reads to the end of its input ends, because `wait` closes the input first.
#[test]
fn wait_closes_the_input() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn_async().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"text").await.unwrap();
        assert!(child.wait().await.unwrap().success());
        assert!(child.stdin.is_none());
        let mut text = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"text");
        // And so does closing it by hand.
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn_async().unwrap();
        let stdin = child.stdin.as_mut().unwrap();
        stdin.close().await.unwrap();
        stdin.close().await.unwrap();
        assert_eq!(stdin.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        wait_for_state(child.id(), &[Some('Z')]);
        assert!(child.wait().await.unwrap().success());
    });
}

/// Both pipes are read at once: a child that fills one while the other is read would not end.
#[test]
fn output_reads_both_pipes() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let fill = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 5";
        let output = shell(fill).output_async().await.unwrap();
        assert_eq!(output.status.code(), Some(5));
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 600_000));
        // With an input that the child reads to its end; and with one pipe only.
        let mut sort = Command::new("sort");
        let mut child = sort.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn_async().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"b\na\n").await.unwrap();
        let output = child.output().await.unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"a\nb\n"[..], &b""[..]));
    });
}

/// The end of the child is not the end of its output: a process that it has started keeps the pipe open.
#[test]
fn a_grandchild_keeps_the_output_open() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let script = "sleep 100 & echo started; exit 4";
        let mut child = shell(script).process_group(0).stdout(Stdio::piped()).spawn_async().unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(4), "not held up by the grandchild");
        let stdout = child.stdout.as_mut().unwrap();
        let mut line = [0; 8];
        stdout.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"started\n");
        assert!(stdout.read(&mut line).now_or_never().is_none(), "no end of file");
        // The group outlives its leader, and is reached through the leader's descriptor.
        child.kill_group().unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        assert_eq!(stdout.read(&mut line).await.unwrap(), 0);
        // The grandchild is now a zombie of init, or of this process's reaper, for an unknown time.
        let begin = Instant::now();
        while let Ok(()) = child.kill_group() {
            assert!(begin.elapsed() < TIME);
            async_timeout::sleep(millis(1)).await;
        }
        assert_eq!(child.kill_group().unwrap_err().kind(), ErrorKind::NotFound);
    });
}

/// A child without a group of its own is not reached by `kill_group`, and neither is this process.
#[test]
fn a_child_without_a_group_is_refused() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let mut child = endless().spawn_async().unwrap();
        assert_eq!(child.kill_group().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(9));
    });
}

/// `kill` reaches a child that ignores SIGTERM, and a stopped one; `signal` sends what it is told.
#[test]
fn signals_reach_the_child() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let mut child = shell("trap 'echo heard' USR1; echo ready; for step in $(seq 6000); do sleep 0.01; done")
            .stdout(Stdio::piped())
            .spawn_async()
            .unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut [0; 6]).await.unwrap();
        child.signal(Signal::USR1).unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        let mut heard = [0; 6];
        stdout.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"heard\n");
        child.signal(Signal::STOP).unwrap();
        wait_for_state(child.id(), &[Some('T')]);
        assert!(child.wait().now_or_never().is_none(), "stopped is not ended");
        child.kill().unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(9));
    });
}

/// SIGTERM first, and SIGKILL after the limit. A stopped child cannot end by SIGTERM.
#[test]
fn terminate_within_asks_first() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let mut child = endless().spawn_async().unwrap();
        assert_eq!(child.terminate_within(HOUR).await.unwrap().signal(), Some(15));
        assert_eq!(child.terminate_within(HOUR).await.unwrap().signal(), Some(15), "the status is kept");
        let mut deaf = shell("trap '' TERM; echo; for step in $(seq 6000); do sleep 0.01; done")
            .stdout(Stdio::piped())
            .spawn_async()
            .unwrap();
        deaf.stdout.as_mut().unwrap().read_exact(&mut [0]).await.unwrap();
        let begin = Instant::now();
        assert!(deaf.terminate_within(HOUR).now_or_never().is_none(), "cancelled");
        assert_eq!(deaf.terminate_within(millis(50)).await.unwrap().signal(), Some(9));
        assert!(begin.elapsed() >= millis(50));
        let mut stopped = endless().spawn_async().unwrap();
        stopped.signal(Signal::STOP).unwrap();
        wait_for_state(stopped.id(), &[Some('T')]);
        assert_eq!(stopped.terminate_within(millis(20)).await.unwrap().signal(), Some(9));
        let mut polite = shell("trap 'exit 6' TERM; echo; for step in $(seq 6000); do sleep 0.01; done")
            .stdout(Stdio::piped())
            .spawn_async()
            .unwrap();
        polite.stdout.as_mut().unwrap().read_exact(&mut [0]).await.unwrap();
        assert_eq!(polite.terminate_within(Duration::MAX).await.unwrap().code(), Some(6));
    });
}

/// A child that is dropped, and ends later, is no zombie one turn after its end. Nothing is left in the reactor.
#[test]
fn dropped_children_are_reaped() {
    if !in_child("dropped_children_are_reaped") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let (handle, fds) = (reactor.handle(), open_fds());
    let waits = |child: &mut Child| assert!(child.wait().now_or_never().is_none());
    for waited in [false, true] {
        let mut child = shell("read line").stdin(Stdio::piped()).spawn_async_with(&handle).unwrap();
        let (id, stdin) = (child.id(), child.stdin.take());
        if waited {
            waits(&mut child);
        }
        drop(child);
        reactor.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(handle.stats().sources, 1);
        assert!(matches!(state(id), Some('S' | 'R')), "not killed");
        drop(stdin);
        run_until_gone(&mut reactor, id);
        assert_eq!((handle.stats().sources, open_fds()), (0, fds));
    }
    // One that has ended before it is dropped needs no turn at all.
    let child = Command::new("true").spawn_async_with(&handle).unwrap();
    let id = child.id();
    wait_for_state(id, &[Some('Z')]);
    drop(child);
    assert_eq!((state(id), handle.stats().sources, open_fds()), (None, 0, fds));
}

/// `kill_on_drop` kills a child that ignores SIGTERM, a stopped one, and one that has ended already, and no other process.
#[test]
fn kill_on_drop_kills() {
    if !in_child("kill_on_drop_kills") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let mut bystander = endless().spawn().unwrap();
    for (script, wanted) in
        [("trap '' TERM; for step in $(seq 6000); do sleep 0.01; done", 'S'), ("kill -STOP $$", 'T'), ("exit 0", 'Z')]
    {
        let child = shell(script).spawn_async_with(&handle).unwrap().kill_on_drop(true);
        let id = child.id();
        wait_for_state(id, &[Some(wanted)]);
        drop(child);
        run_until_gone(&mut reactor, id);
    }
    // A child whose status is known may have a number that is in use again.
    let mut child = Command::new("true").spawn_async_with(&handle).unwrap().kill_on_drop(true);
    wait_for_state(child.id(), &[Some('Z')]);
    assert!(child.try_wait().unwrap().unwrap().success());
    drop(child);
    // Turned off again.
    let child = shell("read line").stdin(Stdio::piped()).spawn_async_with(&handle).unwrap();
    let mut child = child.kill_on_drop(true).kill_on_drop(false);
    let (id, stdin) = (child.id(), child.stdin.take());
    drop(child);
    std::thread::sleep(millis(20));
    assert!(matches!(state(id), Some('S' | 'R')));
    drop(stdin);
    run_until_gone(&mut reactor, id);
    assert_eq!(bystander.try_wait().unwrap(), None);
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// A cancelled future drops its child: with `kill_on_drop`, a timeout ends the program.
#[test]
fn a_cancelled_output_drops_its_child() {
    if !in_child("a_cancelled_output_drops_its_child") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let id = runtime
        .run_until(async {
            let child = endless().stdout(Stdio::piped()).spawn_async().unwrap().kill_on_drop(true);
            let id = child.id();
            assert!(child.output().now_or_never().is_none());
            // The task waits for something else meanwhile.
            let begin = Instant::now();
            while state(id).is_some() {
                assert!(begin.elapsed() < TIME);
                async_timeout::sleep(millis(1)).await;
            }
            id
        })
        .unwrap();
    assert_eq!(state(id), None);
}

/// A thousand children at once: each with its own exit code; no zombie, no thread and no descriptor is left.
#[test]
fn a_thousand_children() {
    if !in_child("a_thousand_children") {
        return;
    }
    const CHILDREN: usize = 1000;
    let _watchdog = watchdog(2 * TIME);
    limit_open_files(4 * CHILDREN);
    let (fds, threads) = (open_fds(), fs::read_dir("/proc/self/task").unwrap().count());
    let codes = block_on(async {
        let spawn = |number: usize| {
            // Each lives until all are started.
            let mut command = shell(&format!("read line; exit {}", number % 256));
            let mut child = command.stdin(Stdio::piped()).spawn_async().unwrap();
            let stdin = child.stdin.take();
            (child, stdin)
        };
        let (children, inputs): (Vec<_>, Vec<_>) = (0..CHILDREN).map(spawn).unzip();
        assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), threads);
        drop(inputs);
        join_all(children.into_iter().map(|mut child| async move { child.wait().await.unwrap().code() })).await
    });
    let expected: Vec<_> = (0..CHILDREN).map(|number| i32::try_from(number % 256).ok()).collect();
    assert_eq!(codes, expected);
    assert_eq!(children(), []);
    assert_eq!(open_fds(), fds);
    // As many that are dropped at once.
    let mut reactor = Reactor::new().unwrap();
    for _ in 0..CHILDREN {
        drop(Command::new("true").spawn_async_with(&reactor.handle()).unwrap());
    }
    while !children().is_empty() {
        reactor.wait(Some(millis(10))).unwrap();
    }
    assert_eq!(reactor.handle().stats().sources, 0);
    drop(reactor);
    assert_eq!(open_fds(), fds);
    assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), threads);
}

/// The reactor is dropped while children live: nothing hangs. Then the rule of std applies.
#[test]
fn a_reactor_dropped_with_live_children() {
    if !in_child("a_reactor_dropped_with_live_children") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let fds = open_fds();
    let reactor = Reactor::new().unwrap();
    let mut kept = shell("read line; exit 8").stdin(Stdio::piped()).spawn_async_with(&reactor.handle()).unwrap();
    let stdin = kept.stdin.take();
    let mut dropped = shell("read line").stdin(Stdio::piped()).spawn_async_with(&reactor.handle()).unwrap();
    let (id, other_stdin) = (dropped.id(), dropped.stdin.take());
    drop(dropped);
    let handle = reactor.handle();
    drop(reactor);
    assert_eq!(kept.wait().now_or_never().unwrap().unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(endless().spawn_async_with(&handle).unwrap_err().kind(), ErrorKind::NotConnected);
    drop((stdin, other_stdin));
    wait_for_state(id, &[Some('Z')]);
    wait_for_state(kept.id(), &[Some('Z')]);
    assert_eq!(kept.wait().now_or_never().unwrap().unwrap().code(), Some(8), "the status is still there");
    drop((kept, handle));
    assert_eq!(state(id), Some('Z'), "an orphan without a reactor");
    assert_eq!(open_fds(), fds);
}

/// Children that have ended before their reactor is dropped are no zombies, although no turn has told of their end.
#[test]
fn a_reactor_dropped_after_the_end_of_its_children() {
    if !in_child("a_reactor_dropped_after_the_end_of_its_children") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let fds = open_fds();
    let reactor = Reactor::new().unwrap();
    let start = || {
        let mut child = shell("read line").stdin(Stdio::piped()).spawn_async_with(&reactor.handle()).unwrap();
        let (id, stdin) = (child.id(), child.stdin.take());
        (child, id, stdin)
    };
    let (dropped, id, stdin) = start();
    drop(dropped);
    drop(stdin);
    wait_for_state(id, &[Some('Z')]);
    let (kept, other, stdin) = start();
    drop(stdin);
    wait_for_state(other, &[Some('Z')]);
    drop(reactor);
    assert_eq!(state(id), None, "dropped before the reactor");
    drop(kept);
    assert_eq!(state(other), None, "dropped after the reactor");
    assert_eq!(open_fds(), fds);
}

/// Before Linux 6.9, a group is signalled by its number. That is refused once any code has taken the status of the
/// child, because the number may be in use again.
#[test]
fn groups_before_linux_6_9() {
    if !in_child("groups_before_linux_6_9") {
        return;
    }
    let _watchdog = watchdog(TIME);
    refuse(libc::SYS_pidfd_send_signal, &[(3, 4)], libc::EINVAL);
    block_on(async {
        let start = || shell("sleep 100 & wait").process_group(0).spawn_async().unwrap();
        let mut child = start();
        child.kill_group().unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(9));
        assert_eq!(child.kill_group().unwrap_err().kind(), ErrorKind::Unsupported, "collected by this child");
        let child = start();
        child.kill_group().unwrap();
        wait(WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(child.kill_group().unwrap_err().kind(), ErrorKind::Unsupported, "collected by other code");
        let mut child = endless().spawn_async().unwrap();
        assert_eq!(child.kill_group().unwrap_err().kind(), ErrorKind::NotFound, "no group of its own");
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(9));
    });
}

/// A process that ignores SIGCHLD, and code that collects every status: an error at once, and no hang.
#[test]
fn a_lost_status_is_an_error() {
    if !in_child("a_lost_status_is_an_error") {
        return;
    }
    let _watchdog = watchdog(TIME);
    block_on(async {
        let mut child = shell("read line").stdin(Stdio::piped()).spawn_async().unwrap();
        let stdin = child.stdin.take();
        assert!(child.wait().now_or_never().is_none());
        drop(stdin);
        wait(WaitOptions::empty()).unwrap().unwrap();
        for _ in 0..2 {
            let error = child.wait().await.unwrap_err();
            assert!(is_lost(&error) && error.to_string().contains("SIGCHLD"), "{error}");
            assert!(is_lost(&child.try_wait().unwrap_err()));
        }
        child.kill().unwrap();
        ignore_signal(libc::SIGCHLD, true);
        let mut child = shell("read line").stdin(Stdio::piped()).spawn_async().unwrap();
        assert!(is_lost(&child.wait().await.unwrap_err()), "ends later");
        for _ in 0..50 {
            // The child may have ended, without a trace, before its descriptor is opened.
            let mut child = Command::new("true").spawn_async().unwrap();
            assert!(is_lost(&child.wait().await.unwrap_err()), "ends at once");
            child.kill().unwrap();
        }
        assert!(is_lost(&Command::new("true").status_async().await.unwrap_err()));
    });
}

/// The ID of a child that has ended passes to another process before the child's descriptor is opened. That process is left
/// alone, and the status is lost. Needs the rights of root.
#[test]
fn a_process_with_the_id_of_a_child_is_left_alone() {
    if !in_child("a_process_with_the_id_of_a_child_is_left_alone") {
        return;
    }
    if fs::File::options().write(true).open("/proc/sys/kernel/ns_last_pid").is_err() {
        return;
    }
    let _watchdog = watchdog(TIME);
    ignore_signal(libc::SIGCHLD, true);
    block_on(async {
        let mut command = endless();
        pass_id_on(&mut command);
        let mut child = command.spawn_async().unwrap().kill_on_drop(true);
        let (id, lives) = (child.id(), |id| matches!(state(id), Some('S' | 'R')));
        assert!(lives(id), "the ID has not passed");
        child.kill().unwrap();
        assert_eq!(child.kill_group().unwrap_err().kind(), ErrorKind::NotFound);
        assert!(is_lost(&child.wait().await.unwrap_err()));
        drop(child);
        std::thread::sleep(millis(100));
        assert!(lives(id), "killed");
        send_signal(id, libc::SIGKILL).unwrap();
    });
}

/// Without process descriptors, starting is an error that says so, and no program is started.
#[test]
fn a_kernel_without_process_descriptors() {
    if !in_child("a_kernel_without_process_descriptors") {
        return;
    }
    let reactor = Reactor::new().unwrap();
    let fds = open_fds();
    for (call, arguments, error) in
        [(libc::SYS_waitid, &[(0, 3)][..], libc::EINVAL), (libc::SYS_pidfd_open, &[], libc::ENOSYS)]
    {
        refuse(call, arguments, error);
        let refused = endless().spawn_async_with(&reactor.handle()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        assert!(refused.to_string().contains("pidfd_open(2)"), "{refused}");
    }
    assert_eq!(children(), []);
    assert_eq!(open_fds(), fds);
}

/// Programs that cannot be started, and descriptors that run out in any place: an error, no child and no descriptor.
#[test]
fn failures_to_start_leave_nothing() {
    if !in_child("failures_to_start_leave_nothing") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let fds = open_fds();
    let missing = Command::new("/does/not/exist").spawn_async_with(&handle).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(endless().spawn_async().unwrap_err().kind(), ErrorKind::NotConnected, "no reactor");
    let mut failures = 0;
    for limit in fds - 2..fds + 12 {
        // `children` and `open_fds` need descriptors themselves.
        limit_open_files(limit);
        let spawned = endless().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn_async_with(&handle);
        limit_open_files(1000);
        failures += usize::from(spawned.is_err());
        assert_eq!(children().len(), usize::from(spawned.is_ok()), "{limit}");
        if let Ok(mut child) = spawned {
            child.kill().unwrap();
            wait_for_state(child.id(), &[Some('Z')]);
            assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
        }
        assert_eq!(open_fds(), fds, "{limit}");
    }
    assert!((3..14).contains(&failures), "{failures}");
}

/// A program that was started, and cannot be waited for because epoll refuses its descriptor, is killed and collected.
#[test]
fn a_program_that_epoll_refuses_is_killed() {
    if !in_child("a_program_that_epoll_refuses_is_killed") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap();
    let fds = open_fds();
    refuse(libc::SYS_epoll_ctl, &[(1, libc::EPOLL_CTL_ADD)], libc::ENOSPC);
    let refused = endless().stdin(Stdio::piped()).spawn_async_with(&reactor.handle()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    assert_eq!(children(), []);
    assert_eq!(open_fds(), fds);
}

/// A forked child has copies of its parent's children. It cannot wait for them, and dropping a copy kills none.
#[test]
fn copies_in_a_forked_child() {
    if !in_child("copies_in_a_forked_child") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let mut child = Some(endless().spawn_async_with(&reactor.handle()).unwrap().kill_on_drop(true));
    let saw = fork_within(TIME / 3, || {
        let mut copy = child.take().unwrap();
        let error = copy.wait().now_or_never().unwrap().unwrap_err();
        assert!(is_lost(&error), "{error}");
        drop(copy);
        // Children of its own work.
        block_on(async { Command::new("true").status_async().await.unwrap().to_string() })
    });
    assert_eq!(saw.as_deref(), Ok("exit status: 0"));
    let saw = fork_within(TIME / 3, || {
        drop(child.take());
        String::new()
    });
    assert_eq!(saw.as_deref(), Ok(""));
    std::thread::sleep(millis(20));
    let mut child = child.unwrap();
    assert_eq!(child.try_wait().unwrap(), None, "killed by the copy");
    let id = child.id();
    drop(child);
    run_until_gone(&mut reactor, id);
}

/// A reactor on a thread of its own, and a reactor inside another loop, wait for children, and reap dropped ones.
#[test]
fn background_and_embedded_reactors_have_children() {
    if !in_child("background_and_embedded_reactors_have_children") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let background = Reactor::new().unwrap().into_background().unwrap();
    for round in 0..100 {
        let mut child = shell(&format!("exit {round}")).spawn_async_with(&background.handle()).unwrap();
        assert_eq!(futures::executor::block_on(child.wait()).unwrap().code(), Some(round));
        let dropped = Command::new("true").spawn_async_with(&background.handle()).unwrap();
        let id = dropped.id();
        drop(dropped);
        wait_for_state(id, &[None]);
    }
    background.shutdown().unwrap();
    let mut guest = Reactor::builder().embedded().build().unwrap();
    let mut host = Reactor::new().unwrap();
    let watched = guest.as_fd().try_clone_to_owned().unwrap();
    let _watched = Source::with_interest(watched, Interest::READABLE, &host.handle()).unwrap();
    let dropped = endless().spawn_async_with(&guest.handle()).unwrap().kill_on_drop(true);
    guest.wait(Some(Duration::ZERO)).unwrap();
    while host.wait(Some(Duration::ZERO)).unwrap() > 0 {}
    let id = dropped.id();
    drop(dropped);
    assert_eq!(host.wait(Some(TIME)).unwrap(), 1);
    run_until_gone(&mut guest, id);
}

/// A child costs no CPU time while it runs, and is not an event.
#[test]
fn waiting_does_not_spin() {
    if !in_child("waiting_does_not_spin") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let mut child = endless().spawn_async_with(&reactor.handle()).unwrap();
    let dropped = endless().spawn_async_with(&reactor.handle()).unwrap();
    let id = dropped.id();
    assert!(child.wait().now_or_never().is_none());
    drop(dropped);
    reactor.wait(Some(Duration::ZERO)).unwrap();
    let cpu = process_cpu();
    assert_eq!(reactor.wait(Some(millis(200))).unwrap(), 0);
    assert!(process_cpu() - cpu < millis(50));
    send_signal(id, libc::SIGKILL).unwrap();
    run_until_gone(&mut reactor, id);
    child.kill().unwrap();
    wait_for_state(child.id(), &[Some('Z')]);
    assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
}

/// Pipes carry more than they hold, report the end and a reader that is gone, and leave no descriptor.
#[test]
fn pipes_are_streams() {
    if !in_child("pipes_are_streams") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let fds = open_fds();
    block_on(async {
        let (mut reader, mut writer) = async_epoll::pipe().unwrap();
        let sent = tests::noise(7, 1_000_000);
        let send = async {
            writer.write_all(&sent).await.unwrap();
            writer.close().await.unwrap();
        };
        let mut received = Vec::new();
        let ((), length) = futures::join!(send, reader.read_to_end(&mut received));
        assert_eq!(length.unwrap(), sent.len());
        assert!(received == sent);
        let (reader, mut writer) = async_epoll::pipe().unwrap();
        drop(reader);
        assert_eq!(writer.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        writer.close().await.unwrap();
        assert_eq!(writer.into_blocking().unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
    assert_eq!(open_fds(), fds);
}

/// Two programs and this one in a row: an end that is passed on is blocking, as programs expect it.
#[test]
fn pipes_between_programs() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let mut first = shell("echo b; sleep 0.05; echo a").stdout(Stdio::piped()).spawn_async().unwrap();
        let middle: Stdio = first.stdout.take().unwrap().try_into().unwrap();
        let (mut reader, writer) = async_epoll::pipe().unwrap();
        let end: Stdio = writer.try_into().unwrap();
        // The `Command` has the writing end, too, and is dropped with this statement.
        let mut second = Command::new("sort").stdin(middle).stdout(end).spawn_async().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "a\nb\n");
        assert!(first.wait().await.unwrap().success() && second.wait().await.unwrap().success());
    });
}
