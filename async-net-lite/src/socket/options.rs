//! Conversion of option values to the kernel's integers.
//!
//! The methods of this crate take unsigned numbers and durations; `setsockopt(2)` takes an `int`. The functions here
//! convert the values without wrapping around to a small or negative number. The socket types and their options call
//! them.

use socket2::SockRef;
use std::io;
use std::time::Duration;

/// The default backlog of a listener, in connections. The kernel limits it to `/proc/sys/net/core/somaxconn`.
pub(crate) const BACKLOG: u32 = 1024;

/// Returns `number` as the kernel's `int`. A larger number becomes the largest `int`, which means as much as possible.
pub(crate) fn saturate(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Returns `time` in whole seconds, rounded up, so a short time does not become zero.
pub(crate) fn whole_seconds(time: Duration) -> i32 {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() != 0));
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// Sets the sizes of the receive and the send buffer, in bytes; `None` leaves a size unchanged.
pub(crate) fn set_buffers(options: &SockRef<'_>, receive: Option<usize>, send: Option<usize>) -> io::Result<()> {
    // A size beyond the kernel's `int` would become a small or negative number.
    let at_most = |bytes: usize| bytes.min(i32::MAX as usize);
    if let Some(bytes) = receive {
        options.set_recv_buffer_size(at_most(bytes))?;
    }
    if let Some(bytes) = send {
        options.set_send_buffer_size(at_most(bytes))?;
    }
    Ok(())
}

/// Checks a hop limit, the number of routers that a packet may pass: `least` to 255. The kernel takes -1 for the
/// default of the system, and the largest `u32` would be converted to -1.
pub(crate) fn check_hops(hops: u32, least: u32) -> io::Result<()> {
    if (least..=255).contains(&hops) {
        return Ok(());
    }
    let message = format!("the time to live of a packet is {least} to 255, not {hops}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
