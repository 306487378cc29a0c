//! Open descriptors, which are counted per process, the entries of an epoll instance, and a child process for tests that
//! need a process of their own.

use std::os::fd::RawFd;
use std::process::Command;

/// Returns the number of descriptors that this process has open.
///
/// # Panics
///
/// If `/proc` is not mounted.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd").count()
}

/// Returns the descriptor numbers in the epoll instance `epoll`, those of the reactor itself included, as the kernel lists them (`proc_pid_fdinfo(5)`). A number may be
/// there although this process has closed it: the entry stays while any descriptor for the same open file exists.
///
/// # Panics
///
/// If `/proc` is not mounted.
pub fn epoll_entries(epoll: RawFd) -> Vec<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).expect("/proc/self/fdinfo");
    let number = |line: &str| line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok();
    info.lines().filter_map(number).collect()
}

/// Runs the test named `test` again in a child process, without other tests beside it, and checks its success.
///
/// Returns `false` in the parent, where the test must return, and `true` in the child, where the test goes on.
///
/// # Panics
///
/// If the test fails in the child.
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
