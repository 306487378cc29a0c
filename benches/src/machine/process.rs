//! What the kernel tells about a process: its CPU time, its memory, its writes.

use std::fs;
use std::io;

/// CPU time of the process so far, in nanoseconds, user and system together.
///
/// From `schedstat`, which counts nanoseconds where `stat` counts ticks of 10 ms. It is that of the main thread, and our
/// servers have no other, unless they count their heap.
pub(crate) fn cpu_nanos(process: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    nanos.ok_or_else(|| io::Error::other("the kernel does not say how much CPU time a process has had"))
}

/// Memory of the process that is resident, in bytes.
///
/// From `smaps_rollup`, which is exact where `status` may lag behind.
pub(crate) fn resident_bytes(process: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the kernel does not say how much memory is resident"))
}

/// How often this process has called `write(2)` and its relatives, whatever the descriptor; `send(2)` does not count.
pub(crate) fn own_writes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    let writes = text.lines().find_map(|line| line.strip_prefix("syscw:")?.trim().parse().ok());
    writes.ok_or_else(|| io::Error::other("the kernel does not say how often a process has written"))
}
