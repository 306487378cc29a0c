//! Numbers of options, as the kernel takes them.
//!
//! The methods of this crate take unsigned numbers and durations; `setsockopt(2)` takes an `int`. Here the one becomes the
//! other, without wrapping around to a small or a negative number. The types of sockets and their options call it.

use socket2::SockRef;
use std::io;
use std::time::Duration;

/// Connections that the kernel queues for a listener, if nothing else is said; cut to `/proc/sys/net/core/somaxconn` by
/// the kernel.
pub(crate) const BACKLOG: u32 = 1024;

/// Converts to the kernel's `int`. A number that is too large for that means "as much as there is".
pub(crate) fn saturate(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Converts to whole seconds, rounded up, so that a short time does not become none at all.
pub(crate) fn whole_seconds(time: Duration) -> i32 {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() != 0));
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// Sets the sizes of the buffers that were chosen, in bytes.
pub(crate) fn set_buffers(options: &SockRef<'_>, receive: Option<usize>, send: Option<usize>) -> io::Result<()> {
    // Beyond the kernel's integer, a size would come out as a small or a negative one.
    let at_most = |bytes: usize| bytes.min(i32::MAX as usize);
    if let Some(bytes) = receive {
        options.set_recv_buffer_size(at_most(bytes))?;
    }
    if let Some(bytes) = send {
        options.set_send_buffer_size(at_most(bytes))?;
    }
    Ok(())
}

/// Checks how many routers a packet may pass. To the kernel -1 means "as the system has it", which is what the largest number
/// would come out as.
pub(crate) fn check_hops(hops: u32, least: u32) -> io::Result<()> {
    if (least..=255).contains(&hops) {
        return Ok(());
    }
    let message = format!("the time to live of a packet is {least} to 255, not {hops}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
