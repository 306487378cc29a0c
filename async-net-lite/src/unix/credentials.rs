//! Who is on the other end.

use crate::sys;
use std::io;
use std::os::fd::BorrowedFd;

/// Process, user and group at the other end of a connection; from [`UnixStream::peer_cred`](super::UnixStream::peer_cred).
///
/// The kernel noted them when the other end called `connect`, `listen` or `socketpair`, and vouches for them. They do not
/// follow what that process does later. See `SO_PEERCRED` in
/// [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UCred {
    /// The user, as in `geteuid(2)`.
    pub uid: u32,
    /// The group, as in `getegid(2)`.
    pub gid: u32,
    /// The process; `None` if it is in another pid namespace, where we cannot see it. By the time you look, it may have
    /// ended, and its number may be that of another.
    pub pid: Option<i32>,
}

/// Asks the kernel.
pub(crate) fn of_peer(socket: BorrowedFd<'_>) -> io::Result<UCred> {
    let libc::ucred { pid, uid, gid } = sys::peer_credentials(socket)?;
    Ok(UCred { uid, gid, pid: (pid > 0).then_some(pid) })
}
