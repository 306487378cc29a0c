//! System calls that std does not offer: the only file of the tests that may say `unsafe`.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

/// CPU time that the calling thread has used, user and system.
pub fn thread_cpu() -> Duration {
    cpu(libc::RUSAGE_THREAD)
}

/// CPU time that this process has used, user and system.
pub fn process_cpu() -> Duration {
    cpu(libc::RUSAGE_SELF)
}

fn cpu(who: libc::c_int) -> Duration {
    // SAFETY: All zeroes is a valid `rusage`: it is made of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is ours and large enough; `getrusage` only writes to it.
    let result = unsafe { libc::getrusage(who, &mut usage) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    let span = |time: libc::timeval| {
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_usec).expect("microseconds") * 1000)
    };
    span(usage.ru_utime) + span(usage.ru_stime)
}

/// Forks; runs `child` in the child, which then exits without running any destructor; waits for it.
///
/// Returns whether the child ran to its end. Only for test programs with a single thread at that point: another thread
/// may hold a lock (of the allocator, say) that nobody in the child would release.
pub fn fork_and_run(child: impl FnOnce()) -> bool {
    // SAFETY: By this function's contract the process has no other thread that could hold a lock.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid == 0 {
        let code = i32::from(std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).is_err());
        // SAFETY: `_exit` ends the child at once.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `pid` is our own child, and `status` is ours to be written to.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    waited == pid && status == 0
}

/// While the guard lives, a signal without `SA_RESTART` hits the calling thread every `period`.
pub fn interrupt_this_thread(period: Duration) -> SignalStorm {
    extern "C" fn count(_: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: All zeroes is a valid `sigaction`: no flags, so no restart; an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as libc::sighandler_t;
    // SAFETY: The handler only adds to an atomic, which is safe in any signal context.
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: Takes no arguments and cannot fail.
    let target = unsafe { libc::pthread_self() };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let sender = std::thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) {
            // SAFETY: The target thread lives: the guard stays on it, and joins this thread when dropped.
            unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
            std::thread::sleep(period);
        }
    });
    SignalStorm { stop, sender: Some(sender), stay: PhantomData }
}

/// Signals received so far.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// See [`interrupt_this_thread`]. Stays on its thread.
#[derive(Debug)]
pub struct SignalStorm {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
    stay: PhantomData<*const ()>,
}

impl SignalStorm {
    /// Signals that have hit the thread so far.
    pub fn received(&self) -> usize {
        SIGNALS.load(Ordering::SeqCst)
    }
}

impl Drop for SignalStorm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(sender) = self.sender.take() {
            // It does not panic.
            let _ = sender.join();
        }
    }
}

/// Undoes what Rust's start-up code does: a write to a closed pipe kills the process again, as in a C program.
pub fn restore_default_sigpipe() {
    // SAFETY: Setting a signal's default action runs no code of ours.
    let result = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(result, libc::SIG_ERR);
}

/// Sets the soft limit of open descriptors of this process, or the hard one if that is lower. Returns what it is now.
pub fn limit_open_files(limit: usize) -> usize {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` is ours and is only written to.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    limits.rlim_cur = limits.rlim_max.min(limit as libc::rlim_t);
    // SAFETY: `limits` is only read.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limits) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    limits.rlim_cur as usize
}

/// An option of a socket that is an integer, by `getsockopt(2)`.
///
/// # Errors
///
/// Those of `getsockopt(2)`.
pub fn socket_option(socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let pointer = (&raw mut value).cast();
    // SAFETY: `pointer` and `length` describe the integer `value`; the kernel writes to both, which live across the call.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, pointer, &mut length) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Returns the reading and the writing end of a pipe. `std::io::pipe` is newer than the oldest compiler.
///
/// # Errors
///
/// Those of `pipe2(2)`.
pub fn pipe() -> io::Result<(File, File)> {
    let (reader, writer) = pipe_with(0)?;
    Ok((reader.into(), writer.into()))
}

/// A pipe that keeps packets apart: `pipe2(O_DIRECT)`.
///
/// # Errors
///
/// Those of `pipe2(2)`.
pub fn packet_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    pipe_with(libc::O_DIRECT)
}

fn pipe_with(flags: libc::c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two numbers that the kernel writes.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), flags | libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just returned this descriptor, and nobody else knows it.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: As above.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((reader, writer))
}

/// An eventfd: the cheapest descriptor that epoll takes.
///
/// # Errors
///
/// Those of `eventfd(2)`.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: `eventfd` takes two integers and touches no memory of ours.
    let number = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just returned this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends `bytes` together with a copy of `fd`, by `sendmsg(2)`.
///
/// # Errors
///
/// Those of `sendmsg(2)`.
pub fn send_with_fd(socket: BorrowedFd<'_>, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
    /// A control message with one descriptor, as `CMSG_SPACE` and `CMSG_DATA` would lay it out.
    #[repr(C)]
    struct Control {
        header: libc::cmsghdr,
        fd: libc::c_int,
        padding: libc::c_int,
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let header = libc::cmsghdr {
        cmsg_len: size_of::<libc::cmsghdr>() + size_of::<libc::c_int>(),
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    let mut control = Control { header, fd: fd.as_raw_fd(), padding: 0 };
    // SAFETY: All zeroes is a valid `msghdr`: null pointers with lengths of zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>();
    // SAFETY: All that `message` points to lives across the call, which only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Binds a Unix socket to a path of as many bytes as there is room for, 108, with no zero behind it. A C program may do so;
/// neither std nor socket2 will.
///
/// # Errors
///
/// Those of `bind(2)`.
pub fn bind_full_path(socket: BorrowedFd<'_>, path: &std::path::Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_encoded_bytes();
    // SAFETY: All zeroes is a valid `sockaddr_un`: it is made of integers.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    assert_eq!(bytes.len(), address.sun_path.len());
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: `address` lives across the call, which only reads it, and is as long as `length` says.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the kernel queue the ICMP errors of a UDP socket (`IP_RECVERR`), where `MSG_ERRQUEUE` would read them.
///
/// # Errors
///
/// Those of `setsockopt(2)`.
pub fn report_icmp_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    let (on, length): (libc::c_int, _) = (1, size_of::<libc::c_int>() as libc::socklen_t);
    let (level, option) = (libc::IPPROTO_IP, libc::IP_RECVERR);
    // SAFETY: Pointer and length describe the integer `on`, which lives across the call and is only read.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves a descriptor to a number that nothing else gets by itself. Returns the number, and its owner.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn move_fd_high(fd: OwnedFd) -> io::Result<(RawFd, OwnedFd)> {
    // SAFETY: `F_DUPFD_CLOEXEC` takes an integer and touches no memory of ours.
    let number = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 900) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just returned this descriptor, and nobody else knows it.
    Ok((number, unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Closes a number behind its owner's back. The test must see to it that the owner closes something harmless.
pub fn close_raw(number: RawFd) {
    // SAFETY: Touches no memory. The caller answers for the descriptor's owner; see above.
    unsafe { libc::close(number) };
}

/// Opens `/dev/null` under a certain number.
///
/// # Errors
///
/// Those of `dup2(2)`.
pub fn reopen_at(number: RawFd) -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: Touches no memory; the number is free, by the test's own doing.
    if unsafe { libc::dup2(null.as_raw_fd(), number) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A `signalfd(2)` for `SIGUSR2`, which the calling thread blocks from now on, and what sends the signal to this thread.
///
/// # Errors
///
/// Those of `pthread_sigmask(3)` and `signalfd(2)`.
pub fn signal_descriptor() -> io::Result<(OwnedFd, SignalSender)> {
    // SAFETY: All zeroes is a valid `sigset_t`: it is made of integers.
    let mut signals: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `signals` is ours and is only written to.
    unsafe { libc::sigemptyset(&mut signals) };
    // SAFETY: `signals` has been initialised, and `SIGUSR2` is a signal.
    unsafe { libc::sigaddset(&mut signals, libc::SIGUSR2) };
    // SAFETY: `signals` is only read, and the old mask is not asked for.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut()) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    // SAFETY: `signals` is only read.
    let fd = unsafe { libc::signalfd(-1, &signals, libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just returned this descriptor, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: Takes no arguments and cannot fail.
    let thread = unsafe { libc::gettid() };
    Ok((fd, SignalSender { thread }))
}

/// Sends `SIGUSR2` to the thread that made it; see [`signal_descriptor`].
#[derive(Clone, Copy, Debug)]
pub struct SignalSender {
    thread: libc::pid_t,
}

impl SignalSender {
    /// Sends it. The thread must still be there.
    pub fn send(self) {
        // SAFETY: Takes no arguments and cannot fail.
        let process = unsafe { libc::getpid() };
        // SAFETY: Touches no memory; the thread that gets the signal blocks it.
        let result = unsafe { libc::syscall(libc::SYS_tgkill, process, self.thread, libc::SIGUSR2) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

/// Sets the controlling end of a pseudoterminal to packet mode (`TIOCPKT`): each read begins with a byte that says what
/// kind of packet follows, and a change of state of the other end is an exceptional condition.
///
/// # Errors
///
/// Those of `ioctl_tty(2)`.
pub fn packet_mode(controller: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `TIOCPKT` reads one integer, which lives across the call.
    if unsafe { libc::ioctl(controller.as_raw_fd(), libc::TIOCPKT, &on) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The allocator of std, which counts: see [`live_heap`]. A test program names it as its `#[global_allocator]`.
#[derive(Debug)]
pub struct CountingAllocator;

/// Bytes that are allocated at the moment.
static LIVE_HEAP: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated at the moment, by all threads, in a program that uses [`CountingAllocator`].
pub fn live_heap() -> usize {
    LIVE_HEAP.load(Ordering::SeqCst)
}

// SAFETY: Memory comes from `System` and goes back to it, with the layout that the caller gave; counting does not
// allocate. `realloc` and `alloc_zeroed` are those of the trait, made from these two.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_HEAP.fetch_add(layout.size(), Ordering::SeqCst);
        // SAFETY: The caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_HEAP.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: The caller keeps the contract of `dealloc`, and `pointer` is from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The functions of a waker in which foreign code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakerCall {
    /// The waker is cloned.
    Clone,
    /// It wakes, by value or by reference.
    Wake,
    /// It is dropped. Waking by value ends in this, too.
    Drop,
}

/// What a [`hostile_waker`] runs.
pub type WakerAct = Arc<dyn Fn(WakerCall) + Send + Sync>;

/// A waker that runs `act` in each of its functions, not in `wake` alone as one made from [`std::task::Wake`] does.
///
/// `act` may do whatever it likes, panicking included: a call that panics has still given up what it owned.
pub fn hostile_waker(act: WakerAct) -> Waker {
    // The data pointer is thin, and a reference to a closure is not: hence an `Arc` in an `Arc`.
    let data = Arc::into_raw(Arc::new(act)).cast();
    // SAFETY: The functions of the table keep a waker's contract: each waker owns one count of an `Arc<WakerAct>`, they may
    // be called on any thread since `WakerAct` is `Send + Sync`, and they agree on what `data` points to.
    unsafe { Waker::from_raw(RawWaker::new(data, &HOSTILE)) }
}

/// For [`hostile_waker`]; `data` is that of `Arc::<WakerAct>::into_raw`, and each waker owns one count of it.
static HOSTILE: RawWakerVTable = RawWakerVTable::new(hostile_clone, hostile_wake, hostile_wake_by_ref, hostile_drop);

unsafe fn hostile_clone(data: *const ()) -> RawWaker {
    // SAFETY: The waker that is cloned owns a count and lives across this call.
    let act = unsafe { &*data.cast::<WakerAct>() };
    // Before the count is raised, so that a panic leaves nothing behind.
    act(WakerCall::Clone);
    // SAFETY: As above, so the count is at least one; the new waker owns the one that is added.
    unsafe { Arc::increment_strong_count(data.cast::<WakerAct>()) };
    RawWaker::new(data, &HOSTILE)
}

unsafe fn hostile_wake(data: *const ()) {
    // SAFETY: The waker that is used up hands its count over.
    let act = unsafe { Arc::from_raw(data.cast::<WakerAct>()) };
    act(WakerCall::Wake);
    act(WakerCall::Drop);
}

unsafe fn hostile_wake_by_ref(data: *const ()) {
    // SAFETY: The waker owns a count and lives across this call.
    let act = unsafe { &*data.cast::<WakerAct>() };
    act(WakerCall::Wake);
}

unsafe fn hostile_drop(data: *const ()) {
    // SAFETY: The waker that is dropped hands its count over.
    let act = unsafe { Arc::from_raw(data.cast::<WakerAct>()) };
    act(WakerCall::Drop);
}
