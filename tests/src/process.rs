//! Open descriptors, which are counted per process, the entries of an epoll instance, and a child process for tests that
//! need a process of their own.

use std::os::fd::RawFd;
use std::process::Command;

/// The environment variable that says that a process is the child of a test.
const CHILD: &str = "TEST_CHILD";

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
/// Returns `false` in the parent, where the test must return, and `true` in the child, where the test goes on. In the child,
/// SIGINT and SIGQUIT have their default actions, also if a shell has started the tests in the background.
///
/// # Panics
///
/// If the test fails in the child.
pub fn in_child(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        for signal in [libc::SIGINT, libc::SIGQUIT] {
            crate::ignore_signal(signal, false);
        }
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    run_child(Command::new(program).args(["--exact", test, "--nocapture", "--test-threads=1"]), test);
    false
}

/// Runs the ignored test named `test` again in a child process with a network of its own, in which it is root: with the
/// loopback interface alone, and the kernel's defaults in `/proc/sys/net`. Needs the program `unshare`.
///
/// Returns `false` in the parent, where the test must return, and `true` in the child, where the test goes on.
///
/// # Panics
///
/// If the test fails in the child, or if namespaces are forbidden.
pub fn in_own_network(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        crate::set_loopback_up().expect("a namespace of its own");
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new("unshare");
    child.args(["--user", "--map-root-user", "--net"]).arg(program);
    run_child(child.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]), test);
    false
}

/// Runs the child process of a test, and checks its success.
fn run_child(child: &mut Command, test: &str) {
    let status = child.env(CHILD, "1").status().expect("a process");
    assert!(status.success(), "{test}: {status}");
}
