//! Listening for signals.
//!
//! Signals and their actions belong to the whole process, so almost every test runs in a process of its own.

use async_epoll::{Interest, Reactor, Signal, Signals, Source, Timer, ctrl_c, ctrl_c_with, terminate};
use futures::future::{Either, FutureExt, select};
use futures::stream::{FusedStream, StreamExt};
use futures::{AsyncReadExt, AsyncWriteExt};
use signal_hook::low_level::raise;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tests::{
    TIME, clone_within, fork_within, ignore_meanwhile, ignore_signal, in_child, interrupt_this_thread,
    limit_open_files, millis, open_fds, process_cpu, refuse, send_signal, watchdog,
};

/// The limit of each forked child: less than that of its test.
const LIMIT: Duration = Duration::from_secs(20);

/// All signal numbers that exist, and some that do not.
const NUMBERS: std::ops::RangeInclusive<i32> = -1..=66;

/// Runs a future on a reactor of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    async_epoll::block_on(future).unwrap()
}

/// Sends a signal to the calling thread. The handler has run when this returns.
fn raise_here(signal: Signal) {
    raise(signal.as_raw()).unwrap();
}

/// Sends a signal to this process. Any thread may run the handler, at any time.
fn send(signal: Signal) {
    send_signal(std::process::id(), signal.as_raw()).unwrap();
}

/// Returns whether a signal is in a set of signals of this process: `SigCgt` (with a handler), `SigIgn`, `SigBlk`.
fn is_in(set: &str, signal: Signal) -> bool {
    mask_of("self", set) >> (signal.as_raw() - 1) & 1 == 1
}

/// Returns a set of signals of a process, from `/proc`.
fn mask_of(process: &str, set: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    mask_in(&status, set)
}

fn mask_in(status: &str, set: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(":")).expect(set);
    u64::from_str_radix(line.trim(), 16).unwrap()
}

/// Returns the signals that a stream has ready.
fn ready(signals: &mut Signals) -> Vec<Signal> {
    std::iter::from_fn(|| signals.next().now_or_never().flatten()).collect()
}

/// Returns the signals that a stream has ready after a turn of its reactor.
fn dispatched(reactor: &mut Reactor, signals: &mut Signals) -> Vec<Signal> {
    reactor.wait(Some(Duration::ZERO)).unwrap();
    ready(signals)
}

#[test]
fn each_number_is_a_signal_or_an_error_that_says_why() {
    if !in_child("each_number_is_a_signal_or_an_error_that_says_why") {
        return;
    }
    let reactor = Reactor::new().unwrap();
    let caught = mask_of("self", "SigCgt");
    for number in NUMBERS {
        let listened = Signal::from_raw(number).and_then(|signal| Signals::new_with([signal], &reactor.handle()));
        let reason = match number {
            9 | 19 => "the kernel lets no process",
            4 | 7 | 8 | 11 => "an instruction of the program has failed",
            6 => "abort(3)",
            32 | 33 => "the C library",
            1..=64 => {
                let listener = listened.unwrap_or_else(|error| panic!("{number}: {error}"));
                assert_eq!(mask_of("self", "SigCgt"), caught | 1 << (number - 1), "{listener:?}");
                continue;
            }
            _ => "there is no signal",
        };
        let error = listened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(reason), "{number}: {error}");
        assert_eq!(mask_of("self", "SigCgt"), caught, "{number}");
    }
    assert_eq!(reactor.handle().stats().sources, 0);
}

/// A set with one signal that is refused changes nothing for the others.
#[test]
fn a_refused_set_leaves_all_actions() {
    if !in_child("a_refused_set_leaves_all_actions") {
        return;
    }
    let reactor = Reactor::new().unwrap();
    let (caught, fds) = (mask_of("self", "SigCgt"), open_fds());
    let refused = Signals::new_with([Signal::USR1, Signal::KILL], &reactor.handle()).unwrap_err();
    assert_eq!(refused.to_string(), "cannot listen for SIGKILL: the kernel lets no process listen for it");
    assert_eq!(Signals::new_with([], &reactor.handle()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Signals::new([Signal::USR1]).unwrap_err().kind(), ErrorKind::NotConnected, "no reactor");
    let handle = reactor.handle();
    drop(reactor);
    assert_eq!(Signals::new_with([Signal::USR1], &handle).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(mask_of("self", "SigCgt"), caught);
    drop(handle);
    assert_eq!(open_fds(), fds - 2, "the epoll instance and the eventfd of the reactor");
    // Not even for a moment: a signal that arrives before the refusal has its old action.
    let killed = fork_within(LIMIT, || {
        let reactor = Reactor::new().unwrap();
        let set = [Signal::USR1, Signal::KILL].into_iter().inspect(|&signal| {
            if signal == Signal::KILL {
                raise_here(Signal::USR1);
            }
        });
        format!("{:?}", Signals::new_with(set, &reactor.handle()))
    });
    assert_eq!(killed.unwrap_err(), "the child ended with status 0xa");
}

/// Descriptors run out at each step of making a listener: an error that leaves no descriptor and no handler, and does no
/// harm to another listener.
#[test]
fn failures_to_listen_leave_nothing() {
    if !in_child("failures_to_listen_leave_nothing") {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let (mut other, mut failures) = (None, [0; 2]);
    for has_other in [false, true] {
        other = has_other.then(|| Signals::new_with([Signal::USR2], &reactor.handle()).unwrap());
        let (caught, fds) = (mask_of("self", "SigCgt"), open_fds());
        for limit in 0..fds + 4 {
            // `open_fds` needs a descriptor itself.
            limit_open_files(limit);
            let listened = Signals::new_with([Signal::USR1], &reactor.handle());
            limit_open_files(1000);
            failures[usize::from(has_other)] += usize::from(listened.is_err());
            drop(listened);
            assert_eq!((open_fds(), mask_of("self", "SigCgt")), (fds, caught), "{limit}");
        }
    }
    assert!(failures.iter().all(|&failures| failures > 1), "{failures:?}");
    // Epoll refuses the descriptor.
    let (caught, fds) = (mask_of("self", "SigCgt"), open_fds());
    refuse(libc::SYS_epoll_ctl, &[(1, libc::EPOLL_CTL_ADD)], libc::ENOSPC);
    let refused = Signals::new_with([Signal::USR1], &reactor.handle()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    assert_eq!((open_fds(), mask_of("self", "SigCgt")), (fds, caught));
    raise_here(Signal::USR2);
    assert_eq!(dispatched(&mut reactor, other.as_mut().unwrap()), [Signal::USR2]);
}

#[test]
fn signals_have_names() {
    assert_eq!(format!("{} {:?} {:>8}", Signal::TERM, Signal::HUP, Signal::INT), "SIGTERM SIGHUP   SIGINT");
    assert_eq!(Signal::try_from(2).unwrap(), Signal::INT);
    assert_eq!(i32::from(Signal::KILL), 9);
    assert_eq!(Signal::from_raw(16).unwrap().to_string(), "SIGSTKFLT");
    let real_time = Signal::from_raw(libc::SIGRTMIN() + 3).unwrap();
    assert_eq!(real_time.to_string(), "SIGRTMIN+3");
    // Each standard signal but one has a constant, with the name that the kernel's tools use.
    let unnamed = (1..32).filter(|&number| Signal::from_raw(number).unwrap().to_string() == "SIGSTKFLT").count();
    assert_eq!(unnamed, 1);
}

/// Both signals arrive before the stream is first polled: both are seen, and equal ones once.
#[test]
fn signals_before_the_first_poll_are_kept() {
    if !in_child("signals_before_the_first_poll_are_kept") {
        return;
    }
    let _watchdog = watchdog(TIME);
    block_on(async {
        let mut signals = Signals::new([Signal::TERM, Signal::INT, Signal::TERM]).unwrap();
        assert_eq!(format!("{signals:?}"), "Signals([SIGTERM, SIGINT])");
        for signal in [Signal::INT, Signal::TERM, Signal::INT, Signal::INT] {
            raise_here(signal);
        }
        assert_eq!([signals.next().await, signals.next().await], [Some(Signal::TERM), Some(Signal::INT)]);
        assert!(signals.next().now_or_never().is_none(), "equal signals merge into one");
        raise_here(Signal::INT);
        assert_eq!(signals.recv().await.unwrap(), Signal::INT);
    });
}

/// A signal that keeps arriving does not hide another.
#[test]
fn a_frequent_signal_does_not_hide_another() {
    if !in_child("a_frequent_signal_does_not_hide_another") {
        return;
    }
    block_on(async {
        let mut signals = Signals::new([Signal::USR1, Signal::USR2]).unwrap();
        raise_here(Signal::USR2);
        let mut seen = Vec::new();
        for _ in 0..3 {
            raise_here(Signal::USR1);
            seen.push(signals.next().await.unwrap());
        }
        assert_eq!(seen, [Signal::USR1, Signal::USR2, Signal::USR1]);
    });
}

/// The futures have subscribed when they are made. Once ready, they do not listen any more.
#[test]
fn futures_listen_from_the_beginning_to_the_first_signal() {
    if !in_child("futures_listen_from_the_beginning_to_the_first_signal") {
        return;
    }
    let _watchdog = watchdog(TIME);
    block_on(async {
        let interrupted = ctrl_c().unwrap();
        raise_here(Signal::INT);
        let mut interrupted = interrupted;
        assert_eq!((&mut interrupted).await.unwrap(), Signal::INT);
        assert!(!is_in("SigCgt", Signal::INT), "a second Ctrl-C ends the process");
        for signal in [Signal::INT, Signal::TERM] {
            let stop = terminate().unwrap();
            raise_here(signal);
            assert_eq!(stop.await.unwrap(), signal);
        }
        let dropped = terminate().unwrap();
        assert!(is_in("SigCgt", Signal::INT) && is_in("SigCgt", Signal::TERM));
        drop(dropped);
        assert!(!is_in("SigCgt", Signal::INT) && !is_in("SigCgt", Signal::TERM));
    });
}

/// A signal cuts a wait short: the pause before a server stops, for example.
#[test]
fn a_signal_ends_a_delay() {
    if !in_child("a_signal_ends_a_delay") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let mut pool = futures::executor::LocalPool::new();
    let handle = reactor.handle();
    let waited = reactor.run_until(&mut pool, async {
        let delay = Timer::after(TIME, &handle);
        let stop = pin!(terminate().unwrap());
        std::thread::spawn(|| {
            std::thread::sleep(millis(20));
            send(Signal::TERM);
        });
        match select(stop, delay).await {
            Either::Left((signal, _)) => signal.unwrap(),
            Either::Right(_) => panic!("the delay is over"),
        }
    });
    assert_eq!(waited.unwrap(), Signal::TERM);
}

/// Two listeners for a signal both hear it. One dropped, the other still works. The last one dropped, the signal kills.
#[test]
fn the_last_listener_puts_the_old_action_back() {
    if !in_child("the_last_listener_puts_the_old_action_back") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let killed = fork_within(LIMIT, || {
        let mut reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let listen = || Signals::new_with([Signal::INT, Signal::USR1], &handle).unwrap();
        let (mut one, mut two) = (listen(), listen());
        raise_here(Signal::INT);
        assert_eq!((dispatched(&mut reactor, &mut one), ready(&mut two)), (vec![Signal::INT], vec![Signal::INT]));
        drop(one);
        raise_here(Signal::INT);
        assert_eq!(dispatched(&mut reactor, &mut two), [Signal::INT]);
        drop(two);
        raise_here(Signal::INT);
        "survived".into()
    });
    assert_eq!(killed.unwrap_err(), "the child ended with status 0x2");
    // An ignored signal is ignored again.
    ignore_signal(libc::SIGHUP, true);
    let reactor = Reactor::new().unwrap();
    drop(Signals::new_with([Signal::HUP], &reactor.handle()).unwrap());
    assert!(is_in("SigIgn", Signal::HUP));
}

/// If other code has taken the signal meanwhile, its action stays.
#[test]
fn an_action_of_other_code_stays() {
    if !in_child("an_action_of_other_code_stays") {
        return;
    }
    let reactor = Reactor::new().unwrap();
    let mut signals = Signals::new_with([Signal::HUP], &reactor.handle()).unwrap();
    let other = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGHUP, Arc::clone(&other)).unwrap();
    raise_here(Signal::HUP);
    // signal-hook calls the earlier handler.
    assert_eq!(ready(&mut signals), [Signal::HUP]);
    drop(signals);
    assert!(is_in("SigCgt", Signal::HUP));
    other.store(false, Ordering::SeqCst);
    raise_here(Signal::HUP);
    assert!(other.load(Ordering::SeqCst));
}

/// Other code may put the handler back after the end of the last listener, as `system(3)` on another thread does. The signal
/// has its old action all the same, and a new listener hears it.
#[test]
fn a_handler_that_comes_back_swallows_nothing() {
    if !in_child("a_handler_that_comes_back_swallows_nothing") {
        return;
    }
    let _watchdog = watchdog(TIME);
    for listens_again in [false, true] {
        let killed = fork_within(LIMIT, || {
            let mut reactor = Reactor::new().unwrap();
            let listen = |reactor: &Reactor| Signals::new_with([Signal::INT], &reactor.handle()).unwrap();
            let first = listen(&reactor);
            ignore_meanwhile(libc::SIGINT, || drop(first));
            if listens_again {
                let mut second = listen(&reactor);
                raise_here(Signal::INT);
                assert_eq!(dispatched(&mut reactor, &mut second), [Signal::INT]);
                ignore_meanwhile(libc::SIGINT, || ());
                raise_here(Signal::INT);
                assert_eq!(dispatched(&mut reactor, &mut second), [Signal::INT]);
            }
            raise_here(Signal::INT);
            "survived".into()
        });
        assert_eq!(killed.unwrap_err(), "the child ended with status 0x2", "{listens_again}");
    }
    // A signal that was ignored is ignored again.
    ignore_signal(libc::SIGHUP, true);
    let reactor = Reactor::new().unwrap();
    let listener = Signals::new_with([Signal::HUP], &reactor.handle()).unwrap();
    ignore_meanwhile(libc::SIGHUP, || drop(listener));
    raise_here(Signal::HUP);
    assert!(is_in("SigIgn", Signal::HUP));
}

/// A signal in a forked child, before `execve(2)`, does not wake the parent. The child has the old actions, and may listen
/// for itself.
#[test]
fn a_signal_in_a_forked_child_stays_there() {
    if !in_child("a_signal_in_a_forked_child_stays_there") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let mut signals = Signals::new_with([Signal::TERM, Signal::USR1], &handle).unwrap();
    let mut copy = Some(Signals::new_with([Signal::TERM], &handle).unwrap());
    // Registering has made an edge, for what the eventfd was before.
    reactor.wait(Some(Duration::ZERO)).unwrap();
    raise_here(Signal::USR1);
    assert!(reactor.wait(Some(TIME)).unwrap() > 0);

    let mut check = |what: &str, child: Result<String, String>, expected: Result<&str, &str>| {
        let child = child.as_deref().map_err(String::as_str);
        assert_eq!(child, expected, "{what}");
        assert_eq!(reactor.wait(Some(millis(20))).unwrap(), 0, "{what}: the child has woken the parent");
    };
    let own = |signals: &mut Signals| {
        assert!(ready(signals).is_empty() && signals.is_terminated(), "the parent's listener has ended");
        let error = signals.recv().now_or_never().unwrap().unwrap_err();
        assert!(error.to_string().contains("the parent process"), "{error}");
        block_on(async {
            let mut own = Signals::new([Signal::TERM]).unwrap();
            raise_here(Signal::TERM);
            let heard = own.next().await.unwrap();
            assert!(ready(&mut own).is_empty());
            heard.to_string()
        })
    };
    let killed = fork_within(LIMIT, || {
        assert_eq!(mask_of("self", "SigBlk"), 0, "nothing stays blocked");
        raise_here(Signal::TERM);
        "survived".into()
    });
    check("old action", killed, Err("the child ended with status 0xf"));
    let heard = fork_within(LIMIT, || {
        let heard = own(&mut signals);
        // Neither the copy of the parent's listener nor the child's own is left.
        assert!(!is_in("SigCgt", Signal::TERM) && !is_in("SigCgt", Signal::USR1));
        heard
    });
    check("own listener", heard, Ok("SIGTERM"));
    let grandchild = fork_within(LIMIT, || {
        let reactor = Reactor::new().unwrap();
        let _own = Signals::new_with([Signal::TERM], &reactor.handle()).unwrap();
        fork_within(LIMIT, || own(&mut signals)).unwrap()
    });
    check("grandchild", grandchild, Ok("SIGTERM"));
    let heard = fork_within(LIMIT, || {
        block_on(async {
            let mut own = Signals::new([Signal::TERM]).unwrap();
            drop(copy.take());
            raise_here(Signal::TERM);
            own.next().await.unwrap().to_string()
        })
    });
    check("the copy of a listener is dropped", heard, Ok("SIGTERM"));
    // Past the C library the handler is still there in the child, and only counts.
    let cloned = clone_within(LIMIT, || {
        raise_here(Signal::USR1);
        assert!(is_in("SigCgt", Signal::USR1));
        let heard = own(&mut signals);
        assert!(!is_in("SigCgt", Signal::USR1));
        heard
    });
    check("bare clone", cloned, Ok("SIGTERM"));
    // The parent has heard its own signal only, and still listens.
    assert_eq!(ready(&mut signals), [Signal::USR1]);
    raise_here(Signal::TERM);
    assert_eq!(reactor.wait(Some(TIME)).unwrap(), 2);
    assert_eq!(ready(&mut signals), [Signal::TERM]);
    assert_eq!(mask_of("self", "SigBlk"), 0);
}

/// Signals that arrive while the process forks reach the parent, and no child hangs.
#[test]
fn forks_beside_listeners_on_other_threads() {
    if !in_child("forks_beside_listeners_on_other_threads") {
        return;
    }
    let _watchdog = watchdog(TIME);
    ignore_signal(libc::SIGUSR1, true);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reactor = Reactor::new().unwrap();
                while !stop.load(Ordering::SeqCst) {
                    let mut signals = Signals::new_with([Signal::USR1], &reactor.handle()).unwrap();
                    raise_here(Signal::USR1);
                    assert_eq!(futures::executor::block_on(signals.next()), Some(Signal::USR1));
                }
            });
        }
        for _ in 0..200 {
            // Started by `fork(2)`, because of the group: the C library's handlers run in the child.
            let mut command = Command::new("true");
            let status = command.gid(rustix::process::getgid().as_raw()).status().unwrap();
            assert!(status.success());
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(is_in("SigIgn", Signal::USR1));
}

/// A program that a listening process starts has no signal blocked, and dies by SIGTERM, whichever way std starts it.
#[test]
fn started_programs_have_an_empty_mask_and_default_actions() {
    if !in_child("started_programs_have_an_empty_mask_and_default_actions") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap();
    ignore_signal(libc::SIGHUP, true);
    let _signals =
        Signals::new_with([Signal::TERM, Signal::INT, Signal::CHLD, Signal::HUP], &reactor.handle()).unwrap();
    for by_fork in [false, true] {
        let command = |program: &str| {
            let mut command = Command::new(program);
            if by_fork {
                command.gid(rustix::process::getgid().as_raw());
            }
            command
        };
        let status = command("cat").arg("/proc/self/status").output().unwrap().stdout;
        let status = String::from_utf8(status).unwrap();
        assert_eq!(mask_in(&status, "SigBlk"), 0, "by fork: {by_fork}");
        assert_eq!(mask_in(&status, "SigCgt") & 0xffff, 0, "by fork: {by_fork}");
        if by_fork {
            assert_eq!(mask_in(&status, "SigIgn") & 1, 1, "what was ignored before is ignored in the child");
        }
        let mut child = command("sleep").arg("100").stdin(Stdio::null()).spawn().unwrap();
        send_signal(child.id(), libc::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM), "by fork: {by_fork}");
    }
}

/// 10⁵ signals while the loop works: none goes unnoticed, because after the last one the stream returns it.
#[test]
fn none_of_many_signals_goes_unnoticed() {
    if !in_child("none_of_many_signals_goes_unnoticed") {
        return;
    }
    const SIGNALS: u32 = 100_000;
    let _watchdog = watchdog(TIME);
    let sent = Arc::new(AtomicU32::new(0));
    let (heard, eventfd_writes) = block_on(async {
        let mut signals = Signals::new([Signal::USR1, Signal::USR2]).unwrap();
        let sender = Arc::clone(&sent);
        let sender = std::thread::spawn(move || {
            for number in 1..=SIGNALS {
                sender.store(number, Ordering::SeqCst);
                send(if number % 2 == 0 { Signal::USR1 } else { Signal::USR2 });
                if number % 1000 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        let (mut last, mut heard) = ([0, 0], 0);
        // Each signal is heard after its number was written: the last of each with its own number or a later one.
        while last[0] < SIGNALS || last[1] < SIGNALS - 1 {
            let signal = signals.next().await.unwrap();
            let number = sent.load(Ordering::SeqCst);
            last[usize::from(signal == Signal::USR2)] = number;
            heard += 1;
        }
        // The last signal may still be under way, and would end the process without a listener.
        sender.join().unwrap();
        assert!(ready(&mut signals).len() <= 2);
        (heard, async_epoll::Handle::current().unwrap().stats().eventfd_writes)
    });
    assert!((2..=SIGNALS).contains(&heard), "{heard}");
    assert_eq!(eventfd_writes, 0, "the reactor's own eventfd is not used");
}

/// Two reactors on two threads both hear each signal, in step.
#[test]
fn listeners_in_two_reactors_hear_each_signal() {
    if !in_child("listeners_in_two_reactors_hear_each_signal") {
        return;
    }
    const ROUNDS: usize = 1000;
    let _watchdog = watchdog(TIME);
    let (told, heard) = mpsc::channel();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let told = told.clone();
            std::thread::spawn(move || {
                block_on(async {
                    let mut signals = Signals::new([Signal::USR1]).unwrap();
                    told.send(()).unwrap();
                    for _ in 0..ROUNDS {
                        assert_eq!(signals.next().await, Some(Signal::USR1));
                        told.send(()).unwrap();
                    }
                });
            })
        })
        .collect();
    heard.iter().take(2).count();
    for _ in 0..ROUNDS {
        send(Signal::USR1);
        assert_eq!(heard.iter().take(2).count(), 2);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(!is_in("SigCgt", Signal::USR1));
}

/// A reactor on a thread of its own, and a reactor inside another loop, hear signals as well.
#[test]
fn background_and_embedded_reactors_hear_signals() {
    if !in_child("background_and_embedded_reactors_hear_signals") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let background = Reactor::new().unwrap().into_background().unwrap();
    let mut guest = Reactor::builder().embedded().build().unwrap();
    let mut host = Reactor::new().unwrap();
    let watched = guest.as_fd().try_clone_to_owned().unwrap();
    let _watched = Source::with_interest(watched, Interest::READABLE, &host.handle()).unwrap();
    let mut there = Signals::new_with([Signal::USR1], &background.handle()).unwrap();
    let mut inside = Signals::new_with([Signal::USR1], &guest.handle()).unwrap();
    while guest.wait(Some(Duration::ZERO)).unwrap() + host.wait(Some(Duration::ZERO)).unwrap() > 0 {}
    for _ in 0..100 {
        let (counter, waker) = tests::CountingWaker::new();
        assert!(there.poll_recv(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
        assert!(inside.poll_recv(&mut std::task::Context::from_waker(&waker)).is_pending());
        send(Signal::USR1);
        assert_eq!(futures::executor::block_on(there.next()), Some(Signal::USR1));
        assert_eq!(host.wait(Some(TIME)).unwrap(), 1);
        guest.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(counter.count(), 1);
        assert_eq!(ready(&mut inside), [Signal::USR1]);
    }
    let second = ctrl_c_with(&background.handle()).unwrap();
    send(Signal::INT);
    assert_eq!(futures::executor::block_on(second).unwrap(), Signal::INT);
    background.shutdown().unwrap();
    assert_eq!(futures::executor::block_on(there.recv()).unwrap_err().kind(), ErrorKind::NotConnected);
}

/// The stream ends with its reactor.
#[test]
fn the_stream_ends_with_its_reactor() {
    if !in_child("the_stream_ends_with_its_reactor") {
        return;
    }
    let reactor = Reactor::new().unwrap();
    let mut signals = Signals::new_with([Signal::USR1], &reactor.handle()).unwrap();
    let stop = ctrl_c_with(&reactor.handle()).unwrap();
    assert!(!signals.is_terminated());
    drop(reactor);
    assert_eq!(signals.next().now_or_never().unwrap(), None);
    assert!(signals.is_terminated());
    assert_eq!(signals.next().now_or_never().unwrap(), None);
    assert_eq!(signals.recv().now_or_never().unwrap().unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(stop.now_or_never().unwrap().unwrap_err().kind(), ErrorKind::NotConnected);
}

/// Children that end are told by SIGCHLD.
#[test]
fn ended_children_are_told() {
    if !in_child("ended_children_are_told") {
        return;
    }
    let _watchdog = watchdog(TIME);
    block_on(async {
        let mut signals = Signals::new([Signal::CHLD]).unwrap();
        let mut children: Vec<_> = (0..20).map(|_| Command::new("true").spawn().unwrap()).collect();
        while !children.is_empty() {
            assert_eq!(signals.next().await, Some(Signal::CHLD));
            children.retain_mut(|child| child.try_wait().unwrap().is_none());
        }
    });
}

/// Real-time signals coalesce, although the kernel queues them.
#[test]
fn real_time_signals_coalesce() {
    if !in_child("real_time_signals_coalesce") {
        return;
    }
    block_on(async {
        let signal = Signal::from_raw(libc::SIGRTMIN() + 1).unwrap();
        let mut signals = Signals::new([signal]).unwrap();
        (0..3).for_each(|_| raise_here(signal));
        assert_eq!(ready(&mut signals), [signal]);
    });
}

/// The handler leaves `errno` as it was, even if its write fails.
#[test]
fn the_handler_preserves_errno() {
    if !in_child("the_handler_preserves_errno") {
        return;
    }
    let reactor = Reactor::new().unwrap();
    let mut signals = Signals::new_with([Signal::USR1], &reactor.handle()).unwrap();
    // Writes of eight bytes fail on this thread.
    refuse(libc::SYS_write, &[(2, 8)], libc::EIO);
    assert_eq!(fs::File::open("/does/not/exist").unwrap_err().kind(), ErrorKind::NotFound);
    raise_here(Signal::USR1);
    assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOENT));
    assert_eq!(ready(&mut signals), [Signal::USR1]);
}

/// A storm of signals, with and without `SA_RESTART`, disturbs neither sockets nor timers, and is not an event of its own.
#[test]
fn a_storm_of_signals_disturbs_nothing() {
    if !in_child("a_storm_of_signals_disturbs_nothing") {
        return;
    }
    let _watchdog = watchdog(TIME);
    // The last signals may reach another thread after the listener is gone, and must not end the process then.
    ignore_signal(libc::SIGUSR2, true);
    let storm = interrupt_this_thread(Duration::from_micros(500));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let heard = block_on(async move {
        let mut signals = Signals::new([Signal::USR2]).unwrap();
        let sender = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                send(Signal::USR2);
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let (left, right) = UnixStream::pair().unwrap();
        let (mut left, right) = (Source::new(left).unwrap(), Source::new(right).unwrap());
        let talk = async {
            let handle = async_epoll::Handle::current().unwrap();
            for _ in 0..50 {
                let deadline = Instant::now() + millis(2);
                (&right).write_all(b"some bytes").await.unwrap();
                left.read_exact(&mut [0; 10]).await.unwrap();
                Timer::at(deadline, &handle).await.unwrap();
                assert!(Instant::now() >= deadline);
            }
        };
        let mut heard = 0;
        let mut talk = pin!(talk.fuse());
        loop {
            futures::select_biased! {
                () = talk => break,
                signal = signals.next() => {
                    assert_eq!(signal, Some(Signal::USR2));
                    heard += 1;
                }
            }
        }
        stop.store(true, Ordering::SeqCst);
        sender.join().unwrap();
        heard
    });
    assert!(heard > 10, "{heard} signals heard");
    assert!(storm.received() > 10, "there was no storm");
}

/// Listening costs nothing while no signal arrives: no CPU time, no wakes.
#[test]
fn a_listener_does_not_spin() {
    if !in_child("a_listener_does_not_spin") {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let mut signals = Signals::new_with([Signal::USR1], &reactor.handle()).unwrap();
    raise_here(Signal::USR1);
    reactor.wait(Some(Duration::ZERO)).unwrap();
    assert_eq!(ready(&mut signals), [Signal::USR1]);
    let (begin, cpu) = (Instant::now(), process_cpu());
    assert_eq!(reactor.wait(Some(millis(200))).unwrap(), 0);
    assert!(begin.elapsed() >= millis(200));
    assert!(process_cpu() - cpu < millis(50));
}

/// Listeners come and go on two threads while signals arrive on others: no descriptor is left, and the handler never
/// writes to a descriptor of other code that has got the number of a closed eventfd.
#[test]
fn listeners_come_and_go_while_signals_arrive() {
    if !in_child("listeners_come_and_go_while_signals_arrive") {
        return;
    }
    let _watchdog = watchdog(TIME);
    ignore_signal(libc::SIGUSR1, true);
    let (fds, stop) = (open_fds(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                raise_here(Signal::USR1);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let (mut one, two) = UnixStream::pair().unwrap();
                one.set_nonblocking(true).unwrap();
                std::thread::yield_now();
                assert_eq!(one.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
                drop(two);
            }
        });
        let listeners: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let reactor = Reactor::new().unwrap();
                    for _ in 0..1000 {
                        let mut signals = Signals::new_with([Signal::USR1], &reactor.handle()).unwrap();
                        raise_here(Signal::USR1);
                        // `block_on`, because now and then the budget of operations makes a poll `Pending` once.
                        assert_eq!(futures::executor::block_on(signals.next()), Some(Signal::USR1));
                    }
                })
            })
            .collect();
        listeners.into_iter().for_each(|listener| listener.join().unwrap());
        stop.store(true, Ordering::SeqCst);
    });
    assert!(is_in("SigIgn", Signal::USR1));
    assert_eq!(open_fds(), fds);
}
