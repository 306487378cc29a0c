//! Open descriptors, which are counted per process, and a child process for tests that need a process of their own.

use std::process::Command;

/// Returns the number of descriptors that this process has open.
///
/// # Panics
///
/// If `/proc` is not mounted.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd").count()
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
