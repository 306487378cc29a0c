//! The kernel's figures for a process: CPU time, memory, writes.

use std::fs;
use std::io;

/// Returns the CPU time of the process so far, in nanoseconds, user and system together.
///
/// Read from `schedstat`, because `stat` counts in ticks of 10 ms. The file covers the main thread only; our servers
/// have no other thread, unless they count their heap.
pub(crate) fn cpu_nanos(process: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    nanos.ok_or_else(|| io::Error::other("the kernel does not say how much CPU time a process has had"))
}

/// Returns the resident memory of the process, in bytes.
///
/// Read from `smaps_rollup`, which is exact; `status` may lag behind.
pub(crate) fn resident_bytes(process: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the kernel does not say how much memory is resident"))
}

/// Returns the number of calls of `write(2)` and its variants by this process, on any descriptor. Calls of `send(2)`
/// are not included.
pub(crate) fn own_writes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    let writes = text.lines().find_map(|line| line.strip_prefix("syscw:")?.trim().parse().ok());
    writes.ok_or_else(|| io::Error::other("the kernel does not say how often a process has written"))
}
