//! The system calls, behind safe functions: the only file of this crate with `unsafe` code.
//!
//! Every function makes one system call and turns the C convention "-1 means look at `errno`" into an [`io::Result`].
//! New descriptors are returned as [`OwnedFd`]. Nothing here knows what a reactor is.
//!
//! Five families: epoll itself ([`Epoll`]), the eventfd that ends a sleep ([`eventfd`], or [`pipe`] in its place), the
//! timerfd of exact timers ([`timerfd`]), [`ForkMark`], which tells a forked child apart from its parent without a
//! system call, and [`fork_count`], which tells a parent whether a child may have inherited a descriptor. Writes to the
//! eventfd are not here: a [`std::fs::File`] makes them safely.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::time::Duration;

pub(crate) use libc::epoll_event;

/// Bytes that [`ForkMark`] maps; the kernel rounds up to its page size.
const PAGE_BYTES: usize = size_of::<AtomicU32>();

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

/// Returns which of `events` (`POLLIN`, …) the kernel reports for `fd` at this moment, by `poll(2)` without waiting. The
/// kernel adds `POLLERR`, `POLLHUP` and `POLLNVAL`.
pub(crate) fn present_events(fd: BorrowedFd<'_>, events: libc::c_short) -> io::Result<libc::c_short> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: The kernel reads and writes one entry, which is borrowed mutably for the call.
    cvt(unsafe { libc::poll(&mut entry, 1, 0) })?;
    Ok(entry.revents)
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

/// Sets or clears `O_NONBLOCK`, by `fcntl(2)`, unless it is so already. Returns whether that has changed the flag.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<bool> {
    // SAFETY: `F_GETFL` takes no third argument and touches no memory of ours.
    let flags = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    if (flags & libc::O_NONBLOCK != 0) == nonblocking {
        return Ok(false);
    }
    // SAFETY: `F_SETFL` takes an integer and touches no memory of ours.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags ^ libc::O_NONBLOCK) })?;
    Ok(true)
}

/// Returns whether a descriptor was opened for writing alone, by `fcntl(2)`.
#[cfg(feature = "process")]
pub(crate) fn is_write_only(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: `F_GETFL` takes no third argument and touches no memory of ours.
    let flags = cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    Ok(flags & libc::O_ACCMODE == libc::O_WRONLY)
}

/// A mark of the process that made it: tells a forked child from its parent, without a system call.
///
/// For an object that a forked child has a copy of, but that belongs to the parent: a file to be removed on drop, a
/// connection to be shut down, a thread that the child does not have. The object keeps a mark from its construction, and
/// asks [`is_child`](Self::is_child) before it touches what is shared. Process ids do not tell parent and child apart:
/// in a new PID namespace (see [`pid_namespaces(7)`](https://man7.org/linux/man-pages/man7/pid_namespaces.7.html)) both
/// may be process 1.
///
/// A mark is four bytes, and so is an `Option` of a mark.
///
/// # How it works
///
/// A page of memory holds the number of the process, and the kernel fills the page with zeros in a child:
/// `MADV_WIPEONFORK` of [`madvise(2)`](https://man7.org/linux/man-pages/man2/madvise.2.html). The first call in the child
/// finds the zero, and writes the next number. Where the kernel refuses (before Linux 4.14, or in a sandbox), a handler of
/// [`pthread_atfork(3)`](https://man7.org/linux/man-pages/man3/pthread_atfork.3.html) writes the zero. A handler does not
/// see a child that was made by a raw `clone(2)`. A child that shares its parent's memory (`vfork(2)`, a thread) is not
/// told apart.
///
/// # Examples
///
/// ```
/// use async_epoll::ForkMark;
///
/// /// Prints a summary at the end, once, and not once for each forked child.
/// struct Summary(ForkMark);
///
/// impl Drop for Summary {
///     fn drop(&mut self) {
///         if !self.0.is_child() {
///             println!("all done");
///         }
///     }
/// }
///
/// let summary = Summary(ForkMark::new());
/// assert!(!summary.0.is_child());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForkMark(NonZeroU32);

/// The word with the number of this process: in a page that is wiped on fork, or [`UNWIPED`]. Null until the first mark is
/// made. Set once, by [`make_word`].
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// The word where the kernel wipes no page. Set to zero in a child, by [`wipe`].
static UNWIPED: AtomicU32 = AtomicU32::new(0);

/// The last number that was given out, in this process or an ancestor. Counted up by [`new_number`].
static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

impl ForkMark {
    /// Returns the mark of the calling process.
    #[allow(clippy::new_without_default, reason = "a default value that depends on the process would surprise")]
    #[inline]
    pub fn new() -> Self {
        let word = word();
        // Relaxed: whatever brings a mark to another thread brings the number along.
        Self(NonZeroU32::new(word.load(Ordering::Relaxed)).unwrap_or_else(|| new_number(word)))
    }

    /// Returns whether the calling process is a forked child of the process that made the mark, or a child of a child.
    #[inline]
    pub fn is_child(self) -> bool {
        let word = WORD.load(Ordering::Acquire);
        // SAFETY: This mark exists, so `make_word` has stored this pointer: to a static, or to a mapping that is never
        // unmapped. Whatever brought the mark to this thread has brought the pointer along.
        let word = unsafe { &*word };
        // The first comparison is all that a process without a fork needs.
        word.load(Ordering::Relaxed) != self.0.get() && self != Self::new()
    }

    /// Locks `mutex`, which belongs to the process that made the mark. Returns `None` in a forked child if another thread
    /// held the mutex at the fork: the child does not have this thread, so nothing would ever release the mutex. What the
    /// mutex guards is lost to the child then.
    ///
    /// Costs as much as [`Mutex::lock`]: the question for the process comes after the first attempt has failed.
    #[inline]
    pub(crate) fn lock<T>(self, mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
        match mutex.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => self.lock_held(mutex),
        }
    }

    /// As [`lock`](Self::lock), for a mutex that another thread holds, or held at the fork.
    #[cold]
    fn lock_held<T>(self, mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
        (!self.is_child()).then(|| mutex.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the number of the process that made the mark: greater than the numbers of its ancestors. Children of one
    /// parent may have the same number.
    pub fn number(self) -> NonZeroU32 {
        self.0
    }
}

/// Returns the word with the number of this process; zero if no number has been given out since the fork.
#[inline]
fn word() -> &'static AtomicU32 {
    let word = NonNull::new(WORD.load(Ordering::Acquire)).unwrap_or_else(make_word);
    // SAFETY: `make_word` returned this pointer, to a static or to a mapping that is never unmapped.
    unsafe { word.as_ref() }
}

/// Returns the number of this process, as [`ForkMark::number`] would, or 0 if this process has none yet. Only reads atomics,
/// so a signal handler may call this.
#[cfg(feature = "signal")]
pub(crate) fn process_number() -> u32 {
    let word = NonNull::new(WORD.load(Ordering::Acquire));
    // SAFETY: As for `word`.
    word.map_or(0, |word| unsafe { word.as_ref() }.load(Ordering::Relaxed))
}

/// Gives this process a number.
#[cold]
fn new_number(word: &AtomicU32) -> NonZeroU32 {
    let number = NonZeroU32::MIN.saturating_add(LAST_NUMBER.fetch_add(1, Ordering::Relaxed));
    match word.compare_exchange(0, number.get(), Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => number,
        // Another thread has been faster.
        Err(present) => NonZeroU32::new(present).unwrap_or(number),
    }
}

/// Makes the word: maps a page that is wiped on fork, or registers a handler that wipes [`UNWIPED`].
#[cold]
fn make_word() -> NonNull<AtomicU32> {
    let page = map_wiped_on_fork();
    let word = page.unwrap_or_else(|| {
        // SAFETY: The handler is a function without captures, and only stores to an atomic, which is safe between
        // `fork(2)` and whatever the child does next.
        let refused = unsafe { libc::pthread_atfork(None, None, Some(wipe)) };
        if refused != 0 {
            // The only error is ENOMEM.
            handle_alloc_error(Layout::new::<[usize; 6]>());
        }
        NonNull::from(&UNWIPED)
    });
    match WORD.compare_exchange(std::ptr::null_mut(), word.as_ptr(), Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => word,
        Err(present) => {
            // Another thread has been faster. A handler that is registered twice does no harm.
            if let Some(page) = page {
                // SAFETY: This thread has mapped the page and not given the pointer away.
                unsafe { libc::munmap(page.as_ptr().cast(), PAGE_BYTES) };
            }
            NonNull::new(present).unwrap_or(word)
        }
    }
}

/// The handler of `pthread_atfork(3)`, called in the child.
extern "C" fn wipe() {
    UNWIPED.store(0, Ordering::Relaxed);
}

/// Maps one private page that is all zero in forked children, and returns it. `None` if the kernel refuses.
fn map_wiped_on_fork() -> Option<NonNull<AtomicU32>> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: A new anonymous mapping at an address of the kernel's choice overlaps nothing.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), PAGE_BYTES, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: The range was mapped just above and no other code knows it. The advice changes nothing in this process.
    let advised = unsafe { libc::madvise(address, PAGE_BYTES, libc::MADV_WIPEONFORK) };
    if advised != 0 {
        // SAFETY: The range was mapped just above and no reference into it exists.
        unsafe { libc::munmap(address, PAGE_BYTES) };
        return None;
    }
    // The page is readable and writable, aligned, and all zero, which is a valid `AtomicU32`.
    NonNull::new(address.cast::<AtomicU32>())
}

/// The value of [`fork_count`] when forks cannot be counted, or not any more.
pub(crate) const FORKS_UNKNOWN: u16 = u16::MAX;

/// The count for [`fork_count`]. Raised before and after each fork, by handlers of `pthread_atfork(3)`. A child keeps
/// its parent's count.
static FORKS: AtomicU16 = AtomicU16::new(1);

/// Starts to count the forks of this process, once per process. Called before the first source is made. From then on,
/// each forked child calls `in_child`, on the thread that has forked, before anything else. (Not a child of a bare
/// `clone(2)`.) `in_child` must not allocate, lock or unwind.
///
/// Each fork is counted twice: in the parent before the child exists, so that a descriptor closed while `fork(2)` runs
/// counts as inherited, and in the parent afterwards, so that a descriptor opened meanwhile counts as inherited, too.
/// Commands that std starts by `posix_spawn(3)` are not counted: their descriptors end with `execve(2)`.
pub(crate) fn count_forks(in_child: extern "C" fn()) {
    /// Adds 1 to the count. The count stays at [`FORKS_UNKNOWN`] once it is there.
    extern "C" fn count() {
        let _ = FORKS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |forks| forks.checked_add(1));
    }
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        let in_child: unsafe extern "C" fn() = in_child;
        // SAFETY: `count` only changes an atomic, and neither it nor `in_child`, by this function's contract, allocates,
        // locks or unwinds, so both may run around any fork. If this code is in a shared object that is unloaded, glibc
        // forgets its handlers; musl never unloads.
        if unsafe { libc::pthread_atfork(Some(count), Some(count), Some(in_child)) } != 0 {
            FORKS.store(FORKS_UNKNOWN, Ordering::Relaxed);
        }
    });
}

/// Returns a number, never 0, that changes whenever this process forks. [`FORKS_UNKNOWN`] if there is no such number:
/// the handlers could not be installed, or there were more than thirty thousand forks.
///
/// A child inherits all descriptors of its parent, so an open file may live on when the parent closes its descriptor.
/// Children made by a bare `clone(2)`, without the C library, are not counted.
pub(crate) fn fork_count() -> u16 {
    FORKS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_is_no_child_in_its_maker() {
        let mark = ForkMark::new();
        assert!(!mark.is_child());
        assert_eq!(mark, std::thread::spawn(ForkMark::new).join().unwrap());
        assert_eq!(size_of::<Option<ForkMark>>(), 4);
    }

    /// A word that was wiped gets the next number, once.
    #[test]
    fn each_wipe_gives_a_new_number() {
        let (before, word) = (ForkMark::new(), AtomicU32::new(0));
        let number = new_number(&word);
        assert!(number > before.number());
        assert_eq!((new_number(&word), word.into_inner()), (number, number.get()));
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
