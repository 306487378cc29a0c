//! System calls that neither std nor socket2 offers: the only file of this crate that may say `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets an option of a socket that is an integer, by `setsockopt(2)`.
pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let pointer = (&raw const value).cast();
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `pointer` and `length` describe the integer `value`, which lives across the call and is only read. The
    // descriptor is open, since it is borrowed.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, pointer, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
