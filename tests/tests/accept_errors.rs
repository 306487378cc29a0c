//! Errors of accepting: which of them end a listener's stream, which pause it, and that operators see them.
//!
//! A filter of `seccomp(2)` makes a system call fail on one thread. So each case has a thread of its own, and the system
//! call keeps failing to the end of the thread. `strace.rs` has the cases in which the call succeeds again.

use async_epoll::{LocalRuntime, OPERATIONS_PER_POLL, Stats};
use async_net_lite::unix::{UnixListener, UnixStream};
use async_net_lite::{AcceptReport, TcpListener, TcpStream, UdpSocket};
use async_timeout::{TimeoutExt, sleep};
use futures::StreamExt;
use futures::future::FutureExt;
use futures::stream::LocalBoxStream;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::pin::pin;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tests::{LOCALHOST, TIME, abstract_name, in_child, limit_open_files, open_fds, refuse, thread_cpu, watchdog};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A report of a stream of connections, as the tests keep it: the error's number, the pause, the number of suppressed
/// errors, the text, and whether it is about a shortage.
type Report = (Option<i32>, Option<Duration>, u64, String, bool);

/// Returns a closure for `on_error`, and the reports that it gets.
fn reports() -> (impl FnMut(&AcceptReport<'_>) + Send, Receiver<Report>) {
    let (sender, receiver) = channel();
    let hook = move |report: &AcceptReport<'_>| {
        let number = report.error.raw_os_error();
        let text = report.to_string();
        sender.send((number, report.pause, report.suppressed, text, report.is_shortage())).expect("the test goes on");
    };
    (hook, receiver)
}

/// Makes `epoll_ctl(EPOLL_CTL_ADD)` of `fd` fail with `error`, to the end of the thread.
fn refuse_epoll_add(error: i32, fd: RawFd) {
    refuse(libc::SYS_epoll_ctl, &[(1, libc::EPOLL_CTL_ADD), (2, fd)], error);
}

/// Makes `accept4(2)` on `fd` fail with `error`, to the end of the thread.
fn refuse_accept(error: i32, fd: RawFd) {
    refuse(libc::SYS_accept4, &[(0, fd)], error);
}

/// A listener of either kind, with a stream that yields nothing but the success of each accept.
struct Scene {
    fd: RawFd,
    incoming: LocalBoxStream<'static, io::Result<()>>,
    reports: Receiver<Report>,
    /// Connects a client.
    connect: Box<dyn Fn() -> Box<dyn std::any::Any>>,
}

/// The kinds of listeners.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp,
    Unix,
}

impl Scene {
    async fn new(kind: Kind) -> Self {
        let (hook, reports) = reports();
        match kind {
            Kind::Tcp => {
                let listener = TcpListener::bind(LOCALHOST).await.unwrap();
                let (fd, address) = (listener.as_raw_fd(), listener.local_addr().unwrap());
                let incoming = listener.into_incoming().on_error(hook).map(|stream| stream.map(drop)).boxed_local();
                let connect = Box::new(move || -> Box<dyn std::any::Any> {
                    Box::new(std::net::TcpStream::connect(address).unwrap())
                });
                Self { fd, incoming, reports, connect }
            }
            Kind::Unix => {
                let any_name = SocketAddr::from_pathname("").unwrap();
                let listener = UnixListener::bind_addr(&any_name).unwrap();
                let (fd, address) = (listener.as_raw_fd(), listener.local_addr().unwrap());
                let incoming = listener.into_incoming().on_error(hook).map(|stream| stream.map(drop)).boxed_local();
                let connect = Box::new(move || -> Box<dyn std::any::Any> {
                    Box::new(std::os::unix::net::UnixStream::connect_addr(&address).unwrap())
                });
                Self { fd, incoming, reports, connect }
            }
        }
    }
}

/// Runs `test` on a thread and a reactor of its own, with a listener of each kind.
fn on_threads(test: impl AsyncFn(Scene) + Copy + Send + Sync) {
    let _watchdog = watchdog(TIME);
    for kind in [Kind::Tcp, Kind::Unix] {
        let run = || LocalRuntime::new().unwrap().run_until(async { test(Scene::new(kind).await).await }).unwrap();
        std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|_| panic!("{kind:?}"));
    }
}

/// Returns the numbers of the present reactor.
fn stats() -> Stats {
    async_epoll::Handle::current().unwrap().stats()
}

/// Found 12a: what every errno of `epoll_ctl(2)` does to a stream whose listener cannot be registered. After a shortage
/// the stream pauses, and accepts the connections in the queue at the end of each pause, without ever being registered.
/// After any other error it ends.
#[test]
fn a_listener_that_cannot_be_registered() {
    for (number, counter) in [
        (libc::ENOSPC, "accept_errors_watches"),
        (libc::ENOMEM, "accept_errors_memory"),
        (libc::ENOBUFS, "accept_errors_memory"),
        (libc::EMFILE, "accept_errors_descriptors"),
        (libc::ENFILE, "accept_errors_descriptors"),
    ] {
        on_threads(async |mut scene| {
            refuse_epoll_add(number, scene.fd);
            let cpu = thread_cpu();
            for round in 1..=3 {
                assert!(scene.incoming.next().timeout(Duration::from_millis(50)).await.is_err(), "{number}");
                let clients: Vec<_> = (0..3).map(|_| (scene.connect)()).collect();
                for _ in &clients {
                    scene.incoming.next().await.expect("the stream goes on").unwrap();
                }
                assert!(stats().counter("accept_pauses") >= round, "{:?}", stats());
            }
            assert_eq!((stats().sources, stats().counter("accept_errors_listener")), (0, 0));
            assert_eq!(stats().counter("accept_errors"), stats().counter(counter), "{:?}", stats());
            assert!(thread_cpu() - cpu < Duration::from_millis(100), "it spins");
            let (_, pause, suppressed, text, is_shortage) = scene.reports.try_recv().expect("a report");
            assert_eq!((pause, suppressed, is_shortage), (Some(Duration::from_millis(5)), 0, true));
            assert!(text.starts_with("accepting pauses for 5ms: "), "{text}");
            assert_eq!(number == libc::ENOSPC, text.contains("max_user_watches"), "{text}");
        });
    }
    for number in [libc::EPERM, libc::EBADF, libc::EINVAL, libc::ELOOP, libc::ENOENT, libc::ENOSYS] {
        on_threads(async |mut scene| {
            refuse_epoll_add(number, scene.fd);
            let begin = Instant::now();
            let error = scene.incoming.next().await.expect("an error").unwrap_err();
            assert_eq!(error.raw_os_error().is_none(), number == libc::EPERM, "{error}");
            assert!(scene.incoming.next().now_or_never().expect("at once").is_none(), "it has ended");
            assert!(begin.elapsed() < Duration::from_secs(5), "without ten thousand attempts and a pause");
            assert_eq!((stats().counter("accept_errors"), stats().counter("accept_errors_listener")), (1, 1));
            assert!(scene.reports.try_recv().is_err(), "what the stream yields is not reported as well");
        });
    }
}

/// Found 12a: what every errno of `accept4(2)` does to a stream if the call never succeeds. An error of one connection
/// is skipped ten thousand times, then there are pauses as after a shortage. After an error of the listener, the stream
/// ends.
#[test]
fn accepting_that_never_succeeds() {
    for (number, counter) in [
        (libc::EMFILE, "accept_errors_descriptors"),
        (libc::ENFILE, "accept_errors_descriptors"),
        (libc::ENOMEM, "accept_errors_memory"),
        (libc::ENOBUFS, "accept_errors_memory"),
        (libc::ENOSPC, "accept_errors_watches"),
        (libc::ECONNABORTED, "accept_errors_connection"),
        (libc::EPROTO, "accept_errors_connection"),
        (libc::ENETDOWN, "accept_errors_connection"),
        (libc::EPERM, "accept_errors_connection"),
        (libc::EACCES, "accept_errors_connection"),
        (libc::ETIMEDOUT, "accept_errors_connection"),
    ] {
        let is_shortage = counter != "accept_errors_connection";
        on_threads(async |mut scene| {
            refuse_accept(number, scene.fd);
            assert!(scene.incoming.next().timeout(Duration::from_millis(100)).await.is_err(), "{number}");
            while stats().counter("accept_pauses") < 2 {
                assert!(scene.incoming.next().timeout(Duration::from_millis(10)).await.is_err(), "{number}");
            }
            let errors = stats().counter("accept_errors");
            assert_eq!(errors, stats().counter(counter), "{:?}", stats());
            assert_eq!(errors > 10_000, !is_shortage, "{errors}");
            let cpu = thread_cpu();
            assert!(scene.incoming.next().timeout(Duration::from_millis(50)).await.is_err(), "{number}");
            assert!(thread_cpu() - cpu < Duration::from_millis(25), "it spins");
            let (reported, pause, suppressed, text, is_reported_as_shortage) =
                scene.reports.try_recv().expect("a report");
            assert_eq!((reported, suppressed, is_reported_as_shortage), (Some(number), 0, is_shortage));
            assert_eq!(pause, is_shortage.then_some(Duration::from_millis(5)), "{text}");
        });
    }
    for number in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK, libc::EFAULT, libc::ENOSYS] {
        on_threads(async |mut scene| {
            refuse_accept(number, scene.fd);
            let error = scene.incoming.next().await.expect("an error").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(number));
            assert!(scene.incoming.next().now_or_never().expect("at once").is_none(), "it has ended");
            assert_eq!((stats().counter("accept_errors"), stats().counter("accept_errors_listener")), (1, 1));
        });
    }
}

/// Found 12a: a task whose other work leaves only some operations to the stream, so that the accept which confirms a pause
/// is refused, pauses and reports all the same.
#[test]
fn a_shortage_while_the_budget_is_spent() {
    for left in [1, 2, 3, 4, OPERATIONS_PER_POLL] {
        for number in [libc::EMFILE, libc::ECONNABORTED] {
            on_threads(async |mut scene| {
                refuse_accept(number, scene.fd);
                let peer = std::net::UdpSocket::bind(LOCALHOST).unwrap();
                peer.send_to(b"x", peer.local_addr().unwrap()).unwrap();
                let peer = UdpSocket::from_std(peer, &async_epoll::Handle::current().unwrap()).unwrap();
                let mut polls = 0;
                let mut next = pin!(poll_fn(|cx| {
                    polls += 1;
                    for _ in left..OPERATIONS_PER_POLL {
                        let _ = peer.poll_peek(cx, &mut [0]);
                    }
                    scene.incoming.poll_next_unpin(cx).map(drop)
                }));
                while stats().counter("accept_pauses") < 3 {
                    assert!(next.as_mut().timeout(Duration::from_millis(10)).await.is_err());
                }
                let cpu = thread_cpu();
                assert!(next.timeout(Duration::from_millis(100)).await.is_err());
                assert!(thread_cpu() - cpu < Duration::from_millis(50), "{left} left: it spins");
                assert!(polls < if number == libc::EMFILE { 100 } else { 30_000 }, "{left} left: {polls} polls");
                assert!(scene.reports.try_recv().is_ok(), "{left} left: a report");
            });
        }
    }
}

/// Found 12a: `accept` without a stream returns the shortage of a registration, and accepts what is in the queue
/// nevertheless.
#[test]
fn one_accept_of_a_listener_that_cannot_be_registered() {
    let _watchdog = watchdog(TIME);
    let test = || {
        let test = async {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            refuse_epoll_add(libc::ENOSPC, listener.as_raw_fd());
            for _ in 0..3 {
                assert_eq!(listener.accept().await.unwrap_err().kind(), io::ErrorKind::StorageFull);
                let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
            }
            assert_eq!((stats().counter("accept_errors"), stats().counter("accept_errors_watches")), (3, 3));
            assert_eq!(stats().counter("accept_pauses"), 0);
        };
        async_epoll::block_on(test).unwrap();
    };
    std::thread::scope(|scope| scope.spawn(test).join()).unwrap();
}

/// The events of `tracing` of the test below.
static EVENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A subscriber that records the events of async-net-lite, with their fields.
struct Recorder;

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "async_net_lite"
    }
    fn event(&self, event: &Event<'_>) {
        struct Fields(String);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}={value:?};", field.name());
            }
        }
        assert_eq!(*event.metadata().level(), Level::WARN);
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        EVENTS.lock().unwrap_or_else(PoisonError::into_inner).push(fields.0);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Found 20: a server without descriptors says so: by a closure and by an event, at most once a second and with the
/// number of errors in between, and by counters. It says nothing while all is well.
#[test]
fn operators_see_that_descriptors_have_run_out() {
    if !in_child("operators_see_that_descriptors_have_run_out") {
        return;
    }
    let _watchdog = watchdog(TIME);
    tracing::subscriber::set_global_default(Recorder).unwrap();
    async_epoll::block_on(async {
        let (hook, reports) = reports();
        let listener = TcpListener::bind(LOCALHOST).await.unwrap();
        let (fd, address) = (listener.as_raw_fd(), listener.local_addr().unwrap());
        let mut incoming = listener.into_incoming().on_error(hook);
        let clients: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut accepted = vec![incoming.next().await.unwrap().unwrap()];
        assert_eq!(stats().counters().count(), 0, "all is well");

        limit_open_files(open_fds() + 10);
        let mut hoard: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        hoard.truncate(hoard.len() - 1);
        accepted.push(incoming.next().await.unwrap().unwrap());
        let begin = Instant::now();
        // Each closed socket ends a pause. With its descriptor one client is accepted, and the next pause begins.
        while begin.elapsed() < Duration::from_millis(2500) {
            assert!(incoming.next().timeout(Duration::from_millis(10)).await.is_err());
            drop(accepted.remove(0));
            accepted.push(incoming.next().await.unwrap().unwrap());
            sleep(Duration::from_millis(250)).await;
        }
        let seconds = begin.elapsed().as_secs();
        let reports: Vec<_> = reports.try_iter().collect();
        let (pauses, errors) = (stats().counter("accept_pauses"), stats().counter("accept_errors"));
        println!("{seconds} s, {pauses} pauses, {errors} errors, {reports:?}");
        assert_eq!(errors, stats().counter("accept_errors_descriptors"));
        assert!(pauses >= 3 && errors >= 2 * pauses, "{:?}", stats());
        assert!((2..=1 + seconds as usize).contains(&reports.len()), "{reports:?} in {seconds} s");
        assert!(reports.iter().all(|report| report.0 == Some(libc::EMFILE) && report.1.is_some()), "{reports:?}");
        let suppressed: u64 = reports.iter().map(|report| report.2).sum();
        assert!(reports[0].2 == 0 && suppressed > 0 && suppressed + reports.len() as u64 <= pauses, "{reports:?}");
        assert_eq!(reports[0].3, "accepting pauses for 5ms: Too many open files (os error 24)");
        assert!(reports[1].3.ends_with(&format!(" ({} more since the last report)", reports[1].2)), "{reports:?}");

        let events = EVENTS.lock().unwrap().clone();
        assert_eq!(events.len(), reports.len(), "{events:?}");
        let expected = format!("message=accept: {};fd={fd};", reports[0].3);
        assert!(events[0].contains(&expected), "{events:?}");
        for field in ["errno=24;", "pause_ms=5;", "suppressed=0;"] {
            assert!(events[0].contains(field), "{field} in {events:?}");
        }
        drop((clients, hoard));
    })
    .unwrap();
}

/// A panic of the closure reaches the task that polls the stream, and the stream goes on.
#[test]
fn a_report_may_panic() {
    let _watchdog = watchdog(TIME);
    let test = || {
        let test = async {
            let listener = TcpListener::bind(LOCALHOST).await.unwrap();
            refuse_epoll_add(libc::ENOSPC, listener.as_raw_fd());
            let address = listener.local_addr().unwrap();
            let mut incoming = listener.into_incoming().on_error(|_| panic!("on purpose"));
            let next = std::panic::AssertUnwindSafe(incoming.next()).catch_unwind();
            assert!(next.await.is_err());
            let _client = std::net::TcpStream::connect(address).unwrap();
            incoming.next().await.unwrap().unwrap();
        };
        async_epoll::block_on(test).unwrap();
    };
    std::thread::scope(|scope| scope.spawn(test).join()).unwrap();
}

/// A stream of a Unix listener accepts what was connected, and reports nothing.
#[test]
fn nothing_is_reported_while_all_is_well() {
    tests::common::block_on(async {
        let address = abstract_name("well");
        let (hook, reports) = reports();
        let mut incoming = UnixListener::bind_addr(&address).unwrap().into_incoming().on_error(hook);
        for _ in 0..20 {
            let _client = UnixStream::connect_addr(&address).await.unwrap();
            incoming.next().await.unwrap().unwrap();
        }
        assert!(reports.try_recv().is_err());
        assert_eq!(stats().counters().count(), 0);
    });
}
