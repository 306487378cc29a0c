//! The credentials of a peer.

use crate::sys;
use std::io;
use std::os::fd::BorrowedFd;

/// The process, user and group of a peer; from [`UnixStream::peer_cred`](super::UnixStream::peer_cred).
///
/// The kernel recorded them when the peer called `connect`, `listen` or `socketpair`, so the peer cannot forge them.
/// Later changes of the peer's credentials are not reflected. See `SO_PEERCRED` in
/// [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UCred {
    /// The effective user ID, as in `geteuid(2)`.
    pub uid: u32,
    /// The effective group ID, as in `getegid(2)`.
    pub gid: u32,
    /// The process ID; `None` if the peer is in another PID namespace and not visible here. The process may have ended
    /// since, and the ID may belong to another process.
    pub pid: Option<i32>,
}

/// Returns the credentials of the peer of `socket`, by `getsockopt(SO_PEERCRED)`.
pub(crate) fn of_peer(socket: BorrowedFd<'_>) -> io::Result<UCred> {
    let libc::ucred { pid, uid, gid } = sys::peer_credentials(socket)?;
    Ok(UCred { uid, gid, pid: (pid > 0).then_some(pid) })
}
