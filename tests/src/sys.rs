//! System calls that std does not offer: the only file of the tests with `unsafe` code.
//!
//! Each function wraps one call or one idea, returns the kernel's error as `io::Error`, and panics where a failure
//! would be a mistake in the test itself. The second half is memory and wakers: an allocator with a counter
//! ([`CountingAllocator`]), and a waker with code in each of its functions ([`hostile_waker`]).
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Returns the CPU time that the calling thread has used, user and system.
pub fn thread_cpu() -> Duration {
    cpu(libc::RUSAGE_THREAD)
}

/// Returns the CPU time that this process has used, user and system.
pub fn process_cpu() -> Duration {
    cpu(libc::RUSAGE_SELF)
}

fn cpu(who: libc::c_int) -> Duration {
    // SAFETY: All zeroes is a valid `rusage`, a structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is exclusively borrowed and large enough; `getrusage` only writes to it.
    let result = unsafe { libc::getrusage(who, &mut usage) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    let span = |time: libc::timeval| {
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_usec).expect("microseconds") * 1000)
    };
    span(usage.ru_utime) + span(usage.ru_stime)
}

/// Forks and calls `child` in the child process, which then exits without running any destructor. Waits for the child.
///
/// Returns whether `child` returned without a panic. The process must have a single thread at that point: another
/// thread may hold a lock (of the allocator, say), and in the child no thread is left to release it.
pub fn fork_and_run(child: impl FnOnce()) -> bool {
    // SAFETY: By this function's contract the process has no other thread, so no other thread holds a lock.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid == 0 {
        let code = i32::from(std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).is_err());
        // SAFETY: `_exit` ends the child at once.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `pid` is a child of this process, and `status` is a valid integer to write to.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    waited == pid && status == 0
}

/// A child process that has inherited every descriptor of this process, and does nothing. Ends when it is dropped.
#[derive(Debug)]
pub struct IdleChild {
    /// The child.
    pid: libc::pid_t,
    /// The child ends when this is closed.
    end: Option<UnixStream>,
}

/// Forks a child that keeps all descriptors of this process open until the result is dropped.
///
/// Other tests of the process would notice that their descriptors stay open: run the test [`in_child`](crate::in_child).
///
/// # Panics
///
/// If the process can make no child or no socket.
pub fn fork_idle_child() -> IdleChild {
    let (end, wait) = UnixStream::pair().expect("two sockets");
    let (end_number, wait_number) = (end.as_raw_fd(), wait.as_raw_fd());
    // SAFETY: The child makes system calls only, which is allowed even if another thread held a lock during the fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: The number is that of the child's copy of `end`, which the child does not use.
        unsafe { libc::close(end_number) };
        let mut byte = 0_u8;
        // SAFETY: The kernel writes at most one byte to `byte`. The call returns when the parent closes its end.
        unsafe { libc::read(wait_number, (&raw mut byte).cast(), 1) };
        // SAFETY: `_exit` ends the child at once.
        unsafe { libc::_exit(0) };
    }
    IdleChild { pid, end: Some(end) }
}

impl Drop for IdleChild {
    fn drop(&mut self) {
        drop(self.end.take());
        // SAFETY: `pid` is a child of this process, and a null pointer means that the status is not wanted.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// One of two processes after [`fork`].
#[derive(Debug)]
pub enum Forked {
    /// This is the child, with the writing end of a pipe to the parent.
    Child(File),
    /// This is the parent, with the child's ID and the reading end.
    Parent(libc::pid_t, File),
}

/// Forks. The other threads of this process must be idle at that point: see [`fork_and_run`].
pub fn fork() -> Forked {
    let (reader, writer) = pipe().expect("a pipe");
    // SAFETY: By this function's contract no other thread holds a lock.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid == 0 { Forked::Child(writer) } else { Forked::Parent(pid, reader) }
}

impl Forked {
    /// Ends the child at once, without running any destructor, and tells its parent `text`. Does nothing in the parent.
    pub fn end(&mut self, text: &str) {
        if let Self::Child(writer) = self {
            let written = writer.write_all(text.as_bytes());
            // SAFETY: `_exit` ends the child at once.
            unsafe { libc::_exit(i32::from(written.is_err())) };
        }
    }

    /// Waits for the child. Returns what the child tells at its end.
    ///
    /// # Errors
    ///
    /// How the child ended otherwise, or that it was killed because it did not end within `limit`.
    pub fn wait(self, limit: Duration) -> Result<String, String> {
        let Self::Parent(pid, mut reader) = self else { panic!("the child waits for itself") };
        let (begin, mut status) = (Instant::now(), 0);
        // SAFETY: `pid` is a child of this process, and `status` is a valid integer to write to.
        while unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } == 0 {
            if begin.elapsed() > limit {
                // SAFETY: `pid` is a child of this process that has not been waited for, so the number is still its own.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                // SAFETY: As above.
                unsafe { libc::waitpid(pid, &mut status, 0) };
                return Err(format!("the child hangs: killed after {limit:?}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).map_err(|error| error.to_string())?;
        if status == 0 { Ok(text) } else { Err(format!("the child ended with status {status:#x}")) }
    }
}

/// Forks and calls `child` in the child process, which then exits without running any destructor. Returns what `child`
/// returns. The other threads of this process must be idle at that point: see [`fork_and_run`].
///
/// # Errors
///
/// Those of [`Forked::wait`]. A panic in the child is an error, too.
pub fn fork_within(limit: Duration, child: impl FnOnce() -> String) -> Result<String, String> {
    let mut forked = fork();
    if matches!(forked, Forked::Child(_)) {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)) {
            Ok(text) => forked.end(&text),
            // SAFETY: `_exit` ends the child at once.
            Err(_) => unsafe { libc::_exit(101) },
        }
    }
    forked.wait(limit)
}

/// As [`fork_within`], but by a bare `clone(2)`, past the C library and its handlers of `pthread_atfork(3)`.
///
/// # Errors
///
/// Those of [`Forked::wait`].
pub fn clone_within(limit: Duration, child: impl FnOnce() -> String) -> Result<String, String> {
    let (reader, writer) = pipe().expect("a pipe");
    // SAFETY: As a fork: the child has a copy of the memory, and goes on where the call returns. By the contract of
    // `fork_and_run` no other thread holds a lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid == 0 {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        Forked::Child(writer).end(&ended.unwrap_or_else(|_| "a panic in the child".into()));
        unreachable!("the child has ended");
    }
    drop(writer);
    let forked = Forked::Parent(pid.try_into().expect("a process ID"), reader);
    forked.wait(limit)
}

/// Sends a signal to a process, by `kill(2)`.
///
/// # Errors
///
/// Those of `kill(2)`.
pub fn send_signal(process: u32, signal: i32) -> io::Result<()> {
    // SAFETY: Takes two integers. The action of the signal was installed by safe code, or by an `unsafe` block that
    // argues for its handler.
    let result = unsafe { libc::kill(process.try_into().expect("a process ID"), signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets each process that `command` starts end before `spawn` returns, and its ID pass to a process that is no child of this
/// process. That process sleeps for a minute at most. This process has to ignore SIGCHLD, and to be permitted to write
/// `/proc/sys/kernel/ns_last_pid`. If the ID does not pass, no process has it when `spawn` returns.
pub fn pass_id_on(command: &mut Command) {
    fn fork() -> libc::pid_t {
        // SAFETY: The calling process has one thread, so no lock is held.
        unsafe { libc::fork() }
    }
    fn exit() -> ! {
        // SAFETY: Ends the process at once, without running any destructor.
        unsafe { libc::_exit(0) }
    }
    let pass_on = || {
        let id = std::process::id();
        if fork() != 0 {
            exit();
        }
        while send_signal(id, 0).is_ok() {
            std::thread::yield_now();
        }
        for _ in 0..1000 {
            // Without an allocation, since this is a forked child.
            let mut text = [0; 16];
            let mut rest = &mut text[..];
            write!(rest, "{}", id - 1)?;
            let len = 16 - rest.len();
            std::fs::write("/proc/sys/kernel/ns_last_pid", &text[..len])?;
            match fork() {
                0 if std::process::id() == id => {
                    // `spawn` waits for the end of a pipe that this process has inherited.
                    // SAFETY: No destructor of this process runs, so nothing uses the descriptors any more.
                    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
                    std::thread::sleep(Duration::from_secs(60));
                    exit();
                }
                child if child == 0 || child.unsigned_abs() == id => exit(),
                _ => {}
            }
        }
        exit()
    };
    // SAFETY: The closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(pass_on) };
}

/// Makes this process ignore a signal, or gives the signal its default action.
///
/// # Panics
///
/// If the kernel refuses.
pub fn ignore_signal(signal: i32, ignored: bool) {
    let action = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: Both actions run no handler.
    let result = unsafe { libc::signal(signal, action) };
    assert_ne!(result, libc::SIG_ERR, "{}", io::Error::last_os_error());
}

/// Ignores a signal while `code` runs, and then puts the action back that was there before, whatever `code` has done: as
/// `system(3)` deals with SIGINT.
pub fn ignore_meanwhile(signal: i32, code: impl FnOnce()) {
    // SAFETY: All zeroes is a valid `sigaction`: no flags, an empty mask.
    let (mut ignored, mut before): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
    ignored.sa_sigaction = libc::SIG_IGN;
    // SAFETY: The first structure is only read, the second is borrowed mutably. The action runs no handler.
    let result = unsafe { libc::sigaction(signal, &ignored, &mut before) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    code();
    // SAFETY: The structure is only read. It is the action that was there before.
    let result = unsafe { libc::sigaction(signal, &before, std::ptr::null_mut()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Makes a new PID namespace, for the children that this process forks from now on: the first child has the ID 1. The
/// process can start no more threads.
///
/// # Errors
///
/// Those of `unshare(2)`: `EPERM` without the rights of root.
pub fn new_pid_namespace() -> io::Result<()> {
    // SAFETY: Touches no memory.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to the calling thread every `period` until the guard is dropped. The handler is installed without
/// `SA_RESTART`, so system calls return EINTR.
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

/// Signals received so far, by any thread of the process. Incremented by the signal handler.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// The guard of [`interrupt_this_thread`]. Not `Send`: it stays on the thread that gets the signals.
#[derive(Debug)]
pub struct SignalStorm {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
    stay: PhantomData<*const ()>,
}

impl SignalStorm {
    /// Returns the number of signals received so far.
    pub fn received(&self) -> usize {
        SIGNALS.load(Ordering::SeqCst)
    }
}

impl Drop for SignalStorm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(sender) = self.sender.take() {
            // The thread does not panic.
            let _ = sender.join();
        }
    }
}

/// Undoes what Rust's start-up code does: with the default action of SIGPIPE, a write to a closed pipe kills the
/// process again, as in a C program.
pub fn restore_default_sigpipe() {
    // SAFETY: A signal with the default action runs no handler.
    let result = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(result, libc::SIG_ERR);
}

/// Limits the address space of this process to `more` bytes beyond what it uses now, so that no stack of another thread
/// fits in; `None` takes the limit back. Returns `None`, for the way back.
///
/// # Panics
///
/// If the kernel refuses.
pub fn limit_memory(more: Option<u64>) -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("/proc/self/statm");
    let pages: u64 = pages.split(' ').next().and_then(|size| size.parse().ok()).expect("a number of pages");
    // SAFETY: `sysconf` takes a plain integer and touches no memory of ours.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` is a valid structure to write to.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limits) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    limits.rlim_cur = more.map_or(limits.rlim_max, |more| pages * page.unsigned_abs() + more);
    // SAFETY: `limits` is only read.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limits) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    None
}

/// Sets the soft limit of open descriptors of this process to `limit`, at most to the hard limit. Returns the new soft
/// limit.
pub fn limit_open_files(limit: usize) -> usize {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` is a valid structure to write to.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    limits.rlim_cur = limits.rlim_max.min(limit as libc::rlim_t);
    // SAFETY: `limits` is only read.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limits) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    limits.rlim_cur as usize
}

/// Returns the value of an integer socket option, by `getsockopt(2)`.
///
/// # Errors
///
/// Those of `getsockopt(2)`.
pub fn socket_option(socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let pointer = (&raw mut value).cast();
    // SAFETY: `pointer` and `length` describe the integer `value`; the kernel writes to both, and both live across the
    // call.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, pointer, &mut length) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Returns the value of every option that `getsockopt(2)` knows for a socket, by level and name.
pub fn socket_options(socket: BorrowedFd<'_>) -> BTreeMap<(i32, i32), Vec<u8>> {
    // `SO_ERROR` would be cleared, and `SO_PEERPIDFD` opens a descriptor.
    const WITH_EFFECTS: [(i32, i32); 2] = [(libc::SOL_SOCKET, libc::SO_ERROR), (libc::SOL_SOCKET, 77)];
    let levels = [libc::SOL_SOCKET, libc::IPPROTO_IP, libc::IPPROTO_TCP, libc::SOL_UDP, libc::IPPROTO_IPV6];
    let names = levels.into_iter().flat_map(|level| (1..=127).map(move |name| (level, name)));
    let value = |(level, name)| {
        let mut value = vec![0_u8; 512];
        let mut length = value.len() as libc::socklen_t;
        let pointer = value.as_mut_ptr().cast();
        // SAFETY: `pointer` and `length` describe the bytes of `value`; the kernel writes to both, and both live across
        // the call.
        let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, pointer, &mut length) };
        value.truncate(length as usize);
        (result == 0).then_some(value)
    };
    names.filter(|name| !WITH_EFFECTS.contains(name)).filter_map(|name| Some((name, value(name)?))).collect()
}

/// Sets an integer socket option, by `setsockopt(2)`.
///
/// # Errors
///
/// Those of `setsockopt(2)`.
pub fn set_socket_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_option_of_number(socket.as_raw_fd(), level, name, value)
}

/// As [`set_socket_option`], for the bare number of a descriptor.
///
/// # Errors
///
/// Those of `setsockopt(2)`.
pub fn set_option_of_number(socket: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let (pointer, length) = ((&raw const value).cast(), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: `pointer` and `length` describe the integer `value`, which lives across the call and is only read. A number
    // without a socket is an error, not undefined behaviour.
    let result = unsafe { libc::setsockopt(socket, level, name, pointer, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the loopback interface of the present network namespace up. A new namespace has it down.
///
/// # Errors
///
/// Those of `socket(2)` and `netdevice(7)`.
pub fn set_loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0))?;
    // SAFETY: All zeroes is a valid `ifreq`, a structure of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `SIOCSIFFLAGS` reads the name and the flags of `request`, which lives across the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Installs a filter on the present thread: `call` fails with `error` if each argument of `arguments`, given by its
/// index, has this value.
///
/// A filter of `seccomp(2)`: it cannot be removed, and threads that this thread starts inherit it.
pub fn refuse(call: libc::c_long, arguments: &[(usize, i32)], error: i32) {
    let load = |offset: usize| (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32);
    let equals = |number: u32| (libc::BPF_JMP | libc::BPF_K | libc::BPF_JEQ, number);
    // The lower half of an argument, which comes first on a little-endian machine.
    let half = if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut program = vec![load(std::mem::offset_of!(libc::seccomp_data, nr)), equals(call as u32)];
    for &(index, value) in arguments {
        program.push(load(std::mem::offset_of!(libc::seccomp_data, args) + index * size_of::<u64>() + half));
        program.push(equals(value as u32));
    }
    program.push((libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error.unsigned_abs()));
    program.push((libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    let last = program.len() - 1;
    let instruction = |(place, (code, k))| {
        // A comparison that is false jumps to the last instruction.
        let jf = if code & 0x07 == libc::BPF_JMP { (last - place - 1) as u8 } else { 0 };
        libc::sock_filter { code: code as u16, jt: 0, jf, k }
    };
    let mut filter: Vec<_> = program.into_iter().enumerate().map(instruction).collect();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: Takes integers and touches no memory. Only a thread that cannot gain privileges may install a filter.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: `program` and the instructions that it points to live across the call, which copies them.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
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

/// Returns the reader and the writer of a pipe that keeps packets apart: `pipe2(O_DIRECT)`.
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
    // SAFETY: The kernel has just returned this descriptor, and no other value owns it.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: As above.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((reader, writer))
}

/// Returns an eventfd, the cheapest descriptor that epoll accepts.
///
/// # Errors
///
/// Those of `eventfd(2)`.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: `eventfd` takes two integers and touches no memory of this process.
    let number = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just returned this descriptor, and no other value owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends `bytes` together with a duplicate of `fd`, by `sendmsg(2)`. Returns the number of bytes sent.
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
    // SAFETY: All memory that `message` points to lives across the call, and the kernel only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Binds a Unix socket to a path that fills all 108 bytes of the address, with no zero at the end. A C program may do
/// so; std and socket2 do not.
///
/// # Errors
///
/// Those of `bind(2)`.
pub fn bind_full_path(socket: BorrowedFd<'_>, path: &std::path::Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_encoded_bytes();
    // SAFETY: All zeroes is a valid `sockaddr_un`, a structure of integers.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    assert_eq!(bytes.len(), address.sun_path.len());
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: `address` lives across the call, has the length that `length` says, and is only read.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Turns on `IP_RECVERR`: the kernel then queues the ICMP errors of a UDP socket, to be read with `MSG_ERRQUEUE`.
///
/// # Errors
///
/// Those of `setsockopt(2)`.
pub fn report_icmp_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_socket_option(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
}

/// Moves a descriptor to a high number (900 or above), which the kernel gives to no other descriptor by itself. Returns
/// the number and its owner.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn move_fd_high(fd: OwnedFd) -> io::Result<(RawFd, OwnedFd)> {
    // SAFETY: `F_DUPFD_CLOEXEC` takes an integer and touches no memory of this process.
    let number = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 900) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just returned this descriptor, and no other value owns it.
    Ok((number, unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Closes the descriptor `number` behind its owner's back. The owner will later close the same number, so the test must
/// first open something harmless there; see [`reopen_at`].
pub fn close_raw(number: RawFd) {
    // SAFETY: Touches no memory. The caller is responsible for the owner of the descriptor, as described above.
    unsafe { libc::close(number) };
}

/// Opens `/dev/null` at the descriptor number `number`.
///
/// # Errors
///
/// Those of `dup2(2)`.
pub fn reopen_at(number: RawFd) -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: Touches no memory; the test has closed the number before.
    if unsafe { libc::dup2(null.as_raw_fd(), number) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Blocks `SIGUSR2` on the calling thread and returns a `signalfd(2)` for it, with a sender of the signal to this
/// thread.
///
/// # Errors
///
/// Those of `pthread_sigmask(3)` and `signalfd(2)`.
pub fn signal_descriptor() -> io::Result<(OwnedFd, SignalSender)> {
    // SAFETY: All zeroes is a valid `sigset_t`, a structure of integers.
    let mut signals: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `signals` is a valid structure to write to.
    unsafe { libc::sigemptyset(&mut signals) };
    // SAFETY: `signals` has been initialised, and `SIGUSR2` is a signal.
    unsafe { libc::sigaddset(&mut signals, libc::SIGUSR2) };
    // SAFETY: `signals` is only read; the null pointer means that the old mask is not returned.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut()) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    // SAFETY: `signals` is only read.
    let fd = unsafe { libc::signalfd(-1, &signals, libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just returned this descriptor, and no other value owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: Takes no arguments and cannot fail.
    let thread = unsafe { libc::gettid() };
    Ok((fd, SignalSender { thread }))
}

/// Sends `SIGUSR2` to the thread that called [`signal_descriptor`].
#[derive(Clone, Copy, Debug)]
pub struct SignalSender {
    thread: libc::pid_t,
}

impl SignalSender {
    /// Sends the signal. The thread must still exist.
    pub fn send(self) {
        // SAFETY: Takes no arguments and cannot fail.
        let process = unsafe { libc::getpid() };
        // SAFETY: Touches no memory; the receiving thread blocks the signal.
        let result = unsafe { libc::syscall(libc::SYS_tgkill, process, self.thread, libc::SIGUSR2) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

/// Sets the controlling end of a pseudoterminal to packet mode (`TIOCPKT`): each read begins with a byte that names the
/// kind of packet, and a change of state of the other end is an exceptional condition (`EPOLLPRI`).
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

/// The allocator of std with a counter, which [`live_heap`] reads. A test program names it as its
/// `#[global_allocator]`.
#[derive(Debug)]
pub struct CountingAllocator;

/// Bytes allocated and not yet freed, by all threads. Changed by each allocation and deallocation.
static LIVE_HEAP: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of bytes allocated and not yet freed, by all threads. Always zero in a program without
/// [`CountingAllocator`].
pub fn live_heap() -> usize {
    LIVE_HEAP.load(Ordering::SeqCst)
}

thread_local! {
    /// The allocations of this thread so far. Plain data without a destructor, so the allocator may use it at any time.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Returns the number of allocations that this thread has made so far. Always zero in a program without
/// [`CountingAllocator`].
pub fn allocations() -> usize {
    ALLOCATIONS.get()
}

// SAFETY: Memory comes from `System` and goes back to it, with the caller's layout; the counter does not allocate.
// `realloc` and `alloc_zeroed` are the provided methods, made of these two.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_HEAP.fetch_add(layout.size(), Ordering::SeqCst);
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: The caller keeps the contract of `alloc`, and `System` has the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_HEAP.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: The caller keeps the contract of `dealloc`, and `pointer` is from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The functions of a waker. Each runs foreign code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakerCall {
    /// `clone`.
    Clone,
    /// `wake` or `wake_by_ref`.
    Wake,
    /// `drop`. `wake` by value ends with this call, too.
    Drop,
}

/// The closure of a [`hostile_waker`], called with the function that runs.
pub type WakerAct = Arc<dyn Fn(WakerCall) + Send + Sync>;

/// Returns a waker that calls `act` in each of its functions. A waker made from [`std::task::Wake`] runs foreign code
/// in `wake` alone.
///
/// `act` may do anything, including a panic: a function that panics has still released its count of the closure.
pub fn hostile_waker(act: WakerAct) -> Waker {
    // The data pointer of a waker is thin and a pointer to a closure is wide, hence an `Arc` in an `Arc`.
    let data = Arc::into_raw(Arc::new(act)).cast();
    // SAFETY: The functions of the table keep the contract of a waker: each waker owns one count of an `Arc<WakerAct>`;
    // `WakerAct` is `Send + Sync`, so they may be called on any thread; all cast `data` to the same type.
    unsafe { Waker::from_raw(RawWaker::new(data, &HOSTILE)) }
}

/// The table of [`hostile_waker`]. `data` comes from `Arc::<WakerAct>::into_raw`, and each waker owns one count of it.
static HOSTILE: RawWakerVTable = RawWakerVTable::new(hostile_clone, hostile_wake, hostile_wake_by_ref, hostile_drop);

unsafe fn hostile_clone(data: *const ()) -> RawWaker {
    // SAFETY: The waker that is being cloned owns a count and lives across this call.
    let act = unsafe { &*data.cast::<WakerAct>() };
    // Called before the count is raised, so that a panic leaks nothing.
    act(WakerCall::Clone);
    // SAFETY: As above, so the count is at least one; the new waker owns the added count.
    unsafe { Arc::increment_strong_count(data.cast::<WakerAct>()) };
    RawWaker::new(data, &HOSTILE)
}

unsafe fn hostile_wake(data: *const ()) {
    // SAFETY: `wake` consumes the waker, which hands its count over.
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
    // SAFETY: The waker that is being dropped hands its count over.
    let act = unsafe { Arc::from_raw(data.cast::<WakerAct>()) };
    act(WakerCall::Drop);
}
