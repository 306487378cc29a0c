//! The cost of an operation in CPU time, for the timers (T1 to T4) and the reads (T8).

use crate::machine::sys;
use std::future::poll_fn;
use std::hint::black_box;
use std::io;
use std::task::{Context, Poll};

/// Returns the CPU time of an `operation` in nanoseconds: the mean of `count`, after `count / 10` to warm up.
///
/// All operations run within a single poll of the returned future, so the cost of an executor is not included. The CPU
/// time is that of the whole process, since some peers do a part of the work in another thread.
pub(super) async fn nanos_each(count: usize, mut operation: impl FnMut(&mut Context<'_>) -> bool) -> io::Result<f64> {
    poll_fn(|cx| {
        let mut repeat = |times| {
            for _ in 0..times {
                black_box(operation(cx));
            }
        };
        repeat(count / 10);
        let cpu = sys::process_cpu().and_then(|before| {
            repeat(count);
            Ok(sys::process_cpu()? - before)
        });
        Poll::Ready(cpu.map(|cpu| cpu.as_nanos() as f64 / count as f64))
    })
    .await
}
