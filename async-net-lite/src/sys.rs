//! What needs `unsafe`: the only file of this crate that may say it.
//!
//! Every function here is safe to call. It does one thing whole, so that what its unsafe operations demand can be
//! checked without looking elsewhere.
#![allow(unsafe_code)]

// hyper: reading into a buffer that nobody has initialised.

#[cfg(feature = "hyper")]
use {hyper::rt::ReadBufCursor, socket2::SockRef, std::io, std::os::fd::BorrowedFd};

/// `recv(2)` into what is left of hyper's buffer, which is filled by as many bytes as have come.
///
/// Returns their number: 0 at the end of file, and if there is no room.
///
/// hyper gives its buffer as it got it from the allocator. The kernel does not mind, but a `&mut [u8]` must not refer
/// to it, and to fill it with zeros first would cost more than all the rest of a small request.
#[cfg(feature = "hyper")]
pub(crate) fn recv(socket: BorrowedFd<'_>, cursor: &mut ReadBufCursor<'_>) -> io::Result<usize> {
    // SAFETY: Nobody may make bytes of this slice uninitialised that were not. It goes to socket2's `recv` alone, whose
    // contract is not to, and of whose bytes the kernel only writes some.
    let unfilled = unsafe { cursor.as_mut() };
    let count = SockRef::from(&socket).recv(unfilled)?;
    // SAFETY: `count` bytes at the front of the unfilled part must be initialised. `recv` was given just that part, and
    // has returned how many bytes the kernel has written to its front. That is never more than there was room for:
    // only with `MSG_TRUNC`, which is not set, does the kernel count bytes that it has not written.
    unsafe { cursor.advance(count) };
    Ok(count)
}
