//! Helpers of the tests. The tests themselves are in `tests/tests`, one file per subject; each says which guarantee it
//! checks, and names the entry of the bug catalogue (such as `A1`) that it keeps away.
//!
//! - [`watchdog`] ends a test that hangs.
//! - [`thread_cpu`] and [`process_cpu`] catch a loop that spins: by CPU time, since a wall clock cannot tell.
//! - [`CountingWaker`] and [`waker_fn`] are wakers that count, or run a closure; [`hostile_waker`] runs one when it is
//!   cloned and dropped, too.
//! - [`full_listener`] is an address to which nobody gets connected.
//! - [`yield_now`] lets other tasks go first.
//! - [`Folder`] and [`abstract_name`] are places for Unix sockets.
//! - [`in_child`] runs a test in a process of its own.
//! - [`open_fds`] finds leaked descriptors, [`CountingAllocator`] leaked memory.
//! - [`p99`] is for latencies.

#![allow(clippy::missing_panics_doc, reason = "a helper of a test that panics fails the test, which is its job")]

mod sys;
pub use sys::{
    CountingAllocator, SignalSender, SignalStorm, WakerAct, WakerCall, bind_full_path, close_raw, eventfd,
    fork_and_run, hostile_waker, interrupt_this_thread, limit_open_files, live_heap, move_fd_high, packet_mode,
    packet_pipe, pipe, process_cpu, reopen_at, report_icmp_errors, restore_default_sigpipe, send_with_fd,
    signal_descriptor, socket_option, thread_cpu,
};

use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

/// Ends the process, with a message, unless the guard is dropped within `limit`.
#[must_use = "the watchdog watches while the guard lives"]
pub fn watchdog(limit: Duration) -> Watchdog {
    let (alive, watched) = channel::<()>();
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::spawn(move || {
        if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            // Not `eprintln!`, which the test harness catches: it would show nothing of a process that aborts.
            let _ = writeln!(std::io::stderr(), "{test} hangs: not done after {limit:?}");
            std::process::abort();
        }
    });
    Watchdog { _alive: alive }
}

/// See [`watchdog`].
#[derive(Debug)]
pub struct Watchdog {
    _alive: Sender<()>,
}

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub struct CountingWaker(AtomicUsize);

impl CountingWaker {
    /// A counter, and a waker that counts on it.
    pub fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (Arc::clone(&counter), counter.into())
    }

    /// Wakes so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A waker that runs `on_wake`.
pub fn waker_fn(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct WakerFn<F>(F);
    impl<F: Fn() + Send + Sync> Wake for WakerFn<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Arc::new(WakerFn(on_wake)).into()
}

/// A listener whose queue is full: connecting to it waits, with neither success nor failure, while this lives.
///
/// # Panics
///
/// If loopback has no port left.
pub fn full_listener() -> FullListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    socket.listen(0).expect("a listener");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    // A queue of length 0 has room for one; the kernel answers no further request.
    let queued = TcpStream::connect(address).expect("a connection");
    FullListener { address, _held: (socket, queued) }
}

/// See [`full_listener`].
#[derive(Debug)]
pub struct FullListener {
    /// Where not to get connected.
    pub address: SocketAddr,
    /// The listener, and what fills its queue.
    _held: (Socket, TcpStream),
}

/// Lets every other task go first, once.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Descriptors that this process has open.
///
/// # Panics
///
/// If `/proc` is not mounted.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd").count()
}

/// Runs the test of this name again, in a process of its own with no other test beside it, and checks that it succeeds
/// there. In there, it returns `true`: the test goes on.
///
/// # Panics
///
/// If the test fails there.
pub fn in_child(test: &str) -> bool {
    const CHILD: &str = "TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    let status = child.status().expect("a process");
    assert!(status.success(), "{test}: {status}");
    false
}

/// A directory with a name of its own, which is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one, empty.
    ///
    /// # Panics
    ///
    /// If there is no place for temporary files.
    #[expect(clippy::new_without_default, reason = "it makes something on the disk")]
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tests-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of something in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // To panic here would hide why the test has failed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The address of a Unix socket that is in no directory, and that no other process uses.
///
/// # Panics
///
/// If `what` is longer than about 80 bytes.
pub fn abstract_name(what: &str) -> std::os::unix::net::SocketAddr {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("test-{}-{what}", std::process::id());
    std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a short name")
}

/// The 99th percentile.
pub fn p99(latencies: &mut [Duration]) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default()
}

/// Whether latencies are to be checked to the letter. Off unless `STRICT_TIMING` is set: other load on the machine
/// would fail a test that is right.
pub fn strict_timing() -> bool {
    std::env::var_os("STRICT_TIMING").is_some()
}

/// The program in the README is a test, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// So is each block of the page for users of other runtimes.
#[cfg(doctest)]
#[doc = include_str!("../../docs/coming-from.md")]
pub struct ComingFrom;
