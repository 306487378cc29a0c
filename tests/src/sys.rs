//! System calls that std does not offer: the only file of the tests that may say `unsafe`.
#![allow(unsafe_code)]

use std::io;
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

/// While the guard lives, a signal without `SA_RESTART` hits this process every `period`.
///
/// To be sure that it interrupts the calling thread's system calls, use it in a test program of its own.
pub fn interrupt_thread_periodically(period: Duration) -> impl Drop {
    extern "C" fn ignore(_: libc::c_int) {}
    struct Storm;
    impl Drop for Storm {
        fn drop(&mut self) {
            set_timer(Duration::ZERO);
        }
    }
    // SAFETY: All zeroes is a valid `sigaction`: no flags, so no restart; an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as *const () as libc::sighandler_t;
    // SAFETY: The handler does nothing, so it is safe in any signal context.
    let result = unsafe { libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    set_timer(period);
    Storm
}

fn set_timer(period: Duration) {
    let period = libc::timeval {
        tv_sec: libc::time_t::try_from(period.as_secs()).expect("seconds"),
        tv_usec: libc::suseconds_t::from(period.subsec_micros()),
    };
    let timer = libc::itimerval { it_interval: period, it_value: period };
    // SAFETY: `timer` is only read; no old value is asked for.
    let result = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
