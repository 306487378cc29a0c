//! The system calls for process descriptors: the only file of this room with `unsafe` code.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// `P_PIDFD` of `waitid(2)`.
const P_PIDFD: libc::idtype_t = 3;

/// `PIDFD_SIGNAL_PROCESS_GROUP` of `pidfd_send_signal(2)`, since Linux 6.9.
pub(crate) const TO_GROUP: u32 = 1 << 2;

/// Opens a descriptor for a process, by `pidfd_open(2)`: close-on-exec.
pub(crate) fn pidfd_open(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: Takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, process as libc::pid_t, 0_u32) };
    let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: The kernel has just returned this descriptor and no other code knows it: the `OwnedFd` is its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Collects the status of a child that has ended, by `waitid(2)`; `None` if the child still runs. Does not block.
///
/// # Errors
///
/// `ECHILD` if the process is no child of this process, or if its status is gone.
pub(crate) fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    let info = wait_id(pidfd, 0)?;
    // SAFETY: `waitid` has filled in the fields of a SIGCHLD, or has left the zeroes.
    if unsafe { info.si_pid() } == 0 {
        return Ok(None);
    }
    // SAFETY: As above.
    let status = unsafe { info.si_status() };
    // The form of `wait(2)`, which std reads.
    Ok(Some(ExitStatus::from_raw(match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    })))
}

/// Returns whether the status of a child can still be collected, now or when the child ends. As long as it can, no other
/// process gets the child's ID.
pub(crate) fn has_status(pidfd: BorrowedFd<'_>) -> bool {
    wait_id(pidfd, libc::WNOWAIT).is_ok()
}

/// Asks for the end of a child, by `waitid(2)` with further `options`. All zeroes if the child still runs.
fn wait_id(pidfd: BorrowedFd<'_>, options: libc::c_int) -> io::Result<libc::siginfo_t> {
    // SAFETY: All zeroes is a valid `siginfo_t`, a structure of integers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let (id, options) = (pidfd.as_raw_fd().unsigned_abs(), libc::WEXITED | libc::WNOHANG | options);
    // SAFETY: The kernel writes one structure to `info`, which is borrowed mutably for the call.
    let result = unsafe { libc::waitid(P_PIDFD, id, &mut info, options) };
    if result == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to the process of a descriptor, or with [`TO_GROUP`] to the group that it leads, by
/// `pidfd_send_signal(2)`.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32, flags: u32) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: The null pointer asks for the information that `kill(2)` would send. The other arguments are integers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to the group `group`, by `kill(2)`.
pub(crate) fn kill_group(group: u32, signal: i32) -> io::Result<()> {
    // SAFETY: Takes two integers and touches no memory of ours.
    let result = unsafe { libc::kill(-(group as libc::pid_t), signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
