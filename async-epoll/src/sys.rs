//! The system calls, behind safe functions: the only file of this crate with `unsafe` code.
//!
//! Every function makes one system call and turns the C convention "-1 means look at `errno`" into an [`io::Result`].
//! New descriptors are returned as [`OwnedFd`]. Nothing here knows what a reactor is.
//!
//! Four families: epoll itself ([`Epoll`]), the eventfd that ends a sleep ([`eventfd`], or [`pipe`] in its place), the
//! timerfd of exact timers ([`timerfd`]), and [`ForkGuard`], which tells a forked child apart from its parent without a
//! system call. Writes to the eventfd are not here: a [`std::fs::File`] makes them safely.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

pub(crate) use libc::epoll_event;

/// Bytes that [`ForkGuard`] maps; the kernel rounds up to its page size.
const GUARD_BYTES: usize = 1;

/// Returns the value of a system call, or the error in `errno` if the value is -1.
fn cvt(value: libc::c_int) -> io::Result<libc::c_int> {
    if value == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// An epoll instance.
///
/// The kernel keeps something like a `Weak` to each registered open file: when the last descriptor of a file is closed,
/// the registration ends. See [`epoll(7)`](https://man7.org/linux/man-pages/man7/epoll.7.html).
pub(crate) struct Epoll {
    /// The descriptor of the instance, close-on-exec.
    fd: OwnedFd,
    /// Set by [`wait`](Self::wait), for good, when the kernel, a sandbox or valgrind has refused `epoll_pwait2(2)`.
    no_pwait2: AtomicBool,
}

impl Epoll {
    /// Makes an epoll instance, by `epoll_create1(EPOLL_CLOEXEC)`.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: `epoll_create1` takes a plain integer and touches no memory of ours.
        let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: The kernel has just returned this descriptor and no other code knows it: the `OwnedFd` is its only
        // owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, no_pwait2: AtomicBool::new(false) })
    }

    /// Registers `fd`, by `epoll_ctl(EPOLL_CTL_ADD)`: the kernel will report the edges in `events` with `token`.
    pub(crate) fn add(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        let mut event = epoll_event { events, u64: token };
        // SAFETY: `event` outlives the call, which only reads it. A number without an open descriptor is an error
        // (`EBADF`), not undefined behaviour.
        cvt(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
    }

    /// Deregisters `fd`, by `epoll_ctl(EPOLL_CTL_DEL)`.
    pub(crate) fn delete(&self, fd: RawFd) -> io::Result<()> {
        // Kernels before 2.6.9 required a non-null event here. Later ones ignore the event.
        let event = std::ptr::null_mut();
        // SAFETY: The event pointer is ignored for `EPOLL_CTL_DEL`, and a bad descriptor number is only an error.
        cvt(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, event) }).map(drop)
    }

    /// Waits for events until `timeout` has passed (`None`: without limit), and writes them to the front of `events`.
    /// Returns their number.
    ///
    /// A timeout is exact to the nanosecond with `epoll_pwait2(2)`. Where that call is missing (before Linux 5.11, in
    /// some sandboxes, under valgrind), `epoll_wait(2)` is used. Its timeout is rounded up to a millisecond, so that no
    /// sleep ends early, and bounded, because a negative number would mean "without limit".
    pub(crate) fn wait(&self, events: &mut [epoll_event], timeout: Option<Duration>) -> io::Result<usize> {
        if let Some(timeout) = timeout.filter(|t| !t.is_zero()) {
            if !self.no_pwait2.load(Ordering::Relaxed) {
                match self.pwait2(events, timeout) {
                    Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                        self.no_pwait2.store(true, Ordering::Relaxed);
                    }
                    result => return result,
                }
            }
        }
        let millis = match timeout {
            None => -1,
            Some(t) => i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
        };
        let capacity = i32::try_from(events.len()).unwrap_or(i32::MAX);
        // SAFETY: The pointer and `capacity` describe at most the slice `events`, borrowed mutably for the whole call.
        // The kernel writes at most `capacity` plain-data entries there.
        let n = cvt(unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), capacity, millis) })?;
        Ok(n.unsigned_abs() as usize)
    }

    /// Calls `epoll_pwait2(2)`, by number since the C library may be older than the kernel.
    fn pwait2(&self, events: &mut [epoll_event], timeout: Duration) -> io::Result<usize> {
        /// The kernel's 64-bit `timespec`, the same on every architecture.
        #[repr(C)]
        struct KernelTimespec {
            seconds: i64,
            nanoseconds: i64,
        }
        let timeout = KernelTimespec {
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        };
        let fd = self.fd.as_raw_fd();
        let capacity = i32::try_from(events.len()).unwrap_or(i32::MAX);
        let no_mask = std::ptr::null::<libc::sigset_t>();
        // SAFETY: As for `epoll_wait`: the kernel writes at most `capacity` entries into a slice borrowed mutably.
        // `timeout` outlives the call and is only read. A null mask leaves the signal mask unchanged.
        let n = unsafe {
            libc::syscall(libc::SYS_epoll_pwait2, fd, events.as_mut_ptr(), capacity, &timeout, no_mask, 0usize)
        };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Epoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fd.fmt(f)
    }
}

/// Makes an eventfd, a 64-bit counter behind a descriptor, by `eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)`.
///
/// A write adds to the counter and makes an edge for epoll even if the counter was never read. This crate relies on
/// that, and never reads it. See [`eventfd(2)`](https://man7.org/linux/man-pages/man2/eventfd.2.html).
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: `eventfd` takes two integers and touches no memory of ours.
    let fd = cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: The kernel has just returned this descriptor and no other code knows it: the `OwnedFd` is its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a pipe, by `pipe2(O_CLOEXEC | O_NONBLOCK)`. Returns the reading end first, the writing end second.
pub(crate) fn pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends = [-1; 2];
    // SAFETY: The kernel writes two integers to `ends`, which has room for them and is borrowed mutably for the call.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: The kernel has just returned these descriptors and no other code knows them: each has one owner.
    Ok(ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Makes a timerfd, a timer behind a descriptor, by `timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)`. The
/// timer is not set.
///
/// Each time the timer fires it makes an edge for epoll, even if the timerfd was never read. No timer slack applies to
/// it, unlike to the timeout of a wait. See
/// [`timerfd_create(2)`](https://man7.org/linux/man-pages/man2/timerfd_create.2.html).
pub(crate) fn timerfd() -> io::Result<OwnedFd> {
    // SAFETY: `timerfd_create` takes two integers and touches no memory of ours.
    let fd = cvt(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) })?;
    // SAFETY: The kernel has just returned this descriptor and no other code knows it: the `OwnedFd` is its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets `timer` to fire once, `after` from now, by `timerfd_settime(2)`. `None` stops the timer.
pub(crate) fn set_timerfd(timer: BorrowedFd<'_>, after: Option<Duration>) -> io::Result<()> {
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let value = after.map_or(zero, |after| libc::timespec {
        tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
        // Zero would stop the timer.
        tv_nsec: after.subsec_nanos().max(u32::from(after.is_zero())) as libc::c_long,
    });
    let setting = libc::itimerspec { it_interval: zero, it_value: value };
    // SAFETY: `setting` outlives the call, which only reads it. A null pointer means that the old setting is not
    // wanted.
    cvt(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &setting, std::ptr::null_mut()) }).map(drop)
}

/// Returns the address of the peer of a connected TCP or UDP socket, by `getpeername(2)`, and `None` for everything
/// else.
#[cfg(feature = "inspect")]
pub(crate) fn peer(fd: RawFd) -> Option<std::net::SocketAddr> {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
    // As many bytes as a `sockaddr_in6` has, with its alignment. An IPv4 address is shorter, and a longer address is
    // cut.
    let mut words = [0_u32; size_of::<libc::sockaddr_in6>() / size_of::<u32>()];
    let mut length = size_of_val(&words) as libc::socklen_t;
    // SAFETY: The kernel writes at most `length` bytes to `words`. The array has this length, is aligned for these
    // addresses and borrowed mutably for the call. A number without a socket is an error, not undefined behaviour.
    cvt(unsafe { libc::getpeername(fd, words.as_mut_ptr().cast(), &mut length) }).ok()?;
    let [first, rest @ ..] = words.map(u32::to_ne_bytes);
    let family = i32::from(u16::from_ne_bytes([first[0], first[1]]));
    let port = u16::from_be_bytes([first[2], first[3]]);
    match family {
        libc::AF_INET => Some((Ipv4Addr::from(rest[0]), port).into()),
        libc::AF_INET6 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(rest[1..5].as_flattened());
            let (flow, scope) = (u32::from_be_bytes(rest[0]), u32::from_ne_bytes(rest[5]));
            Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(octets), port, flow, scope)))
        }
        _ => None,
    }
}

/// Sets `O_NONBLOCK`, by `fcntl(2)`, unless it is set already.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `F_GETFL` takes no third argument and touches no memory of ours.
    let flags = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    if flags & libc::O_NONBLOCK == 0 {
        // SAFETY: `F_SETFL` takes an integer and touches no memory of ours.
        cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    }
    Ok(())
}

/// Tells whether this process is a forked child of the process that made the guard.
///
/// A child shares its parent's epoll instance: an `EPOLL_CTL_DEL` from the child would end the parent's registration. A
/// call of `getpid(2)` before each wait would cost a system call per turn. So the guard maps one page that the kernel
/// fills with zeros in a child (`MADV_WIPEONFORK`, Linux 4.14), and keeps a 1 in it.
///
/// # Invariant
///
/// `page` is `None`, or points to a mapping of at least one byte that lives until `drop`.
pub(crate) struct ForkGuard {
    /// 1 in the process that made the guard, 0 in its children. `None` if the page could not be mapped.
    page: Option<NonNull<AtomicU8>>,
    /// The id of the process that made the guard. Compared if there is no page.
    pid: u32,
}

impl ForkGuard {
    /// Returns a guard of this process. Never fails: without the page, the guard compares process ids.
    pub(crate) fn new() -> Self {
        Self { page: map_wiped_on_fork(), pid: std::process::id() }
    }

    /// Returns whether the calling process is a forked child of the process that made the guard.
    pub(crate) fn is_child(&self) -> bool {
        match self.page {
            // SAFETY: By the invariant the byte is mapped, and an `AtomicU8` may be read from any thread.
            Some(page) => unsafe { page.as_ref() }.load(Ordering::Relaxed) == 0,
            None => self.pid != std::process::id(),
        }
    }
}

/// Maps one private page that is all zero in forked children, writes a 1 into it, and returns it. `None` if the kernel
/// refuses.
fn map_wiped_on_fork() -> Option<NonNull<AtomicU8>> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: A new anonymous mapping at an address of the kernel's choice overlaps nothing.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), GUARD_BYTES, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: The range was mapped just above and no other code knows it. The advice changes nothing in this process.
    let advised = unsafe { libc::madvise(address, GUARD_BYTES, libc::MADV_WIPEONFORK) };
    if advised != 0 {
        // SAFETY: The range was mapped just above and no reference into it exists.
        unsafe { libc::munmap(address, GUARD_BYTES) };
        return None;
    }
    let page = NonNull::new(address.cast::<AtomicU8>())?;
    // SAFETY: The page is mapped readable and writable, zeroed (a valid `AtomicU8`), and aligned to a page.
    unsafe { page.as_ref() }.store(1, Ordering::Relaxed);
    Some(page)
}

// SAFETY: The pointer leads to an `AtomicU8` in memory of the whole process, so any thread may use it.
unsafe impl Send for ForkGuard {}
// SAFETY: As above; all accesses through a shared guard are atomic.
unsafe impl Sync for ForkGuard {}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            // SAFETY: By the invariant the mapping is alive. The only pointer to it is the guard's, and ends here.
            unsafe { libc::munmap(page.as_ptr().cast(), GUARD_BYTES) };
        }
    }
}

impl fmt::Debug for ForkGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkGuard").field("pid", &self.pid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_is_no_child_in_its_maker() {
        assert!(!ForkGuard::new().is_child());
    }

    #[test]
    fn both_ways_to_wait_honour_the_timeout() {
        let epoll = Epoll::new().unwrap();
        let mut events = [epoll_event { events: 0, u64: 0 }; 4];
        for fallback in [false, true] {
            epoll.no_pwait2.store(fallback, Ordering::Relaxed);
            let begin = std::time::Instant::now();
            assert_eq!(epoll.wait(&mut events, Some(Duration::from_micros(1500))).unwrap(), 0);
            assert!(begin.elapsed() >= Duration::from_micros(1500), "fallback {fallback}");
        }
    }
}
