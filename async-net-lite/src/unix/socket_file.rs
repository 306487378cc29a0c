//! The file of a bound socket: its permissions and its removal.
//!
//! `bind(2)` creates a file, and nothing removes it: neither closing the socket nor the end of the process. A server
//! that starts again finds its old file in the way. The usual remedy is to remove whatever is at the path. This has
//! removed regular files, the targets of symbolic links and the sockets of live servers. So here:
//!
//! ```text
//!   bind ─AddrInUse─► open it (O_PATH, no symlink) ─► a socket? ─► same uid? ─► does connecting to *this file* fail
//!                                                                               with ECONNREFUSED?
//!                                                                                        │ yes: no listener
//!        bind again ◄── remove the path ◄── does the path still lead to the same file? ◄──┘
//!                                     any "no" on the way: AddrInUse, with the reason
//! ```
//!
//! A descriptor holds the checked file, so the file cannot be exchanged between the checks. Two races are left, since
//! Linux has no conditional unlink. (1) Between the last check and the removal, another process may remove the same
//! stale file and bind its own socket; this process then removes the new file. (2) A server that has bound its socket
//! and does not listen yet looks stale. Both races need two servers that start at the same moment on the same path as
//! the same user. A lock in the application prevents them.

use super::address;
use crate::socket::socket::{self, uninterrupted};
use async_epoll::{ForkMark, Handle};
use socket2::{Domain, Socket, Type};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o777;

/// The options for the file, set by the user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// The permissions of the file, independent of the umask; `None` to apply the umask.
    pub(crate) mode: Option<u32>,
    /// Whether binding removes a stale file of the same user.
    pub(crate) remove_stale: bool,
    /// Whether dropping the socket removes the file.
    pub(crate) unlink_on_drop: bool,
}

/// Returns a new socket of type `kind`, bound to `address`, and a [`SocketFile`] if the policy needs one.
pub(crate) fn bind(
    kind: Type,
    address: &SocketAddr,
    policy: &Policy,
    handle: &Handle,
) -> io::Result<(Socket, Option<SocketFile>)> {
    let mut socket = socket::open(Domain::UNIX, kind)?;
    socket::check_reactor(socket.as_fd(), handle)?;
    let name = address::to_kernel(address)?;
    let path = address.as_pathname();
    if let Some(mode) = policy.mode {
        if mode & !PERMISSIONS != 0 {
            let message = format!("{mode:#o} is no mode of a socket: only the bits of {PERMISSIONS:#o} have a meaning");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if path.is_none() {
            let message = "an abstract name has no permissions, everybody may connect to it: give a path for a mode";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // `bind(2)` gives the file the mode of the socket's own inode, less the umask. So the file never has more
        // permissions than asked for. (The umask cannot be changed instead: it belongs to all threads.)
        let file = File::from(OwnedFd::from(socket));
        file.set_permissions(Permissions::from_mode(mode))?;
        socket = Socket::from(OwnedFd::from(file));
    }
    match (uninterrupted(|| socket.bind(&name)), path) {
        (Err(error), Some(path)) if error.kind() == io::ErrorKind::AddrInUse && policy.remove_stale => {
            // A new socket's inode has the same owner as a file that this process creates.
            let file = File::from(OwnedFd::from(socket));
            remove_stale(path, kind, file.metadata()?.uid())?;
            socket = Socket::from(OwnedFd::from(file));
            // If another process has been faster, the path belongs to that process, and this fails.
            uninterrupted(|| socket.bind(&name))?;
        }
        (result, _) => result?,
    }
    let Some(path) = path.filter(|_| policy.mode.is_some() || policy.unlink_on_drop) else {
        return Ok((socket, None));
    };
    let found = std::fs::symlink_metadata(path)?;
    // From here on, every failure removes the file again.
    let bound = SocketFile::new(path, &found)?;
    if let Some(mode) = policy.mode.filter(|mode| found.mode() & PERMISSIONS != *mode) {
        // The umask has cleared some bits. Set them by a descriptor, so that no symlink can redirect the change.
        let (file, now) = open(path)?;
        if !same(&now, found.dev(), found.ino()) {
            return Err(io::Error::other(format!("{path:?} was replaced while its permissions were being set")));
        }
        std::fs::set_permissions(by_descriptor(&file), Permissions::from_mode(mode))?;
    }
    Ok((socket, Some(bound)))
}

/// Opens the file at `path`, without following a symlink and without needing read permission.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// Returns a path to the file of a descriptor, whatever is now at the path by which it was opened.
fn by_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Removes the stale file of a socket, if `owner` owns it. The top of this file describes the checks.
fn remove_stale(path: &Path, kind: Type, owner: u32) -> io::Result<()> {
    let in_use = |why: &str| {
        let message = format!("{path:?} is in use and has not been removed: {why}");
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    };
    let (file, found) = match open(path) {
        // Another process has removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    if !found.file_type().is_socket() {
        return in_use("it is not a socket");
    }
    if found.uid() != owner {
        return in_use("it belongs to another user");
    }
    // This path is short, however long the real path is.
    let probe = SocketAddr::from_pathname(by_descriptor(&file))?;
    let (probe, socket) = (address::to_named(&probe)?, socket::open(Domain::UNIX, kind)?);
    match uninterrupted(|| socket.connect(&probe)) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {}
        // `EAGAIN` (full backlog) and `EPROTOTYPE` (another type) come from live sockets, too.
        Ok(()) => return in_use("a server listens there"),
        Err(error) => return in_use(&format!("connecting to it says: {error}")),
    }
    match std::fs::symlink_metadata(path) {
        Ok(now) if same(&now, found.dev(), found.ino()) => match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        Ok(_) => in_use("it has just been made anew"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns whether `metadata` is of the inode `inode` on `device`.
fn same(metadata: &Metadata, device: u64, inode: u64) -> bool {
    (metadata.dev(), metadata.ino()) == (device, inode)
}

/// The file of a bound socket, which is removed on drop if the path still leads to the same file.
///
/// Drop this before the socket is closed. The open socket keeps the inode alive, so no other file can have the same
/// inode number, and comparing numbers is exact.
#[derive(Debug)]
pub(crate) struct SocketFile {
    /// The path of the file. Absolute, since the process may change its directory.
    path: PathBuf,
    /// The device of the inode.
    device: u64,
    /// The inode number.
    inode: u64,
    /// The process that may remove the file: not a forked child, which has a copy of this.
    process: ForkMark,
    /// Whether the file stays. Set once, by [`keep`](Self::keep).
    is_kept: AtomicBool,
}

impl SocketFile {
    /// Returns the file at `path` of a newly bound socket, with its metadata `found`.
    fn new(path: &Path, found: &Metadata) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let (process, is_kept) = (ForkMark::new(), AtomicBool::new(false));
        Ok(Self { path, device: found.dev(), inode: found.ino(), process, is_kept })
    }

    /// Keeps the file: dropping this no longer removes it.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if *self.is_kept.get_mut() || self.process.is_child() {
            return;
        }
        if std::fs::symlink_metadata(&self.path).is_ok_and(|now| same(&now, self.device, self.inode)) {
            // Drop cannot report an error. A file that cannot be removed stays.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A socket and its file.
#[derive(Debug)]
pub(crate) struct Bound<S> {
    /// The file to remove on drop. Declared before the socket, since fields are dropped in this order.
    file: Option<SocketFile>,
    /// The socket.
    pub(crate) socket: S,
}

impl<S> Bound<S> {
    /// Joins a socket and the file to remove with it, if any.
    pub(crate) fn new(socket: S, file: Option<SocketFile>) -> Self {
        Self { file, socket }
    }

    /// Keeps the file: dropping this no longer removes it.
    pub(crate) fn keep_file(&self) {
        if let Some(file) = &self.file {
            file.keep();
        }
    }
}
