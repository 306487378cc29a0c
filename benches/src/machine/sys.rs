//! System calls that no crate wraps for us. This is the only file of the suite with `unsafe`.
//!
//! The raw server and the load generator use [`Epoll`]; every child process uses [`pin`], [`tie_to_us`] and
//! [`raise_file_limit`]; the connect cases use [`defer_accept`]; the timers use [`process_cpu`]; the byte counts come
//! from [`CountingAllocator`].
#![allow(unsafe_code)]

use super::heap;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

pub(crate) use libc::{EPOLLET, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, epoll_event};

/// An empty epoll event, to fill arrays.
pub(crate) const NO_EVENT: epoll_event = epoll_event { events: 0, u64: 0 };

/// Words of a CPU mask: room for 1024 cores, as in the C library.
const MASK_WORDS: usize = 16;
/// Cores per word of the mask.
const WORD_BITS: usize = 64;

/// Converts "-1 and `errno`" to an `io::Result`.
fn cvt(value: libc::c_int) -> io::Result<libc::c_int> {
    if value == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// Calls `epoll_create1(EPOLL_CLOEXEC)`.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: `epoll_create1` takes an integer and touches no memory of ours.
        let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: The kernel has just returned this descriptor, so we are its only owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Calls `epoll_ctl(EPOLL_CTL_ADD)`: from now on `wait` reports `events` of `fd` with `token`.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, events: libc::c_int, token: u64) -> io::Result<()> {
        let mut event = epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` lives across the call and is only read; both descriptors are open, being borrowed.
        cvt(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) }).map(drop)
    }

    /// Calls `epoll_wait`: fills the front of `events` and returns the number of events; 0 after `timeout` or EINTR.
    pub(crate) fn wait(&self, events: &mut [epoll_event], timeout: Option<Duration>) -> io::Result<usize> {
        let capacity = i32::try_from(events.len()).unwrap_or(i32::MAX);
        let millis = timeout.map_or(-1, |timeout| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
        // SAFETY: Pointer and `capacity` describe the slice, which we borrow mutably for the whole call.
        match cvt(unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), capacity, millis) }) {
            Ok(count) => Ok(count.unsigned_abs() as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// Returns the cores on which this process may run, in ascending order.
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    let mut mask = [0u64; MASK_WORDS];
    // SAFETY: The kernel writes at most `size_of_val(&mask)` bytes to the array, for which any bits are valid.
    cvt(unsafe { libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast()) })?;
    Ok((0..MASK_WORDS * WORD_BITS).filter(|core| mask[core / WORD_BITS] >> (core % WORD_BITS) & 1 == 1).collect())
}

/// Keeps the calling thread on one core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut mask = [0u64; MASK_WORDS];
    mask[core / WORD_BITS] |= 1 << (core % WORD_BITS);
    // SAFETY: The kernel reads at most `size_of_val(&mask)` bytes of the array.
    cvt(unsafe { libc::sched_setaffinity(0, size_of_val(&mask), mask.as_ptr().cast()) }).map(drop)
}

/// Makes the kernel kill the child when this process ends, so no child outlives an interrupted run.
pub(crate) fn tie_to_us(command: &mut Command) {
    // SAFETY: Between `fork` and `exec` only async-signal-safe calls are allowed. `die_with_parent` makes a single
    // system call, and converting `errno` to an `io::Error` does not allocate.
    unsafe { command.pre_exec(die_with_parent) };
}

/// Makes the kernel kill this process when its parent ends.
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: `PR_SET_PDEATHSIG` takes a signal number and touches no memory of ours.
    cvt(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
}

/// Raises the soft limit of open descriptors to the hard limit.
pub(crate) fn raise_file_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: The kernel writes to `limit`, which lives across the call.
    cvt(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: The kernel only reads `limit`, which lives across the call.
    cvt(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }).map(drop)
}

/// Sets `TCP_DEFER_ACCEPT`: `accept` returns a connection only when its first bytes have arrived, or after `seconds`.
pub(crate) fn defer_accept(listener: BorrowedFd<'_>, seconds: libc::c_int) -> io::Result<()> {
    let (fd, option) = (listener.as_raw_fd(), libc::TCP_DEFER_ACCEPT);
    let length = libc::socklen_t::try_from(size_of_val(&seconds)).unwrap_or(0);
    // SAFETY: Pointer and `length` describe the integer `seconds`. It lives across the call and is only read.
    cvt(unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, option, (&raw const seconds).cast(), length) }).map(drop)
}

/// Returns the CPU time of this process so far, user and system, of all its threads.
pub(crate) fn process_cpu() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: The kernel writes to `time`, which lives across the call.
    cvt(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) })?;
    let nanos = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(Duration::new(time.tv_sec.unsigned_abs(), nanos))
}

/// Makes the kernel end this process after `seconds`, even while it sleeps.
pub(crate) fn end_after(seconds: u32) {
    // SAFETY: `alarm` takes a number and touches no memory of ours; the signal's default action runs no code of ours.
    unsafe { libc::alarm(seconds) };
}

/// The system's allocator, with every size reported to [`heap`].
#[derive(Debug)]
pub(crate) struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

// SAFETY: Every request is passed unchanged to `System`, and `System` fulfils the contract. Counting does not allocate.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        heap::grows(layout.size());
        // SAFETY: The caller guarantees a size that is not zero.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        heap::grows(layout.size());
        // SAFETY: The caller guarantees a size that is not zero.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        heap::grows(size);
        heap::shrinks(layout.size());
        // SAFETY: The caller guarantees that `block` was allocated here, so by `System`, with `layout`. It also
        // guarantees a `size` that is not zero and can be aligned.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        heap::shrinks(layout.size());
        // SAFETY: The caller guarantees that `block` was allocated here, so by `System`, with `layout`.
        unsafe { System.dealloc(block, layout) }
    }
}
